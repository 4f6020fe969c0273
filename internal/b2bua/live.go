package b2bua

import (
	"cmp"
	"strings"

	"ringfence/internal/dialog"
	"ringfence/internal/events"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// Call is one live call as it is now.
func (s *Service) Call(id telephony.CallID) (telephony.LiveCall, bool) {
	s.mu.Lock()
	c := s.calls[id]
	s.mu.Unlock()
	if c == nil {
		return telephony.LiveCall{}, false
	}
	return *c.live.Load(), true
}

// show publishes the call as it is now for Call and Calls.
func (c *call) show() telephony.LiveCall {
	l := telephony.LiveCall{
		ID: c.id, Tenant: c.tenant.ID, State: c.state, Caller: c.record.Caller, Callee: c.record.Callee,
		Direction: c.record.Direction, Route: c.record.Route,
		Started: c.record.Started, Answered: c.record.Answered, Hidden: c.hidden, Legs: c.legs(),
		CallerLeg: c.record.CallerLeg, CalleeLeg: c.record.CalleeLeg, Alarm: c.record.Alarm,
	}
	c.live.Store(&l)
	return l
}

// legs lists the dialogs with phones.
func (c *call) legs() []telephony.LiveLeg {
	if c.caller.leg == nil {
		return nil // it has not begun
	}
	out := make([]telephony.LiveLeg, 0, 1+len(c.forks))
	out = append(out, liveLeg(c.record.Caller, &c.caller, c.state))
	out[0].Placed = true
	if c.callee != nil {
		return append(out, liveLeg(c.callee.who, &c.callee.party, c.state))
	}
	for _, f := range c.forks {
		state := telephony.CallTrying
		if f.rang {
			state = telephony.CallRinging
		}
		if f.refusal == 0 {
			l := liveLeg(f.who, &f.party, state)
			l.Dialog.RemoteTag = cmp.Or(l.Dialog.RemoteTag, f.tag)
			out = append(out, l)
		}
	}
	return out
}

func liveLeg(who telephony.Party, p *party, state telephony.CallState) telephony.LiveLeg {
	l := telephony.LiveLeg{Number: who.Number, Name: who.Name, State: state}
	l.Dialog.CallID = p.leg.CallID()
	l.Dialog.LocalTag, l.Dialog.RemoteTag = p.leg.Tags()
	return l
}

// rings notes that a phone rings. The first one's 180 changes the state of the
// call, which is told by itself.
func (c *call) rings(f *fork, r *sip.Response) {
	if f.rang || r.Code != 180 && r.Code != 183 {
		return
	}
	f.rang, f.tag = true, strings.Clone(r.To.Tag())
	if r.Code != 180 || c.state == telephony.CallRinging {
		c.tell()
	}
}

// tell says that something about the call changed that its state does not say.
func (c *call) tell() { c.s.publish(events.CallChanged{Call: c.show()}) }

// Legs is how many dialogs there are, including those whose calls are over but
// whose far ends have not answered yet.
func (s *Service) Legs() int { return s.dialogs.Len() }

// Alias is a stand-in for a dialog, which Replaces may name as well (see
// dialog.Layer.Alias).
func (s *Service) Alias(d telephony.DialogID) (telephony.DialogID, bool) {
	a, ok := s.dialogs.Alias(d.LocalTag)
	return telephony.DialogID{CallID: a, LocalTag: a, RemoteTag: a}, ok
}

// owned tells whose leg a Call-ID is.
func (s *Service) owned(callID string, u dialog.User) {
	if c, ok := u.(*call); ok && s.c.Leg != nil {
		s.c.Leg(c.tenant.ID, c.id, callID)
	}
}
