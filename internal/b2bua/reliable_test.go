package b2bua

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// rseq is the number of a reliable provisional response.
func rseq(t *testing.T, p string) int {
	t.Helper()
	n, err := strconv.Atoi(header(p, "RSeq"))
	if err != nil || header(p, "Require") != "100rel" {
		t.Fatalf("not a reliable response:\n%s", p)
	}
	return n
}

// prack acknowledges a reliable provisional response.
func (d *dialogue) prack(p, sdp string) {
	d.learn(p)
	d.request(sip.PRACK, sdp, "RAck: "+header(p, "RSeq")+" "+header(p, "CSeq"))
}

// TestReliableToTheCaller: one that requires 100rel gets one response at a
// time, each repeated until its PRACK, and no answer before that of the answer
// (RFC 3262 section 3).
func TestReliableToTheCaller(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da := a.dial("102", "v=0 offer-a", "Require: 100rel")
		invite := b.want("INVITE")
		start := time.Now()
		b.reply(invite, 180, "b1", "")
		b.reply(invite, 183, "b1", "v=0 early")
		b.reply(invite, 200, "b1", "v=0 early")
		b.want("ACK")
		var at []string
		var p string
		for range 4 {
			p = a.want("180")
			at = append(at, fmt.Sprint(time.Since(start)))
		}
		if got := strings.Join(at, " "); got != "0s 500ms 1.5s 3.5s" {
			t.Errorf("180 at %s", got)
		}
		first := rseq(t, p)
		da.learn(p)
		for _, wrong := range []string{"", "x", fmt.Sprint(first, " 1 INVITE"), fmt.Sprint(first+1, " 2 INVITE"), fmt.Sprint(first, " 2 BYE"), fmt.Sprint(first, " 2")} {
			da.request(sip.PRACK, "", "RAck: "+wrong)
			a.want("481")
		}
		da.prack(p, "")
		a.want("200")
		p = a.want("183")
		if rseq(t, p) != first+1 || body(p) != "v=0 via-pbx(early)" {
			t.Error(p)
		}
		a.quiet(400 * time.Millisecond) // the 200 waits
		da.prack(p, "")
		if ok := a.want("200"); header(ok, "CSeq") != fmt.Sprint(da.seq, " PRACK") {
			t.Error(ok)
		}
		ok := a.want("200")
		if header(ok, "CSeq") != "2 INVITE" || body(ok) != "" {
			t.Errorf("the answer is repeated: %s", ok)
		}
		da.request(sip.PRACK, "", "RAck: "+header(p, "RSeq")+" 2 INVITE") // a second time
		a.want("481")
		da.request(sip.ACK, "")
		a.quiet(time.Minute)
		da.request(sip.BYE, "")
		a.want("200")
		b.reply(b.want("BYE"), 200, "", "")
		s.ended(telephony.EndCallerHungUp, 200)
	})
}

// TestReliableNeverAcknowledged ends with 5xx (RFC 3262 section 3), whether the
// callee still rings or has answered.
func TestReliableNeverAcknowledged(t *testing.T) {
	t.Parallel()
	for _, answered := range []bool{false, true} {
		t.Run(fmt.Sprint(answered), func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				// 64*T1 is less than the 20 s that the phone may ring.
				s := newStackWith(t, sip.Config{Timers: sip.Timers{T1: 200 * time.Millisecond}}, nil)
				a, b := s.phone("101", 5101), s.phone("102", 5102)
				a.register()
				b.register()
				da := a.dial("102", "v=0 offer-a", "Supported: 100rel")
				invite := b.want("INVITE")
				b.reply(invite, 183, "b1", "v=0 early")
				if answered {
					b.reply(invite, 200, "b1", "v=0 early")
					b.want("ACK")
				}
				var m string
				for m = a.nextWithin(time.Minute); strings.HasPrefix(m, "SIP/2.0 183"); m = a.nextWithin(time.Minute) {
				}
				if !strings.HasPrefix(m, "SIP/2.0 504") {
					t.Error(m)
				}
				da.refuseAck(m)
				if answered {
					b.reply(b.want("BYE"), 200, "", "")
				} else {
					b.reply(b.want("CANCEL"), 200, "b1", "")
					b.reply(invite, 487, "b1", "")
					b.want("ACK")
				}
				synctest.Wait()
				if r := s.record(); r.Reason != telephony.EndFailed {
					t.Errorf("%+v", r)
				}
				time.Sleep(time.Minute)
				if n := s.svc.dialogs.Len(); n != 0 {
					t.Errorf("%d legs left", n)
				}
			})
		})
	}
}

// TestCancelWhileTheAnswerWaits: the callee has answered, but the caller did
// not acknowledge the provisional response.
func TestCancelWhileTheAnswerWaits(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da := a.dial("102", "v=0 offer-a", "Require: 100rel")
		invite := b.want("INVITE")
		b.reply(invite, 183, "b1", "v=0 early")
		a.want("183")
		b.reply(invite, 200, "b1", "v=0 early")
		b.want("ACK")
		da.request(sip.CANCEL, "")
		a.want("200")
		da.refuseAck(a.want("487"))
		b.reply(b.want("BYE"), 200, "", "")
		s.ended(telephony.EndCancelled, 487)
	})
}

// TestReliableOnlyWhereItMatters: a caller that merely can gets responses with
// an answer reliably, and the others as ever.
func TestReliableOnlyWhereItMatters(t *testing.T) {
	inTime(t, func(t *testing.T) {
		_, a, b := pair(t, nil)
		da := a.dial("102", "v=0 offer-a", "Supported: timer, 100rel")
		invite := b.want("INVITE")
		b.reply(invite, 180, "b1", "")
		if p := a.want("180"); header(p, "RSeq") != "" {
			t.Error(p)
		}
		b.reply(invite, 183, "b1", "v=0 early")
		p := a.want("183")
		rseq(t, p)
		da.prack(p, "")
		a.want("200")
		b.reply(invite, 200, "b1", "")
		b.want("ACK")
		if ok := a.want("200"); body(ok) != "" {
			t.Error(ok)
		}
	})
}

// TestReliableFromTheCallee: PRACKs in order, copies and gaps ignored (RFC 3262
// section 4).
func TestReliableFromTheCallee(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da := a.dial("102", "v=0 offer-a")
		invite := b.want("INVITE")
		if header(invite, "Supported") != "100rel, timer, replaces, norefersub" {
			t.Error(invite)
		}
		b.reply(invite, 183, "b1", "v=0 early", "Require: 100rel", "RSeq: 988", "Record-Route: <sip:q1.test;lr>, <sip:q2.test;lr>")
		if p := a.want("183"); body(p) != "v=0 via-pbx(early)" || header(p, "RSeq") != "" {
			t.Error(p)
		}
		prack := b.want("PRACK sip:102@192.0.2.50:5102")
		if header(prack, "RAck") != "988 1 INVITE" || header(prack, "CSeq") != "2 PRACK" || tag(header(prack, "To")) != "b1" ||
			header(prack, "Route") != "<sip:q2.test;lr>" {
			t.Error(prack)
		}
		b.reply(prack, 200, "", "")
		b.reply(invite, 183, "b1", "v=0 early", "Require: 100rel", "RSeq: 988") // a copy
		b.reply(invite, 180, "b1", "", "Require: 100rel", "RSeq: 990")          // 989 was lost
		b.reply(invite, 180, "b1", "", "Require: 100rel", "RSeq: 4294967296")
		a.quiet(100 * time.Millisecond)
		b.quiet(0)
		b.reply(invite, 180, "b1", "", "Require: 100rel", "RSeq: 989")
		a.want("180")
		prack = b.want("PRACK")
		if header(prack, "RAck") != "989 1 INVITE" || header(prack, "CSeq") != "3 PRACK" {
			t.Error(prack)
		}
		b.reply(prack, 200, "", "")
		b.reply(invite, 200, "b1", "") // the answer was in the 183
		if ack := b.want("ACK"); header(ack, "CSeq") != "1 ACK" {
			t.Error(ack)
		}
		ok := a.want("200")
		if body(ok) != "v=0 via-pbx(early)" {
			t.Error(ok)
		}
		da.learn(ok)
		da.request(sip.ACK, "")
		da.request(sip.BYE, "")
		a.want("200")
		if bye := b.want("BYE"); header(bye, "CSeq") != "4 BYE" {
			t.Error(bye)
		}
		s.ended(telephony.EndCallerHungUp, 200)
	})
}

// TestOfferInPrack (RFC 3262 section 5): it is answered at once, and the change
// does not get lost.
func TestOfferInPrack(t *testing.T) {
	inTime(t, func(t *testing.T) {
		_, a, b := pair(t, nil)
		da := a.dial("102", "v=0 offer-a", "Supported: 100rel")
		invite := b.want("INVITE")
		b.reply(invite, 183, "b1", "v=0 early")
		da.prack(a.want("183"), "v=0 offer-2")
		ok := a.want("200")
		if body(ok) != "v=0 via-pbx(early)" || header(ok, "CSeq") != "3 PRACK" {
			t.Error(ok)
		}
		b.reply(invite, 200, "b1", "v=0 early")
		b.want("ACK")
		a.want("200")
		da.request(sip.ACK, "")
		da.request(sip.PRACK, "v=0 x", "RAck: 1 2 INVITE")
		a.want("481")
	})
}
