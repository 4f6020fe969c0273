package media

import (
	"container/heap"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"ringfence/internal/media/srtp"
	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// The tests of this file measure the process: they do not run in parallel.

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}

func TestFiveHundredCallsLeaveNothing(t *testing.T) {
	f := newFakeFence()
	e := testEngine(t, 24000, 24199, func(c *Config) { c.Fence = f; c.Rest = 5 * time.Millisecond })
	a, b := newPeer(t, loopback, 0xa), newPeer(t, loopback, 0xb)
	goroutines, fds := 0, 0
	for i := range 500 {
		if i == 10 {
			eventually(t, "ports have rested", func() bool { return e.Stats().Resting[ports.Core] == 0 })
			goroutines, fds = runtime.NumGoroutine(), descriptors(t)
		}
		br := newBridge(t, e, a, b)
		a.send(br.a.RTP(), 1)
		if i%2 == 0 {
			br.a.Close()
		}
		br.call.Close()
	}
	eventually(t, "everything is back", func() bool {
		s := e.Stats()
		return s.Calls == 0 && s.Legs == 0 && s.Held[ports.Core] == 0 && s.Resting[ports.Core] == 0 &&
			s.Free[ports.Core] == 100 && len(f.ports()) == 0
	})
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= goroutines })
	if n := descriptors(t); n > fds {
		t.Errorf("%d file descriptors, %d at the start", n, fds)
	}
}

// The whole way of a packet, both system calls included, allocates nothing.
func TestRelayAllocatesNothing(t *testing.T) {
	e := testEngine(t, 24200, 24219, nil)
	a, b := newPeer(t, loopback, 0xa), newPeer(t, loopback, 0xb)
	br := newBridge(t, e, a, b)
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	defer conn.Close()
	sink := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	must(t, br.b.SetRemote(sdpAt(netip.AddrPortFrom(loopback, sink.Port()))))
	packet, buf := a.packet(0), make([]byte, 2000)
	to := br.a.RTP()
	must(t, conn.SetReadDeadline(time.Now().Add(30*time.Second)))
	allocs := testing.AllocsPerRun(2000, func() {
		packet[3]++
		if packet[3] == 0 {
			packet[2]++
		}
		if _, err := a.rtp.WriteToUDPAddrPort(packet, to); err != nil {
			t.Fatal(err)
		}
		if _, _, err := conn.ReadFromUDPAddrPort(buf); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%g allocations per packet", allocs)
	}
}

// What happens beside the packets, reports and looks at the quality of each leg
// every few seconds, allocates nothing either, also when it is protected.
func TestReportsAndLooksAllocateNothing(t *testing.T) {
	e := testEngine(t, 24220, 24239, nil)
	a, b := newPeer(t, loopback, 0xa), newPeer(t, loopback, 0xb)
	plain := newBridge(t, e, a, b)
	a.send(plain.a.RTP(), 3)
	b.send(plain.b.RTP(), 3)
	eventually(t, "both are heard", func() bool { return a.heard(0xb) == 3 && b.heard(0xa) == 3 })
	protected := policedLeg(t, e.NewCall("protected"), telephony.SecurityOffer)
	must(t, protected.SetRemote(newSpeaker(t).describe("RTP/SAVP", srtp.AES256GCM)))
	_, err := protected.Answer(nil)
	must(t, err)
	protected.streams[audio].Load().link(1)
	clerk, now := &clerk{}, time.Now()
	for _, l := range []*Leg{plain.a, plain.b, protected} {
		for range 10 {
			heap.Push(&clerk.errands, &errand{at: now, leg: l, report: true})
			heap.Push(&clerk.errands, &errand{at: now, leg: l})
		}
	}
	allocs := testing.AllocsPerRun(1000, func() {
		now = now.Add(time.Second)
		due := heap.Pop(&clerk.errands).(*errand)
		due.leg.attend(due.report, clerk.buf[:0], now)
		due.at = now
		heap.Push(&clerk.errands, due)
	})
	if allocs > 0.01 {
		t.Errorf("%g allocations of an errand", allocs)
	}
}

// BenchmarkRelay is a packet's way from one socket through the engine to
// another: four system calls, two of them the engine's.
func BenchmarkRelay(b *testing.B) {
	e := testEngine(b, 24220, 24239, nil)
	p, q := newPeer(b, loopback, 0xa), newPeer(b, loopback, 0xb)
	br := newBridge(b, e, p, q)
	packet, to := p.packet(0), br.a.RTP()
	b.ReportAllocs()
	for b.Loop() {
		n := q.heard(0xa)
		if _, err := p.rtp.WriteToUDPAddrPort(packet, to); err != nil {
			b.Fatal(err)
		}
		for q.heard(0xa) == n {
			runtime.Gosched()
		}
	}
}

// BenchmarkDecide is what the engine itself adds to the system calls.
func BenchmarkDecide(b *testing.B) {
	from := netip.MustParseAddrPort("192.0.2.1:4000")
	p := describedTransport(from)
	packet := (&peer{ssrc: 7}).packet(0)
	b.ReportAllocs()
	for b.Loop() {
		packet[3]++
		s, h, _ := p.accept(packet, from)
		if s == nil {
			b.Fatal("not accepted")
		}
		s.measure(h, time.Now())
	}
}

// BenchmarkNegotiate is one call's four descriptions.
func BenchmarkNegotiate(b *testing.B) {
	e := testEngine(b, 24240, 24259, nil)
	c := e.NewCall("bench")
	offer := []byte("v=0\r\no=- 1 1 IN IP4 127.0.0.9\r\ns=-\r\nc=IN IP4 127.0.0.9\r\nt=0 0\r\nm=audio 9000 RTP/AVP 9 0 8 18 101\r\n" +
		"a=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:18 G729/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n")
	x, y := newLeg(b, c, loopback), newLeg(b, c, loopback)
	b.ReportAllocs()
	for b.Loop() {
		must(b, x.SetRemote(offer))
		_, err := y.Offer(x)
		must(b, err)
		must(b, y.SetRemote(offer))
		_, err = x.Answer(y)
		must(b, err)
	}
}

// BenchmarkCall is the sockets of a call: two legs opened and closed.
func BenchmarkCall(b *testing.B) {
	e := testEngine(b, 24260, 24999, func(c *Config) { c.Rest = time.Microsecond })
	b.ReportAllocs()
	for b.Loop() {
		c := e.NewCall("bench")
		newLeg(b, c, loopback)
		newLeg(b, c, loopback)
		c.Close()
	}
}
