package sip

import (
	"testing"
	"time"

	"ringfence/internal/ports"
)

func benchEndpoint(b testing.TB, h Handler) (*Endpoint, Flow) {
	e := New(Config{Logger: quiet(), Workers: 1, Product: "Ringfence"})
	b.Cleanup(func() { e.Close() })
	e.Handle("", h)
	f, err := e.Attach(ports.SIPUDP, ports.Core, here, &counting{})
	if err != nil {
		b.Fatal(err)
	}
	f.Remote = there
	return e, f
}

// challenging is an endpoint that challenges every request.
func challenging(t testing.TB) (*Endpoint, Flow) {
	auth := NewAuthenticator(AuthConfig{})
	return benchEndpoint(t, HandlerFunc(func(tx *ServerTx) {
		auth.Require(tx, ChallengeUser, realm, func(string) (Secret, bool) { return Secret{}, false })
	}))
}

// BenchmarkChallenge is a REGISTER without credentials up to its 401, without
// the system calls.
func BenchmarkChallenge(b *testing.B) {
	e, f := challenging(b)
	raw := []byte(register(1))
	b.ReportAllocs()
	for b.Loop() {
		e.handle(f, raw, time.Now())
	}
}

func BenchmarkParse(b *testing.B) {
	raw := []byte(register(1))
	b.ReportAllocs()
	for b.Loop() {
		if m, err := parse(raw, Flow{}); err != nil || m.fault != "" {
			b.Fatal(err, m.fault)
		}
	}
}

func BenchmarkJunk(b *testing.B) {
	e, f := benchEndpoint(b, nil)
	raw := []byte("GET / HTTP/1.1\r\nHost: 192.0.2.1\r\nUser-Agent: x\r\n\r\n")
	b.ReportAllocs()
	for b.Loop() {
		e.Receive(f, raw)
	}
}
