package b2bua

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"ringfence/internal/dialog"
	"ringfence/internal/events"
	"ringfence/internal/media"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// mediaTimeout is how long a call waits for its media (section "When fenced is
// away" of the design: 200 ms in the fence) before it is refused.
const mediaTimeout = time.Second

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
	dropped bool    // the call went elsewhere
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

// start looks for the callee and rings its phones.
func (c *call) start(in *dialog.Inbound) {
	c.in, c.caller.leg = in, in.Leg()
	if c.finished { // hung up by the administrator before it began
		in.Reject(sip.Reply{Code: 480})
		return
	}
	c.s.publish(events.CallStarted{Call: c.show()})
	if in.Request().Has("Replaces") {
		c.replace()
		return
	}
	number, ok := c.dialled(in.Request().URI)
	if !ok {
		c.nobody()
		return
	}
	c.try(number)
}

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
			flow: flows[i], target: u.String(), security: callee.Media,
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

// openMedia takes the caller's offer, if the INVITE had one.
func (c *call) openMedia() error {
	if c.media != nil {
		return nil
	}
	c.media = share(c.s.c.Media.NewCall(c.id))
	var err error
	if c.caller.media, err = c.newLeg(c.caller.leg.Flow(), isBrowser(c.caller.leg.Flow(), c.caller.leg.Target()), c.caller.security); err != nil {
		return err
	}
	if sdp := c.in.Request().SDP(); sdp != nil {
		return c.caller.media.SetRemote(sdp)
	}
	return nil
}

// newLeg allots our end of the media of a party, whose SIP comes by a flow. What
// is offered to a browser is DTLS-SRTP.
func (c *call) newLeg(f sip.Flow, browser bool, security telephony.MediaSecurity) (MediaLeg, error) {
	ctx, cancel := context.WithTimeout(context.Background(), mediaTimeout)
	defer cancel()
	peer := f.Remote.Addr()
	p := media.LegParams{
		Side: f.Side, Local: f.Local.Addr(), Advertised: f.Local.Addr(), PeerSignalling: peer,
		Security: security, Browser: browser, Music: c.tenant.Calls.Music != telephony.MusicOfPhone,
	}
	if a := c.s.c.Addresses; a != nil {
		p.Local, p.Advertised = a.Local(peer), a.Advertised(peer)
	}
	m, err := c.media.NewLeg(ctx, p)
	if err != nil {
		return nil, err
	}
	m.PeerAt(f.Remote)
	return m, nil
}

// isBrowser reports whether a party is a web page: it speaks SIP over WebSocket
// and, other than a phone that does, knows no address of its own for its Contact
// (RFC 7118 section 5, RFC 2606).
func isBrowser(f sip.Flow, contact string) bool {
	if p := f.Protocol(); p != "WS" && p != "WSS" {
		return false
	}
	u, err := sip.ParseURI(contact)
	return err == nil && strings.HasSuffix(strings.ToLower(u.Host), ".invalid")
}

// refuseMedia answers a call that cannot have media.
func (c *call) refuseMedia(err error) {
	if errors.Is(err, media.ErrNoPorts) || errors.Is(err, media.ErrFence) || errors.Is(err, media.ErrClosed) || errors.Is(err, context.DeadlineExceeded) {
		c.s.c.Logger.Warn("call refused for want of media", slog.String("call", string(c.id)), slog.Any("error", err))
		c.end(telephony.EndFailed, *sip.Busy())
		return
	}
	c.end(c.notAcceptable(&c.caller, c.in.Request().SDP(), err))
}

// ring sends the INVITE to one phone.
func (c *call) ring(p device) error {
	m, err := c.newLeg(p.flow, p.dtls || isBrowser(p.flow, p.target), p.security)
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

// progress passes a provisional response on. Its session description (early
// media, also in a 180) goes to the caller if no other phone's has before: the
// first phone that has early media is heard until one answers. Of several early
// dialogs with one phone the caller hears the last.
func (c *call) progress(f *fork, r *sip.Response) {
	if c.finished || c.callee != nil {
		return
	}
	if c.record.Rang.IsZero() && (r.Code == 180 || r.Code == 183) {
		c.record.Rang = time.Now()
	}
	c.rings(f, r)
	if r.Code == 180 {
		c.become(telephony.CallRinging)
	}
	defer c.hums()
	if c.arriving != nil {
		if sdp := r.SDP(); sdp != nil {
			f.hear(r.To.Tag(), sdp)
		}
		c.arriving.sub.tell(r.Code, nil)
		return
	}
	if f.late {
		c.progressLate(f, r)
		return
	}
	if sdp := r.SDP(); sdp != nil {
		f.hear(r.To.Tag(), sdp)
		if c.early == nil || c.early == f {
			if answer, err := c.join(f, sdp); err == nil {
				c.early, c.lastCode, f.last = f, r.Code, r.To.Tag()
				c.earlyMedia(r.Code, answer)
				return
			}
		}
	}
	c.tellProgress(r.Code)
}

// tellProgress passes a provisional response without a description on, unless the
// caller knows as much.
func (c *call) tellProgress(code int) {
	if code != c.lastCode && c.lastCode != 180 {
		c.lastCode = code
		c.in.Progress(code, nil)
	}
}

// earlyMedia passes early media on to the caller. One whose offer has been answered
// for good is offered the change.
func (c *call) earlyMedia(code int, answer []byte) {
	changed := c.in.Settled() && (c.said || !bytes.Equal(answer, c.answer))
	c.answer = answer
	c.in.Progress(code, answer)
	if changed {
		c.reoffer(&c.caller, &c.early.party)
	}
}

// join takes the answer of a phone, lets both sides hear each other, and
// returns the answer for the caller; none if the caller made no offer.
func (c *call) join(f *fork, sdp []byte) ([]byte, error) {
	if err := f.media.SetRemote(sdp); err != nil {
		return nil, err
	}
	c.media.Bridge(c.caller.media, f.media)
	if c.said {
		return nil, nil
	}
	return c.caller.media.Answer(f.media)
}

// accepted: a phone answered. The first one wins.
func (c *call) accepted(f *fork, r *sip.Response) {
	if c.finished || c.callee != nil {
		f.leg.Bye(sip.Header{Name: "Reason", Value: elsewhere})
		return
	}
	if f.late {
		c.acceptedLate(f, r)
		return
	}
	sdp := r.SDP()
	was := f.said[r.To.Tag()]
	if was == nil {
		was = f.said[f.last]
	}
	if sdp == nil || f.out.Settled() {
		sdp = was // the answer came in a provisional response, for good if reliably
	}
	switch {
	case sdp == nil:
		c.unusable(f, nil, errNoAnswer)
		return
	case c.arriving != nil:
		if err := f.describe(sdp); err != nil {
			c.unusable(f, sdp, err)
			return
		}
		f.out.Ack(nil)
		c.arrive(f)
		return
	}
	c.chose(f)
	var forCaller []byte
	var err error
	switch {
	case c.early == f && f.last == r.To.Tag() && bytes.Equal(sdp, was):
		// Joined already, and perhaps changed by an UPDATE since.
		if !c.in.Settled() {
			forCaller, err = c.caller.media.Answer(f.media)
		}
	default:
		forCaller, err = c.join(f, sdp)
		c.caller.stale = c.caller.stale || c.said || c.in.Settled() && !bytes.Equal(forCaller, c.answer)
	}
	if err != nil {
		c.callee = nil
		c.unusable(f, sdp, err)
		return
	}
	f.out.Ack(nil)
	c.answer, f.said = nil, nil
	c.answer200(f, forCaller)
}

// chose makes a phone the one that answered.
func (c *call) chose(f *fork) {
	c.callee = f
	c.noAnswer.Stop()
	c.cancelForks(f, sip.Header{Name: "Reason", Value: elsewhere})
}

// unusable ends a call whose phone answered with something we cannot use.
func (c *call) unusable(f *fork, sdp []byte, err error) {
	reason, reply := c.notAcceptable(&f.party, sdp, err)
	f.leg.Bye(refusedBy(reason, &f.party))
	c.end(reason, reply)
}

// refused: a phone said no. When all have, or one said it for all (6xx), the
// caller gets the best of the answers.
func (c *call) refused(f *fork, r *sip.Response) {
	f.media.Close()
	if c.early == f {
		c.early = nil
		defer c.hums()
	}
	if f.dropped {
		return
	}
	f.refusal = r.Code
	if c.finished || c.callee != nil {
		return
	}
	if f.next != nil && failed(r) && c.ring(*f.next) == nil {
		c.tell()
		return
	}
	// One that knows no codec of the caller's is asked with all that we can convert.
	// A phone that is set to DTLS-SRTP or to keys in SDP takes no RTP/AVP, whatever
	// else it says (RFC 8643 was not written for it). DTLS-SRTP comes first: there
	// is a phone that answers RTP/SAVP with it.
	if f.again != nil && r.Code == 488 && !r.Local && c.ring(*f.again) == nil {
		c.tell()
		return
	}
	if to := c.redirected(r); to != "" {
		c.forward(to, deflected())
		return
	}
	for _, x := range c.forks {
		if x.refusal == 0 && r.Code < 600 {
			c.tell()
			c.lastHope()
			return
		}
	}
	c.settle()
}

// deafTime is how long phones that gave no sign of life are waited for once
// another phone has refused: its owner has seen the call.
const deafTime = 4 * time.Second

// lastHope settles for the refusals so far if no other phone begins to ring
// soon. A phone that is switched off says nothing for 64*T1, and the caller
// would wait that long for what is known already.
func (c *call) lastHope() {
	round := len(c.hops)
	time.AfterFunc(deafTime, func() {
		c.box.Post(func() {
			rings := func(f *fork) bool { return f.refusal == 0 && f.rang }
			if !c.finished && c.callee == nil && c.lament == nil && len(c.hops) == round && !slices.ContainsFunc(c.forks, rings) {
				c.settle()
			}
		})
	})
}

// settle ends the attempt with the refusal that tells most.
func (c *call) settle() {
	best := 0
	for _, x := range c.forks {
		if rank(x.refusal) > rank(best) {
			best = x.refusal
		}
	}
	code, reason := verdict(best)
	h := c.rung.Handling
	switch reason {
	case telephony.EndBusy:
		c.sendOn(h.ForwardBusy, busy(), reason, code)
	case telephony.EndUnavailable:
		c.sendOn(h.ForwardUnregistered, unregistered(), reason, code)
	default:
		c.end(c.insisted(reason, code))
	}
}

// rank orders refusals by how much they tell (RFC 3261 section 16.7, step 6,
// with what people want to know first).
func rank(code int) int {
	switch {
	case code == 0:
		return 0
	case code >= 600:
		return 9
	case code == 486:
		return 8
	case code == 488 || code == 415 || code == 406:
		return 6
	case code == 408 || code == 430 || code == 480 || code == 503:
		return 2
	case code >= 500:
		return 3
	case code >= 400:
		return 5
	}
	return 4
}

// verdict is what the caller gets for a phone's refusal. Challenges and
// redirections are not passed on: we do not answer them (our credentials are
// not for phones), and where a phone may send a call is seen to in redirected.
func verdict(code int) (int, telephony.EndReason) {
	switch code {
	case 486, 600:
		return 486, telephony.EndBusy
	case 603:
		return 603, telephony.EndRejected
	case 406, 415, 488, 606:
		return 488, telephony.EndFailed
	case 408, 430, 480, 503, 410, 404, 604:
		return 480, telephony.EndUnavailable
	}
	if code >= 500 {
		return 500, telephony.EndFailed
	}
	return 480, telephony.EndRejected
}

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
