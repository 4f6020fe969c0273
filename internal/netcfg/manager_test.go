package netcfg

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"

	"ringfence/firewall/nstest"
	"ringfence/internal/ports"
)

// The manager configures the namespace of its process, so these tests run it
// in a child: this test binary again, inside the namespace. The child reads a
// configuration a line and answers with the states of the interfaces.
const childVariable = "RINGFENCE_NETCFG_CHILD"

func TestMain(m *testing.M) {
	if resolv := os.Getenv(childVariable); resolv != "" {
		if err := child(resolv); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(resolv string) error {
	m := NewManager(Options{ResolvConf: resolv, TimeServers: filepath.Join(filepath.Dir(resolv), "time.json"), Sysctls: Sysctls{Root: "/proc/sys"}, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var watching sync.WaitGroup
	watching.Go(func() { Watch(ctx, m.Refresh) })
	in := bufio.NewScanner(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		if in.Text() != "" {
			c, err := Parse(in.Bytes())
			if err != nil {
				return err
			}
			if err := m.Configure(c); err != nil {
				fmt.Fprintln(os.Stderr, "configure:", err)
			}
		}
		states, err := m.States()
		if err != nil {
			return err
		}
		if err := out.Encode(states); err != nil {
			return err
		}
	}
	cancel()
	watching.Wait()
	return m.Close()
}

// managed is a child with its namespace.
type managed struct {
	t      *testing.T
	host   *nstest.NS
	peer   *nstest.NS
	resolv string
	in     io.WriteCloser
	out    *bufio.Scanner
	stop   func()
}

func manage(t *testing.T) *managed {
	t.Helper()
	m := &managed{t: t}
	m.host, m.peer = nstest.Cable(t)
	m.resolv = filepath.Join(t.TempDir(), "resolv.conf")
	m.run()
	return m
}

func (m *managed) run() {
	cmd := m.host.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+m.resolv)
	var log strings.Builder
	cmd.Stderr = &log
	in, err := cmd.StdinPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.in, m.out = in, bufio.NewScanner(out)
	m.stop = sync.OnceFunc(func() {
		_ = in.Close()
		err := cmd.Wait()
		if m.t.Failed() || err != nil {
			m.t.Logf("child: %v\n%s", err, log.String())
		}
	})
	m.t.Cleanup(func() { m.stop() })
}

// say sends a configuration, or nothing, and returns the state of eth0.
func (m *managed) say(config string) State {
	m.t.Helper()
	list := m.all(config)
	i := slices.IndexFunc(list, func(s State) bool { return s.Name == nstest.HostLink })
	if i < 0 {
		m.t.Fatalf("no eth0 in %+v", list)
	}
	return list[i]
}

// all is say with the states of all interfaces.
func (m *managed) all(config string) []State {
	m.t.Helper()
	if _, err := fmt.Fprintln(m.in, strings.ReplaceAll(config, "\n", " ")); err != nil {
		m.t.Fatal(err)
	}
	if !m.out.Scan() {
		m.t.Fatal("the child is gone")
	}
	var list []State
	if err := json.Unmarshal(m.out.Bytes(), &list); err != nil {
		m.t.Fatal(err)
	}
	return list
}

func (m *managed) eventually(what string, cond func(State) bool) State {
	m.t.Helper()
	var s State
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if s = m.say(""); cond(s) {
			return s
		}
	}
	m.t.Fatalf("it never happened that %s: %+v", what, s)
	return s
}

func has(s State, want string) bool {
	return slices.Contains(s.Addresses, netip.MustParsePrefix(want))
}

func (m *managed) wantText(what, got string, want ...string) {
	m.t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			m.t.Errorf("%s lacks %q:\n%s", what, w, got)
		}
	}
}

// dhcpServer answers in the peer's namespace.
type dhcpServer struct {
	mu       sync.Mutex
	address  net.IP
	options  []dhcpv4.Modifier
	refuse   bool
	silent   bool
	requests []*dhcpv4.DHCPv4
}

func (d *dhcpServer) set(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

func (d *dhcpServer) seen() []*dhcpv4.DHCPv4 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.requests)
}

func (d *dhcpServer) handle(conn net.PacketConn, peer net.Addr, m *dhcpv4.DHCPv4) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.requests = append(d.requests, m)
	if d.silent {
		return
	}
	kind, to := dhcpv4.MessageTypeAck, peer
	switch {
	case m.MessageType() == dhcpv4.MessageTypeDiscover:
		kind = dhcpv4.MessageTypeOffer
	case d.refuse:
		kind = dhcpv4.MessageTypeNak
		to = &net.UDPAddr{IP: net.IPv4bcast, Port: int(ports.DHCPv4Client)}
	}
	answer, err := dhcpv4.NewReplyFromRequest(m, append([]dhcpv4.Modifier{
		dhcpv4.WithMessageType(kind), dhcpv4.WithYourIP(d.address), dhcpv4.WithServerIP(net.ParseIP("10.77.0.2")),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.ParseIP("10.77.0.2"))), dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithLeaseTime(60),
	}, d.options...)...)
	if err != nil {
		return
	}
	_, _ = conn.WriteTo(answer.ToBytes(), to)
}

func (m *managed) serveDHCP(d *dhcpServer) {
	m.t.Helper()
	m.peer.Run("ip", "addr", "add", "10.77.0.2/24", "dev", nstest.PeerLink)
	m.peer.Run("ip", "link", "set", nstest.PeerLink, "up")
	var s *server4.Server
	var err error
	m.peer.Do(func() {
		s, err = server4.NewServer(nstest.PeerLink, &net.UDPAddr{Port: int(ports.DHCPv4Server)}, d.handle)
	})
	if err != nil {
		m.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve() }()
	m.t.Cleanup(func() { _ = s.Close(); <-done })
}

func TestManagerLeasesAnAddress(t *testing.T) {
	t.Parallel()
	m := manage(t)
	if s := m.say(""); s.Up {
		t.Fatal("the link is up before any configuration")
	}
	d := &dhcpServer{address: net.ParseIP("10.77.0.50"), options: []dhcpv4.Modifier{
		dhcpv4.WithRouter(net.ParseIP("10.77.0.2")), dhcpv4.WithDNS(net.ParseIP("10.77.0.53")),
		dhcpv4.WithOption(dhcpv4.OptDomainName("example.org")), dhcpv4.WithGeneric(dhcpv4.OptionInterfaceMTU, []byte{0x05, 0xb4}),
		dhcpv4.WithOption(dhcpv4.OptNTPServers(net.ParseIP("10.77.0.123"))),
	}}
	m.serveDHCP(d)
	m.say(`{"hostname":"pbx","interfaces":[{"dhcp4":true}],"ntp":["ntp.example"]}`)
	s := m.eventually("the leased address is there", func(s State) bool { return has(s, "10.77.0.50/24") && len(s.Gateways) == 1 && s.MTU == 1460 })
	if !s.Managed || s.Lease == nil || s.Lease.Server != netip.MustParseAddr("10.77.0.2") || s.Gateways[0] != netip.MustParseAddr("10.77.0.2") || s.Error != "" {
		t.Errorf("state %+v", s)
	}
	raw, err := os.ReadFile(m.resolv)
	if err != nil {
		t.Error(err)
	}
	m.wantText("resolv.conf", string(raw), "nameserver 10.77.0.53\n", "search example.org\n")
	times, err := ReadTimeServers(filepath.Join(filepath.Dir(m.resolv), "time.json"))
	if err != nil || !slices.Equal(times.Configured, []string{"ntp.example"}) || !slices.Equal(times.DHCP, []netip.Addr{netip.MustParseAddr("10.77.0.123")}) {
		t.Errorf("time servers %+v, %v", times, err)
	}
	m.wantText("addresses", m.host.Run("ip", "addr", "show", "dev", "eth0"), "10.77.0.50/24 brd 10.77.0.255 scope global dynamic eth0", "valid_lft")
	m.wantText("routes", m.host.Run("ip", "route"), "default via 10.77.0.2 dev eth0 proto dhcp metric 1")
	for _, r := range d.seen() {
		if r.HostName() != "pbx" {
			t.Errorf("host name %q in %s", r.HostName(), r.MessageType())
		}
	}
}

func TestManagerRenewsEarlyWhenAsked(t *testing.T) {
	t.Parallel()
	m := manage(t)
	d := &dhcpServer{address: net.ParseIP("10.77.0.50"), options: []dhcpv4.Modifier{
		dhcpv4.WithGeneric(dhcpv4.OptionRenewTimeValue, []byte{0, 0, 0, 2}), dhcpv4.WithGeneric(dhcpv4.OptionRebindingTimeValue, []byte{0, 0, 0, 50})}}
	m.serveDHCP(d)
	m.say(`{"interfaces":[{"name":"eth*","dhcp4":true}]}`)
	m.eventually("the leased address is there", func(s State) bool { return has(s, "10.77.0.50/24") })
	began := m.say("").Lease.Obtained
	s := m.eventually("the lease is renewed", func(s State) bool { return s.Lease != nil && s.Lease.Obtained.After(began) })
	if !has(s, "10.77.0.50/24") || len(s.Addresses) > 2 {
		t.Errorf("state %+v", s)
	}
	last := d.seen()[len(d.seen())-1]
	if last.MessageType() != dhcpv4.MessageTypeRequest || !last.ClientIPAddr.Equal(net.ParseIP("10.77.0.50")) || last.RequestedIPAddress() != nil || last.ServerIdentifier() != nil {
		t.Errorf("the renewal is %s", last.Summary()) // RFC 2131 section 4.3.2
	}
	// The server moves us: it refuses the old address and offers another.
	d.set(func() { d.refuse, d.address = true, net.ParseIP("10.77.0.60") })
	m.eventually("the refused address is gone", func(s State) bool { return !has(s, "10.77.0.50/24") })
	d.set(func() { d.refuse = false })
	s = m.eventually("the new address is there", func(s State) bool { return has(s, "10.77.0.60/24") })
	if has(s, "10.77.0.50/24") {
		t.Errorf("both addresses: %+v", s)
	}
}

func TestManagerVerifiesAfterALinkFlap(t *testing.T) {
	t.Parallel()
	m := manage(t)
	d := &dhcpServer{address: net.ParseIP("10.77.0.50")}
	m.serveDHCP(d)
	m.say(`{"interfaces":[{"dhcp4":true}]}`)
	m.eventually("the leased address is there", func(s State) bool { return has(s, "10.77.0.50/24") })
	asked := len(d.seen())
	m.peer.Run("ip", "link", "set", nstest.PeerLink, "down")
	m.eventually("the carrier is gone", func(s State) bool { return !s.Carrier })
	if s := m.say(""); !has(s, "10.77.0.50/24") {
		t.Error("the address went with the carrier")
	}
	time.Sleep(300 * time.Millisecond) // shorter flaps are not worth a message
	m.peer.Run("ip", "link", "set", nstest.PeerLink, "up")
	m.eventually("the lease is verified", func(s State) bool { return len(d.seen()) > asked && has(s, "10.77.0.50/24") })
}

func TestManagerSurvivesItsRestart(t *testing.T) {
	t.Parallel()
	m := manage(t)
	d := &dhcpServer{address: net.ParseIP("10.77.0.50"), options: []dhcpv4.Modifier{dhcpv4.WithRouter(net.ParseIP("10.77.0.2"))}}
	m.serveDHCP(d)
	const config = `{"interfaces":[{"dhcp4":true}]}`
	m.say(config)
	m.eventually("the leased address is there", func(s State) bool { return has(s, "10.77.0.50/24") && len(s.Gateways) == 1 })
	m.stop()
	d.set(func() { d.silent = true })
	m.run()
	if s := m.say(config); !has(s, "10.77.0.50/24") || len(s.Gateways) != 1 {
		t.Errorf("after a restart: %+v", s)
	}
	d.set(func() { d.silent, d.address = false, net.ParseIP("10.77.0.51") })
	s := m.eventually("the new lease is there", func(s State) bool { return has(s, "10.77.0.51/24") })
	if has(s, "10.77.0.50/24") {
		t.Errorf("both addresses: %+v", s)
	}
}

func TestManagerStatic(t *testing.T) {
	t.Parallel()
	m := manage(t)
	m.peer.Run("ip", "link", "set", nstest.PeerLink, "up")
	s := m.say(`{"interfaces":[{"name":"eth0","accept_ra":false,"addresses":["10.77.0.1/24","10.99.0.1/32","fd77::1/64"],
		"routes":[{"to":"0.0.0.0/0","via":"10.77.0.2"},{"to":"10.50.0.0/16","via":"10.98.0.1"},{"to":"::/0","via":"fd77::2"}],
		"nameservers":["10.77.0.53","2001:db8::53"],"search":["example.org"],"mtu":1400}]}`)
	if !s.Up || !has(s, "10.77.0.1/24") || !has(s, "10.99.0.1/32") || !has(s, "fd77::1/64") || s.MTU != 1400 || s.Error != "" {
		t.Errorf("state %+v", s)
	}
	m.wantText("routes", m.host.Run("ip", "route"), "default via 10.77.0.2 dev eth0 proto static", "10.50.0.0/16 via 10.98.0.1 dev eth0 proto static metric", "onlink")
	m.wantText("IPv6 routes", m.host.Run("ip", "-6", "route"), "default via fd77::2 dev eth0 proto static")
	for name, want := range map[string]string{"net.ipv6.conf.eth0.accept_ra": "0", "net.ipv4.conf.eth0.rp_filter": "2", "net.ipv4.conf.eth0.accept_redirects": "0"} {
		if got := strings.TrimSpace(m.host.Run("sysctl", "-n", name)); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	raw, err := os.ReadFile(m.resolv)
	if err != nil {
		t.Error(err)
	}
	m.wantText("resolv.conf", string(raw), "nameserver 10.77.0.53\nnameserver 2001:db8::53\nsearch example.org\n")

	// A new configuration replaces the old one, no more and no less.
	m.host.Run("ip", "route", "add", "10.60.0.0/16", "via", "10.77.0.9") // somebody else's
	s = m.say(`{"interfaces":[{"name":"eth0","addresses":["10.77.0.1/24","10.77.0.5/24"],"routes":[{"to":"0.0.0.0/0","via":"10.77.0.3"}]}]}`)
	if !has(s, "10.77.0.1/24") || !has(s, "10.77.0.5/24") || has(s, "10.99.0.1/32") || has(s, "fd77::1/64") || len(s.Gateways) != 1 || s.Gateways[0].String() != "10.77.0.3" {
		t.Errorf("state %+v", s)
	}
	routes := m.host.Run("ip", "route")
	m.wantText("routes", routes, "10.60.0.0/16 via 10.77.0.9")
	if strings.Contains(routes, "10.50.0.0/16") {
		t.Errorf("an old route is left:\n%s", routes)
	}
	if got := strings.TrimSpace(m.host.Run("sysctl", "-n", "net.ipv6.conf.eth0.accept_ra")); got != "1" {
		t.Errorf("accept_ra is %s", got)
	}
}

// A configuration that names another interface leaves this one alone; one that
// appears later is configured then.
func TestManagerMatchesAndHotPlug(t *testing.T) {
	t.Parallel()
	m := manage(t)
	if s := m.say(`{"interfaces":[{"name":"eth7","addresses":["10.70.0.1/24"]},{"mac":"52:54:00:00:00:08","addresses":["10.80.0.1/24"]}]}`); s.Up || s.Managed {
		t.Errorf("a stranger was configured: %+v", s)
	}
	m.host.Run("ip", "link", "add", "eth7", "type", "veth", "peer", "name", "eth7", "netns", m.peer.Name)
	m.host.Run("ip", "link", "add", "eth8", "address", "52:54:00:00:00:08", "type", "veth", "peer", "name", "eth8", "netns", m.peer.Name)
	m.eventually("the new interfaces are configured", func(State) bool {
		out := m.host.Run("ip", "-4", "-o", "addr")
		return strings.Contains(out, "10.70.0.1/24") && strings.Contains(out, "10.80.0.1/24")
	})
	m.host.Run("ip", "link", "del", "eth7")
	m.say("")
}

func TestManagerTakesRouterAdvertisements(t *testing.T) {
	t.Parallel()
	m := manage(t)
	m.say(`{"interfaces":[{"dhcp4":false}]}`)
	for name, want := range map[string]string{"accept_ra": "1", "autoconf": "1", "use_tempaddr": "0", "accept_redirects": "0"} {
		if got := strings.TrimSpace(m.host.Run("sysctl", "-n", "net.ipv6.conf.eth0."+name)); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	m.peer.Run("ip", "link", "set", nstest.PeerLink, "up")
	m.eventually("a link-local address is there", func(s State) bool {
		return slices.ContainsFunc(s.Addresses, func(p netip.Prefix) bool { return p.Addr().IsLinkLocalUnicast() })
	})
	m.peer.Do(func() { advertise(t) })
	m.eventually("the autoconfigured address and route are there", func(s State) bool {
		return slices.ContainsFunc(s.Addresses, func(p netip.Prefix) bool { return netip.MustParsePrefix("2001:db8:77::/64").Contains(p.Addr()) }) &&
			slices.ContainsFunc(s.Gateways, func(a netip.Addr) bool { return a.IsLinkLocalUnicast() })
	})
	// Configuring again keeps what the kernel configured by itself.
	s := m.say(`{"interfaces":[{"addresses":["10.77.0.1/24"]}]}`)
	if len(s.Addresses) < 3 {
		t.Errorf("state %+v", s)
	}
	// Without them it goes, so that nobody confirms a configuration by it.
	s = m.say(`{"interfaces":[{"accept_ra":false,"addresses":["10.77.0.1/24"]}]}`)
	if len(s.Addresses) != 2 || len(s.Gateways) != 0 {
		t.Errorf("state %+v", s)
	}
}

// advertise sends one router advertisement for 2001:db8:77::/64 (RFC 4861
// sections 4.2 and 4.6.2), retrying until the link-local address is usable.
func advertise(t *testing.T) {
	t.Helper()
	packet := []byte{134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0}
	prefix := append([]byte{3, 4, 64, 0xc0, 0, 0, 0x0e, 0x10, 0, 0, 0x0e, 0x10, 0, 0, 0, 0}, net.ParseIP("2001:db8:77::")...)
	var err error
	for range 50 {
		if err = sendRA(append(packet, prefix...)); err == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal(err)
}
