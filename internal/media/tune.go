package media

import (
	"ringfence/internal/audio/tone"
)

// Tune is what somebody on the phone hears of the PBX in place of a voice.
type Tune uint8

// The tunes.
const (
	NoTune   Tune = iota
	Music         // on hold
	Ringback      // somebody else's phone rings
	Busy
	Congestion
)

func (t Tune) String() string {
	return [...]string{"none", "music", "ringback", "busy", "congestion"}[t]
}

// Hum lets this leg's peer hear a tune in place of everybody else, until it hears
// another; NoTune ends it. Tones are those of a country that package tone knows.
func (l *Leg) Hum(t Tune, country string) error {
	switch t {
	case Music:
		return l.Play(l.call.engine.musicOnHold(), nil)
	case Ringback:
		return l.Play(endless(tone.New(country, tone.Ringback, SoundRate).Read), nil)
	case Busy:
		return l.Play(endless(tone.New(country, tone.Busy, SoundRate).Read), nil)
	case Congestion:
		return l.Play(endless(tone.New(country, tone.Congestion, SoundRate).Read), nil)
	}
	l.Stop()
	return nil
}

// endless is a Sound that never ends.
func endless(read func([]int16)) Sound {
	return func(pcm []int16) int {
		read(pcm)
		return len(pcm)
	}
}

// musicOnHold begins the piece anew. It is made when the first one waits, on the
// player's time.
func (e *Engine) musicOnHold() Sound {
	at := 0
	return endless(func(pcm []int16) {
		piece := e.music()
		for n := 0; n < len(pcm); {
			c := copy(pcm[n:], piece[at:])
			n, at = n+c, (at+c)%len(piece)
		}
	})
}

// Holds reports whether this leg's peer has put the other party on hold: it wants
// to hear nothing (RFC 3264 section 8.4, and the null address of RFC 2543).
func (l *Leg) Holds() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.remote.stream(audio) != nil && !l.wishes[audio].recv
}
