package b2bua

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// maxForwards bounds how often one call is sent on, apart from Max-Forwards,
// which a caller may set high.
const maxForwards = 5

// why names a cause of forwarding: in Diversion (RFC 5806 section 4.2) and as
// the cause of RFC 4458 in History-Info.
type why struct {
	diversion string
	cause     int
}

func always() why       { return why{"unconditional", 302} }
func busy() why         { return why{"user-busy", 486} }
func unanswered() why   { return why{"no-answer", 408} }
func unregistered() why { return why{"unavailable", 503} }
func deflected() why    { return why{"deflection", 480} }

// hop is an extension that sent the call on.
type hop struct {
	number string
	why    why
}

// tryExtension rings the phones of an extension, or sends the call on, as is set
// for it.
func (c *call) tryExtension(number string) {
	e, ok := c.s.c.Snapshot().Extension(c.tenant.ID, number)
	if !ok {
		c.nobody()
		return
	}
	c.record.Callee = telephony.Party{Number: e.Number, Name: e.DisplayName}
	c.rung = e
	c.show()
	h := e.Handling
	switch {
	case h.ForwardAlways != "":
		c.forward(h.ForwardAlways, always())
		return
	case h.DoNotDisturb, h.MaxCalls > 0 && c.s.callsOf(c, e.Number) >= h.MaxCalls:
		c.sendOn(h.ForwardBusy, busy(), telephony.EndBusy, 486)
		return
	}
	flows := c.phones(e)
	for _, n := range h.RingAlso {
		// Neither the caller, nor one who sent the call on.
		if also, ok := c.s.c.Snapshot().Extension(c.tenant.ID, n); ok && !also.Handling.DoNotDisturb && !c.loops(n) {
			flows = append(flows, c.phones(also)...)
		}
	}
	if len(flows) == 0 {
		c.sendOn(h.ForwardUnregistered, unregistered(), telephony.EndUnavailable, 480)
		return
	}
	c.ringAll(e, flows[:min(len(flows), maxForks)])
}

// maxForks bounds the phones that ring for one call.
const maxForks = 32

// nobody ends a call to a number that does not exist. Whom somebody else
// forwards to is not told.
func (c *call) nobody() {
	if len(c.hops) > 0 {
		c.end(telephony.EndUnavailable, sip.Reply{Code: 480})
		return
	}
	c.end(telephony.EndNotFound, sip.Reply{Code: 404})
}

func (c *call) ringAll(e telephony.Extension, phones []device) {
	if err := c.openMedia(); err != nil {
		c.refuseMedia(err)
		return
	}
	var failed error
	for _, p := range phones {
		if err := c.ring(p); err != nil {
			failed = err
		}
	}
	if len(c.forks) == 0 {
		c.refuseMedia(failed)
		return
	}
	c.show()
	wait := e.NoAnswer
	if wait <= 0 {
		wait = c.s.c.NoAnswer
	}
	round := len(c.hops)
	c.noAnswer = time.AfterFunc(wait, func() {
		c.box.Post(func() {
			if !c.finished && c.callee == nil && len(c.hops) == round {
				c.sendOn(e.Handling.ForwardNoAnswer, unanswered(), telephony.EndNoAnswer, 480)
			}
		})
	})
}

// sendOn forwards the call, or ends it if there is nowhere to send it.
func (c *call) sendOn(to string, w why, reason telephony.EndReason, code int) {
	if to == "" {
		c.end(reason, sip.Reply{Code: code})
		return
	}
	c.forward(to, w)
}

// forward sends the call on from the extension that was tried last.
func (c *call) forward(to string, w why) {
	if c.finished || c.callee != nil {
		return
	}
	c.hops = append(c.hops, hop{c.rung.Number, w})
	c.record.ForwardedBy = append(slices.Clip(c.record.ForwardedBy), c.rung.Number)
	c.dropForks()
	switch {
	case c.loops(to):
		c.end(telephony.EndFailed, sip.Reply{Code: 482})
	case len(c.hops) > maxForwards || c.hopsLeft() <= 0:
		c.end(telephony.EndFailed, sip.Reply{Code: 483})
	default:
		if c.in != nil && c.lastCode != 180 {
			c.in.Progress(181, nil)
		}
		c.account = c.rung
		c.try(to)
	}
}

// loops reports whether a call comes to where it has been, its caller included.
func (c *call) loops(to string) bool {
	return to == c.record.Caller.Number || slices.ContainsFunc(c.hops, func(h hop) bool { return h.number == to })
}

// hopsLeft is the Max-Forwards of what is sent for this call: each forwarding
// counts as one more (RFC 3261 section 8.1.1.6).
func (c *call) hopsLeft() int {
	hops := 70
	if c.in != nil {
		hops = c.in.Request().NextHops()
	}
	return hops - len(c.hops)
}

// dropForks gives up the phones that ring, because the call goes elsewhere.
func (c *call) dropForks() {
	if c.noAnswer != nil {
		c.noAnswer.Stop()
	}
	c.cancelForks(nil, sip.Header{Name: "Reason", Value: "SIP;cause=487"})
	for _, f := range c.forks {
		f.dropped = true
	}
	c.forks, c.early = nil, nil
	c.stopRelay()
}

// redirected is where a phone sends the call with its 3xx (RFC 3261 section
// 21.3): the first number of our own domain. Anything else it may not choose.
func (c *call) redirected(r *sip.Response) string {
	if r.Code < 300 || r.Code > 302 {
		return ""
	}
	contacts, err := r.Addresses("Contact")
	if err != nil {
		return ""
	}
	for _, a := range contacts[:min(len(contacts), 8)] {
		if n, ok := c.dialled(a.URI); ok && telephony.CheckDialled("", n) == nil && n != c.rung.Number {
			return strings.Clone(n)
		}
	}
	return ""
}

// dialled is the number in a URI of the caller's domain.
func (c *call) dialled(u sip.URI) (string, bool) {
	return c.s.dialled(u, c.tenant, c.caller.leg.Flow())
}

// dialled is the number in a URI of a tenant's domain, or of our own address,
// also the one that the peer knows us by (C02).
func (s *Service) dialled(u sip.URI, t telephony.Tenant, f sip.Flow) (string, bool) {
	if u.Scheme != "sip" && u.Scheme != "sips" {
		return "", false
	}
	user, domain := sip.AOR(u)
	return user, domain == t.Domain || s.c.Endpoint.Ours(f, domain)
}

// history tells a phone how the call came to it: Diversion (RFC 5806), the
// latest first, and History-Info (RFC 7044 section 5).
func (c *call) history() []sip.Header {
	if len(c.hops) == 0 {
		return nil
	}
	var out []sip.Header
	for _, h := range slices.Backward(c.hops) {
		out = append(out, sip.Header{Name: "Diversion", Value: fmt.Sprintf("<%s>;reason=%s;counter=1", c.aor(h.number), h.why.diversion)})
	}
	index := "1"
	entries := []string{fmt.Sprintf("<%s>;index=1", c.aor(c.hops[0].number))}
	for i, h := range c.hops {
		to := c.record.Callee.Number
		if i+1 < len(c.hops) {
			to = c.hops[i+1].number
		}
		entries = append(entries, fmt.Sprintf("<%s;cause=%d>;index=%s.1;mp=%s", c.aor(to), h.why.cause, index, index))
		index += ".1"
	}
	return append(out, sip.Header{Name: "History-Info", Value: strings.Join(entries, ", ")})
}

func (c *call) aor(number string) string {
	return telephony.AOR{User: number, Domain: c.tenant.Domain}.String()
}

// callsOf counts the calls an extension takes part in, but one.
func (s *Service) callsOf(but *call, number string) (n int) {
	for _, c := range s.all() {
		if l := c.live.Load(); c != but && l.Tenant == but.tenant.ID && (l.Caller.Number == number || l.Callee.Number == number) {
			n++
		}
	}
	return n
}
