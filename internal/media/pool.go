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
// next one cannot be guessed. A freed pair rests, so that late packets of its
// call meet a closed port and not the next call.
type pool struct {
	rest time.Duration

	mu      sync.Mutex
	free    []uint16
	held    map[uint16]struct{}
	resting []rested // oldest first

	buffers sync.Pool // of readers: calls come and go faster than the collector
}

type rested struct {
	port  uint16
	since time.Time
}

// newPool makes a pool of the pairs that fit into the service's range.
func newPool(s ports.Service, rest time.Duration) *pool {
	p := &pool{rest: rest, held: make(map[uint16]struct{})}
	p.buffers.New = func() any { return new(buffer) }
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
	now := time.Now()
	p.rise(now, p.rest)
	if len(p.free) == 0 {
		p.rise(now, p.rest/5)
	}
	n := len(p.free)
	if n == 0 {
		return 0, fmt.Errorf("taking a port pair, %d held, %d resting: %w", len(p.held), len(p.resting), ErrNoPorts)
	}
	i := rand.IntN(n)
	port := p.free[i]
	p.free[i] = p.free[n-1]
	p.free = p.free[:n-1]
	p.held[port] = struct{}{}
	return port, nil
}

// rise frees what has rested so long. The lock is held.
func (p *pool) rise(now time.Time, rest time.Duration) {
	for len(p.resting) > 0 && now.Sub(p.resting[0].since) >= rest {
		p.free = append(p.free, p.resting[0].port)
		p.resting = p.resting[1:]
	}
}

// giveBack returns a pair that was never used.
func (p *pool) giveBack(port uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.held, port)
	p.free = append(p.free, port)
}

// lay puts a pair to rest, its sockets closed.
func (p *pool) lay(port uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.held, port)
	p.resting = append(p.resting, rested{port, time.Now()})
}

// holds reports whether a call holds the port.
func (p *pool) holds(port uint16) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.held[port&^1]
	return ok
}

func (p *pool) counts() (held, resting, free int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rise(time.Now(), p.rest)
	return len(p.held), len(p.resting), len(p.free)
}
