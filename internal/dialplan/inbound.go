package dialplan

import (
	"fmt"
	"slices"
	"strings"

	"ringfence/internal/telephony"
)

// ResolveInbound decides where a call from a trunk goes. A destination outside is
// planned by Resolve, on the account of the extension that the rule names.
func ResolveInbound(snap *telephony.Snapshot, req InboundRequest) Plan {
	r := newResolver(snap, Request{Tenant: req.Tenant, At: req.At, Down: req.Down, Seed: req.Seed, Explain: req.Explain})
	r.incoming(req)
	return r.plan
}

func (r *resolver) incoming(req InboundRequest) {
	t, ok := r.snap.Trunk(req.Tenant, req.Trunk)
	if !ok || !t.Enabled {
		r.refuse(403, "the trunk is switched off")
		return
	}
	called, mine := r.called(t, req.Called)
	if !mine {
		r.refuse(404, "%s is no number of the trunk", req.Called)
		return
	}
	r.plan.Called, r.plan.Caller = called, r.caller(t, req.Caller)
	r.say(TopicNumber, true, "%s calls %s", orAnonymous(r.plan.Caller), called)
	if !r.welcome(req.Caller) {
		return
	}
	for i := range r.routing.Inbound {
		rule := &r.routing.Inbound[i]
		if why := r.misses(rule, t.ID, req.Caller); why != "" {
			r.sayRule(rule.ID, rule.Name, false, why)
			continue
		}
		to, when := r.destination(rule)
		if to.Kind == telephony.ToNothing {
			r.sayRule(rule.ID, rule.Name, false, "matches and has no destination "+when)
			continue
		}
		r.sayRule(rule.ID, rule.Name, true, "matches "+when)
		r.plan.InboundRule = rule.ID
		r.send(rule, to)
		return
	}
	r.refuse(404, "no inbound rule takes calls to %s", called)
}

// called is the number that was called in E.164, and whether it is the trunk's:
// one of its numbers, or its account if the provider calls that. A trunk without
// numbers takes all.
func (r *resolver) called(t telephony.Trunk, called string) (string, bool) {
	if called == t.User && t.User != "" {
		return called, true
	}
	first := called
	for i, n := range r.readings(t, called) {
		if within(t.DIDs, n) {
			return n, true
		}
		if i == 0 {
			first = n
		}
	}
	return first, len(t.DIDs) == 0
}

// caller is the calling number in E.164, or as it came if it is none; empty if it
// is withheld.
func (r *resolver) caller(t telephony.Trunk, caller string) string {
	if Anonymous(caller) {
		return ""
	}
	if all := r.readings(t, caller); len(all) > 0 {
		return all[0]
	}
	return caller
}

// readings are what a number may be that a trunk wrote, the likely one first.
func (r *resolver) readings(t telephony.Trunk, number string) []string {
	clean, err := Clean(number)
	if err != nil {
		return nil
	}
	if clean[0] == '+' {
		return []string{clean}
	}
	var out []string
	national, refusal := r.dial.read(clean)
	digits, refused := r.dial.abroad(clean, "")
	if refusal.Code == 0 && national.emergency == "" {
		out = append(out, national.e164())
	}
	if refused.Code == 0 && digits.emergency == "" {
		out = append(out, digits.e164())
		if t.Format == telephony.FormatPlus || t.Format == telephony.FormatDigits {
			slices.Reverse(out)
		}
	}
	return append(out, "+"+clean)
}

// Anonymous reports whether a calling number says that it is withheld (RFC 3323
// section 4.1).
func Anonymous(caller string) bool {
	switch strings.ToLower(caller) {
	case "", "anonymous", "restricted", "unavailable", "unknown", "private":
		return true
	}
	return false
}

func orAnonymous(caller string) string {
	if caller == "" {
		return "somebody who withholds the number"
	}
	return caller
}

// welcome looks at callers who are blocked.
func (r *resolver) welcome(asWritten string) bool {
	if r.plan.Caller == "" && r.routing.RejectAnonymous {
		r.refuse(433, "callers must show their number") // RFC 5079
		return false
	}
	for _, b := range r.routing.Blocked {
		if b.Caller != "" && r.isFrom(b.Caller, asWritten) {
			r.refuse(603, "the caller %s is blocked", orAnonymous(r.plan.Caller))
			return false
		}
	}
	return true
}

// isFrom compares a mask with the caller, in E.164 and as the trunk wrote it.
func (r *resolver) isFrom(mask, asWritten string) bool {
	if mask == "" {
		return true
	}
	if r.plan.Caller == "" {
		return mask == "anonymous"
	}
	return masks(mask, r.plan.Caller) || masks(mask, asWritten)
}

// masks reports whether a number is as a mask says: ? is one digit, * any number
// of them at the end.
func masks(mask, number string) bool {
	open := strings.HasSuffix(mask, "*")
	mask = strings.TrimSuffix(mask, "*")
	if len(number) < len(mask) || !open && len(number) != len(mask) {
		return false
	}
	for i := range len(mask) {
		if mask[i] != number[i] && (mask[i] != '?' || number[i] < '0' || number[i] > '9') {
			return false
		}
	}
	return true
}

// misses says why a rule does not match; empty if it does.
func (r *resolver) misses(rule *telephony.InboundRule, trunk telephony.TrunkID, asWritten string) string {
	switch {
	case !rule.Enabled:
		return "is switched off"
	case len(rule.Trunks) > 0 && !slices.Contains(rule.Trunks, trunk):
		return "is for other trunks"
	case len(rule.DIDs) > 0 && !within(rule.DIDs, r.plan.Called):
		return "is for other numbers"
	case !r.isFrom(rule.Caller, asWritten):
		return "is for other callers"
	}
	return ""
}

// destination is where a rule sends calls now, and why.
func (r *resolver) destination(rule *telephony.InboundRule) (telephony.Destination, string) {
	closed := rule.Closed
	if closed.Kind == telephony.ToNothing {
		closed = rule.Open
	}
	or := func(d telephony.Destination) telephony.Destination {
		if d.Kind == telephony.ToNothing {
			return closed
		}
		return d
	}
	if r.routing.Night == telephony.NightOn {
		return or(rule.Night), "in night mode"
	}
	// Hours that do not exist never keep callers away.
	s, ok := r.schedule(rule.Hours)
	if rule.Hours == "" || !ok {
		return rule.Open, "at any hour"
	}
	at := r.now.Format("Monday 15:04 MST")
	switch StateOf(s, r.now) {
	case Open:
		return rule.Open, fmt.Sprintf("in hours %s (%s)", s.Name, at)
	case Holiday:
		h, _ := HolidayOf(s, r.now)
		return or(rule.Holiday), fmt.Sprintf("on holiday %s of hours %s", h.Name, s.Name)
	}
	return closed, fmt.Sprintf("outside hours %s (%s)", s.Name, at)
}

// send takes the call to a destination.
func (r *resolver) send(rule *telephony.InboundRule, to telephony.Destination) {
	switch to.Kind {
	case telephony.ToExtension:
		r.ring(to.Number)
	case telephony.ToDirect:
		r.ring(forth(rule.DIDs, to.Number, r.plan.Called))
	case telephony.ToNumber:
		r.dialOn(to)
	case telephony.ToBusy:
		r.plan.Outcome = ToBusy
		r.say(TopicResult, true, "the caller hears busy")
	case telephony.ToHangUp:
		r.plan.Outcome = ToHangUp
		r.say(TopicResult, true, "the call is hung up")
	default:
		r.refuse(404, "the rule has an unknown destination %s", to.Kind)
	}
}

func (r *resolver) ring(number string) {
	e, ok := r.snap.Extension(r.req.Tenant, number)
	if !ok {
		r.refuse(404, "there is no extension %s", number)
		return
	}
	r.plan.Outcome, r.plan.Class, r.plan.Extension = ToExtension, telephony.ClassInternal, e.Number
	r.say(TopicResult, true, "extension %s rings", e.Number)
}

// dialOn dials a number on an extension's account.
func (r *resolver) dialOn(to telephony.Destination) {
	as, ok := r.snap.Extension(r.req.Tenant, to.As)
	if !ok {
		r.refuse(404, "there is no extension %s to dial on the account of", to.As)
		return
	}
	r.say(TopicResult, true, "%s is dialled on the account of extension %s", to.Number, as.Number)
	r.req.Caller, r.req.Dialled, r.req.From = as, to.Number, r.plan.Caller
	r.plan.Account = as.Number
	r.outgoing()
}
