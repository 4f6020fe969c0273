package main

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"ringfence/firewall/nstest"
	"ringfence/internal/netcfg"
	"ringfence/internal/ports"
)

// A voice and a management network on two cables: what may be reached is a matter
// of where it is asked. The rules follow the network configuration, also where
// no link or address changes, and a cable that is used only later.
func TestRulesFollowTheZonesOfTheNetwork(t *testing.T) {
	t.Parallel()
	host, peer := nstest.Cable(t)
	host.Run("ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth1", "netns", peer.Name)
	dir := t.TempDir()
	file := filepath.Join(dir, "network.json")
	no := false
	config := func(first, second netcfg.Zone) netcfg.Config {
		c := netcfg.Config{Interfaces: []netcfg.Interface{
			{Name: nstest.HostLink, Zone: first, AcceptRA: &no, Addresses: []netip.Prefix{netip.MustParsePrefix("10.77.0.1/24"), netip.MustParsePrefix("fd77::1/64")}},
		}}
		if second != "none" {
			c.Interfaces = append(c.Interfaces, netcfg.Interface{Name: "eth1", Zone: second, AcceptRA: &no,
				Addresses: []netip.Prefix{netip.MustParsePrefix("10.20.0.1/24"), netip.MustParsePrefix("fd20::1/64")}})
		}
		return c
	}
	must(t, os.WriteFile(file, []byte(`{"interfaces":[{"name":"eth0","zone":"management","accept_ra":false,"addresses":["10.77.0.1/24","fd77::1/64"]}]}`), 0o600))
	f := prepare(t, host, peer, "-manage-network", "-network", file)
	for _, cmd := range []string{
		"ip addr add 10.77.0.2/24 dev eth0", "ip addr add fd77::2/64 dev eth0 nodad", "ip link set eth0 up",
		"ip addr add 10.20.0.2/24 dev eth1", "ip addr add fd20::2/64 dev eth1 nodad", "ip link set eth1 up",
	} {
		peer.Run(strings.Fields(cmd)...)
	}
	c := f.start()
	p := inService(t, 1)
	p.ConnectedLocal = true
	must(t, c.Apply(t.Context(), p, 0))
	sip, _ := ports.Lookup(p.Services, ports.EdgeWSS) // over TCP, as the portal
	portal, _ := ports.Lookup(p.Services, ports.Portal)
	for _, s := range []ports.Service{sip, portal} {
		var l net.Listener
		var err error
		host.Do(func() { l, err = net.Listen("tcp", ":"+s.Ports()) })
		must(t, err)
		t.Cleanup(func() { _ = l.Close() })
	}
	reach := func(network string) string {
		var open []string
		for _, s := range []ports.Service{sip, portal} {
			for _, a := range map[string][]string{"eth0": {"10.77.0.1", "fd77::1"}, "eth1": {"10.20.0.1", "fd20::1"}}[network] {
				var conn net.Conn
				var err error
				d := net.Dialer{Timeout: 200 * time.Millisecond}
				peer.Do(func() { conn, err = d.Dial("tcp", net.JoinHostPort(a, strconv.Itoa(int(s.First)))) })
				if err == nil {
					_ = conn.Close()
					open = append(open, string(s.ID))
				}
			}
		}
		return strings.Join(open, " ")
	}
	both := func(id ports.ID) string { return string(id + " " + id) } // IPv4 and IPv6
	const all = "edge-wss edge-wss portal portal"
	is := func(what, first, second string) {
		t.Helper()
		var got [2]string
		for range 20 { // addresses of IPv6 are tentative at first
			if got = [2]string{reach("eth0"), reach("eth1")}; got == [2]string{first, second} {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Errorf("%s: open are %q, want %q and %q", what, got, first, second)
	}
	is("as it starts", both(ports.Portal), "")
	for i, s := range []struct {
		first, second         netcfg.Zone
		openFirst, openSecond string
	}{
		{netcfg.ZoneManagement, netcfg.ZoneVoice, both(ports.Portal), both(ports.EdgeWSS)},
		{netcfg.ZoneVoice, netcfg.ZoneManagement, both(ports.EdgeWSS), both(ports.Portal)},
		{netcfg.ZoneAny, netcfg.ZoneTrunk, all, both(ports.EdgeWSS)},
		{netcfg.ZoneAny, netcfg.ZoneAny, all, all},
		{netcfg.ZoneAny, "none", all, ""},
	} {
		n := config(s.first, s.second)
		n.Rev = uint64(i + 1)
		must(t, c.SetAddresses(t.Context(), n, 0))
		is("zones "+string(s.first)+" and "+string(s.second), s.openFirst, s.openSecond)
	}
	// A trial that is taken back takes its zones with it.
	n := config(netcfg.ZoneTrunk, netcfg.ZoneTrunk)
	n.Rev = 100
	must(t, c.SetAddresses(t.Context(), n, time.Minute))
	is("on trial", both(ports.EdgeWSS), both(ports.EdgeWSS))
	must(t, c.RevertAddresses(t.Context(), n.Rev))
	is("taken back", all, "")
}
