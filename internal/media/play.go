package media

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	sound "ringfence/internal/audio"
)

// SoundRate is the rate of samples that call applications work with: wideband
// speech. Legs of other codecs convert it.
const SoundRate = 16000

// Sound fills pcm with samples at SoundRate and returns their number; fewer than
// asked for end it. It is called by one goroutine.
type Sound func(pcm []int16) int

// yield is how long others must have been silent for a player that gives way.
const yield = 300 * time.Millisecond

// player speaks to the peer of a stream.
type player struct {
	to       *stream
	sound    Sound
	done     func()
	yields   bool         // to what others send
	others   atomic.Int64 // when they did so last
	stopped  chan struct{}
	stopOnce sync.Once

	mouth *mouth
	frame []int16
}

// Play lets this leg's peer hear a sound in place of everybody else, until it
// ends, Stop is called or something else is played. done, which may be nil, is
// called when it ended by itself; it must not block.
func (l *Leg) Play(s Sound, done func()) error {
	return l.play(&player{sound: s, done: done})
}

// Background lets this leg's peer hear a sound whenever nobody else is heard:
// music on hold, ringback.
func (l *Leg) Background(s Sound) error {
	return l.play(&player{sound: s, yields: true})
}

func (l *Leg) play(p *player) error {
	s := l.streams[audio].Load()
	if s == nil {
		return fmt.Errorf("playing: %w", ErrClosed)
	}
	p.to, p.stopped = s, make(chan struct{})
	p.frame = make([]int16, sound.Samples(frameTime, SoundRate))
	if !s.replacePlayer(p) {
		return fmt.Errorf("playing: %w", ErrClosed)
	}
	return nil
}

// Stop ends what is played.
func (l *Leg) Stop() {
	if s := l.streams[audio].Load(); s != nil {
		s.replacePlayer(nil)
	}
}

func (s *stream) replacePlayer(p *player) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p != nil && s.over {
		return false
	}
	if old := s.player.Swap(p); old != nil {
		old.stop()
	}
	if p != nil {
		s.transport.keyer.running.Go(func() { pace(p.stopped, p.turn) })
	}
	return true
}

func (p *player) stop() { p.stopOnce.Do(func() { close(p.stopped) }) }

// end takes a player away that is through.
func (p *player) end() {
	p.to.player.CompareAndSwap(p, nil)
	p.stop()
	if p.done != nil {
		p.done()
	}
}

// occupied reports whether a player or digits speak to the peer, so that others must not.
// A player that gives way learns that there are others.
func (s *stream) occupied() bool {
	p := s.player.Load()
	switch {
	case s.dialler.Load() != nil:
		return true
	case p == nil:
		return false
	case p.yields:
		p.others.Store(time.Now().UnixNano())
		return false
	}
	return true
}

// turn plays a frame.
func (p *player) turn(now time.Time) {
	select {
	case <-p.stopped:
		return
	default:
	}
	if p.mouth == nil || !p.mouth.suits(p.to.accepts.Load()) {
		if p.mouth = newMouth(p.to, SoundRate); p.mouth == nil {
			return // the peer has not said yet what it understands
		}
	}
	if p.to.dialler.Load() != nil || p.yields && now.UnixNano()-p.others.Load() < int64(yield) {
		p.mouth.pause(len(p.frame))
		return
	}
	n := p.sound(p.frame)
	clear(p.frame[n:])
	p.mouth.speak(p.frame, now)
	if n < len(p.frame) {
		p.end()
	}
}
