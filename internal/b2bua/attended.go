package b2bua

import (
	"time"

	"ringfence/internal/dialog"
	"ringfence/internal/events"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// consulted carries out a REFER whose Refer-To names another call of the
// transferor with Replaces (RFC 5589 section 7): the far ends of both calls are
// joined. A call that is not ours cannot be.
func (c *call) consulted(l *dialog.Leg, p replaces, sub *subscription) {
	second := c.s.dialogs.Find(p.callID, p.to, p.from)
	if second == nil {
		sub.tell(481, nil)
		return
	}
	c.s.dialogs.Join(&c.box, second.Mailbox(), func() { c.consult(l, second, p, sub) })
}

// consult goes on in the mailbox of both calls.
func (c *call) consult(l, second *dialog.Leg, p replaces, sub *subscription) {
	d, ok := second.User().(*call)
	switch {
	case c.finished || c.callee == nil || c.leaving != nil || l.Ended():
		sub.tell(481, nil)
	case !ok || d == c || d.finished || d.leaving != nil || d.tenant.ID != c.tenant.ID:
		sub.tell(481, nil)
	case c.number(l) != d.number(second):
		sub.tell(481, nil) // somebody else's call, whoever told its tags
	case d.callee == nil && second == d.caller.leg && d.in != nil && d.caller.media != nil && d.madeOffer():
		c.sendAfter(l, d, sub)
	case d.callee == nil || !second.Confirmed():
		sub.tell(481, nil)
	case p.earlyOnly:
		sub.tell(486, nil)
	default:
		c.joinWith(l, d, second, sub)
	}
}

// number is the extension at the far end of one of the call's legs.
func (c *call) number(l *dialog.Leg) string {
	if l == c.caller.leg {
		return c.record.Caller.Number
	}
	return c.record.Callee.Number
}

// sendAfter lets the far end of c take the place of the transferor in d, a call
// of his that still rings.
func (c *call) sendAfter(l *dialog.Leg, d *call, sub *subscription) {
	by, other := c.sides(l)
	d.in.Reject(sip.Reply{Code: 487, Headers: []sip.Header{because(487)}})
	d.dropRelay()
	d.caller.media.Close()
	d.in, d.early = nil, nil
	d.caller = other.onward()
	d.media = &sharedMedia{MediaCall: d.media, users: 1, with: lend(c.media)}
	d.hidden = c.hides(other)
	d.routed(&d.caller, c)
	d.record.TransferredBy, d.record.Previous, d.record.Caller = c.who(by).Number, c.id, c.who(other)
	d.arriving = &transfer{from: c, by: by, other: other, sub: sub, gone: true}
	sub.tell(200, func() { l.Bye(sip.Header{Name: "Reason", Value: normalClearing}) })
	c.handOver(d, by)
	d.hums()
	d.tell()
}

// joinWith makes one call of the far ends of c and d, between whom the
// transferor stood with l and second. Both of his legs end.
func (c *call) joinWith(l *dialog.Leg, d *call, second *dialog.Leg, sub *subscription) {
	by, caller := c.sides(l)
	between, callee := d.sides(second)
	n := c.follow(caller, by)
	c.s.dialogs.Join(&n.box, &c.box, func() {})
	n.media = &sharedMedia{MediaCall: n.media, users: 1, with: lend(d.media)}
	n.record.Callee, n.record.Answered = d.who(callee), time.Now()
	n.routed(callee, d)
	hidden := d.hides(callee)
	n.callee = &fork{party: callee.onward(), who: n.record.Callee}
	n.state = telephony.CallConnected
	bye := sip.Header{Name: "Reason", Value: normalClearing}
	sub.tell(200, func() { l.Bye(bye) })
	c.handOver(n, by)
	d.handOver(n, between)
	second.Bye(bye)
	n.media.Bridge(n.caller.media, n.callee.media)
	n.s.publish(events.CallStarted{Call: n.show()})
	n.noteHold()
	n.present(&n.caller, n.record.Callee, hidden)
	n.caller.stale = true // is offered to when the callee has answered
	n.meet(&n.caller, &n.callee.party)
}
