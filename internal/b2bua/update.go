package b2bua

import (
	"log/slog"
	"time"

	"ringfence/internal/dialog"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// peers returns the party of a leg and the one it hears: while the callee's
// phones still ring, that whose early media the caller gets. Other may be nil.
func (c *call) peers(l *dialog.Leg) (own, other *party) {
	if c.callee != nil {
		return c.sides(l)
	}
	if l == c.caller.leg {
		if c.early != nil {
			other = &c.early.party
		}
		return &c.caller, other
	}
	for _, f := range c.forks {
		if f.leg == l {
			return &f.party, &c.caller
		}
	}
	return nil, nil
}

// Update passes an offer on that a side makes in an UPDATE or a PRACK. The
// other side gets it as UPDATE if it can, else as re-INVITE; one that rings and
// takes no UPDATE gets nothing: then the answer is ours, from what that side
// described last, and only our media know about the change.
func (c *call) Update(u *dialog.Update) {
	from, to := c.peers(u.Leg())
	switch {
	case !c.finished && c.arriving != nil:
		u.Reject(sip.Reply{Code: 491})
		return
	case c.finished || from == nil || to == nil:
		u.Reject(sip.Reply{Code: 481})
		return
	case c.relay != nil:
		u.Reject(sip.Reply{Code: 491})
		return
	}
	if u.Answered() || !c.acknowledged(to, waiting{func() { c.Update(u) }, u.Reject}) {
		return
	}
	from.media.PeerAt(u.Leg().Flow().Remote)
	if err := from.media.SetRemote(u.Request().SDP()); err != nil {
		_, no := c.notAcceptable(from, u.Request().SDP(), err)
		u.Reject(no)
		return
	}
	r := &relay{in: u, from: from, to: to}
	if c.callee == nil && (!to.leg.CanUpdate() || c.early == nil || c.early.leg != from.leg && c.early.leg != to.leg) {
		answerFor(u, from, to)
		return
	}
	offer, err := to.media.Offer(from.media)
	if err != nil {
		from.media.Rollback()
		u.Reject(sip.Reply{Code: 488})
		return
	}
	c.send(r, offer, u.Request().NextHops(), func(x *sip.Response) { c.reinviteAccepted(r, x) }, func(x *sip.Response) { c.reinviteRefused(r, x) })
}

// answerFor answers an offer of from, whose description is taken already, out
// of what to described last, without asking it.
func answerFor(in offer, from, to *party) {
	answer, err := from.media.Answer(to.media)
	if err != nil {
		from.media.Rollback()
		in.Reject(sip.Reply{Code: 488})
		return
	}
	in.Accept(answer)
}

// send makes the offer of a relay to its other side: in an UPDATE if that takes
// it, else in a re-INVITE. One that takes no UPDATE after all, whatever its Allow
// said, is asked again (RFC 3261 sections 8.1.3.5 and 21.4.6).
func (c *call) send(r *relay, offer []byte, hops int, accepted, refused func(*sip.Response)) {
	c.relay = r
	r.timer = time.AfterFunc(relayTimeout, func() { c.box.Post(func() { c.relayExpired(r) }) })
	invite := func() {
		r.out = r.to.leg.Invite(offer, hops, nil, dialog.Answers{Accepted: accepted, Refused: refused})
	}
	if _, invited := r.in.(*dialog.Inbound); invited || !r.to.leg.CanUpdate() {
		invite()
		return
	}
	r.to.leg.Update(offer, hops, func(x *sip.Response) {
		unknown := (x.Code == 405 || x.Code == 501) && !x.Local && !c.finished && !r.over
		switch {
		case x.Success():
			accepted(x)
		case unknown && r.to.leg.Confirmed():
			invite()
		case unknown && r.in != nil:
			c.withoutUpdate(r)
		default:
			refused(x)
		}
	})
}

// withoutUpdate answers an early offer whose other side rings and did not know
// the UPDATE it got: only our media know about the change.
func (c *call) withoutUpdate(r *relay) {
	c.stopRelay()
	r.from.media.Rollback() // of the other side's as well
	if r.from.media.SetRemote(r.in.Request().SDP()) != nil {
		r.in.Reject(sip.Reply{Code: 488})
		return
	}
	answerFor(r.in, r.from, r.to)
}

// reoffer changes or refreshes the session of one side by an offer of our own,
// made of what the other side described last. If it crosses another, it is
// tried again.
func (c *call) reoffer(p, other *party) {
	if c.finished || p.leg.Ended() {
		return
	}
	if c.relay != nil || p.leg.Early() && !p.leg.CanUpdate() {
		p.stale = true // when that is over, or with the ACK
		return
	}
	p.stale = false
	offer, err := p.media.Offer(other.media)
	if err != nil {
		return
	}
	r := &relay{from: other, to: p}
	c.send(r, offer, 0, func(x *sip.Response) {
		r.ack(nil)
		sdp := x.SDP()
		if c.finished {
			return
		}
		if !r.over && (sdp == nil || p.media.SetRemote(sdp) != nil) {
			p.media.Rollback()
		}
		c.stopRelay()
		c.noteHold()
	}, func(x *sip.Response) {
		p.media.Rollback()
		if c.relay == r {
			c.stopRelay()
		}
		switch {
		case c.finished:
		case p.leg.Early() && !p.leg.CanUpdate(): // it takes no UPDATE, whatever its Allow said
			p.stale = true
		case x.Code == 481 || x.Code == 408:
			c.end(telephony.EndFailed, sip.Reply{Code: x.Code})
		default:
			p.leg.Again(x, func() { c.reoffer(p, other) })
		}
	})
}

// Refresh keeps the session of a phone going that does not take UPDATE.
func (c *call) Refresh(l *dialog.Leg) {
	if c.finished || c.callee == nil || c.relay != nil {
		return // a relay refreshes too; the dialog comes again
	}
	own, other := c.sides(l)
	c.reoffer(own, other)
}

// Expired: a side did not refresh its session in time, or our refreshing was
// not answered: the phone is gone.
func (c *call) Expired(l *dialog.Leg) {
	c.s.c.Logger.Info("session was not refreshed", slog.String("call", string(c.id)), slog.String("peer", l.Flow().Remote.String()))
	c.end(telephony.EndFailed, sip.Reply{Code: 408})
}
