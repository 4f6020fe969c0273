package sip

import (
	"strconv"
	"strings"
)

// Param is one parameter. A quoted value keeps its quotes, so that printing
// gives back what was read.
type Param struct{ Name, Value string }

// Params are parameters in order.
type Params []Param

// The methods this product speaks or has to recognise.
const (
	REGISTER  = "REGISTER"
	INVITE    = "INVITE"
	ACK       = "ACK"
	CANCEL    = "CANCEL"
	BYE       = "BYE"
	OPTIONS   = "OPTIONS"
	INFO      = "INFO"
	MESSAGE   = "MESSAGE"
	NOTIFY    = "NOTIFY"
	PRACK     = "PRACK"
	PUBLISH   = "PUBLISH"
	REFER     = "REFER"
	SUBSCRIBE = "SUBSCRIBE"
	UPDATE    = "UPDATE"
)

// Header is one header field as it was read: folded lines joined, value
// trimmed, never with CR or LF. Name is in its long form.
type Header struct{ Name, Value string }

// NameAddr is the value of From, To, Contact, Route and their like (RFC 3261
// section 20.10).
type NameAddr struct {
	Display string // without quotes, escapes resolved
	URI     URI
	Params  Params // header parameters
}

// Tag returns the tag parameter, or "".
func (n NameAddr) Tag() string { v, _ := param(n.Params, "tag"); return v }

// String prints the address in the name-addr form.
func (n NameAddr) String() string {
	b := make([]byte, 0, 96)
	return string(n.append(b))
}

func (n NameAddr) append(b []byte) []byte {
	if n.Display != "" {
		b = appendQuoted(b, n.Display)
		b = append(b, ' ')
	}
	b = append(b, '<')
	b = n.URI.append(b)
	b = append(b, '>')
	return appendParams(b, n.Params)
}

// Via is one value of the Via header (RFC 3261 section 20.42).
type Via struct {
	Transport string // upper case as received, such as UDP
	Host      string // IPv6 in brackets
	Port      int    // 0 if absent
	Params    Params
}

// Branch returns the branch parameter, or "".
func (v Via) Branch() string { b, _ := param(v.Params, "branch"); return b }

func (v Via) append(b []byte) []byte {
	b = append(b, "SIP/2.0/"...)
	b = append(b, v.Transport...)
	b = append(b, ' ')
	b = append(b, v.Host...)
	if v.Port > 0 {
		b = append(b, ':')
		b = strconv.AppendInt(b, int64(v.Port), 10)
	}
	return appendParams(b, v.Params)
}

// CSeq is the sequence number and method of a request (RFC 3261 section 20.16).
type CSeq struct {
	Seq    uint32 // below 2^31
	Method string
}

// message is what requests and responses share.
type message struct {
	Headers []Header // in order
	Vias    []Via    // top first; the first is the neighbour's
	From    NameAddr
	To      NameAddr
	CallID  string
	CSeq    CSeq
	Body    []byte
	Flow    Flow // where it came from
}

// Header returns the first value of the named header, or "". The name is the
// long form in any case.
func (m *message) Header(name string) string {
	for i := range m.Headers {
		if strings.EqualFold(m.Headers[i].Name, name) {
			return m.Headers[i].Value
		}
	}
	return ""
}

// Has reports whether the named header is present.
func (m *message) Has(name string) bool {
	for i := range m.Headers {
		if strings.EqualFold(m.Headers[i].Name, name) {
			return true
		}
	}
	return false
}

// Values returns all comma-separated elements of all headers of that name, in
// order. Not for headers whose grammar has bare commas (WWW-Authenticate, Date).
func (m *message) Values(name string) []string {
	var out []string
	for i := range m.Headers {
		if !strings.EqualFold(m.Headers[i].Name, name) {
			continue
		}
		for rest := m.Headers[i].Value; rest != ""; {
			var v string
			v, rest = cutComma(rest)
			if v != "" {
				out = append(out, v)
			}
		}
	}
	return out
}

// Addresses parses all values of an address header such as Contact, Route or
// Record-Route. The wildcard "*" is not an address: see Request.Wildcard.
func (m *message) Addresses(name string) ([]NameAddr, error) {
	values := m.Values(name)
	out := make([]NameAddr, 0, len(values))
	for _, v := range values {
		a, err := parseNameAddr(v)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// ContentType returns the media type of the body in lower case without
// parameters, or "".
func (m *message) ContentType() string {
	t, _, _ := strings.Cut(m.Header("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(t))
}

// Request is a received request. It is read-only after parsing: handlers of
// several goroutines may hold it.
type Request struct {
	message
	Method string
	URI    URI
}

// Wildcard reports whether the only Contact is "*" (RFC 3261 section 10.2.2).
func (r *Request) Wildcard() bool { return strings.TrimSpace(r.Header("Contact")) == "*" }

// Response is a received response, or one made locally when none came (408
// for a timeout, 503 for a transport that failed; RFC 3261 section 8.1.3.1).
type Response struct {
	message
	Code   int // 100..699
	Reason string
	Local  bool // made by this endpoint
}

// Provisional reports whether the response is a 1xx.
func (r *Response) Provisional() bool { return r.Code < 200 }

// Success reports whether the response is a 2xx.
func (r *Response) Success() bool { return r.Code >= 200 && r.Code < 300 }
