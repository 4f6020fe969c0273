package b2bua

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// FuzzDialog sends anything into an established call, as its caller: {ID},
// {FROM} and {TO} stand for what makes it part of the dialog. Whatever comes, no
// code panics, the stack answers, and a call that ended left its record.
func FuzzDialog(f *testing.F) {
	for _, m := range []string{sip.INVITE, sip.ACK, sip.BYE, sip.CANCEL, sip.INFO, sip.OPTIONS, sip.UPDATE, sip.PRACK, sip.REFER} {
		for _, sdp := range []string{"", "v=0 new\r\na=sendonly\r\n", "v=0 bad"} {
			h := []string{"Via: SIP/2.0/UDP 192.0.2.50:5101;rport;branch=z9hG4bKfuzz", "From: {FROM}", "To: {TO}", "Call-ID: {ID}",
				"CSeq: 7 " + m, "Contact: <sip:101@192.0.2.50:5101>", "Require: timer", "Session-Expires: 90", "RAck: 1 2 INVITE", takesUpdate}
			f.Add(text(m+" sip:102@192.0.2.1 SIP/2.0", h, sdp))
		}
	}
	s := newStack(f, nil)
	a, b := s.phone("101", 5101), s.phone("102", 5102)
	a.register()
	b.register()
	f.Cleanup(func() { go drain(a, b) }) // so that closing need not wait
	var da *dialogue
	f.Fuzz(func(t *testing.T, raw string) {
		s.t, a.t, b.t = t, t, t
		if len(s.svc.Calls(telephony.System)) == 0 {
			drain(a, b)
			da, _ = talking(a, b)
			da.seq = 3
		}
		raw = strings.NewReplacer("{ID}", da.id, "{FROM}", da.local, "{TO}", da.remote).Replace(raw)
		if strings.HasPrefix(raw, "REGISTER") {
			return
		}
		a.send(raw)
		a.send("OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.50:5101;rport;branch=z9hG4bKbeat\r\nFrom: <sip:x@y>;tag=1\r\nTo: <sip:x@y>\r\nCall-ID: " + da.id + "\r\nCSeq: 1 OPTIONS\r\n\r\n")
		for deadline := time.After(5 * time.Second); ; {
			select {
			case m := <-a.in:
				if strings.Contains(m, "z9hG4bKbeat") {
					check(t, s)
					return
				}
			case m := <-b.in:
				answerAnything(b, m)
			case <-deadline:
				t.Fatalf("no heart-beat after %q", raw)
			}
		}
	})
}

func check(t *testing.T, s *stack) {
	t.Helper()
	if n := s.ep.Stats().Panics; n != 0 {
		t.Fatalf("%d panics", n)
	}
	for len(s.records) > 0 {
		if r := <-s.records; r.Reason == telephony.EndFailed && r.StatusCode == 500 {
			t.Fatalf("a call failed: %+v", r)
		}
	}
	for len(s.events.C) > 0 {
		<-s.events.C
	}
}

// answerAnything is a phone that agrees to all.
func answerAnything(p *phone, m string) {
	switch {
	case strings.HasPrefix(m, "SIP/2.0"), strings.HasPrefix(m, "ACK"):
	case strings.HasPrefix(m, "INVITE"):
		p.reply(m, 200, "b1", "v=0 answer")
	default:
		p.reply(m, 200, "", "")
	}
}

func drain(phones ...*phone) {
	for {
		time.Sleep(5 * time.Millisecond)
		n := 0
		for _, p := range phones {
			for len(p.in) > 0 {
				m := <-p.in
				n++
				if !strings.HasPrefix(m, "SIP/2.0") && !strings.HasPrefix(m, "ACK") {
					p.reply(m, 200, "", "")
				}
			}
		}
		if n == 0 {
			return
		}
	}
}

// FuzzReferral reads REFERs with anything in Refer-To: nothing panics, and what
// is taken for a Replaces has all it needs.
func FuzzReferral(f *testing.F) {
	for _, to := range []string{
		"<sip:103@a.test>", "sip:103@a.test", "<sip:103@a.test?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2%3Bearly-only>",
		"<sips:103@a.test;method=INVITE>", "<tel:103>", "<sip:103@a.test>, <sip:104@a.test>", `"x" <sip:103@a.test?Replaces=%zz&Replaces=b>;q=1`, "*",
	} {
		f.Add(to, "false")
	}
	got := make(chan *sip.Request, 1)
	s := newStack(f, nil)
	s.ep.Handle(sip.REFER, sip.HandlerFunc(func(tx *sip.ServerTx) {
		got <- tx.Request()
		tx.Reply(sip.Reply{Code: 200})
	}))
	p := s.phone("101", 5101)
	n := 0
	f.Fuzz(func(t *testing.T, to, sub string) {
		if strings.ContainsAny(to+sub, "\r\n\x00") {
			return
		}
		p.t = t
		n++
		p.send(text("REFER sip:102@a.test SIP/2.0", []string{
			fmt.Sprintf("Via: SIP/2.0/UDP 192.0.2.50:5101;rport;branch=z9hG4bKr%d", n), "From: <sip:101@a.test>;tag=1", "To: <sip:102@a.test>;tag=2",
			fmt.Sprintf("Call-ID: r%d", n), "CSeq: 1 REFER", "Max-Forwards: 70", "Refer-To: " + to, "Refer-Sub: " + sub,
		}, ""))
		p.next() // of whatever is said to it
		select {
		case r := <-got:
			x, code := parseReferral(r)
			if code == 0 && x.to.Scheme != "sip" && x.to.Scheme != "sips" {
				t.Errorf("%q: %+v", to, x)
			}
			if x.replaces != nil && (x.replaces.callID == "" || x.replaces.to == "" || x.replaces.from == "") {
				t.Errorf("%q: %+v", to, x.replaces)
			}
		default:
		}
	})
}
