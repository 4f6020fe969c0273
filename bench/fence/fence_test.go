package fence

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringfence/bench/host"
	"ringfence/firewall"
	"ringfence/firewall/nstest"
	"ringfence/internal/ports"
)

const (
	rounds  = 6
	packets = 100_000 // of a round
	sources = 60_000
)

// way is one packet filter and what is sent through it.
type way struct {
	name   string
	load   func(testing.TB, *nstest.NS) // nil: no rules
	source func(i int) netip.Addr
	beside string // what it is compared with
}

func single(a string) func(int) netip.Addr {
	addr := netip.MustParseAddr(a)
	return func(int) netip.Addr { return addr }
}

func many(i int) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 0x0b000000+uint32(i*2654435761>>4)%sources)))
}

const (
	stranger  = "198.18.0.9"
	blocked   = "203.0.113.9"
	withoutBy = "no rules"
)

// ours is the product's ruleset with a block list of n entries. Limits are out
// of the way, so that packets pass the meters instead of ending in a ban.
func ours(n int) func(testing.TB, *nstest.NS) {
	return func(t testing.TB, ns *nstest.NS) {
		services, err := ports.Effective(nil, ports.InService)
		if err != nil {
			t.Fatal(err)
		}
		p := firewall.DefaultPolicy()
		p.Services = services
		p.Limits.L1, p.Limits.L2, p.Limits.Known, p.Limits.Total = 2_000_000, 3_000_000, 2_000_000, 4_000_000
		p.Block = []netip.Prefix{netip.MustParsePrefix(blocked + "/32")}
		for i := range n - 1 {
			a := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 0x64000000+uint32(i)*512)))
			bits := 32
			if i%10 == 0 {
				bits = 24
			}
			p.Block = append(p.Block, netip.PrefixFrom(a, bits))
		}
		r, err := firewall.Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := firewall.NewKernel(ns.FD()).Apply(r); err != nil {
			t.Fatal(err)
		}
	}
}

// byHand is the least that does the same.
func byHand(rules string) func(testing.TB, *nstest.NS) {
	return func(t testing.TB, ns *nstest.NS) {
		cmd := exec.Command("ip", "netns", "exec", ns.Name, "nft", "-f", "-")
		cmd.Stdin = strings.NewReader(rules)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("nft: %v: %s", err, out)
		}
	}
}

func ways() []way {
	const drop = "table inet hand {\n set s { type ipv4_addr; elements = { " + blocked + " }; }\n" +
		" chain pre { type filter hook prerouting priority raw; ip saddr @s counter drop; }\n}\n"
	const meter = "table inet hand {\n set m { type ipv4_addr; size 65536; flags dynamic,timeout; timeout 10s; }\n" +
		" chain pre { type filter hook prerouting priority raw; udp dport 5060 update @m { ip saddr limit rate over 2000000/second burst 2000000 packets } drop; udp dport 5060 notrack; }\n" +
		" chain in { type filter hook input priority 0; policy drop; udp dport 5060 counter accept; }\n}\n"
	return []way{
		{withoutBy, nil, single(stranger), withoutBy},
		{"blocked source, one rule by hand", byHand(drop), single(blocked), withoutBy},
		{"blocked source, 10 entries", ours(10), single(blocked), "blocked source, one rule by hand"},
		{"blocked source, 100,000 entries", ours(100_000), single(blocked), "blocked source, 10 entries"},
		{"clean source, meter and row by hand", byHand(meter), single(stranger), withoutBy},
		{"clean source, 10 entries", ours(10), single(stranger), "clean source, meter and row by hand"},
		{"clean source, 100,000 entries", ours(100_000), single(stranger), "clean source, 10 entries"},
		{"60,000 sources, meter and row by hand", byHand(meter), many, "clean source, meter and row by hand"},
		{"60,000 sources, ours", ours(10), many, "60,000 sources, meter and row by hand"},
	}
}

// TestCostOfAPacket prints processor time for a packet to the port of SIP: sent
// from a raw socket, through a cable, the rules, and to a socket if it gets
// there. Each is the best of some rounds, taken in turn.
func TestCostOfAPacket(t *testing.T) {
	host.Gate(t)
	all := ways()
	var senders []*nstest.Spoofer
	for _, w := range all {
		inside, peer := nstest.Pair(t)
		// Strangers' packets come from the peer, and answers to them go nowhere.
		var sink net.PacketConn
		var err error
		inside.Do(func() { sink, err = net.ListenPacket("udp", nstest.Host4+":5060") })
		if err != nil {
			t.Fatal(err)
		}
		defer sink.Close()
		if w.load != nil {
			w.load(t, inside)
		}
		var s *nstest.Spoofer
		peer.Do(func() {
			s, err = nstest.NewSpoofer(netip.MustParseAddrPort(nstest.Host4+":5060"), make([]byte, 400))
		})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		senders = append(senders, s)
	}
	best := map[string]time.Duration{}
	for range rounds {
		for i, w := range all {
			cost := perPacket(t, senders[i], w.source)
			if had, ok := best[w.name]; !ok || cost < had {
				best[w.name] = cost
			}
		}
	}
	t.Logf("load %s", host.Load())
	t.Logf("| %-40s | %8s | %6s | %s |", "", "ns", "ratio", "to")
	for _, w := range all {
		t.Logf("| %-40s | %8d | %6.2f | %s |", w.name, best[w.name].Nanoseconds(), float64(best[w.name])/float64(best[w.beside]), w.beside)
	}
}

// perPacket is the processor time of this thread: a packet through a cable is
// handled by the one that sends it.
func perPacket(t *testing.T, s *nstest.Spoofer, source func(int) netip.Addr) time.Duration {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	used := func() time.Duration {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	for i := range packets {
		if err := s.Send(source(i)); err != nil {
			t.Fatal(err)
		}
	}
	return (used() - before) / packets
}
