package dialog

import (
	"strings"

	"ringfence/internal/sip"
)

// A peer that is a server of somebody else's may challenge every request of ours,
// not only the INVITE (RFC 3261 section 22). It gets the credentials of
// Params.Auth; a leg without any answers no challenge, and phones get none.

// exchange sends a request within the dialog, and again with credentials if the
// peer asks for them. done is called in the mailbox with the final response, which
// may be local.
func (l *Leg) exchange(o sip.Outgoing, done func(*sip.Response)) {
	l.params.Auth.Authorize(&o)
	_, err := l.layer.ep.Request(l.flow, o, func(r *sip.Response) {
		l.box.Post(func() {
			if l.state != ended && l.challenged(&o, r) {
				l.exchange(o, done)
				return
			}
			done(r)
		})
	})
	if err != nil {
		l.box.Post(func() { done(&sip.Response{Code: 503, Local: true}) })
	}
}

// challenged reports whether a request is to be sent again because its response
// is a challenge that can be answered. It has its next number then (RFC 3261
// section 8.1.3.5).
func (l *Leg) challenged(o *sip.Outgoing, r *sip.Response) bool {
	if r.Local || r.Code != 401 && r.Code != 407 || l.params.Auth.Challenged(o, r) != nil {
		return false
	}
	l.localSeq++
	o.CSeq = l.localSeq
	return true
}

// ackFor makes the ACK to a 2xx of the INVITE, in a leg that came of it. It has
// the INVITE's number and credentials (RFC 3261 section 13.2.2.4): nobody can
// challenge it.
func (o *Outbound) ackFor(l *Leg) sip.Outgoing {
	req := l.request(sip.ACK, o.cseq)
	for _, h := range o.sent.Headers {
		if strings.EqualFold(h.Name, "Authorization") || strings.EqualFold(h.Name, "Proxy-Authorization") {
			req.Headers = append(req.Headers, h)
		}
	}
	return req
}
