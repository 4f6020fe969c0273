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

// timed sets a call up whose caller and callee say that about session timers.
func timed(a, b *phone, caller, callee []string) (da, db *dialogue, ok, invite string) {
	a.t.Helper()
	da = a.dial("102", "v=0 offer-a", caller...)
	invite = b.want("INVITE")
	b.reply(invite, 200, "b1", "v=0 answer-b", callee...)
	b.want("ACK")
	ok = a.want("200")
	da.learn(ok)
	da.request(sip.ACK, "")
	return da, b.dialogueOf(invite, "b1"), ok, invite
}

// TestSessionTimerOfTheCaller: what we answer (RFC 4028 section 9, table 2).
func TestSessionTimerOfTheCaller(t *testing.T) {
	t.Parallel()
	const timer = "Supported: timer"
	for _, c := range []struct {
		asks []string
		want string // Session-Expires of the 200
		peer bool   // and Require: timer
	}{
		{nil, "", false},
		{[]string{timer}, "1800;refresher=uac", true},
		{[]string{timer, "Session-Expires: 300"}, "300;refresher=uac", true},
		{[]string{timer, "x: 300 ; refresher=UAS"}, "300;refresher=uas", false},
		{[]string{timer, "Session-Expires: 300;refresher=uac"}, "300;refresher=uac", true},
		{[]string{timer, "Session-Expires: 7200"}, "1800;refresher=uac", true},
		{[]string{timer, "Session-Expires: 7200", "Min-SE: 3600"}, "3600;refresher=uac", true},
		{[]string{"Require: timer", "Session-Expires: 90"}, "90;refresher=uac", true},
		{[]string{"Session-Expires: 600"}, "600;refresher=uas", false}, // a proxy's
		{[]string{"Session-Expires: 20"}, "", false},
		{[]string{timer, "Session-Expires: x"}, "1800;refresher=uac", true},
	} {
		t.Run(fmt.Sprint(c.asks), func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				_, a, b := pair(t, nil)
				_, _, ok, invite := timed(a, b, c.asks, nil)
				if header(ok, "Session-Expires") != c.want || (header(ok, "Require") == "timer") != c.peer {
					t.Errorf("answer:\n%s", ok)
				}
				if header(invite, "Session-Expires") != "1800" || !strings.Contains(header(invite, "Supported"), "timer") {
					t.Errorf("the other side's timer is its own:\n%s", invite)
				}
			})
		})
	}
}

// TestPitfall16CallerRefreshesOrIsGone: UPDATE and re-INVITE count; without either the
// call ends a little before the session does (RFC 4028 section 10).
func TestPitfall16CallerRefreshesOrIsGone(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da, _, _, _ := timed(a, b, []string{"Supported: timer", "Session-Expires: 300"}, nil)
		for range 4 {
			time.Sleep(260 * time.Second)
			da.request(sip.UPDATE, "", "Supported: timer", "Session-Expires: 300;refresher=uac")
			if ok := a.want("200"); header(ok, "Session-Expires") != "300;refresher=uac" || header(ok, "Require") != "timer" {
				t.Error(ok)
			}
		}
		time.Sleep(260 * time.Second)
		da.request(sip.INVITE, "v=0 offer-a", "Supported: timer", "Session-Expires: 300;refresher=uac")
		a.want("100")
		b.reply(b.want("INVITE"), 200, "", "v=0 answer-b")
		b.want("ACK")
		a.want("200")
		da.request(sip.ACK, "")
		start := time.Now()
		a.reply(a.nextWithin(5*time.Minute), 200, "", "")
		if at := time.Since(start); at != 268*time.Second {
			t.Errorf("ended after %v", at)
		}
		b.reply(b.want("BYE"), 200, "", "")
		s.ended(telephony.EndFailed, 200)
		a.quiet(time.Hour)
		b.quiet(0)
	})
}

// TestPitfall16EachDialogHasItsRefresher: the caller in its own, we in that of the
// callee, at other times; neither side hears of the other's, and an offer that
// passes through both leaves the roles as they are.
func TestPitfall16EachDialogHasItsRefresher(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		callee := []string{"Require: timer", "Session-Expires: 400;refresher=uac", takesUpdate}
		da, _, _, _ := timed(a, b, []string{"Supported: timer", "Session-Expires: 300", takesUpdate}, callee)
		refreshes := func() {
			t.Helper()
			time.Sleep(150 * time.Second)
			da.request(sip.UPDATE, "", "Supported: timer", "Session-Expires: 300;refresher=uac")
			if ok := a.want("200"); header(ok, "Session-Expires") != "300;refresher=uac" {
				t.Error(ok)
			}
			b.quiet(49 * time.Second)
			u := b.nextWithin(2 * time.Second)
			if !strings.HasPrefix(u, "UPDATE") || header(u, "Session-Expires") != "400;refresher=uac" {
				t.Error(u)
			}
			b.reply(u, 200, "", "", callee...)
			a.quiet(time.Second)
		}
		refreshes()
		refreshes()
		da.request(sip.INVITE, "v=0 hold", "Supported: timer", "Session-Expires: 300;refresher=uac")
		a.want("100")
		re := b.want("INVITE")
		if header(re, "Session-Expires") != "400;refresher=uac" {
			t.Error(re)
		}
		b.reply(re, 200, "", "v=0 held", callee...)
		b.want("ACK")
		if ok := a.want("200"); header(ok, "Session-Expires") != "300;refresher=uac" {
			t.Error(ok)
		}
		da.request(sip.ACK, "")
		refreshes()
		da.request(sip.BYE, "")
		a.want("200")
		b.bye()
		s.ended(telephony.EndCallerHungUp, 200)
	})
}

// TestWeRefresh at half time: by UPDATE where it is taken, else by a re-INVITE
// with the session as it is.
func TestWeRefresh(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"UPDATE", "INVITE", "405"} {
		t.Run(method, func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				s, a, b := pair(t, nil)
				callee := []string{"Require: timer", "Session-Expires: 600;refresher=uac"}
				if method != "INVITE" {
					callee = append(callee, takesUpdate)
				}
				da, _, _, _ := timed(a, b, nil, callee)
				for i := range 4 {
					start := time.Now()
					r := b.nextWithin(10 * time.Minute)
					if time.Since(start) != 5*time.Minute {
						t.Errorf("refreshed after %v", time.Since(start))
					}
					if method == "405" && i == 0 {
						b.reply(r, 405, "", "")
						r = b.want("INVITE")
					}
					if header(r, "Session-Expires") != "600;refresher=uac" || !strings.Contains(header(r, "Supported"), "timer") {
						t.Error(r)
					}
					if method == "UPDATE" {
						if !strings.HasPrefix(r, "UPDATE") || body(r) != "" {
							t.Error(r)
						}
						b.reply(r, 200, "", "", callee...)
						continue
					}
					if !strings.HasPrefix(r, "INVITE") || body(r) != "v=0 via-pbx(offer-a)" {
						t.Error(r)
					}
					b.reply(r, 200, "", "v=0 answer-b", callee[:2]...)
					b.want("ACK")
				}
				a.quiet(0)
				da.request(sip.BYE, "")
				a.want("200")
				b.reply(b.want("BYE"), 200, "", "")
				if r := s.ended(telephony.EndCallerHungUp, 200); r.CalleeLeg.Codec != "answer-b" {
					t.Errorf("%+v", r)
				}
				b.quiet(time.Hour)
			})
		})
	}
}

// TestRefreshFails: unknown to the phone, or no answer at all, ends the call;
// what is only for the moment is tried again.
func TestRefreshFails(t *testing.T) {
	t.Parallel()
	for _, code := range []int{481, 0, 491, 500, 503} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				s, a, b := pair(t, nil)
				timed(a, b, nil, []string{"Require: timer", "Session-Expires: 600;refresher=uac", takesUpdate})
				u := b.nextWithin(10 * time.Minute)
				start := time.Now()
				switch code {
				case 0:
				case 500:
					b.reply(u, code, "", "", "Retry-After: 4")
				default:
					b.reply(u, code, "", "")
				}
				if code >= 490 {
					u = b.nextWithin(3 * time.Minute)
					at := time.Since(start)
					if !strings.HasPrefix(u, "UPDATE") {
						t.Fatal(u)
					}
					switch {
					case code == 491 && (at < 2100*time.Millisecond || at > 4*time.Second):
						t.Errorf("we own the Call-ID and try again after %v", at)
					case code == 500 && at != 4*time.Second:
						t.Errorf("again after %v", at)
					}
					b.reply(u, 200, "", "", "Session-Expires: 600;refresher=uac")
					b.quiet(299 * time.Second)
					if len(s.svc.Calls(1)) != 1 {
						t.Error("the call ended")
					}
					return
				}
				a.in <- a.nextWithin(3 * time.Minute)
				a.reply(a.want("BYE"), 200, "", "")
				for strings.HasPrefix(u, "UPDATE") {
					u = b.nextWithin(time.Minute)
				}
				if at := time.Since(start); at > 33*time.Second {
					t.Errorf("after %v", at)
				}
				if !strings.HasPrefix(u, "BYE") {
					t.Error(u)
				}
				b.reply(u, 200, "", "")
				s.ended(telephony.EndFailed, 200)
			})
		})
	}
}

// TestCalleeThatShouldRefresh and does not.
func TestCalleeThatShouldRefresh(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		_, db, _, _ := timed(a, b, nil, []string{"Require: timer", "Session-Expires: 90;refresher=uas"})
		time.Sleep(45 * time.Second)
		db.request(sip.UPDATE, "", "Supported: timer", "Session-Expires: 90;refresher=uac")
		if ok := b.want("200"); header(ok, "Session-Expires") != "90;refresher=uac" {
			t.Error(ok)
		}
		start := time.Now()
		b.reply(b.nextWithin(2*time.Minute), 200, "", "")
		if at := time.Since(start); at != time.Minute { // a third before its end
			t.Errorf("ended after %v", at)
		}
		a.reply(a.want("BYE"), 200, "", "")
		s.ended(telephony.EndFailed, 200)
	})
}

// TestPitfall15IntervalTooSmall is 422 in both roles, for all methods (RFC 4028 sections
// 7.3 and 9).
func TestPitfall15IntervalTooSmall(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		s.rules(func(r *telephony.CallRules) { r.SessionExpires, r.MinSE = 10*time.Minute, 2*time.Minute })
		d := a.call("102")
		d.request(sip.INVITE, "v=0 offer-a")
		challenge := a.want("407")
		d.refuseAck(challenge)
		d.request(sip.INVITE, "v=0 offer-a", a.authorize(challenge, sip.INVITE, d.target, "pw101"), "Supported: timer", "Session-Expires: 100")
		no := a.want("422")
		if header(no, "Min-SE") != "120" {
			t.Error(no)
		}
		d.refuseAck(no)
		synctest.Wait()
		if n := s.svc.dialogs.Len() + len(s.svc.Calls(1)); n != 0 {
			t.Errorf("%d legs and calls of a refused INVITE", n)
		}
		da := a.dial("102", "v=0 offer-a", "Supported: timer", "Session-Expires: 120", takesUpdate)
		invite := b.want("INVITE")
		if header(invite, "Session-Expires") != "600" || header(invite, "Min-SE") != "120" {
			t.Error(invite)
		}
		b.reply(invite, 180, "b0", "")
		a.want("180")
		b.reply(invite, 422, "b0", "", "Min-SE: 900")
		b.want("ACK")
		again := b.want("INVITE sip:102@192.0.2.50:5102")
		if header(again, "Session-Expires") != "900" || header(again, "Min-SE") != "900" || header(again, "CSeq") != "2 INVITE" ||
			header(again, "To") != "<sip:102@a.test>" || header(again, "Call-ID") != header(invite, "Call-ID") || body(again) != body(invite) {
			t.Error(again)
		}
		b.reply(again, 200, "b1", "v=0 answer-b", "Session-Expires: 900;refresher=uac")
		if ack := b.want("ACK"); header(ack, "CSeq") != "2 ACK" || tag(header(ack, "To")) != "b1" {
			t.Error(ack)
		}
		da.learn(a.want("200"))
		da.request(sip.ACK, "")
		time.Sleep(time.Second)
		// Within the dialog as well.
		da.request(sip.UPDATE, "", "Supported: timer", "Session-Expires: 119")
		a.want("422")
		da.request(sip.INVITE, "v=0 x", "Supported: timer", "Session-Expires: 119")
		a.want("100")
		da.refuseAck(a.want("422"))
		da.request(sip.INVITE, "v=0 x", "Supported: timer", "Session-Expires: 120;refresher=uac")
		a.want("100")
		re := b.want("INVITE")
		b.reply(re, 422, "", "", "Min-SE: 1000")
		b.want("ACK")
		re = b.want("INVITE")
		if header(re, "Session-Expires") != "1000;refresher=uac" || header(re, "Min-SE") != "1000" || tag(header(re, "To")) != "b1" {
			t.Error(re)
		}
		b.reply(re, 422, "", "", "Min-SE: 1000") // it asks for what it has
		b.want("ACK")
		da.refuseAck(a.want("488"))
		da.request(sip.BYE, "")
		a.want("200")
		b.want("BYE")
		s.ended(telephony.EndCallerHungUp, 200)
	})
}

// TestNoSessionTimers: with refuse we are an end that does not know them.
func TestNoSessionTimers(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		s.rules(func(r *telephony.CallRules) { r.Session = telephony.SessionRefuse })
		d := a.call("102")
		d.request(sip.INVITE, "v=0 offer-a")
		challenge := a.want("407")
		d.refuseAck(challenge)
		d.request(sip.INVITE, "v=0 offer-a", a.authorize(challenge, sip.INVITE, d.target, "pw101"), "Require: timer", "Session-Expires: 300")
		no := a.want("420")
		if header(no, "Unsupported") != "timer" {
			t.Error(no)
		}
		d.refuseAck(no)
		// A short session of one that does not insist is no reason to refuse it.
		da, _, ok, invite := timed(a, b, []string{"Supported: timer", "Session-Expires: 60"}, []string{"Session-Expires: 300;refresher=uac"})
		for _, m := range []string{ok, invite} {
			if header(m, "Session-Expires") != "" || strings.Contains(header(m, "Supported"), "timer") || header(m, "Require") != "" {
				t.Error(m)
			}
		}
		da.request(sip.UPDATE, "", "Supported: timer", "Session-Expires: 60")
		if ok := a.want("200"); header(ok, "Session-Expires") != "" {
			t.Error(ok)
		}
		b.quiet(9 * time.Minute) // nobody refreshes
		if len(s.svc.Calls(1)) != 1 {
			t.Error("the call ended")
		}
	})
}

// TestSessionTimersAreRequired of both sides of a call.
func TestSessionTimersAreRequired(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		s.rules(func(r *telephony.CallRules) { r.Session = telephony.SessionRequire })
		d := a.call("102")
		d.request(sip.INVITE, "v=0 offer-a")
		challenge := a.want("407")
		d.refuseAck(challenge)
		d.request(sip.INVITE, "v=0 offer-a", a.authorize(challenge, sip.INVITE, d.target, "pw101"))
		no := a.want("421")
		if header(no, "Require") != "timer" {
			t.Error(no)
		}
		d.refuseAck(no)
		timer := []string{"Supported: timer"}
		_, _, ok, invite := timed(a, b, timer, []string{"Require: timer", "Session-Expires: 1800;refresher=uas"})
		if header(ok, "Session-Expires") != "1800;refresher=uac" || header(invite, "Require") != "timer" || header(invite, "Session-Expires") != "1800" {
			t.Errorf("%s\n%s", ok, invite)
		}
	})
}
