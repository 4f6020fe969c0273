package media

import (
	"sync"
	"sync/atomic"
	"time"

	sound "ringfence/internal/audio"
	"ringfence/internal/audio/dtmf"
)

// converter speaks to one stream's peer what another's says, in a codec that it
// knows. What comes is held in a jitter buffer and sent on at a pace of our own:
// so pauses, loss and other packet times end here.
type converter struct {
	feed  *stream
	ear   *ear
	frame []int16

	bypassed atomic.Bool // the other peer uses a codec that needs no converting

	mu        sync.Mutex
	mouth     *mouth
	talking   bool   // something was heard: from now on there is no gap
	eventAt   uint32 // timestamp of the digit that is passed on
	events    bool
	stopped   chan struct{}
	stopOnce  sync.Once
	lastHeard time.Time
}

// longPause is how long noise is sent for a peer that sends nothing. Carriers
// end calls without RTP, but who is gone for good needs no noise.
const longPause = 2 * time.Minute

// convert passes on a packet in a codec that this stream's peer did not list. It
// reports the packet's new payload type where that is all it takes.
func (s *stream) convert(feed *stream, p []byte, h header, c codec, now time.Time) (pt uint8, done bool) {
	table := s.accepts.Load()
	if s.kind != audio || table == nil || !table.speaks {
		return 0, false
	}
	payload := payloadOf(p, h)
	if !c.speech() {
		return table.rescale(payload, c)
	}
	if recode := recoding(c, table.say); recode != nil {
		for i, b := range payload {
			payload[i] = recode[b]
		}
		return table.sayType, true
	}
	w := s.converter.Load()
	if w == nil || w.feed != feed || !w.mouth.suits(table) {
		if w = newConverter(feed, s, c); w == nil || !s.replaceConverter(w) {
			return 0, false
		}
	}
	w.bypassed.Store(false)
	w.take(h, payload, c, now)
	return 0, false
}

// beside gives the converter what comes beside the speech it converts: digits
// and noise. It reports false when there is none at work.
func (s *stream) beside(feed *stream, p []byte, h header, c codec, now time.Time) bool {
	w := s.converter.Load()
	if w == nil || w.feed != feed || w.bypassed.Load() {
		return false
	}
	w.take(h, payloadOf(p, h), c, now)
	return true
}

// rescale puts a digit into the payload type of another clock.
func (t *payloadTable) rescale(payload []byte, c codec) (pt uint8, done bool) {
	pt, to := t.events(t.say.clock)
	e, err := dtmf.ParseEvent(payload)
	if c.name != digits || to.clock == 0 || err != nil {
		return 0, false
	}
	e.Duration = dtmf.Scale(e.Duration, int(c.clock), int(to.clock))
	e.Append(payload[:0])
	return pt, true
}

// recoding is the table between the two laws of G.711, which differ in nothing
// but the meaning of each octet.
func recoding(from, to codec) *[256]byte {
	switch {
	case from.name == "PCMA" && to.name == "PCMU":
		return alawToUlaw
	case from.name == "PCMU" && to.name == "PCMA":
		return ulawToAlaw
	}
	return nil
}

var (
	alawToUlaw = sound.Recode("PCMA", "PCMU")
	ulawToAlaw = sound.Recode("PCMU", "PCMA")
)

// newConverter works at the lower rate of both codecs.
func newConverter(feed, to *stream, from codec) *converter {
	a, ok := transcodable(from)
	b, _ := transcodable(to.accepts.Load().say)
	if !ok {
		return nil
	}
	rate := min(a.Rate, b.Rate)
	m := newMouth(to, rate)
	if m == nil {
		return nil
	}
	return &converter{
		feed: feed, ear: newEar(rate), mouth: m, stopped: make(chan struct{}),
		frame: make([]int16, sound.Samples(frameTime, rate)), lastHeard: time.Now(),
	}
}

// take gets a packet from the reader of the other leg's socket.
func (w *converter) take(h header, payload []byte, c codec, now time.Time) {
	w.ear.put(h, payload, c, now)
	if c.name != digits {
		return
	}
	e, err := dtmf.ParseEvent(payload)
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	first := !w.events || h.timestamp != w.eventAt
	w.events, w.eventAt = true, h.timestamp
	w.mouth.tell(e, first, int(c.clock), now)
}

// run sends a frame every 20 ms until the two are parted.
func (w *converter) run() {
	pace(w.stopped, w.turn)
}

// turn sends one frame.
func (w *converter) turn(now time.Time) {
	kind := w.ear.take(w.frame, now)
	w.mu.Lock()
	defer w.mu.Unlock()
	if kind != nothing {
		w.talking, w.lastHeard = true, now
	}
	if !w.talking || now.Sub(w.lastHeard) > longPause || w.bypassed.Load() || w.mouth.to.occupied() {
		w.mouth.pause(len(w.frame))
		return
	}
	w.mouth.speak(w.frame, now)
}

func (w *converter) stop() { w.stopOnce.Do(func() { close(w.stopped) }) }

// bypassConverter lets a converter rest while the other peer uses a codec that
// needs none.
func (s *stream) bypassConverter() {
	if w := s.converter.Load(); w != nil {
		w.bypassed.Store(true)
	}
}

// replaceConverter puts a converter in the place of the last one and starts it;
// nil ends the last one. It reports false when the stream is over.
func (s *stream) replaceConverter(w *converter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w != nil && s.over {
		return false
	}
	if old := s.converter.Swap(w); old != nil {
		old.stop()
	}
	if w != nil {
		s.transport.keyer.running.Go(w.run) // before over is set, so before the engine waits
	}
	return true
}

// pace calls turn every 20 ms until stopped is closed. A turn that comes late is
// made up for, unless it is very late.
func pace(stopped <-chan struct{}, turn func(now time.Time)) {
	ticker := time.NewTicker(frameTime)
	defer ticker.Stop()
	due := time.Now()
	for {
		select {
		case <-stopped:
			return
		case now := <-ticker.C:
			if now.Sub(due) > 10*frameTime {
				due = now.Add(-frameTime)
			}
			for ; now.Sub(due) >= frameTime; due = due.Add(frameTime) {
				turn(now)
			}
		}
	}
}
