package dialplan

import (
	"slices"
	"strings"

	"ringfence/internal/telephony"
)

// emergencyNumber reports whether an emergency number was dialled: one of the
// tenant or of its country, with the outside prefix or a + before it or without.
func (r *resolver) emergencyNumber(dialled string) (telephony.EmergencyNumber, bool) {
	dialled = strings.TrimPrefix(dialled, "+")
	if n, ok := r.emergencyExactly(dialled); ok {
		return n, true
	}
	if rest, ok := strings.CutPrefix(dialled, r.routing.Plan.Outside); ok && rest != dialled {
		return r.emergencyExactly(rest)
	}
	return telephony.EmergencyNumber{}, false
}

func (r *resolver) emergencyExactly(dialled string) (telephony.EmergencyNumber, bool) {
	for _, n := range r.routing.Plan.Emergency {
		if n.Number == dialled {
			return n, dialled != ""
		}
	}
	if r.dial.home != nil && whole(r.dial.home.emergency, dialled) {
		return telephony.EmergencyNumber{Number: dialled}, true
	}
	return telephony.EmergencyNumber{}, false
}

// emergency plans a call to an emergency number over every trunk that might carry
// it.
func (r *resolver) emergency(n telephony.EmergencyNumber) {
	if n.Name == "" {
		for _, o := range r.routing.Plan.Emergency {
			if o.Number == n.Number {
				n.Name = o.Name
			}
		}
	}
	r.plan.Emergency, r.plan.EmergencyName, r.plan.Class, r.plan.Number = true, n.Name, telephony.ClassEmergency, n.Number
	r.say(TopicEmergency, true, "%s is an emergency number: no rule, role, limit or hour holds", n.Number)
	if _, ok := r.snap.Extension(r.req.Tenant, n.Number); ok {
		r.say(TopicEmergency, true, "the extension of that number is not called")
	}
	if at := r.req.Caller.EmergencyLocation; at != "" {
		r.plan.EmergencyLocation = at
		r.say(TopicEmergency, true, "the phone is here: %s", at)
	}
	var first, last []Attempt
	for _, route := range r.emergencyRoutes() {
		t, ok := r.snap.Trunk(r.req.Tenant, route.Trunk)
		if !ok || !t.Enabled {
			r.sayTrunk(0, t, false, "is switched off")
			continue
		}
		// Strip is ignored: nothing takes digits from an emergency number.
		a := Attempt{Trunk: t.ID, Number: route.Prepend + n.Number}
		if callback := r.req.Caller.EmergencyCallback; callback != "" {
			route.CallerID = callback
		}
		a.CallerID, a.Diversion = r.identity(t, route)
		if r.down(t.ID) {
			r.sayTrunk(0, t, true, "does not answer now; is tried after the others with "+a.Number)
			last = append(last, a)
			continue
		}
		r.sayTrunk(0, t, true, "is tried with "+a.Number)
		first = append(first, a)
	}
	if r.plan.Attempts = append(first, last...); len(r.plan.Attempts) > 0 {
		r.plan.Outcome = ToOutside
		return
	}
	r.say(TopicEmergency, false, "no trunk is there to carry it")
	if _, ok := r.snap.Extension(r.req.Tenant, n.Number); ok {
		r.plan.Outcome, r.plan.Extension = ToExtension, n.Number
		r.say(TopicEmergency, true, "the extension of that number is better than nobody")
		return
	}
	r.refuse(503, "no trunk is there to carry emergency calls")
}

// emergencyRoutes are those that are set, then all other trunks.
func (r *resolver) emergencyRoutes() []telephony.Route {
	routes := slices.Clone(r.routing.Plan.EmergencyRoutes)
	for _, t := range r.snap.Trunks(r.req.Tenant) {
		if !slices.ContainsFunc(routes, func(o telephony.Route) bool { return o.Trunk == t.ID }) {
			routes = append(routes, telephony.Route{Trunk: t.ID})
		}
	}
	return routes
}

// down reports whether a trunk cannot carry calls now.
func (r *resolver) down(id telephony.TrunkID) bool { return r.req.Down != nil && r.req.Down(id) }
