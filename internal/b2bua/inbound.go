package b2bua

import (
	"log/slog"
	"math/rand/v2"
	"time"

	"ringfence/internal/dialog"
	"ringfence/internal/dialplan"
	"ringfence/internal/events"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// ofTrunk sees to a request that no extension sent. It reports whether a trunk
// did, and it is seen to.
func (s *Service) ofTrunk(tx *sip.ServerTx) bool {
	if s.c.Trunks == nil {
		return false
	}
	t, found, answered := s.c.Trunks.Identify(tx)
	switch {
	case answered:
		return true
	case !found:
		return false
	case tx.Request().Method != sip.INVITE:
		tx.Reply(sip.Reply{Code: 405, Headers: []sip.Header{sip.Allow()}}) // a trunk brings calls (K04)
		return true
	}
	s.fromTrunk(tx, t)
	return true
}

// fromTrunk begins a call that comes in by a trunk.
func (s *Service) fromTrunk(tx *sip.ServerTx, t telephony.Trunk) {
	snap, r := s.c.Snapshot(), tx.Request()
	tenant, ok := snap.Tenant(t.Tenant)
	if !ok {
		tx.Reply(sip.Reply{Code: 404})
		return
	}
	if tx.Waited() > maxWait {
		tx.Reply(*sip.Busy())
		return
	}
	h := heard{r: r, trunk: t}
	called := h.called()
	number, name, hidden := h.caller()
	plan := s.c.RouteIn(snap, dialplan.InboundRequest{
		Tenant: t.Tenant, Trunk: t.ID, Called: called, Caller: number, At: time.Now(), Down: s.down(t.Tenant), Seed: rand.Uint64(),
	})
	if plan.Caller != "" && plan.Caller != "anonymous" {
		number = plan.Caller // E.164: phones can dial it back
	}
	c := newCall(s, tenant, telephony.Party{Number: number, Name: name, Addr: tx.Flow().Remote}, hidden, called)
	c.record.Direction, c.record.Route.InTrunk, c.record.Route.DID = telephony.Inbound, t.ID, clip(plan.Called)
	if !hidden {
		c.record.Route.CallerID = number
	}
	c.caller.security, c.caller.dtmf, c.before = t.Media, t.DTMF, h.diversions()
	l := &trunkLine{trunk: t, incoming: true}
	c.caller.line = l
	if !s.add(c, false) {
		tx.Reply(*sip.Busy())
		return
	}
	var full error
	l.release, full = s.c.Trunks.Take(t.Tenant, t.ID, false)
	params := c.params(c.record.Callee.Number)
	params.Ended = l.over
	for _, w := range s.c.Trunks.Ways(t.Tenant, t.ID) {
		if w.Auth != nil {
			params.Auth = w.Auth // it may challenge what we send in the call
			break
		}
	}
	h.shown = number
	h.did = plan.Called
	c.extras = h.extras()
	in, err := s.dialogs.Accept(tx, params)
	if err != nil {
		l.over()
		s.remove(c)
		return
	}
	c.box.Post(func() { c.arriveOutside(in, plan, full) })
}

// arriveOutside sends a call from a trunk on its way.
func (c *call) arriveOutside(in *dialog.Inbound, plan dialplan.Plan, full error) {
	c.in, c.caller.leg = in, in.Leg()
	if c.finished {
		in.Reject(sip.Reply{Code: 480})
		return
	}
	c.s.publish(events.CallStarted{Call: c.show()})
	switch {
	case full != nil:
		c.s.c.Logger.Warn("call from a trunk refused", slog.String("call", string(c.id)), slog.String("trunk", c.caller.line.trunk.Name), slog.Any("error", full))
		c.end(telephony.EndTrunks, sip.Reply{Code: 503})
	case in.Request().Has("Replaces"): // nobody outside takes calls over
		c.end(telephony.EndNotFound, sip.Reply{Code: 481})
	case c.before > maxForwards, c.circles(plan.Called):
		c.end(telephony.EndFailed, sip.Reply{Code: 482})
	default:
		if plan.Account != "" {
			c.account, _ = c.s.c.Snapshot().Extension(c.tenant.ID, plan.Account)
		}
		c.route(plan)
	}
}

// circles reports whether a number is called from outside that calls of ours have
// been sent on to, again and again, and nobody has answered: two numbers that
// forward to each other by way of the provider, which may tell nothing of it.
func (c *call) circles(number string) bool {
	n := 0
	for _, o := range c.s.all() {
		l := o.live.Load()
		if o != c && l.Tenant == c.tenant.ID && l.Answered.IsZero() && l.Direction == telephony.Inbound && l.Route.OutTrunk != 0 && l.Callee.Number == number {
			n++
		}
	}
	return number != "" && n >= maxForwards
}
