//go:build !race

package sip

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"ringfence/internal/ports"
)

// What the path of every datagram may allocate. Not under the race detector:
// there pools lose what they hold at random.

func TestParseStaysWithinItsBudget(t *testing.T) {
	raw := []byte(register(1))
	if n := testing.AllocsPerRun(1000, func() {
		if m, err := parse(raw, Flow{}); err != nil || m.fault != "" {
			t.Fatal(err, m.fault)
		}
	}); n > 6 {
		t.Errorf("parsing a REGISTER allocates %v times", n)
	}
}

func TestChallengeStaysWithinItsBudget(t *testing.T) {
	e, f := challenging(t)
	raw := []byte(register(1))
	if n := testing.AllocsPerRun(1000, func() { e.handle(f, raw, time.Now()) }); n > 18 {
		t.Errorf("a challenge allocates %v times", n)
	}
}

func TestDroppedRegistrationAllocatesNothing(t *testing.T) {
	e, f := crowded(t)
	raw := []byte(register(1))
	if n := testing.AllocsPerRun(1000, func() { e.Receive(f, raw) }); n != 0 {
		t.Errorf("dropping one allocates %v times", n)
	}
	if e.Stats().Dropped == 0 {
		t.Error("none was dropped")
	}
}

func TestDatagramsAllocateNothing(t *testing.T) {
	out, f := discarding(t)
	raw := []byte(register(1))
	if n := testing.AllocsPerRun(1000, func() {
		if err := out.Send(f, raw); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("sending allocates %v times", n)
	}
}

// crowded is an endpoint whose queue of registrations is full.
func crowded(t testing.TB) (*Endpoint, Flow) {
	e := New(Config{Logger: quiet(), Workers: 1, Answers: NewAuthenticator(AuthConfig{}).Answers})
	release := make(chan struct{})
	e.Handle("", HandlerFunc(func(*ServerTx) { <-release }))
	t.Cleanup(func() {
		close(release)
		e.Close()
	})
	f, err := e.Attach(ports.SIPUDP, ports.Core, here, &counting{})
	if err != nil {
		t.Fatal(err)
	}
	f.Remote = there
	for i := range e.cfg.Limits.Queue + 2 {
		e.Receive(f, []byte(register(i)))
	}
	return e, f
}

// discarding is a transport on all addresses whose peer reads nothing.
func discarding(t testing.TB) (Transport, Flow) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{})
	if err != nil {
		t.Fatal(err)
	}
	peer, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		peer.Close()
	})
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	out := &udpTransport{conn: conn, raw: raw, addr: conn.LocalAddr().(*net.UDPAddr).AddrPort(), wildcard: true}
	out.addr = netip.AddrPortFrom(out.addr.Addr().Unmap(), out.addr.Port())
	out.sends.New = newSendmsg
	return out, Flow{Local: netip.AddrPortFrom(loopback, out.addr.Port()), Remote: peer.LocalAddr().(*net.UDPAddr).AddrPort()}
}

func BenchmarkDroppedRegistration(b *testing.B) {
	e, f := crowded(b)
	raw := []byte(register(1))
	b.ReportAllocs()
	for b.Loop() {
		e.Receive(f, raw)
	}
}

func BenchmarkSendDatagram(b *testing.B) {
	out, f := discarding(b)
	raw := []byte(register(1))
	b.ReportAllocs()
	for b.Loop() {
		if err := out.Send(f, raw); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAnswers is what it costs to see that a REGISTER answers a challenge.
func BenchmarkAnswers(b *testing.B) {
	auth := NewAuthenticator(AuthConfig{})
	f := Flow{Remote: there}
	raw := []byte(registerAnswering(1, auth.nonce(&Request{message: message{Flow: f}}, realm, time.Now())))
	b.ReportAllocs()
	for b.Loop() {
		if !auth.Answers(f, raw) {
			b.Fatal("not seen")
		}
	}
}
