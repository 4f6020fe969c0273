// Package tries counts wrong tries per source, in bounded memory, and says
// when a source has had enough.
package tries

import (
	"net/netip"
	"sync"
	"time"
)

// maxSources bounds the memory of a Counter. Beyond it the source that has
// been quiet for longest among a few is forgotten.
const maxSources = 4096

// Counter counts wrong tries. A source that reaches Limit within Window is
// blocked for Block.
type Counter struct {
	limit  int
	window time.Duration
	block  time.Duration

	mu      sync.Mutex
	sources map[netip.Addr]entry
}

type entry struct {
	count int
	first time.Time // of the window
	last  time.Time
	until time.Time // blocked until; zero when not
}

// New returns a Counter that blocks a source for block once it made limit
// wrong tries within window.
func New(limit int, window, block time.Duration) *Counter {
	return &Counter{limit: limit, window: window, block: block, sources: make(map[netip.Addr]entry)}
}

// Source is what counts as one source: an IPv4 address, or the /64 an IPv6
// host picks its addresses from.
func Source(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// Wrong counts a wrong try of a at now. It returns until when a is blocked if
// this very try made the limit full, so that a caller announces a block once.
func (c *Counter) Wrong(a netip.Addr, now time.Time) (until time.Time, tripped bool) {
	a = Source(a)
	c.mu.Lock()
	defer c.mu.Unlock()
	e, known := c.sources[a]
	if now.Before(e.until) {
		return e.until, false
	}
	if !known || now.Sub(e.first) > c.window || !e.until.IsZero() {
		e = entry{first: now}
		if !known {
			c.makeRoom(now)
		}
	}
	e.count++
	e.last = now
	if e.count >= c.limit {
		e.until = now.Add(c.block)
		tripped = true
	}
	c.sources[a] = e
	return e.until, tripped
}

// Blocked says whether a is blocked at now.
func (c *Counter) Blocked(a netip.Addr, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return now.Before(c.sources[Source(a)].until)
}

// Forgive forgets what a did.
func (c *Counter) Forgive(a netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.sources, Source(a))
}

// makeRoom keeps the map below its bound. It looks at a few entries only (the
// map's order is random): a spoofed flood must not make every try a full scan.
func (c *Counter) makeRoom(now time.Time) {
	if len(c.sources) < maxSources {
		return
	}
	var victim netip.Addr
	var oldest time.Time
	looked := 0
	for a, e := range c.sources {
		idle := e.last
		if now.Before(e.until) {
			idle = e.until // blocked sources go last
		}
		if looked == 0 || idle.Before(oldest) {
			victim, oldest = a, idle
		}
		if looked++; looked == 16 {
			break
		}
	}
	delete(c.sources, victim)
}
