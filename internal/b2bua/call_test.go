package b2bua

import (
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
			"User-Agent": "Ringfence", "CSeq": "1 INVITE", "Allow": "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, PRACK, UPDATE, REFER, MESSAGE, REGISTER, SUBSCRIBE, NOTIFY, PUBLISH",
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
