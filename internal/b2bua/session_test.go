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

// TestHold: both sides in turn; each hears the other's new description, in the
// dialog's own numbers.
func TestHold(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da, db := talking(a, b)
		da.request(sip.INVITE, "v=0 hold-a\r\na=sendonly\r\n")
		a.want("100")
		re := b.want("INVITE sip:102@192.0.2.50:5102 SIP/2.0")
		if header(re, "CSeq") != "2 INVITE" || tag(header(re, "To")) != "b1" || body(re) != "v=0 via-pbx(hold-a\r\na=sendonly\r\n)" {
			t.Errorf("re-INVITE:\n%s", re)
		}
		b.reply(re, 200, "", "v=0 held-b\r\na=recvonly\r\n")
		if ack := b.want("ACK"); header(ack, "CSeq") != "2 ACK" {
			t.Error(ack)
		}
		if ok := a.want("200"); !strings.HasPrefix(body(ok), "v=0 via-pbx(held-b") {
			t.Error(ok)
		}
		da.request(sip.ACK, "")
		synctest.Wait()
		if live := s.svc.Calls(1); live[0].State != telephony.CallHeld {
			t.Errorf("state %s", live[0].State)
		}
		da.request(sip.INVITE, "v=0 back-a\r\na=sendrecv\r\n")
		a.want("100")
		b.reply(b.want("INVITE"), 200, "", "v=0 back-b")
		b.want("ACK")
		a.want("200")
		da.request(sip.ACK, "")
		synctest.Wait()
		if live := s.svc.Calls(1); live[0].State != telephony.CallConnected {
			t.Errorf("state %s", live[0].State)
		}
		db.request(sip.INVITE, "v=0 hold-b\r\na=inactive\r\n")
		b.want("100")
		re = a.want("INVITE sip:101@192.0.2.50:5101 SIP/2.0")
		if header(re, "CSeq") != "1 INVITE" || !strings.HasPrefix(body(re), "v=0 via-pbx(hold-b") {
			t.Errorf("re-INVITE:\n%s", re)
		}
		a.reply(re, 200, "", "v=0 held-a")
		a.want("ACK")
		b.want("200")
		db.request(sip.ACK, "")
		db.request(sip.BYE, "")
		b.want("200")
		if bye := a.want("BYE"); header(bye, "CSeq") != "2 BYE" {
			t.Error(bye)
		}
		s.ended(telephony.EndCalleeHungUp, 200)
	})
}

// TestReinviteRefused: the session stays as it was.
func TestReinviteRefused(t *testing.T) {
	t.Parallel()
	for code, want := range map[int]string{488: "488", 491: "491", 500: "500", 403: "488", 407: "488"} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				s, a, b := pair(t, nil)
				da, _ := talking(a, b)
				da.request(sip.INVITE, "v=0 video-a")
				a.want("100")
				b.reply(b.want("INVITE"), code, "", "")
				b.want("ACK")
				no := a.want(want)
				da.refuseAck(no)
				da.request(sip.BYE, "")
				a.want("200")
				b.want("BYE")
				if r := s.ended(telephony.EndCallerHungUp, 200); r.CallerLeg.Codec != "offer-a" {
					t.Errorf("the refused description stayed: %q", r.CallerLeg.Codec)
				}
			})
		})
	}
}

// TestReinviteToAStranger: the other side forgot the call.
func TestReinviteToAStranger(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da, _ := talking(a, b)
		da.request(sip.INVITE, "v=0 x")
		a.want("100")
		b.reply(b.want("INVITE"), 481, "", "")
		b.want("ACK")
		b.want("BYE")
		a.want("481")
		a.want("BYE")
		s.ended(telephony.EndFailed, 200)
	})
}

// TestPitfall14Glare: both sides re-INVITE at once (RFC 3261 section 14).
func TestPitfall14Glare(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da, db := talking(a, b)
		da.request(sip.INVITE, "v=0 x")
		a.want("100")
		re := b.want("INVITE")
		db.request(sip.INVITE, "v=0 y")
		b.want("100")
		no := b.want("491")
		db.refuseAck(no)
		b.reply(re, 491, "", "")
		b.want("ACK")
		da.refuseAck(a.want("491"))
		// Both may try again, one after the other.
		db.request(sip.INVITE, "v=0 y")
		b.want("100")
		a.reply(a.want("INVITE"), 200, "", "v=0 y2")
		a.want("ACK")
		b.want("200")
		db.request(sip.ACK, "")
		synctest.Wait() // the two sides are not in step with each other
		da.request(sip.INVITE, "v=0 x")
		a.want("100")
		b.reply(b.want("INVITE"), 200, "", "v=0 x2")
		b.want("ACK")
		a.want("200")
		da.request(sip.ACK, "")
		da.request(sip.BYE, "")
		a.want("200")
		b.want("BYE")
		s.ended(telephony.EndCallerHungUp, 200)
	})
}

// TestPitfall14SecondInviteWhileOneIsPending is RFC 3261 section 14.2.
func TestPitfall14SecondInviteWhileOneIsPending(t *testing.T) {
	inTime(t, func(t *testing.T) {
		_, a, b := pair(t, nil)
		da, _ := talking(a, b)
		da.request(sip.INVITE, "v=0 x")
		a.want("100")
		b.want("INVITE")
		da.request(sip.INVITE, "v=0 y")
		a.want("100")
		if no := a.want("500"); header(no, "Retry-After") == "" {
			t.Error(no)
		}
	})
}

// TestReinviteWithoutOffer: the refresh of a session timer, or a phone that
// wants a fresh offer.
func TestReinviteWithoutOffer(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da, _ := talking(a, b)
		da.request(sip.INVITE, "", "Supported: timer", "Session-Expires: 1800;refresher=uac")
		a.want("100")
		re := b.want("INVITE")
		if body(re) != "" {
			t.Error(re)
		}
		b.reply(re, 200, "", "v=0 offer-b2")
		ok := a.want("200")
		if body(ok) != "v=0 via-pbx(offer-b2)" || header(ok, "Session-Expires") != "1800;refresher=uac" {
			t.Error(ok)
		}
		b.quiet(300 * time.Millisecond)
		da.request(sip.ACK, "v=0 answer-a2")
		if ack := b.want("ACK"); body(ack) != "v=0 via-pbx(answer-a2)" || header(ack, "CSeq") != "2 ACK" {
			t.Error(ack)
		}
		da.request(sip.INVITE, "v=0 again", "Require: timer", "Session-Expires: 1800")
		a.want("100")
		b.reply(b.want("INVITE"), 200, "", "v=0 again-b")
		b.want("ACK")
		if ok := a.want("200"); header(ok, "Session-Expires") != "1800;refresher=uac" || header(ok, "Require") != "timer" {
			t.Error(ok)
		}
		da.request(sip.ACK, "")
		da.request(sip.BYE, "")
		a.want("200")
		b.want("BYE")
		s.ended(telephony.EndCallerHungUp, 200)
	})
}

func TestReinviteCancelled(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da, _ := talking(a, b)
		da.request(sip.INVITE, "v=0 x")
		a.want("100")
		re := b.want("INVITE")
		b.reply(re, 180, "", "")
		da.request(sip.CANCEL, "")
		a.want("200")
		da.refuseAck(a.want("487"))
		cancel := b.want("CANCEL")
		b.reply(cancel, 200, "", "")
		b.reply(re, 487, "", "")
		b.want("ACK")
		// The call goes on, and can be changed again.
		da.request(sip.INVITE, "v=0 y")
		a.want("100")
		b.reply(b.want("INVITE"), 200, "", "v=0 y2")
		b.want("ACK")
		a.want("200")
		da.request(sip.ACK, "")
		da.request(sip.BYE, "")
		a.want("200")
		b.want("BYE")
		s.ended(telephony.EndCallerHungUp, 200)
	})
}

// TestReinviteUnanswered: the other side lets it ring for ever.
func TestReinviteUnanswered(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da, _ := talking(a, b)
		da.request(sip.INVITE, "v=0 x")
		a.want("100")
		re := b.want("INVITE")
		b.reply(re, 100, "", "")
		time.Sleep(30100 * time.Millisecond)
		da.refuseAck(a.want("500"))
		b.want("CANCEL")
		b.reply(re, 200, "", "v=0 at last") // crossed
		b.want("ACK")
		if len(s.svc.Calls(1)) != 1 {
			t.Error("the call ended")
		}
	})
}

// TestByeDuringReinvite: the pending request is answered (RFC 3261 section
// 15.1.2).
func TestByeDuringReinvite(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da, db := talking(a, b)
		da.request(sip.INVITE, "v=0 x")
		a.want("100")
		re := b.want("INVITE")
		db.request(sip.BYE, "")
		b.want("200")
		b.reply(re, 487, "", "")
		b.want("ACK")
		da.refuseAck(a.want("487"))
		a.want("BYE")
		s.ended(telephony.EndCalleeHungUp, 200)
		a.in, b.in = make(chan string, 1), make(chan string, 1)
		time.Sleep(time.Minute)
		if n := s.svc.dialogs.Len(); n != 0 {
			t.Errorf("%d legs left", n)
		}
	})
}

// TestPitfall11AckCountsAsTheInvite: the ACK carries the INVITE's number whatever was
// sent in between.
func TestPitfall11AckCountsAsTheInvite(t *testing.T) {
	inTime(t, func(t *testing.T) {
		_, a, b := pair(t, nil)
		da, db := talking(a, b)
		da.request(sip.INFO, "x")
		b.reply(b.want("INFO"), 200, "", "")
		a.want("200")
		da.request(sip.INVITE, "v=0 x")
		a.want("100")
		re := b.want("INVITE")
		db.request(sip.INFO, "y") // while it is pending, in the other direction
		info := a.want("INFO")
		a.reply(info, 200, "", "")
		b.want("200")
		b.reply(re, 200, "", "v=0 y")
		if ack := b.want("ACK"); header(ack, "CSeq") != "3 ACK" || header(re, "CSeq") != "3 INVITE" {
			t.Error(ack)
		}
		b.reply(re, 200, "", "v=0 y") // again: again the same ACK
		if ack := b.want("ACK"); header(ack, "CSeq") != "3 ACK" {
			t.Error(ack)
		}
	})
}

// TestWrongNumbersAndTags within a dialog.
func TestWrongNumbersAndTags(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da, _ := talking(a, b)
		good := *da
		da.seq = 0
		da.request(sip.BYE, "") // an old number
		a.want("500")
		*da = good
		da.local = strings.Replace(da.local, "tag=", "tag=x", 1)
		da.request(sip.BYE, "")
		a.want("481")
		*da = good
		da.remote += "x"
		da.request(sip.BYE, "")
		a.want("481")
		if len(s.svc.Calls(1)) != 1 {
			t.Fatal("the call ended")
		}
		*da = good
		da.seq += 100 // gaps are fine
		da.request(sip.BYE, "")
		a.want("200")
		b.want("BYE")
		s.ended(telephony.EndCallerHungUp, 200)
	})
}

// TestPeerMoves: the phone's NAT gives it a new port; requests follow it.
func TestPeerMoves(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da, db := talking(a, b)
		moved := s.phone("101", 6101)
		a.addr, a.in, a.send = moved.addr, moved.in, moved.send
		da.request(sip.INFO, "x")
		b.reply(b.want("INFO"), 200, "", "")
		a.want("200")
		db.request(sip.BYE, "")
		b.want("200")
		a.reply(a.want("BYE"), 200, "", "")
		s.ended(telephony.EndCalleeHungUp, 200)
	})
}

// TestHeldCallIsAsked: on hold no media is expected; a phone that is gone is
// found by asking it.
func TestHeldCallIsAsked(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		talking(a, b)
		s.media.expectsNothing.Store(true)
		asked := func(code int) {
			t.Helper()
			m := a.nextWithin(11 * time.Minute)
			if !strings.HasPrefix(m, "OPTIONS") {
				t.Fatal(m)
			}
			a.reply(m, 200, "", "")
			b.reply(b.want("OPTIONS"), code, "", "")
		}
		asked(200)
		time.Sleep(5 * time.Minute)
		if len(s.svc.Calls(1)) != 1 {
			t.Fatal("the call ended")
		}
		asked(481)
		a.want("BYE")
		s.ended(telephony.EndMediaTimeout, 200)
	})
}

// TestRouteSet: a proxy between us and the caller stays in the path.
func TestRouteSet(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		d := a.dial("102", "v=0 x", "Record-Route: <sip:p1.test;lr>", "Record-Route: <sip:p2.test;lr>, <sip:p3.test;lr>")
		invite := b.want("INVITE")
		if strings.Contains(invite, "p1.test") {
			t.Error("the caller's proxies are told to the callee")
		}
		b.reply(invite, 200, "b1", "v=0 y", "Record-Route: <sip:q1.test;lr>, <sip:q2.test;lr>")
		ack := b.want("ACK")
		if i, j := strings.Index(ack, "Route: <sip:q2.test;lr>"), strings.Index(ack, "Route: <sip:q1.test;lr>"); i < 0 || j < i {
			t.Errorf("ACK:\n%s", ack)
		}
		ok := a.want("200")
		if !strings.Contains(ok, "Record-Route: <sip:p1.test;lr>\r\n") || strings.Contains(ok, "q1.test") {
			t.Error(ok)
		}
		d.learn(ok)
		d.request(sip.ACK, "")
		b.dialogueOf(invite, "b1").request(sip.BYE, "")
		b.want("200")
		bye := a.want("BYE sip:101@192.0.2.50:5101 SIP/2.0")
		p1, p2, p3 := strings.Index(bye, "Route: <sip:p1"), strings.Index(bye, "Route: <sip:p2"), strings.Index(bye, "Route: <sip:p3")
		if p1 < 0 || p2 < p1 || p3 < p2 {
			t.Errorf("BYE:\n%s", bye)
		}
		a.reply(bye, 200, "", "")
		s.ended(telephony.EndCalleeHungUp, 200)
	})
}

// TestReinviteBeforeTheOthersAck: the callee changes the session as soon as it
// has our ACK; that of the caller is still on its way. The change waits for it.
func TestReinviteBeforeTheOthersAck(t *testing.T) {
	t.Parallel()
	for _, c := range []string{"INVITE", "UPDATE", "cancelled", "BYE", "never"} {
		inTime2(t, c, func(t *testing.T) {
			s, a, b := pair(t, nil)
			da := a.dial("102", "v=0 offer-a")
			invite := b.want("INVITE")
			b.reply(invite, 200, "b1", "v=0 answer-b")
			b.want("ACK")
			da.learn(a.want("200"))
			db := b.dialogueOf(invite, "b1")
			if c == "UPDATE" {
				db.request(sip.UPDATE, "v=0 new-b")
			} else {
				db.request(sip.INVITE, "v=0 new-b")
				b.want("100")
			}
			a.quiet(100 * time.Millisecond)
			switch c {
			case "cancelled":
				db.request(sip.CANCEL, "")
				b.want("200")
				db.refuseAck(b.want("487"))
				da.request(sip.ACK, "")
				a.quiet(10 * time.Second)
				return
			case "never":
				for m := b.nextWithin(40 * time.Second); !strings.HasPrefix(m, "BYE"); m = b.next() {
					if !strings.HasPrefix(m, "SIP/2.0 487") {
						t.Error(m)
					}
				}
				s.ended(telephony.EndFailed, 200)
				return
			}
			da.request(sip.ACK, "")
			re := a.want("INVITE")
			if body(re) != "v=0 via-pbx(new-b)" {
				t.Error(re)
			}
			if c == "BYE" {
				da.request(sip.BYE, "")
				a.want("200")
				for m := b.next(); !strings.HasPrefix(m, "BYE"); m = b.next() {
					if !strings.HasPrefix(m, "SIP/2.0 487") {
						t.Error(m)
					}
				}
				return
			}
			a.reply(re, 200, "", "v=0 new-a")
			a.want("ACK")
			if ok := b.want("200"); body(ok) != "v=0 via-pbx(new-a)" {
				t.Error(ok)
			}
		})
	}
}

// TestCallEndsWhileAReinviteRings: nothing of it stays, although the phone says
// nothing more.
func TestCallEndsWhileAReinviteRings(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da, _ := talking(a, b)
		da.request(sip.INVITE, "v=0 x")
		a.want("100")
		b.reply(b.want("INVITE"), 180, "", "")
		da.request(sip.BYE, "")
		a.want("200")
		da.refuseAck(a.want("487"))
		s.ended(telephony.EndCallerHungUp, 200)
		time.Sleep(2 * time.Minute)
		if n := s.ep.Stats().Pending; n != 0 || s.svc.dialogs.Len() != 0 {
			t.Errorf("%d transactions, %d legs left", n, s.svc.dialogs.Len())
		}
	})
}
