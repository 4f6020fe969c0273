package b2bua

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// TestRingAlsoInACircle: two extensions that ring with each other, called by one
// of them, or reached by forwarding: every phone rings once, and never the
// caller's own nor that of somebody who sent the call on.
func TestRingAlsoInACircle(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, p := team(t, 4)
		a, b, c := p[0], p[1], p[2]
		a2 := s.phone("101", 6101)
		a2.register()
		s.handle(map[string]telephony.CallHandling{
			"102": {RingAlso: []string{"103", "101"}}, "103": {RingAlso: []string{"102"}},
			"104": {ForwardAlways: "102"},
		})
		end := func(da *dialogue, phones ...*phone) {
			t.Helper()
			for _, x := range phones {
				x.reply(x.want("INVITE"), 486, "x", "")
				x.want("ACK")
			}
			da.refuseAck(da.p.want("486"))
			for _, x := range append(p, a2) {
				x.quiet(0)
			}
			s.ended(telephony.EndBusy, 486)
		}
		end(a.dial("102", "v=0 offer"), b, c)
		end(c.dial("102", "v=0 offer"), b, a, a2)
		da := a.dial("104", "v=0 offer") // always to 102
		a.want("181")
		end(da, b, c)
	})
}

// TestForwardCircles: to oneself by way of another, also when one leg of the way
// is a redirection by the phone, and by way of a transfer.
func TestForwardCircles(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, p := team(t, 3)
		a, b, c := p[0], p[1], p[2]
		s.handle(map[string]telephony.CallHandling{"102": {ForwardNoAnswer: "103"}, "103": {ForwardBusy: "102"}})
		da := a.dial("102", "v=0 offer")
		invite := b.want("INVITE")
		b.reply(invite, 302, "b1", "", "Contact: <sip:103@a.test>")
		b.want("ACK")
		a.want("181")
		c.reply(c.want("INVITE"), 486, "c1", "")
		c.want("ACK")
		da.refuseAck(a.want("482"))
		s.ended(telephony.EndFailed, 482)
	})
}

// TestTransferToForwardedWhoDoesNotDisturb: 103 sends everything to 104, who does
// not want to be disturbed. The transferor hears of it, and the call stays.
func TestTransferToForwardedWhoDoesNotDisturb(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, p := team(t, 4)
		a, b := p[0], p[1]
		s.handle(map[string]telephony.CallHandling{"103": {ForwardAlways: "104"}, "104": {DoNotDisturb: true}})
		da, db := talking(a, b)
		da.refer("<sip:103@a.test>")
		a.notified(486)
		r := s.ended2(telephony.EndBusy, 486)
		if r.Caller.Number != "102" || len(r.ForwardedBy) != 1 || r.ForwardedBy[0] != "103" {
			t.Errorf("record %+v", r)
		}
		p[2].quiet(0)
		p[3].quiet(0)
		db.request(sip.INVITE, "v=0 hold") // the two still have each other
		b.want("100")
		a.reply(a.want("INVITE"), 200, "", "v=0 held")
		a.want("ACK")
		b.want("200")
		db.request(sip.ACK, "")
		db.request(sip.BYE, "")
		b.want("200")
		a.bye()
		<-s.records
		s.clean()
	})
}

// TestForwardBackToTheTransferor: a transfer to somebody whose calls go to the
// transferor does not ring him, or end in a call with himself; a transfer to
// somebody whose calls go to the transferee is a circle.
func TestForwardBackToTheTransferor(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, p := team(t, 3)
		a, b := p[0], p[1]
		s.handle(map[string]telephony.CallHandling{"103": {ForwardAlways: "102"}})
		da, _ := talking(a, b)
		da.refer("<sip:103@a.test>")
		a.notified(482)
		s.ended2(telephony.EndFailed, 482)
		da.refer("<sip:102@a.test>") // to the transferee himself
		a.notified(480)
		b.quiet(time.Second)
		da.request(sip.BYE, "")
		a.want("200")
		b.bye()
		<-s.records
		<-s.records
		s.clean()
	})
}

// consulting is 101 in calls with 102 and 103.
func consulting(a, b, c *phone) (da, db, second, dc *dialogue) {
	da, db = talking(a, b)
	second = a.dial("103", "v=0 offer-a3")
	invite := c.want("INVITE")
	c.reply(invite, 200, "c1", "v=0 answer-c")
	c.want("ACK")
	second.learn(a.want("200"))
	second.request(sip.ACK, "")
	synctest.Wait()
	return da, db, second, c.dialogueOf(invite, "c1")
}

// TestAttendedTransferOfTheDead: the far ends hang up just before the REFER, just
// after it, or do not know the call any more when they are offered each other.
func TestAttendedTransferOfTheDead(t *testing.T) {
	t.Parallel()
	inTime2(t, "before", func(t *testing.T) {
		s, p := team(t, 3)
		a, b, c := p[0], p[1], p[2]
		da, db, second, dc := consulting(a, b, c)
		dc.request(sip.BYE, "")
		c.want("200")
		a.bye()
		da.request(sip.REFER, "", "Refer-To: "+second.replacing("103"))
		a.want("202")
		a.notified(100)
		a.notified(481)
		db.request(sip.BYE, "")
		b.want("200")
		a.bye()
		<-s.records
		<-s.records
		s.clean()
	})
	inTime2(t, "after", func(t *testing.T) {
		s, p := team(t, 3)
		a, b, c := p[0], p[1], p[2]
		da, db, second, dc := consulting(a, b, c)
		da.request(sip.REFER, "", "Refer-To: "+second.replacing("103"))
		db.request(sip.BYE, "")
		dc.request(sip.BYE, "")
		for _, x := range p {
			x.settle(t, 200)
		}
		for len(s.records) > 0 {
			<-s.records
		}
		s.clean()
	})
	inTime2(t, "unknown to the phones", func(t *testing.T) {
		s, p := team(t, 3)
		a, b, c := p[0], p[1], p[2]
		da, _, second, _ := consulting(a, b, c)
		da.request(sip.REFER, "", "Refer-To: "+second.replacing("103"))
		a.settle(t, 200)
		b.settle(t, 481)
		c.settle(t, 481)
		a.settle(t, 200)
		b.settle(t, 481)
		c.settle(t, 481)
		for len(s.records) > 0 {
			<-s.records
		}
		s.clean()
	})
}

// settle answers what comes for half a minute.
func (p *phone) settle(t *testing.T, code int) {
	t.Helper()
	for {
		select {
		case m := <-p.in:
			if !strings.HasPrefix(m, "SIP/2.0") && !strings.HasPrefix(m, "ACK") {
				p.reply(m, code, "", "")
			}
		case <-time.After(20 * time.Second):
			return
		}
	}
}

// TestReferDuringHold, as every phone with a transfer key does it: with the real
// media engine, the target is not put on hold, and the transferee is taken off it.
func TestReferDuringHold(t *testing.T) {
	t.Parallel()
	s, a, b := realPair(t)
	c := s.phone("103", 5103)
	c.register()
	da, db, _, _ := realCall(t, a, b)
	if got, _ := reoffer(t, da, b, describe(2, 40000, "a=sendonly"), describe(2, 40100, "a=recvonly")); direction(t, got) != "sendonly" {
		t.Fatal(got)
	}
	da.request(sip.REFER, "", "Refer-To: <sip:103@a.test>")
	a.want("202")
	a.reply(a.want("NOTIFY"), 200, "", "")
	invite := c.want("INVITE")
	if direction(t, invite) != "sendrecv" {
		t.Errorf("the target is offered %s", direction(t, invite))
	}
	c.reply(invite, 200, "c1", describe(1, 40200))
	c.want("ACK")
	a.reply(a.want("NOTIFY"), 200, "", "")
	a.bye()
	re := b.want("INVITE")
	if direction(t, re) != "sendrecv" {
		t.Errorf("the transferee is offered %s", direction(t, re))
	}
	b.reply(re, 200, "", describe(3, 40100, "a=sendrecv"))
	b.want("ACK")
	db.request(sip.BYE, "")
	b.want("200")
	c.bye()
}

// TestTransferMeetsReinvite: the transferee's own re-INVITE crosses ours that
// tells it whom it talks with now. Both come to pass.
func TestTransferMeetsReinvite(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, p := team(t, 3)
		a, b, c := p[0], p[1], p[2]
		da, db := talking(a, b)
		da.refer("<sip:103@a.test>")
		invite := c.want("INVITE")
		c.reply(invite, 200, "c1", "v=0 answer-c")
		c.want("ACK")
		a.notified(200)
		a.bye()
		first := b.want("INVITE")
		db.request(sip.INVITE, "v=0 hold-b") // crosses it
		b.want("100")
		db.refuseAck(b.want("491"))
		b.reply(first, 491, "", "")
		b.want("ACK")
		time.Sleep(2500 * time.Millisecond)
		for { // what crossed is tried again by both
			m := b.nextWithin(5 * time.Second)
			if strings.HasPrefix(m, "INVITE") {
				if body(m) != "v=0 via-pbx(answer-c)" {
					t.Error(m)
				}
				b.reply(m, 200, "", "v=0 answer-b2")
				b.want("ACK")
				break
			}
		}
		db.request(sip.INVITE, "v=0 hold-b")
		b.want("100")
		re := c.want("INVITE")
		if body(re) != "v=0 via-pbx(hold-b)" {
			t.Error(re)
		}
		c.reply(re, 200, "", "v=0 held-c")
		c.want("ACK")
		b.want("200")
		db.request(sip.ACK, "")
		db.request(sip.BYE, "")
		b.want("200")
		c.bye()
		<-s.records
		<-s.records
		s.clean()
	})
}

// TestPickUpOfWhatIsForwarded: the lamp still showed the dialog when the call was
// sent on. Who presses it gets 481, and the call rings where it went.
func TestPickUpOfWhatIsForwarded(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, p := team(t, 4)
		a, b, c, d := p[0], p[1], p[2], p[3]
		s.handle(map[string]telephony.CallHandling{"102": {ForwardNoAnswer: "103"}})
		da := a.dial("102", "v=0 offer")
		invite := b.want("INVITE")
		b.reply(invite, 180, "b1", "")
		a.want("180")
		synctest.Wait()
		lamp := s.svc.Calls(1)[0].Legs[1].Dialog
		time.Sleep(20 * time.Second)
		b.want("CANCEL") // unanswered as yet
		dd := d.dial("102", "v=0 offer-d", "Replaces: "+lamp.CallID+";to-tag="+lamp.RemoteTag+";from-tag="+lamp.LocalTag)
		dd.refuseAck(d.want("481"))
		s.ended2(telephony.EndNotFound, 481)
		b.reply(invite, 200, "b1", "v=0 too late")
		b.want("ACK")
		b.bye()
		r := c.want("INVITE")
		c.reply(r, 200, "c1", "v=0 answer-c")
		c.want("ACK")
		if ok := a.want("200"); body(ok) != "v=0 via-pbx(answer-c)" {
			t.Error(ok)
		} else {
			da.learn(ok)
		}
		da.request(sip.ACK, "")
		da.request(sip.BYE, "")
		a.want("200")
		c.bye()
		s.ended2(telephony.EndCallerHungUp, 200)
		s.clean()
	})
}

// TestRefreshDuringHold: the session timer of a call on hold fires. Nobody is
// taken off hold by the refresh, nor put on it twice.
func TestRefreshDuringHold(t *testing.T) {
	t.Parallel()
	s, a, b := realPair(t)
	da, _, _, _ := realCall(t, a, b)
	reoffer(t, da, b, describe(2, 40000, "a=sendonly"), describe(2, 40100, "a=recvonly"))
	c := s.svc.all()[0]
	c.box.Post(func() { c.Refresh(c.callee.leg) })
	re := b.want("INVITE")
	if direction(t, re) != "sendonly" {
		t.Errorf("who is held is offered %s", direction(t, re))
	}
	b.reply(re, 200, "", describe(2, 40100, "a=recvonly"))
	b.want("ACK")
	a.quiet(100 * time.Millisecond)
	c.box.Post(func() { c.Refresh(c.caller.leg) })
	re = a.want("INVITE")
	a.reply(re, 200, "", describe(2, 40000, "a=sendonly"))
	a.want("ACK")
	b.quiet(100 * time.Millisecond)
	if live := s.svc.Calls(1); len(live) != 1 || live[0].State != telephony.CallHeld {
		t.Errorf("live %+v", live)
	}
	got, back := reoffer(t, da, b, describe(3, 40000, "a=sendrecv"), describe(3, 40100, "a=sendrecv"))
	if direction(t, got) != "sendrecv" || direction(t, back) != "sendrecv" {
		t.Errorf("after that resumed as %s, %s", direction(t, got), direction(t, back))
	}
	da.request(sip.BYE, "")
	a.want("200")
	b.bye()
}

// TestExpiryDuringHold: the holder was to refresh and is gone: both ends are told,
// and nothing stays.
func TestExpiryDuringHold(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da := a.dial("102", "v=0 offer-a", "Supported: timer", "Session-Expires: 120;refresher=uac")
		invite := b.want("INVITE")
		b.reply(invite, 200, "b1", "v=0 answer-b")
		b.want("ACK")
		da.learn(a.want("200"))
		da.request(sip.ACK, "")
		synctest.Wait()
		da.request(sip.INVITE, "v=0 hold\r\na=sendonly\r\n", "Supported: timer", "Session-Expires: 120;refresher=uac")
		a.want("100")
		b.reply(b.want("INVITE"), 200, "", "v=0 held")
		b.want("ACK")
		a.want("200")
		da.request(sip.ACK, "")
		time.Sleep(85 * time.Second)
		if live := s.oneCall(); live.State != telephony.CallHeld {
			t.Errorf("state %s", live.State)
		}
		time.Sleep(5 * time.Second) // a little before the session would end
		a.bye()
		b.bye()
		s.ended(telephony.EndFailed, 200)
	})
}
