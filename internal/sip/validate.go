package sip

import (
	"strings"
)

// allow lists the methods this product takes (RFC 3261 section 20.5).
const allow = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, PRACK, UPDATE, REFER, MESSAGE, REGISTER, SUBSCRIBE, NOTIFY, PUBLISH"

// Allow is the header that lists our methods.
func Allow() Header { return Header{"Allow", allow} }

// allowEvents lists the event packages of this product (RFC 6665 section 8.2.2).
const allowEvents = "dialog, presence, message-summary, reg"

// AllowEvents is the header that lists our event packages.
func AllowEvents() Header { return Header{"Allow-Events", allowEvents} }

// validate checks what RFC 3261 section 8.2 wants of every request. It returns
// the refusal, or nil.
func validate(m *parsed) *Reply {
	r := m.req
	if !strings.EqualFold(m.version, "SIP/2.0") {
		return &Reply{Code: 505}
	}
	if m.fault != "" {
		return &Reply{Code: 400, Reason: m.fault}
	}
	if what := missing(r); what != "" {
		return &Reply{Code: 400, Reason: what}
	}
	if !isSIP(&r.URI) {
		return &Reply{Code: 416} // section 8.2.2.1
	}
	if len(r.URI.Headers) > 0 {
		// Section 19.1.1: no headers in a Request-URI.
		return &Reply{Code: 400, Reason: "Headers in Request-URI"}
	}
	if r.Method == ACK || r.Method == CANCEL {
		return nil // never challenged for extensions (section 8.2.2.3)
	}
	if r.Header("Max-Forwards") != "" && r.hops() == 0 && (r.Method != OPTIONS || r.URI.User != "") && r.Method != REGISTER {
		return &Reply{Code: 483} // section 16.3; section 11 lets us answer for ourselves
	}
	if bad := unsupported(r); len(bad) > 0 {
		return &Reply{Code: 420, Headers: []Header{{"Unsupported", strings.Join(bad, ", ")}}}
	}
	if r.Method == INVITE {
		return validateInvite(r)
	}
	return nil
}

// missing names the first mandatory header that is not there (section 8.1.1)
// or contradicts the request line.
func missing(r *Request) string {
	switch {
	case len(r.Vias) == 0:
		return "Missing Via"
	case r.From.URI.Scheme == "":
		return "Missing From"
	case r.To.URI.Scheme == "":
		return "Missing To"
	case r.CallID == "":
		return "Missing Call-ID"
	case r.CSeq.Method == "":
		return "Missing CSeq"
	case r.CSeq.Method != r.Method:
		return "CSeq Method Mismatch"
	case !goodContacts(r):
		return "Malformed Contact"
	}
	return ""
}

func goodContacts(r *Request) bool {
	if r.Method != INVITE && r.Method != REGISTER || !r.Has("Contact") {
		return true
	}
	if r.Wildcard() {
		return r.Method == REGISTER
	}
	contacts, err := r.Addresses("Contact")
	return err == nil && (r.Method == REGISTER || len(contacts) == 1)
}

// unsupported lists the option tags of Require and Proxy-Require that we do
// not have (section 8.2.2.3). Path and outbound concern the registrar.
func unsupported(r *Request) []string {
	var bad []string
	for _, name := range [...]string{"Require", "Proxy-Require"} {
		for _, tag := range r.Values(name) {
			if strings.EqualFold(tag, "timer") || strings.EqualFold(tag, "100rel") {
				continue // the dialog layer has them (RFC 4028, RFC 3262)
			}
			if strings.EqualFold(tag, "replaces") || strings.EqualFold(tag, "norefersub") {
				continue // calls have them (RFC 3891, RFC 4488)
			}
			if r.Method == REGISTER && (strings.EqualFold(tag, "path") || strings.EqualFold(tag, "outbound")) {
				continue
			}
			if !isToken(tag) {
				tag = "malformed"
			}
			bad = append(bad, tag)
		}
	}
	return bad
}

func validateInvite(r *Request) *Reply {
	if r.Has("Accept") && !accepts(r.Values("Accept")) {
		return &Reply{Code: 406}
	}
	if len(r.Body) == 0 {
		return nil
	}
	if enc := r.Header("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return &Reply{Code: 415, Headers: []Header{{"Accept-Encoding", "identity"}}}
	}
	if r.SDP() == nil {
		if strings.Contains(strings.ToLower(r.Header("Content-Disposition")), "handling=optional") {
			return nil // section 20.11
		}
		return &Reply{Code: 415, Headers: []Header{{"Accept", "application/sdp"}}}
	}
	return nil
}

// accepts reports whether a session description may be in the answer.
func accepts(types []string) bool {
	for _, t := range types {
		t, _, _ = strings.Cut(t, ";")
		switch strings.ToLower(strings.TrimSpace(t)) {
		case "application/sdp", "application/*", "*/*":
			return true
		}
	}
	return len(types) == 0
}
