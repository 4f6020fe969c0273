package media_test

import (
	"context"
	"testing"
	"time"

	"ringfence/internal/pbxtest"
	"ringfence/internal/ports"
	"ringfence/internal/siptest"
)

// The tests of this file drive the SRTP of a whole PBX with phones that bring
// their own.

// The suites by their names in SDP.
const (
	gcm256 = "AEAD_AES_256_GCM"
	gcm128 = "AEAD_AES_128_GCM"
	cm256  = "AES_256_CM_HMAC_SHA1_80"
	cm128  = "AES_CM_128_HMAC_SHA1_80"
)

func secureParties(t *testing.T, a, b func(*siptest.Config)) *parties {
	t.Helper()
	p := pbxtest.New(t)
	return &parties{a: p.PhoneOn(ports.SIPUDP, "101", 440, a), b: p.PhoneOn(ports.SIPUDP, "102", 880, b)}
}

func speaks(suites ...string) func(*siptest.Config) {
	return func(c *siptest.Config) { c.Suites = suites }
}

func opportunistic(suites ...string) func(*siptest.Config) {
	return func(c *siptest.Config) { c.Suites, c.Opportunistic = suites, true }
}

// protected checks which suites protect the two ends.
func (p *parties) protected(t *testing.T, caller, callee string) {
	t.Helper()
	if p.out.Suite() != caller || p.in.Suite() != callee {
		t.Errorf("the caller has %q, the callee %q; want %q and %q", p.out.Suite(), p.in.Suite(), caller, callee)
	}
}

// Each end is protected as it can, whatever the other end can: the strongest
// suite both know, and through holds, a new port, a late offer, digits and a
// wrap of the sequence numbers every packet decrypts.
func TestEveryEndIsProtectedByItself(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name           string
		a, b           func(*siptest.Config)
		caller, callee string
	}{
		{"SRTP to RTP", speaks(gcm256), speaks(), gcm256, ""},
		{"SRTP to SRTP", speaks(gcm256, cm128), speaks(gcm256), gcm256, gcm256},
		{"other suites", speaks(cm256), speaks(cm128), cm256, cm128},
		{"AES-256 first", speaks(cm128, gcm128, cm256, gcm256), opportunistic(cm128, cm256), gcm256, cm256},
		{"RTP/AVP with keys", opportunistic(cm128), opportunistic(gcm256), cm128, gcm256},
		{"a phone that takes no RTP/AVP", speaks(), func(c *siptest.Config) { c.Suites, c.Insists = []string{cm256}, true }, "", cm256},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			p := secureParties(t, func(x *siptest.Config) { c.a(x); x.FirstSequence = 65500 }, c.b)
			p.call(ctx, t, siptest.CallOptions{})
			p.answer(ctx, t)
			p.protected(t, c.caller, c.callee)
			p.hear(ctx, t, "start")
			for _, x := range []*siptest.Call{p.out, p.in} {
				ok(t, x.Hold(ctx))
				ok(t, x.Resume(ctx))
				p.hear(ctx, t, "resumed")
				ok(t, x.ReInvite(ctx, siptest.Offer{Move: true}))
				p.hear(ctx, t, "moved")
				ok(t, x.ReInvite(ctx, siptest.Offer{Late: true}))
				p.hear(ctx, t, "after a late offer")
			}
			p.protected(t, c.caller, c.callee)
			ok(t, p.out.SendDigits(ctx, "42#"))
			for p.in.Heard().Digits != "42#" && ctx.Err() == nil {
				time.Sleep(10 * time.Millisecond)
			}
			for _, x := range []*siptest.Call{p.out, p.in} {
				if h := x.Heard(); h.Forged > 0 || h.Lost > 0 {
					t.Errorf("%d packets did not decrypt, %d are missing", h.Forged, h.Lost)
				}
			}
			ok(t, p.out.HangUp())
		})
	}
}
