package b2bua

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// named is the Replaces value for our dialog with a phone: as the phone's peer
// sees it, or as the phone does.
func named(l telephony.LiveLeg, theirs bool) string {
	to, from := l.Dialog.LocalTag, l.Dialog.RemoteTag
	if theirs {
		to, from = from, to
	}
	return fmt.Sprintf("Replaces: %s;to-tag=%s;from-tag=%s", l.Dialog.CallID, to, from)
}

// TestPickUp: 103 answers what rings at 102, with the tags it saw on its lamp,
// from either side.
func TestPickUp(t *testing.T) {
	for _, theirs := range []bool{false, true} {
		t.Run(fmt.Sprint("named by the phone ", theirs), func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				s, p := team(t, 3)
				a, b, c := p[0], p[1], p[2]
				da := a.dial("102", "v=0 offer-a")
				invite := b.want("INVITE")
				b.reply(invite, 180, "b1", "")
				a.want("180")
				dc := c.dial("102", "v=0 offer-c", named(s.oneCall().Legs[1], theirs), "Require: replaces")
				ok := c.want("200")
				if body(ok) != "v=0 via-pbx(offer-a)" || !strings.Contains(header(ok, "P-Asserted-Identity"), "sip:101@") {
					t.Error(ok)
				}
				dc.learn(ok)
				dc.request(sip.ACK, "")
				cancel := b.want("CANCEL")
				if !strings.Contains(cancel, "completed elsewhere") {
					t.Error(cancel)
				}
				b.reply(cancel, 200, "b1", "")
				b.reply(invite, 487, "b1", "")
				b.want("ACK")
				ok = a.want("200")
				if body(ok) != "v=0 via-pbx(offer-c)" || !strings.Contains(header(ok, "P-Asserted-Identity"), "sip:103@") {
					t.Error(ok)
				}
				da.learn(ok)
				da.request(sip.ACK, "")
				gone := s.ended2(telephony.EndTransferred, 200)
				if live := s.oneCall(); live.ID != gone.Next || live.Callee.Number != "103" || live.Caller.Number != "101" {
					t.Errorf("live %+v", live)
				}
				dc.request(sip.BYE, "")
				c.want("200")
				a.bye()
				s.ended2(telephony.EndCalleeHungUp, 200)
				s.clean()
			})
		})
	}
}

// TestTakeOver: 103 takes the place of 101 or of 102 in their call.
func TestTakeOver(t *testing.T) {
	for _, theirs := range []bool{false, true} {
		t.Run(fmt.Sprint("named by the phone ", theirs), func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				s, p := team(t, 3)
				a, b, c := p[0], p[1], p[2]
				talking(a, b)
				leg := s.oneCall().Legs[0] // with 101
				stays, leaves, said := b, a, "answer-b"
				if theirs {
					stays, leaves, said = a, b, "offer-a"
				}
				dc := c.dial("102", "v=0 offer-c", named(leg, theirs))
				ok := c.want("200")
				if body(ok) != "v=0 via-pbx("+said+")" || !strings.Contains(header(ok, "P-Asserted-Identity"), "sip:"+stays.user+"@") {
					t.Error(ok)
				}
				dc.learn(ok)
				dc.request(sip.ACK, "")
				leaves.bye()
				stays.reoffered("offer-c", "again")
				old := s.ended2(telephony.EndTransferred, 200)
				if live := s.oneCall(); live.ID != old.Next || live.Caller.Number != "103" || live.Callee.Number != stays.user {
					t.Errorf("live %+v", live)
				}
				dc.request(sip.BYE, "")
				c.want("200")
				stays.bye()
				if r := s.ended2(telephony.EndCallerHungUp, 200); r.Previous != old.ID || r.TransferredBy != leaves.user {
					t.Errorf("%+v", r)
				}
				s.clean()
			})
		})
	}
}

// TestReplacesRefused: what RFC 3891 section 3 refuses, and other tenants.
func TestReplacesRefused(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, p := team(t, 3)
		a, b, c := p[0], p[1], p[2]
		talking(a, b)
		legs := s.oneCall().Legs
		x := s.phone("103", 5303)
		x.domain = "b.test"
		x.register()
		for _, try := range []struct {
			p      *phone
			header string
			code   string
		}{
			{c, "Replaces: nothing;to-tag=1;from-tag=2", "481"},
			{c, strings.Replace(named(legs[0], false), "to-tag=", "to-tag=x", 1), "481"},
			{c, named(legs[0], false) + ";early-only", "486"},
			{c, "Replaces: a;to-tag=1", "400"},
			{c, named(legs[0], false) + ", b;to-tag=1;from-tag=2", "400"},
			{x, named(legs[0], false), "481"},
			{x, named(legs[1], true), "481"},
		} {
			d := try.p.dial("102", "v=0 offer", try.header)
			d.refuseAck(try.p.want(try.code))
			<-s.records
		}
		if l := s.oneCall(); l.State != telephony.CallConnected || l.Caller.Number != "101" || l.Callee.Number != "102" {
			t.Errorf("the call changed: %+v", l)
		}
		// An early dialog of the caller is none to be picked up.
		c.dial("104", "v=0 offer")
		c.want("480")
		<-s.records
		b2 := s.phone("104", 5304)
		b2.register()
		c.dial("104", "v=0 offer")
		b2.reply(b2.want("INVITE"), 180, "z", "")
		c.want("180")
		synctest.Wait()
		for _, l := range s.svc.Calls(1) {
			if l.Caller.Number == "103" {
				d := a.dial("104", "v=0 offer", named(l.Legs[0], false))
				d.refuseAck(a.want("481"))
			}
		}
	})
}

// TestPickUpOfTransfer: a transferee waits for 103, and 104 answers for it.
func TestPickUpOfTransfer(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, p := team(t, 4)
		a, b, c, d := p[0], p[1], p[2], p[3]
		da, db := talking(a, b)
		da.refer("<sip:103@a.test>")
		invite := c.want("INVITE")
		c.reply(invite, 180, "c1", "")
		a.notified(180)
		var leg telephony.LiveLeg
		for _, l := range s.svc.Calls(1) {
			if l.Callee.Number == "103" {
				leg = l.Legs[1]
			}
		}
		dd := d.dial("103", "v=0 offer-d", named(leg, true))
		ok := d.want("200")
		dd.learn(ok)
		dd.request(sip.ACK, "")
		c.reply(c.want("CANCEL"), 200, "c1", "")
		c.reply(invite, 487, "c1", "")
		c.want("ACK")
		a.notified(200)
		a.bye()
		b.reoffered("offer-d", "answer-b2")
		db.request(sip.BYE, "")
		b.want("200")
		d.bye()
		for range 3 {
			<-s.records
		}
		s.clean()
	})
}

func TestParseReplaces(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]replaces{
		"a@b;to-tag=1;from-tag=2":                 {"a@b", "1", "2", false},
		" a ; From-Tag = 2 ; to-tag=1;early-only": {"a", "1", "2", true},
		"a;to-tag=1;from-tag=0;x=y;early-only=no": {"a", "1", "0", true},
	} {
		if got, ok := parseReplaces(in); !ok || got != want {
			t.Errorf("%q: %+v, %v", in, got, ok)
		}
	}
	for _, in := range []string{"", ";to-tag=1;from-tag=2", "a;to-tag=1", "a;from-tag=1", "a;to-tag=;from-tag=1", "a;to-tag=1;to-tag=1;from-tag=2"} {
		if got, ok := parseReplaces(in); ok {
			t.Errorf("%q: %+v", in, got)
		}
	}
}
