package media

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"ringfence/internal/media/quality"
	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// testEngine has a core range below the kernel's ephemeral ports.
func testEngine(t testing.TB, first, last uint16, change func(*Config)) *Engine {
	t.Helper()
	c := Config{
		Pools:  map[ports.Side]ports.Service{ports.Core: {ID: ports.RTPCore, First: first, Last: last}},
		Logger: slog.New(slog.DiscardHandler),
		Rest:   50 * time.Millisecond,
	}
	if change != nil {
		change(&c)
	}
	e := New(c)
	t.Cleanup(e.Close)
	return e
}

// peer is a bare RTP endpoint.
type peer struct {
	t         testing.TB
	rtp, rtcp *net.UDPConn
	ssrc      uint32
	seq       uint16

	mu      sync.Mutex
	got     map[uint32]int // packets by SSRC
	from    map[netip.AddrPort]int
	rtcpGot [][]byte // compounds, as they came

	rtcpFrom map[netip.AddrPort]int
}

func newPeer(t testing.TB, addr netip.Addr, ssrc uint32) *peer {
	t.Helper()
	p := &peer{t: t, ssrc: ssrc, got: map[uint32]int{}, from: map[netip.AddrPort]int{}, rtcpFrom: map[netip.AddrPort]int{}}
	for range 100 {
		rtp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
		if err != nil {
			t.Fatal(err)
		}
		port := rtp.LocalAddr().(*net.UDPAddr).AddrPort().Port()
		rtcp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, port+1)))
		if err != nil || port%2 == 1 {
			rtp.Close()
			if err == nil {
				rtcp.Close()
			}
			continue
		}
		p.rtp, p.rtcp = rtp, rtcp
		break
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 2000)
		for {
			n, from, err := p.rtp.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if n >= 12 {
				p.mu.Lock()
				p.got[binary.BigEndian.Uint32(buf[8:])]++
				p.from[netip.AddrPortFrom(from.Addr().Unmap(), from.Port())]++
				p.mu.Unlock()
			}
		}
	})
	wg.Go(func() {
		buf := make([]byte, 2000)
		for {
			n, from, err := p.rtcp.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			p.mu.Lock()
			p.rtcpFrom[netip.AddrPortFrom(from.Addr().Unmap(), from.Port())]++
			p.rtcpGot = append(p.rtcpGot, bytes.Clone(buf[:n]))
			p.mu.Unlock()
		}
	})
	t.Cleanup(func() { p.rtp.Close(); p.rtcp.Close(); wg.Wait() })
	return p
}

func (p *peer) addr() netip.AddrPort {
	a := p.rtp.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// sdp is the peer's description, with further lines in the m= section.
func (p *peer) sdp(lines ...string) []byte { return sdpAt(p.addr(), lines...) }

func sdpAt(a netip.AddrPort, lines ...string) []byte {
	family := "IP4"
	if a.Addr().Is6() {
		family = "IP6"
	}
	s := fmt.Sprintf("v=0\r\no=x 1 1 IN %s %s\r\ns=-\r\nc=IN %s %s\r\nt=0 0\r\nm=audio %d RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n",
		family, a.Addr(), family, a.Addr(), a.Port())
	for _, l := range lines {
		s += l + "\r\n"
	}
	return []byte(s)
}

func (p *peer) packet(pt uint8) []byte {
	b := make([]byte, 172)
	b[0], b[1] = 0x80, pt
	p.seq++
	binary.BigEndian.PutUint16(b[2:], p.seq)
	binary.BigEndian.PutUint32(b[4:], uint32(p.seq)*160)
	binary.BigEndian.PutUint32(b[8:], p.ssrc)
	return b
}

func (p *peer) send(to netip.AddrPort, n int) {
	p.t.Helper()
	for range n {
		if _, err := p.rtp.WriteToUDPAddrPort(p.packet(0), to); err != nil {
			p.t.Fatal(err)
		}
		time.Sleep(200 * time.Microsecond)
	}
}

// ask sends a report that asks the source about for a new picture.
func (p *peer) ask(to netip.AddrPort, about uint32) {
	p.t.Helper()
	pli := quality.Mapping{Sender: p.ssrc, Ours: about, Source: about}.AppendFeedback(nil,
		quality.Packet{Type: 206, Count: 1, Body: binary.BigEndian.AppendUint32(make([]byte, 4), about)})
	p.reportRaw(to, append(quality.AppendRR(nil, p.ssrc), pli...))
}

// reportRaw sends from the port of reports to that of a leg.
func (p *peer) reportRaw(to netip.AddrPort, b []byte) {
	p.t.Helper()
	if _, err := p.rtcp.WriteToUDPAddrPort(b, netip.AddrPortFrom(to.Addr(), to.Port()+1)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) heard(ssrc uint32) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.got[ssrc]
}

// asked is how often somebody asked this peer for a picture of its own.
func (p *peer) asked() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, rest := range p.rtcpGot {
		for quality.Valid(rest) {
			var one quality.Packet
			if one, rest = quality.Next(rest); one.Type == 206 && binary.BigEndian.Uint32(one.Body[4:]) == p.ssrc {
				n++
			}
		}
	}
	return n
}

// eventually polls, since packets take their time.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 400 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("did not happen: %s", what)
}

// bridge is a call between two peers, negotiated.
type bridge struct {
	call *Call
	a, b *Leg
}

func newBridge(t testing.TB, e *Engine, a, b *peer) bridge {
	t.Helper()
	c := e.NewCall(telephony.CallID(t.Name()))
	t.Cleanup(c.Close)
	br := bridge{call: c}
	br.a = newLeg(t, c, a.addr().Addr())
	must(t, br.a.SetRemote(a.sdp()))
	br.b = newLeg(t, c, b.addr().Addr())
	_, err := br.b.Offer(br.a)
	must(t, err)
	must(t, br.b.SetRemote(b.sdp()))
	_, err = br.a.Answer(br.b)
	must(t, err)
	c.Bridge(br.a, br.b)
	return br
}

func newLeg(t testing.TB, c *Call, signalling netip.Addr) *Leg {
	t.Helper()
	l, err := c.NewLeg(context.Background(), LegParams{Side: ports.Core, Local: loopback, PeerSignalling: signalling})
	must(t, err)
	return l
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestBridgeRelaysBothWaysAndNeverEchoes(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 20000, 20099, nil)
	a, b := newPeer(t, loopback, 0xa), newPeer(t, loopback, 0xb)
	br := newBridge(t, e, a, b)
	a.send(br.a.RTP(), 50)
	b.send(br.b.RTP(), 50)
	eventually(t, "each hears the other", func() bool { return b.heard(0xa) == 50 && a.heard(0xb) == 50 })
	a.ask(br.a.RTP(), 0xb)
	b.ask(br.b.RTP(), 0xa)
	eventually(t, "each is asked by the other", func() bool { return a.asked() == 1 && b.asked() == 1 })
	if n := a.heard(0xa) + b.heard(0xb); n != 0 {
		t.Errorf("%d packets were echoed", n)
	}
	for from := range a.from {
		if from != br.a.RTP() {
			t.Errorf("a hears from %s, its leg is %s", from, br.a.RTP())
		}
	}
	for name, l := range map[string]*Leg{"a": br.a, "b": br.b} {
		q := l.Quality()
		if q.Codec != "PCMU" || q.Packets != 50 || q.LostRTP != 0 || q.Dropped != 0 {
			t.Errorf("leg %s: %+v", name, q)
		}
		if time.Since(l.SilentSince()) > time.Second {
			t.Errorf("leg %s was heard but is silent since %s", name, l.SilentSince())
		}
		if p := l.RTP().Port(); p%2 != 0 || p < 20000 || p > 20099 {
			t.Errorf("leg %s: port %d", name, p)
		}
	}
}

func TestPoolRunsOutAndRests(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 20101, 20107, func(c *Config) { c.Rest = 400 * time.Millisecond })
	c := e.NewCall("full")
	var legs []*Leg
	for range 3 { // 20102, 20104, 20106
		legs = append(legs, newLeg(t, c, loopback))
	}
	_, err := c.NewLeg(context.Background(), LegParams{Side: ports.Core, Local: loopback})
	if !errors.Is(err, ErrNoPorts) {
		t.Fatalf("fourth leg of three pairs: %v", err)
	}
	if _, err := c.NewLeg(context.Background(), LegParams{Side: ports.Edge, Local: loopback}); !errors.Is(err, ErrNoPorts) {
		t.Errorf("leg on a side without pool: %v", err)
	}
	port := legs[1].RTP().Port()
	legs[1].Close()
	legs[1].Close()
	if _, err := c.NewLeg(context.Background(), LegParams{Side: ports.Core, Local: loopback}); !errors.Is(err, ErrNoPorts) {
		t.Errorf("port was used again without rest: %v", err)
	}
	// While it rests it is closed.
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)})
	if err != nil {
		t.Errorf("a resting port is bound: %v", err)
	} else {
		conn.Close()
	}
	time.Sleep(100 * time.Millisecond) // a fifth of the rest: the dry pool gives it up
	again := newLeg(t, c, loopback)
	if again.RTP().Port() != port {
		t.Errorf("got port %d, want %d", again.RTP().Port(), port)
	}
	c.Close()
	eventually(t, "all pairs are free", func() bool { return e.Stats().Free[ports.Core] == 3 })
	if _, err := c.NewLeg(context.Background(), LegParams{Side: ports.Core, Local: loopback}); !errors.Is(err, ErrClosed) {
		t.Errorf("leg of a closed call: %v", err)
	}
}
