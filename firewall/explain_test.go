package firewall

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"ringfence/firewall/nstest"
	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// What Explain says of a packet is what the kernel does with it: for seeded
// random policies, run-time state and packets, over a real cable.
func TestExplanationIsWhatTheKernelDoes(t *testing.T) {
	t.Parallel()
	host, peer := nstest.Pair(t)
	const seed = 77
	r := rand.New(rand.NewPCG(seed, 1))
	k := NewKernel(host.FD())
	t.Cleanup(func() { _ = k.Close() })
	sources := []string{"10.77.0.2", "10.77.0.40", "10.77.0.41", "10.77.0.42"}
	for _, s := range sources[1:] {
		peer.Run("ip", "addr", "add", s+"/24", "dev", nstest.PeerLink)
	}
	sinks := map[uint16]*sink{}
	for _, port := range []uint16{5060, 5062, 45000, 45002, 7000} {
		sinks[port] = listenUDP(t, host, nstest.Host4, port)
	}
	let, kept := 0, 0
	for range 12 {
		f := newFence(t, shortDir(t), k)
		p := randomPolicy(t, r)
		must(t, f.policy.apply(p, 0))
		var change []element
		for _, s := range sources {
			for set, base := range map[int]string{0: autoSet(telephony.BanSIP), 1: setBanAll, 2: setKnown} {
				e, err := hostElement(base, netip.MustParsePrefix(s+"/32"), time.Minute, r.IntN(3) != 0)
				must(t, err)
				if set != 1 || r.IntN(2) == 0 {
					change = append(change, e)
				}
			}
		}
		change = append(change, portElement(45000, time.Minute, r.IntN(2) == 0))
		must(t, f.change(change))
		for _, source := range sources {
			sendTo(t, peer, source, sinks)
		}
		got := drain(sinks)
		for _, source := range sources {
			for port := range sinks {
				a := netip.MustParseAddr(source)
				said, err := f.explain(Packet{Source: a, Interface: nstest.HostLink, Proto: ports.UDP, Port: port})
				must(t, err)
				if did := got[port][a] > 0; did != said.Accepted {
					t.Errorf("seed %d: %s to %d arrives: %v; said %+v", seed, source, port, did, said)
				}
				if said.Accepted {
					let++
				} else if kept++; len(said.Steps) == 0 || said.Cause == "" {
					t.Errorf("nothing says why: %+v", said)
				}
			}
		}
		f.stop()
	}
	t.Logf("%d packets let in, %d dropped", let, kept)
	if let < 30 || kept < 30 {
		t.Errorf("%d packets let in, %d dropped: not both were tried", let, kept)
	}
}

// sendTo sends one datagram to every sink.
func sendTo(t *testing.T, from *nstest.NS, source string, sinks map[uint16]*sink) {
	t.Helper()
	var conn *net.UDPConn
	var err error
	from.Do(func() { conn, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(source)}) })
	must(t, err)
	defer conn.Close()
	for _, s := range sinks {
		_, err := conn.WriteToUDPAddrPort([]byte("?"), s.addr)
		must(t, err)
	}
}

// drain reads what arrived, by port and source.
func drain(sinks map[uint16]*sink) map[uint16]map[netip.Addr]int {
	var mu sync.Mutex
	var all sync.WaitGroup
	out := map[uint16]map[netip.Addr]int{}
	for port, s := range sinks {
		all.Go(func() {
			n := s.count()
			mu.Lock()
			defer mu.Unlock()
			out[port] = n
		})
	}
	all.Wait()
	return out
}

// randomPolicy has any of lists, zones, sources and modes.
func randomPolicy(t *testing.T, r *rand.Rand) Policy {
	p := inService(t)
	p.ConnectedLocal = false
	p.Mode = []Mode{ModeFilter, ModeFilter, ModeFilter, ModeCloud, ModeOff}[r.IntN(5)]
	some := func(list ...string) (out []netip.Prefix) {
		for _, x := range list {
			if r.IntN(3) == 0 {
				out = append(out, netip.MustParsePrefix(x))
			}
		}
		return out
	}
	nets := []string{"10.77.0.40/32", "10.77.0.40/30", "10.77.0.42/32", "10.0.0.0/8"}
	p.Block, p.Allow, p.LocalPrefixes = some(nets[:3]...), some(nets...), some(nets...)
	if r.IntN(2) == 0 {
		p.Links = []Link{{Name: nstest.HostLink, Zone: []ports.Zone{"", ports.Voice, ports.Management, ports.Trunk}[r.IntN(4)], PerSecond: 10_000}}
	}
	for i, s := range p.Services {
		if s.ID == ports.Portal {
			continue // it may not be taken from every administrator
		}
		if r.IntN(4) == 0 {
			p.Services[i].Sources = some(nets...)
		}
		if r.IntN(3) == 0 {
			p.Services[i].Zones = []ports.Zone{[]ports.Zone{ports.Voice, ports.Management, ports.WAN, ports.Trunk}[r.IntN(4)]}
		}
	}
	return p
}
