package b2bua

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// TestPitfall11: PRACK and UPDATE took numbers meanwhile.
func TestPitfall11(t *testing.T) {
	t.Parallel()
	for _, cancel := range []bool{false, true} {
		inTime2(t, fmt.Sprint("cancel ", cancel), func(t *testing.T) {
			_, a, b := pair(t, nil)
			da := a.dial("102", "v=0 offer-a", "Supported: 100rel", takesUpdate)
			invite := b.want("INVITE")
			b.reply(invite, 183, "b1", "v=0 early", "Require: 100rel", "RSeq: 1", takesUpdate)
			b.reply(b.want("PRACK"), 200, "", "")
			da.prack(a.want("183"), "")
			a.want("200")
			da.request(sip.UPDATE, "v=0 again")
			u := b.want("UPDATE")
			if header(u, "CSeq") != "3 UPDATE" {
				t.Error(u)
			}
			b.reply(u, 200, "", "v=0 again-b")
			a.want("200")
			if cancel {
				da.request(sip.CANCEL, "")
				a.want("200")
				c := b.want("CANCEL")
				if header(c, "CSeq") != "1 CANCEL" || header(c, "Via") != header(invite, "Via") {
					t.Error(c)
				}
				return
			}
			b.reply(invite, 200, "b1", "")
			if ack := b.want("ACK"); header(ack, "CSeq") != "1 ACK" {
				t.Error(ack)
			}
		})
	}
}

func inTime2(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { inTime(t, f) })
}

// TestPitfall12: the callee's 200 crosses our CANCEL; and the caller's CANCEL
// crosses our 200.
func TestPitfall12(t *testing.T) {
	t.Parallel()
	inTime2(t, "of the callee", func(t *testing.T) {
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
		b.want("ACK")
		bye := b.want("BYE")
		b.reply(cancel, 481, "b1", "")
		b.reply(invite, 200, "b1", "v=0 answer-b")
		b.want("ACK")
		b.reply(bye, 200, "", "")
		s.ended(telephony.EndCancelled, 487)
		time.Sleep(time.Minute)
		if n := s.svc.dialogs.Len(); n != 0 {
			t.Errorf("%d legs left", n)
		}
	})
	inTime2(t, "of the caller", func(t *testing.T) {
		s, a, b := pair(t, nil)
		da := a.dial("102", "v=0 offer-a")
		invite := b.want("INVITE")
		b.reply(invite, 200, "b1", "v=0 answer-b")
		b.want("ACK")
		ok := a.want("200")
		da.request(sip.CANCEL, "") // sent before it came
		a.want("200")              // of the CANCEL, without effect (RFC 3261 section 9.2)
		da.learn(ok)
		da.request(sip.ACK, "")
		b.quiet(time.Second)
		da.request(sip.BYE, "")
		a.want("200")
		b.reply(b.want("BYE"), 200, "", "")
		s.ended(telephony.EndCallerHungUp, 200)
	})
}

// TestPitfall13: a CANCEL with the number of another request, of another call
// or from another address cancels nothing; one whose caller only got branch and
// To tag wrong says clearly enough what it wants.
func TestPitfall13(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da := a.dial("102", "v=0 offer-a")
		invite := b.want("INVITE")
		b.reply(invite, 180, "b1", "")
		a.want("180")
		good := *da
		da.branch, da.inviteSeq = da.branch+"x", da.inviteSeq+1
		da.request(sip.CANCEL, "")
		a.want("481")
		*da = good
		da.branch, da.id = da.branch+"x", da.id+"x"
		da.request(sip.CANCEL, "")
		a.want("481")
		*da = good
		stranger := &phone{t: t, user: "101", domain: "a.test", addr: netip.MustParseAddrPort("192.0.2.66:5101"), in: make(chan string, 9)}
		s.mu.Lock()
		s.phones[stranger.addr] = stranger.in
		s.mu.Unlock()
		stranger.send = func(raw string) {
			f := s.flow
			f.Remote = stranger.addr
			s.ep.Receive(f, []byte(raw))
		}
		da.p = stranger
		da.request(sip.CANCEL, "")
		stranger.want("481")
		b.quiet(time.Second)
		*da = good
		da.branch += "x"
		da.remote += ";tag=nonsense"
		da.request(sip.CANCEL, "")
		a.want("200")
		a.want("487")
		b.want("CANCEL")
		s.ended(telephony.EndCancelled, 487)
	})
}

// TestPitfall17: a proxy forked our INVITE: the last one is followed, and the
// final response need not repeat what it said.
func TestPitfall17(t *testing.T) {
	t.Parallel()
	for _, reliable := range []bool{false, true} {
		inTime2(t, fmt.Sprint("reliable ", reliable), func(t *testing.T) {
			s, a, b := pair(t, nil)
			extra := []string{takesUpdate}
			if reliable {
				extra = append(extra, "Supported: 100rel")
			}
			da := a.dial("102", "v=0 offer-a", extra...)
			invite := b.want("INVITE")
			early := func(tag, sdp string) {
				b.send(strings.Replace(answerOf(b, invite, tag, sdp), "Contact: <sip:102@", "Contact: <sip:"+tag+"@", 1))
				p := b.want("PRACK sip:" + tag + "@")
				if header(p, "RAck") != "1 1 INVITE" {
					t.Error(p)
				}
				b.reply(p, 200, "", "")
			}
			early("x", "v=0 early-x")
			p := a.want("183")
			if body(p) != "v=0 via-pbx(early-x)" {
				t.Error(p)
			}
			if reliable {
				da.prack(p, "")
				a.want("200")
			}
			early("y", "v=0 early-y")
			if !reliable {
				p = a.want("183")
				if body(p) != "v=0 via-pbx(early-y)" {
					t.Error(p)
				}
			} else {
				// Its offer is answered for good: the change comes as an offer.
				var u string
				for range 2 {
					switch m := a.next(); {
					case strings.HasPrefix(m, "UPDATE"):
						u = m
					case body(m) != "":
						t.Error(m)
					default:
						da.prack(m, "")
					}
				}
				if body(u) != "v=0 via-pbx(early-y)" {
					t.Fatal(u)
				}
				a.want("200")
				a.reply(u, 200, "", "v=0 answer-y")
			}
			b.reply(invite, 200, "y", "")
			if ack := b.want("ACK"); tag(header(ack, "To")) != "y" {
				t.Error(ack)
			}
			ok := a.want("200")
			if reliable != (body(ok) == "") || !reliable && body(ok) != "v=0 via-pbx(early-y)" {
				t.Error(ok)
			}
			da.learn(ok)
			da.request(sip.ACK, "")
			a.quiet(time.Second)
			da.request(sip.BYE, "")
			a.want("200")
			b.want("BYE")
			s.ended(telephony.EndCallerHungUp, 200)
		})
	}
}

// answerOf is a reliable 183 with a tag.
func answerOf(p *phone, req, tag, sdp string) string {
	var out string
	send := p.send
	p.send = func(raw string) { out = raw }
	p.reply(req, 183, tag, sdp, "Require: 100rel", "RSeq: 1")
	p.send = send
	return out
}

func TestPitfall18(t *testing.T) {
	t.Parallel()
	_, a, b := realPair(t)
	a.dial("102", describe(1, 40000))
	invite := b.want("INVITE")
	b.reply(invite, 180, "b1", "")
	if p := a.want("180"); body(p) != "" {
		t.Error(p)
	}
	b.reply(invite, 180, "b1", describe(1, 40100))
	if p := a.want("180"); direction(t, p) != "sendrecv" {
		t.Error(p)
	}
	b.reply(invite, 486, "b1", "")
	a.want("486")
}

// TestPitfall19: who could not use the early answer yet gets the same one with
// the 200.
func TestPitfall19(t *testing.T) {
	t.Parallel()
	_, a, b := realPair(t)
	a.dial("102", describe(1, 40000))
	invite := b.want("INVITE")
	b.reply(invite, 183, "b1", describe(1, 40100))
	early := a.want("183")
	b.reply(invite, 200, "b1", describe(1, 40100))
	if ok := a.want("200"); body(ok) != body(early) || body(ok) == "" {
		t.Errorf("183 said\n%s\nand 200\n%s", body(early), body(ok))
	}
}

// TestPitfall26: requests go to the connection a phone opened, wherever its
// Contact points.
func TestPitfall26(t *testing.T) {
	t.Parallel()
	s := newStack(t, nil)
	a, b := s.wire("101", ports.SIPTCP), s.wire("102", ports.SIPTCP)
	a.addr, b.addr = netip.MustParseAddrPort("192.0.2.77:49152"), netip.MustParseAddrPort("192.0.2.78:49153")
	a.register()
	b.register()
	da, db := talking(a, b)
	db.request(sip.INFO, "x")
	a.reply(a.want("INFO sip:101@192.0.2.77:49152"), 200, "", "")
	b.want("200")
	da.request(sip.BYE, "")
	a.want("200")
	b.reply(b.want("BYE sip:102@192.0.2.78:49153"), 200, "", "")
}

// TestPitfall27: what is larger than a packet goes over UDP all the same.
func TestPitfall27(t *testing.T) {
	t.Parallel()
	s := newStack(t, nil)
	a, b := s.wire("101", ports.SIPUDP), s.wire("102", ports.SIPUDP)
	a.register()
	b.register()
	long := strings.Repeat("a=candidate:1 1 UDP 2130706431 192.0.2.50 40000 typ host\r\n", 120)
	da := a.dial("102", "v=0 "+long)
	invite := b.want("INVITE")
	if body(invite) != "v=0 via-pbx("+long+")" {
		t.Errorf("%d bytes of %d", len(body(invite)), len(long))
	}
	b.reply(invite, 200, "b1", "v=0 "+long)
	b.want("ACK")
	ok := a.want("200")
	if body(ok) != "v=0 via-pbx("+long+")" {
		t.Errorf("%d bytes of %d", len(body(ok)), len(long))
	}
	da.learn(ok)
	da.request(sip.ACK, "")
	da.request(sip.BYE, "")
	a.want("200")
	b.reply(b.want("BYE"), 200, "", "")
}

// TestPitfall28WeSayWhatWeCan: a phone offers transfer only where the far end says
// that it takes REFER, its NOTIFY and Replaces: in what makes the dialog, both ways,
// and in the answer to OPTIONS.
func TestPitfall28WeSayWhatWeCan(t *testing.T) {
	inTime(t, func(t *testing.T) {
		_, a, b := pair(t, nil)
		da := a.dial("102", "v=0 offer-a")
		invite := b.want("INVITE")
		b.reply(invite, 200, "b1", "v=0 answer-b")
		b.want("ACK")
		ok := a.want("200")
		da.learn(ok)
		da.request(sip.ACK, "")
		da.request(sip.OPTIONS, "")
		within := a.want("200")
		a.call("102").request(sip.OPTIONS, "")
		for _, m := range []string{invite, ok, within, a.want("200")} {
			allow, supported := strings.Split(header(m, "Allow"), ", "), strings.Split(header(m, "Supported"), ", ")
			if !slices.Contains(allow, sip.REFER) || !slices.Contains(allow, sip.NOTIFY) || !slices.Contains(supported, "replaces") {
				t.Error(m)
			}
		}
	})
}
