package interop

import (
	"context"
	"testing"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/siptest"
	"ringfence/tests/clients"
)

// phoneVoice is a phone of our own, which calls only.
type phoneVoice struct {
	p *siptest.Phone
	h siptest.Heard
}

func (v *phoneVoice) call(ctx context.Context, number string, talk time.Duration) error {
	c, err := v.p.Call(ctx, number)
	if err == nil {
		err = c.Wait(ctx, siptest.Answered)
	}
	if err != nil {
		return err
	}
	time.Sleep(talk)
	v.h = c.Heard()
	return c.HangUp()
}

func (v *phoneVoice) answer(context.Context) error  { return nil }
func (v *phoneVoice) heard() (siptest.Heard, error) { return v.h, nil }
func (v *phoneVoice) ciphers() string               { return "" }

// Calls go on where the sequence numbers wrap, as they do every 22 minutes, for
// what real clients make of our SRTP: a phone begins so late in its numbers that
// they wrap in the second that is judged, in the clear and encrypted on its side.
func TestRealClientsHearOnAfterAWrap(t *testing.T) {
	t.Parallel()
	b := newBench(t, "-extensions", "8")
	domain := b.pbx.Extension("101").Domain
	callees := []member{
		{name: "baresip RTP", number: "101", tone: 440, voice: &baresipVoice{p: b.baresip(t, "101", 0, 440, "")}},
		{name: "baresip SDES", number: "102", tone: 520, takes: "AEAD_AES_256_GCM", voice: &baresipVoice{p: b.baresip(t, "102", 1, 520, ";mediaenc=srtp-mand")}},
		{name: "linphone SDES", number: "103", tone: 660, takes: "AES_256_CM_HMAC_SHA1_80",
			voice: &linphoneVoice{p: b.linphone(t, "103", 0, 660, func(c *clients.LinphoneConfig) { c.Secure = true }), domain: domain}},
		{name: "Chromium", number: "104", tone: 740, takes: "AEAD_AES_256_GCM",
			voice: &webVoice{p: b.webPhone(t, b.browser(t), "104", 740), domain: domain}},
	}
	var callers []member
	for i, tone := range []float64{880, 1000, 1320, 600} {
		number := b.pbx.Extension([]string{"105", "106", "107", "108"}[i]).SIPUser
		p := b.phoneOver(t, ports.SIPUDP, number, tone, func(c *siptest.Config) {
			c.FirstSequence = 65480 // 56 packets, or 1.1 s, before the wrap
			if i%2 == 1 {
				c.Suites = []string{"AES_CM_128_HMAC_SHA1_80"}
			}
		})
		if err := p.Register(within(t, 10*time.Second)); err != nil {
			t.Fatal(err)
		}
		callers = append(callers, member{name: "phone " + number, number: number, tone: tone, voice: &phoneVoice{p: p}})
	}
	everybody := append(append([]member(nil), callees...), callers...)
	for i := range callees {
		m := meeting{callers[i], callees[i]}
		t.Run(m.String(), func(t *testing.T) {
			t.Parallel()
			if err := m.take(t.Context(), everybody); err != nil {
				t.Errorf("%.4000v", err)
			}
		})
	}
}
