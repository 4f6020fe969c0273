package b2bua

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// clean checks that no call, leg, media or record is left.
func (s *stack) clean() {
	s.t.Helper()
	synctest.Wait()
	if live := s.svc.Calls(telephony.System); len(live) != 0 {
		s.t.Errorf("still live: %+v", live)
	}
	if n := s.media.open.Load(); n != 0 {
		s.t.Errorf("%d media legs left open", n)
	}
	if n := s.svc.dialogs.Len(); n != 0 {
		s.t.Errorf("%d dialogs left", n)
	}
	if n := len(s.records); n != 0 {
		s.t.Errorf("%d more records", n)
	}
}

// refer sends a REFER, which must be accepted and reported as tried.
func (d *dialogue) refer(to string, extra ...string) {
	d.p.t.Helper()
	d.request(sip.REFER, "", append([]string{"Refer-To: " + to}, extra...)...)
	d.p.want("202")
	d.p.notified(100)
}

// notified takes the NOTIFY with a status.
func (p *phone) notified(code int) string {
	p.t.Helper()
	n := p.want("NOTIFY")
	state := "active"
	if code >= 200 {
		state = "terminated"
	}
	if want := fmt.Sprintf("SIP/2.0 %d ", code); !strings.HasPrefix(body(n), want) || !strings.HasPrefix(header(n, "Subscription-State"), state) ||
		header(n, "Event") == "" || !strings.HasPrefix(header(n, "Content-Type"), "message/sipfrag") {
		p.t.Errorf("%s: want %d:\n%s", p.user, code, n)
	}
	p.reply(n, 200, "", "")
	synctest.Wait() // the next one waits for that
	return n
}

// bye takes the BYE that must come.
func (p *phone) bye() string {
	p.t.Helper()
	m := p.want("BYE")
	p.reply(m, 200, "", "")
	return m
}

// reoffered takes a re-INVITE with what the other side said, and answers it.
func (p *phone) reoffered(offer, answer string) string {
	p.t.Helper()
	re := p.want("INVITE")
	if body(re) != "v=0 via-pbx("+offer+")" {
		p.t.Errorf("%s is offered %q, want %s", p.user, body(re), offer)
	}
	p.reply(re, 200, "", "v=0 "+answer)
	p.want("ACK")
	return re
}

// oneCall is the one call there is.
func (s *stack) oneCall() telephony.LiveCall {
	s.t.Helper()
	synctest.Wait()
	live := s.svc.Calls(1)
	if len(live) != 1 {
		s.t.Fatalf("live %+v", live)
	}
	return live[0]
}

// TestBlindTransfer: both ways round, by the caller and by the callee.
func TestBlindTransfer(t *testing.T) {
	for _, byCaller := range []bool{true, false} {
		t.Run(fmt.Sprint("by caller ", byCaller), func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				s, p := team(t, 3)
				a, b, c := p[0], p[1], p[2]
				da, db := talking(a, b)
				answer := "answer-b"
				if !byCaller {
					a, b, da, db, answer = b, a, db, da, "offer-a"
				}
				da.refer("<sip:103@a.test>")
				invite := c.want("INVITE")
				if body(invite) != "v=0 via-pbx("+answer+")" || header(invite, "Referred-By") != "<sip:"+a.user+"@a.test>" ||
					!strings.Contains(header(invite, "From"), "<sip:"+b.user+"@a.test>") {
					t.Error(invite)
				}
				c.reply(invite, 180, "c1", "")
				a.notified(180)
				b.quiet(time.Second)
				c.reply(invite, 200, "c1", "v=0 answer-c")
				c.want("ACK")
				a.notified(200)
				a.bye()
				re := b.reoffered("answer-c", "answer-b2")
				if !strings.Contains(header(re, "P-Asserted-Identity"), "sip:103@a.test") {
					t.Errorf("the transferee is told it talks with %q", header(re, "P-Asserted-Identity"))
				}
				first := s.ended2(telephony.EndTransferred, 200)
				live := s.oneCall()
				if live.ID != first.Next || live.Caller.Number != b.user || live.Callee.Number != "103" || live.State != telephony.CallConnected {
					t.Errorf("live %+v", live)
				}
				db.request(sip.BYE, "")
				b.want("200")
				c.bye()
				second := s.ended2(telephony.EndCallerHungUp, 200)
				if second.ID != first.Next || second.Previous != first.ID || second.TransferredBy != a.user || second.Caller.Number != b.user || second.Callee.Number != "103" {
					t.Errorf("first %+v\nsecond %+v", first, second)
				}
				s.clean()
			})
		})
	}
}

// TestBlindTransferTransferorLeavesEarly is pitfall 28: its BYE before the
// target answers must not end the transferee's call.
func TestBlindTransferTransferorLeavesEarly(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, p := team(t, 3)
		a, b, c := p[0], p[1], p[2]
		da, db := talking(a, b)
		da.refer("sip:103@a.test")
		invite := c.want("INVITE")
		c.reply(invite, 180, "c1", "")
		a.notified(180)
		da.request(sip.BYE, "")
		a.want("200")
		s.ended2(telephony.EndTransferred, 200)
		b.quiet(3 * time.Second)
		if live := s.oneCall(); live.Caller.Number != "102" || live.State != telephony.CallRinging {
			t.Errorf("live %+v", live)
		}
		db.request(sip.INVITE, "v=0 hold") // not now, but the dialog is there
		b.want("100")
		db.refuseAck(b.want("491"))
		c.reply(invite, 200, "c1", "v=0 answer-c")
		c.want("ACK")
		b.reoffered("answer-c", "answer-b2")
		dc := c.dialogueOf(invite, "c1")
		dc.request(sip.BYE, "")
		c.want("200")
		b.bye()
		s.ended2(telephony.EndCalleeHungUp, 200)
		a.quiet(time.Second)
		s.clean()
	})
}

// TestBlindTransferFails: to somebody busy, absent, unknown or foreign. The
// transferor hears why and still has the call.
func TestBlindTransferFails(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, p := team(t, 3)
		a, b, c := p[0], p[1], p[2]
		da, db := talking(a, b)
		fails := func(code int, reason telephony.EndReason) {
			t.Helper()
			a.notified(code)
			r := s.ended2(reason, code)
			if r.TransferredBy != "101" || r.Caller.Number != "102" {
				t.Errorf("record %+v", r)
			}
		}
		da.refer("<sip:103@a.test>")
		c.reply(c.want("INVITE"), 486, "c1", "")
		c.want("ACK")
		fails(486, telephony.EndBusy)
		da.refer("<sip:104@a.test>")
		fails(480, telephony.EndUnavailable)
		da.refer("<sip:999@a.test>")
		fails(404, telephony.EndNotFound)
		da.refer("<sip:103@elsewhere.test>")
		a.notified(404)
		da.refer("<sip:103@a.test>") // nobody answers
		invite := c.want("INVITE")
		c.reply(invite, 180, "c1", "")
		a.notified(180)
		c.reply(c.nextWithin(30*time.Second), 200, "c1", "") // CANCEL
		c.reply(invite, 487, "c1", "")
		c.want("ACK")
		fails(480, telephony.EndNoAnswer)
		// They still talk, and hold and resume as before.
		da.request(sip.INVITE, "v=0 hold-a")
		b.reoffered("hold-a", "held-b")
		a.want("100")
		da.learn(a.want("200"))
		da.request(sip.ACK, "")
		db.request(sip.BYE, "")
		b.want("200")
		a.bye()
		s.ended2(telephony.EndCalleeHungUp, 200)
		s.clean()
	})
}

// TestBlindTransferFailsAfterTransferorLeft: nobody is there to have the call
// back, so the transferee hears why for a while, is told and released.
func TestBlindTransferFailsAfterTransferorLeft(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, p := team(t, 3)
		a, b, c := p[0], p[1], p[2]
		da, _ := talking(a, b)
		da.refer("<sip:103@a.test>")
		invite := c.want("INVITE")
		da.request(sip.BYE, "")
		a.want("200")
		s.ended2(telephony.EndTransferred, 200)
		c.reply(invite, 486, "c1", "")
		c.want("ACK")
		b.quiet(lamentTime - time.Second)
		if tunes := s.media.played(); tunes != "[1 busy]" {
			t.Errorf("played %s", tunes)
		}
		if m := b.bye(); header(m, "Reason") != "SIP;cause=486" {
			t.Error(m)
		}
		s.ended2(telephony.EndBusy, 486)
		s.clean()
	})
}

// TestTransfereeHangsUp while the target rings, with the transferor still there
// and without.
func TestTransfereeHangsUp(t *testing.T) {
	for _, gone := range []bool{false, true} {
		t.Run(fmt.Sprint("transferor gone ", gone), func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				s, p := team(t, 3)
				a, b, c := p[0], p[1], p[2]
				da, db := talking(a, b)
				da.refer("<sip:103@a.test>")
				invite := c.want("INVITE")
				c.reply(invite, 180, "c1", "")
				a.notified(180)
				if gone {
					da.request(sip.BYE, "")
					a.want("200")
				}
				db.request(sip.BYE, "")
				b.want("200")
				c.reply(c.want("CANCEL"), 200, "c1", "")
				c.reply(invite, 487, "c1", "")
				c.want("ACK")
				if !gone {
					a.notified(487)
					a.bye()
				}
				synctest.Wait()
				if n := len(s.records); n != 2 {
					t.Errorf("%d records", n)
				}
				<-s.records
				<-s.records
				s.clean()
			})
		})
	}
}

// TestTransferHungUpByAdministrator: the call with the transferor and the one
// that rings end together when the first is ended, and only the second when that
// is.
func TestTransferHungUpByAdministrator(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, p := team(t, 3)
		a, b, c := p[0], p[1], p[2]
		da, _ := talking(a, b)
		first := s.oneCall().ID
		for _, whole := range []bool{false, true} {
			da.refer("<sip:103@a.test>")
			invite := c.want("INVITE")
			id := first
			if !whole {
				for _, l := range s.svc.Calls(1) {
					if l.ID != first {
						id = l.ID
					}
				}
			}
			if err := s.svc.HangUp(t.Context(), 1, id); err != nil {
				t.Fatal(err)
			}
			c.reply(invite, 180, "c1", "")
			c.reply(c.want("CANCEL"), 200, "c1", "")
			c.reply(invite, 487, "c1", "")
			c.want("ACK")
			if whole {
				a.notified(487)
				a.bye()
				b.bye()
				<-s.records
			} else {
				a.notified(480)
			}
			<-s.records
		}
		s.clean()
	})
}

// TestTransferWithoutSubscription: Refer-Sub: false (RFC 4488).
func TestTransferWithoutSubscription(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, p := team(t, 3)
		a, b, c := p[0], p[1], p[2]
		da, db := talking(a, b)
		da.request(sip.REFER, "", "Refer-To: <sip:103@a.test>", "Refer-Sub: false", "Supported: norefersub")
		if ok := a.want("202"); header(ok, "Refer-Sub") != "false" {
			t.Error(ok)
		}
		invite := c.want("INVITE")
		c.reply(invite, 180, "c1", "")
		c.reply(invite, 200, "c1", "v=0 answer-c")
		c.want("ACK")
		a.bye()
		b.reoffered("answer-c", "answer-b2")
		db.request(sip.BYE, "")
		b.want("200")
		c.bye()
		<-s.records
		<-s.records
		s.clean()
	})
}

// TestBadReferrals are refused and change nothing.
func TestBadReferrals(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, p := team(t, 3)
		da, db := talking(p[0], p[1])
		for to, code := range map[string]string{
			"": "400", "<sip:103@a.test>, <sip:102@a.test>": "400", "<tel:103>": "416", "<sip:103@a.test;method=BYE>": "403",
			"<sip:103@a.test?Replaces=x>": "400", "<sip:103@a.test?Replaces=x%3Bto-tag%3D1%3Bto-tag%3D2%3Bfrom-tag%3D3>": "400",
		} {
			h := []string{"Refer-To: " + to}
			if to == "" {
				h = nil
			}
			da.request(sip.REFER, "", h...)
			p[0].want(code)
		}
		da.refer("<sip:103@a.test>")
		p[2].want("INVITE")
		da.request(sip.REFER, "", "Refer-To: <sip:104@a.test>")
		p[0].want("491") // one at a time
		db.request(sip.BYE, "")
		p[1].want("200")
		synctest.Wait()
		if len(s.svc.Calls(1)) != 0 {
			t.Error("still there")
		}
	})
}

// replacing is the Refer-To that names a dialog as the phone knows it.
func (d *dialogue) replacing(number string) string {
	return fmt.Sprintf("<sip:%s@a.test?Replaces=%s>", number, url.QueryEscape(d.replaces()))
}

func (d *dialogue) replaces() string {
	return fmt.Sprintf("%s;to-tag=%s;from-tag=%s", d.id, tag(d.remote), tag(d.local))
}

// TestAttendedTransfer: 101 talks with 102 and, as caller or as callee, with
// 103, and joins the two.
func TestAttendedTransfer(t *testing.T) {
	for _, called := range []bool{false, true} {
		t.Run(fmt.Sprint("consulted by being called ", called), func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				s, p := team(t, 3)
				a, b, c := p[0], p[1], p[2]
				da, db := talking(a, b)
				var second, dc *dialogue
				if called {
					dc = c.dial("101", "v=0 offer-c")
					invite := a.want("INVITE")
					a.reply(invite, 200, "a9", "v=0 answer-a")
					a.want("ACK")
					dc.learn(c.want("200"))
					dc.request(sip.ACK, "")
					second = a.dialogueOf(invite, "a9")
				} else {
					second = a.dial("103", "v=0 offer-a3")
					invite := c.want("INVITE")
					c.reply(invite, 200, "c1", "v=0 answer-c")
					c.want("ACK")
					second.learn(a.want("200"))
					second.request(sip.ACK, "")
					dc = c.dialogueOf(invite, "c1")
				}
				synctest.Wait()
				da.request(sip.REFER, "", "Refer-To: "+second.replacing("103"))
				a.want("202")
				a.notified(100)
				// Both of its legs end, and the far ends get each other.
				for range 3 {
					m := a.next()
					if m, ok := strings.CutPrefix(m, "NOTIFY"); ok && !strings.HasPrefix(body(m), "SIP/2.0 200 ") {
						t.Error(m)
					}
					a.reply(m, 200, "", "")
				}
				re := c.reoffered("answer-b", "answer-c2")
				if !strings.Contains(header(re, "P-Asserted-Identity"), `"Bert" <sip:102@a.test>`) {
					t.Error(re)
				}
				re = b.reoffered("answer-c2", "answer-b2")
				if !strings.Contains(header(re, "P-Asserted-Identity"), `sip:103@a.test`) {
					t.Error(re)
				}
				r1, r2 := s.ended2(telephony.EndTransferred, 200), s.ended2(telephony.EndTransferred, 200)
				live := s.oneCall()
				if r1.Next != live.ID || r2.Next != live.ID || live.Caller.Number != "102" || live.Callee.Number != "103" {
					t.Errorf("live %+v\n%+v\n%+v", live, r1, r2)
				}
				// The joined ones are a call like any other.
				db.request(sip.INVITE, "v=0 hold-b")
				c.reoffered("hold-b", "held-c")
				b.want("100")
				db.learn(b.want("200"))
				db.request(sip.ACK, "")
				dc.request(sip.BYE, "")
				c.want("200")
				b.bye()
				if r := s.ended2(telephony.EndCalleeHungUp, 200); r.TransferredBy != "101" || r.Previous != r1.ID || r.Answered.IsZero() {
					t.Errorf("%+v", r)
				}
				s.clean()
			})
		})
	}
}

// TestAttendedTransferToRinging: the transferor does not wait for the answer.
func TestAttendedTransferToRinging(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, p := team(t, 3)
		a, b, c := p[0], p[1], p[2]
		da, db := talking(a, b)
		second := a.dial("103", "v=0 offer-a3")
		invite := c.want("INVITE")
		c.reply(invite, 180, "c1", "")
		second.learn(a.want("180"))
		da.request(sip.REFER, "", "Refer-To: "+second.replacing("103"))
		a.want("202")
		a.notified(100)
		for range 3 { // NOTIFY, BYE, and 487 for the second call
			m := a.next()
			if strings.HasPrefix(m, "SIP/2.0 487") {
				second.refuseAck(m)
				continue
			}
			a.reply(m, 200, "", "")
		}
		s.ended2(telephony.EndTransferred, 200)
		b.quiet(time.Second)
		c.reply(invite, 200, "c1", "v=0 answer-c")
		c.want("ACK")
		b.reoffered("answer-c", "answer-b2")
		db.request(sip.BYE, "")
		b.want("200")
		c.bye()
		if r := s.ended2(telephony.EndCallerHungUp, 200); r.Caller.Number != "102" || r.Callee.Number != "103" || r.TransferredBy != "101" {
			t.Errorf("%+v", r)
		}
		s.clean()
	})
}

// TestAttendedTransferToStrangers: dialogs that are not there, of another
// tenant, or the very same call.
func TestAttendedTransferToStrangers(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, p := team(t, 4)
		a, b := p[0], p[1]
		da, _ := talking(a, b)
		// Two others talk; their tags have become known.
		theirs := p[2].dial("104", "v=0 offer-c")
		invite := p[3].want("INVITE")
		p[3].reply(invite, 200, "d1", "v=0 answer-d")
		p[3].want("ACK")
		theirs.learn(p[2].want("200"))
		theirs.request(sip.ACK, "")
		x, y := s.phone("101", 5301), s.phone("102", 5302)
		x.domain, y.domain = "b.test", "b.test"
		x.register()
		y.register()
		dx, _ := talking(x, y)
		for _, to := range []string{
			"<sip:103@a.test?Replaces=no%3Bto-tag%3D1%3Bfrom-tag%3D2>", dx.replacing("102"), da.replacing("102"),
			theirs.replacing("104"),
		} {
			da.refer(to)
			a.notified(481)
		}
		da.request(sip.BYE, "")
		a.want("200")
		b.bye()
		s.ended2(telephony.EndCallerHungUp, 200)
		if live := s.svc.Calls(1); len(live) != 1 || live[0].Callee.Number != "104" {
			t.Errorf("the call of others: %+v", live)
		}
		if live := s.svc.Calls(2); len(live) != 1 {
			t.Errorf("the other tenant's call: %+v", live)
		}
	})
}

// TestTransferBeforeTheAck: the transferor never acknowledged the answer, and
// the offer of the other side waits for that. It is told to try again.
func TestTransferBeforeTheAck(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, p := team(t, 3)
		a, b, c := p[0], p[1], p[2]
		da := a.dial("102", "v=0 offer-a")
		invite := b.want("INVITE")
		b.reply(invite, 200, "b1", "v=0 answer-b")
		b.want("ACK")
		da.learn(a.want("200"))
		db := b.dialogueOf(invite, "b1")
		db.request(sip.INVITE, "v=0 new-b")
		b.want("100")
		da.refer("<sip:103@a.test>")
		ring := c.want("INVITE")
		c.reply(ring, 200, "c1", "v=0 answer-c")
		c.want("ACK")
		db.refuseAck(b.want("491"))
		b.reoffered("answer-c", "answer-b2")
		s.ended2(telephony.EndTransferred, 200)
		if live := s.oneCall(); live.State != telephony.CallConnected || live.Caller.Number != "102" || live.Callee.Number != "103" {
			t.Errorf("live %+v", live)
		}
	})
}
