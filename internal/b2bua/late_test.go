package b2bua

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/siptest"
	"ringfence/internal/telephony"
)

// TestLateOfferInReliableResponse: the callee makes its offer in a reliable 183,
// the caller gets it in one of ours, and both PRACKs bring the answers (RFC 3262
// section 5). Nothing is left for 200 and ACK.
func TestLateOfferInReliableResponse(t *testing.T) {
	t.Parallel()
	for _, tag := range []string{"Require", "Supported"} {
		inTime2(t, tag, func(t *testing.T) {
			s, a, b := pair(t, nil)
			da := a.dial("102", "", tag+": 100rel")
			invite := b.want("INVITE")
			if body(invite) != "" || !strings.Contains(header(invite, "Supported"), "100rel") {
				t.Error(invite)
			}
			b.reply(invite, 183, "b1", "v=0 offer-b", "Require: 100rel", "RSeq: 7")
			p := a.want("183")
			rseq(t, p)
			if body(p) != "v=0 via-pbx(offer-b)" {
				t.Error(p)
			}
			b.quiet(400 * time.Millisecond)
			da.learn(p)
			da.request(sip.UPDATE, "v=0 crossing")
			a.want("491") // our offer has no answer
			da.prack(p, "v=0 answer-a")
			if ok := a.want("200"); body(ok) != "" || !strings.HasSuffix(header(ok, "CSeq"), "PRACK") {
				t.Error(ok)
			}
			prack := b.want("PRACK")
			if header(prack, "RAck") != "7 1 INVITE" || body(prack) != "v=0 via-pbx(answer-a)" {
				t.Error(prack)
			}
			b.reply(prack, 200, "", "")
			if got := s.bridge(); got != "0 1" {
				t.Errorf("early media are not heard: bridge %q", got)
			}
			b.reply(invite, 180, "b1", "")
			if tag == "Require" {
				da.prack(a.want("180"), "")
				a.want("200")
			} else {
				a.want("180")
			}
			b.reply(invite, 200, "b1", "")
			if ack := b.want("ACK"); body(ack) != "" || header(ack, "CSeq") != "1 ACK" {
				t.Error(ack)
			}
			ok := a.want("200")
			if body(ok) != "" || header(ok, "CSeq") != "2 INVITE" {
				t.Error(ok)
			}
			da.request(sip.ACK, "")
			a.quiet(time.Second)
			b.quiet(0)
			da.request(sip.BYE, "")
			a.want("200")
			b.reply(b.want("BYE"), 200, "", "")
			s.ended(telephony.EndCallerHungUp, 200)
		})
	}
}

// bridge is who hears whom.
func (s *stack) bridge() string {
	c := s.svc.all()[0]
	got := make(chan string, 1)
	c.box.Post(func() { got <- c.media.(*sharedMedia).MediaCall.(*fakeCall).bridge })
	return <-got
}

// TestLateOfferWithoutTheCallers: a caller that cannot do with reliable responses
// gets the offer in the 200. The callee's offer was answered by us until then, and
// it is offered what the caller said.
func TestLateOfferWithoutTheCallers(t *testing.T) {
	t.Parallel()
	for _, impatient := range []bool{false, true} {
		inTime2(t, fmt.Sprint("impatient ", impatient), func(t *testing.T) {
			s, a, b := pair(t, nil)
			da := a.dial("102", "")
			invite := b.want("INVITE")
			b.reply(invite, 183, "b1", "v=0 offer-b", "Require: 100rel", "RSeq: 7")
			if p := a.want("183"); body(p) != "" || header(p, "RSeq") != "" {
				t.Error(p)
			}
			prack := b.want("PRACK")
			if body(prack) != "v=0 pbx" {
				t.Error(prack)
			}
			if !impatient {
				b.reply(prack, 200, "", "")
			}
			b.reply(invite, 200, "b1", "")
			if ack := b.want("ACK"); body(ack) != "" {
				t.Error(ack)
			}
			b.reply(prack, 200, "", "")
			ok := a.want("200")
			if body(ok) != "v=0 via-pbx(offer-b)" {
				t.Error(ok)
			}
			da.learn(ok)
			da.request(sip.ACK, "v=0 answer-a")
			b.reoffered("answer-a", "answer-b")
			a.quiet(time.Second)
			da.request(sip.BYE, "")
			a.want("200")
			b.reply(b.want("BYE"), 200, "", "")
			s.ended(telephony.EndCallerHungUp, 200)
		})
	}
}

// TestRingingNeedsOurOffer: the callee rings without an offer, but the caller
// requires reliable responses: the first brings an offer of our own. When the
// callee has answered the caller's answer, the caller is offered the callee's.
func TestRingingNeedsOurOffer(t *testing.T) {
	t.Parallel()
	for _, slow := range []bool{false, true} {
		inTime2(t, fmt.Sprint("slow PRACK ", slow), func(t *testing.T) {
			s, a, b := pair(t, nil)
			da := a.dial("102", "", "Require: 100rel")
			invite := b.want("INVITE")
			b.reply(invite, 180, "b1", "")
			p := a.want("180")
			rseq(t, p)
			if body(p) != "v=0 pbx" {
				t.Error(p)
			}
			prack := func() {
				da.prack(p, "v=0 answer-a")
				if ok := a.want("200"); !strings.HasSuffix(header(ok, "CSeq"), "PRACK") {
					t.Error(ok)
				}
			}
			if !slow {
				prack()
			}
			b.reply(invite, 200, "b1", "v=0 offer-b")
			if slow {
				b.quiet(300 * time.Millisecond)
				a.quiet(0)
				prack()
			}
			if ack := b.want("ACK"); body(ack) != "v=0 via-pbx(answer-a)" {
				t.Error(ack)
			}
			ok := a.want("200")
			if body(ok) != "" || header(ok, "CSeq") != "2 INVITE" {
				t.Error(ok)
			}
			da.learn(ok)
			da.request(sip.ACK, "")
			a.reoffered("offer-b", "answer-2")
			da.request(sip.BYE, "")
			a.want("200")
			b.reply(b.want("BYE"), 200, "", "")
			s.ended(telephony.EndCallerHungUp, 200)
		})
	}
}

// TestPrackForgetsTheAnswer: there can be no session then.
func TestPrackForgetsTheAnswer(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{"", "v=0 bad"} {
		inTime2(t, answer, func(t *testing.T) {
			s, a, b := pair(t, nil)
			da := a.dial("102", "", "Require: 100rel")
			invite := b.want("INVITE")
			b.reply(invite, 183, "b1", "v=0 offer-b", "Require: 100rel", "RSeq: 7")
			da.prack(a.want("183"), answer)
			a.want("200")
			da.refuseAck(a.want("488"))
			b.reply(b.want("CANCEL"), 200, "b1", "")
			b.reply(invite, 487, "b1", "")
			b.want("ACK")
			s.ended(telephony.EndFailed, 488)
		})
	}
}

// TestTwoPhonesOfferEarly: the caller gets the offer of one phone; the other's is
// answered out of the caller's answer. When that one answers the call, the caller
// is offered the change, and a third, called after that, gets an offer.
func TestTwoPhonesOfferEarly(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b1 := pair(t, nil)
		b2, c := s.phone("102", 5202), s.phone("103", 5103)
		b2.register()
		c.register()
		s.handle(map[string]telephony.CallHandling{"102": {ForwardNoAnswer: "103"}})
		da := a.dial("102", "", "Supported: 100rel")
		i1, i2 := b1.want("INVITE"), b2.want("INVITE")
		b1.reply(i1, 183, "b1", "v=0 offer-1", "Require: 100rel", "RSeq: 1")
		synctest.Wait()
		b2.reply(i2, 183, "b2", "v=0 offer-2", "Require: 100rel", "RSeq: 1")
		p := a.want("183")
		if body(p) != "v=0 via-pbx(offer-1)" {
			t.Error(p)
		}
		da.prack(p, "v=0 answer-a")
		a.want("200")
		for _, b := range []*phone{b1, b2} {
			prack := b.want("PRACK")
			if body(prack) != "v=0 via-pbx(answer-a)" {
				t.Error(prack)
			}
			b.reply(prack, 200, "", "")
		}
		time.Sleep(20 * time.Second) // nobody answers
		b1.want("CANCEL")
		b2.want("CANCEL")
		a.want("181")
		i3 := c.want("INVITE")
		if body(i3) != "v=0 via-pbx(answer-a)" {
			t.Error(i3)
		}
		c.reply(i3, 200, "c1", "v=0 answer-c")
		c.want("ACK")
		ok := a.want("200")
		if body(ok) != "" {
			t.Error(ok)
		}
		da.learn(ok)
		da.request(sip.ACK, "")
		a.reoffered("answer-c", "answer-a2")
		da.request(sip.BYE, "")
		a.want("200")
		c.bye()
		for _, x := range []struct {
			p      *phone
			invite string
		}{{b1, i1}, {b2, i2}} {
			x.p.reply(x.invite, 487, "x", "")
		}
		s.record()
	})
}

// TestLateOfferWithTheMediaEngine: what real media say in each of these ways.
func TestLateOfferWithTheMediaEngine(t *testing.T) {
	t.Parallel()
	_, a, b := realPair(t)
	hears := func(what, message string) {
		t.Helper()
		d, err := siptest.ParseSDP(body(message))
		if err != nil || d.Addr.Addr().String() != "198.51.100.7" || d.Direction != "sendrecv" {
			t.Errorf("%s: %v\n%s", what, err, message)
		}
	}
	end := func(da *dialogue) {
		da.request(sip.BYE, "")
		a.want("200")
		b.bye()
	}
	t.Log("the offer in a 183")
	da := a.dial("102", "", "Require: 100rel")
	invite := b.want("INVITE")
	b.reply(invite, 183, "b1", describe(1, 40100), "Require: 100rel", "RSeq: 7")
	p := a.want("183")
	hears("the caller's offer", p)
	da.prack(p, describe(1, 40000))
	a.want("200")
	prack := b.want("PRACK")
	hears("the callee's answer", prack)
	b.reply(prack, 200, "", "")
	b.reply(invite, 200, "b1", "")
	b.want("ACK")
	a.want("200")
	da.request(sip.ACK, "")
	end(da)

	t.Log("no offer but ours")
	da = a.dial("102", "", "Require: 100rel")
	invite = b.want("INVITE")
	b.reply(invite, 180, "b2", "")
	p = a.want("180")
	hears("our offer", p)
	da.prack(p, describe(1, 40000))
	a.want("200")
	b.reply(invite, 200, "b2", describe(1, 40100))
	hears("the answer in the ACK", b.want("ACK"))
	a.want("200")
	da.request(sip.ACK, "")
	re := a.want("INVITE")
	hears("the change", re)
	a.reply(re, 200, "", describe(2, 40000))
	a.want("ACK")
	end(da)

	t.Log("an answer of our own")
	da = a.dial("102", "")
	invite = b.want("INVITE")
	b.reply(invite, 183, "b3", describe(1, 40100), "Require: 100rel", "RSeq: 7")
	a.want("183")
	prack = b.want("PRACK")
	hears("our answer", prack)
	b.reply(prack, 200, "", "")
	b.reply(invite, 200, "b3", "")
	b.want("ACK")
	ok := a.want("200")
	hears("the offer in the 200", ok)
	da.learn(ok)
	da.request(sip.ACK, describe(1, 40000))
	re = b.want("INVITE")
	hears("the change", re)
	b.reply(re, 200, "", describe(2, 40100))
	b.want("ACK")
	end(da)
}
