package audio

import (
	"math"
	"testing"
)

func TestEachHearsAllButItself(t *testing.T) {
	t.Parallel()
	const rate = 16000
	hz := []float64{440, 660, 880, 1000}
	var voices [][]int16
	for _, f := range hz {
		voices = append(voices, sine(rate, rate, f, -20))
	}
	var m Mixer
	m.Begin(rate)
	for _, v := range voices {
		m.Add(v)
	}
	out := make([]int16, rate)
	for i, own := range voices {
		m.Without(out, own)
		for j, f := range hz {
			s := share(out, rate, f)
			if i == j && s > 0.001 || i != j && math.Abs(s-1.0/3) > 0.01 {
				t.Errorf("party %d hears %.3f of %.0f Hz", i, s, f)
			}
		}
	}
	if m.Without(out, nil); math.Abs(share(out, rate, 440)-0.25) > 0.01 {
		t.Error("a listener does not hear all")
	}
}

func TestMixerSaturates(t *testing.T) {
	t.Parallel()
	loud := sine(8000, 800, 500, 0)
	var m Mixer
	m.Begin(800)
	for range 5 {
		m.Add(loud)
	}
	out := make([]int16, 800)
	m.Without(out, loud)
	for i, s := range out {
		if want := int32(4) * int32(loud[i]); s != saturate(want) {
			t.Fatalf("sample %d is %d, want %d saturated", i, s, want)
		}
	}
}

func TestMixerAllocatesNothing(t *testing.T) {
	var m Mixer
	pcm := make([]int16, 320)
	m.Begin(320)
	if n := testing.AllocsPerRun(100, func() {
		m.Begin(320)
		m.Add(pcm)
		m.Without(pcm, nil)
	}); n != 0 {
		t.Errorf("%.0f allocations", n)
	}
}

func TestLevelTellsWhoSpeaks(t *testing.T) {
	t.Parallel()
	var l Level
	for range 10 {
		l.Frame(speechLike(8000, 160*10))
	}
	if !l.Speaking() {
		t.Errorf("a voice is at %.0f dB", l.DB())
	}
	for range 200 {
		l.Frame(whiteNoise(160, -60))
	}
	if l.Speaking() {
		t.Errorf("noise is at %.0f dB", l.DB())
	}
}

func TestComfortNoiseHasTheLevelAskedFor(t *testing.T) {
	t.Parallel()
	c := NewComfort()
	pcm := make([]int16, 8000)
	for _, n := range []Noise{30, 40, 50, 60, 66, 70} {
		c.Set(ParseCN(n.AppendCN(nil)))
		c.Fill(pcm)
		if got := NoiseOf(pcm); max(got, n)-min(got, n) > 2 {
			t.Errorf("asked for -%d dBov, got -%d", n, got)
		}
	}
	c.Set(ParseCN([]byte{127, 1, 2}))
	if c.Fill(pcm); rms(pcm) != 0 || NoiseOf(pcm) != 127 {
		t.Error("silence is not silent")
	}
	c.Set(0) // louder than speech
	if c.Fill(pcm); NoiseOf(pcm) < 28 {
		t.Errorf("noise of -%d dBov", NoiseOf(pcm))
	}
	if ParseCN(nil) != quiet {
		t.Error("an empty payload is not quiet")
	}
}
