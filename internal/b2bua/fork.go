package b2bua

import (
	"bytes"
	"errors"
	"time"

	"ringfence/internal/dialog"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// fork is the INVITE to one phone of the callee.
type fork struct {
	party
	out     *dialog.Outbound
	refusal int    // status code of its refusal, 0 while it may still answer
	rang    bool   // it sent 180 or 183
	tag     string // with this tag
	who     telephony.Party
	next    *device // the phone's next flow
	again   *device // the same one, to be offered other media
	dropped bool    // the call went elsewhere, or on the next flow
	// said are the descriptions in its provisional responses, by To tag: a
	// proxy may have forked our INVITE.
	said map[string][]byte
	last string // the tag whose description the caller's media follows

	late   bool     // it was left to make the offer
	asking []string // tags of early dialogs whose offers wait for the caller's answer
	alone  bool     // its offer was answered before the caller's media were known
}

// maxSaid bounds said.
const maxSaid = 16

// hear notes the description in a provisional response.
func (f *fork) hear(tag string, sdp []byte) {
	if f.said == nil {
		f.said = make(map[string][]byte)
	}
	if len(f.said) < maxSaid || f.said[tag] != nil {
		f.said[tag] = bytes.Clone(sdp)
	}
}

// ring sends the INVITE to one phone.
func (c *call) ring(p device) error {
	m, err := c.newLeg(p.flow, p.dtls || isBrowser(p.flow, p.target), p.security, p.dtmf)
	if err != nil {
		return err
	}
	if p.keys && !m.Insist() {
		m.Close()
		return errNothingStricter
	}
	if !p.wide {
		m.Spare()
	}
	var offer []byte
	if c.offered() {
		if offer, err = m.Offer(c.caller.media); err != nil {
			m.Close()
			return err
		}
	}
	f := &fork{party: party{media: m, security: p.security}, who: p.who, next: p.next, late: offer == nil}
	switch {
	case m.Spared():
		p.wide = true
		f.again = &p
	case p.dtls:
		p.dtls, p.keys = false, true
		f.again = &p
	case bytes.Contains(offer, []byte(" RTP/AVP")) && bytes.Contains(offer, []byte("a=fingerprint:")):
		p.dtls = true
		f.again = &p
	}
	to := "<" + c.aor(c.record.Callee.Number) + ">"
	params := c.params(c.contactUser())
	params.Routes = p.routes
	f.leg = c.s.dialogs.Call(p.flow, identity(c.tenant.Domain, c.record.Caller, c.hidden), to, p.target, params)
	c.takesDigits(m, f.leg)
	f.leg.Present(c.asserted(c.record.Caller, c.hidden)...)
	c.forks = append(c.forks, f)
	f.out = f.leg.Invite(offer, c.hopsLeft(), append(c.history(), c.referredBy...), dialog.Answers{
		Progress: func(r *sip.Response) { c.progress(f, r) },
		Accepted: func(r *sip.Response) { c.accepted(f, r) },
		Refused:  func(r *sip.Response) { c.refused(f, r) },
	})
	if f.next != nil {
		time.AfterFunc(flowTime, func() { c.box.Post(func() { c.overdue(f) }) })
	}
	return nil
}

// flowTime is how long a flow may be silent before the next one of its phone is
// tried. The NAT before it may have forgotten it, and by timer B (64*T1) that would
// be known when the caller has long hung up. It is time for four transmissions.
const flowTime = 4 * time.Second

// overdue gives up a flow that has not even said 100.
func (c *call) overdue(f *fork) {
	if c.finished || c.callee != nil || f.dropped || f.refusal != 0 || !f.out.Silent() || c.ring(*f.next) != nil {
		return
	}
	f.refusal, f.dropped = 408, true
	f.out.Cancel() // one that is only slow
	c.tell()
}

var errNothingStricter = errors.New("there is no stricter offer")

// elsewhere tells a phone not to list a missed call (RFC 3326 section 3.1).
const elsewhere = `SIP;cause=200;text="Call completed elsewhere"`

// cancelForks gives up all phones that still ring, but one.
func (c *call) cancelForks(but *fork, h sip.Header) {
	for _, f := range c.forks {
		if f != but && f != c.callee && f.refusal == 0 {
			f.out.Cancel(h)
		}
	}
}
