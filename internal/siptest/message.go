package siptest

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net/netip"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// message is a request or response to send.
type message struct {
	start   string
	headers []string // whole lines
	body    string
}

func (m *message) add(format string, args ...any) {
	m.headers = append(m.headers, fmt.Sprintf(format, args...))
}

// sdp sets the body.
func (m *message) sdp(body string) {
	if body != "" {
		m.add("Content-Type: application/sdp")
		m.body = body
	}
}

func (m *message) bytes() []byte {
	var b bytes.Buffer
	b.WriteString(m.start + "\r\n")
	for _, h := range m.headers {
		b.WriteString(h + "\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(m.body), m.body)
	return b.Bytes()
}

// token makes a unique word: a branch, tag or Call-ID.
func token(prefix string) string { return prefix + strings.ToLower(rand.Text()[:16]) }

// branch makes a transaction's branch (RFC 3261 section 8.1.1.7).
func branch() string { return token("z9hG4bK") }

func firstLine(datagram []byte) string {
	line, _, _ := bytes.Cut(datagram, []byte("\r\n"))
	return string(line)
}

// host writes an address as a URI's host.
func host(a netip.Addr) string {
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}

// response begins the response to a request (RFC 3261 section 8.2.6.2).
// localTag goes into To if the request has none there.
func response(req *sip.Request, code int, reason, localTag string) *message {
	m := &message{start: fmt.Sprintf("SIP/2.0 %d %s", code, reason)}
	for _, name := range []string{"Via", "Record-Route", "From", "To", "Call-ID", "CSeq"} {
		for _, h := range req.GetHeaders(name) {
			value := h.Value()
			if name == "To" && code > 100 && tag(req.To().Params) == "" && localTag != "" {
				value += ";tag=" + localTag
			}
			m.add("%s: %s", name, value)
		}
	}
	return m
}

func tag(p sip.HeaderParams) string { return p.GetOr("tag", "") }

// Reason is the usual reason phrase of a status code.
func Reason(code int) string {
	reasons := map[int]string{
		100: "Trying", 180: "Ringing", 183: "Session Progress", 200: "OK", 202: "Accepted",
		302: "Moved Temporarily", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden",
		404: "Not Found", 405: "Method Not Allowed", 408: "Request Timeout", 480: "Temporarily Unavailable",
		481: "Call/Transaction Does Not Exist", 486: "Busy Here", 487: "Request Terminated",
		488: "Not Acceptable Here", 491: "Request Pending", 500: "Server Internal Error",
		503: "Service Unavailable", 600: "Busy Everywhere", 603: "Decline",
	}
	if r, ok := reasons[code]; ok {
		return r
	}
	return "Status"
}
