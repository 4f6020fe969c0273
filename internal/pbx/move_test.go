package pbx_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"ringfence/internal/pbxtest"
	"ringfence/internal/ports"
	"ringfence/internal/siptest"
)

// hears checks that a phone hears a tone and no other.
func hears(ctx context.Context, t *testing.T, c *siptest.Call, tone, not float64) {
	t.Helper()
	c.Forget()
	short, stop := context.WithTimeout(ctx, 5*time.Second)
	defer stop()
	h, err := c.Hear(short, time.Second)
	if err == nil {
		err = h.Middle(500*time.Millisecond).Only(tone, not)
	}
	if err != nil {
		t.Error(err)
	}
}

// The NAT of a phone in a call gives it other ports, for signalling and media.
// Whatever the phone sends next, without an offer, shows where it is now: a
// request in the call, or its next registration. Audio and requests follow.
func TestPhoneMovesInACall(t *testing.T) {
	t.Parallel()
	info := func(ctx context.Context, _ *siptest.Phone, c *siptest.Call) error {
		_, err := c.Do(ctx, "INFO", []string{"Content-Type: application/dtmf"}, "1")
		return err
	}
	options := func(ctx context.Context, _ *siptest.Phone, c *siptest.Call) error {
		_, err := c.Do(ctx, "OPTIONS", nil, "")
		return err
	}
	register := func(ctx context.Context, p *siptest.Phone, _ *siptest.Call) error { return p.Register(ctx) }
	for _, c := range []struct {
		name, moves string
		send        func(context.Context, *siptest.Phone, *siptest.Call) error
	}{{"INFO", "caller", info}, {"OPTIONS", "callee", options}, {"REGISTER", "caller", register}, {"REGISTER", "callee", register}} {
		t.Run(c.name+" of the "+c.moves, func(t *testing.T) {
			t.Parallel()
			p := pbxtest.New(t)
			ctx := within(t, 40*time.Second)
			phone, still := p.Phone("101", 440), p.Phone("102", 880)
			own, other := connect(t, phone, still, "102")
			if c.moves == "callee" {
				_ = own.HangUp()
				other, own = connect(t, still, phone, "101")
			}
			hears(ctx, t, own, 880, 440)
			hears(ctx, t, other, 440, 880)
			if err := phone.Remap(); err != nil {
				t.Fatal(err)
			}
			if err := c.send(ctx, phone, own); err != nil {
				t.Fatal(err)
			}
			hears(ctx, t, own, 880, 440)
			hears(ctx, t, other, 440, 880)
			if err := other.Hold(ctx); err != nil {
				t.Errorf("the phone is not found where it is: %v", err)
			}
			if err := other.HangUp(); err != nil {
				t.Error(err)
			}
			if err := own.Wait(ctx, siptest.Ended); err != nil {
				t.Error(err)
			}
		})
	}
}

// A phone whose connection breaks in a call registers on a new one: its calls go
// on there, and the other side can hang up.
func TestPhoneComesBackOnANewConnection(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	ctx := within(t, 30*time.Second)
	a := p.Phone("101", 440)
	for number, id := range map[string]ports.ID{"102": ports.SIPTCP, "103": ports.EdgeWSS} {
		e := p.Extension(number)
		config := siptest.Config{
			Server: p.Addr(id), Transport: pbxtest.Transport(id), User: e.SIPUser, Password: e.SIPPassword, Domain: e.Domain,
			Host: "phone.example", AutoAnswer: true,
		}
		b := siptest.NewPhone(t, config)
		if err := b.Register(ctx); err != nil {
			t.Fatal(err)
		}
		out, err := a.Call(ctx, number)
		if err == nil {
			err = out.Wait(ctx, siptest.Answered)
		}
		if err != nil {
			t.Fatal(err)
		}
		in, err := b.WaitCall(ctx)
		if err != nil {
			t.Fatal(err)
		}
		id := in.ID()
		b.Close()
		back := siptest.NewPhone(t, config)
		if err := back.Register(ctx); err != nil {
			t.Fatal(err)
		}
		if err := out.HangUp(); err != nil {
			t.Error(err)
		}
		for !sawBye(back, id) {
			if ctx.Err() != nil {
				t.Fatal("the phone is not told of the end on its new connection")
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// sawBye reports whether a phone got a BYE of a call, which it does not know.
func sawBye(p *siptest.Phone, callID string) bool {
	for _, m := range p.Trace() {
		if !m.Out && strings.HasPrefix(m.Text, "BYE ") && strings.Contains(m.Text, "\r\nCall-ID: "+callID+"\r\n") {
			return true
		}
	}
	return false
}
