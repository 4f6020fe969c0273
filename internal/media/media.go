// Package media relays the RTP of calls between their legs: it allots ports,
// opens them in the packet filter, negotiates SDP, and lets in nothing but the
// media of the peer that signalled it.
//
// A call between two phones goes like this:
//
//	call := engine.NewCall(id)
//	a, err := call.NewLeg(ctx, ...)   // towards the caller
//	err = a.SetRemote(invite)         // its offer
//	b, err := call.NewLeg(ctx, ...)   // towards the callee
//	offer, err := b.Offer(a)          // into the INVITE to the callee
//	err = b.SetRemote(response)       // the callee's answer
//	answer, err := a.Answer(b)        // into the response to the caller
//	call.Bridge(a, b)
//
// A re-INVITE from b's peer runs the other way round: b.SetRemote, a.Offer(b),
// a.SetRemote, b.Answer(a). Where the exchange fails, Rollback both legs. An
// INVITE without an offer is served by b.Offer(nil) and then a.Offer(b); the
// caller's answer comes with its ACK (RFC 3261 section 13.2.1).
package media

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// Errors of NewLeg and of the offer/answer methods. They come wrapped.
var (
	// ErrNoPorts says that a side has no free port pair; 503.
	ErrNoPorts = errors.New("no free media port")
	// ErrFence says that the packet filter did not open the ports in time; 503.
	ErrFence = errors.New("packet filter did not open the media ports")
	// ErrNotAcceptable says that a session description cannot be used: neither
	// audio nor fax, no common codec, or malformed; 488
	// (RFC 3261 section 21.4.26).
	ErrNotAcceptable = errors.New("session description is not acceptable")
	// ErrNoDescription says that a leg's peer has not described its media yet.
	ErrNoDescription = errors.New("peer has not described its media")
	// ErrClosed says that the engine, call or leg was closed before.
	ErrClosed = errors.New("media is closed")
)

// Fence opens ports of the packet filter for as long as calls hold them. Both
// methods are called from one goroutine with many ports at once.
type Fence interface {
	MediaOpen(ctx context.Context, ports []uint16, ttl time.Duration) error
	MediaClose(ctx context.Context, ports []uint16) error
}

const (
	// FenceTTL is how long the packet filter keeps a port open without a
	// refresh; calls outlive a shorter absence of the fence.
	FenceTTL = 60 * time.Second
	// FenceWait is how long NewLeg waits for the packet filter.
	FenceWait = 200 * time.Millisecond

	fenceRefresh = 25 * time.Second
	fenceRetry   = time.Second
	// defaultRest is how long a freed port rests, so that late packets of the
	// old call never reach a new one.
	defaultRest = 5 * time.Second
)

// Config is what an Engine is made from.
type Config struct {
	// Pools are the RTP ranges by side; a side that is missing has no media.
	Pools map[ports.Side]ports.Service
	// Fence may be nil: there is no packet filter to open then.
	Fence Fence
	// Logger must not be nil.
	Logger *slog.Logger
	// Rest is how long a freed port stays bound and drained before its next
	// use; 0 means 5 s. A pool that ran dry shortens it, never below Rest/5.
	Rest time.Duration
	// Refresh is how often live ports are reported to the fence again; 0
	// means 25 s. It must be well below FenceTTL.
	Refresh time.Duration
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
	// peer behind NAT, whose signalled address is not routable, is accepted
	// from this address only. Zero means not known.
	PeerSignalling netip.Addr
	// Security says how the peer's media must be protected; empty is
	// telephony.SecurityOffer.
	Security telephony.MediaSecurity
	// Browser says that the peer is one: what we offer it is DTLS-SRTP with
	// ICE (RFC 8827).
	Browser bool
	// Music says that the peer hears us while it is held: it is offered to listen
	// also by a party that neither sends nor receives.
	Music bool
	// DTMF is the form in which the peer sends and takes digits; empty is
	// telephony.DTMFAuto.
	DTMF telephony.DTMF
}

// kind is what a stream carries. The engine relays the first stream of each kind
// of a session.
type kind int

const (
	audio kind = iota
	video
	fax   // T.38 over UDPTL
	kinds // how many there are
)

func (k kind) String() string { return [...]string{"audio", "video", "fax", "other"}[k] }
