package sip

import (
	"bytes"
	"hash/maphash"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// maxAge is how long a registration over UDP may have waited in a queue. Under
// overload the phone has sent it again by then; answering the old one would
// only make the queue of all later ones longer.
const maxAge = 400 * time.Millisecond

const (
	// crowd is how many registrations wait when it begins to matter which.
	crowd = 32
	// restEvery is how long a worker is busy before it looks for what is more
	// urgent, and lets the calls it woke have their turn.
	restEvery   = time.Millisecond
	pollBatches = 64
)

// maxLines bounds the lines of a message.
const maxLines = 1024

// packet is one received message on its way to a worker.
type packet struct {
	flow Flow
	raw  []byte
	came time.Time
}

// late reports whether p is a registration that was sent again by now.
func (p *packet) late() bool {
	return p.flow.Token == "" && time.Since(p.came) > maxAge && bytes.HasPrefix(p.raw, []byte(registerLine))
}

const registerLine = REGISTER + " "

// worker handles the messages of a share of all Call-IDs, in order. Urgent
// holds everything but REGISTER, so that a storm of registrations does not
// delay calls. In a storm the REGISTERs that answer a challenge have a queue of
// their own and go first: what was begun is finished, and new ones are answered
// as far as there is time left. Without that the work of every challenge whose
// answer is then lost would be wasted.
type worker struct {
	urgent, answers, register chan *packet
}

// next is the next message, and false when the endpoint closes.
func (w *worker) next(stop <-chan struct{}) (p *packet, ok bool) {
	select {
	case p = <-w.urgent:
		return p, true
	default:
	}
	select {
	case p = <-w.answers:
		return p, true
	default:
	}
	select {
	case p = <-w.urgent:
	case p = <-w.answers:
	case p = <-w.register:
	case <-stop:
		return p, false
	}
	return p, true
}

func (w *worker) idle() bool { return len(w.urgent)+len(w.answers)+len(w.register) == 0 }

// counters of what happened to messages.
type counters struct {
	received, gated, junk, dropped, late, malformed atomic.Uint64
	requests, responses, stray                      atomic.Uint64
	readErrors, sendErrors, busy, panics            atomic.Uint64
	refused, evicted                                atomic.Uint64
}

// Stats are counts since start.
type Stats struct {
	Received   uint64 // messages from the transports
	Gated      uint64 // dropped by the gate
	Junk       uint64 // no SIP
	Malformed  uint64 // refused with 400 or dropped for their form
	Dropped    uint64 // a queue was full
	Late       uint64 // registrations that had waited too long
	Requests   uint64
	Responses  uint64
	Stray      uint64 // responses that no transaction waits for
	ReadErrors uint64
	SendErrors uint64
	Busy       uint64 // refused with 503 at the transaction limit
	Panics     uint64 // handlers that panicked
	Refused    uint64 // connections beyond the caps
	Evicted    uint64 // connections that gave way to newer ones
	Conns      int    // connections of stream transports
	Pending    int    // transactions in progress
	Completed  int    // answered ones kept for retransmissions
}

// Stats returns the counts.
func (e *Endpoint) Stats() Stats {
	s := &e.stats
	pending, completed := e.txs.size()
	return Stats{
		Received: s.received.Load(), Gated: s.gated.Load(), Junk: s.junk.Load(),
		Malformed: s.malformed.Load(), Dropped: s.dropped.Load(), Late: s.late.Load(),
		Requests: s.requests.Load(), Responses: s.responses.Load(), Stray: s.stray.Load(),
		ReadErrors: s.readErrors.Load(), SendErrors: s.sendErrors.Load(),
		Busy: s.busy.Load(), Panics: s.panics.Load(),
		Refused: s.refused.Load(), Evicted: s.evicted.Load(), Conns: e.conns.size(),
		Pending: pending, Completed: completed,
	}
}

func (e *Endpoint) startWorkers() {
	n := e.cfg.Workers
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	e.seed = maphash.MakeSeed()
	e.stop = make(chan struct{})
	e.packets.New = func() any { return &packet{raw: make([]byte, 0, 2048)} }
	e.buffers.New = func() any { b := make([]byte, 0, 2048); return &b }
	for range n {
		w := &worker{
			urgent:   make(chan *packet, e.cfg.Limits.Queue),
			answers:  make(chan *packet, e.cfg.Limits.Queue),
			register: make(chan *packet, e.cfg.Limits.Queue),
		}
		e.workers = append(e.workers, w)
		e.wg.Go(func() { e.work(w) })
	}
}

func (e *Endpoint) stopWorkers() { close(e.stop) }

// Receive takes one message that came on f. Transports call it, each from one
// goroutine per peer; raw is not kept.
func (e *Endpoint) Receive(f Flow, raw []byte) { e.receive(f, raw, nil) }

// receive is Receive. A message of a connection waits for a place in a full
// queue until gone is closed: its peer will not send it again, and meanwhile
// TCP slows the peer down. A datagram (gone is nil) is dropped.
func (e *Endpoint) receive(f Flow, raw []byte, gone <-chan struct{}) {
	e.stats.received.Add(1)
	if e.cfg.Gate != nil && !e.cfg.Gate(f, raw) {
		e.stats.gated.Add(1)
		return
	}
	if keepAlive(raw) {
		e.pong(f, raw)
		return
	}
	raw = bytes.TrimLeft(raw, "\r\n")
	if !looksLikeSIP(raw) {
		e.junked(f)
		return
	}
	w := e.workers[maphash.Bytes(e.seed, callIDOf(raw))%uint64(len(e.workers))]
	queue := w.urgent
	if bytes.HasPrefix(raw, []byte(registerLine)) {
		queue = w.register
		if len(queue) >= crowd && e.cfg.Answers != nil && e.cfg.Answers(f, raw) {
			queue = w.answers
		}
	}
	if gone == nil && len(queue) == cap(queue) {
		e.stats.dropped.Add(1)
		return
	}
	p := e.packets.Get().(*packet)
	p.flow, p.raw, p.came = f, append(p.raw[:0], raw...), time.Now()
	select {
	case queue <- p:
		return
	default:
	}
	if gone != nil {
		select {
		case queue <- p:
			return
		case <-gone:
		case <-e.stop:
		}
	}
	e.stats.dropped.Add(1)
	e.done(p)
}

// done gives a packet back, unless a huge message made it huge.
func (e *Endpoint) done(p *packet) {
	if cap(p.raw) <= 8192 {
		p.flow = Flow{}
		e.packets.Put(p)
	}
}

// recycle gives a buffer back, unless a huge message made it huge.
func (e *Endpoint) recycle(b *[]byte) {
	if cap(*b) <= 8192 {
		e.buffers.Put(b)
	}
}

func (e *Endpoint) work(w *worker) {
	began := time.Now()
	for {
		waits := w.idle()
		p, ok := w.next(e.stop)
		if !ok {
			return
		}
		if waits {
			began = time.Now()
		}
		e.handleSafely(p)
		e.done(p)
		if !w.idle() && time.Since(began) > restEvery {
			e.poll()
			runtime.Gosched()
			began = time.Now()
		}
	}
}

// handleSafely keeps one bad message from ending the process.
func (e *Endpoint) handleSafely(p *packet) {
	defer func() {
		if r := recover(); r != nil {
			e.stats.panics.Add(1)
			e.log.Error("handling a SIP message panicked",
				slog.Any("panic", r), slog.String("from", p.flow.Remote.String()), slog.String("stack", string(debug.Stack())))
		}
	}()
	if p.late() {
		e.stats.late.Add(1)
		return
	}
	e.handle(p.flow, p.raw, p.came)
}

// looksLikeSIP is the cheap test before a message costs a queue place: the
// first line ends in the version or begins with it.
func looksLikeSIP(b []byte) bool {
	end := bytes.IndexByte(b, '\r')
	if end < 12 || len(b) > maxDatagram {
		return false
	}
	line := b[:end]
	if !bytes.HasPrefix(line, []byte("SIP/")) && !bytes.Contains(line, []byte(" SIP/")) {
		return false
	}
	return bytes.Count(b, []byte{'\n'}) <= maxLines
}

// callIDOf finds the Call-ID in a raw message, for the choice of the worker.
// Where it errs, the message is handled all the same, only not in order with
// its like.
func callIDOf(b []byte) []byte {
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 || i+1 >= len(b) {
			return nil
		}
		b = b[i+1:]
		switch b[0] {
		case 'C', 'c':
			if len(b) > 8 && bytes.EqualFold(b[:7], []byte("Call-ID")) {
				return headerValue(b[7:])
			}
		case 'i', 'I':
			if len(b) > 2 && (b[1] == ':' || isSpace(b[1])) {
				return headerValue(b[1:])
			}
		case '\r':
			return nil
		}
	}
}

// headerValue returns what follows the colon up to the end of the line.
func headerValue(b []byte) []byte {
	b = bytes.TrimLeft(b, " \t")
	if len(b) == 0 || b[0] != ':' {
		return nil
	}
	if i := bytes.IndexByte(b, '\r'); i > 0 {
		b = b[:i]
	}
	return bytes.TrimSpace(b[1:])
}

// seldom writes one line an interval of what strangers can make happen as often
// as they like, with how often it did.
type seldom struct {
	mu    sync.Mutex
	until time.Time
	count uint64
}

const seldomInterval = 10 * time.Second

func (s *seldom) log(log *slog.Logger, message string, attrs ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	now := time.Now()
	if now.Before(s.until) {
		return
	}
	log.Info(message, append(attrs, slog.Uint64("count", s.count))...)
	s.until, s.count = now.Add(seldomInterval), 0
}

// junked counts and reports what is no SIP.
func (e *Endpoint) junked(f Flow) {
	e.stats.junk.Add(1)
	e.junk.log(e.log, "messages that are no SIP", slog.String("last_from", f.Remote.String()))
}
