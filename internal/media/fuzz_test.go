package media

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pion/sdp/v3"

	"ringfence/internal/media/quality"
	"ringfence/internal/media/srtp"
)

// paperLeg is a leg without sockets.
func paperLeg(e *Engine, port uint16, withVideo bool) *Leg {
	c := &Call{engine: e, log: slog.New(slog.DiscardHandler)}
	l := &Leg{call: c, session: newSession(), params: LegParams{Local: loopback, Advertised: netip.MustParseAddr("192.0.2.250")}}
	l.streams[audio].Store(newStream(audio, &transport{pair: &pair{port: port}}, newDesk(quality.NewClock(time.Now())), ""))
	l.streams[fax].Store(newStream(fax, &transport{pair: &pair{port: port + 4}}, newDesk(quality.NewClock(time.Now())), ""))
	if withVideo {
		l.streams[video].Store(newStream(video, &transport{pair: &pair{port: port + 2}}, newDesk(quality.NewClock(time.Now())), ""))
	}
	return l
}

func addSeeds(f *testing.F) {
	files, err := filepath.Glob("testdata/sdp/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(data), "-- offer --\n")
		offer, rest, _ := strings.Cut(rest, "-- answer --\n")
		answer, _, _ := strings.Cut(rest, "-- offered --\n")
		f.Add([]byte(offer), []byte(answer))
	}
	f.Add([]byte("v=0\nm=audio 1 RTP/AVP 0\nc=IN IP4 0.0.0.0\na=inactive"), []byte("v=0\r\nm=audio 65535 RTP/AVP 0\r\na=rtcp:0"))
}

// FuzzExchange runs an offer/answer exchange, and a re-offer the other way,
// with anything in place of what the peers say.
func FuzzExchange(f *testing.F) {
	addSeeds(f)
	e := New(Config{Logger: slog.New(slog.DiscardHandler)})
	f.Cleanup(e.Close)
	f.Fuzz(func(t *testing.T, first, second []byte) {
		a, b := paperLeg(e, 10000, true), paperLeg(e, 10010, len(first)%2 == 0)
		if err := a.SetRemote(first); err != nil {
			if !errors.Is(err, ErrNotAcceptable) {
				t.Fatalf("unexpected error %v", err)
			}
			if a.HasRemote() {
				t.Fatal("a refused description was kept")
			}
			return
		}
		check := func(body []byte, err error) {
			t.Helper()
			if err != nil {
				if !errors.Is(err, ErrNotAcceptable) {
					t.Fatalf("unexpected error %v", err)
				}
				return
			}
			checkOurs(t, body, e.certificate.Load().Fingerprint().String(), func(k srtp.Key) bool { return a.made(k) || b.made(k) })
		}
		check(b.Offer(a))
		if err := b.SetRemote(second); err == nil {
			body, err := a.Answer(b)
			check(body, err)
			if got, want := strings.Count(string(body), "\nm="), len(a.remote.media); err == nil && got != want {
				t.Fatalf("answer has %d m= lines, the offer %d", got, want)
			}
			check(a.Offer(b))
			a.Rollback()
			if a.SetRemote(second) == nil {
				check(a.Answer(nil))
				check(a.Answer(b))
			}
			a.Rollback()
		}
		check(a.Offer(nil))
	})
}

// made reports whether a key is one of this leg.
func (l *Leg) made(k srtp.Key) bool {
	for kind := range kinds {
		if l.keys[kind][k.Suite].Equal(k) {
			return true
		}
	}
	return false
}

// checkOurs holds for whatever a peer said.
func checkOurs(t *testing.T, body []byte, certificate string, ours func(srtp.Key) bool) {
	t.Helper()
	if len(body) > 2*maxDescription {
		t.Fatalf("%d bytes", len(body))
	}
	d, err := parseDescription(body)
	if err != nil || !d.usable() || d.media[max(d.by[audio], d.by[fax])].connection != netip.MustParseAddr("192.0.2.250") {
		t.Fatalf("our own description is refused: %v\n%s", err, body)
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(body), "\r\n"), "\r\n") {
		if len(line) < 3 || line[1] != '=' || !printable(line) {
			t.Fatalf("line %q in\n%s", line, body)
		}
		if key, ok := strings.CutPrefix(line, "a=crypto:"); ok {
			if c, err := srtp.ParseCrypto(key); err != nil || !ours(c.Key) {
				t.Fatalf("a key that is not ours is told to the other side:\n%s", body)
			}
		}
		if strings.HasPrefix(line, "a=candidate") && !strings.Contains(line, " 192.0.2.250 ") || strings.HasPrefix(line, "a=fingerprint") && line != "a=fingerprint:"+certificate {
			t.Fatalf("transport is told to the other side:\n%s", body)
		}
	}
	var other sdp.SessionDescription
	if err := other.Unmarshal(body); err != nil && !strings.Contains(string(body), " 0 ") && !strings.Contains(string(body), "m=image") {
		t.Fatalf("another parser refuses our description: %v\n%s", err, body)
	}
}

// describedTransport is one without sockets whose peer described audio.
func describedTransport(from netip.AddrPort) *transport {
	p := &transport{}
	m := &mediaLine{connection: from.Addr(), port: from.Port(), payloads: ownPayloads(), direction: direction{true, true}}
	newStream(audio, p, newDesk(quality.NewClock(time.Now())), "").describe(m)
	p.describe(m, true, from.Addr(), "")
	return p
}

// FuzzPacket feeds the relay path with anything.
func FuzzPacket(f *testing.F) {
	f.Add((&peer{}).packet(0), []byte{0x80, 201, 0, 1, 0, 0, 0, 0})
	f.Add([]byte{0x90, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0xbe, 0xde, 0, 1, 1, 2, 3, 4}, []byte{0xb0})
	from := netip.MustParseAddrPort("192.0.2.1:4000")
	f.Fuzz(func(t *testing.T, rtp, rtcp []byte) {
		for _, keys := range []protection{{}, {theirs: srtp.NewKey(srtp.AES256GCM), ours: srtp.NewKey(srtp.AES256GCM)}} {
			p := describedTransport(from)
			must(t, p.protect(keys))
			p.receive(bytes.Clone(rtp), from)
			p.receiveRTCP(bytes.Clone(rtcp), from)
			p.receive(bytes.Clone(rtp), netip.MustParseAddrPort("192.0.2.2:4000"))
			if p.rtp.source.IsValid() && (p.rtp.source != from || p.secured) {
				t.Fatalf("latched to %s", p.rtp.source)
			}
		}
	})
}
