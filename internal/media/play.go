package media

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	sound "ringfence/internal/audio"
	"ringfence/internal/audio/dtmf"
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

	queue  chan dialling // digits to send, of a player of digits
	sender *dtmf.Sender
	mouth  *mouth
	frame  []int16
	rest   int // frames between two digits
}

// dialling is a digit on its way out.
type dialling struct {
	key    byte
	length time.Duration
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

// occupied reports whether a player speaks to the peer, so that others must not.
// A player that gives way learns that there are others.
func (s *stream) occupied() bool {
	p := s.player.Load()
	if p == nil {
		return false
	}
	if p.yields {
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
	if p.queue != nil {
		p.dial(now)
		return
	}
	if p.yields && now.UnixNano()-p.others.Load() < int64(yield) {
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

// SendDigit sends a digit to this leg's peer as telephone-events (RFC 4733). It
// reports false where the peer takes none, or where too many wait.
func (l *Leg) SendDigit(digit byte, length time.Duration) bool {
	s := l.streams[audio].Load()
	if _, ok := dtmf.Code(digit); s == nil || !ok {
		return false
	}
	table := s.accepts.Load()
	if table == nil || !table.speaks {
		return false
	}
	_, events := table.events(table.say.clock)
	if events.clock == 0 {
		return false
	}
	if s.enqueue(dialling{digit, length}) {
		return true
	}
	p := &player{queue: make(chan dialling, 32), sender: dtmf.NewSender(int(events.clock))}
	p.queue <- dialling{digit, length}
	return l.play(p) == nil
}

// enqueue adds a digit to those that are being sent.
func (s *stream) enqueue(d dialling) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.player.Load()
	if p == nil || p.queue == nil {
		return false
	}
	select {
	case p.queue <- d:
	default: // nobody dials so fast
	}
	return true
}

// dial sends the digits of the queue, and ends when there are no more. Between
// two of them there are 60 ms.
func (p *player) dial(now time.Time) {
	switch {
	case p.sender.Busy():
		p.rest = 3
	case p.rest > 0:
		p.rest--
	case !p.dequeue():
		p.end()
	}
	if packet, ok := p.sender.Next(); ok {
		p.mouth.tell(packet.Event, packet.Marker, int(p.mouth.eventAt.clock), now)
	}
	p.mouth.pause(len(p.frame))
}

// dequeue begins the next digit. When there is none, none is taken any more.
func (p *player) dequeue() bool {
	p.to.mu.Lock()
	defer p.to.mu.Unlock()
	select {
	case d := <-p.queue:
		return p.sender.Start(d.key, d.length)
	default:
		p.to.player.CompareAndSwap(p, nil)
		return false
	}
}

// OnDigit has a function called with every digit that this leg's peer dials in
// telephone-events. It is called from the reader of the leg's socket and must
// not block. nil ends it.
func (l *Leg) OnDigit(f func(digit byte)) {
	if s := l.streams[audio].Load(); s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.onDigit = f
	}
}

// hearDigit takes a telephone-event of the peer.
func (s *stream) hearDigit(h header, payload []byte) {
	s.mu.Lock()
	key := s.dialled.Packet(h.timestamp, payload)
	f := s.onDigit
	s.mu.Unlock()
	if key != 0 && f != nil {
		f(key)
	}
}
