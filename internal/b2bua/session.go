package b2bua

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"ringfence/internal/dialog"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// relayTimeout is how long the other side may take to answer a re-INVITE.
const relayTimeout = 30 * time.Second

// errNoAnswer says that a 2xx to an offer came without an answer.
var errNoAnswer = errors.New("no session description in the answer")

// offer is a re-INVITE, UPDATE or PRACK with which a side changes the session.
type offer interface {
	Request() *sip.Request
	Accept(sdp []byte)
	Reject(sip.Reply)
}

// relay is the offer of one side on its way to the other.
type relay struct {
	in       offer            // nil: ours
	out      *dialog.Outbound // nil: an UPDATE
	from, to *party
	late     bool // the offer comes in the 2xx of the other side
	over     bool // the one who asked has been answered
	timer    *time.Timer
}

func (r *relay) ack(sdp []byte) {
	if r.out != nil {
		r.out.Ack(sdp)
	}
}

func (r *relay) cancel() {
	if r.out != nil {
		r.out.Cancel()
	}
}

// sides returns the party of a leg and the opposite one.
func (c *call) sides(l *dialog.Leg) (own, other *party) {
	if l == c.caller.leg {
		return &c.caller, &c.callee.party
	}
	return &c.callee.party, &c.caller
}

// Cancelled: the caller gave up, or took its re-INVITE back.
func (c *call) Cancelled(in *dialog.Inbound) {
	if c.finished {
		return
	}
	if in.Initial() {
		h := sip.Header{Name: "Reason", Value: "SIP;cause=487"}
		c.cancelForks(nil, h)
		if c.callee != nil { // our 200 waited for a PRACK
			c.callee.leg.Bye(h)
		}
		c.finish(telephony.EndCancelled, 487)
		return
	}
	if r := c.relay; r != nil && r.in == in {
		r.over = true
		r.from.media.Rollback()
		r.cancel()
	}
}

// Acked: a side acknowledged our 2xx. Its session description is the answer to
// an offer that the other side made.
func (c *call) Acked(in *dialog.Inbound, sdp []byte) {
	if c.finished {
		return
	}
	if in.Initial() {
		if c.in == in && c.callee != nil && in.Request().SDP() == nil && !in.Settled() {
			c.ackedLate(sdp)
		}
		switch {
		case c.finished || c.callee == nil:
		case c.callee.stale:
			c.reoffer(&c.callee.party, &c.caller)
		case c.caller.stale:
			c.reoffer(&c.caller, &c.callee.party)
		}
	} else if r := c.relay; r != nil && r.in == in && r.late {
		c.lateAnswer(r.out, r.from, r.to, sdp)
		c.stopRelay()
	}
	if w := c.waits; w != nil {
		c.waits = nil
		w.resume()
	}
}

// waiting is an offer that cannot be passed on yet.
type waiting struct {
	resume func()
	refuse func(sip.Reply)
}

// acknowledged reports whether an offer can be passed on to a side now. If that
// side's ACK to our 2xx is still on its way, which the other side cannot know,
// w is resumed when it has come.
func (c *call) acknowledged(to *party, w waiting) bool {
	if to == nil || !to.leg.Unacked() || c.waits != nil {
		return true
	}
	c.waits = &w
	return false
}

func (c *call) lateAnswer(out *dialog.Outbound, from, to *party, sdp []byte) {
	if err := from.describe(sdp); err != nil {
		c.end(c.notAcceptable(from, sdp, err))
		return
	}
	c.media.Bridge(from.media, to.media)
	answer, err := to.media.Answer(from.media)
	if err != nil {
		c.end(telephony.EndFailed, sip.Reply{Code: 488})
		return
	}
	out.Ack(answer)
	c.noteHold()
}

// NoAck: a side never acknowledged our 2xx (RFC 3261 section 13.3.1.4) or our
// reliable provisional response (RFC 3262 section 3); the call is dead.
func (c *call) NoAck(in *dialog.Inbound) {
	c.end(telephony.EndFailed, sip.Reply{Code: 408})
}

// Bye: one side hung up.
func (c *call) Bye(l *dialog.Leg, r *sip.Request) {
	if !c.finished && c.arriving != nil {
		c.abandon()
		return
	}
	if c.finished || c.callee == nil || c.leaving != nil && c.parted(l) {
		return
	}
	h := sip.Header{Name: "Reason", Value: normalClearing}
	if why := reasonOf(r); why != "" {
		h.Value = why
	}
	reason := telephony.EndCallerHungUp
	if l != c.caller.leg {
		reason = telephony.EndCalleeHungUp
	}
	_, other := c.sides(l)
	other.leg.Bye(h)
	c.finish(reason, 200)
}

// reasonOf is the first Reason of a request as it may be told to the other side:
// protocol and cause (RFC 3326 section 2). The text is the peer's own, and names
// hosts at times.
func reasonOf(r *sip.Request) string {
	values := r.Values("Reason")
	if len(values) == 0 {
		return ""
	}
	protocol, params, _ := strings.Cut(values[0], ";")
	if protocol = strings.TrimSpace(protocol); protocol != "SIP" && protocol != "Q.850" {
		return ""
	}
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(p, "=")
		if cause, err := strconv.ParseUint(strings.TrimSpace(value), 10, 10); err == nil && strings.EqualFold(strings.TrimSpace(name), "cause") {
			return protocol + ";cause=" + strconv.FormatUint(cause, 10)
		}
	}
	return ""
}

// Reinvite passes a changed session on to the other side: hold, a new address,
// or the refresh of a session timer.
func (c *call) Reinvite(in *dialog.Inbound) {
	switch {
	case c.finished || c.callee == nil && c.arriving == nil:
		in.Reject(sip.Reply{Code: 481})
		return
	case c.relay != nil, c.callee == nil:
		in.Reject(sip.Reply{Code: 491}) // both sides at once (RFC 3261 section 14.2)
		return
	}
	from, to := c.sides(in.Leg())
	if in.Answered() || !c.acknowledged(to, waiting{func() { c.Reinvite(in) }, in.Reject}) {
		return
	}
	r := &relay{in: in, from: from, to: to}
	from.media.PeerAt(in.Leg().Flow().Remote)
	var offer []byte
	if sdp := in.Request().SDP(); sdp == nil {
		r.late = true
	} else {
		err := from.media.SetRemote(sdp)
		if err == nil {
			if offer, err = to.media.Offer(from.media); err != nil {
				from.media.Rollback()
			}
		}
		if err != nil {
			_, no := c.notAcceptable(from, sdp, err)
			in.Reject(no)
			return
		}
	}
	c.send(r, offer, in.Request().NextHops(), func(x *sip.Response) { c.reinviteAccepted(r, x) }, func(x *sip.Response) { c.reinviteRefused(r, x) })
}

func (c *call) reinviteAccepted(r *relay, x *sip.Response) {
	if c.finished {
		r.ack(nil)
		return
	}
	sdp := x.SDP()
	err := r.to.describe(sdp)
	if r.over {
		// Taken back or timed out meanwhile: the other side has the session
		// of an offer nobody holds to any more, so it keeps hearing us only.
		r.ack(nil)
		c.stopRelay()
		return
	}
	var reply []byte
	switch {
	case err != nil:
	case r.late:
		reply, err = r.from.media.Offer(r.to.media)
	default:
		r.ack(nil)
		reply, err = r.from.media.Answer(r.to.media)
	}
	if err != nil {
		r.ack(nil)
		r.from.media.Rollback()
		r.in.Reject(sip.Reply{Code: 488})
		c.stopRelay()
		return
	}
	c.noteHold()
	r.in.Accept(reply)
	if !r.late {
		c.stopRelay()
	}
}

func (c *call) reinviteRefused(r *relay, x *sip.Response) {
	if c.relay == r {
		c.stopRelay()
	}
	if c.finished {
		return
	}
	if !r.over && !r.late {
		r.from.media.Rollback()
	}
	switch {
	case x.Code == 481 || x.Code == 408:
		r.in.Reject(sip.Reply{Code: 481})
		c.end(telephony.EndFailed, sip.Reply{Code: 481})
	case x.Code == 491:
		r.in.Reject(sip.Reply{Code: 491})
	case x.Code == 500 || x.Code == 503:
		r.in.Reject(sip.Reply{Code: 500, Headers: []sip.Header{{Name: "Retry-After", Value: "5"}}})
	default:
		r.in.Reject(sip.Reply{Code: 488})
	}
}

func (c *call) relayExpired(r *relay) {
	if c.finished || c.relay != r || r.over {
		return
	}
	if in, ok := r.in.(*dialog.Inbound); ok && r.late && in.Answered() {
		return // waits for an ACK, which the dialog watches
	}
	r.over = true
	r.from.media.Rollback()
	if r.in != nil {
		r.in.Reject(sip.Reply{Code: 500, Headers: []sip.Header{{Name: "Retry-After", Value: "5"}}})
	}
	r.cancel()
}

func (c *call) stopRelay() {
	if c.relay != nil {
		c.relay.timer.Stop()
		c.relay = nil
	}
	if c.callee == nil || c.finished {
		return
	}
	own, other := &c.caller, &c.callee.party
	if !own.stale {
		own, other = other, own
	}
	if own.stale {
		c.box.Post(func() { c.reoffer(own, other) })
	}
}

// noteHold shows a call as held while one side's session does not take media, and
// lets the other side hear music.
func (c *call) noteHold() {
	if c.finished || c.callee == nil {
		return
	}
	c.caller.held, c.callee.held = c.caller.media.Holds(), c.callee.media.Holds()
	c.hums()
	if c.caller.held || c.callee.held {
		c.become(telephony.CallHeld)
	} else {
		c.become(telephony.CallConnected)
	}
}

// Request passes INFO and MESSAGE on, carries REFER out and refuses what we do
// not do.
func (c *call) Request(l *dialog.Leg, tx *sip.ServerTx) {
	switch r := tx.Request(); {
	case r.Method == sip.REFER:
		c.refer(l, tx)
	case r.Method == sip.INFO:
		c.info(l, tx)
	case r.Method == sip.MESSAGE && len(r.Body) > maxMessage:
		tx.Reply(sip.Reply{Code: 413})
	case r.Method == sip.MESSAGE:
		c.pass(l, tx)
	default:
		tx.Reply(sip.Unhandled(r.Method))
	}
}
