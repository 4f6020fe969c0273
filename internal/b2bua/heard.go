package b2bua

import (
	"strconv"
	"strings"
	"unicode"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// heard is what the INVITE of a trunk says, after the trunk's rules.
type heard struct {
	r          *sip.Request
	trunk      telephony.Trunk
	shown, did string
}

// addresses are the values of an address header.
func (h heard) addresses(name string) []sip.NameAddr {
	for _, r := range h.trunk.Headers {
		if !r.Inbound || !strings.EqualFold(r.Name, name) {
			continue
		}
		if a, err := sip.ParseAddress(h.fill(r.Value)); err == nil && !r.Remove {
			return []sip.NameAddr{a}
		}
		return nil
	}
	switch name {
	case "From":
		return []sip.NameAddr{h.r.From}
	case "To":
		return []sip.NameAddr{h.r.To}
	}
	out, _ := h.r.Addresses(name)
	return out
}

func (h heard) fill(value string) string {
	return fillWords(value, h.shown, h.did, h.did, h.trunk.Name)
}

// extras are the headers that rules add to what phones get: for a ringing tone,
// say. Those about the caller have been heard, and stand elsewhere.
func (h heard) extras() (out []sip.Header) {
	for _, r := range h.trunk.Headers {
		switch strings.ToLower(r.Name) {
		case "from", "to", "p-asserted-identity", "p-preferred-identity", "remote-party-id", "privacy", "diversion", "history-info":
			continue
		}
		if r.Inbound && !r.Remove {
			out = append(out, sip.Header{Name: r.Name, Value: h.fill(r.Value)})
		}
	}
	return out
}

// called is the number that the trunk calls, as it writes it.
func (h heard) called() string {
	u := h.r.URI
	if h.trunk.DialledIn == "to" {
		if to := h.addresses("To"); len(to) > 0 {
			u = to[0].URI
		}
	}
	return numberOf(u)
}

// caller is who calls. Without P-Asserted-Identity, or from a trunk whose word is
// not taken for it, that is From. One that is withheld is kept nowhere.
func (h heard) caller() (number, name string, hidden bool) {
	if withheld(h.r) {
		return "", "", true
	}
	list := h.addresses("From")
	if h.trunk.TrustIdentity {
		if pai := h.addresses("P-Asserted-Identity"); len(pai) > 0 {
			list = pai
		}
	}
	if len(list) == 0 {
		return "", "", true
	}
	number = numberOf(list[0].URI)
	switch strings.ToLower(number) {
	case "", "anonymous", "unavailable", "restricted", "unknown", "private":
		return "", "", true
	}
	if name = people(list[0].Display); name == number {
		name = ""
	}
	return number, name, false
}

// numberOf is the number in a SIP or tel URI: nothing but what can stand in one.
func numberOf(u sip.URI) string {
	user := u.User
	if u.Scheme == "tel" {
		user = u.Opaque
	} else if u.Scheme == "sip" || u.Scheme == "sips" {
		user, _ = sip.AOR(u)
	}
	user, _, _ = strings.Cut(user, ";") // RFC 3966 parameters
	if !plain(user) {
		return ""
	}
	return clip(user)
}

// maxName bounds the name that a trunk gives a caller.
const maxName = 64

// people is a name as it may be shown: what prints.
func people(name string) string {
	name = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, ""))
	for i := range name {
		if i >= maxName {
			return strings.TrimSpace(name[:i])
		}
	}
	return strings.TrimSpace(strings.Clone(name))
}

// diversions is how often a call has been sent on before it came (RFC 5806
// section 4.3: each Diversion counts for as many as its counter says).
func (h heard) diversions() (n int) {
	for _, v := range h.r.Values("Diversion") {
		count := 1
		for p := range strings.SplitSeq(v, ";") {
			name, value, _ := strings.Cut(p, "=")
			if x, err := strconv.ParseUint(strings.TrimSpace(value), 10, 8); err == nil && strings.EqualFold(strings.TrimSpace(name), "counter") {
				count = int(x)
			}
		}
		if n += max(count, 1); n > maxForwards {
			return maxForwards + 1
		}
	}
	return n
}
