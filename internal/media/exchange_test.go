package media

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"ringfence/internal/ports"
	"ringfence/internal/siptest"
)

// twoLegs is a call with two legs that nobody bridged.
func twoLegs(t *testing.T, first uint16) (a, b *Leg) {
	t.Helper()
	e := testEngine(t, first, first+19, nil)
	c := e.NewCall("exchange")
	return newLeg(t, c, loopback), newLeg(t, c, loopback)
}

func says(version int, connection, direction string, formats ...string) []byte {
	if len(formats) == 0 {
		formats = []string{"0", "8"}
	}
	s := fmt.Sprintf("v=0\r\no=p 9 %d IN IP4 127.0.0.9\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio 9000 RTP/AVP %s\r\n",
		version, connection, strings.Join(formats, " "))
	if direction != "" {
		s += "a=" + direction + "\r\n"
	}
	return []byte(s)
}

func parsed(t *testing.T, body []byte) siptest.Description {
	t.Helper()
	d, err := siptest.ParseSDP(string(body))
	must(t, err)
	return d
}

// RFC 3264 sections 6.1 and 8.4: what the holder says, what the held peer is
// told and answers, what the holder gets.
func TestHoldInEverySpelling(t *testing.T) {
	t.Parallel()
	for i, c := range []struct{ connection, offer, told, answer, want string }{
		{"127.0.0.9", "sendonly", "sendonly", "recvonly", "recvonly"},
		{"127.0.0.9", "inactive", "inactive", "inactive", "inactive"},
		{"127.0.0.9", "recvonly", "recvonly", "sendonly", "sendonly"},
		{"127.0.0.9", "sendrecv", "sendrecv", "sendrecv", "sendrecv"},
		{"127.0.0.9", "", "sendrecv", "", "sendrecv"},
		{"127.0.0.9", "SENDONLY", "sendonly", "recvonly", "recvonly"},
		{"0.0.0.0", "", "sendonly", "recvonly", "recvonly"},
		{"0.0.0.0", "sendrecv", "sendonly", "recvonly", "recvonly"},
		{"0.0.0.0", "sendonly", "sendonly", "recvonly", "recvonly"},
		{"0.0.0.0", "inactive", "inactive", "inactive", "inactive"},
		{"127.0.0.9", "sendonly", "sendonly", "inactive", "inactive"},
		{"127.0.0.9", "sendonly", "sendonly", "sendrecv", "recvonly"}, // a wrong answer is put right
		{"127.0.0.9", "inactive", "inactive", "sendrecv", "inactive"}, //
	} {
		t.Run(fmt.Sprintf("%d %s %s", i, c.connection, c.offer), func(t *testing.T) {
			t.Parallel()
			a, b := twoLegs(t, uint16(20400+20*i))
			must(t, a.SetRemote(says(1, "127.0.0.9", "")))
			exchangeOnce(t, a, b, "sendrecv", "sendrecv", "sendrecv")
			must(t, a.SetRemote(says(2, c.connection, c.offer)))
			exchangeOnce(t, a, b, c.told, c.answer, c.want)
			if since := a.SilentSince(); (c.want != "sendrecv" && c.want != "recvonly") != since.IsZero() {
				t.Errorf("holder silent since %s", since)
			}
			if since := b.SilentSince(); (c.told == "sendonly" || c.told == "inactive") != since.IsZero() {
				t.Errorf("held peer silent since %s", since)
			}
			// Resume.
			must(t, a.SetRemote(says(3, "127.0.0.9", "sendrecv")))
			exchangeOnce(t, a, b, "sendrecv", "sendrecv", "sendrecv")
			if a.SilentSince().IsZero() || b.SilentSince().IsZero() {
				t.Error("after resume nobody is expected to speak")
			}
		})
	}
}

// exchangeOnce carries a's peer's offer to b's peer and the answer back.
func exchangeOnce(t *testing.T, a, b *Leg, told, answer, want string) {
	t.Helper()
	offer, err := b.Offer(a)
	must(t, err)
	if d := parsed(t, offer); d.Direction != told || d.Addr != b.RTP() {
		t.Errorf("b's peer is told %s at %s, want %s at %s", d.Direction, d.Addr, told, b.RTP())
	}
	must(t, b.SetRemote(says(1, "127.0.0.9", answer)))
	got, err := a.Answer(b)
	must(t, err)
	if d := parsed(t, got); d.Direction != want || d.Addr != a.RTP() {
		t.Errorf("a's peer is answered %s at %s, want %s at %s", d.Direction, d.Addr, want, a.RTP())
	}
}

// A holder that asks for a new offer (re-INVITE without SDP) may end its hold
// with it: the other's "recvonly" was only the answer to the hold.
func TestOfferToHolderLetsItResume(t *testing.T) {
	t.Parallel()
	a, b := twoLegs(t, 20700)
	must(t, a.SetRemote(says(1, "127.0.0.9", "")))
	exchangeOnce(t, a, b, "sendrecv", "sendrecv", "sendrecv")
	must(t, a.SetRemote(says(2, "127.0.0.9", "sendonly")))
	exchangeOnce(t, a, b, "sendonly", "recvonly", "recvonly")
	offer, err := a.Offer(b)
	must(t, err)
	if d := parsed(t, offer); d.Direction != "sendrecv" {
		t.Errorf("the holder is offered %s", d.Direction)
	}
	must(t, a.SetRemote(says(3, "127.0.0.9", "sendrecv")))
	// When b's peer holds itself, the holder is offered no more than that.
	must(t, b.SetRemote(says(2, "127.0.0.9", "sendonly")))
	offer, err = a.Offer(b)
	must(t, err)
	if d := parsed(t, offer); d.Direction != "sendonly" {
		t.Errorf("with b's peer on hold a's is offered %s", d.Direction)
	}
}

// RFC 3264 section 8: same session id, version + 1 when and only when the
// description changed, also after a refusal.
func TestVersions(t *testing.T) {
	t.Parallel()
	a, b := twoLegs(t, 20720)
	must(t, a.SetRemote(says(1, "127.0.0.9", "")))
	first, err := b.Offer(a)
	must(t, err)
	again, err := b.Offer(a)
	must(t, err)
	if string(first) != string(again) {
		t.Error("the same offer is written differently")
	}
	must(t, b.SetRemote(says(1, "127.0.0.9", "")))
	_, err = a.Answer(b)
	must(t, err)
	id := parsed(t, first).Session
	expect := func(body []byte, version string) {
		t.Helper()
		if d := parsed(t, body); d.Session != id || d.Version != version {
			t.Errorf("o= has %s %s, want %s %s", d.Session, d.Version, id, version)
		}
	}
	expect(first, "1")
	must(t, a.SetRemote(says(2, "127.0.0.9", "sendonly")))
	hold, err := b.Offer(a)
	must(t, err)
	expect(hold, "2")
	// b's peer answers 488: both sides stay as they were.
	a.Rollback()
	if a.SilentSince().IsZero() || b.SilentSince().IsZero() {
		t.Error("after a refused hold nobody is expected to speak")
	}
	back, err := b.Offer(a)
	must(t, err)
	expect(back, "3")
	if d := parsed(t, back); d.Direction != "sendrecv" {
		t.Errorf("after the refusal the offer is %s", d.Direction)
	}
	must(t, b.SetRemote(says(2, "127.0.0.9", "")))
	x, err := a.Answer(b)
	must(t, err)
	y, err := a.Answer(b)
	must(t, err)
	if string(x) != string(y) {
		t.Error("183 and 200 carry different answers")
	}
	if parsed(t, x).Session == id {
		t.Error("two legs share a session id")
	}
}

func TestLateOffer(t *testing.T) {
	t.Parallel()
	a, b := twoLegs(t, 20740)
	offer, err := b.Offer(nil)
	must(t, err)
	d := parsed(t, offer)
	if fmt.Sprint(d.Payloads) != "[8 0 9 107 101 110]" || d.Direction != "sendrecv" || d.Addr != b.RTP() {
		t.Errorf("our own offer is\n%s", offer)
	}
	if _, err := a.Offer(b); !errors.Is(err, ErrNoDescription) {
		t.Errorf("offer out of nothing: %v", err)
	}
	if _, err := a.Answer(b); !errors.Is(err, ErrNoDescription) {
		t.Errorf("answer out of nothing: %v", err)
	}
	if b.HasRemote() {
		t.Error("b's peer has described nothing")
	}
	must(t, b.SetRemote(says(1, "127.0.0.9", "", "8", "101")))
	offer, err = a.Offer(b) // in the 200; 101 has no rtpmap and falls out
	must(t, err)
	if d := parsed(t, offer); fmt.Sprint(d.Payloads) != "[8 0 9 107 101 110]" {
		t.Errorf("offer in 200 has %v", d.Payloads)
	}
	must(t, a.SetRemote(says(1, "127.0.0.9", "", "8"))) // in the ACK
}

func TestOwnAnswer(t *testing.T) {
	t.Parallel()
	a, _ := twoLegs(t, 20760)
	must(t, a.SetRemote(append(says(1, "127.0.0.9", "sendonly", "18", "96", "8", "97"),
		"a=rtpmap:96 opus/48000/2\r\na=rtpmap:97 telephone-event/8000\r\nm=video 9002 RTP/AVP 34\r\n"...)))
	body, err := a.Answer(nil)
	must(t, err)
	d := parsed(t, body)
	if fmt.Sprint(d.Payloads) != "[96 8 97]" || d.Direction != "recvonly" || d.Lines != 2 || !strings.Contains(string(body), "m=video 0 ") {
		t.Errorf("our own answer is\n%s", body)
	}
}

func TestNotAcceptable(t *testing.T) {
	t.Parallel()
	head := "v=0\r\no=- 1 1 IN IP4 127.0.0.9\r\ns=-\r\nc=IN IP4 127.0.0.9\r\nt=0 0\r\n"
	a, b := twoLegs(t, 20780)
	for name, body := range map[string]string{
		"empty":               "",
		"not SDP":             "<xml/>",
		"no media":            head,
		"only encrypted":      head + "m=audio 9000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n",
		"browser":             head + "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=fingerprint:sha-256 00\r\n",
		"audio refused":       head + "m=audio 0 RTP/AVP 0\r\n",
		"no known format":     head + "m=audio 9000 RTP/AVP 97 98\r\n",
		"no format":           head + "m=audio 9000 RTP/AVP\r\n",
		"fax over TCP":        head + "m=image 9000 tcp t38\r\n",
		"port too high":       head + "m=audio 70000 RTP/AVP 0\r\n",
		"port negative":       head + "m=audio -2 RTP/AVP 0\r\n",
		"truncated m=":        head + "m=audio 9000\r\n",
		"17 media":            head + strings.Repeat("m=audio 9000 RTP/AVP 0\r\n", 17),
		"too long":            head + "m=audio 9000 RTP/AVP 0\r\n" + strings.Repeat("a=x:0123456789\r\n", 3000),
		"no version first":    strings.TrimPrefix(head, "v=0\r\n") + "m=audio 9000 RTP/AVP 0\r\n",
		"multicast":           strings.ReplaceAll(head, "c=IN IP4 127.0.0.9", "c=IN IP4 224.1.2.3/127") + "m=audio 9000 RTP/AVP 0\r\n",
		"multicast 6":         strings.ReplaceAll(head, "c=IN IP4 127.0.0.9", "c=IN IP6 ff15::101") + "m=audio 9000 RTP/AVP 0\r\n",
		"broadcast":           strings.ReplaceAll(head, "c=IN IP4 127.0.0.9", "c=IN IP4 255.255.255.255") + "m=audio 9000 RTP/AVP 0\r\n",
		"our own port":        strings.ReplaceAll(head, "127.0.0.9", "127.0.0.1") + fmt.Sprintf("m=audio %d RTP/AVP 0\r\n", b.RTP().Port()),
		"itself":              strings.ReplaceAll(head, "127.0.0.9", "127.0.0.1") + fmt.Sprintf("m=audio %d RTP/AVP 0\r\n", a.RTP().Port()),
		"our own RTCP port":   strings.ReplaceAll(head, "127.0.0.9", "127.0.0.1") + fmt.Sprintf("m=audio %d RTP/AVP 0\r\n", b.RTP().Port()+1),
		"our port for RTCP":   strings.ReplaceAll(head, "127.0.0.9", "127.0.0.1") + fmt.Sprintf("m=audio 9000 RTP/AVP 0\r\na=rtcp:%d\r\n", b.RTP().Port()),
		"our port for video":  strings.ReplaceAll(head, "127.0.0.9", "127.0.0.1") + fmt.Sprintf("m=audio 9000 RTP/AVP 0\r\nm=video %d RTP/AVP 34\r\n", b.RTP().Port()),
		"our port, IPv6 form": strings.ReplaceAll(head, "c=IN IP4 127.0.0.9", "c=IN IP6 ::ffff:127.0.0.1") + fmt.Sprintf("m=audio %d RTP/AVP 0\r\n", b.RTP().Port()),
	} {
		if err := a.SetRemote([]byte(body)); !errors.Is(err, ErrNotAcceptable) {
			t.Errorf("%s: %v", name, err)
		}
		if a.HasRemote() {
			t.Fatalf("%s: it was kept", name)
		}
	}
	must(t, a.SetRemote(says(1, "127.0.0.9", "", "0")))
	must(t, b.SetRemote(says(1, "127.0.0.9", "", "18"))) // G.729, which is not converted
	if _, err := a.Answer(b); !errors.Is(err, ErrNotAcceptable) {
		t.Errorf("no common codec: %v", err)
	}
}

// Answers keep number and order of the offer's lines, and later offers those
// of the session, whichever side makes them.
func TestLinesKeepTheirPlaces(t *testing.T) {
	t.Parallel()
	a, b := twoLegs(t, 20800)
	offer := "v=0\r\no=- 1 1 IN IP4 127.0.0.9\r\ns=-\r\nc=IN IP4 127.0.0.9\r\nt=0 0\r\n" +
		"m=video 9002 RTP/AVP 34\r\nm=application 9004 UDP/BFCP *\r\nm=audio 9000 RTP/AVP 0\r\nm=audio 9006 RTP/AVP 0\r\n"
	must(t, a.SetRemote([]byte(offer)))
	toB, err := b.Offer(a)
	must(t, err)
	lines := func(body []byte) string {
		var s []string
		for _, m := range regexp.MustCompile(`(?m)^m=(\w+) (\d+)`).FindAllStringSubmatch(string(body), -1) {
			if m[2] == "0" {
				s = append(s, m[1]+"-")
			} else {
				s = append(s, m[1])
			}
		}
		return strings.Join(s, " ")
	}
	if got := lines(toB); got != "audio video" {
		t.Errorf("b's peer is offered %q", got)
	}
	must(t, b.SetRemote([]byte("v=0\r\no=- 1 1 IN IP4 127.0.0.9\r\ns=-\r\nc=IN IP4 127.0.0.9\r\nt=0 0\r\nm=audio 9100 RTP/AVP 0\r\nm=video 9102 RTP/AVP 34\r\n")))
	toA, err := a.Answer(b)
	must(t, err)
	if got := lines(toA); got != "video application- audio audio-" {
		t.Errorf("a's peer is answered %q", got)
	}
	// b's peer drops video in an offer of its own.
	must(t, b.SetRemote([]byte("v=0\r\no=- 1 2 IN IP4 127.0.0.9\r\ns=-\r\nc=IN IP4 127.0.0.9\r\nt=0 0\r\nm=audio 9100 RTP/AVP 0\r\nm=video 0 RTP/AVP 34\r\n")))
	toA, err = a.Offer(b)
	must(t, err)
	if got := lines(toA); got != "video- application- audio audio-" {
		t.Errorf("a's peer is offered %q", got)
	}
	must(t, a.SetRemote([]byte(strings.Replace(offer, "9002", "0", 1))))
	toB, err = b.Answer(a)
	must(t, err)
	if got := lines(toB); got != "audio video-" {
		t.Errorf("b's peer is answered %q", got)
	}
}

func TestVideoTakesPortsOnlyWhenOffered(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 20820, 20839, nil)
	c := e.NewCall("video")
	a, b := newLeg(t, c, loopback), newLeg(t, c, loopback)
	sdp := append(says(1, "127.0.0.9", "", "0"), "m=video 9002 RTP/AVP 34\r\n"...)
	must(t, a.SetRemote(sdp))
	if n := e.Stats().Held[ports.Core]; n != 2 {
		t.Errorf("%d pairs before video is relayed", n)
	}
	_, err := b.Offer(a)
	must(t, err)
	must(t, b.SetRemote(sdp))
	_, err = a.Answer(b)
	must(t, err)
	if n := e.Stats().Held[ports.Core]; n != 4 {
		t.Errorf("%d pairs with video", n)
	}
	a.Close()
	b.Close()
	if n := e.Stats().Held[ports.Core]; n != 0 {
		t.Errorf("%d pairs after the end", n)
	}
	if err := a.SetRemote(sdp); !errors.Is(err, ErrClosed) {
		t.Errorf("closed leg: %v", err)
	}
	if _, err := a.Offer(nil); !errors.Is(err, ErrClosed) {
		t.Errorf("closed leg: %v", err)
	}
}

// P09, P10: every port in an SDP lies in its side's range, even for RTP.
func TestEveryPortIsInItsRange(t *testing.T) {
	t.Parallel()
	pools := map[ports.Side]ports.Service{}
	for _, s := range ports.Table() {
		if s.Wrap == ports.RTP {
			pools[s.Side] = s
		}
	}
	e := testEngine(t, 0, 0, func(c *Config) { c.Pools = pools })
	want := map[ports.Side][2]uint16{ports.Core: {45000, 64999}, ports.Edge: {25000, 34999}}
	seen := map[netip.AddrPort]bool{}
	c := e.NewCall("range")
	for range maxLegs / 2 {
		for side, r := range want {
			l, err := c.NewLeg(context.Background(), LegParams{Side: side, Local: loopback})
			must(t, err)
			body, err := l.Offer(nil)
			must(t, err)
			d := parsed(t, body)
			if p := d.Addr.Port(); p < r[0] || p >= r[1] || p%2 != 0 || seen[d.Addr] {
				t.Errorf("%s: port %d", side, p)
			}
			seen[d.Addr] = true
		}
	}
	for side, n := range map[ports.Side]int{ports.Core: 10_000, ports.Edge: 5_000} {
		s := e.Stats()
		if got := s.Held[side] + s.Free[side]; got != n {
			t.Errorf("%s has %d pairs, want %d", side, got, n)
		}
	}
}

// What can be relayed is not converted, whatever the favourite of a peer is: the
// codecs that we would have to convert are offered to peers that refused to do
// without them, and to those that listed none of the other side's before.
func TestPeersAreSparedWhatMustBeConverted(t *testing.T) {
	t.Parallel()
	const events8, events48, opus = "a=rtpmap:101 telephone-event/8000\r\n", "a=rtpmap:110 telephone-event/48000\r\n", "a=rtpmap:96 opus/48000/2\r\n"
	for i, c := range []struct {
		name          string
		caller, maps  string
		known         string // what b's peer said before
		spare, spared bool
		want          string
	}{
		{"all", "0 101", events8, "", false, false, "0 101 8 9 107 110"},
		{"spared", "0 101", events8, "", true, true, "0 101 8"},
		{"spared, both laws", "8 0", "", "", true, true, "8 0 101"},
		{"a browser", "96 110", opus + events48, "", true, true, "96 110 8 0 101"},
		{"nothing left out", "9 96 0 8", opus, "", true, false, "9 96 0 8 101 110"},
		{"nothing to convert", "18", "", "", true, false, "18"},
		{"listed", "0 101", events8, "0 8 9", true, false, "0 101 8"},
		{"listed another law", "0", "", "8", true, false, "0 8 101"},
		{"listed a better one", "9", "", "9", true, false, "9 101"},
		{"listed another codec", "0", "", "9", false, false, "0 8 9 107 101 110"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a, b := twoLegs(t, uint16(21400+20*i))
			if c.spare {
				b.Spare()
			}
			if c.known != "" {
				_, err := b.Offer(nil)
				must(t, err)
				must(t, b.SetRemote(says(1, "127.0.0.9", "", strings.Fields(c.known)...)))
			}
			must(t, a.SetRemote(append(says(1, "127.0.0.9", "", strings.Fields(c.caller)...), c.maps...)))
			offer, err := b.Offer(a)
			must(t, err)
			if got := strings.Trim(fmt.Sprint(parsed(t, offer).Payloads), "[]"); got != c.want || b.Spared() != c.spared {
				t.Errorf("offered %s, spared %v; want %s, %v", got, b.Spared(), c.want, c.spared)
			}
		})
	}
}

func TestBrowsersAreNotSpared(t *testing.T) {
	t.Parallel()
	_, a, b := webLegs(t, 21660, nil)
	a.Spare()
	must(t, b.SetRemote(says(1, "127.0.0.1", "")))
	offer, err := a.Offer(b)
	must(t, err)
	if a.Spared() || !strings.Contains(string(offer), " opus/48000/2\r\n") {
		t.Errorf("offered\n%s", offer)
	}
}
