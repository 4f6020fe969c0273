package media

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"ringfence/internal/ports"
)

// pool allots the port pairs of one RTP range: the even port for RTP, the odd
// one above it for RTCP (RFC 3550 section 11), in random order so that the
// next one cannot be guessed.
type pool struct {
	rest time.Duration

	mu      sync.Mutex
	free    []uint16
	held    map[uint16]struct{}
	resting []*pair // oldest first
}

// newPool makes a pool of the pairs that fit into the service's range.
func newPool(s ports.Service, rest time.Duration) *pool {
	p := &pool{rest: rest, held: make(map[uint16]struct{})}
	for port := (int(s.First) + 1) &^ 1; port+1 <= int(s.Last) && port > 0; port += 2 {
		p.free = append(p.free, uint16(port))
	}
	return p
}

// take returns a random free pair. A pool that ran dry gives up the pair that
// has rested longest, but not before a fifth of its rest is over.
func (p *pool) take() (uint16, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if n := len(p.free); n > 0 {
			i := rand.IntN(n)
			port := p.free[i]
			p.free[i] = p.free[n-1]
			p.free = p.free[:n-1]
			p.held[port] = struct{}{}
			return port, nil
		}
		if len(p.resting) == 0 || time.Since(p.resting[0].freed) < p.rest/5 {
			return 0, fmt.Errorf("taking a port pair, %d held, %d resting: %w", len(p.held), len(p.resting), ErrNoPorts)
		}
		oldest := p.resting[0]
		p.mu.Unlock()
		oldest.wake()
		<-oldest.closed
		p.mu.Lock()
	}
}

// giveBack returns a pair whose sockets were never used.
func (p *pool) giveBack(port uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.held, port)
	p.free = append(p.free, port)
}

// lay puts a pair to rest. Its own readers drain it and call rise.
func (p *pool) lay(q *pair) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.held, q.port)
	q.freed = time.Now()
	p.resting = append(p.resting, q)
	q.until(q.freed.Add(p.rest))
}

// rise frees the port of a pair whose rest is over and whose sockets are closed.
func (p *pool) rise(q *pair) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, r := range p.resting { // it is the first but for scheduling
		if r == q {
			p.resting = append(p.resting[:i], p.resting[i+1:]...)
			break
		}
	}
	p.free = append(p.free, q.port)
}

// holds reports whether a call holds the port.
func (p *pool) holds(port uint16) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.held[port&^1]
	return ok
}

// wakeAll ends the rest of all pairs at once, and of those to come.
func (p *pool) wakeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rest = 0
	for _, q := range p.resting {
		q.wake()
	}
}

func (p *pool) counts() (held, resting, free int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.held), len(p.resting), len(p.free)
}
