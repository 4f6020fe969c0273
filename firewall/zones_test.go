package firewall

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"

	"ringfence/firewall/nstest"
	"ringfence/internal/netcfg"
	"ringfence/internal/ports"
)

// corner is one cable of the host: who sits at its other end, and what they count
// as.
type corner struct {
	name  string
	link  string
	zone  netcfg.Zone
	zones []ports.Zone // of packets that arrive
	v4    [2]string    // there, here
	v6    [2]string
	peer  *nstest.NS
}

// corners are a cable for each zone, and two without one: a neighbour's, and that
// to the world.
func corners() []corner {
	out := []corner{
		{name: "voice", link: "voice0", zone: netcfg.ZoneVoice, zones: []ports.Zone{ports.Voice}},
		{name: "management", link: "mgmt0.20", zone: netcfg.ZoneManagement, zones: []ports.Zone{ports.Management}},
		{name: "trunk", link: "ngn0", zone: netcfg.ZoneTrunk, zones: []ports.Zone{ports.Trunk}},
		{name: "neighbour", link: "lan0", zones: []ports.Zone{ports.Voice, ports.Management}},
		{name: "world", link: "wan0", zones: []ports.Zone{ports.WAN}},
	}
	for i := range out {
		s := &out[i]
		s.v4 = [2]string{fmt.Sprintf("10.80.%d.2", i), fmt.Sprintf("10.80.%d.1", i)}
		s.v6 = [2]string{fmt.Sprintf("fd80:%d::2", i), fmt.Sprintf("fd80:%d::1", i)}
		if s.name == "world" {
			s.v4, s.v6 = [2]string{"198.51.100.2", "198.51.100.1"}, [2]string{"2001:db8:1::2", "2001:db8:1::1"}
		}
	}
	return out
}

// crossing makes a host with all of these cables, and what the fence knows of
// it.
func crossing(t *testing.T) (host *nstest.NS, all []corner, links []Link, local []netip.Prefix) {
	t.Helper()
	host, all = nstest.New(t), corners()
	var states []netcfg.State
	for i := range all {
		s := &all[i]
		s.peer = nstest.New(t)
		host.Run("ip", "link", "add", s.link, "type", "veth", "peer", "name", "eth0", "netns", s.peer.Name)
		state := netcfg.State{Name: s.link, Zone: s.zone}
		for _, a := range [][2]string{{s.v4[0] + "/24", s.v4[1] + "/24"}, {s.v6[0] + "/64", s.v6[1] + "/64"}} {
			s.peer.Run("ip", "addr", "add", a[0], "dev", "eth0", "nodad")
			host.Run("ip", "addr", "add", a[1], "dev", s.link, "nodad")
			state.Addresses = append(state.Addresses, netip.MustParsePrefix(a[1]))
		}
		s.peer.Run("ip", "link", "set", "eth0", "up")
		host.Run("ip", "link", "set", s.link, "up")
		states = append(states, state)
	}
	host.ICMPUnlimited()
	h := HostOf(states)
	return host, all, h.Links, privateNetworks(h.Addresses)
}

// of says which of a policy's rows are open to somebody.
func (s corner) open(p Policy, proto ports.Proto, family string, media ...uint16) []uint16 {
	seen := p
	seen.Services = slices.DeleteFunc(slices.Clone(p.Services), func(row ports.Service) bool {
		from := netip.MustParseAddr(s.v4[0])
		if family == "IPv6" {
			from = netip.MustParseAddr(s.v6[0])
		}
		inZone := slices.ContainsFunc(s.zones, func(z ports.Zone) bool { return slices.Contains(row.Zones, z) })
		isSource := len(row.Sources) == 0 || slices.ContainsFunc(row.Sources, func(n netip.Prefix) bool { return n.Contains(from) })
		return !inZone || !isSource
	})
	if !slices.ContainsFunc(seen.Services, func(row ports.Service) bool { return row.Wrap == ports.RTP }) {
		media = nil
	}
	return wantOpen(seen, proto, media...)
}

// probed are the ports that a scan looks at: every one in a drill; else those of
// the table with their neighbours, where a transport moves to, the privileged
// ones, and a share of the others.
func probed() []uint16 {
	if os.Getenv("RINGFENCE_DRILL") != "" {
		return nil
	}
	some := map[uint16]bool{5080: true, 65535: true}
	for _, s := range ports.Table() {
		for _, edge := range []uint16{s.First, s.Last} {
			some[edge-1], some[edge], some[edge+1] = true, true, true
		}
	}
	for range 200 {
		some[uint16(1+rand.IntN(1023))], some[uint16(1024+rand.IntN(64511))] = true, true
	}
	return slices.Sorted(maps.Keys(some))
}

// scans fails unless each corner reaches exactly what is wanted.
func scans(t *testing.T, what string, all []corner, want func(corner, ports.Proto, string) []uint16) {
	t.Helper()
	some := probed()
	var tasks sync.WaitGroup
	for _, s := range all {
		tasks.Go(func() {
			for family, a := range map[string][2]string{"IPv4": s.v4, "IPv6": s.v6} {
				for _, proto := range []ports.Proto{ports.TCP, ports.UDP} {
					got, expected := s.scan(t, proto, a, some, want(s, proto, family)), want(s, proto, family)
					if len(some) > 0 {
						expected = slices.DeleteFunc(slices.Clone(expected), func(p uint16) bool { return !slices.Contains(some, p) })
					}
					if !slices.Equal(got, expected) {
						t.Errorf("%s: %s ports open to %s over %s: %v, want %v", what, proto, s.name, family, got, expected)
					}
				}
			}
		})
	}
	tasks.Wait()
}

// scan lists the ports that let packets of a corner through. A lost packet hides
// an open port: what is missing is looked for twice more.
func (s corner) scan(t *testing.T, proto ports.Proto, a [2]string, some, expected []uint16) []uint16 {
	scan := nstest.ScanTCP
	if proto == ports.UDP {
		scan = nstest.ScanUDP
	}
	found := map[uint16]bool{}
	for range 3 {
		var got []uint16
		var err error
		s.peer.Do(func() { got, err = scan(netip.MustParseAddr(a[0]), netip.MustParseAddr(a[1]), some...) })
		if err != nil {
			t.Errorf("scanning from %s: %v", s.name, err)
			return nil
		}
		for _, p := range got {
			found[p] = true
		}
		if !slices.ContainsFunc(expected, func(p uint16) bool { return !found[p] && (len(some) == 0 || slices.Contains(some, p)) }) {
			break
		}
	}
	return slices.Sorted(maps.Keys(found))
}

func TestEveryZoneSeesItsRowsOnly(t *testing.T) {
	t.Parallel()
	host, all, links, local := crossing(t)
	p := inService(t)
	p.Links, p.LocalPrefixes = links, local
	load(t, host, p)
	scans(t, "in service", all, func(s corner, proto ports.Proto, family string) []uint16 { return s.open(p, proto, family) })
}
