package pbx_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"ringfence/internal/pbxtest"
	"ringfence/internal/ports"
	"ringfence/internal/siptest"
	"ringfence/tests/apiclient"
)

// registers tries to register over a listener and returns the status.
func registers(t *testing.T, p *pbxtest.PBX, id ports.ID, c siptest.Config) int {
	t.Helper()
	c.Server, c.Transport = p.Addr(id), pbxtest.Transport(id)
	phone := siptest.NewPhone(t, c)
	defer phone.Close()
	err := phone.Register(within(t, 10*time.Second))
	var refused *siptest.StatusError
	switch {
	case errors.As(err, &refused):
		return refused.Code
	case err != nil:
		t.Fatal(err)
	}
	return 200
}

// logsIn tries to log in and returns the client, or nil.
func logsIn(t *testing.T, p *pbxtest.PBX, name, password string) *apiclient.Client {
	t.Helper()
	c := apiclient.New(p.Facts().Admin.URL, "", nil)
	err := c.Login(within(t, 10*time.Second), name, password)
	if err != nil && apiclient.Status(err) != 401 {
		t.Fatal(err)
	}
	if err != nil {
		return nil
	}
	return c
}

// A user has two passwords: one for the phone, one for the portal. Neither is
// good for the other, and each is changed alone.
func TestTwoPasswordsPerUser(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	e := p.Extension("101")
	sip := siptest.Config{User: e.SIPUser, Password: e.SIPPassword, Domain: e.Domain}
	wrong := sip
	wrong.Password = e.UserPassword
	user := logsIn(t, p, e.User, e.UserPassword)
	if user == nil || registers(t, p, ports.SIPUDP, sip) != 200 {
		t.Fatal("the right passwords are refused")
	}
	if code := registers(t, p, ports.SIPUDP, wrong); code != 401 {
		t.Errorf("the user's password registers a phone: %d", code)
	}
	if logsIn(t, p, e.User, e.SIPPassword) != nil {
		t.Error("the SIP password logs in to the portal")
	}

	ctx := within(t, 20*time.Second)
	var renewed struct {
		Password string `json:"sip_password"`
	}
	if err := p.Admin().Do(ctx, "POST", "/extensions/101/sip-password", nil, &renewed); err != nil {
		t.Fatal(err)
	}
	if code := registers(t, p, ports.SIPUDP, sip); code != 401 {
		t.Errorf("the old SIP password: %d", code)
	}
	sip.Password = renewed.Password
	if registers(t, p, ports.SIPUDP, sip) != 200 || logsIn(t, p, e.User, e.UserPassword) == nil {
		t.Error("a new SIP password does not work, or it changed the user's")
	}
	const another = "Neblig ab 8 Gurken"
	if err := user.Do(ctx, "PUT", "/session/password", map[string]string{"current": e.UserPassword, "new": another}, nil); err != nil {
		t.Fatal(err)
	}
	if logsIn(t, p, e.User, another) == nil || logsIn(t, p, e.User, e.UserPassword) != nil {
		t.Error("the user's password did not change")
	}
	if registers(t, p, ports.SIPUDP, sip) != 200 {
		t.Error("changing the user's password changed the SIP password")
	}
}

// With "TLS only" a tenant's phones are refused on UDP and TCP, calls and
// registrations alike, and those that were there are gone.
func TestTLSOnlyTenant(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	udp := p.Phone("101", 0)
	p.PhoneOn(ports.SIPTLS, "102", 0)
	admin, ctx := p.Admin(), within(t, 30*time.Second)
	settings := map[string]any{"name": "Dev", "digest": "md5", "tls_only": true, "max_contacts": 10, "qualify_seconds": 30, "qualify_failures": 3}
	if err := admin.Do(ctx, "PUT", "/tenant", settings, nil); err != nil {
		t.Fatal(err)
	}
	for p.Registered() != 1 {
		if ctx.Err() != nil {
			t.Fatalf("%d registrations", p.Registered())
		}
		time.Sleep(20 * time.Millisecond)
	}
	var refused *siptest.StatusError
	if err := udp.Register(ctx); !errors.As(err, &refused) || refused.Code != 403 || refused.Reason != "TLS Required" {
		t.Errorf("REGISTER over UDP: %v", err)
	}
	call, err := udp.Call(ctx, "102")
	if err == nil {
		err = call.Wait(ctx, siptest.Answered)
	}
	if !errors.As(err, &refused) || refused.Code != 403 {
		t.Errorf("INVITE over UDP: %v", err)
	}
	for id, want := range map[ports.ID]int{ports.SIPTCP: 403, ports.EdgeUDP: 403, ports.EdgeTCP: 403, ports.SIPTLS: 200, ports.EdgeWSS: 200} {
		e := p.Extension("103")
		if code := registers(t, p, id, siptest.Config{User: e.SIPUser, Password: e.SIPPassword, Domain: e.Domain}); code != want {
			t.Errorf("REGISTER on %s: %d, want %d", id, code, want)
		}
	}
}

// A web phone registers with the credentials its session got, over WebSockets
// only, and not after the session.
func TestWebPhoneCredentials(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	e := p.Extension("101")
	user, ctx := logsIn(t, p, e.User, e.UserPassword), within(t, 30*time.Second)
	if user == nil {
		t.Fatal("no log-in")
	}
	var got struct {
		AuthUser string    `json:"auth_user"`
		Password string    `json:"password"`
		Expires  time.Time `json:"expires_at"`
	}
	issue := func() siptest.Config {
		t.Helper()
		if err := user.Do(ctx, "POST", "/web-phone/credentials", nil, &got); err != nil {
			t.Fatal(err)
		}
		if life := time.Until(got.Expires); life < time.Hour || life > 12*time.Hour {
			t.Errorf("they live %v", life)
		}
		return siptest.Config{User: "101", AuthUser: got.AuthUser, Password: got.Password, Domain: e.Domain}
	}
	c := issue()
	for id, want := range map[ports.ID]int{ports.EdgeWSS: 200, ports.SIPUDP: 401, ports.SIPTLS: 401} {
		if code := registers(t, p, id, c); code != want {
			t.Errorf("on %s: %d, want %d", id, code, want)
		}
	}
	other := c
	other.User = "102"
	if code := registers(t, p, ports.EdgeWSS, other); code != 403 {
		t.Errorf("as another extension: %d", code)
	}
	calls(t, ctx, p, c)
	if err := user.Do(ctx, "DELETE", "/session", nil, nil); err != nil {
		t.Fatal(err)
	}
	if code := registers(t, p, ports.EdgeWSS, c); code != 401 {
		t.Errorf("after the session: %d", code)
	}
}

// calls has a web phone call a desk phone.
func calls(t *testing.T, ctx context.Context, p *pbxtest.PBX, c siptest.Config) {
	t.Helper()
	c.Server, c.Transport = p.Addr(ports.EdgeWSS), "WSS"
	browser, desk := siptest.NewPhone(t, c), p.Phone("102", 0)
	if err := browser.Register(ctx); err != nil {
		t.Fatal(err)
	}
	out, in := connect(t, browser, desk, "102")
	if err := out.HangUp(); err != nil {
		t.Fatal(err)
	}
	if err := in.Wait(ctx, siptest.Ended); err != nil {
		t.Fatal(err)
	}
}
