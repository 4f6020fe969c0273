package b2bua

// The thirty things that go wrong in practice, and the tests that show they do
// not here. What other tests show as well is named with them.
//
//	 1 hold in all spellings            TestPitfall01, TestHold
//	 2 attribute on an unended line     TestPitfall02
//	 3 re-INVITE without an offer       TestPitfall03, TestReinviteWithoutOffer
//	 4 INVITE without an offer          TestPitfall04
//	 5 new address in a re-INVITE       TestPitfall05, media.TestPitfall05NewPortAndCodec
//	 6 re-INVITE of the called side     TestPitfall06
//	 7 no echo of the peer's SDP        TestPitfall07
//	 8 advertised address stays         TestPitfall08
//	 9 version in o=                    TestPitfall09
//	10 order                            TestPitfall10BackToBack, TestPitfall10BackToBackOnTheWire
//	11 CSeq of ACK and CANCEL           TestPitfall11, TestPitfall11AckCountsAsTheInvite
//	12 CANCEL crosses 200               TestPitfall12
//	13 malformed CANCEL                 TestPitfall13
//	14 glare                            TestPitfall14Glare, TestPitfall14SecondInviteWhileOneIsPending, TestRefreshFails, TestAnotherPhoneThanTheOneHeard
//	15 session timer, 422               TestPitfall15IntervalTooSmall
//	16 who refreshes                    TestPitfall16CallerRefreshesOrIsGone, TestPitfall16EachDialogHasItsRefresher, TestWeRefresh, TestCalleeThatShouldRefresh
//	17 several early dialogs            TestPitfall17
//	18 180 with SDP                     TestPitfall18
//	19 early media missed by a browser  TestPitfall19; the browser itself in issue 4
//	20 DTMF clocks                      media.TestPitfall20DigitsBetweenClocks, media.TestPitfall20PayloadTypesOfEachSide; the browser itself in issue 4
//	21 SRTP roll-over and re-keying     TestPitfall21, media.TestPitfall21MovedPhoneBeginsAnew, media.TestRolloverThroughHold, srtp.TestRolloverAtANewKey, srtp.TestRestartAtTheSameKey
//	22 SRTP after 65,535 packets        TestPitfall22, srtp.TestRolloverIsCounted
//	23 crypto lines                     TestPitfall23, srtp.TestCryptoOfTheField, srtp.TestChoosePrefersAES256WhateverTheOrder
//	24 private address in SDP           media.TestPeerBehindNAT, media.TestLatch, media.TestRelatchOnlyAfterSignalling
//	25 injected RTP                     media.TestSweepDuringFiftyCalls, media.TestProbationWantsOneStream
//	26 the connection it came on        TestPitfall26
//	27 large messages over UDP          TestPitfall27, sip.TestPitfall27Fragments
//	28 transfer                         TestPitfall28WeSayWhatWeCan, TestBlindTransferTransferorLeavesEarly, TestBlindTransferIsHeard, TestAttendedTransfer, TestAttendedTransferIsHeard
//	29 addresses of ICE                 media.TestPitfall29OneAdvertisedAddress, sip.TestWebSocketFrames, interop.TestBrowsersHearEachOther
//	30 silence                          TestPitfall30, media.TestPitfall30SilenceIsNotLoss, jitter.TestPausesAreNotLoss, jitter.TestEventsAreNotLoss

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/media"
	"ringfence/internal/ports"
	"ringfence/internal/sip"
	"ringfence/internal/siptest"
	"ringfence/internal/telephony"
)

// behindNAT is a PBX whose media are bound to one address and advertised at
// another.
type behindNAT struct{}

func (behindNAT) Local(netip.Addr) netip.Addr      { return netip.MustParseAddr("127.0.0.1") }
func (behindNAT) Advertised(netip.Addr) netip.Addr { return netip.MustParseAddr("198.51.100.7") }

// realPair is a pair with the real media engine.
func realPair(t *testing.T) (*stack, *phone, *phone) {
	t.Helper()
	row, _ := ports.Lookup(ports.Table(), ports.RTPCore)
	engine := media.New(media.Config{Pools: map[ports.Side]ports.Service{ports.Core: row}, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(engine.Close)
	s, a, b := pair(t, func(c *Config) { c.Media, c.Addresses = Engine(engine), behindNAT{} })
	t.Cleanup(func() { go agree(a); go agree(b) }) // so that closing need not wait
	return s, a, b
}

// agree answers requests until nothing comes any more.
func agree(p *phone) {
	for {
		select {
		case m := <-p.in:
			answerAnything(p, m)
		case <-time.After(time.Second):
			return
		}
	}
}

// describe is a phone's description: version, port and the lines after m=.
func describe(version, port int, lines ...string) string {
	return fmt.Sprintf("v=0\r\no=phone 77 %d IN IP4 192.0.2.50\r\ns=-\r\nc=IN IP4 192.0.2.50\r\nt=0 0\r\nm=audio %d RTP/AVP 0 8\r\n%s", version, port, strings.Join(append(lines, ""), "\r\n"))
}

// direction is that of a description.
func direction(t *testing.T, message string) string {
	t.Helper()
	d, err := siptest.ParseSDP(body(message))
	if err != nil || !d.Addr.IsValid() {
		t.Fatalf("%v in\n%s", err, message)
	}
	return d.Direction
}

// realCall sets a call up with the real engine and returns what both sides were
// told.
func realCall(t *testing.T, a, b *phone) (da, db *dialogue, invite, ok string) {
	t.Helper()
	da = a.dial("102", describe(1, 40000))
	invite = b.want("INVITE")
	b.reply(invite, 200, "b1", describe(1, 40100))
	b.want("ACK")
	ok = a.want("200")
	da.learn(ok)
	da.request(sip.ACK, "")
	return da, b.dialogueOf(invite, "b1"), invite, ok
}

// reoffer sends a re-INVITE and returns what the other side got and what came
// back; answer is sent by the other side.
func reoffer(t *testing.T, d *dialogue, other *phone, offer, answer string) (got, back string) {
	t.Helper()
	d.request(sip.INVITE, offer)
	d.p.want("100")
	got = other.want("INVITE")
	other.reply(got, 200, "", answer)
	other.want("ACK")
	back = d.p.want("200")
	d.request(sip.ACK, "")
	return got, back
}

func TestPitfall01(t *testing.T) {
	t.Parallel()
	_, a, b := realPair(t)
	da, _, _, _ := realCall(t, a, b)
	version := 1
	for _, c := range []struct{ offer, answer, told, back string }{
		{"a=sendonly", "a=recvonly", "sendonly", "recvonly"},
		{"a=sendonly", "", "sendonly", "recvonly"},           // the other phone forgets it
		{"a=inactive", "a=inactive", "sendonly", "inactive"}, // music on hold
		{"a=inactive", "a=sendrecv", "sendonly", "inactive"},
		{"a=sendrecv", "a=sendrecv", "sendrecv", "sendrecv"},
		{"", "", "sendrecv", "sendrecv"},
	} {
		version++
		got, back := reoffer(t, da, b, describe(version, 40000, c.offer), describe(version, 40100, c.answer))
		if direction(t, got) != c.told || direction(t, back) != c.back {
			t.Errorf("%v: the other side is told %s, the holder %s", c, direction(t, got), direction(t, back))
		}
	}
	null := strings.Replace(describe(99, 40000), "c=IN IP4 192.0.2.50", "c=IN IP4 0.0.0.0", 1)
	got, back := reoffer(t, da, b, null, describe(99, 40100))
	if strings.Contains(body(got), "0.0.0.0") || direction(t, got) != "sendonly" || direction(t, back) != "recvonly" {
		t.Errorf("hold in the old way is passed on as\n%s and answered with\n%s", body(got), body(back))
	}
}

func TestPitfall02(t *testing.T) {
	t.Parallel()
	_, a, b := realPair(t)
	da, _, _, _ := realCall(t, a, b)
	for _, end := range []string{"", "\n", "\r\n"} {
		got, back := reoffer(t, da, b, describe(2+len(end), 40000)+"a=sendonly"+end, describe(2+len(end), 40100)+"a=recvonly"+end)
		if direction(t, got) != "sendonly" || direction(t, back) != "recvonly" {
			t.Errorf("with the end %q: %s, %s", end, direction(t, got), direction(t, back))
		}
		dials := strings.Replace(describe(9+len(end), 40000), "0 8", "0 8 97", 1) + "a=rtpmap:97 telephone-event/8000" + end
		if got, _ := reoffer(t, da, b, dials, describe(9+len(end), 40100)); !offered(t, got, 97) {
			t.Errorf("with the end %q the attribute is lost:\n%s", end, body(got))
		}
	}
}

func TestPitfall03(t *testing.T) {
	t.Parallel()
	_, a, b := realPair(t)
	da, _, _, _ := realCall(t, a, b)
	for i, headers := range [][]string{nil, {"Content-Type: application/sdp"}} {
		da.request(sip.INVITE, "", headers...)
		a.want("100")
		re := b.want("INVITE")
		if body(re) != "" {
			t.Error(re)
		}
		b.reply(re, 200, "", describe(2+i, 40102))
		ok := a.want("200")
		if direction(t, ok) != "sendrecv" || strings.Contains(body(ok), "192.0.2.50") {
			t.Error(ok)
		}
		da.request(sip.ACK, describe(2+i, 40000, "a=sendonly"))
		if ack := b.want("ACK"); direction(t, ack) != "sendonly" || strings.Contains(body(ack), "192.0.2.50") {
			t.Error(ack)
		}
	}
}

func TestPitfall04(t *testing.T) {
	t.Parallel()
	_, a, b := realPair(t)
	da := a.dial("102", "")
	invite := b.want("INVITE")
	if body(invite) != "" {
		t.Error(invite)
	}
	b.reply(invite, 180, "b1", "")
	a.want("180")
	b.reply(invite, 200, "b1", describe(1, 40100))
	ok := a.want("200")
	if d, err := siptest.ParseSDP(body(ok)); err != nil || d.Addr.Addr().String() != "198.51.100.7" {
		t.Error(ok)
	}
	da.learn(ok)
	da.request(sip.ACK, describe(1, 40000))
	if ack := b.want("ACK"); direction(t, ack) != "sendrecv" {
		t.Error(ack)
	}
}

// TestPitfall05: the media follow a phone that moves, heard on real sockets.
func TestPitfall05(t *testing.T) {
	t.Parallel()
	row, _ := ports.Lookup(ports.Table(), ports.RTPCore)
	engine := media.New(media.Config{Pools: map[ports.Side]ports.Service{ports.Core: row}, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(engine.Close)
	s := newStack(t, func(c *Config) { c.Media = Engine(engine) })
	server := s.listen()
	ctx := t.Context()
	start := func(user string, tone float64) *siptest.Phone {
		p := siptest.NewPhone(t, siptest.Config{Server: server, User: user, Password: "pw" + user, Domain: "a.test", Tone: tone, AutoAnswer: user == "102"})
		if err := p.Register(ctx); err != nil {
			t.Fatal(err)
		}
		return p
	}
	a, b := start("101", 440), start("102", 880)
	out, err := a.Call(ctx, "102")
	if err != nil {
		t.Fatal(err)
	}
	in, err := b.WaitCall(ctx)
	if err == nil {
		err = out.Wait(ctx, siptest.Answered)
	}
	if err != nil {
		t.Fatal(err)
	}
	before := out.MediaAddr()
	if err := out.ReInvite(ctx, siptest.Offer{Move: true}); err != nil || out.MediaAddr() == before {
		t.Fatalf("moving from %s to %s: %v", before, out.MediaAddr(), err)
	}
	for _, x := range []struct {
		c          *siptest.Call
		hears, not float64
	}{{out, 880, 440}, {in, 440, 880}} {
		x.c.Forget()
		h, err := x.c.Hear(ctx, time.Second)
		if err == nil {
			err = h.Middle(600*time.Millisecond).Only(x.hears, x.not)
		}
		if err != nil {
			t.Error(err)
		}
	}
	if err := out.HangUp(); err != nil {
		t.Error(err)
	}
}

func TestPitfall06(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		_, db := talking(a, b)
		synctest.Wait() // the ACK
		db.request(sip.INVITE, "v=0 new-b")
		b.want("100")
		re := a.want("INVITE sip:101@192.0.2.50:5101")
		if tag(header(re, "To")) != "1012" {
			t.Error(re)
		}
		a.reply(re, 200, "", "v=0 new-a")
		a.want("ACK")
		b.want("200")
		db.request(sip.ACK, "")
		synctest.Wait()
		if n := len(s.svc.Calls(telephony.System)); n != 1 || s.svc.dialogs.Len() != 2 {
			t.Errorf("%d calls, %d legs", n, s.svc.dialogs.Len())
		}
		if len(s.records) != 0 {
			t.Error("something ended")
		}
	})
}

func TestPitfall07(t *testing.T) {
	t.Parallel()
	_, a, b := realPair(t)
	da, db, invite, ok := realCall(t, a, b)
	got, back := reoffer(t, da, b, describe(2, 40000), describe(2, 40100))
	got2, back2 := reoffer(t, db, a, describe(3, 40100), describe(3, 40000))
	for _, m := range []string{invite, ok, got, back, got2, back2} {
		for _, own := range []string{"192.0.2.50", "o=phone", " 40000 ", " 40100 ", " 77 "} {
			if strings.Contains(body(m), own) {
				t.Errorf("a phone's own %q is told to others, or to itself:\n%s", own, body(m))
			}
		}
	}
}

func TestPitfall08(t *testing.T) {
	t.Parallel()
	_, a, b := realPair(t)
	da, db, invite, ok := realCall(t, a, b)
	got, back := reoffer(t, da, b, describe(2, 40000, "a=sendonly"), describe(2, 40100, "a=recvonly"))
	got2, back2 := reoffer(t, db, a, describe(3, 40100), describe(3, 40000))
	ports := map[netip.AddrPort]int{}
	for _, m := range []string{invite, ok, got, back, got2, back2} {
		d, err := siptest.ParseSDP(body(m))
		if err != nil || d.Addr.Addr().String() != "198.51.100.7" || strings.Contains(body(m), "127.0.0.1") {
			t.Errorf("%v:\n%s", err, body(m))
		}
		ports[d.Addr]++
	}
	if len(ports) != 2 {
		t.Errorf("the two sides' addresses changed: %v", ports)
	}
}

func TestPitfall09(t *testing.T) {
	t.Parallel()
	_, a, b := realPair(t)
	da, _, invite, _ := realCall(t, a, b)
	told := func(m string) (session string, version int) {
		d, err := siptest.ParseSDP(body(m))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Sscan(d.Version, &version)
		return d.Session, version
	}
	id, v := told(invite)
	for i, c := range []struct {
		lines string
		more  int
		code  int
	}{{"a=sendonly", 1, 200}, {"a=sendonly", 0, 200}, {"a=sendrecv", 1, 200}, {"a=recvonly", 1, 488}, {"a=sendonly", 1, 200}} {
		da.request(sip.INVITE, describe(i+2, 40000, c.lines))
		a.want("100")
		re := b.want("INVITE")
		b.reply(re, c.code, "", describe(i+2, 40100))
		b.want("ACK")
		back := a.want(fmt.Sprint(c.code))
		if c.code == 200 {
			da.request(sip.ACK, "")
		} else {
			da.refuseAck(back)
		}
		id2, v2 := told(re)
		if id2 != id || v2 != v+c.more {
			t.Errorf("offer %d: session %s version %d after %s %d, want %d more", i, id2, v2, id, v, c.more)
		}
		v = v2
	}
}
