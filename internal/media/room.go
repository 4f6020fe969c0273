package media

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	sound "ringfence/internal/audio"
)

const (
	// usualSeats is how many take part in a conference unless its creator says
	// otherwise, and mostSeats how many may: all of them are mixed within 20 ms.
	usualSeats = 32
	mostSeats  = 64
	// mostRooms bounds the conferences of an engine.
	mostRooms = 500
	// interrupts is by how many dB somebody must be louder than who has the floor
	// to take it while that one speaks, and for how many frames in a row.
	interrupts       = 6.0
	interruptsFrames = 15
)

// ErrFull says that a conference has no seat left, or the engine no room for
// another conference.
var ErrFull = errors.New("conference is full")

// RoomOptions say what a conference is like.
type RoomOptions struct {
	// Seats is how many may take part, 64 at most; 0 is 32.
	Seats int
	// Rate is 8000 or 16000 samples a second; 0 is 16000.
	Rate int
}

// Room is a conference: everybody in it hears all others and not himself, each
// in a codec of his own. One goroutine mixes, every 20 ms.
type Room struct {
	engine  *Engine
	rate    int
	most    int
	stopped chan struct{}
	once    sync.Once

	mu     sync.Mutex // guards changes of seats
	closed bool
	seats  atomic.Pointer[[]*Seat] // the slice is never changed

	floor atomic.Pointer[Seat]

	mixer  sound.Mixer // what follows belongs to the goroutine
	louder *Seat       // who may take the floor
	turns  int         // in a row
}

// NewRoom starts a conference without participants. The caller must Close it.
func (e *Engine) NewRoom(o RoomOptions) (*Room, error) {
	if o.Seats <= 0 {
		o.Seats = usualSeats
	}
	if o.Rate == 0 {
		o.Rate = SoundRate
	}
	if o.Rate != 8000 && o.Rate != 16000 {
		return nil, fmt.Errorf("conference of %d samples a second: 8000 and 16000 are known", o.Rate)
	}
	r := &Room{engine: e, rate: o.Rate, most: min(o.Seats, mostSeats), stopped: make(chan struct{})}
	r.seats.Store(&[]*Seat{})
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, fmt.Errorf("opening conference: %w", ErrClosed)
	}
	if len(e.rooms) >= mostRooms {
		return nil, fmt.Errorf("opening conference beside %d: %w", len(e.rooms), ErrFull)
	}
	e.rooms[r] = struct{}{}
	e.readers.Go(func() { pace(r.stopped, r.turn) })
	return r, nil
}

// Join gives a leg a seat. Who the leg heard before, in a call or in another
// conference, it hears no more; a bridge ends its seat.
func (r *Room) Join(l *Leg) (*Seat, error) {
	s := &Seat{room: r, stream: l.streams[audio].Load(), ear: newEar(r.rate)}
	n := sound.Samples(frameTime, r.rate)
	s.in, s.out = make([]int16, n), make([]int16, n)
	s.level.Store(silenceLevel)
	r.engine.bridges.Lock()
	defer r.engine.bridges.Unlock()
	if l.gone {
		return nil, fmt.Errorf("joining conference: %w", ErrClosed)
	}
	if n := len(*r.seats.Load()) - r.held(l); n >= r.most {
		return nil, fmt.Errorf("joining conference of %d: %w", n, ErrFull)
	}
	l.part()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, fmt.Errorf("joining conference: %w", ErrClosed)
	}
	seats := append(slices.Clone(*r.seats.Load()), s)
	r.seats.Store(&seats)
	s.stream.seat.Store(s)
	return s, nil
}

// held is how many seats a leg has here; it gives them up for another. The
// caller holds Engine.bridges.
func (r *Room) held(l *Leg) int {
	if s := l.streams[audio].Load().seat.Load(); s != nil && s.room == r {
		return 1
	}
	return 0
}

// remove takes a seat away.
func (r *Room) remove(s *Seat) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := *r.seats.Load()
	if i := slices.Index(old, s); i >= 0 {
		seats := slices.Delete(slices.Clone(old), i, i+1)
		r.seats.Store(&seats)
	}
	r.floor.CompareAndSwap(s, nil)
}

// Close ends the conference: nobody in it hears anything more. It may be called
// again.
func (r *Room) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	for _, s := range *r.seats.Load() {
		s.Leave()
	}
	r.once.Do(func() { close(r.stopped) })
	r.engine.mu.Lock()
	defer r.engine.mu.Unlock()
	delete(r.engine.rooms, r)
}

// Seats are those who take part, in the order in which they came.
func (r *Room) Seats() []*Seat { return slices.Clone(*r.seats.Load()) }

// Floor is who speaks, or spoke last; nil is nobody yet. It changes when that
// one has ended and another speaks, or when another is louder for a while.
func (r *Room) Floor() *Seat { return r.floor.Load() }

// turn mixes a frame.
func (r *Room) turn(now time.Time) {
	seats := *r.seats.Load()
	r.mixer.Begin(sound.Samples(frameTime, r.rate))
	for _, s := range seats {
		if s.listen(now) {
			r.mixer.Add(s.in)
		}
	}
	for _, s := range seats {
		var own []int16
		if s.mixed {
			own = s.in
		}
		r.mixer.Without(s.out, own)
		s.say(now)
	}
	r.follow(seats)
}

// follow finds out who has the floor.
func (r *Room) follow(seats []*Seat) {
	var loudest *Seat
	for _, s := range seats {
		if s.Speaking() && (loudest == nil || s.activity.DB() > loudest.activity.DB()) {
			loudest = s
		}
	}
	has := r.floor.Load()
	switch {
	case loudest == nil || loudest == has:
		r.louder, r.turns = nil, 0
	case has == nil || !has.Speaking():
		r.give(loudest)
	case loudest.activity.DB() < has.activity.DB()+interrupts:
		r.louder, r.turns = nil, 0
	case loudest != r.louder:
		r.louder, r.turns = loudest, 1
	default:
		if r.turns++; r.turns >= interruptsFrames {
			r.give(loudest)
		}
	}
}

func (r *Room) give(s *Seat) {
	r.louder, r.turns = nil, 0
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Contains(*r.seats.Load(), s) {
		r.floor.Store(s)
	}
}
