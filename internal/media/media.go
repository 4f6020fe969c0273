// Package media relays the RTP of calls between its legs: it allots ports,
// opens them in the fence, negotiates SDP and lets in nothing but the media of
// the peer that signalled it.
package media

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"ringfence/internal/ports"
)

// Errors of NewLeg and of the offer/answer methods. They are wrapped: use
// errors.Is.
var (
	// ErrNoPorts says that the pool of a side has no free port pair; 503.
	ErrNoPorts = errors.New("no free media port")
	// ErrFence says that the packet filter did not open the ports in time; 503.
	ErrFence = errors.New("packet filter did not open the media ports")
	// ErrNotAcceptable says that a session description cannot be used: no
	// audio over RTP/AVP or RTP/AVPF, no common codec, or malformed; 488
	// (RFC 3261 section 21.4.26).
	ErrNotAcceptable = errors.New("session description is not acceptable")
	// ErrClosed says that the engine, call or leg was closed before.
	ErrClosed = errors.New("media is closed")
)

// FenceTTL is how long the packet filter keeps a media port open without a
// refresh.
const FenceTTL = 60 * time.Second

// Fence opens ports of the packet filter for as long as calls hold them. Both
// methods are called from one goroutine, with many ports at once.
type Fence interface {
	MediaOpen(ctx context.Context, ports []uint16, ttl time.Duration) error
	MediaClose(ctx context.Context, ports []uint16) error
}

// Config is what an Engine is made from.
type Config struct {
	// Pools are the RTP ranges by side; a side that is missing has no media.
	Pools map[ports.Side]ports.Service
	// Fence may be nil: then there is no packet filter to open.
	Fence Fence
	// Logger must not be nil.
	Logger *slog.Logger
	// Rest is how long a freed port stays bound and drained before its next
	// use; 0 means 5 s. A pool that runs dry shortens it, never below Rest/5.
	Rest time.Duration
}

// LegParams says where a leg's media lives.
type LegParams struct {
	// Side picks the RTP range.
	Side ports.Side
	// Local is the address the sockets are bound to; it may be unspecified.
	Local netip.Addr
	// Advertised is the address written into session descriptions; zero means
	// Local.
	Advertised netip.Addr
	// PeerSignalling is where the peer's SIP messages come from. Media of a
	// peer whose signalled address is not routable (NAT) is accepted from
	// this address only. Zero means not known.
	PeerSignalling netip.Addr
}
