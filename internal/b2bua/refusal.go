package b2bua

import (
	"slices"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

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
	f.line.told(c.s, r.Code)
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
	if f.line != nil {
		c.refusedOutside(f, r)
		return
	}
	if to := c.redirected(r); to != "" {
		if e, ok := c.s.c.Snapshot().Extension(c.tenant.ID, f.who.Number); ok {
			c.rung = e // it may be one that rings along
		}
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
