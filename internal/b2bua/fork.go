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

// ring sends the INVITE to one phone, or to a trunk.
func (c *call) ring(p device) error {
	taken, err := c.seize(p)
	if err != nil {
		return err
	}
	f, offer, err := c.prepare(p)
	if err != nil {
		taken.over()
		return err
	}
	f.line = taken
	i := c.invitation(p, taken)
	f.leg = c.s.dialogs.Call(p.flow, i.from, i.to, p.target, i.params)
	c.takesDigits(f.media, f.leg)
	f.leg.Present(i.identity...)
	c.forks = append(c.forks, f)
	f.out = f.leg.Invite(offer, c.hopsLeft(), i.headers, dialog.Answers{
		Progress: func(r *sip.Response) { c.progress(f, r) },
		Accepted: func(r *sip.Response) { c.accepted(f, r) },
		Refused:  func(r *sip.Response) { c.refused(f, r) },
	})
	switch {
	case p.via != nil:
		time.AfterFunc(wayTime, func() { c.box.Post(func() { c.wayOverdue(f) }) })
	case f.next != nil:
		time.AfterFunc(flowTime, func() { c.box.Post(func() { c.overdue(f) }) })
	}
	return nil
}

// invitation is what an INVITE says of who calls whom.
type invitation struct {
	from, to string
	params   dialog.Params
	identity []sip.Header // also of later INVITEs
	headers  []sip.Header
}

func (c *call) invitation(p device, to *trunkLine) invitation {
	if to != nil {
		return c.outsideInvitation(to)
	}
	params := c.params(c.contactUser())
	params.Routes = p.routes
	headers := append(append(c.history(), c.referredBy...), c.extras...)
	return invitation{
		from: identity(c.tenant.Domain, c.record.Caller, c.hidden), to: "<" + c.aor(c.record.Callee.Number) + ">",
		params: params, identity: c.asserted(c.record.Caller, c.hidden), headers: headers,
	}
}

// prepare allots the media for a phone, and makes the offer.
func (c *call) prepare(p device) (*fork, []byte, error) {
	m, err := c.newLeg(p.flow, p.dtls || isBrowser(p.flow, p.target), p.security, p.dtmf)
	if err != nil {
		return nil, nil, err
	}
	if p.keys && !m.Insist() {
		m.Close()
		return nil, nil, errNothingStricter
	}
	if !p.wide {
		m.Spare()
	}
	var offer []byte
	if c.offered() {
		if offer, err = m.Offer(c.caller.media); err != nil {
			m.Close()
			return nil, nil, err
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
	return f, offer, nil
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
