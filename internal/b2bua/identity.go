package b2bua

import (
	"strings"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// withheld reports whether a caller hides who it is: by its From (RFC 3323
// section 4.1.1.3), or by asking for privacy (RFC 3323 section 4.2, RFC 3325
// section 9.3).
func withheld(r *sip.Request) bool {
	if _, domain := sip.AOR(r.From.URI); domain == anonymous {
		return true
	}
	for _, v := range r.Values("Privacy") {
		for p := range strings.SplitSeq(v, ";") {
			switch strings.ToLower(strings.TrimSpace(p)) {
			case "id", "user", "header":
				return true
			case "none":
				return false
			}
		}
	}
	return false
}

// nameAddr is a party as a header value: what is set for its extension, never
// what its phone claims or prefers.
func nameAddr(domain string, p telephony.Party) string {
	aor := "<" + telephony.AOR{User: p.Number, Domain: domain}.String() + ">"
	if p.Name == "" {
		return aor
	}
	return sip.Quote(p.Name) + " " + aor
}

// identity is the From that others see of a party.
func identity(domain string, p telephony.Party, hidden bool) string {
	if hidden {
		return `"Anonymous" <sip:anonymous@` + anonymous + `>`
	}
	return nameAddr(domain, p)
}

// asserted is the P-Asserted-Identity of a party (RFC 3325 section 9.1). Nobody
// is told of one who withholds it.
func asserted(domain string, p telephony.Party, hidden bool) []sip.Header {
	if hidden {
		return []sip.Header{{Name: "Privacy", Value: "id"}}
	}
	return []sip.Header{{Name: "P-Asserted-Identity", Value: nameAddr(domain, p)}}
}

func (c *call) asserted(p telephony.Party, hidden bool) []sip.Header {
	return asserted(c.tenant.Domain, p, hidden)
}

// contactUser is the user part of our Contact towards the callee.
func (c *call) contactUser() string {
	if c.hidden {
		return "anonymous"
	}
	return c.record.Caller.Number
}
