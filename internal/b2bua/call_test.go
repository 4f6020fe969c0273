package b2bua

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/events"
	"ringfence/internal/media"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// TestCall is the plain case, looked at closely.
func TestCall(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		began := time.Now()
		da := a.dial("102", "v=0 offer-a", "X-Secret: of 101", "User-Agent: PhoneA")
		invite := b.want("INVITE sip:102@192.0.2.50:5102 SIP/2.0")
		for name, want := range map[string]string{
			"To": "<sip:102@a.test>", "Contact": "<sip:101@192.0.2.1:5060>", "Max-Forwards": "69",
			"User-Agent": "Ringfence", "CSeq": "1 INVITE", "Allow": "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, REGISTER",
		} {
			if got := header(invite, name); got != want {
				t.Errorf("INVITE has %s %q, want %q", name, got, want)
			}
		}
		if from := header(invite, "From"); !strings.HasPrefix(from, `"Anna \"A\" Berg" <sip:101@a.test>;tag=`) {
			t.Errorf("From %s", from)
		}
		for _, leak := range []string{"192.0.2.50:5101", da.id, "X-Secret", "PhoneA", "Authorization"} {
			if strings.Contains(invite, leak) {
				t.Errorf("INVITE tells %q:\n%s", leak, invite)
			}
		}
		if body(invite) != "v=0 via-pbx(offer-a)" {
			t.Errorf("offer %q", body(invite))
		}
		b.reply(invite, 100, "", "")
		time.Sleep(time.Second)
		b.reply(invite, 180, "b1", "")
		a.want("180")
		synctest.Wait()
		if live := s.svc.Calls(1); len(live) != 1 || live[0].State != telephony.CallRinging || live[0].Callee.Name != "Bert" {
			t.Errorf("live %+v", live)
		}
		if live := s.svc.Calls(2); len(live) != 0 {
			t.Errorf("another tenant sees %+v", live)
		}
		time.Sleep(2 * time.Second)
		b.reply(invite, 200, "b1", "v=0 answer-b")
		ack := b.want("ACK sip:102@192.0.2.50:5102 SIP/2.0")
		if header(ack, "CSeq") != "1 ACK" || tag(header(ack, "To")) != "b1" || header(ack, "Call-ID") != header(invite, "Call-ID") {
			t.Errorf("ACK:\n%s", ack)
		}
		ok := a.want("200")
		if body(ok) != "v=0 via-pbx(answer-b)" || header(ok, "Contact") != "<sip:102@192.0.2.1:5060>" || strings.Contains(ok, "5102") {
			t.Errorf("answer:\n%s", ok)
		}
		da.learn(ok)
		da.request(sip.ACK, "")
		time.Sleep(10 * time.Second)
		if live := s.svc.Calls(1); live[0].State != telephony.CallConnected || live[0].Answered.IsZero() {
			t.Errorf("live %+v", live)
		}
		da.request(sip.BYE, "")
		a.want("200")
		bye := b.want("BYE sip:102@192.0.2.50:5102 SIP/2.0")
		if header(bye, "CSeq") != "2 BYE" || !strings.HasPrefix(header(bye, "Reason"), "Q.850;cause=16") {
			t.Errorf("BYE:\n%s", bye)
		}
		b.reply(bye, 200, "", "")
		r := s.ended(telephony.EndCallerHungUp, 200)
		if r.Duration() != 10*time.Second || r.Rang.Sub(began) != time.Second || r.Answered.Sub(r.Rang) != 2*time.Second ||
			r.Caller.Number != "101" || r.Caller.Name != `Anna "A" Berg` || r.Callee.Number != "102" || r.Callee.Name != "Bert" ||
			r.Caller.Addr != a.addr || r.Callee.Addr != b.addr || r.Tenant != 1 || r.Direction != "internal" ||
			r.CallerLeg.Codec != "offer-a" || r.CalleeLeg.Codec != "answer-b" {
			t.Errorf("record %+v", r)
		}
		var seen []string
		for len(s.events.C) > 0 {
			seen = append(seen, fmt.Sprintf("%T", <-s.events.C))
		}
		if got := strings.Join(seen, " "); got != "events.CallStarted events.CallChanged events.CallChanged events.CallEnded" {
			t.Errorf("events %s", got)
		}
		a.quiet(time.Minute)
		b.quiet(time.Minute)
		if s.svc.dialogs.Len() != 0 || s.ep.Stats().Pending != 0 {
			t.Errorf("%d legs, %d transactions left", s.svc.dialogs.Len(), s.ep.Stats().Pending)
		}
	})
}

var _ events.Event = events.CallEnded{}

func TestCalleeHangsUp(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		_, db := talking(a, b)
		db.request(sip.BYE, "", `Reason: Q.850;cause=31`)
		b.want("200")
		bye := a.want("BYE sip:101@192.0.2.50:5101 SIP/2.0")
		if header(bye, "Reason") != "Q.850;cause=31" {
			t.Errorf("BYE:\n%s", bye)
		}
		a.reply(bye, 200, "", "")
		s.ended(telephony.EndCalleeHungUp, 200)
		db.request(sip.BYE, "") // a second one finds nothing
		b.want("481")
	})
}

// TestBothHangUp: two BYEs cross; each gets its 200.
func TestBothHangUp(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da, db := talking(a, b)
		da.request(sip.BYE, "")
		a.want("200")
		bye := b.want("BYE")
		db.request(sip.BYE, "")
		b.want("200")
		b.reply(bye, 200, "", "")
		s.ended(telephony.EndCallerHungUp, 200)
		a.quiet(time.Minute)
		b.quiet(time.Minute)
	})
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code, want int
		reason     telephony.EndReason
	}{
		{486, 486, telephony.EndBusy}, {600, 486, telephony.EndBusy}, {603, 603, telephony.EndRejected},
		{480, 480, telephony.EndUnavailable}, {404, 480, telephony.EndUnavailable}, {403, 480, telephony.EndRejected},
		{488, 488, telephony.EndFailed}, {500, 500, telephony.EndFailed}, {503, 480, telephony.EndUnavailable},
		{302, 480, telephony.EndRejected}, {401, 480, telephony.EndRejected}, {407, 480, telephony.EndRejected},
	} {
		t.Run(fmt.Sprint(c.code), func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				s, a, b := pair(t, nil)
				da := a.dial("102", "v=0 offer-a")
				invite := b.want("INVITE")
				b.reply(invite, c.code, "b1", "", `WWW-Authenticate: Digest realm="x", nonce="y"`, `Proxy-Authenticate: Digest realm="x", nonce="y"`)
				b.want("ACK")
				no := a.want(fmt.Sprint(c.want))
				da.refuseAck(no)
				s.ended(c.reason, c.want)
				a.quiet(time.Minute)
				b.quiet(time.Minute) // no challenge is ever answered
			})
		})
	}
}

func TestNobodyThere(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s := newStack(t, nil)
		a := s.phone("101", 5101)
		for number, want := range map[string]int{"102": 480, "999": 404} {
			d := a.dial(number, "v=0 offer-a")
			d.refuseAck(a.want(fmt.Sprint(want)))
			reason := telephony.EndUnavailable
			if want == 404 {
				reason = telephony.EndNotFound
			}
			if r := s.ended(reason, want); r.Callee.Number != number || !r.Rang.IsZero() || !r.Answered.IsZero() {
				t.Errorf("record %+v", r)
			}
		}
		d := a.call("102")
		d.target = "sip:102@b.test" // another tenant's extension is not there
		d.request(sip.INVITE, "v=0 x")
		ch := a.want("407")
		d.refuseAck(ch)
		d.request(sip.INVITE, "v=0 x", a.authorize(ch, sip.INVITE, d.target, "pw101"))
		a.want("100")
		d.refuseAck(a.want("404"))
		s.ended(telephony.EndNotFound, 404)
	})
}

func TestNoAnswer(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da := a.dial("102", "v=0 offer-a")
		invite := b.want("INVITE")
		b.reply(invite, 180, "b1", "")
		a.want("180")
		time.Sleep(19 * time.Second)
		b.quiet(0)
		cancel := b.want("CANCEL")
		b.reply(cancel, 200, "b1", "")
		b.reply(invite, 487, "b1", "")
		b.want("ACK")
		da.refuseAck(a.want("480"))
		if r := s.ended(telephony.EndNoAnswer, 480); r.Rang.IsZero() {
			t.Error("it rang")
		}
		a.quiet(time.Minute)
	})
}

// TestSilentPhone: the phone is gone; its binding is not.
func TestSilentPhone(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, func(c *Config) {})
		da := a.dial("102", "v=0 offer-a")
		b.want("INVITE")
		go func() {
			for range b.in {
			}
		}()
		time.Sleep(21 * time.Second)
		da.refuseAck(a.want("480"))
		s.ended(telephony.EndNoAnswer, 480)
		time.Sleep(time.Minute)
		if s.svc.dialogs.Len() != 0 || s.ep.Stats().Pending != 0 {
			t.Errorf("%d legs, %d transactions left", s.svc.dialogs.Len(), s.ep.Stats().Pending)
		}
		close(b.in)
		s.mu.Lock()
		delete(s.phones, b.addr)
		s.mu.Unlock()
	})
}

func TestCallerCancels(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da := a.dial("102", "v=0 offer-a")
		invite := b.want("INVITE")
		b.reply(invite, 180, "b1", "")
		a.want("180")
		da.request(sip.CANCEL, "")
		if ok := a.want("200"); !strings.HasSuffix(header(ok, "CSeq"), "CANCEL") {
			t.Error(ok)
		}
		da.refuseAck(a.want("487"))
		cancel := b.want("CANCEL")
		b.reply(cancel, 200, "b1", "")
		b.reply(invite, 487, "b1", "")
		b.want("ACK")
		s.ended(telephony.EndCancelled, 487)
		a.quiet(time.Minute)
		b.quiet(time.Minute)
	})
}

// TestCallerHangsUpEarly: BYE in an early dialog does what CANCEL does.
func TestCallerHangsUpEarly(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da := a.dial("102", "v=0 offer-a")
		b.reply(b.want("INVITE"), 180, "b1", "")
		da.learn(a.want("180"))
		da.request(sip.BYE, "")
		a.want("200")
		a.want("487")
		b.want("CANCEL")
		s.ended(telephony.EndCancelled, 487)
	})
}

// TestCancelCrossesAnswer, at the callee: its 2xx is acknowledged and ended.
func TestCancelCrossesAnswer(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da := a.dial("102", "v=0 offer-a")
		invite := b.want("INVITE")
		b.reply(invite, 180, "b1", "")
		a.want("180")
		da.request(sip.CANCEL, "")
		a.want("200")
		da.refuseAck(a.want("487"))
		cancel := b.want("CANCEL")
		b.reply(invite, 200, "b1", "v=0 answer-b")
		b.reply(cancel, 200, "b1", "")
		b.want("ACK")
		bye := b.want("BYE")
		b.reply(invite, 200, "b1", "v=0 answer-b") // it did not hear the ACK
		b.want("ACK")
		b.reply(bye, 200, "", "")
		s.ended(telephony.EndCancelled, 487)
		b.quiet(time.Minute)
		if n := s.svc.dialogs.Len(); n != 0 {
			t.Errorf("%d legs left", n)
		}
	})
}

// TestCancelAfterAnswer, at the caller: too late, the call stands until its BYE.
func TestCancelAfterAnswer(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da := a.dial("102", "v=0 offer-a")
		b.reply(b.want("INVITE"), 200, "b1", "v=0 answer-b")
		b.want("ACK")
		ok := a.want("200")
		da.request(sip.CANCEL, "")
		a.want("200")
		da.learn(ok)
		da.request(sip.ACK, "")
		if len(s.svc.Calls(1)) != 1 {
			t.Error("call is gone")
		}
		da.request(sip.BYE, "")
		a.want("200")
		b.reply(b.want("BYE"), 200, "", "")
		s.ended(telephony.EndCallerHungUp, 200)
	})
}

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
		b1.reply(i1, 183, "b1", "v=0 early-1") // its early media would contradict the others'
		if p := a.want("183"); body(p) != "" {
			t.Errorf("early media of one of several phones: %s", p)
		}
		b2.reply(i2, 180, "b2", "")
		a.want("180")
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

// TestLateOffer: no description in the INVITE; the callee offers, the caller
// answers in its ACK.
func TestLateOffer(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da := a.dial("102", "")
		invite := b.want("INVITE")
		if body(invite) != "" {
			t.Errorf("made-up offer %q", body(invite))
		}
		b.reply(invite, 200, "b1", "v=0 offer-b")
		ok := a.want("200")
		if body(ok) != "v=0 via-pbx(offer-b)" {
			t.Error(ok)
		}
		b.quiet(300 * time.Millisecond) // our ACK waits for the answer
		da.learn(ok)
		da.request(sip.ACK, "v=0 answer-a")
		if ack := b.want("ACK"); body(ack) != "v=0 via-pbx(answer-a)" {
			t.Error(ack)
		}
		da.request(sip.BYE, "")
		a.want("200")
		b.want("BYE")
		s.ended(telephony.EndCallerHungUp, 200)
	})
}

func TestLateOfferWithoutAnswer(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da := a.dial("102", "")
		b.reply(b.want("INVITE"), 200, "b1", "v=0 offer-b")
		da.learn(a.want("200"))
		da.request(sip.ACK, "")
		a.want("BYE")
		b.want("ACK")
		b.want("BYE")
		s.ended(telephony.EndFailed, 200)
	})
}

func TestUnusableDescriptions(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da := a.dial("102", "v=0 bad")
		da.refuseAck(a.want("488"))
		s.ended(telephony.EndFailed, 488)
		b.quiet(time.Second)
		da = a.dial("102", "v=0 offer-a")
		b.reply(b.want("INVITE"), 200, "b1", "v=0 bad")
		b.want("ACK")
		b.want("BYE")
		da.refuseAck(a.want("488"))
		s.ended(telephony.EndFailed, 488)
	})
}

func TestNoMedia(t *testing.T) {
	t.Parallel()
	for _, err := range []error{media.ErrNoPorts, media.ErrFence} {
		t.Run(err.Error(), func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				s, a, b := pair(t, nil)
				s.media.fail = fmt.Errorf("allotting: %w", err)
				da := a.dial("102", "v=0 offer-a")
				no := a.want("503")
				if header(no, "Retry-After") == "" {
					t.Error(no)
				}
				da.refuseAck(no)
				s.ended(telephony.EndFailed, 503)
				b.quiet(time.Second)
			})
		})
	}
}

// TestAnswerIsRepeatedUntilAck is RFC 3261 section 13.3.1.4.
func TestAnswerIsRepeatedUntilAck(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da := a.dial("102", "v=0 offer-a")
		b.reply(b.want("INVITE"), 200, "b1", "v=0 answer-b")
		b.want("ACK")
		start := time.Now()
		var at []string
		var ok string
		for range 5 {
			ok = a.want("200")
			at = append(at, fmt.Sprint(time.Since(start)))
		}
		if got := strings.Join(at, " "); got != "0s 500ms 1.5s 3.5s 7.5s" {
			t.Errorf("answers at %s", got)
		}
		da.learn(ok)
		da.request(sip.ACK, "")
		a.quiet(20 * time.Second)
		if len(s.svc.Calls(1)) != 1 {
			t.Error("call is gone")
		}
	})
}

func TestAnswerIsNeverAcknowledged(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		a.dial("102", "v=0 offer-a")
		b.reply(b.want("INVITE"), 200, "b1", "v=0 answer-b")
		b.want("ACK")
		time.Sleep(33 * time.Second)
		b.reply(b.want("BYE"), 200, "", "")
		for m := a.next(); !strings.HasPrefix(m, "BYE"); m = a.next() {
			if !strings.HasPrefix(m, "SIP/2.0 200") {
				t.Fatal(m)
			}
		}
		s.ended(telephony.EndFailed, 200)
	})
}

// TestCalleeHangsUpBeforeAck: our BYE to the caller waits for its ACK (RFC 3261
// section 15).
func TestCalleeHangsUpBeforeAck(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da := a.dial("102", "v=0 offer-a")
		invite := b.want("INVITE")
		b.reply(invite, 200, "b1", "v=0 answer-b")
		b.want("ACK")
		ok := a.want("200")
		b.dialogueOf(invite, "b1").request(sip.BYE, "")
		b.want("200")
		a.quiet(400 * time.Millisecond)
		da.learn(ok)
		da.request(sip.ACK, "")
		a.reply(a.want("BYE"), 200, "", "")
		s.ended(telephony.EndCalleeHungUp, 200)
	})
}

func TestHangUpByAdministrator(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		talking(a, b)
		id := s.svc.Calls(1)[0].ID
		if err := s.svc.HangUp(t.Context(), 2, id); !errors.Is(err, ErrNoCall) {
			t.Errorf("another tenant: %v", err)
		}
		if err := s.svc.HangUp(t.Context(), 1, id); err != nil {
			t.Error(err)
		}
		a.reply(a.want("BYE"), 200, "", "")
		b.reply(b.want("BYE"), 200, "", "")
		s.ended(telephony.EndAdmin, 200)
		if err := s.svc.HangUp(context.Background(), 1, id); !errors.Is(err, ErrNoCall) {
			t.Errorf("a second time: %v", err)
		}
		da := a.dial("102", "v=0 offer-a") // one that only rings
		b.reply(b.want("INVITE"), 180, "b1", "")
		a.want("180")
		if err := s.svc.HangUp(t.Context(), telephony.System, s.svc.Calls(1)[0].ID); err != nil {
			t.Error(err)
		}
		b.want("CANCEL")
		da.refuseAck(a.want("480"))
		s.ended(telephony.EndAdmin, 480)
	})
}

func TestClose(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		c := s.phone("103", 5103)
		talking(a, b)
		dc := c.dial("102", "v=0 offer-c")
		i := b.want("INVITE")
		b.reply(i, 180, "b2", "")
		c.want("180")
		done := make(chan error)
		go func() { done <- s.svc.Close() }()
		a.reply(a.want("BYE"), 200, "", "")
		var cancel, bye string
		for range 2 {
			if m := b.next(); strings.HasPrefix(m, "BYE") {
				bye = m
			} else {
				cancel = m
			}
		}
		b.reply(bye, 200, "", "")
		b.reply(cancel, 200, "b2", "")
		b.reply(i, 487, "b2", "")
		dc.refuseAck(c.want("503"))
		start := time.Now()
		if err := <-done; err != nil || time.Since(start) > time.Second {
			t.Errorf("closed after %v: %v", time.Since(start), err)
		}
		if len(s.records) != 2 {
			t.Errorf("%d records", len(s.records))
		}
		for range 2 {
			if r := <-s.records; r.Reason != telephony.EndShutdown {
				t.Errorf("record %+v", r)
			}
		}
		d := a.call("102")
		d.request(sip.INVITE, "v=0 x")
		ch := a.want("407")
		d.request(sip.INVITE, "v=0 x", a.authorize(ch, sip.INVITE, d.target, "pw101"))
		a.want("503")
	})
}

func TestCallLimit(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, func(c *Config) { c.MaxCalls = 1 })
		da, _ := talking(a, b)
		c := s.phone("103", 5103)
		d := c.call("102")
		d.request(sip.INVITE, "v=0 x")
		ch := c.want("407")
		d.refuseAck(ch)
		d.request(sip.INVITE, "v=0 x", c.authorize(ch, sip.INVITE, d.target, "pw103"))
		if no := c.want("503"); header(no, "Retry-After") == "" {
			t.Error(no)
		}
		da.request(sip.BYE, "")
		a.want("200")
		b.reply(b.want("BYE"), 200, "", "")
		s.ended(telephony.EndCallerHungUp, 200)
		c.dial("102", "v=0 x")
	})
}

// TestDeadMedia: nobody sends RTP for ten minutes.
func TestDeadMedia(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		talking(a, b)
		time.Sleep(30 * time.Minute) // media flows
		if len(s.svc.Calls(1)) != 1 {
			t.Fatal("ended although media flows")
		}
		s.media.silent.Store(time.Now().UnixNano())
		time.Sleep(9 * time.Minute)
		if len(s.svc.Calls(1)) != 1 {
			t.Fatal("ended too early")
		}
		time.Sleep(2 * time.Minute)
		a.want("BYE")
		b.want("BYE")
		s.ended(telephony.EndMediaTimeout, 200)
	})
}

// TestPanicEndsTheCall: the record is written and both ends hear of it.
func TestPanicEndsTheCall(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		talking(a, b)
		s.svc.mu.Lock()
		for _, c := range s.svc.calls {
			c.box.Post(func() { panic("test") })
		}
		s.svc.mu.Unlock()
		a.want("BYE")
		b.want("BYE")
		s.ended(telephony.EndFailed, 200)
	})
}
