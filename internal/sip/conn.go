package sip

import (
	"container/list"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// maxQueued is how many bytes wait for a peer that reads slowly, before its
// connection is given up: workers never wait for a peer.
const maxQueued = 256 << 10

var errSlowReader = errors.New("peer reads too slowly")

// conn is one connection of a stream transport. It is the Transport of its
// own flow, so what is sent on the flow leaves on this connection or not at all.
type conn struct {
	e        *Endpoint
	l        *streamListener
	raw      net.Conn   // the socket, for closing whatever is spoken on it
	source   netip.Addr // what counts as one peer
	flow     Flow
	protocol string

	trusted atomic.Bool // the peer has proven who it is
	place   *list.Element
	done    chan struct{} // closed when the connection is dead
	gone    func()        // told then, of a connection that we made; may be nil

	mu       sync.Mutex
	write    func([]byte) error // writes one message; nil until the connection is set up
	goodbye  func()             // tells the peer that nothing more comes; may be nil
	queue    [][]byte
	queued   int
	flushing bool
	closing  bool // nothing more is taken; dies when the queue is empty
	dead     bool
}

// Send puts a message into the connection's queue. It never waits.
func (c *conn) Send(_ Flow, b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closing || c.dead || c.write == nil:
		return ErrFlowGone
	case c.queued+len(b) > maxQueued:
		c.killLocked()
		return errSlowReader
	}
	c.queue = append(c.queue, append([]byte(nil), b...))
	c.queued += len(b)
	if !c.flushing {
		c.flushing = true
		c.l.wg.Go(c.flush)
	}
	return nil
}

func (c *conn) Protocol() string { return c.protocol }
func (c *conn) Reliable() bool   { return true }

// flush writes the queue until it is empty. One runs at a time.
func (c *conn) flush() {
	for {
		c.mu.Lock()
		if len(c.queue) == 0 || c.dead {
			c.flushing = false
			c.queue = nil
			if c.closing {
				c.partLocked()
			}
			c.mu.Unlock()
			return
		}
		b := c.queue[0]
		c.queue = c.queue[1:]
		c.mu.Unlock()
		err := c.write(b)
		c.mu.Lock()
		c.queued -= len(b)
		c.mu.Unlock()
		if err != nil {
			c.kill()
		}
	}
}

// part ends the connection once what is queued has been written.
func (c *conn) part() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
	if !c.flushing {
		c.partLocked()
	}
}

func (c *conn) partLocked() {
	switch {
	case c.dead:
	case c.goodbye != nil:
		c.l.wg.Go(c.goodbye) // may wait for the peer
	default:
		c.killLocked()
	}
}

// kill ends the connection at once.
func (c *conn) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.killLocked()
}

func (c *conn) killLocked() {
	if c.dead {
		return
	}
	c.dead, c.closing = true, true
	close(c.done)
	_ = c.raw.Close()
}

// ready lets messages out.
func (c *conn) ready(write func([]byte) error, goodbye func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.write, c.goodbye = write, goodbye
}

// Authenticated tells the transport that the peer behind f has proven who it
// is: its connection does not give way to newcomers and may be idle for long.
func (f Flow) Authenticated() {
	if c, ok := f.transport.(*conn); ok && !c.trusted.Load() {
		c.l.e.conns.trust(c)
	}
}

// conns are all connections of an endpoint.
type conns struct {
	max, perSource, maxStrangers int

	mu       sync.Mutex
	byToken  map[string]*conn
	bySource map[netip.Addr]int
	// strangers are the connections whose peer has not authenticated, the one
	// that has been quiet for longest first. They give way to newcomers.
	strangers *list.List
}

func newConns(l Limits) *conns {
	return &conns{
		max: l.Connections, perSource: l.ConnectionsPerSource, maxStrangers: l.Strangers,
		byToken: make(map[string]*conn), bySource: make(map[netip.Addr]int), strangers: list.New(),
	}
}

// add admits a connection. At a cap the stranger that has been quiet for
// longest gives way, at the cap of a source one of that source; if there is
// none the newcomer is refused.
func (t *conns) add(c *conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	full := len(t.byToken) >= t.max || t.strangers.Len() >= t.maxStrangers
	if t.bySource[c.source] >= t.perSource {
		full = true
		if !t.evict(func(old *conn) bool { return old.source == c.source }) {
			return false
		}
	} else if full && !t.evict(func(*conn) bool { return true }) {
		return false
	}
	if full {
		c.e.stats.evicted.Add(1)
	}
	t.byToken[c.flow.Token] = c
	t.bySource[c.source]++
	c.place = t.strangers.PushBack(c)
	return true
}

func (t *conns) evict(which func(*conn) bool) bool {
	for p := t.strangers.Front(); p != nil; p = p.Next() {
		if c := p.Value.(*conn); which(c) {
			t.forget(c)
			c.kill()
			return true
		}
	}
	return false
}

// forget takes a connection out of the tables, once.
func (t *conns) forget(c *conn) {
	if t.byToken[c.flow.Token] != c {
		return
	}
	delete(t.byToken, c.flow.Token)
	if t.bySource[c.source]--; t.bySource[c.source] <= 0 {
		delete(t.bySource, c.source)
	}
	if c.place != nil {
		t.strangers.Remove(c.place)
		c.place = nil
	}
}

func (t *conns) remove(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(c)
}

// spoke notes that a whole message came from a stranger.
func (t *conns) spoke(c *conn) {
	if c.trusted.Load() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.place != nil {
		t.strangers.MoveToBack(c.place)
	}
}

func (t *conns) trust(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.trusted.Store(true)
	if c.place != nil {
		t.strangers.Remove(c.place)
		c.place = nil
	}
}

func (t *conns) find(token string) *conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byToken[token]
}

// of lists the connections of a listener.
func (t *conns) of(l *streamListener) (all []*conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.byToken {
		if c.l == l {
			all = append(all, c)
		}
	}
	return all
}

func (t *conns) size() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byToken)
}

// gone ends the books of a connection that is dead: its waiting requests fail,
// and whoever keeps its flow is told.
func (e *Endpoint) gone(c *conn) {
	c.kill()
	e.conns.remove(c)
	if c.gone != nil {
		defer c.gone()
	}
	if !c.trusted.Load() {
		return // nobody keeps the flow of a stranger
	}
	e.log.Debug("connection ended", slog.String("service", string(c.l.id)), slog.String("peer", c.flow.Remote.String()))
	e.txs.flowGone(c)
	if e.cfg.OnFlowGone != nil {
		e.cfg.OnFlowGone(c.flow)
	}
}

// within is a deadline.
func within(d time.Duration) time.Time { return time.Now().Add(d) }
