package dialplan

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"ringfence/internal/telephony"
)

// Resolve decides where a call of an extension goes: emergency numbers first,
// then extensions, then the outside. What is dialled, what a phone is forwarded
// or transferred to, and what it names in a 3xx all go through it, on the account
// of the extension that wants it so.
func Resolve(snap *telephony.Snapshot, req Request) Plan {
	r := newResolver(snap, req)
	r.outgoing()
	return r.plan
}

// resolver is one decision while it is made.
type resolver struct {
	snap    *telephony.Snapshot
	req     Request
	routing *telephony.Routing
	dial    dialler
	now     time.Time // wall clock of the tenant
	plan    Plan

	own   []ownNumber // of ownOf
	ownOf string
}

func newResolver(snap *telephony.Snapshot, req Request) *resolver {
	return &resolver{
		snap: snap, req: req, routing: snap.Routing(req.Tenant), dial: diallerOf(snap, req.Tenant),
		now: req.At.In(snap.Location(req.Tenant)), plan: Plan{Account: req.Caller.Number},
	}
}

// outgoing is the order of things.
func (r *resolver) outgoing() {
	dialled, err := Clean(r.req.Dialled)
	if err != nil {
		code := 404
		if r.req.Dialled == "" {
			code = 484 // RFC 3261 section 21.4.22
		}
		r.refuse(code, "what was dialled %s", strings.TrimPrefix(err.Error(), "number: "))
		return
	}
	if dialled != r.req.Dialled {
		r.say(TopicDialled, true, "%s, without what stands between the digits", dialled)
	}
	// Nothing may come before emergency numbers: neither a rule, nor a
	// permission, nor an extension of that number.
	if n, ok := r.emergencyNumber(dialled); ok {
		r.emergency(n)
		return
	}
	if r.internal(dialled) {
		return
	}
	r.outside(dialled)
}

// internal takes numbers of extensions.
func (r *resolver) internal(dialled string) bool {
	e, ok := r.snap.Extension(r.req.Tenant, dialled)
	if !ok {
		t, _ := r.snap.Tenant(r.req.Tenant)
		if t.ExtensionFirst == "" || len(dialled) != len(t.ExtensionFirst) || dialled < t.ExtensionFirst || dialled > t.ExtensionLast {
			r.say(TopicInternal, false, "%s is no extension", dialled)
			return false
		}
		// Numbers of the range never leave the house.
		r.refuse(404, "there is no extension %s", dialled)
		return true
	}
	r.plan.Class = telephony.ClassInternal
	if !r.permitted(telephony.ClassInternal) {
		return true
	}
	r.plan.Outcome, r.plan.Extension = ToExtension, e.Number
	r.say(TopicInternal, true, "%s is an extension", e.Number)
	return true
}

// outside takes numbers of everybody else.
func (r *resolver) outside(dialled string) {
	number, ok := r.leave(dialled)
	if !ok {
		r.refuse(404, "there is no extension %s; numbers outside begin with %s", dialled, r.routing.Plan.Outside)
		return
	}
	n, refusal := r.dial.read(number)
	if n.emergency != "" {
		r.emergency(telephony.EmergencyNumber{Number: n.emergency})
		return
	}
	if refusal.Code != 0 {
		r.refuse(refusal.Code, "%s", refusal.Reason)
		return
	}
	r.plan.Number, r.plan.Class, r.plan.Country = n.e164(), r.dial.class(&n), n.zone.iso
	r.say(TopicNumber, true, "%s is %s in %s, %s", number, n.e164(), n.zone.name, n.how)
	r.say(TopicClass, true, "the call is %s", r.plan.Class)
	if !r.permitted(r.plan.Class) || !r.allowed(&n) {
		return
	}
	r.route(&n)
}

// leave takes the outside prefix away. Numbers with + need none.
func (r *resolver) leave(dialled string) (string, bool) {
	prefix := r.routing.Plan.Outside
	if prefix == "" || dialled[0] == '+' {
		return dialled, true
	}
	rest, ok := strings.CutPrefix(dialled, prefix)
	if !ok || rest == "" {
		return "", false
	}
	r.say(TopicDialled, true, "%s, after %s for the outside", rest, prefix)
	return rest, true
}

// permitted asks the role; a refusal is the plan's.
func (r *resolver) permitted(class telephony.CallClass) bool {
	name := cmp.Or(r.req.Caller.Role, telephony.RoleStandard)
	role, _ := r.snap.Role(r.req.Tenant, name)
	if role.Dials(class) {
		r.say(TopicRole, true, "role %s may make %s calls", name, class)
		return true
	}
	r.refuse(403, "extension %s may not make %s calls", r.req.Caller.Number, class)
	return false
}

// allowed looks at the country codes; a refusal is the plan's.
func (r *resolver) allowed(n *number) bool {
	for _, p := range r.routing.Plan.Disallowed {
		if p = strings.TrimPrefix(p, "+"); p != "" && strings.HasPrefix(n.digits, p) {
			r.refuse(403, "numbers that begin with +%s are not allowed", p)
			return false
		}
	}
	if n.home {
		r.say(TopicCountry, true, "%s is the home country", nameOf(n.plan.iso))
		return true
	}
	for _, p := range r.routing.Plan.Allowed {
		p = strings.TrimPrefix(p, "+")
		// What shares a code with a larger country must be named itself: 1 does
		// not open 1876.
		if len(p) >= len(n.zone.prefix) && strings.HasPrefix(n.digits, p) {
			r.say(TopicCountry, true, "+%s is allowed", p)
			return true
		}
	}
	r.refuse(403, "calls to %s (+%s) are not allowed", n.zone.name, n.zone.prefix)
	return false
}

func (r *resolver) refuse(code int, format string, args ...any) {
	r.plan.Outcome, r.plan.Attempts = Refused, nil
	r.plan.Refusal = Refusal{code, fmt.Sprintf(format, args...)}
	r.say(TopicResult, false, "refused with %d: %s", code, r.plan.Refusal.Reason)
}
