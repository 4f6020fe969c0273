package media

import (
	"context"
	"net/netip"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// Engine owns the media of all calls.
type Engine struct{}

// Stats counts what an Engine holds.
type Stats struct {
	Calls, Legs int
	// Held, Resting and Free count RTP/RTCP port pairs by side.
	Held, Resting, Free map[ports.Side]int
}

// New starts an engine. The caller must Close it.
func New(c Config) *Engine { return &Engine{} }

// Close ends all calls, closes their ports in the fence and waits for every
// goroutine.
func (e *Engine) Close() {}

// Stats counts calls, legs and ports.
func (e *Engine) Stats() Stats { return Stats{} }

// NewCall starts the media of a call that has no legs yet.
func (e *Engine) NewCall(id telephony.CallID) *Call { return &Call{} }

// Call is the media of one call: its legs and which two hear each other.
type Call struct{}

// NewLeg allots an RTP/RTCP port pair, binds it and opens it in the fence,
// which takes 200 ms at most. Errors: ErrNoPorts, ErrFence, ErrClosed.
func (c *Call) NewLeg(ctx context.Context, p LegParams) (*Leg, error) { return &Leg{}, nil }

// Bridge relays between a and b both ways from now on; whoever a or b was
// bridged with before hears nothing more.
func (c *Call) Bridge(a, b *Leg) {}

// Close closes all legs.
func (c *Call) Close() {}

// Leg is our end of the media session with one peer.
type Leg struct{}

// RTP is the address this leg advertises for audio.
func (l *Leg) RTP() netip.AddrPort { return netip.AddrPort{} }

// SetRemote takes what this leg's peer said, offer or answer. A changed
// address or port opens the learning of the peer's source again. Errors:
// ErrNotAcceptable; the leg then stays as it was.
func (l *Leg) SetRemote(sdp []byte) error { return nil }

// Rollback forgets the last SetRemote, for an offer that was refused
// (RFC 3264 section 8: the session stays as it was).
func (l *Leg) Rollback() {}

// HasRemote reports whether this leg's peer has described its media.
func (l *Leg) HasRemote() bool { return false }

// Offer builds an offer towards this leg's peer out of what from's peer
// described last. With from nil the offer is our own: PCMA, PCMU, G.722 and
// telephone-event.
func (l *Leg) Offer(from *Leg) ([]byte, error) { return nil, nil }

// Answer builds the answer to the offer that SetRemote took from this leg's
// peer, out of what from's peer described last. With from nil the answer is
// our own.
func (l *Leg) Answer(from *Leg) ([]byte, error) { return nil, nil }

// Quality is what was measured on the audio received from this leg's peer.
func (l *Leg) Quality() telephony.LegQuality { return telephony.LegQuality{} }

// SilentSince is when this leg's peer was last heard (RTP or RTCP), or since
// when it should have been. It is zero while nothing is expected from it:
// before offer and answer are complete, and on hold.
func (l *Leg) SilentSince() time.Time { return time.Time{} }

// Close gives the ports back.
func (l *Leg) Close() {}
