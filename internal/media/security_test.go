package media

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"ringfence/internal/media/srtp"
	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// speaker is a peer that protects its audio, and keeps what it hears.
type speaker struct {
	t    testing.TB
	conn *net.UDPConn
	ours map[srtp.Suite]srtp.Key

	mu   sync.Mutex
	out  *srtp.Outbound
	in   *srtp.Inbound
	got  [][]byte // payloads, in order
	raw  [][]byte // packets as they came
	bad  int      // not authentic
	seq  uint16
	ssrc uint32
}

func newSpeaker(t testing.TB) *speaker {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	s := &speaker{t: t, conn: conn, ours: map[srtp.Suite]srtp.Key{}, ssrc: uint32(conn.LocalAddr().(*net.UDPAddr).Port)}
	for suite := srtp.AES128CM32; suite <= srtp.AES256GCM; suite++ {
		s.ours[suite] = srtp.NewKey(suite)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 2000)
		for {
			n, _, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			s.hear(bytes.Clone(buf[:n]))
		}
	})
	t.Cleanup(func() { conn.Close(); wg.Wait() })
	return s
}

func (s *speaker) hear(p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.raw = append(s.raw, p)
	if s.in != nil {
		var err error
		if p, err = s.in.RTP(p); err != nil {
			s.bad++
			return
		}
	}
	s.got = append(s.got, bytes.Clone(p[12:]))
}

func (s *speaker) heard(payload string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.got {
		if string(p) == payload {
			n++
		}
	}
	return n
}

// describe is its offer, or its answer with one suite; none is in the clear.
func (s *speaker) describe(proto string, suites ...srtp.Suite) []byte {
	var b strings.Builder
	port := s.conn.LocalAddr().(*net.UDPAddr).Port
	fmt.Fprintf(&b, "v=0\r\no=x 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio %d %s 0\r\n", port, proto)
	for i, suite := range suites {
		fmt.Fprintf(&b, "a=crypto:%s\r\n", srtp.Crypto{Tag: i + 1, Key: s.ours[suite]})
	}
	return []byte(b.String())
}

// take reads our description: it answers an offer of ours with the suite given,
// or reads our answer to its own.
func (s *speaker) take(ours []byte, suite srtp.Suite) (answer []byte) {
	s.t.Helper()
	d, err := parseDescription(ours)
	must(s.t, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	m := d.stream(audio)
	s.in, s.out = nil, nil
	if suite == srtp.None {
		return s.describe(m.proto)
	}
	for _, c := range m.cryptos {
		if c.Key.Suite == suite {
			if s.in, err = srtp.NewInbound(c.Key); err == nil {
				s.out, err = srtp.NewOutbound(s.ours[suite])
			}
			must(s.t, err)
			return bytes.Replace(s.describe(m.proto, suite), []byte("crypto:1"), fmt.Appendf(nil, "crypto:%d", c.Tag), 1)
		}
	}
	s.t.Fatalf("%s is not in\n%s", suite, ours)
	return nil
}

func (s *speaker) say(to netip.AddrPort, payload string, n int) {
	s.t.Helper()
	for range n {
		p := make([]byte, 12, 64)
		p[0], p[1] = 0x80, 0
		s.seq++
		binary.BigEndian.PutUint16(p[2:], s.seq)
		binary.BigEndian.PutUint32(p[4:], uint32(s.seq)*160)
		binary.BigEndian.PutUint32(p[8:], s.ssrc)
		p = append(p, payload...)
		s.mu.Lock()
		if s.out != nil {
			var err error
			p, err = s.out.RTP(make([]byte, 0, 128), p)
			must(s.t, err)
		}
		s.mu.Unlock()
		_, err := s.conn.WriteToUDPAddrPort(p, to)
		must(s.t, err)
	}
}

func policedLeg(t testing.TB, c *Call, policy telephony.MediaSecurity) *Leg {
	t.Helper()
	l, err := c.NewLeg(t.Context(), LegParams{Side: ports.Core, Local: loopback, PeerSignalling: loopback, Security: policy})
	must(t, err)
	return l
}

// connect calls b from a; each speaks with the suite given, None is in the clear.
func connect(t *testing.T, c *Call, a, b *speaker, first, second srtp.Suite) (la, lb *Leg) {
	t.Helper()
	la, lb = policedLeg(t, c, telephony.SecurityOffer), policedLeg(t, c, telephony.SecurityOffer)
	proto := "RTP/SAVP"
	var suites []srtp.Suite
	if first == srtp.None {
		proto = "RTP/AVP"
	} else {
		suites = []srtp.Suite{first}
	}
	must(t, la.SetRemote(a.describe(proto, suites...)))
	offer, err := lb.Offer(la)
	must(t, err)
	must(t, lb.SetRemote(b.take(offer, second)))
	answer, err := la.Answer(lb)
	must(t, err)
	a.take(answer, first)
	c.Bridge(la, lb)
	return la, lb
}

// talk has both speak, and be understood.
func talk(t *testing.T, a, b *speaker, la, lb *Leg, what string) {
	t.Helper()
	a.say(la.RTP(), what+" of a", 5)
	b.say(lb.RTP(), what+" of b", 5)
	eventually(t, what+" both ways", func() bool {
		return a.heard(what+" of b") == 5 && b.heard(what+" of a") == 5
	})
}

func TestEverySuiteWithEveryOther(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 25400, 25799, nil)
	for first := srtp.None; first <= srtp.AES256GCM; first++ {
		for _, second := range append(srtp.Offered(), srtp.None) {
			t.Run(fmt.Sprintf("%s to %s", first, second), func(t *testing.T) {
				t.Parallel()
				c := e.NewCall("suites")
				defer c.Close()
				a, b := newSpeaker(t), newSpeaker(t)
				la, lb := connect(t, c, a, b, first, second)
				talk(t, a, b, la, lb, "words")
				for name, s := range map[string]*speaker{"a": a, "b": b} {
					s.mu.Lock()
					defer s.mu.Unlock()
					clear := 0
					for _, p := range s.raw {
						if bytes.Contains(p, []byte("words")) {
							clear++
						}
					}
					if secured := s.in != nil; secured != (clear == 0) {
						t.Errorf("%s got %d of %d packets in the clear", name, clear, len(s.raw))
					}
				}
			})
		}
	}
}

func TestPolicyDecidesWhatIsTaken(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 25200, 25299, nil)
	s := newSpeaker(t)
	const off, offer, require, require256 = telephony.SecurityOff, telephony.SecurityOffer, telephony.SecurityRequire, telephony.SecurityRequire256
	for _, c := range []struct {
		policy telephony.MediaSecurity
		sdp    []byte
		want   string // suite, "clear", or "refused"
	}{
		{offer, s.describe("RTP/AVP"), "clear"},
		{offer, s.describe("RTP/AVP", srtp.AES128CM80), "AES_CM_128_HMAC_SHA1_80"},
		{offer, s.describe("RTP/SAVP", srtp.AES128CM32, srtp.AES256CM80, srtp.AES128GCM), "AES_256_CM_HMAC_SHA1_80"},
		{offer, s.describe("RTP/SAVP"), "refused"},
		{off, s.describe("RTP/AVP", srtp.AES256GCM), "clear"},
		{off, s.describe("RTP/SAVP", srtp.AES256GCM), "refused"},
		{require, s.describe("RTP/AVP"), "refused"},
		{require, s.describe("RTP/AVP", srtp.AES128CM80), "AES_CM_128_HMAC_SHA1_80"},
		{require, s.describe("RTP/SAVPF", srtp.AES128CM32), "AES_CM_128_HMAC_SHA1_32"},
		{require256, s.describe("RTP/SAVP", srtp.AES128CM80, srtp.AES128GCM), "refused"},
		{require256, s.describe("RTP/AVP"), "refused"},
		{require256, s.describe("RTP/SAVP", srtp.AES128CM80, srtp.AES256CM80), "AES_256_CM_HMAC_SHA1_80"},
	} {
		call := e.NewCall("policy")
		l := policedLeg(t, call, c.policy)
		err := l.SetRemote(c.sdp)
		switch {
		case c.want == "refused":
			if !errors.Is(err, ErrInsecure) || !errors.Is(err, ErrNotAcceptable) {
				t.Errorf("%s: %v for\n%s", c.policy, err, c.sdp)
			}
		case err != nil:
			t.Errorf("%s: %v for\n%s", c.policy, err, c.sdp)
		default:
			answer, err := l.Answer(nil)
			must(t, err)
			if suite := l.protected[audio].ours.Suite.String(); suite != c.want && (c.want != "clear" || suite != "") {
				t.Errorf("%s: %q, not %s, for\n%s", c.policy, suite, c.want, c.sdp)
			}
			if n := strings.Count(string(answer), "a=crypto:"); n > 1 || (n == 1) == (c.want == "clear") {
				t.Errorf("%d crypto lines in\n%s", n, answer)
			}
		}
		call.Close()
	}
}

func TestPolicyDecidesWhatIsOffered(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 25300, 25319, nil)
	s := newSpeaker(t)
	for policy, want := range map[telephony.MediaSecurity]struct {
		proto       string
		cryptos     int
		clearAnswer bool
	}{
		telephony.SecurityOff:        {"RTP/AVP", 0, true},
		telephony.SecurityOffer:      {"RTP/AVP", 4, true},
		telephony.SecurityRequire:    {"RTP/SAVP", 4, false},
		telephony.SecurityRequire256: {"RTP/SAVP", 2, false},
	} {
		c := e.NewCall("offers")
		l := policedLeg(t, c, policy)
		offer, err := l.Offer(nil)
		must(t, err)
		d, err := parseDescription(offer)
		must(t, err)
		if m := d.stream(audio); m.proto != want.proto || len(m.cryptos) != want.cryptos {
			t.Errorf("%s offers\n%s", policy, offer)
		} else if want.cryptos > 0 && m.cryptos[0].Key.Suite != srtp.AES256GCM {
			t.Errorf("%s: %s comes first", policy, m.cryptos[0].Key.Suite)
		}
		// A phone without a suite of ours may say so by taking no stream.
		none := "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 0 " + want.proto + " 0\r\n"
		if err := l.SetRemote([]byte(none)); !errors.Is(err, ErrNotAcceptable) || errors.Is(err, ErrInsecure) == want.clearAnswer {
			t.Errorf("%s, answered without a stream: %v", policy, err)
		}
		if err := l.SetRemote(s.describe("RTP/AVP")); (err == nil) != want.clearAnswer {
			t.Errorf("%s, answered in the clear: %v", policy, err)
		}
		c.Close()
	}
}

// Whatever does not come under the peer's key is neither relayed nor believed.
func TestOnlyAuthenticPacketsAreRelayed(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 25320, 25339, nil)
	c := e.NewCall("forged")
	a, b := newSpeaker(t), newSpeaker(t)
	la, lb := connect(t, c, a, b, srtp.AES256GCM, srtp.None)

	sealed := a.out
	a.out = nil
	a.say(la.RTP(), "in the clear", 10)
	a.out, _ = srtp.NewOutbound(srtp.NewKey(srtp.AES256GCM))
	a.say(la.RTP(), "under a wrong key", 10)
	a.out = sealed
	eventually(t, "they arrived", func() bool { return refusedOf(la).forged == 20 })
	at := la.streams[audio].Load().transport
	at.mu.Lock()
	if at.rtp.source.IsValid() {
		t.Error("a source is latched to by what is not authentic")
	}
	at.mu.Unlock()
	talk(t, a, b, la, lb, "words")
	// Again, from the source that is known by now, and a replay.
	a.out = nil
	a.say(la.RTP(), "in the clear", 10)
	a.out = sealed
	replay := make([]byte, 0, 128)
	a.seq++
	p := []byte{0x80, 0, byte(a.seq >> 8), byte(a.seq), 0, 0, 0, 0, 0, 0, byte(a.ssrc >> 8), byte(a.ssrc), 'o', 'n', 'c', 'e'}
	replay, err := a.out.RTP(replay, p)
	must(t, err)
	for range 5 {
		_, err := a.conn.WriteToUDPAddrPort(replay, la.RTP())
		must(t, err)
	}
	talk(t, a, b, la, lb, "more")
	if n := b.heard("in the clear") + b.heard("under a wrong key"); n != 0 || b.heard("once") != 1 {
		t.Errorf("%d forged packets were relayed, one sent five times %d times", n, b.heard("once"))
	}
	if refused := refusedOf(la); refused.forged != 30 || refused.replayed != 4 {
		t.Errorf("%+v", refused)
	}
}

func refusedOf(l *Leg) refusals {
	t := l.streams[audio].Load().transport
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.refused
}

// Hold and resume keep the contexts: sequence numbers go on past a wrap, with
// the source the phone had and with a new one.
func TestRolloverThroughHold(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 25340, 25359, nil)
	c := e.NewCall("rollover")
	a, b := newSpeaker(t), newSpeaker(t)
	a.seq, b.seq = 65530, 65533
	la, lb := connect(t, c, a, b, srtp.AES256CM80, srtp.AES256GCM)
	talk(t, a, b, la, lb, "before")
	a.say(la.RTP(), "past the wrap", 20)
	eventually(t, "the wrap is relayed", func() bool { return b.heard("past the wrap") == 20 })

	refresh := func(direction string) {
		must(t, la.SetRemote(append(a.describe("RTP/SAVP", srtp.AES256CM80), "a="+direction+"\r\n"...)))
		offer, err := lb.Offer(la)
		must(t, err)
		d, err := parseDescription(offer)
		must(t, err)
		if m := d.stream(audio); len(m.cryptos) != 1 || m.cryptos[0].Key.Suite != srtp.AES256GCM || !m.cryptos[0].Key.Equal(b.in.Key()) {
			t.Fatalf("a re-INVITE offers other keys:\n%s", offer)
		}
		answer := bytes.Replace(b.describe("RTP/AVP", srtp.AES256GCM), []byte("crypto:1"), fmt.Appendf(nil, "crypto:%d", d.stream(audio).cryptos[0].Tag), 1)
		must(t, lb.SetRemote(answer))
		ours, err := la.Answer(lb)
		must(t, err)
		if d, _ := parseDescription(ours); !d.stream(audio).cryptos[0].Key.Equal(a.in.Key()) {
			t.Fatal("a re-INVITE changes the key of our answer")
		}
	}
	refresh("sendonly")
	refresh("sendrecv")
	talk(t, a, b, la, lb, "after")
	a.ssrc, a.seq = 77, 100
	talk(t, a, b, la, lb, "new source")
}

// A call of an hour wraps the sequence numbers twice and more, on a side that is
// protected and on one that is not.
func TestSeveralWrapsInOneCall(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 25420, 25439, nil)
	c := e.NewCall("wraps")
	a, b := newSpeaker(t), newSpeaker(t)
	a.seq = 65_000
	la, lb := connect(t, c, a, b, srtp.AES256CM80, srtp.AES256GCM)
	const packets, burst = 140_000, 200 // wraps after 536, 66,072 and 131,608
	for sent := 0; sent < packets; sent += burst {
		a.say(la.RTP(), "hour", burst)
		eventually(t, fmt.Sprintf("packet %d", sent+burst), func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			if len(b.got) < burst {
				return false
			}
			b.got, b.raw = b.got[:0], b.raw[:0]
			return true
		})
	}
	if b.bad != 0 || refusedOf(la) != (refusals{}) {
		t.Errorf("%d packets are not authentic, %+v", b.bad, refusedOf(la))
	}
	talk(t, a, b, la, lb, "after")
}

// Two packets under one key, source and index would give both away. Whoever is
// heard, with whatever numbers: the line goes on.
func TestNoIndexIsUsedTwice(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 25360, 25379, nil)
	c := e.NewCall("indices")
	a, b, third := newSpeaker(t), newSpeaker(t), newSpeaker(t)
	la, lb := connect(t, c, a, b, srtp.None, srtp.AES256GCM)
	talk(t, a, b, la, lb, "first")
	a.seq -= 3 // it repeats itself, with other words
	a.say(la.RTP(), "other words", 3)
	a.seq -= 2000 // it begins again
	a.say(la.RTP(), "again", 20)
	eventually(t, "the source that began again is heard", func() bool { return b.heard("again") >= 15 })

	if b.heard("other words") != 0 {
		t.Error("a packet with a number that was used is sent")
	}

	third.ssrc, third.seq = a.ssrc, 3
	lt := policedLeg(t, c, telephony.SecurityOffer)
	must(t, lt.SetRemote(third.describe("RTP/AVP")))
	answer, err := lt.Answer(lb)
	must(t, err)
	third.take(answer, srtp.None)
	c.Bridge(lt, lb)
	talk(t, third, b, lt, lb, "third")

	seen := map[string]bool{}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.raw {
		id := string(p[2:4]) + string(p[8:12])
		if seen[id] {
			t.Errorf("index %x is used twice", id)
		}
		seen[id] = true
	}
}
