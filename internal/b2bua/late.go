package b2bua

import (
	"slices"

	"ringfence/internal/dialog"
	"ringfence/internal/sip"
)

// A caller may leave the offer to us (RFC 3261 section 13.2.1). We leave it to the
// phones, then, and the caller answers the one of the phone that accepts in its
// ACK. Where provisional responses are reliable there is more: a phone may make
// its offer in one, which is answered in the PRACK, and a caller that can gets
// one in ours (RFC 3262 section 5). A caller that requires them cannot even be
// told of ringing without an offer.

// progressLate passes on what a phone says that was left to make the offer.
func (c *call) progressLate(f *fork, r *sip.Response) {
	switch {
	case f.out.Asks(r):
		c.asks(f, r)
	case c.in.NeedsOffer():
		c.askCaller(nil, r.Code)
	default:
		// A description in an unreliable response is but a hint at its offer.
		c.tellProgress(r.Code)
	}
}

// asks handles an offer in a reliable provisional response.
func (c *call) asks(f *fork, r *sip.Response) {
	f.hear(r.To.Tag(), r.SDP())
	f.asking = append(f.asking, r.To.Tag())
	switch {
	case c.said:
		c.answerAsking(f)
		c.tellProgress(r.Code)
	case c.in.Settled():
		c.tellProgress(r.Code) // the PRACK is on its way
	case c.in.TakesReliable():
		if f.media.SetRemote(r.SDP()) != nil || !c.askCaller(f, r.Code) {
			c.answerAlone(f)
		}
	default:
		c.answerAlone(f)
		c.tellProgress(r.Code)
	}
}

// askCaller makes the caller an offer in a provisional response: that of a phone,
// or our own.
func (c *call) askCaller(f *fork, code int) bool {
	var from MediaLeg
	if f != nil {
		from = f.media
	}
	offer, err := c.caller.media.Offer(from)
	if err != nil {
		return false
	}
	c.asked, c.lastCode = f, code
	c.in.Progress(code, offer)
	return true
}

// Pracked: the caller answered our offer in its PRACK.
func (c *call) Pracked(_ *dialog.Inbound, sdp []byte) {
	if c.finished {
		return
	}
	if err := c.caller.describe(sdp); err != nil {
		c.end(c.notAcceptable(&c.caller, sdp, err))
		return
	}
	c.said = true
	for _, f := range c.forks {
		c.answerAsking(f)
	}
	if c.callee != nil {
		c.connectLate(c.callee)
	}
}

// answerAsking answers the offers of a phone that waited for the caller. The
// first phone with early media is heard until one answers.
func (c *call) answerAsking(f *fork) {
	for _, tag := range f.asking {
		err := f.media.SetRemote(f.said[tag])
		var answer []byte
		if err == nil {
			answer, err = f.media.Answer(c.caller.media)
		}
		if err != nil {
			c.answerAlone(f)
			return
		}
		f.out.Answer(tag, answer)
		f.last = tag
		if c.early == nil || c.early == f {
			c.early = f
			c.media.Bridge(c.caller.media, f.media)
		}
	}
	f.asking = nil
}

// answerAlone answers the offers of a phone before the caller's media are known.
// It is offered those when they are.
func (c *call) answerAlone(f *fork) {
	for _, tag := range f.asking {
		err := f.media.SetRemote(f.said[tag])
		var answer []byte
		if err == nil {
			answer, err = f.media.Answer(nil)
		}
		if err != nil {
			f.out.Cancel(because(488))
			break
		}
		f.alone, f.last = true, tag
		f.out.Answer(tag, answer)
	}
	f.asking = nil
}

// acceptedLate: a phone answered that was left to make the offer.
func (c *call) acceptedLate(f *fork, r *sip.Response) {
	tag, sdp := r.To.Tag(), r.SDP()
	if slices.Contains(f.asking, tag) { // it did not wait for our PRACK, as it has to
		c.answerAlone(f)
	}
	settled := f.out.Settled()
	if settled {
		sdp = f.said[tag]
	}
	if sdp == nil || !settled || f.last != tag {
		if err := f.describe(sdp); err != nil {
			c.unusable(f, sdp, err)
			return
		}
	}
	c.chose(f)
	var forCaller []byte
	if !c.in.Settled() {
		// The caller answers in its ACK, and ours waits for that.
		var err error
		if forCaller, err = c.caller.media.Offer(f.media); err != nil {
			c.callee = nil
			c.unusable(f, sdp, err)
			return
		}
	}
	if settled {
		f.out.Ack(nil)
	}
	if c.said && !c.connectLate(f) {
		return
	}
	f.said = nil
	c.answer200(f, forCaller)
}

// connectLate lets a caller that has answered an offer already, and the phone that
// accepted, hear each other. One whose offer or answer was about others is offered
// the change.
func (c *call) connectLate(f *fork) bool {
	c.media.Bridge(c.caller.media, f.media)
	if !f.out.Settled() {
		answer, err := f.media.Answer(c.caller.media)
		if err != nil {
			c.callee = nil
			c.unusable(f, nil, err)
			return false
		}
		f.out.Ack(answer)
	}
	c.caller.stale, f.stale = c.asked != f, f.alone
	return true
}

// ackedLate: the ACK of a caller that made no offer brings its answer, unless its
// PRACK did.
func (c *call) ackedLate(sdp []byte) {
	if !c.callee.alone {
		c.lateAnswer(c.callee.out, &c.caller, &c.callee.party, sdp)
		return
	}
	if err := c.caller.describe(sdp); err != nil {
		c.end(c.notAcceptable(&c.caller, sdp, err))
		return
	}
	c.media.Bridge(c.caller.media, c.callee.media)
	c.callee.stale = true
}
