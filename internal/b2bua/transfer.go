package b2bua

import (
	"time"

	"ringfence/internal/dialog"
	"ringfence/internal/events"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// transfer is how a call came to its caller: another call's party was sent on
// to it and waits until somebody answers.
type transfer struct {
	from      *call  // with the transferor
	by, other *party // transferor and transferee in it
	sub       *subscription
	gone      bool // the transferor has left, and from is over
}

// sharedMedia is media that outlive a call because legs of it go on in another.
// Calls that share it share a mailbox.
type sharedMedia struct {
	MediaCall
	users int
	with  MediaCall // let go together with it
}

func share(m MediaCall) *sharedMedia { return &sharedMedia{MediaCall: m, users: 1} }

// lend takes another part in the media of a call.
func lend(m MediaCall) MediaCall {
	s := m.(*sharedMedia)
	s.users++
	return s
}

func (s *sharedMedia) Close() {
	if s.users--; s.users > 0 {
		return
	}
	s.MediaCall.Close()
	if s.with != nil {
		s.with.Close()
	}
}

// who is the person at one side.
func (c *call) who(p *party) telephony.Party {
	if p == &c.caller {
		return c.record.Caller
	}
	return c.record.Callee
}

// hides reports whether the person at one side withholds its number.
func (c *call) hides(p *party) bool { return c.hidden && p == &c.caller }

// follow makes the call in which one party of c goes on as caller, because by
// handed it over. It is in the same mailbox as c.
func (c *call) follow(p, by *party) *call {
	now := time.Now()
	n := &call{
		s: c.s, id: newCallID(now), tenant: c.tenant, hidden: c.hides(p),
		done: make(chan struct{}), state: telephony.CallTrying, audited: now,
		caller: p.onward(), media: lend(c.media),
	}
	n.record = telephony.CallRecord{
		ID: n.id, Tenant: c.tenant.ID, Node: c.s.c.Node, Direction: telephony.Internal, Started: now,
		Caller: c.who(p), TransferredBy: c.who(by).Number, Previous: c.id,
	}
	if !c.hides(by) {
		n.referredBy = []sip.Header{{Name: "Referred-By", Value: "<" + c.aor(c.who(by).Number) + ">"}} // RFC 3892
	}
	n.routed(&n.caller, c)
	n.box.Panicked = n.panicked
	n.show()
	c.s.addFollowing(n)
	return n
}

// addFollowing adds a call that goes on with people who are there already: no
// limit is in its way.
func (s *Service) addFollowing(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[c.id] = c
}

// transfer sends the party opposite of l on to a number (RFC 5589 section 6),
// dialled as the transferor might. The two stay together until somebody
// answers.
func (c *call) transfer(l *dialog.Leg, number string, sub *subscription) {
	by, other := c.sides(l)
	n := c.follow(other, by)
	n.record.Callee, n.record.Route.Dialled = telephony.Party{Number: clip(number)}, clip(number)
	n.account, _ = c.s.c.Snapshot().Extension(c.tenant.ID, c.who(by).Number)
	n.arriving = &transfer{from: c, by: by, other: other, sub: sub}
	c.leaving = n
	c.s.dialogs.Join(&n.box, &c.box, func() {
		if n.finished {
			return
		}
		n.s.publish(events.CallStarted{Call: n.show()})
		n.try(number)
	})
}

// arrive: a phone answered a call whose caller was transferred to it.
func (c *call) arrive(f *fork) {
	t := c.arriving
	c.arriving, c.callee = nil, f
	if c.lament != nil { // in the last moment
		c.lament.timer.Stop()
		c.lament = nil
	}
	if c.noAnswer != nil {
		c.noAnswer.Stop()
	}
	c.cancelForks(f, sip.Header{Name: "Reason", Value: elsewhere})
	c.out.answered(f)
	c.record.Answered = time.Now()
	c.record.Callee = f.who
	c.record.Callee.Addr = f.leg.Flow().Remote
	c.media.Bridge(c.caller.media, f.media)
	if !t.gone {
		t.sub.tell(200, func() { t.by.leg.Bye(sip.Header{Name: "Reason", Value: normalClearing}) })
		t.from.handOver(c, t.by)
	}
	c.become(telephony.CallConnected)
	c.noteHold()
	c.meet(&c.callee.party, &c.caller)
}

// meet tells one party whom it talks with now, and offers it that one's media.
func (c *call) meet(other, p *party) {
	c.present(p, c.who(other), c.hides(other))
	c.reoffer(p, other)
}

// handOver ends a call whose party other than by goes on in n.
func (c *call) handOver(n *call, by *party) {
	c.leaving = nil
	c.dropRelay()
	_, other := c.sides(by.leg)
	other.leg.SetUser(n)
	c.record.Next = n.id
	c.finish(telephony.EndTransferred, 200)
	if w := c.waits; w != nil {
		// It waited for the ACK of who has left. The one who sent it may stay.
		c.waits = nil
		w.refuse(sip.Reply{Code: 491})
	}
	by.media.Close()
}

// dropRelay gives an offer up that is on its way between two parties who part.
func (c *call) dropRelay() {
	r := c.relay
	if r == nil {
		return
	}
	r.over = true
	if r.in != nil {
		r.from.media.Rollback()
		r.in.Reject(sip.Reply{Code: 491})
	}
	r.cancel()
	c.stopRelay()
}

// strand: nobody answered a transferred caller. A transferor who is still there
// keeps it; else it is released.
func (c *call) strand(code int) {
	t := c.arriving
	c.arriving = nil
	t.sub.tell(code, nil)
	if !t.gone {
		t.from.leaving = nil
		t.other.tune = c.caller.tune
		t.from.hums()
		return
	}
	c.caller.leg.Bye(because(code))
}

// abandon: a transferred caller hung up before anybody answered.
func (c *call) abandon() {
	t := c.arriving
	c.arriving = nil
	t.sub.tell(487, nil)
	if c.lament != nil {
		c.finish(c.lament.reason, c.lament.code)
		return
	}
	c.cancelForks(nil, because(487))
	c.finish(telephony.EndCancelled, 487)
}

// parted: one of two parties hung up while one of them is being transferred. It
// reports whether that is all there is to do: the transferor may leave before
// the target answers, and the transferee stays.
func (c *call) parted(l *dialog.Leg) bool {
	n := c.leaving
	t := n.arriving
	if l == t.by.leg {
		t.gone = true
		c.handOver(n, t.by)
		n.hums()
		return true
	}
	c.leaving = nil
	n.abandon()
	return false
}
