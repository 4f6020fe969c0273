package sip

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringfence/internal/ports"
)

// sipPort is the UDP row of the table on a port of the kernel's choice.
func sipPort() ports.Service {
	s, _ := ports.Lookup(ports.Table(), ports.SIPUDP)
	s.First, s.Last = 0, 0
	return s
}

func listen(t testing.TB, c Config, addr netip.Addr) (*Endpoint, []Listening) {
	t.Helper()
	c.Logger = quiet()
	e := New(c)
	t.Cleanup(func() { e.Close() })
	if err := e.Reconcile([]Bind{{sipPort(), addr}}); err != nil {
		t.Fatal(err)
	}
	return e, e.Listening()
}

// client is a UDP socket that sends text and reads answers.
type client struct {
	t testing.TB
	*net.UDPConn
}

func dial(t testing.TB, to netip.AddrPort) *client {
	t.Helper()
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &client{t, c}
}

func (c *client) read() string {
	c.t.Helper()
	buf := make([]byte, maxDatagram)
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, err := c.Read(buf)
	if err != nil {
		c.t.Fatalf("no answer: %v", err)
	}
	return string(buf[:n])
}

func options(via string) string {
	return "OPTIONS sip:a.test SIP/2.0\r\nVia: SIP/2.0/UDP " + via + "\r\nFrom: <sip:x@a.test>;tag=1\r\nTo: <sip:a.test>\r\nCall-ID: o\r\nCSeq: 1 OPTIONS\r\n\r\n"
}

// TestWildcardAnswersFromTheAddressAsked: a connected socket takes answers only
// from the address it sent to, so the answer's source is proven by its arrival.
func TestWildcardAnswersFromTheAddressAsked(t *testing.T) {
	t.Parallel()
	_, on := listen(t, Config{}, netip.Addr{})
	asked := 0
	for _, l := range on {
		addrs := []string{"127.0.0.1", "127.0.0.77", "127.5.6.7"}
		if l.Addr.Addr().Is6() {
			addrs = []string{"::1"}
		}
		for _, a := range addrs {
			c := dial(t, netip.AddrPortFrom(netip.MustParseAddr(a), l.Addr.Port()))
			fmt.Fprint(c, options("192.0.2.1;rport;branch=z9hG4bK1"))
			got := c.read()
			me := c.LocalAddr().(*net.UDPAddr).AddrPort()
			want := fmt.Sprintf("received=%s;rport=%d", me.Addr(), me.Port())
			if status(got) != "200 OK" || !strings.Contains(header(got, "Via"), want) {
				t.Errorf("%s: %s", a, got)
			}
			asked++
		}
	}
	if asked < 3 {
		t.Errorf("only %d addresses asked", asked)
	}
}

func TestAnswerGoesToSentByPortWithoutNAT(t *testing.T) {
	t.Parallel()
	_, on := listen(t, Config{}, netip.MustParseAddr("127.0.0.1"))
	c, other := dial(t, on[0].Addr), dial(t, on[0].Addr)
	// The same address in sent-by, another port, no rport: RFC 3261 section 18.2.2.
	fmt.Fprint(c, options(other.LocalAddr().String()+";branch=z9hG4bK1"))
	if got := other.read(); strings.Contains(header(got, "Via"), "received") {
		t.Error(got)
	}
	// Another address in sent-by: a NAT, the answer goes to the source.
	fmt.Fprint(c, options("10.0.0.1:5060;branch=z9hG4bK2"))
	if got := c.read(); !strings.Contains(header(got, "Via"), "received=127.0.0.1") {
		t.Error(got)
	}
}

func TestLargeMessages(t *testing.T) {
	t.Parallel()
	_, on := listen(t, Config{}, netip.MustParseAddr("127.0.0.1"))
	c := dial(t, on[0].Addr)
	long := strings.Repeat("x", 20000)
	fmt.Fprint(c, strings.Replace(options("192.0.2.1;branch=z9hG4bK1"), "tag=1", "tag="+long, 1))
	if got := c.read(); !strings.Contains(got, long) {
		t.Errorf("answer of %d bytes", len(got))
	}
}

// TestPitfall27Fragments: a path that takes no large packets gets fragments, rather
// than nothing until its MTU is known.
func TestPitfall27Fragments(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"127.0.0.1", "::1"} {
		e, _ := listen(t, Config{}, netip.MustParseAddr(addr))
		for _, l := range e.listeners {
			level, name, want := unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT
			if addr == "::1" {
				level, name, want = unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DONT
			}
			err := l.transport.(*udpTransport).raw.Control(func(fd uintptr) {
				if got, err := unix.GetsockoptInt(int(fd), level, name); err != nil || got != want {
					t.Errorf("%s: path MTU discovery is %d, %v", addr, got, err)
				}
			})
			if err != nil {
				t.Error(err)
			}
		}
	}
}

func TestReconcile(t *testing.T) {
	t.Parallel()
	e := New(Config{Logger: quiet()})
	defer e.Close()
	lo := netip.MustParseAddr("127.0.0.1")
	a := []Bind{{sipPort(), lo}}
	if err := e.Reconcile(a); err != nil {
		t.Fatal(err)
	}
	first := e.Listening()
	if err := e.Reconcile(a); err != nil || fmt.Sprint(e.Listening()) != fmt.Sprint(first) {
		t.Errorf("a second time changed %v to %v, %v", first, e.Listening(), err)
	}
	fixed := sipPort()
	fixed.First = first[0].Addr.Port()
	other := New(Config{Logger: quiet()})
	defer other.Close()
	if err := other.Reconcile([]Bind{{fixed, lo}}); err == nil {
		t.Error("a port in use was taken")
	}
	if err := e.Reconcile(nil); err != nil || len(e.Listening()) != 0 {
		t.Errorf("left %v, %v", e.Listening(), err)
	}
	if err := other.Reconcile([]Bind{{fixed, lo}}); err != nil {
		t.Errorf("the port was not given back: %v", err)
	}
	web, _ := ports.Lookup(ports.Table(), ports.Portal)
	if err := e.Reconcile([]Bind{{web, lo}}); err == nil {
		t.Error("the portal is no SIP listener")
	}
}

// TestFloodLeavesMemoryFlat: 100,000 datagrams of junk and 60,000 REGISTERs
// without credentials from as many sources.
func TestFloodLeavesMemoryFlat(t *testing.T) {
	e := New(Config{Logger: quiet()})
	defer e.Close()
	auth := NewAuthenticator(AuthConfig{})
	e.Handle(REGISTER, HandlerFunc(func(tx *ServerTx) {
		auth.Require(tx, ChallengeUser, realm, func(string) (Secret, bool) { return Secret{}, false })
	}))
	m := &counting{}
	f, err := e.Attach(ports.SIPUDP, ports.Core, here, m)
	if err != nil {
		t.Fatal(err)
	}
	flood := func(n int) {
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := range n {
				f := f
				f.Remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, byte(18 + i>>16), byte(i >> 8), byte(i)}), uint16(1024+i%60000))
				for {
					before := e.Stats().Dropped
					e.Receive(f, []byte(register(i)))
					if e.Stats().Dropped == before {
						break
					}
					runtime.Gosched() // wait for a place instead of losing it
				}
			}
		})
		for i := range n * 5 / 3 {
			e.Receive(f, fmt.Appendf(nil, "junk %d \x00\xff\r\nSIP/1 nothing", i))
		}
		wg.Wait()
		for deadline := time.Now().Add(10 * time.Second); m.n.Load()+e.Stats().Late < uint64(n) && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
	}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	flood(1000)
	m.n.Store(0)
	before := heap()
	flood(60_000)
	after := heap()
	s := e.Stats()
	if got := m.n.Load() + s.Late; got < 60_000 {
		t.Errorf("%d of 60,000 answered", got)
	}
	if s.Junk < 100_000 {
		t.Errorf("%d of 100,000 counted as junk", s.Junk)
	}
	if s.Pending != 0 || s.Completed != 0 {
		t.Errorf("%d pending, %d completed", s.Pending, s.Completed)
	}
	if after > before+4<<20 {
		t.Errorf("heap grew from %d to %d bytes", before, after)
	}
	t.Logf("heap %d -> %d bytes, %+v", before, after, s)
}

func register(i int, extra ...string) string {
	lines := append([]string{
		"REGISTER sip:a.test SIP/2.0",
		fmt.Sprintf("Via: SIP/2.0/UDP 192.0.2.9:5062;rport;branch=z9hG4bK%d", i),
		fmt.Sprintf("From: <sip:101@a.test>;tag=%d", i),
		"To: <sip:101@a.test>",
		fmt.Sprintf("Call-ID: reg-%d", i),
		"CSeq: 1 REGISTER",
		"Contact: <sip:101@192.0.2.9:5062>;expires=300",
		"Max-Forwards: 70",
		"User-Agent: Yealink SIP-T46U 108.86.0.20",
		"Allow: INVITE, INFO, PRACK, ACK, BYE, CANCEL, OPTIONS, NOTIFY, REGISTER, SUBSCRIBE, REFER, PUBLISH, UPDATE, MESSAGE",
		"Allow-Events: talk,hold,conference,refer,check-sync",
	}, extra...)
	return strings.Join(lines, "\r\n") + "\r\nContent-Length: 0\r\n\r\n"
}

// TestGate drops before parsing.
func TestGate(t *testing.T) {
	t.Parallel()
	banned := dial(t, netip.MustParseAddrPort("127.0.0.1:9"))
	e, on := listen(t, Config{Gate: func(f Flow, raw []byte) bool {
		return f.Remote != banned.LocalAddr().(*net.UDPAddr).AddrPort() && !strings.Contains(string(raw), "friendly-scanner")
	}}, netip.MustParseAddr("127.0.0.1"))
	c := dial(t, on[0].Addr)
	fmt.Fprint(c, strings.Replace(options("192.0.2.1;branch=z9hG4bK0"), "\r\n\r\n", "\r\nUser-Agent: friendly-scanner\r\n\r\n", 1))
	fmt.Fprint(c, options("192.0.2.1;branch=z9hG4bK1"))
	if got := c.read(); !strings.Contains(header(got, "Via"), "z9hG4bK1") {
		t.Error(got)
	}
	if n := e.Stats().Gated; n != 1 {
		t.Errorf("%d gated", n)
	}
}

func TestTrace(t *testing.T) {
	t.Parallel()
	e, on := listen(t, Config{}, netip.MustParseAddr("127.0.0.1"))
	ring := NewTraceRing(1000)
	e.SetTrace(ring.Add)
	c := dial(t, on[0].Addr)
	for i := range 50 {
		fmt.Fprint(c, options(fmt.Sprintf("192.0.2.1;branch=z9hG4bK%d", i)))
		c.read()
	}
	size, sent := 0, 0
	for _, m := range ring.Messages() {
		size += len(m.Raw)
		if m.Sent {
			sent++
		}
	}
	if size > 1000 || size < 500 || sent == 0 {
		t.Errorf("%d bytes, %d sent", size, sent)
	}
	e.SetTrace(nil)
	n := len(ring.Messages())
	fmt.Fprint(c, options("192.0.2.1;branch=z9hG4bKz"))
	c.read()
	if len(ring.Messages()) != n {
		t.Error("still tracing")
	}
}

// TestFlowOutlivesItsListener: a flow of a listener that was closed and opened
// again still leads to its peer.
func TestFlowOutlivesItsListener(t *testing.T) {
	t.Parallel()
	lo := netip.MustParseAddr("127.0.0.1")
	e := New(Config{Logger: quiet()})
	defer e.Close()
	flows := make(chan Flow, 1)
	e.Handle("", HandlerFunc(func(tx *ServerTx) { flows <- tx.Flow() }))
	if err := e.Reconcile([]Bind{{sipPort(), lo}}); err != nil {
		t.Fatal(err)
	}
	on := e.Listening()
	c := dial(t, on[0].Addr)
	fmt.Fprint(c, msg("INFO", "z9hG4bKa", "1"))
	f := <-flows
	row := sipPort()
	row.First = on[0].Addr.Port()
	if err := e.Reconcile(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Flow(e.Stored(f)); err == nil {
		t.Error("a flow without a listener was found")
	}
	if err := e.Reconcile([]Bind{{row, lo}}); err != nil {
		t.Fatal(err)
	}
	e.SendRaw(f, []byte("hello"))
	if got := c.read(); got != "hello" {
		t.Errorf("got %q", got)
	}
	if g, err := e.Flow(e.Stored(f)); err != nil || g.Remote != f.Remote {
		t.Errorf("stored flow: %+v, %v", g, err)
	}
}

// A stored UDP flow outlives a move of its row to another port: what is sent
// names the port that is listened on now.
func TestFlowFollowsItsRowToAnotherPort(t *testing.T) {
	t.Parallel()
	e, on := listen(t, Config{}, loopback)
	stored := e.Stored(Flow{Listener: ports.SIPUDP, Side: ports.Core, Local: on[0].Addr, Remote: there})
	if err := e.Reconcile(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Flow(stored); err != ErrFlowGone {
		t.Errorf("without a listener: %v", err)
	}
	if err := e.Reconcile([]Bind{{sipPort(), loopback}}); err != nil {
		t.Fatal(err)
	}
	now := e.Listening()[0].Addr
	if f, err := e.Flow(stored); err != nil || f.Local != now || f.Remote != there {
		t.Errorf("flow %+v, %v; listening on %v", f, err, now)
	}
}
