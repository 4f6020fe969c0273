package b2bua

import (
	"fmt"
	"slices"
	"strings"

	"ringfence/internal/dialplan"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// saying is what an INVITE to a trunk says of who calls whom. It has nothing in
// it of the tenant but the numbers that its plan shows.
type saying struct {
	trunk   telephony.Trunk
	attempt dialplan.Attempt
	domain  string // of the trunk
	hidden  bool   // the caller withholds its number
	sentOn  string // why somebody else sent the call on: the reason of RFC 5806
	cause   int    // the same as the cause of RFC 4458
	times   int    // how often it was sent on
}

// Preview is what the INVITE of an attempt says, for whoever asks what would
// happen: the Request-URI, From, To, and the headers about the caller after the
// rules of the trunk. A way of the trunk that is in force may put its server's
// address into the Request-URI instead of the trunk's host.
func Preview(t telephony.Trunk, a dialplan.Attempt, hidden bool) (uri string, headers []sip.Header) {
	s := saying{trunk: t, attempt: a, domain: t.Host, hidden: hidden, times: 1}
	o := sip.Outgoing{Headers: append(s.identity(), s.diversion()...)}
	s.edit(&o)
	return "sip:" + userPart(a.Number) + "@" + t.Host, append([]sip.Header{{Name: "From", Value: s.from()}, {Name: "To", Value: s.to()}}, o.Headers...)
}

func (s saying) uri(number string) string { return "<sip:" + userPart(number) + "@" + s.domain + ">" }

// from is the From (RFC 3325 section 7 for callers who withhold their number).
func (s saying) from() string {
	if v, ok := s.ruled("From"); ok {
		return v
	}
	switch {
	case s.hidden || s.attempt.CallerID == "" && s.trunk.User == "":
		return `"Anonymous" <sip:anonymous@` + anonymous + `>`
	case s.attempt.CallerID == "":
		return s.uri(s.trunk.User)
	}
	return s.uri(s.attempt.CallerID)
}

func (s saying) to() string {
	if v, ok := s.ruled("To"); ok {
		return v
	}
	return s.uri(s.attempt.Number)
}

// identity says who calls where the trunk wants to be told. Of one who withholds
// that only the trunk is told (RFC 3325 section 9.3).
func (s saying) identity() (out []sip.Header) {
	if number := s.attempt.CallerID; number != "" {
		switch s.trunk.Identity {
		case telephony.IdentityPAI:
			out = append(out, sip.Header{Name: "P-Asserted-Identity", Value: s.uri(number)})
		case telephony.IdentityPPI:
			out = append(out, sip.Header{Name: "P-Preferred-Identity", Value: s.uri(number)})
		case telephony.IdentityRPID:
			privacy := "off"
			if s.hidden {
				privacy = "full"
			}
			out = append(out, sip.Header{Name: "Remote-Party-ID", Value: s.uri(number) + ";party=calling;screen=yes;privacy=" + privacy})
		}
	}
	if s.hidden {
		out = append(out, sip.Header{Name: "Privacy", Value: "id"})
	}
	return out
}

// diversion says whose number the call was sent on from (RFC 5806, RFC 7044), if
// that is not shown as the caller's.
func (s saying) diversion() []sip.Header {
	if s.attempt.Diversion == "" {
		return nil
	}
	reason, cause := s.sentOn, s.cause
	if reason == "" {
		reason, cause = "unconditional", 302
	}
	by := s.uri(s.attempt.Diversion)
	entry := fmt.Sprintf("%s;index=1, %s;cause=%d>;index=1.1;mp=1", by, strings.TrimSuffix(s.uri(s.attempt.Number), ">"), cause)
	return []sip.Header{
		{Name: "Diversion", Value: fmt.Sprintf("%s;reason=%s;counter=%d", by, reason, max(s.times, 1))},
		{Name: "History-Info", Value: entry},
	}
}

// edit carries the rules of the trunk out.
func (s saying) edit(o *sip.Outgoing) {
	for _, r := range s.trunk.Headers {
		if r.Inbound || strings.EqualFold(r.Name, "From") || strings.EqualFold(r.Name, "To") {
			continue
		}
		o.Headers = slices.DeleteFunc(slices.Clone(o.Headers), func(h sip.Header) bool { return strings.EqualFold(h.Name, r.Name) })
		if !r.Remove {
			o.Headers = append(o.Headers, sip.Header{Name: r.Name, Value: s.fill(r.Value)})
		}
	}
}

// ruled is the value that a rule sets for From or To.
func (s saying) ruled(name string) (string, bool) {
	for _, r := range s.trunk.Headers {
		if r.Inbound || r.Remove || !strings.EqualFold(r.Name, name) {
			continue
		}
		v := s.fill(r.Value)
		if a, err := sip.ParseAddress(v); err == nil && a.Tag() == "" {
			return a.String(), true
		}
	}
	return "", false
}

// fill puts in what a rule leaves open. A number that is withheld stays so.
func (s saying) fill(value string) string {
	caller := s.attempt.CallerID
	if s.hidden || caller == "" {
		caller = "anonymous"
	}
	return fillWords(value, caller, s.attempt.Number, caller, s.trunk.Name)
}

// fillWords puts numbers and names into the value of a header rule.
func fillWords(value, caller, callee, did, trunk string) string {
	v := strings.NewReplacer("{caller}", caller, "{callee}", callee, "{did}", did, "{trunk}", trunk).Replace(value)
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, v)
}

// outsideInvitation is what the INVITE of a line says.
func (c *call) outsideInvitation(l *trunkLine) invitation {
	s := saying{
		trunk: l.trunk, attempt: l.attempt, domain: l.way.Domain, times: c.before + len(c.hops),
		hidden: c.hidden && !c.out.plan.Emergency, // an emergency service sees who calls
	}
	if n := len(c.hops); n > 0 {
		s.sentOn, s.cause = c.hops[n-1].why.diversion, c.hops[n-1].why.cause
	}
	contact := l.way.Contact
	switch {
	case contact != "":
	case s.hidden:
		contact = "anonymous"
	default:
		contact = l.attempt.CallerID
	}
	params := c.params(contact)
	params.Routes, params.Auth, params.Edit, params.Ended = l.way.Routes, l.way.Auth, s.edit, l.over
	return invitation{from: s.from(), to: s.to(), params: params, identity: s.identity(), headers: s.diversion()}
}
