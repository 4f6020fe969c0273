package pbx_test

import (
	"strings"
	"testing"
	"time"

	"ringfence/internal/pbxtest"
	"ringfence/internal/ports"
	"ringfence/internal/siptest"
)

// A phone shows another certificate than it described: nobody is heard, and within
// seconds both phones are told why, and the record says so.
func TestWrongCertificateEndsTheCall(t *testing.T) {
	t.Parallel()
	for _, side := range []string{"caller", "callee"} {
		t.Run(side, func(t *testing.T) {
			t.Parallel()
			p := pbxtest.New(t)
			wrong := func(c *siptest.Config) { c.DTLS, c.Opportunistic, c.WrongFingerprint = true, true, true }
			plain := func(*siptest.Config) {}
			if side == "callee" {
				wrong, plain = plain, wrong
			}
			a, b := p.PhoneOn(ports.SIPUDP, "101", 440, wrong), p.PhoneOn(ports.SIPUDP, "102", 880, plain)
			out, in := connect(t, a, b, "102")
			ctx := within(t, 20*time.Second)
			for _, c := range []*siptest.Call{out, in} {
				if err := c.Wait(ctx, siptest.Ended); err != nil {
					t.Fatal(err)
				}
			}
			const reason = `Reason: SIP;cause=488;text="the certificate is not the one described"`
			for _, phone := range []*siptest.Phone{a, b} {
				told := false
				for _, m := range phone.Trace() {
					told = told || !m.Out && strings.HasPrefix(m.Text, "BYE ") && strings.Contains(m.Text, reason)
				}
				if !told {
					t.Errorf("%s was not told why", phone.URI())
				}
			}
			if out.Heard().Packets+in.Heard().Packets > 0 {
				t.Errorf("the phones heard %d and %d packets", out.Heard().Packets, in.Heard().Packets)
			}
			if all := records(t, p, 1); len(all) != 1 || all[0].Reason != "media_security" {
				t.Errorf("records %+v", all)
			}
		})
	}
}
