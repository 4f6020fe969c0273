package b2bua

import (
	"strings"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// device is where one binding of the callee can be reached.
type device struct {
	flow   sip.Flow
	target string
	routes []string // proxies before it (RFC 3327 section 5.1)
	who    telephony.Party
	next   *device // the phone's next flow, to be tried when this one fails
	wide   bool    // it refused to be spared codecs that must be converted
	dtls   bool    // and media that may go in the clear
	keys   bool    // and DTLS-SRTP
	// security is how its media must be protected.
	security telephony.MediaSecurity
	dtmf     telephony.DTMF
	via      *via // it is not a phone, but a way of a trunk
}

// failed reports whether an answer says that the flow failed, and nothing of its
// phone: RFC 5626 section 5.3, which names 430 and 408, and a connection that is
// gone.
func failed(r *sip.Response) bool {
	return r.Code == 430 || r.Code == 408 || r.Code == 503 && r.Local
}

// phones lists the callee's bindings, without the very phone that calls.
func (c *call) phones(callee telephony.Extension) []device {
	own := callee.Number == c.record.Caller.Number
	return c.s.phones(c.tenant, callee, func(f sip.Flow) bool { return own && f.Remote == c.caller.leg.Flow().Remote })
}

// phones lists the bindings of an extension, but for some. Several flows of one
// phone (RFC 5626 section 7) are one device, the latest first: the phone is to
// ring once.
func (s *Service) phones(tenant telephony.Tenant, callee telephony.Extension, skip func(sip.Flow) bool) []device {
	bindings := s.c.Location.Bindings(callee.AOR(tenant.Domain))
	flows := make([]sip.Flow, len(bindings))
	skipped := make(map[string]bool) // instances
	for i, b := range bindings {
		f, err := s.c.Endpoint.Flow(b.Flow)
		if err == nil && !skip(f) {
			flows[i] = f
		} else if err == nil && b.Outbound {
			skipped[b.Instance] = true
		}
	}
	var out []*device
	last := make(map[string]*device) // of instances with flows
	for i, b := range bindings {
		u, err := sip.ParseURI(b.Contact)
		if !flows[i].Valid() || err != nil || b.Outbound && skipped[b.Instance] {
			continue
		}
		u.Headers = nil // RFC 3261 section 19.1.5: not in a Request-URI
		d := &device{
			flow: flows[i], target: u.String(), security: callee.Media, dtmf: callee.DTMF,
			who: telephony.Party{Number: callee.Number, Name: callee.DisplayName},
		}
		if b.Path != "" {
			d.routes = strings.Split(b.Path, ", ")
		}
		if before := last[b.Instance]; b.Outbound && before != nil {
			before.next = d
		} else {
			out = append(out, d)
		}
		if b.Outbound {
			last[b.Instance] = d
		}
	}
	devices := make([]device, len(out))
	for i := range out {
		devices[i] = *out[i]
	}
	return devices
}
