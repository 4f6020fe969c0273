package siptest

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"
)

// customer is a provider, and a phone that has an account with it.
func customer(t *testing.T, c ProviderConfig) (*Provider, *Phone) {
	t.Helper()
	listen := netip.MustParseAddrPort("127.0.0.1:0")
	c.Listen, c.User, c.Password, c.Tone = listen, "4930123", "secret", 660
	p := NewProvider(t, c)
	return p, NewPhone(t, Config{
		Server: p.Addr(), User: "4930123", Password: "secret", Domain: "provider.test", Transport: c.Transport, Tone: 440,
	})
}

func TestProviderRegistersAndCarriesCallsBothWays(t *testing.T) {
	t.Parallel()
	for _, c := range []ProviderConfig{
		{Config: Config{Transport: "UDP"}, Proxy: true},
		{Config: Config{Transport: "TCP"}, Algorithms: []string{"SHA-256", "MD5"}, NonceUses: 1},
		{Config: Config{Transport: "TLS"}, NoQOP: true},
	} {
		t.Run(c.Transport, func(t *testing.T) {
			t.Parallel()
			p, phone := customer(t, c)
			ctx := within(t, 20*time.Second)
			ok(t, phone.Register(ctx))
			if n := len(p.Registered()); n != 1 || len(p.Requests("REGISTER")) != 2 {
				t.Fatalf("%d registered after %d requests", n, len(p.Requests("REGISTER")))
			}
			out, err := phone.Call(ctx, "4940999")
			ok(t, err)
			hears(t, ctx, p.Phone, out)
			in, err := p.CallIn(ctx, "493012345", false, CallOptions{})
			ok(t, err)
			hears(t, ctx, phone, in)
			ok(t, phone.Unregister(ctx))
			if n := len(p.Registered()); n != 0 {
				t.Errorf("%d registered after the end", n)
			}
		})
	}
}

// hears answers a call and listens at both ends.
func hears(t *testing.T, ctx context.Context, callee *Phone, out *Call) {
	t.Helper()
	in, err := callee.WaitCall(ctx)
	ok(t, err)
	ok(t, in.Answer())
	ok(t, out.Wait(ctx, Answered))
	for _, c := range []*Call{in, out} {
		h, err := c.Hear(ctx, 700*time.Millisecond)
		ok(t, err)
		want, other := 440.0, 660.0
		if c.phone.config.Tone == want {
			want, other = other, want
		}
		ok(t, h.Only(want, other))
	}
	ok(t, out.HangUp())
	ok(t, in.Wait(ctx, Ended))
}

func TestProviderRefusesAsItIsTold(t *testing.T) {
	t.Parallel()
	p, phone := customer(t, ProviderConfig{MinExpires: 20 * time.Minute})
	ctx := within(t, 20*time.Second)
	refused := func(want int) {
		t.Helper()
		var e *StatusError
		if err := phone.Register(ctx); !errors.As(err, &e) || e.Code != want {
			t.Errorf("%v, want %d", err, want)
		}
	}
	refused(423)
	p.Script("REGISTER", ScriptedAnswer{503, []string{"Retry-After: 7"}})
	refused(503)
	phone.config.Password = "wrong"
	refused(401)
	p.Cut(true)
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if err := phone.Register(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a provider that is cut off: %v", err)
	}
}
