package b2bua

import (
	"slices"
	"strings"
	"testing"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// team is a stack whose extensions 101 to 101+n-1 have a phone each.
func team(t testing.TB, n int) (*stack, []*phone) {
	t.Helper()
	s := newStack(t, nil)
	var out []*phone
	for i := range n {
		p := s.phone([]string{"101", "102", "103", "104"}[i], uint16(5101+i))
		p.register()
		out = append(out, p)
	}
	return s, out
}

// reaches lets p answer the call that must have come to it, and ends it.
func reaches(t *testing.T, s *stack, a, p *phone, d *dialogue) (invite string, r telephony.CallRecord) {
	t.Helper()
	invite = p.want("INVITE")
	p.reply(invite, 200, "x1", "v=0 answer")
	p.want("ACK")
	m := a.next()
	for strings.HasPrefix(m, "SIP/2.0 1") {
		m = a.next()
	}
	if !strings.HasPrefix(m, "SIP/2.0 200") {
		t.Fatalf("caller got %q", line(m))
	}
	if !strings.Contains(header(m, "P-Asserted-Identity"), "sip:"+p.user+"@a.test") {
		t.Errorf("the caller is told it talks with %q", header(m, "P-Asserted-Identity"))
	}
	d.learn(m)
	d.request(sip.ACK, "")
	d.request(sip.BYE, "")
	a.want("200")
	p.reply(p.want("BYE"), 200, "", "")
	return invite, s.ended(telephony.EndCallerHungUp, 200)
}

func TestForwardAlways(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, p := team(t, 3)
		s.handle(map[string]telephony.CallHandling{"102": {ForwardAlways: "103"}})
		d := p[0].dial("102", "v=0 offer")
		invite, r := reaches(t, s, p[0], p[2], d)
		p[1].quiet(time.Second)
		for name, want := range map[string]string{
			"Diversion":    "<sip:102@a.test>;reason=unconditional;counter=1",
			"History-Info": "<sip:102@a.test>;index=1, <sip:103@a.test;cause=302>;index=1.1;mp=1",
			"Max-Forwards": "68", "P-Asserted-Identity": `"Anna \"A\" Berg" <sip:101@a.test>`,
		} {
			if got := header(invite, name); got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
		if !slices.Equal(r.ForwardedBy, []string{"102"}) || r.Callee.Number != "103" {
			t.Errorf("record %+v", r)
		}
	})
}

func TestForwardBusy(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, p := team(t, 3)
		s.handle(map[string]telephony.CallHandling{"102": {ForwardBusy: "103"}})
		d := p[0].dial("102", "v=0 offer")
		p[1].reply(p[1].want("INVITE"), 486, "b1", "")
		p[1].want("ACK")
		p[0].want("181")
		if _, r := reaches(t, s, p[0], p[2], d); !slices.Equal(r.ForwardedBy, []string{"102"}) {
			t.Errorf("record %+v", r)
		}
	})
}

func TestForwardNoAnswer(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, p := team(t, 3)
		s.handle(map[string]telephony.CallHandling{"102": {ForwardNoAnswer: "103"}})
		began := time.Now()
		d := p[0].dial("102", "v=0 offer")
		invite := p[1].want("INVITE")
		p[1].reply(invite, 180, "b1", "")
		p[0].want("180")
		cancel := p[1].nextWithin(30 * time.Second)
		if !strings.HasPrefix(cancel, "CANCEL") || time.Since(began) != 20*time.Second {
			t.Fatalf("%q after %s", line(cancel), time.Since(began))
		}
		p[1].reply(cancel, 200, "b1", "")
		p[1].reply(invite, 487, "b1", "")
		p[1].want("ACK")
		to, _ := reaches(t, s, p[0], p[2], d)
		if got := header(to, "Diversion"); !strings.Contains(got, "reason=no-answer") {
			t.Error(got)
		}
	})
}

// TestForwardLateAnswer: the phone answers as the call is sent on: it is
// thanked and released, and the call goes on to where it was sent.
func TestForwardLateAnswer(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, p := team(t, 3)
		s.handle(map[string]telephony.CallHandling{"102": {ForwardNoAnswer: "103"}})
		d := p[0].dial("102", "v=0 offer")
		invite := p[1].want("INVITE")
		p[1].reply(invite, 180, "b1", "")
		p[0].want("180")
		p[1].reply(p[1].nextWithin(30*time.Second), 200, "b1", "") // CANCEL
		p[1].reply(invite, 200, "b1", "v=0 late")
		p[1].want("ACK")
		p[1].reply(p[1].want("BYE"), 200, "", "")
		reaches(t, s, p[0], p[2], d)
	})
}

func TestForwardUnregistered(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, p := team(t, 3)
		s.handle(map[string]telephony.CallHandling{"104": {ForwardUnregistered: "103"}})
		d := p[0].dial("104", "v=0 offer")
		reaches(t, s, p[0], p[2], d)
	})
}

func TestDoNotDisturb(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, p := team(t, 3)
		s.handle(map[string]telephony.CallHandling{"102": {DoNotDisturb: true}, "103": {DoNotDisturb: true, ForwardBusy: "101"}})
		d := p[0].dial("102", "v=0 offer")
		d.refuseAck(p[0].want("486"))
		p[1].quiet(time.Second)
		s.ended(telephony.EndBusy, 486)
		d = p[1].dial("103", "v=0 offer")
		reaches(t, s, p[1], p[0], d)
		p[2].quiet(time.Second)
	})
}

func TestCallWaitingLimit(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, p := team(t, 3)
		s.handle(map[string]telephony.CallHandling{"102": {MaxCalls: 1}})
		talking(p[0], p[1])
		d := p[2].dial("102", "v=0 offer")
		d.refuseAck(p[2].want("486"))
		p[1].quiet(time.Second)
		s.ended2(telephony.EndBusy, 486)
	})
}

// ended2 is ended while other calls go on.
func (s *stack) ended2(reason telephony.EndReason, code int) telephony.CallRecord {
	s.t.Helper()
	select {
	case r := <-s.records:
		if r.Reason != reason || r.StatusCode != code {
			s.t.Errorf("ended as %s %d, want %s %d", r.Reason, r.StatusCode, reason, code)
		}
		return r
	case <-time.After(5 * time.Second):
		s.t.Fatal("no record")
		return telephony.CallRecord{}
	}
}

func TestForwardLoopsEnd(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, p := team(t, 1)
		s.handle(map[string]telephony.CallHandling{
			"102": {ForwardAlways: "103"}, "103": {ForwardAlways: "102"}, // a circle
			"104": {ForwardAlways: "101"}, // back to the caller
		})
		for _, number := range []string{"102", "104"} {
			d := p[0].dial(number, "v=0 offer")
			m := p[0].next()
			for strings.HasPrefix(m, "SIP/2.0 181") {
				m = p[0].next()
			}
			d.refuseAck(m)
			if !strings.HasPrefix(m, "SIP/2.0 482") {
				t.Errorf("%s: %q", number, line(m))
			}
			s.ended(telephony.EndFailed, 482)
		}
	})
}

func TestForwardsAreBounded(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, p := team(t, 1)
		s.handle(map[string]telephony.CallHandling{
			"102": {ForwardAlways: "103"}, "103": {ForwardAlways: "104"}, "104": {ForwardAlways: "105"},
			"105": {ForwardAlways: "106"}, "106": {ForwardAlways: "107"}, "107": {ForwardAlways: "108"},
		})
		d := p[0].dial("102", "v=0 offer")
		m := p[0].next()
		for strings.HasPrefix(m, "SIP/2.0 181") {
			m = p[0].next()
		}
		d.refuseAck(m)
		if r := s.ended(telephony.EndFailed, 483); len(r.ForwardedBy) != 6 {
			t.Errorf("%v", r.ForwardedBy)
		}
		// And by the caller's own Max-Forwards.
		ch := ""
		d = p[0].call("102")
		d.request(sip.INVITE, "v=0 x")
		ch = p[0].want("407")
		d.refuseAck(ch)
		auth := p[0].authorize(ch, sip.INVITE, d.target, "pw101")
		send := p[0].send
		p[0].send = func(raw string) { send(strings.Replace(raw, "Max-Forwards: 70", "Max-Forwards: 2", 1)) }
		d.request(sip.INVITE, "v=0 x", auth)
		p[0].want("100")
		m = p[0].next()
		for strings.HasPrefix(m, "SIP/2.0 181") {
			m = p[0].next()
		}
		d.refuseAck(m)
		s.ended(telephony.EndFailed, 483)
	})
}

// TestForwardToNobody: whom somebody forwards to, and that it does not exist,
// is not told.
func TestForwardToNobody(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, p := team(t, 1)
		s.handle(map[string]telephony.CallHandling{"102": {ForwardAlways: "999"}})
		d := p[0].dial("102", "v=0 offer")
		p[0].want("181")
		d.refuseAck(p[0].want("480"))
		s.ended(telephony.EndUnavailable, 480)
	})
}

// TestRedirection: a phone's 302 is followed inside of the tenant, and only
// there.
func TestRedirection(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, p := team(t, 3)
		d := p[0].dial("102", "v=0 offer")
		p[1].reply(p[1].want("INVITE"), 302, "b1", "", "Contact: <sip:evil@elsewhere.test>, <sip:103@a.test>")
		p[1].want("ACK")
		p[0].want("181")
		invite, _ := reaches(t, s, p[0], p[2], d)
		if got := header(invite, "Diversion"); !strings.Contains(got, "deflection") {
			t.Error(got)
		}
		for _, contact := range []string{"<sip:103@b.test>", "<tel:103>", "<sip:102@a.test>", "broken", ""} {
			d = p[0].dial("102", "v=0 offer")
			raw := p[1].want("INVITE")
			h := []string{"Call-ID: " + header(raw, "Call-ID"), "CSeq: " + header(raw, "CSeq"), "From: " + header(raw, "From"), "To: " + header(raw, "To") + ";tag=b1", "Via: " + header(raw, "Via")}
			if contact != "" {
				h = append(h, "Contact: "+contact)
			}
			p[1].send(text("SIP/2.0 302 Moved", h, ""))
			p[1].want("ACK")
			d.refuseAck(p[0].want("480"))
			p[2].quiet(time.Second)
			s.ended(telephony.EndRejected, 480)
		}
	})
}

func TestRingAlso(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, p := team(t, 4)
		s.handle(map[string]telephony.CallHandling{"102": {RingAlso: []string{"103", "104"}}, "104": {DoNotDisturb: true}})
		d := p[0].dial("102", "v=0 offer")
		first := p[1].want("INVITE")
		p[1].reply(first, 180, "b1", "")
		p[0].want("180")
		if live := s.svc.Calls(1); len(live) != 1 || len(live[0].Legs) != 3 || live[0].Legs[2].Number != "103" {
			t.Errorf("live %+v", live)
		}
		_, r := func() (string, telephony.CallRecord) {
			invite := p[2].want("INVITE")
			p[2].reply(invite, 200, "c1", "v=0 answer")
			p[2].want("ACK")
			cancel := p[1].want("CANCEL")
			p[1].reply(cancel, 200, "b1", "")
			p[1].reply(first, 487, "b1", "")
			p[1].want("ACK")
			d.learn(p[0].want("200"))
			d.request(sip.ACK, "")
			d.request(sip.BYE, "")
			p[0].want("200")
			p[2].reply(p[2].want("BYE"), 200, "", "")
			return invite, s.ended(telephony.EndCallerHungUp, 200)
		}()
		p[3].quiet(time.Second)
		if r.Callee.Number != "103" || len(r.ForwardedBy) != 0 {
			t.Errorf("record %+v", r)
		}
	})
}

// TestPrivacy: who asks for privacy is told to nobody, in no header.
func TestPrivacy(t *testing.T) {
	inTime(t, func(t *testing.T) {
		for _, privacy := range []string{"id", "user;critical", "header", "none", ""} {
			_, p := team(t, 2)
			h := []string{"P-Preferred-Identity: <sip:103@a.test>", "P-Asserted-Identity: <sip:104@a.test>"}
			if privacy != "" {
				h = append(h, "Privacy: "+privacy)
			}
			d := p[0].dial("102", "v=0 offer", h...)
			invite := p[1].want("INVITE")
			hidden := privacy != "none" && privacy != ""
			if got := strings.Contains(invite, "Anna") || strings.Contains(invite, "sip:101@"); got == hidden {
				t.Errorf("Privacy %q:\n%s", privacy, invite)
			}
			if strings.Contains(invite, "sip:103@") || strings.Contains(invite, "sip:104@") {
				t.Errorf("a claimed identity went through:\n%s", invite)
			}
			if got := header(invite, "Privacy") == "id"; got != hidden {
				t.Errorf("Privacy %q becomes %q", privacy, header(invite, "Privacy"))
			}
			p[1].reply(invite, 486, "b1", "")
			d.refuseAck(p[0].want("486"))
		}
	})
}
