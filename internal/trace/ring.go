// Package trace keeps the last SIP messages of each call, without their
// secrets, and tells them as a ladder or as a packet capture.
package trace

import (
	"bytes"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// Config bounds a Ring; zero fields take the defaults.
type Config struct {
	Calls   int // bytes of messages that belong to calls; 16 MiB
	Call    int // bytes of one call; 128 KiB
	Pending int // bytes of messages that belong to no call (yet); 2 MiB
	Noise   int // bytes of REGISTER, OPTIONS and event subscriptions; 256 KiB
}

func (c Config) withDefaults() Config {
	set := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	set(&c.Calls, 16<<20)
	set(&c.Call, 128<<10)
	set(&c.Pending, 2<<20)
	set(&c.Noise, 256<<10)
	return c
}

// overhead is what a message costs besides its bytes, and what a dialog costs.
const overhead = 256

// Message is one message of a trace.
type Message struct {
	Time     time.Time
	Sent     bool // by us
	Protocol string
	Local    netip.AddrPort
	Remote   netip.AddrPort
	Raw      []byte // without secrets
}

func (m *Message) cost() int { return len(m.Raw) + overhead }

// list is messages in order, with what they cost.
type list struct {
	messages []Message
	size     int
	dropped  bool // the first ones are gone
}

func (l *list) add(m Message, max int) (grown int) {
	before := l.size
	l.messages = append(l.messages, m)
	l.size += m.cost()
	for l.size > max && len(l.messages) > 1 {
		l.size -= l.messages[0].cost()
		l.messages[0].Raw = nil
		l.messages, l.dropped = l.messages[1:], true
	}
	return l.size - before
}

// call is the trace of one call over all its dialogs.
type call struct {
	list
	key callKey
	ids []string // Call-IDs
}

type callKey struct {
	tenant telephony.TenantID
	id     telephony.CallID
}

// waiting are messages of a Call-ID that belongs to no call: before a call is
// accepted, and of what never becomes one.
type waiting struct {
	list
	id string
}

// maxDialogs bounds the Call-IDs of one call.
const maxDialogs = 64

// Ring keeps messages within its bounds; the oldest calls go first. What
// strangers send has a bound of its own, so that it cannot push calls out.
type Ring struct {
	c      Config
	bodies atomic.Bool // also those of MESSAGE

	mu      sync.Mutex
	off     bool
	byCall  map[telephony.CallID]*call
	calls   []*call // oldest first
	size    int
	byID    map[string]*call    // by Call-ID
	pending map[string]*waiting // by Call-ID
	queue   []*waiting          // oldest first
	waits   int                 // bytes of pending
	noise   list
	second  int64 // in which noises came
	noises  int
}

// New returns an empty ring.
func New(c Config) *Ring {
	return &Ring{
		c: c.withDefaults(), byCall: make(map[telephony.CallID]*call),
		byID: make(map[string]*call), pending: make(map[string]*waiting),
	}
}

// Add takes one message, for sip.Endpoint's SetTrace. It does not block.
func (r *Ring) Add(t sip.Trace) {
	id, method := identify(t.Raw)
	if r.tooMuch(id, method, t.Time) {
		return
	}
	m := Message{
		Time: t.Time, Sent: t.Sent, Protocol: t.Flow.Protocol(), Local: t.Flow.Local, Remote: t.Flow.Remote,
		Raw: redact(bytes.Clone(t.Raw), r.bodies.Load()),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.off {
		return
	}
	if c := r.byID[string(id)]; c != nil {
		r.size += c.add(m, r.c.Call)
		r.shrink()
		return
	}
	if noisy(method) {
		r.noise.add(m, r.c.Noise)
		return
	}
	r.wait(string(id), m)
}

func noisy(method []byte) bool {
	switch string(method) {
	case sip.REGISTER, sip.OPTIONS, sip.SUBSCRIBE, sip.NOTIFY, sip.PUBLISH:
		return true
	}
	return false
}

// noisePerSecond bounds what is spent on messages that belong to no call.
const noisePerSecond = 100

// tooMuch reports whether a message is one more of the kind that comes by the
// thousand.
func (r *Ring) tooMuch(id, method []byte, now time.Time) bool {
	if !noisy(method) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byID[string(id)] != nil {
		return false
	}
	if second := now.Unix(); second != r.second {
		r.second, r.noises = second, 0
	}
	r.noises++
	return r.noises > noisePerSecond
}

// wait keeps a message of an unknown Call-ID. The lock is held.
func (r *Ring) wait(id string, m Message) {
	w := r.pending[id]
	if w == nil {
		w = &waiting{id: id}
		r.pending[id] = w
		r.queue = append(r.queue, w)
	}
	r.waits += w.add(m, r.c.Call)
	for r.waits > r.c.Pending && len(r.queue) > 1 {
		old := r.queue[0]
		r.queue[0] = nil
		r.queue = r.queue[1:]
		if r.pending[old.id] == old {
			delete(r.pending, old.id)
			r.waits -= old.size
		}
	}
}

// Bind says that a Call-ID belongs to a call. What came of it before is the
// call's; a dialog that moves to another call is told there from now on.
func (r *Ring) Bind(tenant telephony.TenantID, id telephony.CallID, callID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.off {
		return
	}
	c := r.byCall[id]
	if c == nil {
		c = &call{key: callKey{tenant, id}}
		r.byCall[id] = c
		r.calls = append(r.calls, c)
	}
	if r.byID[callID] == c || len(c.ids) >= maxDialogs {
		return
	}
	callID = string([]byte(callID)) // not the message it came in
	c.ids = append(c.ids, callID)
	r.byID[callID] = c
	c.size += overhead
	r.size += overhead
	defer r.shrink()
	w := r.pending[callID]
	if w == nil {
		return
	}
	delete(r.pending, callID)
	r.waits -= w.size
	r.queue = slices.DeleteFunc(r.queue, func(x *waiting) bool { return x == w })
	for _, m := range w.messages {
		r.size += c.add(m, r.c.Call)
	}
	c.dropped = c.dropped || w.dropped
	slices.SortStableFunc(c.messages, func(a, b Message) int { return a.Time.Compare(b.Time) })
}

// shrink lets the oldest calls go. The lock is held.
func (r *Ring) shrink() {
	for r.size > r.c.Calls && len(r.calls) > 1 {
		old := r.calls[0]
		r.calls[0] = nil
		r.calls = r.calls[1:]
		r.size -= old.size
		delete(r.byCall, old.key.id)
		for _, id := range old.ids {
			if r.byID[id] == old {
				delete(r.byID, id)
			}
		}
	}
}

// Trace is what is kept of one call.
type Trace struct {
	Messages []Message
	Cut      bool // the first messages are gone
}

// Call returns the trace of a call; telephony.System may see those of all
// tenants.
func (r *Ring) Call(tenant telephony.TenantID, id telephony.CallID) (Trace, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.byCall[id]
	if c == nil || tenant != telephony.System && c.key.tenant != tenant || len(c.messages) == 0 {
		return Trace{}, false
	}
	return Trace{Messages: slices.Clone(c.messages), Cut: c.dropped}, true
}

// Noise returns the last messages that belong to no call: registrations,
// questions, subscriptions.
func (r *Ring) Noise() []Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.noise.messages)
}

// SetBodies says whether the bodies of MESSAGE are kept from now on.
func (r *Ring) SetBodies(on bool) { r.bodies.Store(on) }

// Switch says whether anything is kept. Switched off, the ring forgets what it
// has, and calls leave nothing in it.
func (r *Ring) Switch(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.off = !on; on {
		return
	}
	clear(r.byCall)
	clear(r.byID)
	clear(r.pending)
	r.calls, r.queue, r.size, r.waits, r.noise = nil, nil, 0, 0, list{}
}
