package netcfg

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/dhcpv6/server6"
	"github.com/insomniacslk/dhcp/iana"

	"ringfence/firewall/nstest"
	"ringfence/internal/ports"
)

// serveDHCP6 answers in the peer's namespace: with an address, or without one
// with name servers alone.
func (m *managed) serveDHCP6(address net.IP) {
	m.t.Helper()
	m.peer.Run("ip", "link", "set", nstest.PeerLink, "up")
	id := dhcpv6.WithServerID(&dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: net.HardwareAddr{2, 0, 0, 0, 0, 9}})
	dns := dhcpv6.WithDNS(net.ParseIP("fd77::53"))
	handle := func(conn net.PacketConn, peer net.Addr, d dhcpv6.DHCPv6) {
		ask, ok := d.(*dhcpv6.Message)
		if !ok || address == nil && ask.MessageType != dhcpv6.MessageTypeInformationRequest {
			return
		}
		more := []dhcpv6.Modifier{id, dns}
		if ia := ask.Options.OneIANA(); ia != nil {
			more = append(more, dhcpv6.WithIAID(ia.IaId), dhcpv6.WithIANA(dhcpv6.OptIAAddress{IPv6Addr: address, PreferredLifetime: time.Minute, ValidLifetime: time.Minute}))
		}
		answer, err := dhcpv6.NewReplyFromMessage(ask, more...)
		if ask.MessageType == dhcpv6.MessageTypeSolicit {
			answer, err = dhcpv6.NewAdvertiseFromSolicit(ask, more...)
		}
		if err == nil {
			_, _ = conn.WriteTo(answer.ToBytes(), peer)
		}
	}
	var s *server6.Server
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		var err error
		m.peer.Do(func() {
			s, err = server6.NewServer(nstest.PeerLink, &net.UDPAddr{IP: net.IPv6unspecified, Port: int(ports.DHCPv6Server)}, handle)
		})
		if err == nil {
			break
		}
		if time.Now().After(end) {
			m.t.Fatal(err)
		}
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve() }()
	m.t.Cleanup(func() { _ = s.Close(); <-done })
}

func (m *managed) wantResolver(want string) {
	m.t.Helper()
	m.eventually("the resolver knows "+want, func(State) bool {
		raw, err := os.ReadFile(m.resolv)
		return err == nil && strings.Contains(string(raw), want)
	})
}

func TestManagerLeasesAnIPv6Address(t *testing.T) {
	t.Parallel()
	m := manage(t)
	m.serveDHCP6(net.ParseIP("fd77::50"))
	m.say(`{"interfaces":[{"accept_ra":false,"dhcp6":true}]}`)
	s := m.eventually("the leased address is there", func(s State) bool { return has(s, "fd77::50/128") })
	if s.Lease6 == nil || s.Lease6.Address != netip.MustParsePrefix("fd77::50/128") {
		t.Errorf("state %+v", s)
	}
	m.wantResolver("nameserver fd77::53\n")
	m.wantText("addresses", m.host.Run("ip", "-6", "addr", "show", "dev", "eth0"), "valid_lft 5")
	// Without DHCPv6 the address goes; what the kernel configured stays.
	if s := m.say(`{"interfaces":[{"addresses":["10.77.0.1/24"]}]}`); has(s, "fd77::50/128") || len(s.Addresses) < 2 {
		t.Errorf("state %+v", s)
	}
}

func TestManagerAsksForNameServersAlone(t *testing.T) {
	t.Parallel()
	m := manage(t)
	m.serveDHCP6(nil)
	m.say(`{"interfaces":[{"dhcp6":true}]}`)
	m.wantResolver("nameserver fd77::53\n")
	if s := m.say(""); s.Lease6 == nil || s.Lease6.Address.IsValid() {
		t.Errorf("state %+v", s)
	}
}

func TestReadLease6(t *testing.T) {
	t.Parallel()
	now := time.Now()
	grant := func(ip string, lasts time.Duration) *dhcpv6.Message {
		m, err := dhcpv6.NewMessage(dhcpv6.WithIAID([4]byte{1}), dhcpv6.WithIANA(dhcpv6.OptIAAddress{IPv6Addr: net.ParseIP(ip), ValidLifetime: lasts}),
			dhcpv6.WithDNS(net.ParseIP("::1"), net.ParseIP("ff02::1"), net.ParseIP("2001:db8::53")))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	for ip, lasts := range map[string]time.Duration{"::1": time.Hour, "ff02::1": time.Hour, "fe80::1": time.Hour, "::": time.Hour, "2001:db8::1": 0} {
		if l, _, err := readLease6(grant(ip, lasts), now); err == nil {
			t.Errorf("%s for %s was taken: %+v", ip, lasts, l)
		}
	}
	l, renew, err := readLease6(grant("2001:db8::1", time.Second), now)
	if err != nil || l.Expires != now.Add(shortestLease) || renew != shortestLease/2 || len(l.Nameservers) != 1 {
		t.Errorf("%+v, %s, %v", l, renew, err)
	}
	if l, _, err := readLease6(grant("2001:db8::1", 1<<32*time.Second), now); err != nil || l.Expires.After(now.Add(400*24*time.Hour)) {
		t.Errorf("for ever: %+v, %v", l, err)
	}
}
