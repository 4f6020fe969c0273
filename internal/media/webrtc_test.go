package media

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"ringfence/internal/media/dtls"
	"ringfence/internal/media/ice"
	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// webLegs is a call whose first leg's peer is a browser.
func webLegs(t *testing.T, first uint16, change func(*LegParams)) (*Call, *Leg, *Leg) {
	t.Helper()
	e := testEngine(t, first, first+39, nil)
	call := e.NewCall("web")
	t.Cleanup(call.Close)
	p := LegParams{Side: ports.Core, Local: loopback, Browser: true}
	if change != nil {
		change(&p)
	}
	a, err := call.NewLeg(context.Background(), p)
	must(t, err)
	b, err := call.NewLeg(context.Background(), LegParams{Side: ports.Core, Local: loopback})
	must(t, err)
	call.Bridge(a, b)
	return call, a, b
}

// bothHear has a page and a plain phone hear each other.
func bothHear(t *testing.T, p *page, s *speaker, legA, legB *Leg) {
	t.Helper()
	word := fmt.Sprintf("word %d", time.Now().UnixNano())
	for range 100 {
		s.say(legB.RTP(), word, 1)
		p.say(word, 1)
		time.Sleep(5 * time.Millisecond)
		if s.heard(word) > 0 && p.heard(word) > 0 {
			return
		}
	}
	t.Fatalf("the phone heard %d, the browser %d", s.heard(word), p.heard(word))
}

// A browser calls a phone with plain RTP, and the other way round: ICE, DTLS
// with AES-256 in GCM, sound both ways.
func TestBrowserAndPhoneHearEachOther(t *testing.T) {
	t.Parallel()
	for i, called := range []bool{false, true} {
		for j, setup := range []dtls.Setup{dtls.Active, dtls.Passive} {
			if !called && j > 0 {
				continue
			}
			t.Run(fmt.Sprintf("called %v, %s", called, setup), func(t *testing.T) {
				t.Parallel()
				_, a, b := webLegs(t, uint16(23000+40*(2*i+j)), nil)
				p, s := newPage(t, "127.0.0.1"), newSpeaker(t)
				if called {
					must(t, b.SetRemote(s.describe("RTP/AVP")))
					offer, err := a.Offer(b)
					must(t, err)
					must(t, a.SetRemote(p.answer(offer, setup)))
					_, err = b.Answer(a)
					must(t, err)
				} else {
					must(t, a.SetRemote(p.describe(dtls.Actpass)))
					_, err := b.Offer(a)
					must(t, err)
					must(t, b.SetRemote(s.describe("RTP/AVP")))
					answer, err := a.Answer(b)
					must(t, err)
					for _, want := range []string{"a=setup:passive\r\n", "a=mid:a0\r\n", "a=group:BUNDLE a0\r\n", "a=rtcp-mux\r\n", "m=audio " + fmt.Sprint(a.RTP().Port()) + " UDP/TLS/RTP/SAVPF 0\r\n"} {
						if !strings.Contains(string(answer), want) {
							t.Errorf("no %q in\n%s", want, answer)
						}
					}
					p.connect(answer)
				}
				p.secured()
				if p.profile != dtls.AEADAES256GCM {
					t.Errorf("profile is %v", p.profile)
				}
				bothHear(t, p, s, a, b)
				if p.plain > 0 {
					t.Errorf("%d packets came to the browser that were not protected for it", p.plain)
				}
			})
		}
	}
}

// Pitfall 29: behind a NAT that maps one to one there is one candidate, of type
// host, with the public address, and no other address.
func TestPitfall29OneAdvertisedAddress(t *testing.T) {
	t.Parallel()
	_, a, b := webLegs(t, 23160, func(p *LegParams) { p.Advertised = netip.MustParseAddr("198.51.100.7") })
	p, s := newPage(t, "127.0.0.1"), newSpeaker(t)
	must(t, b.SetRemote(s.describe("RTP/AVP")))
	offer, err := a.Offer(b)
	must(t, err)
	must(t, a.SetRemote(p.answer(offer, dtls.Active)))
	p.secured()
	again, err := a.Offer(b)
	must(t, err)
	for _, text := range []string{string(offer), string(again)} {
		candidates := regexp.MustCompile(`(?m)^a=candidate:.*$`).FindAllString(text, -1)
		want := fmt.Sprintf("a=candidate:1 1 udp 2130706431 198.51.100.7 %d typ host\r", a.RTP().Port())
		if len(candidates) != 1 || candidates[0] != want {
			t.Errorf("candidates %q, want one %q", candidates, want)
		}
		for _, addr := range regexp.MustCompile(`[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+|[0-9a-f]*::[0-9a-f:]*`).FindAllString(text, -1) {
			if addr != "198.51.100.7" {
				t.Errorf("address %s in\n%s", addr, text)
			}
		}
		if strings.Count(text, "a=ice-lite\r\n") != 1 {
			t.Errorf("not lite:\n%s", text)
		}
	}
}

// A re-INVITE keeps the association; new credentials move the pair and keep the
// keys; another certificate makes new ones.
func TestReinviteKeepsTheAssociation(t *testing.T) {
	t.Parallel()
	_, a, b := webLegs(t, 23200, nil)
	p, s := newPage(t, "127.0.0.1"), newSpeaker(t)
	must(t, a.SetRemote(p.describe(dtls.Actpass)))
	_, err := b.Offer(a)
	must(t, err)
	must(t, b.SetRemote(s.describe("RTP/AVP")))
	first, err := a.Answer(b)
	must(t, err)
	p.connect(first)
	p.secured()
	bothHear(t, p, s, a, b)
	tr := a.streams[audio].Load().transport
	number := func() int {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		return tr.keyer.number
	}
	began := number()

	reoffer := func() []byte {
		t.Helper()
		must(t, a.SetRemote(p.describe(dtls.Actpass)))
		_, err := b.Offer(a)
		must(t, err)
		must(t, b.SetRemote(s.describe("RTP/AVP")))
		answer, err := a.Answer(b)
		must(t, err)
		return answer
	}
	if again := reoffer(); !bytes.Equal(body(again), body(first)) {
		t.Errorf("the answer to the same offer is\n%safter\n%s", again, first)
	}
	bothHear(t, p, s, a, b)

	p.ice = ice.NewCredentials() // ICE restarts
	restarted := reoffer()
	bothHear(t, p, s, a, b) // over the old pair
	if bytes.Contains(restarted, []byte(p.remote.Pwd)) {
		t.Error("our credentials stayed the same in a restart")
	}
	p.checked = false
	p.connect(restarted)
	bothHear(t, p, s, a, b)
	if number() != began {
		t.Errorf("association %d followed %d", number(), began)
	}

	ours, err := a.Offer(b) // our own re-INVITE
	must(t, err)
	if !bytes.Contains(ours, []byte("a=setup:actpass")) || !bytes.Contains(ours, []byte(p.remote.Pwd)) {
		t.Errorf("our offer within the session is\n%s", ours)
	}
	must(t, a.SetRemote(p.answer(ours, dtls.Active)))
	bothHear(t, p, s, a, b)
	if number() != began {
		t.Errorf("association %d followed %d", number(), began)
	}

	p.cert, err = dtls.NewCertificate() // another device took the call over
	must(t, err)
	p.mu.Lock()
	old := p.assoc
	p.assoc = nil
	p.mu.Unlock()
	p.connect(reoffer())
	p.secured()
	bothHear(t, p, s, a, b)
	if number() == began {
		t.Error("another certificate made no new association")
	}
	old.Close()
	<-old.Ended()
}

// body is a description without its first lines, which hold the version.
func body(sdp []byte) []byte { return sdp[bytes.Index(sdp, []byte("s=-")):] }

// A phone with DTLS-SRTP and without ICE, over SAVP, and as what it may do
// beside plain RTP (RFC 8643).
func TestPhoneWithDTLSAndWithoutICE(t *testing.T) {
	t.Parallel()
	for i, proto := range []string{"UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF", "RTP/AVP", "RTP/SAVP"} {
		for j, setup := range []dtls.Setup{dtls.Actpass, dtls.Active, dtls.Passive} {
			t.Run(proto+" "+string(setup), func(t *testing.T) {
				t.Parallel()
				_, a, b := webLegs(t, uint16(23240+120*i+40*j), func(p *LegParams) { p.Browser = false })
				p, s := newPage(t, "127.0.0.1"), newSpeaker(t)
				p.noICE, p.proto = true, proto
				must(t, a.SetRemote(p.describe(setup)))
				_, err := b.Offer(a)
				must(t, err)
				must(t, b.SetRemote(s.describe("RTP/AVP")))
				answer, err := a.Answer(b)
				must(t, err)
				if bytes.Contains(answer, []byte("a=ice")) || bytes.Contains(answer, []byte("candidate")) {
					t.Errorf("ICE in the answer to a peer without:\n%s", answer)
				}
				p.connect(answer)
				p.secured()
				bothHear(t, p, s, a, b)
			})
		}
	}
}

// Our offer in plain RTP names our certificate too; a peer that answers with its
// own speaks SRTP.
func TestFingerprintBesideCryptoInOurOffer(t *testing.T) {
	t.Parallel()
	_, a, b := webLegs(t, 23720, func(p *LegParams) { p.Browser = false })
	p, s := newPage(t, "127.0.0.1"), newSpeaker(t)
	p.noICE, p.proto = true, "RTP/AVP"
	must(t, b.SetRemote(s.describe("RTP/AVP")))
	offer, err := a.Offer(b)
	must(t, err)
	if !bytes.Contains(offer, []byte("m=audio "+fmt.Sprint(a.RTP().Port())+" RTP/AVP ")) || !bytes.Contains(offer, []byte("a=crypto:1 ")) || !bytes.Contains(offer, []byte("a=setup:actpass")) {
		t.Errorf("offer is\n%s", offer)
	}
	must(t, a.SetRemote(p.answer(offer, dtls.Active)))
	p.secured()
	bothHear(t, p, s, a, b)
}

// A peer whose hello is faster than its answer need not say hello again; there
// are phones that do so after a second.
func TestHelloBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	for i, ice := range []bool{false, true} {
		_, a, b := webLegs(t, 26000+uint16(40*i), func(p *LegParams) { p.Browser = ice })
		p, s := newPage(t, "127.0.0.1"), newSpeaker(t)
		p.noICE, p.patient = !ice, true
		must(t, b.SetRemote(s.describe("RTP/AVP")))
		offer, err := a.Offer(b)
		must(t, err)
		tr := a.streams[audio].Load().transport
		stranger := newPage(t, "127.0.0.2")
		hello := append([]byte{22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1}, make([]byte, 60)...)
		for range 20 {
			_, err = stranger.conn.WriteToUDPAddrPort(hello, a.RTP())
			must(t, err)
		}
		answer := p.answer(offer, dtls.Active)
		eventually(t, "the hello is there", func() bool {
			tr.mu.Lock()
			defer tr.mu.Unlock()
			return len(tr.keyer.early) == 2
		})
		must(t, a.SetRemote(answer))
		p.secured()
		bothHear(t, p, s, a, b)
		tr.mu.Lock()
		if tr.keyer.early != nil || tr.refused.strangers == 0 {
			t.Errorf("%d hellos are kept, %d came from strangers", len(tr.keyer.early), tr.refused.strangers)
		}
		tr.mu.Unlock()
	}
}

// Who must be protected by 256 bits makes no other keys, and without them there
// is no sound.
func TestRequire256RefusesSmallerKeys(t *testing.T) {
	t.Parallel()
	_, a, b := webLegs(t, 23760, func(p *LegParams) { p.Security = telephony.SecurityRequire256 })
	p, s := newPage(t, "127.0.0.1"), newSpeaker(t)
	p.only256 = true
	must(t, b.SetRemote(s.describe("RTP/AVP")))
	offer, err := a.Offer(b)
	must(t, err)
	must(t, a.SetRemote(p.answer(offer, dtls.Active)))
	p.secured()
	bothHear(t, p, s, a, b)
	tr := a.streams[audio].Load().transport
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if !tr.keyer.agreed.only256 {
		t.Error("smaller keys would be taken")
	}
}

// Nothing of a browser's call is accepted or sent before the keys, and nothing
// from anywhere but the pair it nominated.
func TestNothingPassesWithoutKeys(t *testing.T) {
	t.Parallel()
	_, a, b := webLegs(t, 23800, nil)
	p, s := newPage(t, "127.0.0.1"), newSpeaker(t)
	must(t, a.SetRemote(p.describe(dtls.Actpass)))
	_, err := b.Offer(a)
	must(t, err)
	must(t, b.SetRemote(s.describe("RTP/AVP")))
	answer, err := a.Answer(b)
	must(t, err)
	p.to = a.RTP()
	plain := append((&peer{ssrc: 5}).packet(0), "in the clear"...)
	send := func(conn *net.UDPConn) {
		for range 20 {
			_, err := conn.WriteToUDPAddrPort(plain, a.RTP())
			must(t, err)
		}
	}
	send(p.conn)
	s.say(b.RTP(), "to the browser", 20)
	time.Sleep(50 * time.Millisecond)
	if len(s.got) > 0 || p.plain > 0 {
		t.Fatalf("before the keys the phone heard %d packets and the browser %d", len(s.got), p.plain)
	}
	p.connect(answer)
	p.secured()
	bothHear(t, p, s, a, b)
	send(p.conn)
	other := newPage(t, "127.0.0.4")
	send(other.conn)
	time.Sleep(50 * time.Millisecond)
	if s.heard("in the clear") > 0 || strings.Contains(fmt.Sprint(s.got), "in the clear") {
		t.Error("media in the clear passed")
	}
	if other.plain > 0 {
		t.Error("a stranger was answered")
	}
}

// A third address sends 200 ClientHellos and checks while calls are set up
// (CVE-2023-51443): every call completes, and it gets no answer.
func TestHellosOfAThirdAddressEndNoCall(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 23840, 23999, nil)
	attacker := newPage(t, "127.0.0.66")
	hello := clientHello()
	for n := range 20 {
		call := e.NewCall(telephony.CallID(fmt.Sprint("attacked ", n)))
		a, err := call.NewLeg(context.Background(), LegParams{Side: ports.Core, Local: loopback, Browser: n%2 == 0})
		must(t, err)
		b, err := call.NewLeg(context.Background(), LegParams{Side: ports.Core, Local: loopback})
		must(t, err)
		call.Bridge(a, b)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := 0; i < 200; i++ {
				_, _ = attacker.conn.WriteToUDPAddrPort(hello, a.RTP())
				attacker.to = a.RTP()
				attacker.check(attacker.conn, "abcd", ice.NewCredentials())
				_, _ = attacker.conn.WriteToUDPAddrPort([]byte{21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, byte(i), 0, 2, 2, 40}, a.RTP())
				if i%20 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
			close(stop)
		})
		p, s := newPage(t, "127.0.0.1"), newSpeaker(t)
		p.noICE = n%2 == 1
		must(t, a.SetRemote(p.describe(dtls.Actpass)))
		_, err = b.Offer(a)
		must(t, err)
		must(t, b.SetRemote(s.describe("RTP/AVP")))
		answer, err := a.Answer(b)
		must(t, err)
		p.connect(answer)
		p.secured()
		<-stop
		bothHear(t, p, s, a, b)
		wg.Wait()
		call.Close()
	}
	time.Sleep(50 * time.Millisecond)
	attacker.mu.Lock()
	defer attacker.mu.Unlock()
	if attacker.plain > 0 || attacker.checked || len(attacker.got) > 0 {
		t.Errorf("the attacker was answered: %d packets, check answered %v", attacker.plain, attacker.checked)
	}
}

// clientHello is one of DTLS 1.2 that offers no encryption (TLS_NULL_WITH_NULL_NULL).
func clientHello() []byte {
	body := append([]byte{0xfe, 0xfd}, make([]byte, 32)...)
	body = append(body, 0, 0, 0, 2, 0, 0, 1, 0) // no session, no cookie, the suite, no compression
	n := byte(len(body))
	hello := append([]byte{1, 0, 0, n, 0, 0, 0, 0, 0, 0, 0, n}, body...)
	return append([]byte{22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, byte(len(hello))}, hello...)
}

// Audio and video of a browser share one port, told apart by payload types.
func TestBundleSharesOneTransport(t *testing.T) {
	t.Parallel()
	_, a, b := webLegs(t, 24000, nil)
	p := newPage(t, "127.0.0.1")
	video := []string{"m=video 0 UDP/TLS/RTP/SAVPF 96", "c=IN IP4 0.0.0.0", "a=bundle-only", "a=mid:v1", "a=rtpmap:96 VP8/90000",
		"a=fingerprint:" + p.cert.Fingerprint().String(), "a=setup:actpass", "a=rtcp-mux", "a=ice-ufrag:" + p.ice.Ufrag, "a=ice-pwd:" + p.ice.Pwd}
	offer := bytes.Replace(p.describe(dtls.Actpass, video...), []byte("BUNDLE a0"), []byte("BUNDLE a0 v1"), 1)
	must(t, a.SetRemote(offer))
	far, err := b.Offer(a)
	must(t, err)
	if d := string(far); !strings.Contains(d, "m=video ") || strings.Contains(d, "m=video 0 ") {
		t.Fatalf("video is not offered on:\n%s", far)
	}
	s, v := newSpeaker(t), newSpeaker(t)
	must(t, b.SetRemote([]byte(string(s.describe("RTP/AVP"))+fmt.Sprintf("m=video %d RTP/AVPF 96\r\na=rtpmap:96 VP8/90000\r\n", v.conn.LocalAddr().(*net.UDPAddr).Port))))
	answer, err := a.Answer(b)
	must(t, err)
	for _, want := range []string{"a=group:BUNDLE a0 v1\r\n", fmt.Sprintf("m=video %d UDP/TLS/RTP/SAVPF 96\r\na=mid:v1\r\n", a.RTP().Port())} {
		if !strings.Contains(string(answer), want) {
			t.Errorf("no %q in\n%s", want, answer)
		}
	}
	p.connect(answer)
	p.secured()
	bothHear(t, p, s, a, b)
	p.payload = 96
	deadline := time.Now().Add(2 * time.Second)
	for v.heard("picture") == 0 && time.Now().Before(deadline) {
		p.say("picture", 1)
		time.Sleep(5 * time.Millisecond)
	}
	if v.heard("picture") == 0 || s.heard("picture") > 0 {
		t.Errorf("pictures: %d to the video port, %d to the audio port", v.heard("picture"), s.heard("picture"))
	}
	if held := a.call.engine.Stats().Held[ports.Core]; held != 3 {
		t.Errorf("%d port pairs are held, want one for the browser and two for the phone", held)
	}
	ours, err := a.Offer(b)
	must(t, err)
	if !strings.Contains(string(ours), "a=group:BUNDLE a0 v1\r\n") || !strings.Contains(string(ours), "a=mid:a0\r\n") || strings.Contains(string(ours), "bundle-only") {
		t.Errorf("our offer within the session is\n%s", ours)
	}
}

func TestDescriptionsThatCannotBeSecured(t *testing.T) {
	t.Parallel()
	_, a, _ := webLegs(t, 24040, func(p *LegParams) { p.Browser = false })
	p := newPage(t, "127.0.0.1")
	good := p.describe(dtls.Actpass)
	weak := regexp.MustCompile(`a=fingerprint:sha-256 \S+`).ReplaceAll(good, []byte("a=fingerprint:sha-1 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB"))
	none := regexp.MustCompile(`a=fingerprint:.*\r\n`).ReplaceAll(good, nil)
	for name, sdp := range map[string][]byte{"a weak fingerprint": weak, "no fingerprint": none} {
		if err := a.SetRemote(sdp); err == nil || !strings.Contains(err.Error(), "protected") {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, a.SetRemote(good))
}

// A peer whose handshakes fail is not worth one signature after the other.
func TestFailedHandshakesAreBounded(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 25380, 25389, nil)
	c := e.NewCall("failing")
	l := policedLeg(t, c, telephony.SecurityOffer)
	must(t, l.SetRemote(newSpeaker(t).describe("RTP/AVP")))
	tr := l.streams[audio].Load().transport
	begun := 0
	for range 3 * maxFailures {
		tr.agree(&handshake{role: dtls.Client, remote: []dtls.Fingerprint{e.certificate.Load().Fingerprint()}})
		tr.mu.Lock()
		tr.begin()
		a, n := tr.keyer.association, tr.keyer.number
		tr.mu.Unlock()
		if a == nil {
			break
		}
		begun++
		a.Close()
		tr.established(n, dtls.Keys{}, errors.New("refused"))
	}
	if begun != maxFailures {
		t.Errorf("%d handshakes are begun, not %d", begun, maxFailures)
	}
}

// Who agrees on DTLS and makes no handshake is told from who may still do so, and
// from who is not ready to talk yet.
func TestUnkeyedTellsWhoNeverShookHands(t *testing.T) {
	t.Parallel()
	_, a, b := webLegs(t, 25400, func(p *LegParams) { p.Browser = false })
	p, s := newPage(t, "127.0.0.1"), newSpeaker(t)
	p.noICE = true
	must(t, a.SetRemote(p.describe(dtls.Active)))
	_, err := b.Offer(a)
	must(t, err)
	must(t, b.SetRemote(s.describe("RTP/AVP")))
	answer, err := a.Answer(b)
	must(t, err)
	now := time.Now()
	if err := a.Unkeyed(now.Add(-time.Hour)); err != nil {
		t.Errorf("at once: %v", err)
	}
	tr := a.streams[audio].Load().transport
	tr.mu.Lock()
	tr.keyer.since = now.Add(-2 * dtls.Timeout)
	tr.mu.Unlock()
	if err := a.Unkeyed(now); err != nil {
		t.Errorf("answered just now: %v", err)
	}
	if err := a.Unkeyed(now.Add(-time.Hour)); !errors.Is(err, dtls.ErrTimeout) {
		t.Errorf("after its time: %v", err)
	}
	if err := b.Unkeyed(now.Add(-time.Hour)); err != nil {
		t.Errorf("without DTLS: %v", err)
	}
	p.connect(answer)
	p.secured()
	bothHear(t, p, s, a, b)
	if err := a.Unkeyed(now.Add(-time.Hour)); err != nil {
		t.Errorf("with keys: %v", err)
	}
}

// Without rtcp-mux, reports of a DTLS peer would take an association of their own:
// none are sent, and none are taken.
func TestNoReportsOfDTLSWithoutMux(t *testing.T) {
	t.Parallel()
	_, a, b := webLegs(t, 25440, func(p *LegParams) { p.Browser = false })
	p, s := newPage(t, "127.0.0.1"), newSpeaker(t)
	p.noICE = true
	offer := bytes.Replace(p.describe(dtls.Actpass), []byte("a=rtcp-mux\r\n"), nil, 1)
	must(t, a.SetRemote(bytes.TrimSuffix(offer, []byte("a=rtcp-mux\r\n"))))
	_, err := b.Offer(a)
	must(t, err)
	must(t, b.SetRemote(s.describe("RTP/AVP")))
	answer, err := a.Answer(b)
	must(t, err)
	if bytes.Contains(answer, []byte("rtcp-mux")) {
		t.Errorf("mux in the answer to an offer without:\n%s", answer)
	}
	p.connect(answer)
	p.secured()
	bothHear(t, p, s, a, b)
	tr := a.streams[audio].Load().transport
	if to := tr.outRTCP.Load(); to != nil {
		t.Errorf("reports go to %s", to)
	}
	before := a.Quality().Dropped
	_, err = p.conn.WriteToUDPAddrPort([]byte{0x80, 203, 0, 1, 0, 0, 0, 77}, netip.AddrPortFrom(loopback, a.RTP().Port()+1))
	must(t, err)
	eventually(t, "a report is refused", func() bool { q := a.Quality(); return q.Dropped+q.Malformed > before })
}
