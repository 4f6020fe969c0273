package b2bua

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"ringfence/internal/media"
	"ringfence/internal/ports"
	"ringfence/internal/siptest"
)

// The pitfalls of encrypted media, with phones on real sockets that bring SRTP
// of their own. The list is in pitfalls_test.go.

// talk is a call through a PBX with the real media engine.
type talk struct {
	*testing.T
	ctx     context.Context
	out, in *siptest.Call
	engine  *media.Engine
}

func newTalk(t *testing.T, caller, callee func(*siptest.Config)) *talk {
	t.Helper()
	row, _ := ports.Lookup(ports.Table(), ports.RTPCore)
	engine := media.New(media.Config{Pools: map[ports.Side]ports.Service{ports.Core: row}, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(engine.Close)
	s := newStack(t, func(c *Config) { c.Media = Engine(engine) })
	server := s.listen()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	start := func(user string, tone float64, change func(*siptest.Config)) *siptest.Phone {
		c := siptest.Config{Server: server, User: user, Password: "pw" + user, Domain: "a.test", Tone: tone, AutoAnswer: user == "102"}
		change(&c)
		p := siptest.NewPhone(t, c)
		if err := p.Register(ctx); err != nil {
			t.Fatal(err)
		}
		return p
	}
	a, b := start("101", 440, caller), start("102", 880, callee)
	k := &talk{T: t, ctx: ctx, engine: engine}
	var err error
	if k.out, err = a.Call(ctx, "102"); err != nil {
		t.Fatal(err)
	}
	if k.in, err = b.WaitCall(ctx); err == nil {
		err = k.out.Wait(ctx, siptest.Answered)
	}
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// hear checks that each end hears the other alone, and decrypts every packet.
func (k *talk) hear(when string) {
	k.Helper()
	k.out.Forget()
	k.in.Forget()
	for _, x := range []struct {
		c          *siptest.Call
		hears, not float64
	}{{k.out, 880, 440}, {k.in, 440, 880}} {
		h, err := x.c.Hear(k.ctx, 600*time.Millisecond)
		if err == nil {
			err = h.Only(x.hears, x.not)
		}
		if err != nil || h.Forged > 0 {
			k.Errorf("%s: %d packets did not decrypt: %v", when, h.Forged, err)
		}
	}
}

func (k *talk) must(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

func (k *talk) suites(caller, callee string) {
	k.Helper()
	if k.out.Suite() != caller || k.in.Suite() != callee {
		k.Errorf("protected by %q and %q, want %q and %q", k.out.Suite(), k.in.Suite(), caller, callee)
	}
}

func with(suites ...string) func(*siptest.Config) {
	return func(c *siptest.Config) { c.Suites = suites }
}

// TestPitfall21: the roll-over counter stays with its key through hold and
// resume after a wrap, and starts anew with new keys, another SSRC and another
// address; whoever comes on its own hears on.
func TestPitfall21(t *testing.T) {
	t.Parallel()
	for _, suite := range []string{"AES_CM_128_HMAC_SHA1_80", "AEAD_AES_256_GCM"} {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			near := func(c *siptest.Config) { c.Suites, c.FirstSequence = []string{suite}, 65500 }
			k := newTalk(t, near, near)
			time.Sleep(800 * time.Millisecond) // 36 packets on
			k.hear("after the wrap")
			for _, c := range []*siptest.Call{k.out, k.in} {
				for _, o := range []siptest.Offer{
					{Direction: "sendonly"}, {Direction: "sendrecv", NewStream: true},
					{Direction: "inactive"}, {Direction: "sendrecv"},
					{Rekey: true}, {Move: true}, {Move: true, Rekey: true, NewStream: true},
				} {
					k.must(c.ReInvite(k.ctx, o))
					if o.Direction == "" || o.Direction == "sendrecv" {
						k.hear(fmt.Sprintf("after %+v", o))
					}
				}
			}
			k.suites(suite, suite)
		})
	}
}

// TestPitfall22: a call goes on when its sequence numbers wrap, which after
// 22 minutes all do: in the clear on one side, twice encrypted on the other.
func TestPitfall22(t *testing.T) {
	t.Parallel()
	for _, suites := range [][2]string{
		{"AES_CM_128_HMAC_SHA1_80", ""}, {"AES_256_CM_HMAC_SHA1_80", "AEAD_AES_256_GCM"}, {"AEAD_AES_128_GCM", "AES_CM_128_HMAC_SHA1_80"},
	} {
		t.Run(fmt.Sprint(suites), func(t *testing.T) {
			t.Parallel()
			wraps := func(suite string) func(*siptest.Config) {
				return func(c *siptest.Config) {
					c.FirstSequence = 65500
					if suite != "" {
						c.Suites = []string{suite}
					}
				}
			}
			k := newTalk(t, wraps(suites[0]), wraps(suites[1]))
			k.suites(suites[0], suites[1])
			for k.out.Sent() < 100 || k.in.Sent() < 100 {
				k.must(k.ctx.Err())
				time.Sleep(20 * time.Millisecond)
			}
			for _, c := range []*siptest.Call{k.out, k.in} {
				if h := c.Heard(); h.Forged > 0 || h.Lost > 0 || h.Packets < 90 || len(h.SSRCs) != 1 {
					t.Errorf("%d packets did not decrypt; %s", h.Forged, h)
				}
			}
			k.hear("after the wrap")
		})
	}
}

// TestPitfall23: the best suite is taken wherever its line stands and however
// the peer spells it; lines of suites nobody knows do no harm. What is offered
// begins with AES-256 and is padded, for some phones are deaf to keys that are
// not.
func TestPitfall23(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		offers []string
		want   string
	}{
		{[]string{"AES_256_CM_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_80"}, "AES_256_CM_HMAC_SHA1_80"},
		{[]string{"AES_CM_128_HMAC_SHA1_32", "AES_CM_128_HMAC_SHA1_80", "AES_CM_256_HMAC_SHA1_80"}, "AES_CM_256_HMAC_SHA1_80"},
		{[]string{"AES_CM_128_HMAC_SHA1_80", "AES_256_CM_HMAC_SHA1_80", "AEAD_AES_128_GCM", "AEAD_AES_256_GCM"}, "AEAD_AES_256_GCM"},
		{[]string{"AES_CM_256_HMAC_SHA1_32"}, "AES_CM_256_HMAC_SHA1_32"},
	} {
		t.Run(strings.Join(c.offers, " "), func(t *testing.T) {
			t.Parallel()
			k := newTalk(t, with(c.offers...), with("AES_CM_128_HMAC_SHA1_80"))
			k.suites(c.want, "AES_CM_128_HMAC_SHA1_80")
			k.hear("start")
			var names []string
			for _, m := range regexp.MustCompile(`a=crypto:\d+ (\S+) inline:(\S+)`).FindAllStringSubmatch(string(k.in.Invite().Body()), -1) {
				names = append(names, m[1])
				if len(m[2])%4 != 0 {
					t.Errorf("key without padding: %s", m[0])
				}
			}
			if got := strings.Join(names, " "); got != "AEAD_AES_256_GCM AES_256_CM_HMAC_SHA1_80 AEAD_AES_128_GCM AES_CM_128_HMAC_SHA1_80" {
				t.Errorf("offered %s", got)
			}
		})
	}
}

// TestPitfall30: a phone that is silent, as with voice activity detection, has
// lost nothing, is in its call, and is heard again at once.
func TestPitfall30(t *testing.T) {
	t.Parallel()
	k := newTalk(t, with("AEAD_AES_256_GCM"), with())
	k.hear("start")
	for range 2 {
		k.out.Mute(true)
		time.Sleep(1500 * time.Millisecond)
		k.out.Mute(false)
		k.hear("after a pause")
	}
	if h := k.in.Heard(); h.Lost > 0 {
		t.Errorf("%d lost", h.Lost)
	}
	if s := k.engine.Stats(); s.Calls != 1 || s.Legs != 2 {
		t.Errorf("%+v", s)
	}
}
