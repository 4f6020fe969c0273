package b2bua

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// TestForks: three phones of 102 ring; the first to answer wins.
func TestForks(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b1 := pair(t, nil)
		b2, b3 := s.phone("102", 5202), s.phone("102", 5302)
		b2.register()
		b3.register()
		da := a.dial("102", "v=0 offer-a")
		i1, i2, i3 := b1.want("INVITE"), b2.want("INVITE"), b3.want("INVITE")
		if header(i1, "Call-ID") == header(i2, "Call-ID") {
			t.Error("the phones share a Call-ID: one that is registered twice would refuse with 482")
		}
		b1.reply(i1, 183, "b1", "v=0 early-1") // the first to have early media is heard
		if p := a.want("183"); body(p) != "v=0 via-pbx(early-1)" {
			t.Errorf("early media of the first phone: %s", p)
		}
		b2.reply(i2, 180, "b2", "v=0 early-2")
		if p := a.want("180"); body(p) != "" {
			t.Errorf("early media of a second phone: %s", p)
		}
		b3.reply(i3, 486, "b3", "")
		b3.want("ACK")
		a.quiet(time.Second)
		b2.reply(i2, 200, "b2", "v=0 answer-2")
		b2.want("ACK")
		cancel := b1.want("CANCEL")
		if header(cancel, "Reason") != `SIP;cause=200;text="Call completed elsewhere"` {
			t.Error(cancel)
		}
		ok := a.want("200")
		if body(ok) != "v=0 via-pbx(answer-2)" {
			t.Error(ok)
		}
		da.learn(ok)
		da.request(sip.ACK, "")
		b1.reply(i1, 200, "b1", "v=0 answer-1") // crossed
		b1.reply(cancel, 200, "b1", "")
		b1.want("ACK")
		b1.reply(b1.want("BYE"), 200, "", "")
		time.Sleep(time.Second)
		da.request(sip.BYE, "")
		a.want("200")
		b2.reply(b2.want("BYE"), 200, "", "")
		if r := s.ended(telephony.EndCallerHungUp, 200); r.Callee.Addr != b2.addr {
			t.Errorf("callee at %s", r.Callee.Addr)
		}
		b1.quiet(time.Minute)
		b3.quiet(0)
	})
}

// TestTwoAnswersAtOnce: both phones' 2xx are on the way before either loses.
func TestTwoAnswersAtOnce(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b1 := pair(t, nil)
		b2 := s.phone("102", 5202)
		b2.register()
		da := a.dial("102", "v=0 offer-a")
		i1, i2 := b1.want("INVITE"), b2.want("INVITE")
		b1.reply(i1, 200, "b1", "v=0 answer-1")
		b2.reply(i2, 200, "b2", "v=0 answer-2")
		ok := a.want("200")
		da.learn(ok)
		da.request(sip.ACK, "")
		won, lost, iLost := b1, b2, i2
		if body(ok) == "v=0 via-pbx(answer-2)" {
			won, lost, iLost = b2, b1, i1
		}
		won.want("ACK")
		lost.want("ACK")
		lost.reply(lost.want("BYE"), 200, "", "")
		lost.reply(iLost, 200, "", "")
		da.request(sip.BYE, "")
		a.want("200")
		won.reply(won.want("BYE"), 200, "", "")
		s.ended(telephony.EndCallerHungUp, 200)
	})
}

// TestForkBehindAProxy: one INVITE, two 2xx with different To tags.
func TestForkBehindAProxy(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da := a.dial("102", "v=0 offer-a")
		invite := b.want("INVITE")
		b.reply(invite, 180, "x", "")
		b.reply(invite, 180, "y", "")
		b.reply(invite, 200, "x", "v=0 answer-x")
		b.reply(invite, 200, "y", "v=0 answer-y")
		if ack := b.want("ACK"); tag(header(ack, "To")) != "x" {
			t.Error(ack)
		}
		if ack := b.want("ACK"); tag(header(ack, "To")) != "y" || header(ack, "CSeq") != "1 ACK" {
			t.Error(ack)
		}
		bye := b.want("BYE")
		if tag(header(bye, "To")) != "y" || header(bye, "CSeq") != "2 BYE" {
			t.Error(bye)
		}
		b.reply(invite, 200, "y", "v=0 answer-y") // again: acknowledged, not ended twice
		b.want("ACK")
		b.reply(bye, 200, "", "")
		da.learn(a.want("180"))
		da.learn(a.want("200"))
		da.request(sip.ACK, "")
		b.quiet(time.Second)
		da.request(sip.BYE, "")
		a.want("200")
		if bye := b.want("BYE"); tag(header(bye, "To")) != "x" {
			t.Error(bye)
		}
		s.ended(telephony.EndCallerHungUp, 200)
	})
}

// TestForksCountByThemselves: what one fork sent early is no reason to take the
// requests of the one that answered for old (RFC 3261 section 12.1.2).
func TestForksCountByThemselves(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da := a.dial("102", "v=0 offer-a")
		invite := b.want("INVITE")
		b.reply(invite, 180, "x", "")
		a.want("180")
		b.reply(invite, 180, "y", "")
		y := b.dialogueOf(invite, "y")
		y.seq = 50
		y.request(sip.OPTIONS, "")
		b.want("200")
		b.reply(invite, 200, "x", "v=0 answer-x")
		b.want("ACK")
		da.learn(a.want("200"))
		da.request(sip.ACK, "")
		synctest.Wait()
		x := b.dialogueOf(invite, "x")
		x.request(sip.BYE, "")
		b.want("200")
		a.reply(a.want("BYE"), 200, "", "")
		s.ended(telephony.EndCalleeHungUp, 200)
	})
}

func TestDeclineStopsAllPhones(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b1 := pair(t, nil)
		b2 := s.phone("102", 5202)
		b2.register()
		da := a.dial("102", "v=0 offer-a")
		i1, i2 := b1.want("INVITE"), b2.want("INVITE")
		b2.reply(i2, 180, "b2", "")
		a.want("180")
		b1.reply(i1, 603, "b1", "")
		b1.want("ACK")
		b2.want("CANCEL")
		da.refuseAck(a.want("603"))
		s.ended(telephony.EndRejected, 603)
	})
}

// TestEarlyMedia: 183 and 180 with a description reach the caller, and a 200
// without one goes by the early answer.
func TestEarlyMedia(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da := a.dial("102", "v=0 offer-a")
		invite := b.want("INVITE")
		b.reply(invite, 183, "b1", "v=0 early-1")
		if p := a.want("183"); body(p) != "v=0 via-pbx(early-1)" {
			t.Error(p)
		}
		b.reply(invite, 180, "b2", "v=0 early-2") // another tag, another description
		if p := a.want("180"); body(p) != "v=0 via-pbx(early-2)" {
			t.Error(p)
		}
		b.reply(invite, 200, "b2", "")
		ok := a.want("200")
		if body(ok) != "v=0 via-pbx(early-2)" {
			t.Error(ok)
		}
		da.learn(ok)
		da.request(sip.ACK, "")
		b.want("ACK")
		da.request(sip.BYE, "")
		a.want("200")
		b.want("BYE")
		s.ended(telephony.EndCallerHungUp, 200)
	})
}

// TestLongRinging: dozens of provisional responses, of one dialog and of many, do
// not end a call.
func TestLongRinging(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da := a.dial("102", "v=0 offer-a")
		invite := b.want("INVITE")
		for i := range 50 {
			b.reply(invite, 180+3*(i%2), fmt.Sprint("b", min(i, 40)%8), "")
			time.Sleep(100 * time.Millisecond)
		}
		b.reply(invite, 200, "b0", "v=0 answer-b")
		b.want("ACK")
		m := a.next()
		for !strings.HasPrefix(m, "SIP/2.0 200") {
			if !strings.HasPrefix(m, "SIP/2.0 18") {
				t.Fatal(m)
			}
			m = a.next()
		}
		da.learn(m)
		da.request(sip.ACK, "")
		da.request(sip.BYE, "")
		a.want("200")
		b.bye()
		s.ended(telephony.EndCallerHungUp, 200)
	})
}

// A phone that is switched off does not keep the caller from hearing that the
// others are busy.
func TestBusyDoesNotWaitForTheDead(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b1 := pair(t, nil)
		b2 := s.phone("102", 5202)
		b2.register()
		da := a.dial("102", "v=0 offer-a")
		i1 := b1.want("INVITE")
		b2.want("INVITE") // and says nothing, ever
		b1.reply(i1, 486, "b1", "")
		b1.want("ACK")
		began := time.Now()
		busy := a.want("486")
		if waited := time.Since(began); waited > deafTime+time.Second {
			t.Errorf("busy was told after %v", waited)
		}
		da.refuseAck(busy)
		s.ended(telephony.EndBusy, 486)
	})
}

// One that rings late keeps the call.
func TestBusyWaitsForWhoRings(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b1 := pair(t, nil)
		b2 := s.phone("102", 5202)
		b2.register()
		da := a.dial("102", "v=0 offer-a")
		i1, i2 := b1.want("INVITE"), b2.want("INVITE")
		b2.reply(i2, 100, "", "") // its network works, it thinks
		b1.reply(i1, 486, "b1", "")
		b1.want("ACK")
		time.Sleep(deafTime / 2)
		b2.reply(i2, 180, "b2", "")
		a.want("180")
		a.quiet(deafTime)
		b2.reply(i2, 200, "b2", "v=0 answer-2")
		b2.want("ACK")
		da.learn(a.want("200"))
		da.request(sip.ACK, "")
		da.request(sip.BYE, "")
		a.want("200")
		b2.reply(b2.want("BYE"), 200, "", "")
		s.ended(telephony.EndCallerHungUp, 200)
	})
}
