package dialplan

import (
	"fmt"
	"slices"
	"strings"

	"ringfence/internal/telephony"
)

// condition is one of a rule.
type condition uint8

const (
	holds condition = iota
	enabled
	prefixes
	lengths
	classes
	groups
	roles
	extensions
	hours
)

// route asks the rules in their order; the first that matches and has a trunk
// carries the call.
func (r *resolver) route(n *number) {
	compared := n.dialled
	if compared[0] == '+' { // from a list of contacts: as it would be dialled
		compared = r.dial.domestic(n)
	}
	var closed, stuck *telephony.OutboundRule
	for i := range r.routing.Outbound {
		rule := &r.routing.Outbound[i]
		if c := r.fails(rule, n, compared); c != holds {
			if r.req.Explain {
				r.sayRule(rule.ID, rule.Name, false, r.whyNot(rule, c, compared))
			}
			if c == hours && closed == nil {
				closed = rule
			}
			continue
		}
		r.sayRule(rule.ID, rule.Name, true, "matches")
		if r.plan.Attempts = r.attempts(rule, n); len(r.plan.Attempts) > 0 {
			r.plan.Outcome = ToOutside
			return
		}
		r.sayRule(rule.ID, rule.Name, false, "none of its trunks can carry the call now; the next rule is asked")
		if stuck == nil {
			stuck = rule
		}
	}
	switch {
	case stuck != nil:
		r.refuse(503, "no trunk of rule %s can carry the call now", stuck.Name)
	case closed != nil:
		r.refuse(403, "rule %s does not hold at this hour", closed.Name)
	default:
		r.refuse(403, "no outbound rule carries calls to %s", n.e164())
	}
}

// fails is the first condition that does not hold. Conditions without values
// hold always.
func (r *resolver) fails(rule *telephony.OutboundRule, n *number, dialled string) condition {
	caller := &r.req.Caller
	switch {
	case !rule.Enabled:
		return enabled
	case len(rule.Prefixes) > 0 && !begins(rule.Prefixes, n, dialled):
		return prefixes
	case len(rule.Lengths) > 0 && !slices.Contains(rule.Lengths, len(dialled)):
		return lengths
	case len(rule.Classes) > 0 && !slices.Contains(rule.Classes, r.plan.Class):
		return classes
	case len(rule.Groups) > 0 && !intersects(rule.Groups, caller.Groups):
		return groups
	case len(rule.Roles) > 0 && !slices.Contains(rule.Roles, caller.Role):
		return roles
	case len(rule.Extensions) > 0 && !within(rule.Extensions, caller.Number):
		return extensions
	case rule.Hours != "" && !r.open(rule.Hours):
		return hours
	}
	return holds
}

// begins compares prefixes with the number as it was dialled, those with + with
// the number in E.164.
func begins(prefixes []string, n *number, dialled string) bool {
	for _, p := range prefixes {
		if p == "" {
			continue
		}
		if p[0] == '+' {
			if strings.HasPrefix(n.digits, p[1:]) {
				return true
			}
		} else if strings.HasPrefix(dialled, p) {
			return true
		}
	}
	return false
}

func within(ranges []telephony.NumberRange, number string) bool {
	for _, n := range ranges {
		if n.Has(number) {
			return true
		}
	}
	return false
}

func intersects(a, b []string) bool {
	for _, s := range a {
		if slices.Contains(b, s) {
			return true
		}
	}
	return false
}

// open reports whether a schedule is open. One that does not exist is closed.
func (r *resolver) open(name string) bool {
	s, ok := r.schedule(name)
	return ok && StateOf(s, r.now) == Open
}

func (r *resolver) schedule(name string) (telephony.Schedule, bool) {
	for i := range r.routing.Schedules {
		if r.routing.Schedules[i].Name == name {
			return r.routing.Schedules[i], true
		}
	}
	return telephony.Schedule{}, false
}

// whyNot says for people which condition does not hold.
func (r *resolver) whyNot(rule *telephony.OutboundRule, c condition, dialled string) string {
	switch c {
	case enabled:
		return "is switched off"
	case prefixes:
		return fmt.Sprintf("%s begins with none of %s", dialled, strings.Join(rule.Prefixes, ", "))
	case lengths:
		return fmt.Sprintf("%s has %d digits, not %s", dialled, len(dialled), strings.Trim(fmt.Sprint(rule.Lengths), "[]"))
	case classes:
		return fmt.Sprintf("is for calls of other classes: %s", strings.Trim(fmt.Sprint(rule.Classes), "[]"))
	case groups:
		return fmt.Sprintf("extension %s is in none of the groups %s", r.req.Caller.Number, strings.Join(rule.Groups, ", "))
	case roles:
		return fmt.Sprintf("is not for role %s", r.req.Caller.Role)
	case extensions:
		return fmt.Sprintf("is not for extension %s", r.req.Caller.Number)
	case hours:
		return fmt.Sprintf("hours %s are closed at %s", rule.Hours, r.now.Format("Monday 15:04 MST"))
	}
	return "matches"
}
