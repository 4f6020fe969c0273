package b2bua

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"ringfence/internal/dialog"
	"ringfence/internal/events"
	"ringfence/internal/media"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// mediaTimeout is how long a call waits for its media (section "When fenced is
// away" of the design: 200 ms in the fence) before it is refused.
const mediaTimeout = time.Second

// start looks for the callee and rings its phones.
func (c *call) start(in *dialog.Inbound) {
	c.in, c.caller.leg = in, in.Leg()
	if c.finished { // hung up by the administrator before it began
		in.Reject(sip.Reply{Code: 480})
		return
	}
	c.s.publish(events.CallStarted{Call: c.show()})
	if in.Request().Has("Replaces") {
		c.replace()
		return
	}
	if c.first.Outcome == "" { // another domain
		c.nobody()
		return
	}
	c.route(c.first)
}

// openMedia takes the caller's offer, if the INVITE had one.
func (c *call) openMedia() error {
	if c.media != nil {
		return nil
	}
	c.media = share(c.s.c.Media.NewCall(c.id))
	var err error
	if c.caller.media, err = c.newLeg(c.caller.leg.Flow(), isBrowser(c.caller.leg.Flow(), c.caller.leg.Target()), c.caller.security, c.caller.dtmf); err != nil {
		return err
	}
	c.takesDigits(c.caller.media, c.caller.leg)
	if sdp := c.in.Request().SDP(); sdp != nil {
		return c.caller.media.SetRemote(sdp)
	}
	return nil
}

// newLeg allots our end of the media of a party, whose SIP comes by a flow. What
// is offered to a browser is DTLS-SRTP.
func (c *call) newLeg(f sip.Flow, browser bool, security telephony.MediaSecurity, dtmf telephony.DTMF) (MediaLeg, error) {
	ctx, cancel := context.WithTimeout(context.Background(), mediaTimeout)
	defer cancel()
	peer := f.Remote.Addr()
	p := media.LegParams{
		Side: f.Side, Local: f.Local.Addr(), Advertised: f.Local.Addr(), PeerSignalling: peer,
		Security: security, Browser: browser, Music: c.tenant.Calls.Music != telephony.MusicOfPhone, DTMF: dtmf,
	}
	if a := c.s.c.Addresses; a != nil {
		p.Local, p.Advertised = a.Local(peer), a.Advertised(peer)
	}
	m, err := c.media.NewLeg(ctx, p)
	if err != nil {
		return nil, err
	}
	m.PeerAt(f.Remote)
	return m, nil
}

// isBrowser reports whether a party is a web page: it speaks SIP over WebSocket
// and, other than a phone that does, knows no address of its own for its Contact
// (RFC 7118 section 5, RFC 2606).
func isBrowser(f sip.Flow, contact string) bool {
	if p := f.Protocol(); p != "WS" && p != "WSS" {
		return false
	}
	u, err := sip.ParseURI(contact)
	return err == nil && strings.HasSuffix(strings.ToLower(u.Host), ".invalid")
}

// refuseMedia answers a call that cannot have media.
func (c *call) refuseMedia(err error) {
	if errors.Is(err, media.ErrNoPorts) || errors.Is(err, media.ErrFence) || errors.Is(err, media.ErrClosed) || errors.Is(err, context.DeadlineExceeded) {
		c.s.c.Logger.Warn("call refused for want of media", slog.String("call", string(c.id)), slog.Any("error", err))
		c.end(telephony.EndFailed, *sip.Busy())
		return
	}
	c.end(c.notAcceptable(&c.caller, c.in.Request().SDP(), err))
}
