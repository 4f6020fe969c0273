package audio

import (
	"math"
	"testing"
)

func TestActivityHasHysteresis(t *testing.T) {
	t.Parallel()
	frame := func(db float64) []int16 {
		pcm := make([]int16, 320)
		for i := range pcm {
			pcm[i] = int16(32768 * math.Sqrt2 * math.Pow(10, db/20) * math.Sin(2*math.Pi*440*float64(i)/16000))
		}
		return pcm
	}
	var a Activity
	say := func(db float64, frames int) bool {
		pcm := frame(db)
		for range frames {
			a.Frame(pcm)
		}
		return a.Speaking()
	}
	for i, c := range []struct {
		db     float64
		frames int
		want   bool
	}{
		{-90, 100, false}, // nobody
		{-20, 2, false},   // a click
		{-90, 100, false},
		{-45, 100, false}, // not loud enough to begin
		{-20, 6, true},
		{-45, 100, true}, // not quiet enough to end
		{-90, 20, true},  // between two words
		{-20, 1, true},
		{-90, 20, true},
		{-90, 60, false},
	} {
		if say(c.db, c.frames) != c.want {
			t.Errorf("step %d, %d frames of %g dBov: speaking is %t", i, c.frames, c.db, !c.want)
		}
	}
	say(-20, 50)
	if db := a.DB(); math.Abs(db+20) > 1 {
		t.Errorf("%g dBov, want -20", db)
	}
}
