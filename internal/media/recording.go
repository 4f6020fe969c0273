package media

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	sound "ringfence/internal/audio"
	"ringfence/internal/audio/record"
)

const (
	// settle is by how much both voices of a recording are held back, so that
	// packets that come late or in the wrong order still find their place. It is
	// the same for both, so what was said at the same time stays side by side.
	settle = 120 * time.Millisecond
	// writing is how often a recording is written.
	writing = 200 * time.Millisecond
	// longestRecording bounds the file of a call that nobody ends.
	longestRecording = 24 * time.Hour
)

// ErrRecorded says that a leg is being recorded already.
var ErrRecorded = errors.New("leg is being recorded already")

// RecordOptions say how a call is recorded.
type RecordOptions struct {
	// Path is the file. Until it is complete it has .part behind its name; after
	// a crash record.Recover completes it.
	Path   string
	Format record.Format
	// Rate is 8000 or 16000 samples a second; 0 is 16000 if one of the two speaks
	// in more than telephone quality now.
	Rate int
	// Mirror puts the leg's peer on the right and who it speaks with on the left.
	Mirror bool
	// Beep lets both hear now and then that they are recorded.
	Beep bool
	// Done, which may be nil, is called when the file is complete.
	Done func(Outcome)
}

// Outcome is what became of a recording.
type Outcome struct {
	Path     string
	Length   time.Duration
	Dropped  int   // packets left out because the disk was too slow
	Unknown  int   // packets of codecs that we cannot decode
	Err      error // why it ended early, or is not complete
	Finished bool
}

// The two voices of a recording.
const (
	own    = iota // of the leg's peer
	others        // of who it speaks with
)

// Recording writes to a file what a leg's peer says and what the party says
// that it is bridged with at the time, or the others in its conference, each on
// its side. It follows the leg: it
// goes on through holds, changes of codecs and keys, and when a transfer changes
// the other party; then that side goes on with the new one. It ends when the leg
// is closed. Who says nothing, or is away, is silent; what we play to a party
// ourselves is not recorded.
//
// Packets are put into a queue by the readers of the sockets. One goroutine
// decodes and writes them.
type Recording struct {
	leg     *Leg
	stream  *stream
	options RecordOptions
	rate    int
	began   time.Time
	paused  atomic.Bool

	ending chan struct{}
	once   sync.Once
	done   chan struct{}

	mu      sync.Mutex
	filling taken
	dropped int
	outcome Outcome
	create  func(path string, f record.Format, rate int) (sink, error)

	// What follows belongs to the goroutine.
	work    taken
	voices  [2]*stream // who speaks
	ears    [2]*ear
	frames  [2][]int16
	pcm     []int16
	file    sink
	at      time.Time // when the next frame is due
	written time.Duration
	beepAt  time.Time
	said    struct{ dropped, unknown bool }
}

// sink is the file of a recording.
type sink interface {
	Write(pcm []int16) error
	Close() error
}

// Record begins to record this leg and whoever it is bridged with. There is one
// recording of a leg at a time. The disk is touched later, by the recording's
// own goroutine: what fails there is told by its Outcome.
func (l *Leg) Record(o RecordOptions) (*Recording, error) { return l.record(o, create) }

func create(path string, f record.Format, rate int) (sink, error) {
	return record.Create(path, f, rate)
}

func (l *Leg) record(o RecordOptions, create func(string, record.Format, int) (sink, error)) (*Recording, error) {
	s := l.streams[audio].Load()
	r := &Recording{
		leg: l, stream: s, options: o, rate: o.Rate, began: time.Now(), create: create,
		ending: make(chan struct{}), done: make(chan struct{}), outcome: Outcome{Path: o.Path},
	}
	if r.rate == 0 {
		r.rate = s.bestRate()
	}
	if r.rate != 8000 && r.rate != 16000 {
		return nil, fmt.Errorf("recording at %d samples a second: 8000 and 16000 are known", r.rate)
	}
	for i := range r.ears {
		r.ears[i] = r.newEar()
		r.frames[i] = make([]int16, sound.Samples(frameTime, r.rate))
	}
	r.at, r.beepAt = r.began.Add(settle), r.began
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return nil, fmt.Errorf("recording: %w", ErrClosed)
	}
	if !s.recording.CompareAndSwap(nil, r) {
		return nil, fmt.Errorf("recording: %w", ErrRecorded)
	}
	s.transport.keyer.running.Go(r.run) // before over is set, so before the engine waits
	return r, nil
}

func (r *Recording) newEar() *ear {
	e := newEarWith(r.rate, settle, settle)
	e.origin = r.began
	return e
}

// bestRate is what the peer and its partner speak at.
func (s *stream) bestRate() int {
	for _, one := range []*stream{s, s.partner.Load()} {
		if one == nil {
			continue
		}
		if t := one.accepts.Load(); t != nil && t.speaks {
			if c, _ := transcodable(t.say); c.Rate > 8000 {
				return 16000
			}
		}
	}
	return 8000
}

// Stop ends the recording. The file is complete when Done is closed.
func (r *Recording) Stop() { r.once.Do(func() { close(r.ending) }) }

// Done is closed when the file is complete.
func (r *Recording) Done() <-chan struct{} { return r.done }

// Pause leaves out what is said, or takes it up again: while a caller tells the
// number of a card, for example. The time goes on, in silence.
func (r *Recording) Pause(on bool) { r.paused.Store(on) }

// Outcome is how the recording stands, or what became of it.
func (r *Recording) Outcome() Outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.outcome
	o.Dropped = r.dropped
	return o
}

// run writes until the recording is stopped, its leg closed or the disk full.
func (r *Recording) run() {
	defer close(r.done)
	defer r.Stop()
	err := r.write()
	r.stream.recording.CompareAndSwap(r, nil)
	if r.file != nil {
		err = errors.Join(err, r.file.Close())
	}
	if err != nil {
		r.leg.call.log.Error("recording failed", "path", r.options.Path, "length", r.written, "error", err)
	}
	r.mu.Lock()
	r.outcome.Finished, r.outcome.Err = true, err
	r.mu.Unlock()
	if r.options.Done != nil {
		r.options.Done(r.Outcome())
	}
}

func (r *Recording) write() (err error) {
	if r.file, err = r.create(r.options.Path, r.options.Format, r.rate); err != nil {
		r.file = nil
		return err
	}
	ticker := time.NewTicker(writing)
	defer ticker.Stop()
	for {
		select {
		case <-r.ending:
			return r.turn(time.Now().Add(settle)) // nothing more comes: what is held back is due
		case now := <-ticker.C:
			if err := r.turn(now); err != nil {
				return err
			}
			if r.options.Beep && !now.Before(r.beepAt) {
				r.beepAt = now.Add(beepEvery)
				r.beep()
			}
		}
	}
}

// turn writes the frames that are due.
func (r *Recording) turn(until time.Time) error {
	r.fetch()
	next := 0
	for ; !r.at.After(until); r.at = r.at.Add(frameTime) {
		for next < len(r.work.packets) && !r.work.packets[next].at.After(r.at) {
			r.hear(&r.work.packets[next])
			next++
		}
		r.compose()
		if len(r.pcm) >= 2*sound.Samples(time.Second, r.rate) {
			if err := r.flush(); err != nil {
				return err
			}
		}
	}
	for ; next < len(r.work.packets); next++ { // of the frame that is not due yet
		r.hear(&r.work.packets[next])
	}
	return r.flush()
}

// compose makes one frame of both voices.
func (r *Recording) compose() {
	for i, e := range r.ears {
		if e.take(r.frames[i], r.at) == nothing {
			clear(r.frames[i])
		}
	}
	left, right := r.frames[own], r.frames[others]
	if r.options.Mirror {
		left, right = right, left
	}
	for i := range left {
		r.pcm = append(r.pcm, left[i], right[i])
	}
}

func (r *Recording) flush() error {
	if len(r.pcm) == 0 {
		return nil
	}
	err := r.file.Write(r.pcm)
	r.written += time.Duration(len(r.pcm)/2) * time.Second / time.Duration(r.rate)
	r.pcm = r.pcm[:0]
	if err == nil && r.written >= longestRecording {
		err = record.ErrFull
	}
	r.mu.Lock()
	r.outcome.Length = r.written
	r.mu.Unlock()
	return err
}

// fetch takes what the readers have put into the queue.
func (r *Recording) fetch() {
	r.work.clear()
	r.mu.Lock()
	r.filling, r.work = r.work, r.filling
	dropped := r.dropped
	r.mu.Unlock()
	if dropped > 0 && !r.said.dropped {
		r.said.dropped = true
		r.leg.call.log.Warn("recording has gaps: the disk is too slow", "path", r.options.Path)
	}
}

// hear lets a packet be decoded when its time comes.
func (r *Recording) hear(p *packet) {
	if _, known := transcodable(p.codec); p.codec.speech() && !known && p.codec.name != mixture {
		r.mu.Lock()
		r.outcome.Unknown++
		r.mu.Unlock()
		if !r.said.unknown {
			r.said.unknown = true
			r.leg.call.log.Warn("recording lacks a voice: its codec is not known", "path", r.options.Path, "codec", p.codec.name)
		}
		return
	}
	if r.voices[p.voice] != p.stream { // somebody else, whose numbers mean nothing beside those before
		r.voices[p.voice] = p.stream
		r.ears[p.voice] = r.newEar()
	}
	r.ears[p.voice].put(p.header, r.work.payload(p), p.codec, p.at)
}
