package b2bua

import (
	"log/slog"
	"slices"

	"ringfence/internal/dialog"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// Moved: a phone in a call is at another flow, because its NAT forgot the old one
// or its connection was lost. Its media come from another place as well then (see
// media.Leg.PeerAt).
func (c *call) Moved(l *dialog.Leg) {
	own, _ := c.peers(l)
	if c.finished || own == nil || own.leg != l || own.media == nil {
		return
	}
	c.s.c.Logger.Info("a phone in a call has moved", slog.String("call", string(c.id)), slog.String("peer", l.Flow().Remote.String()))
	own.media.PeerAt(l.Flow().Remote)
}

// Registered tells that a phone has registered with this Contact at flow now,
// where it was not before; was is the flow its binding had, if there was one. Its
// calls go on there (RFC 5626 section 1: a phone is where it registered from
// last), so that it need not send anything in them to be found. Only what was at
// the flow that the binding had, or at a connection that has ended, is moved: two
// phones behind different NATs may have the same Contact.
func (s *Service) Registered(tenant telephony.TenantID, number, contact string, was telephony.Flow, now sip.Flow) {
	for _, c := range s.all() {
		l := c.live.Load()
		if l.Tenant == tenant && slices.ContainsFunc(l.Legs, func(x telephony.LiveLeg) bool { return x.Number == number }) {
			c.box.Post(func() { c.moveLegs(number, contact, was, now) })
		}
	}
}

// moveLegs moves the legs of a phone.
func (c *call) moveLegs(number, contact string, was telephony.Flow, now sip.Flow) {
	if c.finished || c.caller.leg == nil {
		return
	}
	if c.record.Caller.Number == number {
		c.moveLeg(c.caller.leg, contact, was, now)
	}
	called := c.forks
	if c.callee != nil {
		called = []*fork{c.callee}
	}
	for _, f := range called {
		if f.who.Number == number {
			c.moveLeg(f.leg, contact, was, now)
		}
	}
}

func (c *call) moveLeg(l *dialog.Leg, contact string, was telephony.Flow, now sip.Flow) {
	e := c.s.c.Endpoint
	at := e.Stored(l.Flow())
	if at == was {
		l.Move(now)
		return
	}
	if _, err := e.Flow(at); err != nil && at.Token != "" && l.ReachedAt(contact) {
		l.Move(now)
	}
}
