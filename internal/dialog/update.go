package dialog

import (
	"ringfence/internal/sip"
)

// maxRaised bounds how often a request is sent again after a 422.
const maxRaised = 3

// Update is an offer that the peer makes outside of an INVITE: in an UPDATE
// (RFC 3311), or in the PRACK of a provisional response (RFC 3262 section 5).
type Update struct {
	leg  *Leg
	tx   *sip.ServerTx
	done bool
}

// Leg returns the leg.
func (u *Update) Leg() *Leg { return u.leg }

// Request returns the UPDATE or PRACK.
func (u *Update) Request() *sip.Request { return u.tx.Request() }

func (u *Update) prack() bool { return u.tx.Request().Method == sip.PRACK }

// Answered reports whether it was accepted or rejected. Call it in the mailbox.
func (u *Update) Answered() bool { return u.done }

// Accept answers the offer.
func (u *Update) Accept(sdp []byte) {
	u.reply(sip.Reply{Code: 200, Headers: u.leg.updateHeaders(u.tx.Request()), Body: sdp})
}

// Reject leaves the session as it was.
func (u *Update) Reject(p sip.Reply) { u.reply(p) }

func (u *Update) reply(p sip.Reply) {
	if u.done {
		return
	}
	u.done = true
	u.tx.Reply(p)
	if u.leg.update == u {
		u.leg.update = nil
	}
	if u.leg.in != nil {
		u.leg.in.proceed()
	}
}

// updateHeaders are those of a 2xx to the peer's UPDATE or PRACK. A session
// timer starts with the session, not before (RFC 4028 section 7.1).
func (l *Leg) updateHeaders(r *sip.Request) []sip.Header {
	if r.Method == sip.PRACK {
		return nil
	}
	h := []sip.Header{l.contact(), sip.Allow()}
	if l.state == confirmed {
		h = append(h, l.answerSession(r)...)
	}
	return h
}

// updated handles the peer's UPDATE. One without an offer refreshes target and
// session and is nobody else's business.
func (l *Leg) updated(tx *sip.ServerTx) {
	r := tx.Request()
	if l.state >= ending || l.byeDue {
		tx.Reply(sip.Reply{Code: 481})
		return
	}
	if p := l.params.Session.refusal(r, false); p != nil {
		tx.Reply(*p)
		return
	}
	sdp := r.SDP()
	if sdp == nil && len(r.Body) > 0 {
		tx.Reply(sip.Reply{Code: 415, Headers: []sip.Header{{Name: "Accept", Value: "application/sdp"}}})
		return
	}
	if sdp != nil {
		if code := l.offerable(); code != 0 {
			tx.Reply(refusal(code))
			return
		}
	}
	l.refreshTarget(r)
	l.learn(r.Values("Allow"))
	if sdp == nil {
		tx.Reply(sip.Reply{Code: 200, Headers: l.updateHeaders(r)})
		return
	}
	l.update = &Update{leg: l, tx: tx}
	l.user.Update(l.update)
}

// offerable says whether the peer may make an offer now: 0, 491 if one of ours
// has no answer yet, 500 if one of its own has none (RFC 3311 section 5.2).
func (l *Leg) offerable() int {
	in, out := l.in, l.out
	switch {
	case l.updating != nil && l.updating.offer:
		return 491
	case out != nil && !out.answered && !out.refused && !out.Settled():
		return 491
	case out != nil && out.answered && out.ack == nil && !out.offer:
		return 500 // its offer in the 2xx waits for our ACK
	case l.update != nil:
		return 500
	case in != nil && !in.final && in.late() && in.rel.describes():
		return 491 // our offer in the provisional response
	case in != nil && !in.final && !in.rel.settled:
		return 500
	case in != nil && in.waits() && in.tx.Request().SDP() == nil && !in.rel.settled:
		return 491 // our offer in the 2xx
	}
	return 0
}

// Settled reports whether a reliable provisional response answered our offer,
// for good, in the dialog we talk to. Call it in the mailbox.
func (o *Outbound) Settled() bool {
	f := o.forks[o.leg.remoteTag]
	return f != nil && f.settled
}

// refusal tells the peer to offer again later.
func refusal(code int) sip.Reply {
	p := sip.Reply{Code: code}
	if code == 500 {
		p.Headers = []sip.Header{{Name: "Retry-After", Value: retryAfter()}}
	}
	return p
}

// learn notes whether the peer takes UPDATE, if its message says what it takes.
func (l *Leg) learn(allow []string) {
	if len(allow) > 0 && !l.deniesUpdate {
		l.takesUpdate = hasToken(allow, sip.UPDATE)
	}
}

// refreshTarget takes the Contact of a target refresh request (RFC 3261 section
// 12.2.2, RFC 3311 section 5.2).
func (l *Leg) refreshTarget(r *sip.Request) {
	if c, err := r.Addresses("Contact"); err == nil && len(c) == 1 {
		l.target = requestURI(c[0].URI)
	}
}

// updating is an UPDATE of ours that has no answer.
type updating struct{ offer bool }

// CanUpdate reports whether an offer can be sent in an UPDATE now: the peer
// takes it, there is a dialog, and no other offer is under way. Call it in the
// mailbox.
func (l *Leg) CanUpdate() bool {
	switch {
	case !l.takesUpdate || l.state >= ending || l.byeDue || l.updating != nil || l.update != nil:
		return false
	case l.state == early && l.out != nil:
		return l.out.Settled()
	case l.in != nil && !l.in.final:
		return l.in.rel.settled // and the PRACK came
	}
	return !l.busy()
}

// Update sends an UPDATE: an offer, or with a nil sdp only a refresh of target
// and session. done is called in the mailbox with the final response; it is a
// local 491 if CanUpdate says no.
func (l *Leg) Update(sdp []byte, hops int, done func(*sip.Response)) {
	if sdp != nil && !l.CanUpdate() || l.Ended() || l.updating != nil {
		l.box.Post(func() { done(&sip.Response{Code: 491, Local: true}) })
		return
	}
	l.sendUpdate(sdp, hops, maxRaised, done)
}

func (l *Leg) sendUpdate(sdp []byte, hops, raised int, done func(*sip.Response)) {
	u := &updating{sdp != nil}
	l.updating = u
	l.localSeq++
	o := l.request(sip.UPDATE, l.localSeq)
	o.Headers = append(o.Headers, l.contact(), sip.Allow(), l.supported(sip.UPDATE))
	o.Headers = append(o.Headers, l.presented...)
	if l.state == confirmed {
		o.Headers = append(o.Headers, l.askSession()...)
	}
	o.Body, o.MaxForwards = sdp, hops
	finish := func(r *sip.Response) {
		if l.updating == u {
			l.updating = nil
		}
		if l.updateAnswered(r) && raised > 0 {
			l.sendUpdate(sdp, hops, raised-1, done)
			return
		}
		done(r)
	}
	l.exchange(o, finish)
}

// updateAnswered takes the response to our UPDATE. It reports whether it is to
// be sent again.
func (l *Leg) updateAnswered(r *sip.Response) (again bool) {
	switch {
	case l.state >= ending:
	case r.Success():
		l.agains = 0
		l.target = refreshed(l.target, r)
		l.learn(r.Values("Allow"))
		if l.state == confirmed {
			l.agreeSession(r)
		}
	case r.Code == 422:
		return l.raise(r)
	case r.Code == 405 || r.Code == 501:
		l.takesUpdate, l.deniesUpdate = false, true
	}
	return false
}
