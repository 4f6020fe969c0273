package pbx_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ringfence/internal/pbxtest"
	"ringfence/internal/ports"
	"ringfence/internal/siptest"
)

// secured is a registered phone with suites of SRTP.
func secured(t *testing.T, p *pbxtest.PBX, number string, suites ...string) *siptest.Phone {
	t.Helper()
	e := p.Extension(number)
	phone := siptest.NewPhone(t, siptest.Config{Server: p.Addr(ports.SIPUDP), User: e.SIPUser, Password: e.SIPPassword, Domain: e.Domain, Suites: suites, Tone: 440})
	if err := phone.Register(within(t, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	return phone
}

// The policy of an extension is that of every phone of it, calling and called:
// require-256 refuses media in the clear and a 128-bit key, and the record says why.
func TestMediaSecurityOfAnExtension(t *testing.T) {
	t.Parallel()
	const strong, weak = "AES_256_CM_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_80"
	p := pbxtest.New(t)
	admin := p.Admin()
	must := func(number, policy string) {
		t.Helper()
		in := map[string]any{"display_name": "", "no_answer_seconds": 30, "media_security": policy}
		if err := admin.Do(t.Context(), "PUT", "/extensions/"+number, in, nil); err != nil {
			t.Fatal(err)
		}
	}
	must("101", "require-256")
	must("102", "require-256")
	must("104", "require")
	free := p.Phone("103", 660)
	for i, suites := range [][]string{nil, {weak}} {
		refused(t, secured(t, p, "101", suites...), "103")
		phone := secured(t, p, "102", suites...)
		out, err := free.Call(within(t, 15*time.Second), "102")
		if err != nil {
			t.Fatal(err)
		}
		ctx, done := context.WithTimeout(t.Context(), 15*time.Second)
		in, err := phone.WaitCall(ctx)
		if err == nil {
			_ = in.Answer() // as it can
		}
		ends(t, out)
		done()
		phone.Close()
		for _, r := range records(t, p, 2*(i+1))[:2] {
			if r.Reason != "media_security" || r.StatusCode != 488 {
				t.Errorf("with %v: %+v", suites, r)
			}
		}
	}
	// With the right key both ways; the other side may do as it likes.
	a := secured(t, p, "101", strong)
	out, in := connect(t, a, free, "103")
	if out.Suite() != strong || in.Suite() != "" {
		t.Errorf("suites %q and %q", out.Suite(), in.Suite())
	}
	_ = out.HangUp()
	out, in = connect(t, a, secured(t, p, "104", weak), "104")
	if out.Suite() != strong || in.Suite() != weak {
		t.Errorf("suites %q and %q", out.Suite(), in.Suite())
	}
}

// refused calls number and wants 488.
func refused(t *testing.T, a *siptest.Phone, number string) {
	t.Helper()
	out, err := a.Call(within(t, 15*time.Second), number)
	if err != nil {
		t.Fatal(err)
	}
	ends(t, out)
}

// ends waits for the 488 of a call.
func ends(t *testing.T, c *siptest.Call) {
	t.Helper()
	err := c.Wait(within(t, 15*time.Second), siptest.Answered)
	if status := (*siptest.StatusError)(nil); !errors.As(err, &status) || status.Code != 488 {
		t.Errorf("ended with %v, want 488", err)
	}
}

// C02: what is set under Addresses is told by the next message, without a restart.
func TestPublicAddressIsInForceAtOnce(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	admin := p.Admin()
	a, b := p.Phone("101", 0), p.Phone("102", 0)
	var detected struct {
		Detected []struct{ Address string } `json:"detected"`
	}
	if err := admin.Do(t.Context(), "GET", "/addresses", nil, &detected); err != nil {
		t.Fatal(err)
	}
	for _, d := range detected.Detected {
		if addr, err := netip.ParseAddr(d.Address); err != nil || addr.IsLoopback() {
			t.Errorf("detected %q", d.Address)
		}
	}
	for _, x := range []struct {
		public string
		per    map[string]string
		always bool
		want   string
	}{
		{"203.0.113.7", nil, true, "203.0.113.7"},
		{"203.0.113.7", map[string]string{"local": "10.9.9.9", "public": "203.0.113.8"}, true, "203.0.113.7"},
		{"203.0.113.7", nil, false, "127.0.0.1"}, // this machine is inside
	} {
		per := []map[string]string{}
		if x.per != nil {
			per = append(per, x.per)
		}
		in := map[string]any{"public_address": x.public, "public_addresses": per, "advertise_always": x.always, "inside_networks": []string{"10.0.0.0/8"}}
		if err := admin.Do(t.Context(), "PUT", "/addresses", in, nil); err != nil {
			t.Fatal(err)
		}
		out, err := a.Call(within(t, 10*time.Second), "102")
		if err != nil {
			t.Fatal(err)
		}
		got, err := b.WaitCall(within(t, 10*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		invite := got.Invite().String()
		if n := strings.Count(invite, x.want); n < 3 || got.Remote().Addr.Addr().String() != x.want { // Via, Contact, c=
			t.Errorf("%+v: %s", x, invite)
		}
		_ = out.Cancel()
		_ = got.Wait(within(t, 10*time.Second), siptest.Ended)
	}
}
