package pbx_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"ringfence/internal/pbxtest"
	"ringfence/internal/ports"
	"ringfence/internal/siptest"
)

// flow registers one connection of a device as extension 102 and returns its
// phone.
func flow(ctx context.Context, t *testing.T, p *pbxtest.PBX, id ports.ID, headers ...string) *siptest.Phone {
	t.Helper()
	e := p.Extension("102")
	phone := siptest.NewPhone(t, siptest.Config{Server: p.Addr(id), Transport: pbxtest.Transport(id), User: e.SIPUser, Password: e.SIPPassword, Domain: e.Domain})
	for i := range headers {
		headers[i] = strings.ReplaceAll(headers[i], "ADDR", phone.Addr().String())
	}
	res, err := phone.Do(ctx, siptest.Request{Method: "REGISTER", URI: "sip:" + e.Domain, To: phone.URI(), Headers: headers})
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("registering: %v, %v", res, err)
	}
	return phone
}

// rings has 101 call 102 and says which of the phones rang.
func rings(ctx context.Context, t *testing.T, caller *siptest.Phone, phones ...*siptest.Phone) (which []int) {
	t.Helper()
	out, err := caller.Call(ctx, "102")
	if err != nil {
		t.Fatal(err)
	}
	soon, stop := context.WithTimeout(ctx, 700*time.Millisecond)
	defer stop()
	for i, p := range phones {
		if in, err := p.WaitCall(soon); err == nil {
			which = append(which, i)
			defer func() { _ = in.Wait(ctx, siptest.Ended) }()
		}
	}
	if err := out.Cancel(); err != nil {
		t.Logf("cancelling: %v", err)
	}
	return which
}

// A device with two connections (RFC 5626) rings once, on the later one, and on
// the other when that is gone.
func TestDeviceWithSeveralFlowsRingsOnce(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	ctx := within(t, 30*time.Second)
	caller := p.Phone("101", 0)
	contact := func(id int) string {
		return fmt.Sprintf(`Contact: <sip:102@ADDR;transport=tls>;+sip.instance="<urn:uuid:00000000-0000-1000-8000-000000000001>";reg-id=%d`, id)
	}
	first := flow(ctx, t, p, ports.SIPTLS, contact(1), "Supported: outbound, path")
	second := flow(ctx, t, p, ports.SIPTLS, contact(2), "Supported: outbound, path")
	if got := fmt.Sprint(rings(ctx, t, caller, second, first)); got != "[0]" {
		t.Errorf("rang %s of [second first], want the second alone", got)
	}
	second.Close()
	for p.Registered() != 2 { // 101 and the first flow
		if ctx.Err() != nil {
			t.Fatalf("%d registrations", p.Registered())
		}
		time.Sleep(10 * time.Millisecond)
	}
	if got := fmt.Sprint(rings(ctx, t, caller, first)); got != "[0]" {
		t.Errorf("after the second was gone rang %s, want the first", got)
	}
}

// A call to a phone behind a proxy takes the way of its registration (RFC 3327
// section 5.4).
func TestCallsTakeThePath(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	ctx := within(t, 30*time.Second)
	caller := p.Phone("101", 0)
	callee := flow(ctx, t, p, ports.SIPUDP, "Contact: <sip:102@phone.invalid>", "Supported: path", "Path: <sip:ADDR;lr>, <sip:second.invalid;lr;x=y>")
	if got := fmt.Sprint(rings(ctx, t, caller, callee)); got != "[0]" {
		t.Fatalf("rang %s", got)
	}
	for _, m := range callee.Trace() {
		if m.Out || !strings.HasPrefix(m.Text, "INVITE ") {
			continue
		}
		want := fmt.Sprintf("Route: <sip:%s;lr>\r\nRoute: <sip:second.invalid;lr;x=y>\r\n", callee.Addr())
		if !strings.HasPrefix(m.Text, "INVITE sip:102@phone.invalid SIP/2.0\r\n") || !strings.Contains(m.Text, want) {
			t.Errorf("want the Contact and %q:\n%s", want, m.Text)
		}
		return
	}
	t.Error("no INVITE in the trace")
}

// A browser can be reached over nothing but the connection it opened: transferred
// by a phone, blind, it goes on there, with the media of whom it was sent to. And
// it transfers others.
func TestBrowserIsTransferred(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	ctx := within(t, 40*time.Second)
	browser := func(number string, tone float64) *siptest.Phone {
		e := p.Extension(number)
		b := siptest.NewPhone(t, siptest.Config{
			Server: p.Addr(ports.EdgeWSS), Transport: "WSS", User: e.SIPUser, Password: e.SIPPassword, Domain: e.Domain, Tone: tone, Host: "phone.example", // .invalid would be offered DTLS-SRTP, which this phone lacks
		})
		if err := b.Register(ctx); err != nil {
			t.Fatal(err)
		}
		return b
	}
	a, w, c, d := p.Phone("101", 440), browser("102", 880), p.Phone("103", 660), browser("104", 1100)
	sendTo := func(out, in *siptest.Call, to *siptest.Phone, number string, stays, comes float64) *siptest.Call {
		t.Helper()
		if err := out.Refer(ctx, "<sip:"+number+"@"+p.Extension("101").Domain+">"); err != nil {
			t.Fatal(err)
		}
		third, err := to.WaitCall(ctx)
		if err == nil {
			err = third.Answer()
		}
		if err == nil {
			err = out.Wait(ctx, siptest.Ended)
		}
		if err != nil {
			t.Fatal(err)
		}
		hears(ctx, t, in, comes, stays)
		hears(ctx, t, third, stays, comes)
		return third
	}
	out, in := connect(t, a, w, "102")
	third := sendTo(out, in, c, "103", 880, 660)
	last := sendTo(in, third, d, "104", 660, 1100) // now the browser sends on
	if err := third.HangUp(); err != nil {
		t.Error(err)
	}
	if err := last.Wait(ctx, siptest.Ended); err != nil {
		t.Error(err)
	}
}
