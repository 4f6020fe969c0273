package dialog

import (
	"ringfence/internal/sip"
)

// maxStrays bounds the forks of one INVITE that are acknowledged and ended
// besides the one that won.
const maxStrays = 16

// Answers are the responses to an INVITE of ours, told in the leg's mailbox.
type Answers struct {
	Progress func(*sip.Response) // any number of 101..199; may be nil
	Accepted func(*sip.Response) // the first 2xx; call Ack, now or later
	Refused  func(*sip.Response) // the refusal; also local 408 and 503
}

// Outbound is an INVITE of ours: the one that makes the leg, or a re-INVITE.
type Outbound struct {
	leg       *Leg
	tx        *sip.ClientTx
	cseq      uint32
	on        Answers
	initial   bool
	cancelled bool
	answered  bool // the first 2xx was told
	refused   bool
	lives     bool // something was heard of the peer, be it 100
	ack       []byte
	offer     bool   // it has a session description
	afresh    func() // forgets what provisional responses said
	again     func() // makes it once more
	sent      sip.Outgoing
	raised    int              // how often a 422 made us do that
	forks     map[string]*fork // early dialogs by remote tag
	ackFlow   sip.Flow
	strays    map[string]bool // remote tags of other forks that answered 2xx
}

// Invite sends an INVITE: the first one of the leg makes the dialog, later ones
// change the session. With a nil sdp the peer makes the offer in its 2xx. If
// one of either side is pending it is refused with a local 491.
func (l *Leg) Invite(sdp []byte, hops int, headers []sip.Header, on Answers) *Outbound {
	o := &Outbound{leg: l, on: on, initial: l.state == early, offer: sdp != nil}
	if l.Ended() || l.busy() || l.update != nil || l.updating != nil && l.updating.offer {
		o.refused = true
		l.box.Post(func() { on.Refused(&sip.Response{Code: 491, Local: true}) })
		return o
	}
	l.out = o
	target, routes := l.target, l.routes
	o.afresh = func() {
		if o.initial { // what provisional responses said is over
			l.know("")
			l.fork, o.forks, l.target, l.routes = nil, nil, target, routes
		}
	}
	o.again = func() {
		o.afresh()
		o.send(sdp, hops, headers)
	}
	o.send(sdp, hops, headers)
	return o
}

// send sends the INVITE; a second time with another number, after a 422.
func (o *Outbound) send(sdp []byte, hops int, headers []sip.Header) {
	l := o.leg
	l.localSeq++
	o.cseq = l.localSeq
	req := l.request(sip.INVITE, o.cseq)
	req.Headers = append(append(req.Headers, l.inviteHeaders()...), l.askSession()...)
	req.Headers = append(req.Headers, headers...)
	req.Body, req.MaxForwards = sdp, hops
	if l.params.Edit != nil {
		l.params.Edit(&req)
	}
	o.sent = req
	o.transmit()
}

// transmit sends what send has made.
func (o *Outbound) transmit() {
	l := o.leg
	l.params.Auth.Authorize(&o.sent)
	tx, err := l.layer.ep.Request(l.flow, o.sent, func(r *sip.Response) {
		if r.Provisional() {
			l.box.Offer(func() { o.receive(r) })
			return
		}
		l.box.Post(func() { o.receive(r) })
	})
	if err != nil {
		l.box.Post(func() { o.receive(&sip.Response{Code: 503, Local: true}) })
		return
	}
	o.tx = tx
}

// busy reports whether an INVITE is in progress in either direction (RFC 3261
// section 14.1).
func (l *Leg) busy() bool {
	return l.out != nil && l.out.pending() || l.in != nil && (!l.in.final || l.in.waits())
}

// pending reports whether the INVITE has no final response, or a 2xx that is
// not acknowledged.
func (o *Outbound) pending() bool {
	return !o.refused && (!o.answered || o.ack == nil)
}

// Cancel gives an INVITE up that has no final response. The user hears of
// Refused, also if a 2xx crosses the CANCEL: that is acknowledged and ended
// with a BYE here.
func (o *Outbound) Cancel(headers ...sip.Header) {
	if o.cancelled || o.answered || o.refused {
		return
	}
	o.cancelled = true
	if o.tx != nil {
		o.tx.Cancel(headers...)
	}
}

// Ack acknowledges the 2xx, with a session description if that had the offer.
func (o *Outbound) Ack(sdp []byte) {
	if !o.answered || o.ack != nil {
		return
	}
	req := o.ackFor(o.leg)
	req.Body = sdp
	o.ackFlow = o.leg.flow
	o.ack = o.leg.layer.ep.SendAck(o.leg.flow, req)
}

// Silent reports whether nothing was heard of the peer yet, not even 100.
func (o *Outbound) Silent() bool { return !o.lives }

func (o *Outbound) receive(r *sip.Response) {
	l := o.leg
	o.lives = o.lives || !r.Local
	switch {
	case r.Provisional():
		if r.Code > 100 && !o.answered && !o.refused && l.state < ending && o.heard(r) && !o.cancelled && o.on.Progress != nil {
			o.on.Progress(r)
		}
	case r.Success():
		o.succeed(r)
	case o.answered || o.refused:
	case r.Code == 422 && !o.cancelled && l.state < ending && o.raised < maxRaised && l.raise(r):
		o.raised++
		o.again()
	case !o.cancelled && l.state < ending && l.challenged(&o.sent, r):
		o.afresh()
		o.cseq = o.sent.CSeq
		o.transmit()
	default:
		o.refused = true
		if o.initial {
			l.end()
		} else if (r.Code == 481 || r.Code == 408) && l.state == confirmed {
			// The peer knows nothing of the dialog, or is gone (RFC 3261
			// section 12.2.1.2).
			l.Bye()
		}
		o.on.Refused(r)
	}
}

func (o *Outbound) succeed(r *sip.Response) {
	l := o.leg
	switch {
	case o.answered && r.To.Tag() == l.remoteTag:
		if o.ack != nil {
			l.layer.ep.SendRaw(o.ackFlow, o.ack) // it did not hear our ACK
		}
	case o.answered || o.refused:
		o.stray(r)
	case o.initial && o.cancelled:
		// The 2xx crossed the CANCEL: the dialog exists, so it is ended.
		o.answered = true
		l.confirm(r)
		l.Bye()
		o.on.Refused(&sip.Response{Code: 487, Local: true})
	default:
		o.answered, o.again = true, nil
		l.agains = 0
		if o.initial {
			l.confirm(r)
		} else {
			l.target = refreshed(l.target, r)
		}
		l.learn(r.Values("Allow"))
		if l.state >= ending {
			o.Ack(nil)
			return
		}
		l.agreeSession(r)
		o.on.Accepted(r)
		o.forks, o.sent.Body = nil, nil // of no use any more, for the length of a call
	}
}

// confirm makes the dialog of the first 2xx (RFC 3261 section 12.1.2).
func (l *Leg) confirm(r *sip.Response) {
	l.state = confirmed
	if tag := r.To.Tag(); l.out != nil && l.out.forks[tag] != nil {
		l.follow(l.out.forks[tag])
	} else if l.fork != nil { // a dialog without an early one
		l.fork, l.remoteSeq = nil, 0
	}
	l.know(r.To.Tag())
	l.target = refreshed(l.target, r)
	l.routes = reversed(r.Values("Record-Route"))
}

func refreshed(target string, r *sip.Response) string {
	if c, err := r.Addresses("Contact"); err == nil && len(c) == 1 {
		return requestURI(c[0].URI)
	}
	return target
}

func reversed(list []string) []string {
	for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
		list[i], list[j] = list[j], list[i]
	}
	return list
}

// stray acknowledges a 2xx of a fork that lost, every time it comes, and ends
// its dialog, once (RFC 3261 section 13.2.2.4).
func (o *Outbound) stray(r *sip.Response) {
	tag := r.To.Tag()
	known := o.strays[tag]
	if !known && len(o.strays) >= maxStrays {
		return
	}
	l := &Leg{
		layer: o.leg.layer, box: o.leg.box, callID: o.leg.callID, localTag: o.leg.localTag,
		local: o.leg.local, remote: o.leg.remote, target: o.leg.target, flow: o.leg.flow, localSeq: o.leg.localSeq + 1,
		params: Params{Auth: o.leg.params.Auth},
	}
	l.confirm(r)
	l.layer.ep.SendAck(l.flow, o.ackFor(l))
	if known {
		return
	}
	if o.strays == nil {
		o.strays = make(map[string]bool)
	}
	o.strays[tag] = true
	// The number of another dialog, above all that was sent in this one.
	l.exchange(l.request(sip.BYE, l.localSeq), func(*sip.Response) {})
}

// forget lets the transaction go when the dialog has ended. A re-INVITE that the
// peer has neither accepted nor refused by then would ring for ever.
func (o *Outbound) forget() {
	if !o.answered && !o.initial {
		o.Cancel()
	}
	if o.tx != nil && o.answered && len(o.strays) == 0 {
		o.tx.Forget()
	}
}
