package firewall

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringfence/firewall/cloudrules"
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
	seeded := rand.New(rand.NewPCG(5060, 8887))
	for range 200 {
		some[uint16(1+seeded.IntN(1023))], some[uint16(1024+seeded.IntN(64511))] = true, true
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
					if more, less := beyond(got, expected), beyond(expected, got); len(more)+len(less) > 0 {
						t.Errorf("%s: %s ports to %s over %s: open beyond the table %v, closed though in it %v", what, proto, s.name, family, more, less)
					}
				}
			}
		})
	}
	tasks.Wait()
}

// beyond are the elements of a that are not in b.
func beyond(a, b []uint16) []uint16 {
	return slices.DeleteFunc(slices.Clone(a), func(p uint16) bool { return slices.Contains(b, p) })
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

// Every corner reaches the rows of its zone and no other port, also after a
// transport was added, moved and deleted, over both families, and with only
// some sources.
func TestEveryZoneSeesItsRowsOnly(t *testing.T) {
	t.Parallel()
	host, all, links, local := crossing(t)
	k := NewKernel(host.FD())
	on, off := true, false
	for _, c := range []struct {
		name      string
		overrides []ports.Override
		media     bool
	}{
		{"out of the box", nil, false},
		{"with a transport more, and calls", []ports.Override{{ID: ports.SIPTLS, Enabled: &on}}, true},
		{"moved, and for some zones", []ports.Override{
			{ID: ports.SIPTLS, Enabled: &on, First: 5080, Zones: []ports.Zone{ports.Trunk}},
			{ID: ports.SIPUDP, First: 5080, Zones: []ports.Zone{ports.WAN}},
			{ID: ports.Portal, Zones: []ports.Zone{ports.Voice, ports.Management}},
			{ID: ports.SSH, Enabled: &on},
		}, false},
		{"deleted, and for some sources", []ports.Override{
			{ID: ports.SIPTLS, Enabled: &off},
			{ID: ports.SIPUDP, Sources: prefixes("10.80.0.0/24", "198.51.100.2/32", "2001:db8:1::/48", "fd80:2::/64")},
			{ID: ports.EdgeWSS, Sources: prefixes("10.80.2.0/24")},
			{ID: ports.Portal, Sources: prefixes("10.80.1.2/32", "198.51.100.0/30", "fd80:1::2/128")},
		}, false},
	} {
		p := inService(t, c.overrides...)
		p.Links, p.LocalPrefixes = links, local
		must(t, k.Apply(mustCompile(t, p)))
		var media []uint16
		if c.media {
			media = []uint16{45000, 64999}
			must(t, k.change([]element{portElement(45000, time.Minute, false), portElement(64999, time.Minute, false)}))
		}
		scans(t, c.name, all, func(s corner, proto ports.Proto, family string) []uint16 { return s.open(p, proto, family, media...) })
		if c.media {
			must(t, k.change([]element{portElement(45000, 0, true), portElement(64999, 0, true)}))
		}
	}
}

// In cloud mode our own filter lets every port through, and lists hold; before it
// the rules that were written for the cloud let through what the table says.
func TestCloudModeBehindTheCloudsRules(t *testing.T) {
	t.Parallel()
	host, all, links, local := crossing(t)
	all = slices.DeleteFunc(all, func(s corner) bool { return s.zone != "" }) // a cloud has no such interfaces
	links = slices.DeleteFunc(links, func(l Link) bool { return l.Zone != "" })
	k := NewKernel(host.FD())
	on := true
	p := inService(t)
	p.Mode, p.Links, p.LocalPrefixes = ModeCloud, links, local
	must(t, k.Apply(mustCompile(t, p)))
	if some := probed(); some != nil {
		scans(t, "cloud mode alone", all, func(corner, ports.Proto, string) []uint16 { return some })
	}
	for _, overrides := range [][]ports.Override{
		nil,
		{{ID: ports.SIPTLS, Enabled: &on}, {ID: ports.SIPUDP, First: 5080, Sources: prefixes("198.51.100.0/24", "fd80:3::/64")},
			{ID: ports.Portal, Zones: []ports.Zone{ports.Management}}, {ID: ports.SSH, Enabled: &on}},
	} {
		p := inService(t, overrides...)
		p.Mode, p.Links, p.LocalPrefixes = ModeCloud, links, local
		must(t, k.Apply(mustCompile(t, p)))
		group(t, host, cloudrules.Rules(p.Services, cloudrules.Sources{Inside: local, Management: local}))
		p.Services = slices.DeleteFunc(p.Services, func(s ports.Service) bool { return s.Wrap == ports.RTP }) // open as ranges
		scans(t, "behind the cloud's rules", all, func(s corner, proto ports.Proto, family string) []uint16 { return s.open(p, proto, family) })
	}
	world := all[len(all)-1]
	p.Block = prefixes(world.v4[0]+"/32", world.v6[0]+"/128")
	must(t, k.Apply(mustCompile(t, p)))
	scans(t, "blocked in cloud mode", []corner{world}, func(corner, ports.Proto, string) []uint16 { return nil })
	p.Mode = ModeOff
	must(t, k.Apply(mustCompile(t, p)))
	host.Run("nft", "delete", "table", "inet", "cloud")
	if some := probed(); some != nil {
		scans(t, "blocked, switched off entirely", []corner{world}, func(corner, ports.Proto, string) []uint16 { return some })
	}
	p.Mode = ModeFilter
	must(t, k.Apply(mustCompile(t, p)))
	scans(t, "blocked, back in filter mode", []corner{world}, func(corner, ports.Proto, string) []uint16 { return nil })
}

// group is a cloud's packet filter: what its rules do not let in never gets to
// ours. Media ports are left out, to see that ours are none of its business.
func group(t *testing.T, host *nstest.NS, rules []cloudrules.Rule) {
	t.Helper()
	text := "table inet cloud\ndelete table inet cloud\ntable inet cloud { chain in { type filter hook prerouting priority -500; policy drop; iif lo accept; icmp type echo-request accept; icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } accept;\n"
	for _, r := range rules {
		if r.Service.Wrap == ports.RTP {
			continue
		}
		for _, from := range r.From {
			family := "ip"
			if from.Addr().Is6() {
				family = "ip6"
			}
			text += fmt.Sprintf("%s saddr %s %s dport %d-%d accept\n", family, from, r.Service.Proto, r.Service.First, r.Service.Last)
		}
	}
	cmd := host.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(text + "}\n}\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// A cap on an interface holds for everything that arrives on it: calls, sources
// that are always let in, fragments of neither; and for nothing elsewhere.
func TestLimitOfAnInterface(t *testing.T) {
	t.Parallel()
	host, all, links, local := crossing(t)
	voice, trunk := all[0], all[2]
	const limit = 400
	for i := range links {
		if links[i].Name == voice.link {
			links[i].PerSecond = limit
		}
	}
	p := inService(t)
	p.Links, p.LocalPrefixes, p.Allow = links, local, prefixes(voice.v4[0]+"/32")
	for _, mode := range []Mode{ModeFilter, ModeCloud} {
		p.Mode = mode
		k := load(t, host, p)
		must(t, k.change([]element{portElement(45010, time.Minute, false)}))
		dropped := func() uint64 {
			n, err := k.counters()
			must(t, err)
			return n[countLink].Packets
		}
		before := dropped()
		voice.burst(t, 45010, limit*3/4)
		if n := dropped() - before; n != 0 {
			t.Errorf("%s: %d packets of %d are dropped below the limit of %d a second", mode, n, limit*3/4, limit)
		}
		trunk.burst(t, 45010, limit*4)
		if n := dropped() - before; n != 0 {
			t.Errorf("%s: %d packets are dropped on an interface without a limit", mode, n)
		}
		voice.burst(t, 45010, limit*5)
		if n := dropped() - before; n < limit*5/2 {
			t.Errorf("%s: %d of a burst of %d packets are dropped at %d a second", mode, n, limit*5, limit)
		}
	}
}

// burst sends so many datagrams at once.
func (s corner) burst(t *testing.T, port uint16, n int) {
	t.Helper()
	var conn *net.UDPConn
	var err error
	s.peer.Do(func() {
		conn, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(s.v4[1]), port)))
	})
	must(t, err)
	defer conn.Close()
	for range n {
		if _, err := conn.Write([]byte("?")); err != nil && !errors.Is(err, unix.ECONNREFUSED) {
			t.Fatal(err)
		}
	}
}

// An interface belongs to its zone whatever address a packet claims: one from the
// voice network that comes in over the management interface is management's.
func TestZoneIsThatOfTheInterface(t *testing.T) {
	t.Parallel()
	host, all, links, local := crossing(t)
	voice, management, world := all[0], all[1], all[4]
	host.Run("sysctl", "-q", "-w", "net.ipv4.conf.all.rp_filter=0")
	for _, s := range all {
		host.Run("sysctl", "-q", "-w", "net/ipv4/conf/"+s.link+"/rp_filter=0")
	}
	p := inService(t)
	p.Links, p.LocalPrefixes = links, local
	load(t, host, p)
	sip := listenUDP(t, host, "0.0.0.0", 5060)
	reach := func(s corner, source netip.Addr) bool {
		var out *nstest.Spoofer
		var err error
		s.peer.Do(func() {
			out, err = nstest.NewSpoofer(netip.AddrPortFrom(netip.MustParseAddr(s.v4[1]), 5060), []byte("?"))
		})
		must(t, err)
		defer out.Close()
		must(t, out.Send(source))
		_ = sip.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		_, _, err = sip.ReadFromUDPAddrPort(make([]byte, 10))
		return err == nil
	}
	for _, claimed := range []string{voice.v4[0], management.v4[0], world.v4[0]} {
		from := netip.MustParseAddr(claimed)
		if !reach(voice, from) {
			t.Errorf("SIP from %s is dropped on the voice interface", from)
		}
		if reach(management, from) {
			t.Errorf("SIP from %s gets in over the management interface", from)
		}
	}
}
