package b2bua

import (
	"time"

	"ringfence/internal/dialog"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// replace is a call that is to take the place of another (RFC 3891 section 3):
// somebody picks up what rings at another phone, or takes a call over.
func (c *call) replace() {
	values := c.in.Request().Values("Replaces")
	if len(values) != 1 {
		c.end(telephony.EndFailed, sip.Reply{Code: 400})
		return
	}
	p, ok := parseReplaces(values[0])
	if !ok {
		c.end(telephony.EndFailed, sip.Reply{Code: 400})
		return
	}
	// Who learned of the dialog from the phone's side names it the other way
	// round.
	leg, theirs := c.s.dialogs.Find(p.callID, p.to, p.from), false
	if leg == nil {
		leg, theirs = c.s.dialogs.Find(p.callID, p.from, p.to), true
	}
	if leg == nil {
		c.end(telephony.EndNotFound, sip.Reply{Code: 481})
		return
	}
	c.s.dialogs.Join(&c.box, leg.Mailbox(), func() { c.replaceLeg(leg, theirs, p.earlyOnly) })
}

// replaceLeg goes on in the mailbox of both calls.
func (c *call) replaceLeg(leg *dialog.Leg, theirs, earlyOnly bool) {
	if c.finished {
		return
	}
	old, ok := leg.User().(*call)
	if !ok || old == c || old.finished || old.leaving != nil || old.tenant.ID != c.tenant.ID {
		c.end(telephony.EndNotFound, sip.Reply{Code: 481})
		return
	}
	if code := leg.Replaceable(earlyOnly); code != 0 {
		c.end(telephony.EndFailed, sip.Reply{Code: code})
		return
	}
	switch {
	case c.in.Request().SDP() == nil:
		c.end(telephony.EndFailed, sip.Reply{Code: 488})
	case leg.Early():
		c.pickUp(old, leg)
	case old.callee == nil:
		c.end(telephony.EndNotFound, sip.Reply{Code: 481})
	default:
		c.takeOver(old, leg, theirs)
	}
}

// offerTo makes media of the new phone's offer, to be heard by the other party.
func (c *call) offerTo(media *call, other *party) (MediaLeg, []byte, error) {
	m, err := media.newLeg(c.caller.leg.Flow(), isBrowser(c.caller.leg.Flow(), c.caller.leg.Target()), c.caller.security, c.caller.dtmf)
	if err != nil {
		return nil, nil, err
	}
	c.takesDigits(m, c.caller.leg)
	if err = m.SetRemote(c.in.Request().SDP()); err == nil {
		var answer []byte
		if answer, err = m.Answer(other.media); err == nil {
			return m, answer, nil
		}
	}
	m.Close()
	return nil, nil, err
}

// pickUp lets the phone of c answer in place of one that rings in old. c ends
// with that, and old goes on.
func (c *call) pickUp(old *call, leg *dialog.Leg) {
	var rings *fork
	for _, f := range old.forks {
		if f.leg == leg && f.refusal == 0 {
			rings = f
		}
	}
	if rings == nil || rings.line != nil || old.callee != nil || !old.madeOffer() {
		c.end(telephony.EndNotFound, sip.Reply{Code: 481})
		return
	}
	m, answer, err := c.offerTo(old, &old.caller)
	if err != nil {
		c.refuseMedia(err)
		return
	}
	var forCaller []byte
	if old.arriving == nil {
		if forCaller, err = old.caller.media.Answer(m); err != nil {
			m.Close()
			c.refuseMedia(err)
			return
		}
	}
	f := &fork{party: party{leg: c.caller.leg, media: m, security: c.caller.security}, who: c.record.Caller}
	f.leg.SetUser(old)
	old.present(&f.party, old.record.Caller, old.hidden)
	c.in.Accept(answer)
	c.record.Next = old.id
	c.finish(telephony.EndTransferred, 200)
	if old.arriving != nil {
		old.arrive(f)
		return
	}
	old.media.Bridge(old.caller.media, m)
	old.callee = f
	old.cancelForks(f, sip.Header{Name: "Reason", Value: elsewhere})
	old.caller.stale = old.caller.stale || old.in.Settled() // it heard another one's early media
	old.answer200(f, forCaller)
}

// takeOver lets the phone of c go on in place of one of old's: of leg's, or, if
// the dialog was named from that phone's side, of the one it talks with.
func (c *call) takeOver(old *call, leg *dialog.Leg, theirs bool) {
	own, other := old.sides(leg)
	if theirs {
		own, other = other, own
	}
	m, answer, err := c.offerTo(old, other)
	if err != nil {
		c.refuseMedia(err)
		return
	}
	hidden := old.hides(other)
	c.media, c.caller.media = lend(old.media), m
	c.record.Callee, c.record.Answered = old.who(other), time.Now()
	c.record.Previous, c.record.TransferredBy = old.id, old.who(own).Number
	c.callee = &fork{party: other.onward(), who: c.record.Callee}
	c.routed(&c.callee.party, old)
	c.present(&c.caller, c.record.Callee, hidden)
	c.in.Accept(answer)
	own.leg.Bye(sip.Header{Name: "Reason", Value: elsewhere})
	old.handOver(c, own)
	c.media.Bridge(m, c.callee.media)
	c.become(telephony.CallConnected)
	c.noteHold()
	c.meet(&c.caller, &c.callee.party)
}

// madeOffer reports whether the caller made an offer, and offered whether it is
// known what to offer to phones: that, or its answer in a PRACK to one of ours.
func (c *call) madeOffer() bool { return c.in == nil || c.in.Request().SDP() != nil }
func (c *call) offered() bool   { return c.madeOffer() || c.said }

// answer200 tells the caller that somebody answered.
func (c *call) answer200(f *fork, sdp []byte) {
	if c.noAnswer != nil {
		c.noAnswer.Stop()
	}
	c.record.Answered = time.Now()
	c.record.Callee = f.who
	c.record.Callee.Addr = f.leg.Flow().Remote
	c.present(&c.caller, c.record.Callee, false)
	c.in.Accept(sdp)
	c.become(telephony.CallConnected)
	c.noteHold()
}
