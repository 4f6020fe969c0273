package media

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"ringfence/internal/media/dtls"
	"ringfence/internal/telephony"
)

// maxLegs bounds the legs of a call: the caller and the forks that ring.
const maxLegs = 64

// Call is the media of one call: its legs, and which two hear each other.
type Call struct {
	engine *Engine
	id     telephony.CallID
	log    *slog.Logger
	// certificate is ours in its DTLS associations, as long as it lasts: the
	// peers were told its fingerprint. nil if none could be made.
	certificate *dtls.Certificate

	mu     sync.Mutex
	closed bool
	legs   []*Leg
}

// NewLeg allots an RTP/RTCP port pair, binds it and opens it in the packet
// filter, which takes FenceWait at most. Errors: ErrNoPorts, ErrFence,
// ErrClosed.
func (c *Call) NewLeg(ctx context.Context, p LegParams) (*Leg, error) {
	p.Local, p.PeerSignalling = p.Local.Unmap(), p.PeerSignalling.Unmap()
	if !p.Advertised.IsValid() {
		p.Advertised = p.Local
	}
	p.Advertised = p.Advertised.Unmap().WithZone("")
	if n := c.size(); n >= maxLegs {
		return nil, fmt.Errorf("call has %d legs: %w", n, ErrNoPorts)
	}
	t, err := c.newTransport(ctx, p, audio)
	if err != nil {
		return nil, err
	}
	l := &Leg{call: c, params: p, session: newSession(), desk: newDesk(c.engine.clock)}
	l.streams[audio].Store(newStream(audio, t, l.desk, p.DTMF))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		c.engine.freeTransport(t)
		return nil, ErrClosed
	}
	c.legs = append(c.legs, l)
	c.engine.clerk.serve(l)
	return l, nil
}

// Bridge relays between a and b both ways from now on. Whoever a or b was
// bridged with before hears nothing more.
func (c *Call) Bridge(a, b *Leg) {
	e := c.engine
	e.bridges.Lock()
	defer e.bridges.Unlock()
	if a == b || a.gone || b.gone {
		return
	}
	a.part()
	b.part()
	a.partner, b.partner = b, a
	a.link()
}

// Close closes all legs. It may be called again.
func (c *Call) Close() {
	c.mu.Lock()
	c.closed = true
	legs := c.legs
	c.legs = nil
	c.mu.Unlock()
	for _, l := range legs {
		l.Close()
	}
	c.engine.forget(c)
}

func (c *Call) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.legs)
}

func (c *Call) drop(l *Leg) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.legs, l); i >= 0 {
		c.legs = slices.Delete(c.legs, i, i+1)
	}
}
