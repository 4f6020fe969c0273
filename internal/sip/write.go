package sip

import (
	"net/netip"
	"strconv"
	"strings"
)

// maxForwards is what new requests start with (RFC 3261 section 8.1.1.6).
const maxForwards = 70

// Outgoing is a request to be sent. The transaction adds the Via, and
// Content-Length is always written.
type Outgoing struct {
	Method      string
	URI         string
	From, To    string // whole header values
	CallID      string
	CSeq        uint32
	MaxForwards int // 0: 70
	Headers     []Header
	ContentType string // of Body, if there is one
	Body        []byte

	answers  int      // to challenges, so far
	answered []string // whose challenges: proxy or not, and realm
}

// append writes the request with the given top Via branch.
func (o *Outgoing) append(b []byte, f Flow, sentBy netip.AddrPort, branch string) []byte {
	b = append(b, o.Method...)
	b = append(b, ' ')
	b = append(b, o.URI...)
	b = append(b, " SIP/2.0\r\nVia: SIP/2.0/"...)
	b = append(b, f.Protocol()...)
	b = append(b, ' ')
	b = sentBy.AppendTo(b)
	b = append(b, ";rport;branch="...) // RFC 3581 section 3
	b = append(b, branch...)
	b = append(b, "\r\nMax-Forwards: "...)
	hops := o.MaxForwards
	if hops == 0 {
		hops = maxForwards
	}
	b = strconv.AppendInt(b, int64(hops), 10)
	b = appendHeader(append(b, "\r\n"...), "From", o.From)
	b = appendHeader(b, "To", o.To)
	b = appendHeader(b, "Call-ID", o.CallID)
	b = append(b, "CSeq: "...)
	b = strconv.AppendUint(b, uint64(o.CSeq), 10)
	b = append(b, ' ')
	b = append(b, o.Method...)
	b = append(b, "\r\n"...)
	for _, h := range o.Headers {
		b = appendHeader(b, h.Name, h.Value)
	}
	return appendBody(b, o.ContentType, o.Body)
}

// appendHeader writes one header line; a break in the value, which no parsed
// value has, would become a header of its own and is left out with all after it.
func appendHeader(b []byte, name, value string) []byte {
	if i := strings.IndexAny(value, "\r\n"); i >= 0 {
		value = value[:i]
	}
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

func appendBody(b []byte, contentType string, body []byte) []byte {
	if len(body) > 0 {
		if contentType == "" {
			contentType = "application/sdp"
		}
		b = appendHeader(b, "Content-Type", contentType)
	}
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\n\r\n"...)
	return append(b, body...)
}

// Reply is a response to be sent.
type Reply struct {
	Code        int
	Reason      string // empty: the standard phrase
	Tag         string // our To tag; empty: one derived from the request
	Headers     []Header
	ContentType string // of Body, if there is one
	Body        []byte
}

// append writes the response to r (RFC 3261 section 8.2.6).
func (p *Reply) append(b []byte, r *Request, tag, product string) []byte {
	b = append(b, "SIP/2.0 "...)
	b = strconv.AppendInt(b, int64(p.Code), 10)
	b = append(b, ' ')
	if p.Reason != "" {
		b = append(b, p.Reason...)
	} else {
		b = append(b, Reason(p.Code)...)
	}
	b = append(b, "\r\n"...)
	b = appendVias(b, r)
	dialog := (r.Method == INVITE || r.Method == SUBSCRIBE) && p.Code > 100 && p.Code < 300
	for _, h := range r.Headers {
		switch {
		case strings.EqualFold(h.Name, "From"):
			b = appendHeader(b, "From", h.Value)
		case strings.EqualFold(h.Name, "To"):
			b = append(b, "To: "...)
			b = append(b, h.Value...)
			if p.Code > 100 && tag != "" && r.To.Tag() == "" && r.To.URI.Scheme != "" {
				b = append(b, ";tag="...)
				b = append(b, tag...)
			}
			b = append(b, "\r\n"...)
		case strings.EqualFold(h.Name, "Call-ID"):
			b = appendHeader(b, "Call-ID", h.Value)
		case strings.EqualFold(h.Name, "CSeq"):
			b = appendHeader(b, "CSeq", h.Value)
		case dialog && strings.EqualFold(h.Name, "Record-Route"):
			// RFC 3261 section 12.1.1: the route set of the dialog
			b = appendHeader(b, "Record-Route", h.Value)
		case p.Code == 100 && strings.EqualFold(h.Name, "Timestamp"):
			b = appendHeader(b, "Timestamp", h.Value)
		}
	}
	for _, h := range p.Headers {
		b = appendHeader(b, h.Name, h.Value)
	}
	if product != "" {
		b = appendHeader(b, "Server", product)
	}
	return appendBody(b, p.ContentType, p.Body)
}

// appendVias gives the Via headers back, the top one with received and rport
// (RFC 3261 section 18.2.1, RFC 3581 section 4).
func appendVias(b []byte, r *Request) []byte {
	top := true
	for _, h := range r.Headers {
		if !strings.EqualFold(h.Name, "Via") {
			continue
		}
		value := h.Value
		if top && len(r.Vias) > 0 {
			top = false
			b = append(b, "Via: "...)
			b = received(r.Vias[0], r.Flow.Remote).append(b)
			if _, rest := cutComma(value); rest != "" {
				b = append(b, ", "...)
				b = append(b, rest...)
			}
			b = append(b, "\r\n"...)
			continue
		}
		b = appendHeader(b, "Via", value)
	}
	return b
}

func received(v Via, src netip.AddrPort) Via {
	p := make(Params, 0, len(v.Params)+2)
	_, rport := param(v.Params, "rport")
	for _, one := range v.Params {
		if !strings.EqualFold(one.Name, "received") && !strings.EqualFold(one.Name, "rport") {
			p = append(p, one)
		}
	}
	addr, ok := ParseHost(v.Host)
	if rport || !ok || addr != src.Addr() {
		p = append(p, Param{"received", src.Addr().WithZone("").String()})
	}
	if rport {
		p = append(p, Param{"rport", strconv.Itoa(int(src.Port()))})
	}
	v.Params = p
	return v
}

// replyTo is where the response to r goes over UDP. RFC 3261 section 18.2.2
// wants the sent-by port unless rport asks for the source (RFC 3581). When
// sent-by is not the source's address there is a NAT in between, behind which
// the sent-by port means nothing: then it is the source as well.
func (e *Endpoint) replyTo(r *Request) Flow {
	f := r.Flow
	if len(r.Vias) == 0 || f.Token != "" {
		return f
	}
	v := r.Vias[0]
	if _, ok := param(v.Params, "rport"); ok {
		return f
	}
	if addr, ok := ParseHost(v.Host); !ok || addr != f.Remote.Addr() {
		return f
	}
	port := uint16(v.Port)
	if port == 0 {
		port = e.defaultPort
	}
	f.Remote = netip.AddrPortFrom(f.Remote.Addr(), port)
	return f
}

// Reason is the standard phrase of a status code (RFC 3261 section 21 and the
// registry of response codes).
func Reason(code int) string {
	switch code {
	case 100:
		return "Trying"
	case 180:
		return "Ringing"
	case 181:
		return "Call Is Being Forwarded"
	case 182:
		return "Queued"
	case 183:
		return "Session Progress"
	case 200:
		return "OK"
	case 202:
		return "Accepted"
	case 300:
		return "Multiple Choices"
	case 301:
		return "Moved Permanently"
	case 302:
		return "Moved Temporarily"
	case 400:
		return "Bad Request"
	case 401:
		return "Unauthorized"
	case 403:
		return "Forbidden"
	case 404:
		return "Not Found"
	case 405:
		return "Method Not Allowed"
	case 406:
		return "Not Acceptable"
	case 407:
		return "Proxy Authentication Required"
	case 408:
		return "Request Timeout"
	case 410:
		return "Gone"
	case 412:
		return "Conditional Request Failed"
	case 413:
		return "Request Entity Too Large"
	case 415:
		return "Unsupported Media Type"
	case 416:
		return "Unsupported URI Scheme"
	case 420:
		return "Bad Extension"
	case 421:
		return "Extension Required"
	case 422:
		return "Session Interval Too Small"
	case 423:
		return "Interval Too Brief"
	case 480:
		return "Temporarily Unavailable"
	case 481:
		return "Call/Transaction Does Not Exist"
	case 482:
		return "Loop Detected"
	case 483:
		return "Too Many Hops"
	case 484:
		return "Address Incomplete"
	case 486:
		return "Busy Here"
	case 487:
		return "Request Terminated"
	case 488:
		return "Not Acceptable Here"
	case 489:
		return "Bad Event"
	case 491:
		return "Request Pending"
	case 493:
		return "Undecipherable"
	case 500:
		return "Server Internal Error"
	case 501:
		return "Not Implemented"
	case 502:
		return "Bad Gateway"
	case 503:
		return "Service Unavailable"
	case 504:
		return "Server Time-out"
	case 505:
		return "Version Not Supported"
	case 513:
		return "Message Too Large"
	case 600:
		return "Busy Everywhere"
	case 603:
		return "Decline"
	case 604:
		return "Does Not Exist Anywhere"
	case 606:
		return "Not Acceptable"
	}
	return "Unnamed" // the phrase is for people only (RFC 3261 section 7.2)
}
