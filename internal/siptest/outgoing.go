package siptest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
)

// Call sends an INVITE for target ("102", "102@domain" or a SIP URI) and
// returns at once; Wait for its state.
func (p *Phone) Call(ctx context.Context, target string) (*Call, error) {
	return p.CallWith(ctx, target, CallOptions{})
}

// CallWith is Call with another INVITE.
func (p *Phone) CallWith(ctx context.Context, target string, o CallOptions) (*Call, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c, err := p.newCall(true)
	if err != nil {
		return nil, fmt.Errorf("calling %s: %w", target, err)
	}
	c.id, c.options = token("c"), o
	c.localURI, c.remoteURI = p.URI(), p.uri(target)
	if o.From != "" {
		c.localURI = o.From
	}
	c.target = cmp.Or(o.URI, c.remoteURI)
	c.server = p.config.Server
	if o.Target.IsValid() {
		c.server = o.Target
	}
	if !c.add() || !p.start(c.dial) {
		c.media.Load().close()
		return nil, fmt.Errorf("calling %s: %w", target, ErrClosed)
	}
	return c, nil
}

// uri completes a target.
func (p *Phone) uri(target string) string {
	switch {
	case strings.HasPrefix(target, "sip:"), strings.HasPrefix(target, "sips:"), strings.HasPrefix(target, "tel:"):
		return target
	case strings.Contains(target, "@"):
		return "sip:" + target
	}
	return "sip:" + target + "@" + p.config.Domain
}

// dial sends the INVITE, once more with credentials, and follows its responses
// until nobody repeats them any more.
func (c *Call) dial() {
	auth := ""
	for range 3 {
		tx, err := c.invite(auth)
		if err != nil {
			c.end(err)
			return
		}
		res := c.follow(tx)
		c.phone.forgetLater(tx)
		if res == nil {
			return
		}
		line, ch := c.phone.authorize(res, "INVITE", c.inviteURI)
		if ch == nil || auth != "" && !ch.Stale {
			c.finish(&StatusError{res.StatusCode, res.Reason}, true)
			return
		}
		auth = line
	}
	c.end(fmt.Errorf("challenged again and again"))
}

// invite sends the INVITE.
func (c *Call) invite(auth string) (*clientTx, error) {
	c.mu.Lock()
	c.seq++
	b := branch()
	c.inviting, c.inviteSeq, c.inviteURI, c.proceeding, c.status = b, c.seq, c.target, false, 0
	m := c.request("INVITE", b, c.seq)
	m.add("Contact: <%s>", c.phone.contactURI())
	m.add("Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, NOTIFY")
	if auth != "" {
		m.headers = append(m.headers, auth)
	}
	m.headers = append(m.headers, c.options.Headers...)
	switch {
	case c.options.LateOffer:
	case c.options.SDP != "":
		m.sdp(c.options.SDP)
	default:
		m.sdp(c.describe(c.direction, c.ownPayloads(), false, false))
	}
	c.mu.Unlock()
	return c.phone.begin("INVITE", b, c.server, m.bytes())
}

// follow handles the responses to the INVITE. It returns a challenge, or nil
// when the call is over or no response can come any more.
func (c *Call) follow(tx *clientTx) *sip.Response {
	p := c.phone
	limit := time.NewTimer(64 * p.config.T1) // timer B; after 2xx: their retransmissions
	defer limit.Stop()
	over := c.over
	for {
		select {
		case <-p.ctx.Done():
			return nil
		case <-over:
			over = nil
			limit.Reset(4 * p.config.T1)
		case <-limit.C:
			c.mu.Lock()
			waiting := c.proceeding && c.state.rank() < Answered.rank() && c.status == 0
			c.mu.Unlock()
			if waiting { // ringing may take minutes
				limit.Reset(time.Minute)
				continue
			}
			if c.State() != Answered {
				c.end(ErrTimeout)
			}
			return nil
		case res := <-tx.responses:
			switch {
			case res.StatusCode < 200:
				c.provisional(res)
			case res.StatusCode < 300:
				limit.Reset(64 * p.config.T1)
				c.success(res)
			default:
				c.ackFailure(tx, res)
				if res.StatusCode == 401 || res.StatusCode == 407 {
					return res
				}
				c.mu.Lock()
				c.status = res.StatusCode
				c.mu.Unlock()
				c.finish(&StatusError{res.StatusCode, res.Reason}, true)
			}
		}
	}
}

func (c *Call) provisional(res *sip.Response) {
	c.mu.Lock()
	c.proceeding = true
	if res.StatusCode > 100 {
		c.setLocked(Ringing)
		if len(res.Body()) > 0 {
			c.early = true
			c.hear(res.Body())
		}
	}
	cancel := c.cancelling && !c.cancelled
	c.mu.Unlock()
	if cancel {
		_ = c.sendCancel()
	}
}

// success confirms a dialog; every further one, of another branch of a fork,
// is ended at once (RFC 3261 section 13.2.2.4).
func (c *Call) success(res *sip.Response) {
	remoteTag := tag(res.To().Params)
	c.mu.Lock()
	if ack, ok := c.acks[remoteTag]; ok { // a retransmission
		to := c.next()
		c.mu.Unlock()
		_ = c.phone.transmit(to, ack)
		return
	}
	first := c.state.rank() < Answered.rank()
	unwanted := c.cancelling || !first
	if first {
		c.status = res.StatusCode
	}
	c.confirm(res, remoteTag)
	ack := c.request("ACK", branch(), c.inviteSeq)
	if c.options.LateOffer && len(res.Body()) > 0 {
		answer := c.describe(answerTo(c.remote.Direction, c.wish), c.shared(), false, true)
		ack.sdp(answer)
	}
	wire := ack.bytes()
	c.acks[remoteTag] = wire
	to := c.next()
	if !unwanted {
		c.setLocked(Answered)
	}
	c.mu.Unlock()
	_ = c.phone.transmit(to, wire)
	if unwanted {
		c.phone.start(func() { _ = c.bye() })
	}
}

// confirm takes tag, target, route set and media from a 2xx; c.mu is held.
func (c *Call) confirm(res *sip.Response, remoteTag string) {
	c.remoteTag = remoteTag
	if contact := res.Contact(); contact != nil {
		c.target = contact.Address.String()
	}
	c.route = nil
	for _, h := range res.GetHeaders("Record-Route") {
		c.route = append(c.route, h.Value())
	}
	slices.Reverse(c.route)
	c.hear(res.Body())
}

// ackFailure acknowledges a final response of 300 and above, in the INVITE's
// own transaction (RFC 3261 section 17.1.1.3).
func (c *Call) ackFailure(tx *clientTx, res *sip.Response) {
	m := &message{start: "ACK " + c.inviteURI + " SIP/2.0"}
	c.mu.Lock()
	c.phone.head(m, c.inviting)
	m.add("From: <%s>;tag=%s", c.localURI, c.localTag)
	m.add("To: %s", res.To().Value())
	m.add("Call-ID: %s", c.id)
	m.add("CSeq: %d ACK", c.inviteSeq)
	c.mu.Unlock()
	_ = c.phone.transmit(tx.to, m.bytes())
}

// Cancel cancels an outgoing call that was not answered. Before the first
// provisional response the CANCEL waits for it (RFC 3261 section 9.1). If a 2xx
// crosses it, the call is ended with BYE.
func (c *Call) Cancel() error {
	c.mu.Lock()
	if !c.outgoing || c.state.rank() >= Answered.rank() {
		c.mu.Unlock()
		return fmt.Errorf("cancelling: call is %s", c.State())
	}
	c.cancelling = true
	now := c.proceeding && !c.cancelled
	c.mu.Unlock()
	if now {
		return c.sendCancel()
	}
	return nil
}

func (c *Call) sendCancel() error {
	c.mu.Lock()
	if c.cancelled {
		c.mu.Unlock()
		return nil
	}
	c.cancelled = true
	b, seq := c.inviting, c.inviteSeq
	m := &message{start: "CANCEL " + c.inviteURI + " SIP/2.0"}
	c.phone.head(m, b)
	m.add("From: <%s>;tag=%s", c.localURI, c.localTag)
	m.add("To: <%s>", c.remoteURI)
	m.add("Call-ID: %s", c.id)
	m.add("CSeq: %d CANCEL", seq)
	c.mu.Unlock()
	tx, err := c.phone.begin("CANCEL", b, c.server, m.bytes())
	if err != nil {
		return err
	}
	c.phone.start(func() {
		defer c.phone.forget(tx)
		_, _ = c.phone.final(c.phone.ctx, tx)
	})
	return nil
}
