package b2bua

import (
	"bytes"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

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
	f.line.told(c.s, r.Code)
	if f.line != nil && (r.Code == 180 || r.SDP() != nil) {
		c.out.heard = true
	}
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
	f.line.told(c.s, r.Code)
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
	c.out.answered(f)
}

// unusable ends a call whose phone answered with something we cannot use.
func (c *call) unusable(f *fork, sdp []byte, err error) {
	reason, reply := c.notAcceptable(&f.party, sdp, err)
	f.leg.Bye(refusedBy(reason, &f.party))
	c.end(reason, reply)
}
