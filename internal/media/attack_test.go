package media

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ringfence/internal/ports"
)

// attacker sends what a scanner sends and counts what comes back.
type attacker struct {
	*peer
}

func newAttacker(t testing.TB, addr string) attacker {
	return attacker{newPeer(t, netip.MustParseAddr(addr), 0xbad)}
}

// sweep throws RTP and RTCP at every port of a range.
func (a attacker) sweep(first, last uint16) {
	for port := first; port <= last; port++ {
		to := netip.AddrPortFrom(loopback, port)
		for _, pt := range []uint8{0, 8, 96, 101} {
			_, _ = a.rtp.WriteToUDPAddrPort(a.packet(pt), to)
		}
		_, _ = a.rtcp.WriteToUDPAddrPort([]byte{0x80, 203, 0, 1, 0, 0, 0xb, 0xad}, to) // BYE
	}
}

// got counts what came from ports first to last. Others reach it, too: they belong
// to tests beside it, whose peers had its port before.
func (a attacker) got(first, last uint16) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, froms := range []map[netip.AddrPort]int{a.from, a.rtcpFrom} {
		for from, c := range froms {
			if first <= from.Port() && from.Port() <= last {
				n += c
			}
		}
	}
	return n
}

// RTP bleed: a third address, and another port of a peer's own address, sweep
// every media port before and during 50 calls. Nothing leaks, nothing gets in.
func TestSweepDuringFiftyCalls(t *testing.T) {
	t.Parallel()
	const first, last, calls, packets = 22000, 22399, 50, 20
	e := testEngine(t, first, last, nil)
	scanners := []attacker{newAttacker(t, "127.0.0.66"), newAttacker(t, "127.0.0.2"), newAttacker(t, "127.0.0.1")}
	type party struct {
		a, b *peer
		br   bridge
	}
	var all []party
	for i := range calls {
		p := party{
			a: newPeer(t, netip.MustParseAddr("127.0.0.2"), uint32(2*i+1)),
			b: newPeer(t, netip.MustParseAddr("127.0.0.3"), uint32(2*i+2)),
		}
		p.br = newBridge(t, e, p.a, p.b)
		all = append(all, p)
	}
	for round := range packets {
		for _, s := range scanners {
			if round%4 == 0 {
				s.sweep(first, last) // the first one before any packet of a peer
			}
		}
		for _, p := range all {
			p.a.send(p.br.a.RTP(), 1)
			p.b.send(p.br.b.RTP(), 1)
			p.a.ask(p.br.a.RTP(), p.b.ssrc)
		}
	}
	for i, p := range all {
		eventually(t, fmt.Sprintf("call %d is complete", i), func() bool {
			return p.a.heard(p.b.ssrc) == packets && p.b.heard(p.a.ssrc) == packets && p.b.asked() > 0
		})
		if p.a.heard(0xbad) != 0 || p.b.heard(0xbad) != 0 || p.a.asked() != 0 {
			t.Errorf("call %d: %d and %d injected packets, asked %d times", i, p.a.heard(0xbad), p.b.heard(0xbad), p.a.asked())
		}
		if len(p.a.got) != 1 || len(p.b.got) != 1 || len(p.a.from) != 1 {
			t.Errorf("call %d: heard %v and %v", i, p.a.got, p.b.got)
		}
		if q := p.br.a.Quality(); q.Dropped == 0 || q.Packets != packets {
			t.Errorf("call %d: %+v", i, q)
		}
	}
	for _, s := range scanners {
		if n := s.got(first, last); n != 0 {
			t.Errorf("%d packets leaked to %s", n, s.addr())
		}
	}
}

// A peer behind NAT names an address nobody can reach: its media is taken
// from the address of its signalling, and from no other.
func TestPeerBehindNAT(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 22400, 22419, nil)
	a, b := newPeer(t, netip.MustParseAddr("127.0.0.5"), 0xa), newPeer(t, loopback, 0xb)
	hidden := bytes.Replace(a.sdp(), []byte("c=IN IP4 127.0.0.5"), []byte("c=IN IP4 phone.invalid"), 1)
	c := e.NewCall("nat")
	la, lb := newLeg(t, c, a.addr().Addr()), newLeg(t, c, loopback)
	must(t, la.SetRemote(hidden))
	must(t, lb.SetRemote(b.sdp()))
	c.Bridge(la, lb)
	b.send(lb.RTP(), 5) // nowhere to go yet
	thief := newAttacker(t, "127.0.0.66")
	thief.send(la.RTP(), 20)
	if n := thief.got(22400, 22419); n != 0 || b.heard(0xbad) != 0 {
		t.Fatalf("a stranger got %d packets and got %d in", n, b.heard(0xbad))
	}
	a.send(la.RTP(), 5)
	eventually(t, "b hears a", func() bool { return b.heard(0xa) == 5 })
	b.send(lb.RTP(), 5)
	eventually(t, "a hears b", func() bool { return a.heard(0xb) == 5 })
}

// A new source is believed after new signalling only.
func TestRelatchOnlyAfterSignalling(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 22420, 22439, nil)
	a, b := newPeer(t, loopback, 0xa), newPeer(t, loopback, 0xb)
	br := newBridge(t, e, a, b)
	a.send(br.a.RTP(), 10)
	eventually(t, "b hears a", func() bool { return b.heard(0xa) == 10 })

	moved := newPeer(t, loopback, 0xa2)
	moved.send(br.a.RTP(), 3*probation)
	must(t, br.a.SetRemote(a.sdp())) // a refresh that moves nothing
	moved.send(br.a.RTP(), 3*probation)
	b.send(br.b.RTP(), 5)
	eventually(t, "a hears b", func() bool { return a.heard(0xb) == 5 })
	if b.heard(0xa2) != 0 || moved.heard(0xb) != 0 {
		t.Fatal("media moved without signalling")
	}

	must(t, br.a.SetRemote(moved.sdp()))
	b.send(br.b.RTP(), 5)
	eventually(t, "b is heard at the new address at once", func() bool { return moved.heard(0xb) == 5 })
	a.send(br.a.RTP(), 2) // what was still on its way
	eventually(t, "the old source's last packets are relayed", func() bool { return b.heard(0xa) == 12 })
	moved.send(br.a.RTP(), 5)
	eventually(t, "b hears the new source", func() bool { return b.heard(0xa) == 17 }) // in the line of the old one
	a.send(br.a.RTP(), 10)
	time.Sleep(50 * time.Millisecond)
	if n := b.heard(0xa); n != 17 {
		t.Errorf("the old source is still relayed: %d packets", n)
	}
	if n := a.heard(0xb); n != 5 {
		t.Errorf("b is still sent to the old address: %d packets", n)
	}
}

// On hold the holder is sent nothing, but what it plays is relayed.
func TestHoldGatesMedia(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 22440, 22459, nil)
	a, b := newPeer(t, loopback, 0xa), newPeer(t, loopback, 0xb)
	br := newBridge(t, e, a, b)
	a.send(br.a.RTP(), 2)
	eventually(t, "b hears a", func() bool { return b.heard(0xa) == 2 })
	must(t, br.a.SetRemote(a.sdp("a=sendonly")))
	a.send(br.a.RTP(), 5)
	b.send(br.b.RTP(), 5)
	b.ask(br.b.RTP(), 0xa)
	eventually(t, "music is relayed", func() bool { return b.heard(0xa) == 7 })
	eventually(t, "reports go on", func() bool { return a.asked() == 1 })
	if n := a.heard(0xb); n != 0 {
		t.Errorf("the holder was sent %d packets", n)
	}
	null := strings.Replace(string(a.sdp()), "c=IN IP4 127.0.0.1", "c=IN IP4 0.0.0.0", 1)
	must(t, br.a.SetRemote([]byte(null)))
	b.send(br.b.RTP(), 5)
	time.Sleep(30 * time.Millisecond)
	must(t, br.a.SetRemote(a.sdp()))
	b.send(br.b.RTP(), 5)
	eventually(t, "resumed", func() bool { return a.heard(0xb) == 5 })
}

// What is not RTP goes nowhere, also from the right source.
func TestJunkIsNotRelayed(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 22460, 22479, nil)
	a, b := newPeer(t, loopback, 0xa), newPeer(t, loopback, 0xb)
	br := newBridge(t, e, a, b)
	a.send(br.a.RTP(), 1)
	for _, junk := range [][]byte{
		{}, {0x80}, bytes.Repeat([]byte{0}, 100), bytes.Repeat([]byte{0xff}, 172), a.packet(0)[:11],
		append(a.packet(0), make([]byte, 3000)...), {0x80, 200, 0, 1, 0, 0, 0, 0},
		[]byte("INVITE sip:1@x SIP/2.0\r\n\r\n"),
	} {
		_, err := a.rtp.WriteToUDPAddrPort(junk, br.a.RTP())
		must(t, err)
		_, err = a.rtcp.WriteToUDPAddrPort(junk, netip.AddrPortFrom(loopback, br.a.RTP().Port()+1))
		must(t, err)
	}
	a.send(br.a.RTP(), 1)
	eventually(t, "b hears a", func() bool { return b.heard(0xa) == 2 })
	if len(b.got) != 1 {
		t.Errorf("b got %v", b.got)
	}
	if n := b.asked(); n != 0 {
		t.Errorf("b was asked %d times", n)
	}
	if q := br.a.Quality(); q.Malformed < 10 {
		t.Errorf("%d malformed packets are counted", q.Malformed)
	}
}

// Bridging again, for another fork or a transfer, ends the old bridge.
func TestBridgeAgain(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 22480, 22499, nil)
	a, b, c := newPeer(t, loopback, 0xa), newPeer(t, loopback, 0xb), newPeer(t, loopback, 0xc)
	br := newBridge(t, e, a, b)
	lc := newLeg(t, br.call, loopback)
	must(t, lc.SetRemote(c.sdp()))
	a.send(br.a.RTP(), 2)
	eventually(t, "b hears a", func() bool { return b.heard(0xa) == 2 })
	br.call.Bridge(br.a, lc)
	a.send(br.a.RTP(), 2)
	b.send(br.b.RTP(), 2)
	c.send(lc.RTP(), 2)
	eventually(t, "a and c hear each other", func() bool { return c.heard(0xa) == 2 && a.heard(0xc) == 2 })
	if b.heard(0xa) != 2 || a.heard(0xb) != 0 || c.heard(0xb) != 0 {
		t.Error("the old bridge is still there")
	}
	lc.Close()
	br.call.Bridge(br.a, lc) // too late, harmless
	a.send(br.a.RTP(), 2)
	time.Sleep(20 * time.Millisecond)
	if c.heard(0xa) != 2 {
		t.Error("a closed leg is still sent to")
	}
}

// Datagrams for the old call drain while its port rests.
func TestLatePacketsOfTheOldCallStayOut(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 22500, 22503, nil) // one call's worth
	a, b := newPeer(t, netip.MustParseAddr("127.0.0.7"), 0xa), newPeer(t, loopback, 0xb)
	br := newBridge(t, e, a, b)
	old := br.a.RTP()
	a.send(old, 1)
	eventually(t, "b hears a", func() bool { return b.heard(0xa) == 1 })
	br.call.Close()
	a.send(old, 5)
	time.Sleep(10 * time.Millisecond) // of the 50 ms that the port rests
	if q := br.a.Quality(); q.Packets != 1 || q.Dropped != 0 {
		t.Errorf("a resting port measures packets: %+v", q)
	}
	eventually(t, "ports have rested", func() bool { return e.Stats().Free[ports.Core] == 2 })
	c, d := newPeer(t, loopback, 0xc), newPeer(t, loopback, 0xd)
	again := newBridge(t, e, c, d)
	a.send(old, 3*probation)
	c.send(again.a.RTP(), 3)
	d.send(again.b.RTP(), 3)
	eventually(t, "the new call hears itself", func() bool { return d.heard(0xc) == 3 && c.heard(0xd) == 3 })
	if c.heard(0xa)+d.heard(0xa) != 0 {
		t.Error("the old call speaks into the new one")
	}
}

// The sockets live on the address asked for, IPv6 included.
func TestIPv6(t *testing.T) {
	t.Parallel()
	six := netip.MustParseAddr("::1")
	if conn, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback}); err != nil {
		t.Skipf("no IPv6 here: %v", err)
	} else {
		conn.Close()
	}
	e := testEngine(t, 22520, 22539, nil)
	a, b := newPeer(t, six, 0xa), newPeer(t, loopback, 0xb)
	c := e.NewCall("six")
	la, err := c.NewLeg(t.Context(), LegParams{Side: ports.Core, Local: six, PeerSignalling: six})
	must(t, err)
	lb := newLeg(t, c, loopback)
	must(t, la.SetRemote(a.sdp()))
	_, err = lb.Offer(la)
	must(t, err)
	must(t, lb.SetRemote(b.sdp()))
	answer, err := la.Answer(lb)
	must(t, err)
	if d := parsed(t, answer); d.Addr.Addr() != six {
		t.Errorf("answer names %s", d.Addr)
	}
	c.Bridge(la, lb)
	a.send(la.RTP(), 5)
	b.send(lb.RTP(), 5)
	eventually(t, "IPv6 and IPv4 hear each other", func() bool { return a.heard(0xb) == 5 && b.heard(0xa) == 5 })
}
