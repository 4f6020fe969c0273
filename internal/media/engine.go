package media

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"ringfence/internal/audio/tone"
	"ringfence/internal/media/dtls"
	"ringfence/internal/media/quality"
	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// bindTries is how many ports are tried when other programs sit on them.
const bindTries = 32

// Engine owns the media of all calls: sockets, their readers, and the
// goroutine that talks to the packet filter.
type Engine struct {
	log     *slog.Logger
	rest    time.Duration
	doorman *doorman // nil without a fence
	clock   quality.Clock
	clerk   *clerk
	readers sync.WaitGroup
	// certificate is ours in the DTLS associations of new calls; nil if none
	// could be made.
	certificate atomic.Pointer[dtls.Certificate]
	music       func() []int16 // at SoundRate

	mu     sync.RWMutex
	closed bool
	pools  map[ports.Side]*pool
	old    []*pool // replaced by SetPools, until their last pair has rested
	calls  map[*Call]struct{}
	rooms  map[*Room]struct{}

	bridges sync.Mutex // guards Leg.partner of all legs
}

// New starts an engine. The caller must Close it.
func New(c Config) *Engine {
	e := &Engine{log: c.Logger, rest: c.Rest, clock: quality.NewClock(time.Now()), clerk: newClerk(), calls: make(map[*Call]struct{}), rooms: make(map[*Room]struct{})}
	e.music = sync.OnceValue(func() []int16 { return tone.Music(SoundRate) })
	if e.rest <= 0 {
		e.rest = defaultRest
	}
	e.RenewCertificate()
	e.SetPools(c.Pools)
	if c.Fence != nil {
		if c.Refresh <= 0 {
			c.Refresh = fenceRefresh
		}
		e.doorman = newDoorman(c.Fence, c.Refresh, c.Logger)
	}
	return e
}

// RenewCertificate makes a new key and certificate for the DTLS of calls from now
// on; those in progress keep theirs.
func (e *Engine) RenewCertificate() {
	c, err := dtls.NewCertificate()
	if err != nil {
		e.log.Error("no new certificate for calls of browsers; without one they are refused", "error", err)
		return
	}
	e.certificate.Store(c)
}

// SetPools replaces the RTP ranges. Calls in progress keep their ports.
func (e *Engine) SetPools(services map[ports.Side]ports.Service) {
	pools := make(map[ports.Side]*pool, len(services))
	e.mu.Lock()
	defer e.mu.Unlock()
	for side, s := range services {
		pools[side] = newPool(s, e.rest)
	}
	var old []*pool
	for _, p := range e.old {
		if held, resting, _ := p.counts(); held+resting > 0 {
			old = append(old, p)
		}
	}
	for _, p := range e.pools {
		old = append(old, p)
	}
	e.pools, e.old = pools, old
}

// Close ends all calls, closes their ports in the packet filter and waits for
// every goroutine.
func (e *Engine) Close() {
	e.mu.Lock()
	e.closed = true
	calls := make([]*Call, 0, len(e.calls))
	for c := range e.calls {
		calls = append(calls, c)
	}
	rooms := slices.Collect(maps.Keys(e.rooms))
	e.mu.Unlock()
	for _, r := range rooms {
		r.Close()
	}
	for _, c := range calls {
		c.Close()
	}
	e.readers.Wait()
	e.clerk.shut()
	e.doorman.shut()
}

func (e *Engine) allPools() []*pool {
	all := append([]*pool(nil), e.old...)
	for _, p := range e.pools {
		all = append(all, p)
	}
	return all
}

// Stats counts what an Engine holds.
type Stats struct {
	Calls, Legs int
	// Held, Resting and Free count RTP/RTCP port pairs by side.
	Held, Resting, Free map[ports.Side]int
}

// Stats counts calls, legs and ports.
func (e *Engine) Stats() Stats {
	e.mu.RLock()
	defer e.mu.RUnlock()
	s := Stats{Calls: len(e.calls), Held: map[ports.Side]int{}, Resting: map[ports.Side]int{}, Free: map[ports.Side]int{}}
	for c := range e.calls {
		s.Legs += c.size()
	}
	for side, p := range e.pools {
		s.Held[side], s.Resting[side], s.Free[side] = p.counts()
	}
	return s
}

// NewCall starts the media of a call that has no legs yet. The caller must
// Close it.
func (e *Engine) NewCall(id telephony.CallID) *Call {
	c := &Call{engine: e, id: id, log: e.log.With("call", string(id)), certificate: e.certificate.Load()}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		c.closed = true
		return c
	}
	e.calls[c] = struct{}{}
	return c
}

func (e *Engine) forget(c *Call) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.calls, c)
}

// newTransport allots, binds and opens the sockets of a transport whose first
// stream is of the given kind, and starts their readers.
func (c *Call) newTransport(ctx context.Context, p LegParams, k kind) (*transport, error) {
	e := c.engine
	q, err := e.newPair(ctx, p, k)
	if err != nil {
		return nil, err
	}
	if err := e.doorman.open(ctx, q.port, q.port+1); err != nil {
		q.abandon()
		return nil, fmt.Errorf("opening media ports %d and %d: %w", q.port, q.port+1, err)
	}
	t := &transport{pair: q, keyer: keyer{certificate: c.certificate, log: e.log.With("port", q.port), running: &e.readers}}
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.closed {
		q.abandon()
		return nil, ErrClosed
	}
	q.serve(t, &e.readers)
	return t, nil
}

func (e *Engine) newPair(ctx context.Context, p LegParams, k kind) (*pair, error) {
	e.mu.RLock()
	from := e.pools[p.Side]
	closed := e.closed
	e.mu.RUnlock()
	switch {
	case closed:
		return nil, ErrClosed
	case from == nil:
		return nil, fmt.Errorf("side %q has no RTP range: %w", p.Side, ErrNoPorts)
	case !p.Local.IsValid():
		return nil, fmt.Errorf("binding media port: no local address")
	}
	class := classVoice
	if k == video {
		class = classVideo
	}
	var last error
	for range bindTries {
		port, err := from.take()
		if err != nil {
			return nil, err
		}
		q, err := bind(ctx, p.Local, port, class)
		if err == nil {
			q.pool = from
			return q, nil
		}
		from.giveBack(port)
		last = err
		if !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	if errors.Is(last, syscall.EADDRINUSE) || errors.Is(last, syscall.EMFILE) || errors.Is(last, syscall.ENFILE) {
		return nil, fmt.Errorf("%w: %w", ErrNoPorts, last)
	}
	return nil, last
}

// freeTransport puts the ports of a transport to rest and closes them in the
// packet filter.
func (e *Engine) freeTransport(t *transport) {
	t.shut()
	e.doorman.close(t.pair.port, t.pair.port+1)
	t.pair.release()
}

// owns reports whether an address is one of our own sockets, seen by a leg
// with the given parameters. Media sent there would come back for ever.
func (e *Engine) owns(a netip.AddrPort, p LegParams) bool {
	if a.Addr() != p.Local && a.Addr() != p.Advertised && !(p.Local.IsUnspecified() && a.Addr().IsLoopback()) {
		return false
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, pool := range e.allPools() {
		if pool.holds(a.Port()) {
			return true
		}
	}
	return false
}
