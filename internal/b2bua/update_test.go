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

const takesUpdate = "Allow: INVITE, ACK, CANCEL, BYE, UPDATE, PRACK"

// updating sets a call up whose phones take UPDATE.
func updating(a, b *phone) (da, db *dialogue) {
	a.t.Helper()
	da = a.dial("102", "v=0 offer-a", takesUpdate)
	invite := b.want("INVITE")
	b.reply(invite, 200, "b1", "v=0 answer-b", takesUpdate)
	b.want("ACK")
	da.learn(a.want("200"))
	da.request(sip.ACK, "")
	return da, b.dialogueOf(invite, "b1")
}

// TestUpdateIsPassedOn: as an UPDATE to a phone that takes it, as a re-INVITE
// to one that does not.
func TestUpdateIsPassedOn(t *testing.T) {
	t.Parallel()
	for _, takes := range []bool{true, false} {
		t.Run(fmt.Sprint(takes), func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				s, a, b := pair(t, nil)
				call, method := updating, "UPDATE sip:102@192.0.2.50:5102"
				if !takes {
					call, method = talking, "INVITE sip:102@192.0.2.50:5102"
				}
				da, db := call(a, b)
				synctest.Wait()
				da.request(sip.UPDATE, "v=0 hold-a\r\na=sendonly\r\n")
				u := b.want(method)
				if body(u) != "v=0 via-pbx(hold-a\r\na=sendonly\r\n)" || header(u, "Contact") != "<sip:101@192.0.2.1:5060>" {
					t.Error(u)
				}
				b.reply(u, 200, "", "v=0 held-b")
				if !takes {
					b.want("ACK")
				}
				ok := a.want("200")
				if body(ok) != "v=0 via-pbx(held-b)" || header(ok, "Contact") == "" || header(ok, "CSeq") != "3 UPDATE" {
					t.Error(ok)
				}
				synctest.Wait()
				if live := s.svc.Calls(1); live[0].State != telephony.CallHeld {
					t.Errorf("state %s", live[0].State)
				}
				db.request(sip.BYE, "")
				b.want("200")
				a.want("BYE")
				s.ended(telephony.EndCalleeHungUp, 200)
			})
		})
	}
}

// TestUpdateUnknownAfterAll: a phone that lists UPDATE in its Allow and refuses
// it as unknown gets the offer in a re-INVITE, and no UPDATE any more.
func TestUpdateUnknownAfterAll(t *testing.T) {
	t.Parallel()
	for _, code := range []int{405, 501} {
		inTime2(t, fmt.Sprint(code), func(t *testing.T) {
			s, a, b := pair(t, nil)
			da, _ := updating(a, b)
			synctest.Wait()
			da.request(sip.UPDATE, "v=0 hold-a\r\na=sendonly\r\n")
			u := b.want("UPDATE")
			b.reply(u, code, "", "", takesUpdate)
			re := b.want("INVITE sip:102@192.0.2.50:5102")
			if body(re) != body(u) || header(re, "CSeq") != "3 INVITE" {
				t.Error(re)
			}
			b.reply(re, 200, "", "v=0 held-b", takesUpdate)
			b.want("ACK")
			if ok := a.want("200"); body(ok) != "v=0 via-pbx(held-b)" {
				t.Error(ok)
			}
			synctest.Wait()
			if live := s.svc.Calls(1); live[0].State != telephony.CallHeld {
				t.Errorf("state %s", live[0].State)
			}
			da.request(sip.UPDATE, "v=0 offer-2")
			b.reply(b.want("INVITE"), 488, "", "")
			b.want("ACK")
			a.want("488")
			da.request(sip.BYE, "")
			a.want("200")
			b.want("BYE")
			s.ended(telephony.EndCallerHungUp, 200)
		})
	}
}

// TestEarlyUpdateUnknownAfterAll: while it rings there is no re-INVITE. An offer
// of the caller is answered by us; one of ours waits until the call is answered.
func TestEarlyUpdateUnknownAfterAll(t *testing.T) {
	t.Parallel()
	inTime2(t, "by the callee", func(t *testing.T) {
		_, a, b := pair(t, nil)
		da := a.dial("102", "v=0 offer-a", "Supported: 100rel", takesUpdate)
		invite := b.want("INVITE")
		b.reply(invite, 183, "b1", "v=0 early", "Require: 100rel", "RSeq: 5", takesUpdate)
		b.reply(b.want("PRACK"), 200, "", "")
		da.prack(a.want("183"), "")
		a.want("200")
		da.request(sip.UPDATE, "v=0 offer-2")
		b.reply(b.want("UPDATE"), 501, "", "")
		if ok := a.want("200"); body(ok) != "v=0 via-pbx(early)" || header(ok, "CSeq") != "4 UPDATE" {
			t.Error(ok)
		}
		b.reply(invite, 200, "b1", "")
		b.want("ACK")
		a.want("200")
		da.request(sip.ACK, "")
	})
	inTime2(t, "by the caller", func(t *testing.T) {
		s, a, b1 := pair(t, nil)
		b2 := s.phone("102", 5202)
		b2.register()
		da := a.dial("102", "v=0 offer-a", "Supported: 100rel", takesUpdate)
		i1 := b1.want("INVITE")
		b2.reply(b2.want("INVITE"), 100, "", "")
		b1.reply(i1, 183, "x", "v=0 early-x")
		da.prack(a.want("183"), "")
		a.want("200")
		b1.reply(i1, 183, "y", "v=0 early-y")
		for range 2 {
			if m := a.next(); strings.HasPrefix(m, "UPDATE") {
				a.reply(m, 405, "", "")
			} else {
				da.prack(m, "")
			}
		}
		a.want("200")
		a.quiet(5 * time.Second)
		b1.reply(i1, 200, "y", "")
		b1.want("ACK")
		b2.want("CANCEL")
		a.want("200")
		da.request(sip.ACK, "")
		re := a.want("INVITE")
		if body(re) != "v=0 via-pbx(early-y)" {
			t.Error(re)
		}
		a.reply(re, 200, "", "v=0 again-a")
		a.want("ACK")
	})
}

// TestUpdateRefused: the session stays.
func TestUpdateRefused(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da, _ := updating(a, b)
		synctest.Wait()
		da.request(sip.UPDATE, "v=0 bad")
		a.want("488")
		da.request(sip.UPDATE, "x", "Content-Type: text/plain")
		a.want("415")
		da.request(sip.UPDATE, "v=0 video")
		b.reply(b.want("UPDATE"), 488, "", "")
		a.want("488")
		da.request(sip.BYE, "")
		a.want("200")
		b.want("BYE")
		if r := s.ended(telephony.EndCallerHungUp, 200); r.CallerLeg.Codec != "offer-a" {
			t.Errorf("the refused description stayed: %q", r.CallerLeg.Codec)
		}
	})
}

// TestUpdatesCross is RFC 3311 section 5.2: 500 for a second offer of the same
// side, 491 for one that meets ours.
func TestUpdatesCross(t *testing.T) {
	inTime(t, func(t *testing.T) {
		_, a, b := pair(t, nil)
		da, db := updating(a, b)
		synctest.Wait()
		da.request(sip.UPDATE, "v=0 x")
		u := b.want("UPDATE")
		da.request(sip.UPDATE, "v=0 y")
		if no := a.want("500"); header(no, "Retry-After") == "" {
			t.Error(no)
		}
		da.request(sip.INVITE, "v=0 y")
		a.want("100")
		no := a.want("500")
		da.refuseAck(no)
		db.request(sip.UPDATE, "v=0 z")
		b.want("491")
		db.request(sip.INVITE, "v=0 z")
		b.want("100")
		db.refuseAck(b.want("491"))
		db.request(sip.UPDATE, "") // no offer: no matter
		b.want("200")
		b.reply(u, 200, "", "v=0 x2")
		a.want("200")
	})
}

// TestUpdateMovesTheTarget: requests go to the new Contact, without anything
// for the other side.
func TestUpdateMovesTheTarget(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da, db := talking(a, b)
		moved := s.phone("101", 6101)
		a.addr, a.in, a.send = moved.addr, moved.in, moved.send
		da.request(sip.UPDATE, "")
		a.want("200")
		b.quiet(time.Second)
		db.request(sip.BYE, "")
		b.want("200")
		a.want("BYE sip:101@192.0.2.50:6101 SIP/2.0")
	})
}

// TestEarlyUpdateOfTheCaller (RFC 3311 section 5): once its offer is answered
// reliably. A callee that takes UPDATE hears of it, for others we answer.
func TestEarlyUpdateOfTheCaller(t *testing.T) {
	t.Parallel()
	for _, takes := range []bool{true, false} {
		t.Run(fmt.Sprint(takes), func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				s, a, b := pair(t, nil)
				da := a.dial("102", "v=0 offer-a", "Supported: 100rel", takesUpdate)
				invite := b.want("INVITE")
				b.reply(invite, 180, "b1", "")
				da.learn(a.want("180"))
				da.request(sip.UPDATE, "v=0 too early")
				a.want("500")
				allow := "Allow: INVITE"
				if takes {
					allow = takesUpdate
				}
				b.reply(invite, 183, "b1", "v=0 early", "Require: 100rel", "RSeq: 5", allow)
				b.reply(b.want("PRACK"), 200, "", "")
				da.prack(a.want("183"), "")
				a.want("200")
				da.request(sip.UPDATE, "v=0 offer-2")
				if takes {
					u := b.want("UPDATE")
					if body(u) != "v=0 via-pbx(offer-2)" || header(u, "Session-Expires") != "" {
						t.Error(u)
					}
					b.reply(u, 200, "", "v=0 early-2")
				}
				want := map[bool]string{true: "v=0 via-pbx(early-2)", false: "v=0 via-pbx(early)"}[takes]
				if ok := a.want("200"); body(ok) != want {
					t.Error(ok)
				}
				b.reply(invite, 200, "b1", "")
				if ack := b.want("ACK"); header(ack, "CSeq") != "1 ACK" {
					t.Error(ack)
				}
				if ok := a.want("200"); body(ok) != "" || header(ok, "CSeq") != "2 INVITE" {
					t.Error(ok)
				}
				da.request(sip.ACK, "")
				da.request(sip.BYE, "")
				a.want("200")
				b.want("BYE")
				s.ended(telephony.EndCallerHungUp, 200)
			})
		})
	}
}

// TestEarlyUpdateOfTheCallee, as of an announcement that moves: the caller gets
// it if it can, else only our media know.
func TestEarlyUpdateOfTheCallee(t *testing.T) {
	t.Parallel()
	for _, able := range []bool{true, false} {
		t.Run(fmt.Sprint(able), func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				s, a, b := pair(t, nil)
				extra := []string{takesUpdate}
				if able {
					extra = append(extra, "Supported: 100rel")
				}
				da := a.dial("102", "v=0 offer-a", extra...)
				invite := b.want("INVITE")
				b.reply(invite, 183, "b1", "v=0 early", "Require: 100rel", "RSeq: 5")
				b.reply(b.want("PRACK"), 200, "", "")
				p := a.want("183")
				da.learn(p)
				if able {
					da.prack(p, "")
					a.want("200")
				}
				db := b.dialogueOf(invite, "b1")
				db.request(sip.UPDATE, "v=0 early-2")
				want := "v=0 via-pbx(offer-a)"
				if able {
					u := a.want("UPDATE")
					if body(u) != "v=0 via-pbx(early-2)" {
						t.Error(u)
					}
					a.reply(u, 200, "", "v=0 answer-2")
					want = "v=0 via-pbx(answer-2)"
				}
				if ok := b.want("200"); body(ok) != want {
					t.Error(ok)
				}
				b.reply(invite, 200, "b1", "")
				b.want("ACK")
				a.want("200")
				da.request(sip.ACK, "")
				db.request(sip.BYE, "")
				b.want("200")
				a.want("BYE")
				s.ended(telephony.EndCalleeHungUp, 200)
			})
		})
	}
}

// TestAnotherPhoneThanTheOneHeard: the caller acknowledged the early media of
// one phone for good, another one answers: it is offered the change.
func TestAnotherPhoneThanTheOneHeard(t *testing.T) {
	t.Parallel()
	for _, c := range []string{"UPDATE", "INVITE", "glare"} {
		t.Run(c, func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				s, a, b1 := pair(t, nil)
				b2 := s.phone("102", 5202)
				b2.register()
				allow := takesUpdate
				if c != "UPDATE" {
					allow = "Allow: INVITE, ACK, BYE"
				}
				da := a.dial("102", "v=0 offer-a", "Supported: 100rel", allow)
				i1, i2 := b1.want("INVITE"), b2.want("INVITE")
				b1.reply(i1, 183, "b1", "v=0 early-1")
				da.prack(a.want("183"), "")
				a.want("200")
				b2.reply(i2, 200, "b2", "v=0 answer-2")
				b2.want("ACK")
				b1.want("CANCEL")
				if ok := a.want("200"); body(ok) != "" {
					t.Error(ok)
				}
				da.request(sip.ACK, "")
				method := strings.Replace(c, "glare", "INVITE", 1)
				if c == "glare" {
					a.reply(a.want("INVITE"), 491, "", "")
					a.want("ACK")
				}
				start := time.Now()
				u := a.want(method)
				if body(u) != "v=0 via-pbx(answer-2)" || c == "glare" && time.Since(start) > 2*time.Second {
					t.Errorf("after %v: %s", time.Since(start), u)
				}
				a.reply(u, 200, "", "v=0 again-a")
				if method == "INVITE" {
					a.want("ACK")
				}
				time.Sleep(time.Minute)
				da.request(sip.BYE, "")
				a.want("200")
				b2.want("BYE")
				s.ended(telephony.EndCallerHungUp, 200)
			})
		})
	}
}
