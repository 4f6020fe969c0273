package sip

import (
	"bytes"
	"errors"
	"strconv"
	"strings"

	sipgo "github.com/emiago/sipgo/sip"
)

// errNotSIP says that a datagram is no SIP message at all.
var errNotSIP = errors.New("not a SIP message")

// newParser returns the library's parser with no header parsers of its own:
// it splits and unfolds, and every value stays as it was read, so that
// responses can give it back unchanged (RFC 3261 section 8.2.6.2).
func newParser() *sipgo.Parser {
	return sipgo.NewParser(sipgo.WithHeadersParsers(map[string]sipgo.HeaderParser{}))
}

// parsed is one message. Exactly one of req and res is set, or neither if err
// is. A request with a fault is there as far as it could be read.
type parsed struct {
	req     *Request
	res     *Response
	version string
	fault   string // what is wrong with it, a constant text; empty if nothing
}

// parse reads one datagram. It does not keep raw.
func parse(p *sipgo.Parser, raw []byte, f Flow) (parsed, error) {
	// Only the headers: with a body the library would put its own
	// Content-Length in the place of the one that came.
	msg, n, err := p.ParseHeaders(raw, false)
	if msg == nil {
		return parseBadStart(p, raw, f)
	}
	var out parsed
	switch m := msg.(type) {
	case *sipgo.Request:
		method, _, _ := bytes.Cut(raw, []byte{' '})
		r := &Request{Method: string(method)}
		out = parsed{req: r, version: m.SipVersion}
		out.fault = r.fill(m.Headers(), raw[n:], f)
		// The library is more lenient than ParseURI.
		line, _, _ := bytes.Cut(raw, []byte{'\r'})
		_, target, _ := strings.Cut(string(line), " ")
		target, _, _ = strings.Cut(target, " ")
		var uriErr error
		if r.URI, uriErr = ParseURI(target); uriErr != nil && out.fault == "" {
			out.fault = "Malformed Request-URI"
		}
		if !isToken(r.Method) {
			return parsed{}, errNotSIP
		}
	case *sipgo.Response:
		r := &Response{Code: m.StatusCode, Reason: m.Reason}
		out = parsed{res: r, version: m.SipVersion}
		out.fault = r.fill(m.Headers(), raw[n:], f)
		if r.Code < 100 || r.Code > 699 {
			out.fault = "Malformed Status-Line"
		}
	}
	if err != nil && out.fault == "" {
		out.fault = "Malformed Header"
	}
	return out, nil
}

// parseBadStart reads the headers of a request whose start line is malformed,
// so that it can be answered with 400.
func parseBadStart(p *sipgo.Parser, raw []byte, f Flow) (parsed, error) {
	line, rest, ok := bytes.Cut(raw, []byte("\r\n"))
	method, _, _ := bytes.Cut(line, []byte{' '})
	if !ok || !bytes.Contains(line, []byte(" SIP/")) || bytes.HasPrefix(line, []byte("SIP/")) || !isToken(string(method)) {
		return parsed{}, errNotSIP
	}
	b := append([]byte("X sip:x SIP/2.0\r\n"), rest...)
	msg, n, _ := p.ParseHeaders(b, false)
	if msg == nil {
		return parsed{}, errNotSIP
	}
	r := &Request{Method: string(method)}
	m := msg.(*sipgo.Request)
	fault := r.fill(m.Headers(), b[n:], f)
	parts := strings.Split(string(line), " ")
	if len(parts) != 3 {
		return parsed{req: r, version: "SIP/2.0", fault: "Malformed Request-Line"}, nil
	}
	// The library refuses URIs of some schemes that are fine, only not ours.
	var err error
	if r.URI, err = ParseURI(parts[1]); err != nil {
		fault = "Malformed Request-URI"
	}
	return parsed{req: r, version: parts[2], fault: fault}, nil
}

// fill takes headers over and reads the ones every message needs. It returns
// what is wrong, or "".
func (m *message) fill(headers []sipgo.Header, body []byte, f Flow) (fault string) {
	m.Flow = f
	m.Headers = make([]Header, len(headers))
	note := func(err error, what string) {
		if err != nil && fault == "" {
			fault = what
		}
	}
	var from, to, callID, cseq, maxForwards int
	length := -1
	for i, h := range headers {
		name, value := longName(h.Name()), h.Value()
		if strings.ContainsAny(value, "\r\n") {
			// A lone line feed would become a header of its own when echoed.
			value = strings.Map(noBreaks, value)
			note(errNotToken, "Malformed Header")
		}
		if !isToken(name) {
			note(errNotToken, "Malformed Header")
			name = "X-Malformed"
		}
		m.Headers[i] = Header{name, value}
		var err error
		switch {
		case strings.EqualFold(name, "Via"):
			note(m.addVias(value), "Malformed Via")
		case strings.EqualFold(name, "From"):
			m.From, err = parseNameAddr(value)
			note(errors.Join(err, once(&from)), "Malformed From")
		case strings.EqualFold(name, "To"):
			m.To, err = parseNameAddr(value)
			note(errors.Join(err, once(&to)), "Malformed To")
		case strings.EqualFold(name, "Call-ID"):
			m.CallID = value
			note(once(&callID), "Repeated Call-ID")
		case strings.EqualFold(name, "CSeq"):
			m.CSeq, err = parseCSeq(value)
			note(errors.Join(err, once(&cseq)), "Malformed CSeq")
		case strings.EqualFold(name, "Max-Forwards"):
			_, err = strconv.ParseUint(value, 10, 8)
			note(errors.Join(err, once(&maxForwards)), "Malformed Max-Forwards")
		case strings.EqualFold(name, "Content-Length"):
			var n uint64
			n, err = strconv.ParseUint(value, 10, 31)
			if length >= 0 {
				err = errNotToken
			}
			length = int(n)
			note(err, "Malformed Content-Length")
		}
	}
	if length > len(body) {
		note(errNotToken, "Incomplete Body")
	} else if length >= 0 {
		body = body[:length] // RFC 3261 section 18.3: the rest is discarded
	}
	m.Body = bytes.Clone(body)
	return fault
}

func (m *message) addVias(value string) error {
	for value != "" {
		var one string
		one, value = cutComma(value)
		v, err := parseVia(one)
		if err != nil {
			return err
		}
		m.Vias = append(m.Vias, v)
	}
	return nil
}

func once(n *int) error {
	if *n++; *n > 1 {
		return errNotToken
	}
	return nil
}

func noBreaks(r rune) rune {
	if r == '\r' || r == '\n' {
		return ' '
	}
	return r
}

// longName gives compact header names their long form (RFC 3261 section
// 7.3.3 and the registry of header fields).
func longName(n string) string {
	if len(n) != 1 {
		return n
	}
	switch n[0] | 0x20 {
	case 'a':
		return "Accept-Contact"
	case 'b':
		return "Referred-By"
	case 'c':
		return "Content-Type"
	case 'd':
		return "Request-Disposition"
	case 'e':
		return "Content-Encoding"
	case 'f':
		return "From"
	case 'i':
		return "Call-ID"
	case 'j':
		return "Reject-Contact"
	case 'k':
		return "Supported"
	case 'l':
		return "Content-Length"
	case 'm':
		return "Contact"
	case 'o':
		return "Event"
	case 'r':
		return "Refer-To"
	case 's':
		return "Subject"
	case 't':
		return "To"
	case 'u':
		return "Allow-Events"
	case 'v':
		return "Via"
	case 'x':
		return "Session-Expires"
	case 'y':
		return "Identity"
	}
	return n
}
