package sip

import (
	"sync"
	"time"
)

// Trace is one message as it was received or sent.
type Trace struct {
	Time time.Time
	Sent bool
	Flow Flow
	Raw  []byte // valid during the call only
}

// SetTrace sets what sees every message, or nothing with nil. It is called
// from many goroutines and must not block.
func (e *Endpoint) SetTrace(f func(Trace)) {
	if f == nil {
		e.trace.Store(nil)
		return
	}
	e.trace.Store(&f)
}

func (e *Endpoint) traced(sent bool, f Flow, raw []byte) {
	if t := e.trace.Load(); t != nil {
		(*t)(Trace{Time: time.Now(), Sent: sent, Flow: f, Raw: raw})
	}
}

// TraceRing keeps the last messages within a bound of bytes. Its Add is meant
// for SetTrace.
type TraceRing struct {
	mu      sync.Mutex
	max     int
	size    int
	entries []Trace
}

// NewTraceRing returns a ring of at most max bytes of messages.
func NewTraceRing(max int) *TraceRing { return &TraceRing{max: max} }

// Add copies one message into the ring and lets the oldest go.
func (r *TraceRing) Add(t Trace) {
	t.Raw = append([]byte(nil), t.Raw...)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries = append(r.entries, t)
	r.size += len(t.Raw)
	drop := 0
	for r.size > r.max && drop < len(r.entries) {
		r.size -= len(r.entries[drop].Raw)
		r.entries[drop].Raw = nil
		drop++
	}
	r.entries = r.entries[drop:]
}

// Messages returns what the ring holds, oldest first.
func (r *TraceRing) Messages() []Trace {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Trace(nil), r.entries...)
}
