package b2bua

import (
	"context"
	"net/netip"
	"time"

	"ringfence/internal/media"
	"ringfence/internal/media/quality"
	"ringfence/internal/telephony"
)

// Media is what calls want of the media engine; Engine adapts the real one.
type Media interface {
	NewCall(id telephony.CallID) MediaCall
}

// MediaCall is the media of one call.
type MediaCall interface {
	NewLeg(ctx context.Context, p media.LegParams) (MediaLeg, error)
	Bridge(a, b MediaLeg)
	Close()
}

// MediaLeg is the media session with one peer. Nil stands for "nobody" where a
// leg is an argument.
type MediaLeg interface {
	PeerAt(addr netip.AddrPort)
	SetRemote(sdp []byte) error
	Rollback()
	Insist() bool
	Spare()
	Spared() bool
	Offer(from MediaLeg) ([]byte, error)
	Answer(from MediaLeg) ([]byte, error)
	Holds() bool
	Hum(t media.Tune, country string) error
	Quality() telephony.LegQuality
	Look() quality.Side
	SilentSince() time.Time
	Unkeyed(ready time.Time) error
	Close()
}

// Engine makes the media engine usable for calls.
func Engine(e *media.Engine) Media { return engine{e} }

type engine struct{ e *media.Engine }

func (e engine) NewCall(id telephony.CallID) MediaCall { return mediaCall{e.e.NewCall(id)} }

type mediaCall struct{ c *media.Call }

func (c mediaCall) NewLeg(ctx context.Context, p media.LegParams) (MediaLeg, error) {
	l, err := c.c.NewLeg(ctx, p)
	if err != nil {
		return nil, err
	}
	return mediaLeg{l}, nil
}

func (c mediaCall) Bridge(a, b MediaLeg) { c.c.Bridge(unwrap(a), unwrap(b)) }
func (c mediaCall) Close()               { c.c.Close() }

type mediaLeg struct{ *media.Leg }

func (l mediaLeg) Offer(from MediaLeg) ([]byte, error)  { return l.Leg.Offer(unwrap(from)) }
func (l mediaLeg) Answer(from MediaLeg) ([]byte, error) { return l.Leg.Answer(unwrap(from)) }

func unwrap(l MediaLeg) *media.Leg {
	if l == nil {
		return nil
	}
	return l.(mediaLeg).Leg
}
