package siptest

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"hash"
	"math"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
)

// pair is two phones that call each other without any server.
func pair(t *testing.T, change func(a, b *Config)) (a, b *Phone) {
	t.Helper()
	listen := netip.MustParseAddrPort("127.0.0.1:0")
	ca := Config{User: "101", Tone: 440, Listen: listen, T1: 100 * time.Millisecond}
	cb := Config{User: "102", Tone: 660, Listen: listen, T1: 100 * time.Millisecond}
	if change != nil {
		change(&ca, &cb)
	}
	cb.Server = netip.MustParseAddrPort("127.0.0.1:9")
	b = NewPhone(t, cb)
	ca.Server = b.Addr()
	a = NewPhone(t, ca)
	return a, b
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// connect brings up a call.
func connect(t *testing.T, a, b *Phone) (out, in *Call) {
	t.Helper()
	ctx := within(t, 10*time.Second)
	out, err := a.Call(ctx, "102")
	ok(t, err)
	in, err = b.WaitCall(ctx)
	ok(t, err)
	ok(t, in.Ring())
	ok(t, out.Wait(ctx, Ringing))
	ok(t, in.Answer())
	ok(t, out.Wait(ctx, Answered))
	return out, in
}

func TestPhonesHearEachOther(t *testing.T) {
	t.Parallel()
	for _, codec := range []string{"PCMU", "PCMA"} {
		t.Run(codec, func(t *testing.T) {
			t.Parallel()
			a, b := pair(t, func(a, b *Config) { a.Codecs = []string{codec} })
			out, in := connect(t, a, b)
			ctx := within(t, 10*time.Second)
			ha, err := out.Hear(ctx, time.Second)
			ok(t, err)
			hb, err := in.Hear(ctx, time.Second)
			ok(t, err)
			ok(t, ha.Only(660, 440))
			ok(t, hb.Only(440, 660))
			if !slices.Equal(ha.SSRCs, []uint32{in.SSRC()}) || !slices.Equal(ha.PayloadTypes, []uint8{payloadOf(codec)}) {
				t.Errorf("a heard SSRCs %x, payload types %v", ha.SSRCs, ha.PayloadTypes)
			}
			if in.From() != "101" {
				t.Errorf("caller is %q", in.From())
			}
			ok(t, out.HangUp())
			ok(t, in.Wait(ctx, Ended))
			if !in.EndedByPeer() || out.EndedByPeer() || out.Status() != 200 {
				t.Errorf("ended by peer: a %v b %v, status %d", out.EndedByPeer(), in.EndedByPeer(), out.Status())
			}
		})
	}
}

func TestHoldResumeMoveAndDigits(t *testing.T) {
	t.Parallel()
	a, b := pair(t, nil)
	out, in := connect(t, a, b)
	ctx := within(t, 20*time.Second)
	ok(t, out.Hold(ctx))
	ok(t, in.WaitDirection(ctx, "sendonly"))
	if d := out.Remote().Direction; d != "recvonly" {
		t.Errorf("sendonly was answered %q", d)
	}
	time.Sleep(100 * time.Millisecond)
	out.Forget()
	time.Sleep(200 * time.Millisecond)
	if n := out.Heard().Packets; n != 0 {
		t.Errorf("%d packets during hold", n)
	}
	ok(t, out.Resume(ctx))
	_, err := out.Hear(ctx, 200*time.Millisecond)
	ok(t, err)
	ok(t, out.ReInvite(ctx, Offer{Null: true, Direction: "sendrecv"}))
	ok(t, out.ReInvite(ctx, Offer{Late: true}))
	ok(t, out.ReInvite(ctx, Offer{Move: true}))
	out.Forget()
	h, err := out.Hear(ctx, 600*time.Millisecond)
	ok(t, err)
	ok(t, h.Only(660))
	ok(t, out.SendDigits(ctx, "12#"))
	for in.Heard().Digits != "12#" {
		if ctx.Err() != nil {
			t.Fatalf("digits %q", in.Heard().Digits)
		}
		time.Sleep(10 * time.Millisecond)
	}
	in.RefuseOffers(488)
	var refused *StatusError
	if err := out.Hold(ctx); !errors.As(err, &refused) || refused.Code != 488 {
		t.Errorf("refused hold: %v", err)
	}
	ok(t, in.HangUp())
	ok(t, out.Wait(ctx, Ended))
}

func TestLateOffer(t *testing.T) {
	t.Parallel()
	a, b := pair(t, nil)
	ctx := within(t, 10*time.Second)
	out, err := a.CallWith(ctx, "102", CallOptions{LateOffer: true})
	ok(t, err)
	in, err := b.WaitCall(ctx)
	ok(t, err)
	ok(t, in.Answer())
	ok(t, out.Wait(ctx, Answered))
	h, err := in.Hear(ctx, 600*time.Millisecond)
	ok(t, err)
	ok(t, h.Only(440))
	h, err = out.Hear(ctx, 600*time.Millisecond)
	ok(t, err)
	ok(t, h.Only(660))
}

func TestEarlyMedia(t *testing.T) {
	t.Parallel()
	a, b := pair(t, nil)
	ctx := within(t, 10*time.Second)
	out, err := a.Call(ctx, "102")
	ok(t, err)
	in, err := b.WaitCall(ctx)
	ok(t, err)
	ok(t, in.Progress())
	h, err := out.Hear(ctx, 600*time.Millisecond)
	ok(t, err)
	ok(t, h.Only(660))
	if !out.EarlyMedia() || out.State() != Ringing {
		t.Errorf("early media %v, state %s", out.EarlyMedia(), out.State())
	}
	ok(t, in.Answer())
	ok(t, out.Wait(ctx, Answered))
}

func TestRejectAndCancel(t *testing.T) {
	t.Parallel()
	a, b := pair(t, nil)
	ctx := within(t, 20*time.Second)
	out, err := a.Call(ctx, "102")
	ok(t, err)
	in, err := b.WaitCall(ctx)
	ok(t, err)
	ok(t, in.Reject(486))
	var refused *StatusError
	if err := out.Wait(ctx, Answered); !errors.As(err, &refused) || refused.Code != 486 {
		t.Errorf("rejected call: %v", err)
	}
	out, err = a.Call(ctx, "102")
	ok(t, err)
	in, err = b.WaitCall(ctx)
	ok(t, err)
	ok(t, in.Ring())
	ok(t, out.Wait(ctx, Ringing))
	ok(t, out.Cancel())
	ok(t, in.Wait(ctx, Ended))
	ok(t, out.Wait(ctx, Ended))
	if out.Status() != 487 || in.Status() != 487 || !in.EndedByPeer() {
		t.Errorf("cancelled: status %d and %d", out.Status(), in.Status())
	}
}

// The 200 crosses the CANCEL: the caller acknowledges and hangs up.
func TestCancelCrossesAnswer(t *testing.T) {
	t.Parallel()
	a, b := pair(t, nil)
	ctx := within(t, 20*time.Second)
	out, err := a.Call(ctx, "102")
	ok(t, err)
	in, err := b.WaitCall(ctx)
	ok(t, err)
	ok(t, in.Ring())
	ok(t, out.Wait(ctx, Ringing))
	var held atomic.Bool
	held.Store(true)
	a.SetFilter(func(isOut bool, _ netip.AddrPort, d []byte) [][]byte {
		if !isOut && held.Load() && strings.HasPrefix(string(d), "SIP/2.0 200") && strings.Contains(string(d), "INVITE") {
			return nil
		}
		return [][]byte{d}
	})
	ok(t, in.Answer())
	ok(t, out.Cancel())
	held.Store(false) // b's retransmission gets through
	ok(t, in.Wait(ctx, Ended))
	if in.Status() != 200 || !in.EndedByPeer() || in.Requests("BYE") != 1 || in.Requests("ACK") == 0 {
		t.Errorf("status %d, BYE %d, ACK %d", in.Status(), in.Requests("BYE"), in.Requests("ACK"))
	}
}

// Every message is lost once: retransmissions bring the call up and down.
func TestLossAndDuplicates(t *testing.T) {
	t.Parallel()
	a, b := pair(t, nil)
	var mu sync.Mutex
	seen := map[string]bool{}
	a.SetFilter(func(out bool, _ netip.AddrPort, d []byte) [][]byte {
		if !out {
			return [][]byte{d, d}
		}
		mu.Lock()
		defer mu.Unlock()
		line := firstLine(d)
		if !seen[line] && !strings.HasPrefix(line, "ACK") {
			seen[line] = true
			return nil
		}
		return [][]byte{d, d}
	})
	out, in := connect(t, a, b)
	ok(t, out.HangUp())
	ok(t, in.Wait(within(t, 5*time.Second), Ended))
	if in.Requests("BYE") != 1 {
		t.Errorf("%d BYEs were handled", in.Requests("BYE"))
	}
}

// A registrar in 15 lines, which asks for each algorithm.
func TestRegisterAnswersChallenges(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		challenges []string
		password   string
		want       int
	}{
		{"MD5", []string{`Digest realm="r", nonce="n1", qop="auth", algorithm=MD5`}, "secret", 200},
		{"no qop", []string{`Digest realm="r", nonce="n1"`}, "secret", 200},
		{"SHA-256 first", []string{`Digest realm="r", nonce="n1", qop="auth,auth-int", algorithm=SHA-256`, `Digest realm="r", nonce="n1", qop="auth"`}, "secret", 200},
		{"unknown algorithm first", []string{`Digest realm="r", nonce="n1", algorithm=FOO`, `Digest realm="r", nonce="n1", qop=auth`}, "secret", 200},
		{"stale once", []string{`Digest realm="r", nonce="n1", qop="auth", stale=true`}, "secret", 200},
		{"wrong password", []string{`Digest realm="r", nonce="n1", qop="auth"`}, "guess", 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			phone, registrar := pair(t, func(a, b *Config) { a.Password = c.password })
			var tries atomic.Int32
			registrar.OnRequest(func(req *sip.Request, from netip.AddrPort) bool {
				h := req.GetHeader("Authorization")
				n := tries.Add(1)
				if h == nil || c.name == "stale once" && n == 2 || !verify(h.Value(), "secret") {
					var lines []string
					for _, ch := range c.challenges {
						lines = append(lines, "WWW-Authenticate: "+ch)
					}
					_ = registrar.Respond(req, from, 401, lines, "")
					return true
				}
				_ = registrar.Respond(req, from, 200, []string{"Contact: " + req.Contact().Value()}, "")
				return true
			})
			err := phone.Register(within(t, 5*time.Second))
			var refused *StatusError
			switch {
			case c.want == 200:
				ok(t, err)
				if len(phone.Contacts()) != 1 {
					t.Errorf("contacts %q", phone.Contacts())
				}
			case !errors.As(err, &refused) || refused.Code != c.want || tries.Load() != 2:
				t.Errorf("got %v after %d tries", err, tries.Load())
			}
		})
	}
}

// verify checks an Authorization of REGISTER, written against the RFC anew.
func verify(value, password string) bool {
	v := parameters(strings.TrimPrefix(value, "Digest "))
	newHash := md5.New
	if v["algorithm"] == "SHA-256" {
		newHash = sha256.New
	}
	d := digest{hash: newHash, user: v["username"], password: password, method: "REGISTER", uri: v["uri"], cnonce: v["cnonce"]}
	return d.response(Challenge{Realm: v["realm"], Nonce: v["nonce"]}) == v["response"]
}

// RFC 7616 section 3.9.1.
func TestDigestVectors(t *testing.T) {
	t.Parallel()
	ch := Challenge{Realm: "http-auth@example.org", Nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"}
	for _, c := range []struct {
		hash func() hash.Hash
		want string
	}{
		{md5.New, "8ca523f5e9506fed4657c9700eebdbec"},
		{sha256.New, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"},
	} {
		d := digest{hash: c.hash, user: "Mufasa", password: "Circle of Life", method: "GET", uri: "/dir/index.html",
			cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"}
		if got := d.response(ch); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

func TestG711(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		encode func(int16) byte
		decode func(byte) int16
	}{"PCMU": {encodeULaw, decodeULaw}, "PCMA": {encodeALaw, decodeALaw}} {
		for b := range 256 {
			v := c.decode(byte(b))
			if got := c.encode(v); got != byte(b) && c.decode(got) != v {
				t.Errorf("%s: code %#x decodes to %d, which encodes to %#x", name, b, v, got)
			}
		}
		for v := math.MinInt16; v <= math.MaxInt16; v += 7 {
			got := int(c.decode(c.encode(int16(v))))
			if d := math.Abs(float64(got - v)); d > 16+math.Abs(float64(v))/16 {
				t.Errorf("%s: %d becomes %d", name, v, got)
			}
		}
	}
	// ITU-T G.711 tables: extremes and zero.
	if encodeULaw(0) != 0xff || encodeALaw(0) != 0xd5 || decodeULaw(0x80) != 32124 || decodeALaw(0xaa) != 32256 || decodeALaw(0x2a) != -32256 {
		t.Errorf("ulaw(0)=%#x alaw(0)=%#x, %d %d %d", encodeULaw(0), encodeALaw(0), decodeULaw(0x80), decodeALaw(0xaa), decodeALaw(0x2a))
	}
}

func TestShares(t *testing.T) {
	t.Parallel()
	mix := func(fs ...float64) []int16 {
		out := make([]int16, 16000)
		for _, f := range fs {
			for i, s := range Samples(f, 8000, 2*time.Second) {
				out[i] += s / int16(len(fs))
			}
		}
		return out
	}
	for _, f := range Tones() {
		for _, g := range Tones() {
			want := 0.0
			if f == g {
				want = 1
			}
			if s := Share(mix(f), 8000, g); math.Abs(s-want) > 0.005 {
				t.Errorf("share of %g Hz in %g Hz is %.4f", g, f, s)
			}
		}
	}
	if s := Share(mix(440, 880), 8000, 440); math.Abs(s-0.5) > 0.01 {
		t.Errorf("share of one of two tones is %.3f", s)
	}
	if s := Share(make([]int16, 16000), 8000, 440); s != 0 {
		t.Errorf("silence has share %.3f", s)
	}
	if err := (Heard{Samples: mix(440, 660), Rate: 8000}).Only(440, 660); err == nil {
		t.Error("an echo passed")
	}
	if err := (Heard{Rate: 8000}).Only(440); err == nil {
		t.Error("nothing heard passed")
	}
}

func TestWAV(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "t.wav")
	ok(t, WriteWAV(path, Samples(880, 48000, time.Second), 48000))
	h, err := HeardWAV(path)
	ok(t, err)
	ok(t, h.Only(880, 440, 660))
	ok(t, h.Middle(500*time.Millisecond).Only(880))
	if h.Rate != 48000 || h.Duration() != time.Second {
		t.Errorf("rate %d, %s", h.Rate, h.Duration())
	}
}

func FuzzWAV(f *testing.F) {
	f.Add([]byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data\x00\x00\x00\x00\x01\x02\x03\x04"))
	f.Fuzz(func(t *testing.T, data []byte) { _, _ = parseWAV(data) })
}

// A call for a phone that had this address before is none of this one's.
func TestCallForAnotherPhoneIsRefused(t *testing.T) {
	t.Parallel()
	a, _ := pair(t, nil)
	ctx := within(t, 10*time.Second)
	call, err := a.Call(ctx, "103")
	ok(t, err)
	var status *StatusError
	if err := call.Wait(ctx, Answered); !errors.As(err, &status) || status.Code != 404 {
		t.Errorf("%v, want 404", err)
	}
}
