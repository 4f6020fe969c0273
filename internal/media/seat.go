package media

import (
	"math"
	"sync/atomic"
	"time"

	sound "ringfence/internal/audio"
)

// silenceLevel is that of nobody, in dBov.
const silenceLevel = -127

// Seat is a leg's place in a conference.
type Seat struct {
	room   *Room
	stream *stream
	ear    *ear

	muted    atomic.Bool
	speaking atomic.Bool
	level    atomic.Int32

	activity sound.Activity // what follows belongs to the room's goroutine
	mouth    *mouth
	in, out  []int16
	mixed    bool   // in is what the others hear
	told     header // of what the seat's recording got last
	raw      []byte
}

// Leave gives the seat up. It may be called again.
func (s *Seat) Leave() {
	e := s.room.engine
	e.bridges.Lock()
	defer e.bridges.Unlock()
	s.stand()
}

// stand gives the seat up. The caller holds Engine.bridges.
func (s *Seat) stand() {
	if s.stream.seat.CompareAndSwap(s, nil) {
		s.room.remove(s)
	}
}

// Mute keeps a participant from being heard and recorded, or lets it be again. It
// hears the others, and its level goes on, so that it can be told.
func (s *Seat) Mute(on bool) { s.muted.Store(on) }

// Muted reports whether the participant is kept from being heard.
func (s *Seat) Muted() bool { return s.muted.Load() }

// Level is how loud the participant is, in dBov: 0 is overload, -127 silence.
func (s *Seat) Level() int { return int(s.level.Load()) }

// Speaking reports whether the participant speaks; pauses between words and
// single noises do not change it.
func (s *Seat) Speaking() bool { return s.speaking.Load() && !s.muted.Load() }

// listen takes what the participant said, and reports whether the others are to
// hear it.
func (s *Seat) listen(now time.Time) bool {
	kind := s.ear.take(s.in, now)
	if kind == nothing {
		clear(s.in)
	}
	s.activity.Frame(s.in)
	s.level.Store(int32(math.Round(s.activity.DB())))
	s.speaking.Store(s.activity.Speaking())
	s.mixed = kind == speech && !s.muted.Load()
	return s.mixed
}

// say sends the participant what it is to hear.
func (s *Seat) say(now time.Time) {
	if r := s.stream.recording.Load(); r != nil {
		s.record(r, now)
	}
	if s.mouth == nil || !s.mouth.suits(s.stream.accepts.Load()) {
		if s.mouth = newMouth(s.stream, s.room.rate); s.mouth == nil {
			return // the peer has not said yet what it understands
		}
	}
	if s.stream.occupied() || s.stream.seat.Load() != s {
		s.mouth.pause(len(s.out))
		return
	}
	s.mouth.speak(s.out, now)
}
