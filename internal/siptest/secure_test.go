package siptest

import (
	"testing"
	"time"
)

// Phones speak every suite with each other, and keep hearing across holds, a
// new port, a late offer, digits, and the wrap of sequence numbers.
func TestPhonesSpeakSRTP(t *testing.T) {
	t.Parallel()
	for _, suite := range []string{
		"DTLS",
		"AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AES_256_CM_HMAC_SHA1_80", "AES_CM_256_HMAC_SHA1_32", "AEAD_AES_128_GCM", "AEAD_AES_256_GCM",
	} {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			a, b := pair(t, func(a, b *Config) {
				a.Suites, b.Suites = []string{suite}, []string{"AES_CM_128_HMAC_SHA1_80", suite}
				a.FirstSequence = 65500
				if suite == "DTLS" {
					a.DTLS, b.DTLS, b.NoMux = true, true, true
					a.Suites, b.Suites = nil, nil
				}
			})
			out, in := connect(t, a, b)
			ctx := within(t, 20*time.Second)
			if suite == "DTLS" {
				for out.Suite() == "" || in.Suite() == "" {
					time.Sleep(10 * time.Millisecond)
					ok(t, ctx.Err())
				}
			} else if out.Suite() != suite || in.Suite() != suite {
				t.Fatalf("%q and %q", out.Suite(), in.Suite())
			}
			hears := func(when string) {
				t.Helper()
				time.Sleep(100 * time.Millisecond) // what was on its way when keys changed
				out.Forget()
				in.Forget()
				for _, x := range []struct {
					c          *Call
					hears, not float64
				}{{out, 660, 440}, {in, 440, 660}} {
					h, err := x.c.Hear(ctx, 600*time.Millisecond)
					if err == nil {
						err = h.Only(x.hears, x.not)
					}
					if err != nil || h.Forged > 0 {
						t.Errorf("%s: %d forged %v; %v", when, h.Forged, h.Forgeries, err)
					}
				}
			}
			time.Sleep(600 * time.Millisecond)
			hears("after the wrap")
			ok(t, out.Hold(ctx))
			ok(t, out.Resume(ctx))
			hears("resumed")
			ok(t, in.ReInvite(ctx, Offer{Move: true}))
			hears("moved")
			ok(t, in.ReInvite(ctx, Offer{Late: true}))
			hears("after a late offer")
			ok(t, out.ReInvite(ctx, Offer{Rekey: true}))
			hears("with new keys")
			ok(t, in.ReInvite(ctx, Offer{NewStream: true}))
			hears("with another SSRC")
			ok(t, out.SendDigits(ctx, "7"))
			if h := in.Heard(); h.Digits != "7" {
				t.Errorf("digits %q", h.Digits)
			}
			noise := make([]byte, 182)
			noise[0], noise[1] = 0x80, 0
			ok(t, out.RawRTP(in.MediaAddr(), noise))
			time.Sleep(50 * time.Millisecond)
			if in.Heard().Forged != 1 {
				t.Error("noise is taken for media")
			}
			ok(t, out.HangUp())
		})
	}
}
