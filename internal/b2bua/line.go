package b2bua

import (
	"errors"
	"time"

	"ringfence/internal/dialog"
	"ringfence/internal/dialplan"
	"ringfence/internal/telephony"
)

// trunkLine is what a party is reached over that is no phone of ours: a trunk. It is
// held as long as the leg lasts, whatever calls that goes on in.
type trunkLine struct {
	trunk    telephony.Trunk
	incoming bool // it called us
	way      Way
	attempt  dialplan.Attempt
	release  func()
	meter    Meter
	said     bool // what its server answered has been told
}

// over gives back what the line holds, once.
func (l *trunkLine) over() {
	if l == nil {
		return
	}
	if l.release != nil {
		l.release()
		l.release = nil
	}
	if l.meter != nil {
		l.meter.Ended(time.Now())
		l.meter = nil
	}
}

// told tells what became of the INVITE: its first answer.
func (l *trunkLine) told(s *Service, code int) {
	if l == nil || l.incoming || l.said || code <= 100 {
		return
	}
	l.said = true
	s.c.Trunks.Answered(l.way, code)
}

// onward is a party in the call where it goes on.
func (p *party) onward() party {
	return party{leg: p.leg, media: p.media, security: p.security, tune: p.tune, line: p.line}
}

// own is the party of a leg of an answered call.
func (c *call) own(l *dialog.Leg) *party { own, _ := c.sides(l); return own }

// present says to a party whom it talks with. A trunk is told nothing of it: it
// was told one of the tenant's numbers, and must not hear of others, nor of its
// domain.
func (c *call) present(p *party, who telephony.Party, hidden bool) {
	if p.line == nil {
		p.leg.Present(c.asserted(who, hidden)...)
	}
}

// routed notes how a party came into the call: as it did into the one before.
func (c *call) routed(p *party, before *call) {
	if p.line == nil {
		return
	}
	r, was := &c.record.Route, before.record.Route
	if p.line.incoming {
		c.record.Direction = telephony.Inbound
		r.InTrunk, r.DID = was.InTrunk, was.DID
		return
	}
	if c.record.Direction != telephony.Inbound {
		c.record.Direction = telephony.Outbound
	}
	r.OutTrunk, r.Sent, r.CallerID = was.OutTrunk, was.Sent, was.CallerID
	r.Class, r.Account, r.Emergency = was.Class, was.Account, was.Emergency
}

var errNoRoom = errors.New("trunk takes no more calls")

// via is a way of a trunk that is tried.
type via struct {
	trunk   telephony.Trunk
	way     Way
	attempt dialplan.Attempt
}

// seize counts a call on the trunk that it is to go to; nil is a phone.
func (c *call) seize(p device) (*trunkLine, error) {
	if p.via == nil {
		return nil, nil
	}
	l := &trunkLine{trunk: p.via.trunk, way: p.via.way, attempt: p.via.attempt}
	if l.release, c.out.release = c.out.release, nil; l.release != nil {
		return l, nil
	}
	release, err := c.s.c.Trunks.Take(c.tenant.ID, l.trunk.ID, c.out.plan.Emergency)
	if err != nil {
		return nil, errors.Join(errNoRoom, err)
	}
	l.release = release
	return l, nil
}
