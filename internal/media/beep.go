package media

import (
	"math"
	"time"

	sound "ringfence/internal/audio"
)

// The tone that tells two people that they are recorded, as the rules of the
// United States describe it (47 CFR 64.501): 1260 to 1540 Hz for a fifth of a
// second, every 12 to 15 s.
const (
	beepHertz  = 1400
	beepLength = 200 * time.Millisecond
	beepEvery  = 15 * time.Second
	beepLoud   = 3000
)

// beep lets both sides of a recording hear the tone, in place of the other for
// that time.
func (r *Recording) beep() {
	r.stream.beep()
	if partner := r.stream.partner.Load(); partner != nil {
		partner.beep()
	}
}

// beep plays the tone unless something else is played already.
func (s *stream) beep() {
	p := &player{to: s, sound: newBeep(), stopped: make(chan struct{}), frame: make([]int16, sound.Samples(frameTime, SoundRate))}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || !s.player.CompareAndSwap(nil, p) {
		return
	}
	s.transport.keyer.running.Go(func() { pace(p.stopped, p.turn) })
}

// newBeep is one tone, faded in and out so that it does not click.
func newBeep() Sound {
	length, fade := sound.Samples(beepLength, SoundRate), sound.Samples(5*time.Millisecond, SoundRate)
	at := 0
	return func(pcm []int16) int {
		n := min(len(pcm), length-at)
		for i := range n {
			loud := beepLoud * min(1, float64(at)/float64(fade), float64(length-at)/float64(fade))
			pcm[i] = int16(loud * math.Sin(2*math.Pi*beepHertz*float64(at)/SoundRate))
			at++
		}
		return n
	}
}
