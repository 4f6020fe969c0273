// Package pbxtest runs a whole PBX inside a test process: real sockets on
// loopback, ports of the kernel's choice, a seeded tenant.
//
//	p := pbxtest.New(t)
//	a, b := p.Phone("101", 440), p.Phone("102", 880)
package pbxtest

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"ringfence/internal/pbx"
	"ringfence/internal/ports"
	"ringfence/internal/siptest"
	"ringfence/tests/apiclient"
)

// PBX is a running PBX under test.
type PBX struct {
	*pbx.PBX
	t testing.TB
}

// New starts a PBX with four extensions from 101 on; it ends with the test.
func New(t testing.TB) *PBX {
	t.Helper()
	return Open(t, pbx.Options{DataDir: t.TempDir(), Extensions: 4})
}

// Open starts a PBX with options of the test's own; Dev, Ephemeral, Listen and
// Logger are set here.
func Open(t testing.TB, o pbx.Options) *PBX {
	t.Helper()
	o.Dev, o.Ephemeral, o.Listen = true, true, netip.AddrFrom4([4]byte{127, 0, 0, 1})
	o.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	p, err := pbx.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("closing the PBX: %v", err)
		}
	})
	return &PBX{PBX: p, t: t}
}

// Addr is where a service listens.
func (p *PBX) Addr(id ports.ID) netip.AddrPort {
	p.t.Helper()
	for _, l := range p.Facts().Listeners {
		if l.ID == id {
			return netip.AddrPortFrom(l.Addr, l.Port)
		}
	}
	p.t.Fatalf("%s does not listen", id)
	return netip.AddrPort{}
}

// Extension is what a phone needs to know.
func (p *PBX) Extension(number string) pbx.PhoneFacts {
	p.t.Helper()
	for _, e := range p.Facts().Extensions {
		if e.Number == number {
			return e
		}
	}
	p.t.Fatalf("no extension %s was seeded", number)
	return pbx.PhoneFacts{}
}

// Phone starts a phone that sends a tone, and registers it, over UDP.
func (p *PBX) Phone(number string, tone float64) *siptest.Phone {
	p.t.Helper()
	return p.PhoneOn(ports.SIPUDP, number, tone)
}

// PhoneOn is Phone on any SIP listener.
func (p *PBX) PhoneOn(id ports.ID, number string, tone float64, change ...func(*siptest.Config)) *siptest.Phone {
	p.t.Helper()
	e := p.Extension(number)
	c := siptest.Config{Server: p.Addr(id), Transport: Transport(id), User: e.SIPUser, Password: e.SIPPassword, Domain: e.Domain, Tone: tone}
	for _, f := range change {
		f(&c)
	}
	phone := siptest.NewPhone(p.t, c)
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
	defer cancel()
	if err := phone.Register(ctx); err != nil {
		p.t.Fatalf("registering %s: %v", number, err)
	}
	return phone
}

// Transport is what a phone speaks to a SIP listener.
func Transport(id ports.ID) string {
	switch id {
	case ports.SIPTCP, ports.EdgeTCP:
		return "TCP"
	case ports.SIPTLS:
		return "TLS"
	case ports.EdgeWSS:
		return "WSS"
	}
	return "UDP"
}

// Admin is an API client that is logged in as the administrator.
func (p *PBX) Admin() *apiclient.Client {
	p.t.Helper()
	f := p.Facts()
	c := apiclient.New(f.Admin.URL, "", nil)
	ctx, cancel := context.WithTimeout(p.t.Context(), 20*time.Second)
	defer cancel()
	if err := c.Login(ctx, f.Admin.User, f.Admin.Password); err != nil {
		p.t.Fatal(err)
	}
	return c
}
