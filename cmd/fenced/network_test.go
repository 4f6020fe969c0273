package main

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"

	"ringfence/firewall"
	"ringfence/firewall/nstest"
	"ringfence/internal/netcfg"
	"ringfence/internal/ports"
)

// The link comes up after the rules: a flood that waits for it reaches
// nothing. Then the lease arrives, through the rules.
func TestFenceBringsTheLinkUpBehindTheRules(t *testing.T) {
	t.Parallel()
	host, peer := nstest.Cable(t)
	f := prepare(t, host, peer, "-manage-network")
	peer.Run("ip", "addr", "add", "10.77.0.2/24", "dev", nstest.PeerLink)
	peer.Run("ip", "link", "set", nstest.PeerLink, "up")
	mac := "02:00:00:00:00:01"
	host.Run("ip", "link", "set", nstest.HostLink, "address", mac)
	host.Run("ip", "addr", "add", nstest.Host4+"/24", "dev", nstest.HostLink, "valid_lft", "600", "preferred_lft", "600") // down, with an earlier lease
	peer.Run("ip", "neigh", "add", nstest.Host4, "lladdr", mac, "dev", nstest.PeerLink)
	serveDHCP(t, peer)

	var arrived atomic.Int64
	var in *net.UDPConn
	var out *nstest.Spoofer
	var err error
	host.Do(func() { in, err = net.ListenUDP("udp", &net.UDPAddr{Port: 7000}) })
	must(t, err)
	defer in.Close()
	go func() {
		for buf := make([]byte, 64); ; arrived.Add(1) {
			if _, _, err := in.ReadFromUDPAddrPort(buf); err != nil {
				return
			}
		}
	}()
	peer.Do(func() {
		out, err = nstest.NewSpoofer(netip.AddrPortFrom(netip.MustParseAddr(nstest.Host4), 7000), []byte("?"))
	})
	must(t, err)
	stop := make(chan struct{})
	var flood sync.WaitGroup
	var sent atomic.Int64
	flood.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if out.Send(netip.MustParseAddr("10.77.0.2")) == nil {
				sent.Add(1)
			}
			time.Sleep(100 * time.Microsecond)
		}
	})
	c := f.start()
	eventually(t, "the lease is there", func() bool {
		list, err := c.Interfaces(t.Context())
		return err == nil && slices.ContainsFunc(list, func(s netcfg.State) bool {
			return s.Lease != nil && slices.Contains(s.Addresses, netip.MustParsePrefix("10.77.0.50/24"))
		})
	})
	close(stop)
	flood.Wait()
	if arrived.Load() != 0 || sent.Load() == 0 {
		t.Errorf("%d of %d datagrams reached a closed port while the fence started", arrived.Load(), sent.Load())
	}
	n, err := c.Counters(t.Context())
	must(t, err)
	if n.Drops["rest"].Packets == 0 {
		t.Error("no flood arrived at the filter: the test proves nothing")
	}
	eventually(t, "the resolver knows its server", func() bool {
		raw, err := os.ReadFile(filepath.Join(f.dir, "run", "resolv.conf"))
		return err == nil && strings.Contains(string(raw), "nameserver 10.77.0.53\n")
	})
	if got := strings.TrimSpace(host.Run("sysctl", "-n", "net.ipv4.conf.all.rp_filter")); got != "2" {
		t.Errorf("rp_filter is %s", got)
	}
	// The host's own network and gateway cannot be blocked.
	p := inService(t, 1)
	p.Block = []netip.Prefix{netip.MustParsePrefix("10.77.0.0/24")}
	eventually(t, "blocking the own network is refused", func() bool {
		return errors.Is(c.Apply(t.Context(), p, 0), firewall.ErrRefused) // as soon as the lease is noticed
	})
}

func serveDHCP(t *testing.T, n *nstest.NS) {
	t.Helper()
	server := net.ParseIP("10.77.0.2")
	handler := func(conn net.PacketConn, peer net.Addr, m *dhcpv4.DHCPv4) {
		kind := dhcpv4.MessageTypeAck
		if m.MessageType() == dhcpv4.MessageTypeDiscover {
			kind = dhcpv4.MessageTypeOffer
		}
		answer, err := dhcpv4.NewReplyFromRequest(m, dhcpv4.WithMessageType(kind), dhcpv4.WithYourIP(net.ParseIP("10.77.0.50")),
			dhcpv4.WithOption(dhcpv4.OptServerIdentifier(server)), dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithLeaseTime(600),
			dhcpv4.WithRouter(server), dhcpv4.WithDNS(net.ParseIP("10.77.0.53")))
		if err == nil {
			_, _ = conn.WriteTo(answer.ToBytes(), peer)
		}
	}
	var s *server4.Server
	var err error
	n.Do(func() {
		s, err = server4.NewServer(nstest.PeerLink, &net.UDPAddr{Port: int(ports.DHCPv4Server)}, handler)
	})
	must(t, err)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve() }()
	t.Cleanup(func() { _ = s.Close(); <-done })
}
