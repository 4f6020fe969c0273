package siptest

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/emiago/sipgo/sip"
)

// WaitCall waits for the next incoming INVITE.
func (p *Phone) WaitCall(ctx context.Context) (*Call, error) {
	select {
	case c := <-p.incoming:
		return c, nil
	case <-p.ctx.Done():
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for a call: %w", ctx.Err())
	}
}

// Respond sends a response of the test's own making to a request that its
// handler took.
func (p *Phone) Respond(req *sip.Request, from netip.AddrPort, code int, headers []string, body string) error {
	tx, _ := p.receive(req, from)
	m := response(req, code, Reason(code), token("t"))
	m.headers = append(m.headers, headers...)
	m.body = body
	return p.reply(tx, m)
}

func (p *Phone) handleRequest(req *sip.Request, from netip.AddrPort) {
	p.mu.Lock()
	handler := p.handler
	call := p.calls[callKey{req.CallID().Value(), tag(req.To().Params)}]
	p.mu.Unlock()
	if handler != nil && handler(req, from) {
		return
	}
	if req.IsAck() {
		p.handleAck(req, call)
		return
	}
	tx, known := p.receive(req, from)
	switch {
	case known:
		p.repeat(tx)
	case req.IsCancel():
		p.handleCancel(req, tx)
	case call != nil:
		call.handle(req, tx)
	case p.subscription(req) != nil:
		p.subscription(req).handle(req, tx)
	case tag(req.To().Params) != "":
		_ = p.reply(tx, response(req, 481, Reason(481), ""))
	case req.IsInvite() && req.Recipient.User != p.config.User && !p.config.AnyUser:
		// A phone that was here before had this address.
		_ = p.reply(tx, response(req, 404, Reason(404), token("t")))
	case req.IsInvite():
		p.handleInvite(req, tx)
	case req.Method == "OPTIONS" || req.Method == "MESSAGE" || req.Method == "NOTIFY":
		_ = p.reply(tx, response(req, 200, Reason(200), token("t")))
	default:
		_ = p.reply(tx, response(req, 405, Reason(405), token("t")))
	}
}

func (p *Phone) handleInvite(req *sip.Request, tx *serverTx) {
	if d, err := ParseSDP(string(req.Body())); err == nil && p.config.Insists && d.Proto != "" && d.Proto != "RTP/SAVP" {
		_ = p.reply(tx, response(req, 488, Reason(488), token("t")))
		return
	}
	c, err := p.newCall(false)
	if err != nil {
		_ = p.reply(tx, response(req, 500, Reason(500), token("t")))
		return
	}
	c.id, c.invited, c.tx = req.CallID().Value(), req, tx
	c.localURI, c.remoteURI = req.To().Address.String(), req.From().Address.String()
	c.remoteTag = tag(req.From().Params)
	c.target = c.remoteURI
	if contact := req.Contact(); contact != nil {
		c.target = contact.Address.String()
	}
	for _, h := range req.GetHeaders("Record-Route") {
		c.route = append(c.route, h.Value())
	}
	c.mu.Lock()
	c.direction = "inactive" // until our answer
	c.late = len(req.Body()) == 0
	c.hear(req.Body())
	deaf := !c.late && !audible(c.shared())
	c.mu.Unlock()
	if deaf {
		c.media.Load().close()
		_ = p.reply(tx, response(req, 488, Reason(488), token("t")))
		return
	}
	if !c.add() {
		c.media.Load().close()
		return
	}
	_ = p.reply(tx, response(req, 100, Reason(100), ""))
	select {
	case p.incoming <- c:
	default:
		_ = c.Reject(486)
		return
	}
	if p.config.AutoAnswer {
		p.start(func() {
			_ = c.Ring()
			_ = c.Answer()
		})
	}
}

// Ring sends 180.
func (c *Call) Ring() error { return c.respondProvisional(180, "") }

// Progress sends 183 with an answer, and early media.
func (c *Call) Progress() error {
	c.mu.Lock()
	if c.earlyBody == "" {
		c.earlyBody = c.answerBody()
	}
	body := c.earlyBody
	c.mu.Unlock()
	return c.respondProvisional(183, body)
}

func (c *Call) respondProvisional(code int, body string) error {
	if s := c.State(); c.outgoing || s.rank() >= Answered.rank() {
		return fmt.Errorf("sending %d: call is %s", code, s)
	}
	m := c.dialogResponse(code)
	m.sdp(body)
	c.set(Ringing)
	return c.phone.reply(c.tx, m)
}

// dialogResponse begins a response that makes or keeps the dialog.
func (c *Call) dialogResponse(code int) *message {
	m := response(c.invited, code, Reason(code), c.localTag)
	m.add("Contact: <%s>", c.phone.contactURI())
	m.add("Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, NOTIFY")
	return m
}

// answerBody is our description in a response: an answer, or an offer if the
// INVITE had none; c.mu is held.
func (c *Call) answerBody() string {
	payloads := c.ownPayloads()
	c.direction = c.wish
	if !c.late {
		payloads = c.shared()
		c.direction = answerTo(c.remote.Direction, c.wish)
		c.aim()
	}
	body := c.describe(c.direction, payloads, false, !c.late)
	c.protect(c.media.Load())
	return body
}

// Answer sends 200 with an answer and retransmits it until the ACK.
func (c *Call) Answer() error {
	c.mu.Lock()
	if c.outgoing || c.state.rank() >= Answered.rank() {
		c.mu.Unlock()
		return fmt.Errorf("answering: call is %s", c.State())
	}
	c.status = 200
	m := c.dialogResponse(200)
	body := c.earlyBody // 200 repeats what 183 said
	if body == "" {
		body = c.answerBody()
	}
	m.sdp(body)
	c.answering = c.tx
	c.setLocked(Answered)
	c.mu.Unlock()
	err := c.phone.reply(c.tx, m)
	c.phone.start(func() {
		if !c.phone.persist(c.tx) && c.State() != Ended {
			_ = c.bye() // RFC 3261 section 13.3.1.4
		}
	})
	return err
}

// Reject sends a final response of 300..699 and further header lines.
func (c *Call) Reject(code int, headers ...string) error {
	if s := c.State(); c.outgoing || s.rank() >= Answered.rank() {
		return fmt.Errorf("rejecting: call is %s", s)
	}
	return c.refuseInvite(code, false, headers...)
}

func (c *Call) refuseInvite(code int, byPeer bool, headers ...string) error {
	c.mu.Lock()
	c.status = code
	c.mu.Unlock()
	m := response(c.invited, code, Reason(code), c.localTag)
	m.headers = append(m.headers, headers...)
	err := c.phone.reply(c.tx, m)
	c.phone.start(func() { c.phone.persist(c.tx) })
	c.finish(&StatusError{code, Reason(code)}, byPeer)
	return err
}

// handleCancel answers a CANCEL; one that crossed our 200 has no effect
// (RFC 3261 section 9.2).
func (p *Phone) handleCancel(req *sip.Request, tx *serverTx) {
	key := serverKey(req, "INVITE")
	p.mu.Lock()
	invite := p.servers[key]
	var call *Call
	for _, c := range p.calls {
		if c.tx != nil && c.tx == invite {
			call = c
		}
	}
	p.mu.Unlock()
	if invite == nil {
		_ = p.reply(tx, response(req, 481, Reason(481), token("t")))
		return
	}
	_ = p.reply(tx, response(req, 200, Reason(200), token("t")))
	if call != nil && call.State().rank() < Answered.rank() {
		_ = call.refuseInvite(487, true)
	}
}

// handleAck ends the retransmission of a final response: in the INVITE's own
// transaction after a failure, in the dialog after success.
func (p *Phone) handleAck(req *sip.Request, call *Call) {
	p.mu.Lock()
	tx := p.servers[serverKey(req, "INVITE")]
	p.mu.Unlock()
	if tx != nil {
		p.ack(tx)
		return
	}
	if call == nil {
		return
	}
	call.mu.Lock()
	defer call.mu.Unlock()
	call.requests["ACK"]++
	if call.answering == nil {
		return
	}
	p.ack(call.answering)
	call.answering = nil
	if call.late {
		call.late = false
		call.hear(req.Body())
	}
	call.notify()
}

// handle answers a request inside the dialog.
func (c *Call) handle(req *sip.Request, tx *serverTx) {
	p := c.phone
	c.mu.Lock()
	c.requests[string(req.Method)]++
	c.notify()
	c.mu.Unlock()
	switch req.Method {
	case "BYE":
		_ = p.reply(tx, response(req, 200, Reason(200), ""))
		if !c.outgoing && c.State().rank() < Answered.rank() {
			_ = c.refuseInvite(487, true)
			return
		}
		c.finish(nil, true)
	case "INVITE", "UPDATE":
		c.handleOffer(req, tx)
	case "INFO", "NOTIFY", "OPTIONS", "MESSAGE":
		_ = p.reply(tx, response(req, 200, Reason(200), ""))
	default:
		_ = p.reply(tx, response(req, 405, Reason(405), ""))
	}
}

// RefuseOffers makes the phone answer the peer's re-INVITEs with a status; 0
// accepts them again.
func (c *Call) RefuseOffers(code int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuse = code
}

// handleOffer answers a re-INVITE or UPDATE with our side of it.
func (c *Call) handleOffer(req *sip.Request, tx *serverTx) {
	p := c.phone
	c.mu.Lock()
	code := c.refuse
	switch {
	case c.reoffering, c.answering != nil && req.IsInvite():
		code = 491 // glare (RFC 3261 section 14.2)
	case c.state != Answered && req.IsInvite():
		code = 500
	}
	if code != 0 {
		c.mu.Unlock()
		c.refuseOffer(req, tx, code)
		return
	}
	if contact := req.Contact(); contact != nil {
		c.target = contact.Address.String()
	}
	c.late = len(req.Body()) == 0 && req.IsInvite()
	m := response(req, 200, Reason(200), "")
	m.add("Contact: <%s>", p.contactURI())
	if len(req.Body()) > 0 {
		c.hear(req.Body())
		if !audible(c.shared()) {
			c.mu.Unlock()
			c.refuseOffer(req, tx, 488)
			return
		}
	}
	if len(req.Body()) > 0 || c.late {
		m.sdp(c.answerBody())
	}
	if req.IsInvite() {
		c.answering = tx
	}
	c.mu.Unlock()
	_ = p.reply(tx, m)
	if req.IsInvite() {
		p.start(func() { p.persist(tx) })
	}
}

func (c *Call) refuseOffer(req *sip.Request, tx *serverTx, code int) {
	_ = c.phone.reply(tx, response(req, code, Reason(code), ""))
	if req.IsInvite() {
		c.phone.start(func() { c.phone.persist(tx) })
	}
}

// audible reports whether there is a codec among the payload types.
func audible(payloads []uint8) bool {
	return slices.ContainsFunc(payloads, func(pt uint8) bool { return pt != events })
}
