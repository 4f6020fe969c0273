package firewall

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"ringfence/firewall/nstest"
	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// shortLimits trip within a test's patience.
func shortLimits() Limits {
	return Limits{L1: 100, L1Block: 2 * time.Second, L2: 400, L2Block: time.Hour, Known: 1000, Total: 50_000, TotalConnections: 5000}
}

// count reads what arrives at s until it is quiet.
func (s *sink) count() map[netip.Addr]int {
	got := map[netip.Addr]int{}
	buf := make([]byte, 2048)
	for {
		_ = s.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		_, from, err := s.ReadFromUDPAddrPort(buf)
		if err != nil {
			return got
		}
		got[from.Addr().Unmap()]++
	}
}

func spoofer(t testing.TB, from *nstest.NS, port uint16, size int) *nstest.Spoofer {
	t.Helper()
	var s *nstest.Spoofer
	var err error
	from.Do(func() {
		s, err = nstest.NewSpoofer(netip.AddrPortFrom(netip.MustParseAddr(nstest.Host4), port), make([]byte, size))
	})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// burst sends n datagrams as fast as it can. It returns how many of them a
// meter of rate packets per second may have passed at most: a full bucket, and
// what it gained meanwhile.
func burst(t testing.TB, s *nstest.Spoofer, source string, n int, rate uint32) (most int) {
	t.Helper()
	began := time.Now()
	a := netip.MustParseAddr(source)
	for i := range n {
		must(t, s.Send(a))
		if i%256 == 255 {
			time.Sleep(time.Millisecond)
		}
	}
	return int(rate) + int(float64(rate)*time.Since(began).Seconds()*1.1) + 10
}

func banLeft(t testing.TB, k *Kernel, set, source string) time.Duration {
	t.Helper()
	list, err := k.elements(set)
	must(t, err)
	for _, e := range list {
		if a, ok := netip.AddrFromSlice(e.key); ok && a.String() == source {
			return e.left
		}
	}
	return 0
}

// The levels act as the rows S07 to S10 say: over level 1 a short ban, over
// level 2 a long one, and a level 1 offender still gets to level 2.
func TestMetersOfDatagrams(t *testing.T) {
	t.Parallel()
	host, peer := nstest.Pair(t)
	p := inService(t)
	p.Limits = shortLimits()
	p.Limits.L2 = 1500
	k := load(t, host, p)
	s := listenUDP(t, host, nstest.Host4, 5060)
	out := spoofer(t, peer, 5060, 20)

	burst(t, out, "10.77.0.10", 90, 100) // one bucket holds a second's worth
	if got := s.count()[netip.MustParseAddr("10.77.0.10")]; got != 90 || banLeft(t, k, "auto_sip_4", "10.77.0.10") != 0 {
		t.Errorf("%d of 90 datagrams passed below level 1", got)
	}

	const flooder, bystander = "10.77.0.11", "10.77.0.12"
	most := burst(t, out, flooder, 1000, 100)
	burst(t, out, bystander, 50, 100)
	got := s.count()
	if n := got[netip.MustParseAddr(flooder)]; n < 100 || n > most {
		t.Errorf("%d of 1000 datagrams passed level 1 of 100/s, want 100 to %d", n, most)
	}
	if n := got[netip.MustParseAddr(bystander)]; n != 50 {
		t.Errorf("%d of 50 datagrams of another source passed", n)
	}
	if left := banLeft(t, k, "auto_sip_4", flooder); left <= 0 || left > 2*time.Second {
		t.Errorf("banned for %s after level 1", left)
	}
	time.Sleep(2100 * time.Millisecond)
	burst(t, out, flooder, 50, 100)
	if n := s.count()[netip.MustParseAddr(flooder)]; n != 50 {
		t.Errorf("%d of 50 datagrams passed after the ban ran out", n)
	}

	time.Sleep(time.Second) // the bucket is full again
	most = burst(t, out, flooder, 8000, 100)
	if n := s.count()[netip.MustParseAddr(flooder)]; n < 100 || n > most {
		t.Errorf("%d of 8000 datagrams passed, want 100 to %d", n, most)
	}
	if left := banLeft(t, k, "auto_sip_4", flooder); left < 59*time.Minute || left > time.Hour {
		t.Errorf("banned for %s after level 2", left)
	}
	n, err := k.counters()
	must(t, err)
	if n[levelCounter(1, telephony.BanSIP)].Packets != 2 || n[levelCounter(2, telephony.BanSIP)].Packets == 0 || n[banCounter(telephony.BanSIP)].Packets == 0 {
		t.Errorf("counters %v", n)
	}

	// A long ban by fenced is not made short by level 1.
	ban, err := hostElement("auto_sip", prefixes("10.77.0.13/32")[0], 2*time.Hour, false)
	must(t, err)
	must(t, k.change([]element{ban}))
	burst(t, out, "10.77.0.13", 300, 100)
	if left := banLeft(t, k, "auto_sip_4", "10.77.0.13"); left < 119*time.Minute {
		t.Errorf("the ban of two hours lasts %s after level 1", left)
	}
}

// Media is not metered (one call is 50 packets/s a stream, an office has many).
func TestMediaIsNotMetered(t *testing.T) {
	t.Parallel()
	host, peer := nstest.Pair(t)
	p := inService(t)
	p.Limits = shortLimits()
	k := load(t, host, p)
	must(t, k.change([]element{portElement(45000, time.Minute, false)}))
	s := listenUDP(t, host, nstest.Host4, 45000)
	out := spoofer(t, peer, 45000, 172)
	burst(t, out, "10.77.0.10", 3000, 100)
	if n := s.count()[netip.MustParseAddr("10.77.0.10")]; n != 3000 {
		t.Errorf("%d of 3000 RTP packets passed", n)
	}
}

// A known source loses its excess and nothing more.
func TestKnownSourcesAreNeverBanned(t *testing.T) {
	t.Parallel()
	host, peer := nstest.Pair(t)
	p := inService(t)
	p.Limits = shortLimits()
	k := load(t, host, p)
	const trunk = "10.77.0.20"
	e, err := hostElement(setKnown, netip.MustParsePrefix(trunk+"/32"), time.Minute, false)
	must(t, err)
	must(t, k.change([]element{e}))
	s := listenUDP(t, host, nstest.Host4, 5060)
	out := spoofer(t, peer, 5060, 20)
	burst(t, out, trunk, 900, 1000)
	if n := s.count()[netip.MustParseAddr(trunk)]; n != 900 {
		t.Errorf("%d of 900 datagrams passed", n)
	}
	most := burst(t, out, trunk, 6000, 1000)
	if n := s.count()[netip.MustParseAddr(trunk)]; n < 300 || n > most {
		t.Errorf("%d of 6000 datagrams passed a limit of 1000/s, want 300 to %d", n, most)
	}
	if left := banLeft(t, k, "auto_sip_4", trunk); left != 0 {
		t.Errorf("a known source is banned for %s", left)
	}
	burst(t, out, "10.77.0.21", 4000, 100)
	if left := banLeft(t, k, "auto_sip_4", "10.77.0.21"); left == 0 {
		t.Error("an unknown source is not banned")
	}
}

// TCP counts connections: many of them ban the web ports, many segments of one
// do not.
func TestMetersOfConnections(t *testing.T) {
	t.Parallel()
	host, peer := nstest.Pair(t)
	for _, n := range []*nstest.NS{host, peer} { // one segment a packet
		n.Run("ip", "link", "set", "dev", "eth0", "gso_max_segs", "1")
	}
	p := inService(t)
	p.Limits = shortLimits()
	p.Limits.L1 = 20
	k := load(t, host, p)
	l := listenTCPSink(t, host, nstest.Host4, 8887)
	const size = 20 << 20
	var conn net.Conn
	var err error
	peer.Do(func() { conn, err = net.Dial("tcp", nstest.Host4+":8887") })
	must(t, err)
	block := make([]byte, 1<<16)
	for range size / len(block) {
		_, err := conn.Write(block)
		must(t, err)
	}
	must(t, conn.Close())
	if got := <-l; got != size {
		t.Errorf("%d of %d bytes arrived", got, size)
	}
	if left := banLeft(t, k, "auto_web_4", nstest.Peer4); left != 0 {
		t.Errorf("an upload of %d bytes is banned for %s", size, left)
	}
	banned := false
	for i := 0; i < 2000 && !banned; i++ {
		d := net.Dialer{Timeout: 50 * time.Millisecond}
		peer.Do(func() { conn, err = d.Dial("tcp", nstest.Host4+":8887") })
		if err == nil {
			_ = conn.Close()
		}
		if i%20 == 19 {
			banned = banLeft(t, k, "auto_web_4", nstest.Peer4) != 0
		}
	}
	if !banned {
		t.Error("2000 connections in a row are not banned")
	}
	if s := listenUDP(t, host, nstest.Host4, 5060); !s.gets(t, peer, nstest.Peer4) {
		t.Error("the ban of the web ports covers SIP")
	}
}

// listenTCPSink reports how many bytes each connection brought.
func listenTCPSink(t testing.TB, n *nstest.NS, addr string, port uint16) <-chan int {
	t.Helper()
	var l net.Listener
	var err error
	n.Do(func() { l, err = net.Listen("tcp", net.JoinHostPort(addr, strconv.Itoa(int(port)))) })
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	totals := make(chan int, 5000)
	go func() {
		buf := make([]byte, 1<<16)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			total := 0
			for err == nil {
				var n int
				n, err = c.Read(buf)
				total += n
			}
			_ = c.Close()
			totals <- total
		}
	}()
	return totals
}

func conntrackCount(t testing.TB, n *nstest.NS) int {
	t.Helper()
	out := n.Run("cat", "/proc/sys/net/netfilter/nf_conntrack_count")
	c, err := strconv.Atoi(strings.TrimSpace(out))
	must(t, err)
	return c
}

func nthSource(i int) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 0x0b000001+uint32(i))))
}

// Forged sources take no entry of the connection table, whether they ask for
// SIP, for a held media port, or for one that is closed.
func TestForgedSourcesLeaveConntrackFlat(t *testing.T) {
	t.Parallel()
	host, peer := nstest.Pair(t)
	k := load(t, host, inService(t))
	must(t, k.change([]element{portElement(45000, time.Minute, false)}))
	s := listenUDP(t, host, nstest.Host4, 5060)
	listenUDP(t, host, nstest.Host4, 45000)
	before := conntrackCount(t, host)
	const sources = 60_000
	for _, port := range []uint16{5060, 45000, 45001, 7000} {
		out := spoofer(t, peer, port, 100)
		for i := range sources {
			must(t, out.Send(nthSource(i)))
			if i%256 == 255 {
				time.Sleep(time.Millisecond)
			}
		}
		if after := conntrackCount(t, host); after > before+10 {
			t.Errorf("%d forged sources to port %d left %d entries, %d before", sources, port, after, before)
		}
	}
	if got := len(s.count()); got == 0 {
		t.Error("nothing arrived: the test proves nothing")
	}
	// The control: without the notrack rules the same flood fills the table.
	host.Run("nft", "flush", "chain", "inet", TableName, chainUntrack)
	out := spoofer(t, peer, 5060, 100)
	for i := range 2000 {
		must(t, out.Send(nthSource(i)))
		if i%256 == 255 {
			time.Sleep(time.Millisecond)
		}
	}
	if after := conntrackCount(t, host); after < before+500 {
		t.Errorf("without notrack 2000 forged sources left only %d entries: the test proves nothing", after)
	}
}

// Rules change under full traffic: nothing allowed is lost, nothing forbidden
// gets through, also when a restarted fence loads them.
func TestSwapUnderTraffic(t *testing.T) {
	t.Parallel()
	host, peer := nstest.Pair(t)
	a, b := inService(t), everyRow()
	for _, p := range []*Policy{&a, &b} {
		p.Limits.L1, p.Limits.L2, p.Limits.Total = 500_000, 600_000, 1_000_000
	}
	b.Block = prefixes("198.51.100.0/24", "2001:db8::/32")
	k := load(t, host, a)
	must(t, k.change([]element{portElement(45000, 10*time.Minute, false)}))
	listenUDP(t, host, nstest.Host4, 5060)
	listenUDP(t, host, nstest.Host4, 45000)
	forbidden := []*sink{listenUDP(t, host, nstest.Host4, 7000), listenUDP(t, host, nstest.Host4, 45001)}
	leaked := make(chan int, len(forbidden))
	for _, s := range forbidden {
		go func() {
			n := 0
			for buf := make([]byte, 64); ; n++ {
				if _, _, err := s.ReadFromUDPAddrPort(buf); err != nil {
					leaked <- n
					return
				}
			}
		}()
	}
	stop, sent := make(chan struct{}), make(chan int)
	go func() {
		var outs []*nstest.Spoofer
		for _, port := range []uint16{5060, 45000, 7000, 45001} {
			outs = append(outs, spoofer(t, peer, port, 20))
		}
		source := netip.MustParseAddr(nstest.Peer4)
		n := 0
		for ; ; n++ {
			select {
			case <-stop:
				sent <- n
				return
			default:
			}
			for _, o := range outs {
				if err := o.Send(source); err != nil {
					t.Error(err)
				}
			}
			if n%16 == 15 {
				time.Sleep(time.Millisecond)
			}
		}
	}()
	swaps := 400
	if os.Getenv("RINGFENCE_DRILL") != "" {
		swaps = 2500
	}
	for i := range swaps {
		if i%50 == 25 {
			k = NewKernel(host.FD())
		}
		must(t, k.Apply(mustCompile(t, []Policy{b, a}[i%2])))
	}
	close(stop)
	n := <-sent
	// The rows count what they let through; a socket might lose some of it on a
	// busy machine.
	counters, err := k.counters()
	must(t, err)
	passed := counters[portCounter+string(ports.SIPUDP)].Packets + counters[portCounter+string(ports.RTPCore)].Packets
	if passed != uint64(2*n) || n == 0 {
		t.Errorf("%d swaps: %d of %d allowed datagrams passed", swaps, passed, 2*n)
	}
	for _, s := range forbidden {
		_ = s.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		if got := <-leaked; got != 0 {
			t.Errorf("%d swaps: %d of %d forbidden datagrams arrived", swaps, got, n)
		}
	}
	t.Logf("%d swaps, %d allowed and %d forbidden datagrams", swaps, 2*n, 2*n)
}
