package sip

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
)

// errNotSIP says that a datagram is no SIP message at all.
var errNotSIP = errors.New("not a SIP message")

// parsed is one message. Exactly one of req and res is set. A request with a
// fault is there as far as it could be read, so that it can be refused.
type parsed struct {
	req     *Request
	res     *Response
	version string
	fault   string // what is wrong with it, a constant text; empty if nothing
}

// parse reads one datagram. It does not keep raw; the strings of the message
// share one copy of it, so whoever keeps one of them for long clones it.
func parse(raw []byte, f Flow) (parsed, error) {
	text := string(raw)
	line, rest, ok := strings.Cut(text, "\r\n")
	if !ok {
		return parsed{}, errNotSIP
	}
	if strings.HasPrefix(line, "SIP/") {
		return parseResponse(line, rest, f)
	}
	return parseRequest(line, rest, f)
}

func parseRequest(line, rest string, f Flow) (parsed, error) {
	method, tail, _ := strings.Cut(line, " ")
	if !isToken(method) {
		return parsed{}, errNotSIP
	}
	r := &Request{Method: method}
	p := parsed{req: r, version: "SIP/2.0", fault: "Malformed Request-Line"}
	// Exactly two blanks (RFC 3261 section 7.1).
	if uri, version, ok := strings.Cut(tail, " "); ok && uri != "" && strings.IndexByte(version, ' ') < 0 {
		var err error
		p.version, p.fault = version, ""
		if r.URI, err = ParseURI(uri); err != nil {
			p.fault = "Malformed Request-URI"
		}
	}
	if fault := r.fill(rest, f); p.fault == "" {
		p.fault = fault
	}
	return p, nil
}

func parseResponse(line, rest string, f Flow) (parsed, error) {
	version, tail, _ := strings.Cut(line, " ")
	code, reason, _ := strings.Cut(tail, " ")
	r := &Response{Reason: reason}
	p := parsed{res: r, version: version}
	n, err := strconv.ParseUint(code, 10, 16)
	p.fault = r.fill(rest, f)
	if err != nil || n < 100 || n > 699 || !strings.EqualFold(version, "SIP/2.0") {
		p.fault = "Malformed Status-Line"
	}
	r.Code = int(n)
	return p, nil
}

// nextHeader cuts one header off, with its folded lines joined (RFC 3261
// section 7.3.1). At the blank line and at the end of the text line is empty;
// ok is false for a text that ends before the blank line.
func nextHeader(s string) (line, rest string, ok bool) {
	line, rest, ok = strings.Cut(s, "\r\n")
	if line == "" || !ok || rest == "" || !isSpace(rest[0]) {
		return line, rest, ok
	}
	b := []byte(line)
	for rest != "" && isSpace(rest[0]) && ok {
		line, rest, ok = strings.Cut(rest, "\r\n")
		b = append(append(bytes.TrimRight(b, " \t"), ' '), trim(line)...)
	}
	return string(b), rest, ok
}

// fill reads headers and body, and checks the headers that every message needs.
// It returns what is wrong, or "".
func (m *message) fill(s string, f Flow) (fault string) {
	m.Flow = f
	m.Headers = make([]Header, 0, strings.Count(s, "\r\n"))
	var seen once
	length := -1
	for {
		line, rest, ok := nextHeader(s)
		s = rest
		if line == "" || !ok {
			if !ok && fault == "" {
				fault = "Unfinished Header"
			}
			break
		}
		h, good := cutHeader(line)
		if !good && fault == "" {
			fault = "Malformed Header"
		}
		m.Headers = append(m.Headers, h)
		if what := m.take(h, &seen, &length); fault == "" {
			fault = what
		}
	}
	if length > len(s) && fault == "" {
		fault = "Incomplete Body"
	}
	if length >= 0 && length < len(s) {
		s = s[:length] // RFC 3261 section 18.3: the rest is discarded
	}
	if s != "" {
		m.Body = []byte(s)
	}
	return fault
}

// cutHeader splits a line into name and value. A malformed one is made harmless,
// because parts of a refused request are given back: a lone CR or LF would
// become a line of its own.
func cutHeader(line string) (h Header, good bool) {
	name, value, good := strings.Cut(line, ":")
	h = Header{longName(trim(name)), trim(value)}
	if !isToken(h.Name) {
		h.Name, good = "X-Malformed", false
	}
	if strings.ContainsAny(h.Value, "\r\n") {
		h.Value, good = strings.NewReplacer("\r", " ", "\n", " ").Replace(h.Value), false
	}
	return h, good
}

// take reads one of the headers that every message has. It returns what is
// wrong with it, or "".
func (m *message) take(h Header, seen *once, length *int) string {
	var err error
	var name string
	var bit once
	switch {
	case strings.EqualFold(h.Name, "Via"):
		if m.addVias(h.Value) != nil {
			return "Malformed Via"
		}
		return ""
	case strings.EqualFold(h.Name, "From"):
		name, bit = "From", 1
		m.From, err = parseNameAddr(h.Value)
	case strings.EqualFold(h.Name, "To"):
		name, bit = "To", 2
		m.To, err = parseNameAddr(h.Value)
	case strings.EqualFold(h.Name, "Call-ID"):
		name, bit = "Call-ID", 4
		m.CallID = h.Value
	case strings.EqualFold(h.Name, "CSeq"):
		name, bit = "CSeq", 8
		m.CSeq, err = parseCSeq(h.Value)
	case strings.EqualFold(h.Name, "Max-Forwards"):
		name, bit = "Max-Forwards", 16
		_, err = strconv.ParseUint(h.Value, 10, 8)
	case strings.EqualFold(h.Name, "Content-Length"):
		name, bit = "Content-Length", 32
		var n uint64
		n, err = strconv.ParseUint(h.Value, 10, 31)
		*length = int(n)
	default:
		return ""
	}
	if *seen&bit != 0 {
		return "Repeated " + name
	}
	*seen |= bit
	if err != nil {
		return "Malformed " + name
	}
	return ""
}

// once is a set of the headers that may stand only once.
type once uint8

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
