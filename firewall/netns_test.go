package firewall

import (
	"errors"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringfence/firewall/nstest"
	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// These tests load real rules into a network namespace and look at them from
// another one, across a cable.

func both() map[string][2]netip.Addr {
	return map[string][2]netip.Addr{
		"IPv4": {netip.MustParseAddr(nstest.Peer4), netip.MustParseAddr(nstest.Host4)},
		"IPv6": {netip.MustParseAddr(nstest.Peer6), netip.MustParseAddr(nstest.Host6)},
	}
}

// wantOpen lists the ports of p that a scan must find, with the given media
// ports held.
func wantOpen(p Policy, proto ports.Proto, media ...uint16) []uint16 {
	var out []uint16
	for _, s := range p.Services {
		if s.Proto == proto && s.Wrap != ports.RTP {
			for port := int(s.First); port <= int(s.Last); port++ {
				out = append(out, uint16(port))
			}
		}
	}
	if proto == ports.UDP {
		out = append(out, media...)
	}
	slices.Sort(out)
	return out
}

// scanIs fails unless exactly the wanted ports let packets through. A lost
// packet hides an open port: what is missing is looked for twice more.
func scanIs(t *testing.T, peer *nstest.NS, proto ports.Proto, want []uint16) {
	t.Helper()
	scan := nstest.ScanTCP
	if proto == ports.UDP {
		scan = nstest.ScanUDP
	}
	for family, a := range both() {
		found := map[uint16]bool{}
		for range 3 {
			var got []uint16
			var err error
			peer.Do(func() { got, err = scan(a[0], a[1]) })
			must(t, err)
			for _, p := range got {
				found[p] = true
			}
			if !slices.ContainsFunc(want, func(p uint16) bool { return !found[p] }) {
				break
			}
		}
		if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, want) {
			t.Errorf("%s over %s: ports %v let packets through, want %v", proto, family, got, want)
		}
	}
}

// The scan finds open ports at all: without a filter it finds all of them.
func TestScanSeesAnOpenHost(t *testing.T) {
	t.Parallel()
	host, peer := nstest.Pair(t)
	host.ICMPUnlimited()
	v4, v6 := both()["IPv4"], both()["IPv6"]
	var tcp, udp []uint16
	var err1, err2 error
	peer.Do(func() {
		tcp, err1 = nstest.ScanTCP(v4[0], v4[1])
		udp, err2 = nstest.ScanUDP(v6[0], v6[1])
	})
	must(t, err1)
	must(t, err2)
	const all, lost = 65535, 500
	if len(tcp) < all-lost || len(udp) < all-lost {
		t.Errorf("%d TCP and %d UDP ports of an open host answer", len(tcp), len(udp))
	}
}

// What is reachable is the table, exactly: every port of both protocols and
// both families, before and after set-up. 22 is silent.
func TestScanIsTheTable(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]Policy{"before set-up": DefaultPolicy(), "in service": inService(t), "every row": everyRow()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host, peer := nstest.Pair(t)
			host.ICMPUnlimited()
			p.LocalPrefixes = nil // the peer is a stranger
			var open []ports.Service
			for _, s := range p.Services {
				if slices.Contains(s.Zones, ports.WAN) {
					open = append(open, s)
				}
			}
			k := load(t, host, p)
			want := p
			want.Services = open
			scanIs(t, peer, ports.TCP, wantOpen(want, ports.TCP))
			if name != "every row" { // its UDP rows are of the same kind
				scanIs(t, peer, ports.UDP, wantOpen(want, ports.UDP))
			}
			if slices.Contains(wantOpen(want, ports.TCP), 22) {
				t.Fatal("22 is in the table")
			}
			switch name {
			case "in service":
				must(t, k.change([]element{portElement(45000, time.Minute, false), portElement(64999, time.Minute, false)}))
				scanIs(t, peer, ports.UDP, wantOpen(want, ports.UDP, 45000, 64999))
			case "every row": // a neighbour also reaches the rows of its zones
				p.LocalPrefixes = prefixes("10.77.0.0/24", "fd77::/64")
				must(t, k.Apply(mustCompile(t, p)))
				scanIs(t, peer, ports.TCP, wantOpen(p, ports.TCP))
			}
		})
	}
}

func TestCloudModeFiltersNoPorts(t *testing.T) {
	t.Parallel()
	host, peer := nstest.Pair(t)
	p := inService(t)
	p.Mode, p.Block = ModeCloud, prefixes("10.77.0.3/32")
	k := load(t, host, p)
	sink := listenUDP(t, host, nstest.Host4, 7000)
	if !sink.gets(t, peer, nstest.Peer4) {
		t.Error("a port outside the table is filtered in cloud mode")
	}
	peer.Run("ip", "addr", "add", "10.77.0.3/24", "dev", nstest.PeerLink)
	if sink.gets(t, peer, "10.77.0.3") {
		t.Error("a blocked source gets through in cloud mode")
	}
	must(t, k.Apply(mustCompile(t, inService(t))))
	if sink.gets(t, peer, nstest.Peer4) {
		t.Error("back in filter mode, the port is still open")
	}
}

// sink is a UDP socket on the host.
type sink struct {
	*net.UDPConn
	addr netip.AddrPort
}

func listenUDP(t testing.TB, n *nstest.NS, addr string, port uint16) *sink {
	t.Helper()
	at := netip.AddrPortFrom(netip.MustParseAddr(addr), port)
	var conn *net.UDPConn
	var err error
	n.Do(func() { conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at)) })
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	raw, err := conn.SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) { // beyond what net.core.rmem_max allows
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
	}))
	must(t, err)
	return &sink{conn, at}
}

// gets reports whether a datagram from source reaches the sink.
func (s *sink) gets(t testing.TB, from *nstest.NS, source string) bool {
	t.Helper()
	return s.getsBytes(t, from, source, 1)
}

func (s *sink) getsBytes(t testing.TB, from *nstest.NS, source string, size int) bool {
	t.Helper()
	var conn *net.UDPConn
	var err error
	from.Do(func() {
		conn, err = net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(source)}, net.UDPAddrFromAddrPort(s.addr))
	})
	must(t, err)
	defer conn.Close()
	_, err = conn.Write(make([]byte, size))
	must(t, err)
	_ = s.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	n, from2, err := s.ReadFromUDPAddrPort(make([]byte, 65536))
	return err == nil && n == size && from2.Port() == conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

// dials reports whether a TCP connection to the host's port is answered.
func dials(t testing.TB, from *nstest.NS, source, target string, port uint16) bool {
	t.Helper()
	var conn net.Conn
	var err error
	d := net.Dialer{Timeout: 500 * time.Millisecond, LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	from.Do(func() { conn, err = d.Dial("tcp", net.JoinHostPort(target, strconv.Itoa(int(port)))) })
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}

func listenTCP(t testing.TB, n *nstest.NS, addr string, port uint16) net.Listener {
	t.Helper()
	var l net.Listener
	var err error
	// A program that another test is about to start holds the last listener of
	// this port for a moment.
	for deadline := time.Now().Add(2 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		n.Do(func() { l, err = net.Listen("tcp", net.JoinHostPort(addr, strconv.Itoa(int(port)))) })
		if !errors.Is(err, unix.EADDRINUSE) || time.Now().After(deadline) {
			break
		}
	}
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	return l
}

// A media port is open while it is held: not before, not after its close, and
// not after its time, which a refresh prolongs.
func TestMediaPortsOpenOnlyWhileHeld(t *testing.T) {
	t.Parallel()
	host, peer := nstest.Pair(t)
	k := load(t, host, inService(t))
	for _, a := range both() {
		s := listenUDP(t, host, a[1].String(), 45010)
		source := a[0].String()
		if s.gets(t, peer, source) {
			t.Fatal("open before it was held")
		}
		must(t, k.change([]element{portElement(45010, time.Minute, false)}))
		if !s.gets(t, peer, source) {
			t.Fatal("closed while held")
		}
		must(t, k.change([]element{portElement(45010, 0, true)}))
		if s.gets(t, peer, source) {
			t.Fatal("open after its close")
		}
		must(t, k.change([]element{portElement(45010, 0, true)})) // once more does no harm

		const ttl = 1500 * time.Millisecond
		must(t, k.change([]element{portElement(45010, ttl, false)}))
		began := time.Now()
		time.Sleep(time.Second)
		must(t, k.change([]element{portElement(45010, ttl, false)})) // refresh
		time.Sleep(time.Second)
		if !s.gets(t, peer, source) {
			t.Errorf("closed after %s though refreshed", time.Since(began))
		}
		time.Sleep(time.Second)
		if s.gets(t, peer, source) {
			t.Error("open after its time")
		}
	}
}

// Bans cover the ports of their scope and no others, and IPv6 by /64.
func TestBans(t *testing.T) {
	t.Parallel()
	host, peer := nstest.Pair(t)
	peer.Run("ip", "addr", "add", "10.77.0.3/24", "dev", nstest.PeerLink)
	peer.Run("ip", "addr", "add", "fd77:0:0:1::1/128", "dev", nstest.PeerLink, "nodad")
	peer.Run("ip", "addr", "add", "fd77::3/64", "dev", nstest.PeerLink, "nodad")
	k := load(t, host, inService(t))
	must(t, k.change([]element{portElement(45010, time.Minute, false)}))
	for _, c := range []struct{ family, host, banned, same, other string }{
		{"IPv4", nstest.Host4, nstest.Peer4, nstest.Peer4, "10.77.0.3"},
		{"IPv6", nstest.Host6, nstest.Peer6, "fd77::3", "fd77:0:0:1::1"},
	} {
		sip, rtp := listenUDP(t, host, c.host, 5060), listenUDP(t, host, c.host, 45010)
		listenTCP(t, host, c.host, 8887)
		reach := func(source string) string {
			var out []string
			for name, ok := range map[string]bool{"sip": sip.gets(t, peer, source), "rtp": rtp.gets(t, peer, source), "web": dials(t, peer, source, c.host, 8887)} {
				if ok {
					out = append(out, name)
				}
			}
			slices.Sort(out)
			return strings.Join(out, " ")
		}
		p := netip.MustParsePrefix(c.banned + map[string]string{"IPv4": "/32", "IPv6": "/128"}[c.family])
		for _, b := range []struct {
			scope telephony.BanScope
			left  string
		}{{telephony.BanSIP, "rtp web"}, {telephony.BanWeb, "rtp sip"}, {telephony.BanProv, "rtp sip web"}, {telephony.BanAll, ""}} {
			set, err := banSet(b.scope)
			must(t, err)
			ban, err := hostElement(set, p, time.Minute, false)
			must(t, err)
			lift, err := hostElement(set, p, 0, true)
			must(t, err)
			must(t, k.change([]element{ban}))
			if got := reach(c.same); got != b.left {
				t.Errorf("%s: a %s ban leaves %q open, want %q", c.family, b.scope, got, b.left)
			}
			if got := reach(c.other); got != "rtp sip web" {
				t.Errorf("%s: a %s ban of another source leaves %q open", c.family, b.scope, got)
			}
			must(t, k.change([]element{lift}))
			if got := reach(c.same); got != "rtp sip web" {
				t.Errorf("%s: after the %s ban %q is open", c.family, b.scope, got)
			}
		}
	}
}

func TestBlockAndAllowLists(t *testing.T) {
	t.Parallel()
	host, peer := nstest.Pair(t)
	peer.Run("ip", "addr", "add", "10.77.0.3/24", "dev", nstest.PeerLink)
	p := inService(t)
	p.Block, p.Allow = prefixes("10.77.0.0/24", "fd77::/64"), prefixes("10.77.0.3/32")
	k := load(t, host, p)
	s := listenUDP(t, host, nstest.Host4, 5060)
	s6 := listenUDP(t, host, nstest.Host6, 5060)
	ban, err := hostElement(setBanAll, prefixes("10.77.0.3/32")[0], time.Minute, false)
	must(t, err)
	must(t, k.change([]element{ban}))
	if s.gets(t, peer, nstest.Peer4) || s6.gets(t, peer, nstest.Peer6) {
		t.Error("a blocked source gets through")
	}
	if !s.gets(t, peer, "10.77.0.3") {
		t.Error("an allowed source inside the blocked range, though banned, does not get through")
	}
	if n, err := k.counters(); err != nil || n[countBlock].Packets == 0 {
		t.Errorf("blocked packets are not counted: %v %v", n, err)
	}
	// Allowed means unchecked, not open.
	closed := listenUDP(t, host, nstest.Host4, 7000)
	if closed.gets(t, peer, "10.77.0.3") {
		t.Error("an allowed source reaches a port outside the table")
	}
}

func TestFragmentsArrive(t *testing.T) {
	t.Parallel()
	host, peer := nstest.Pair(t)
	load(t, host, inService(t))
	for _, a := range both() {
		s := listenUDP(t, host, a[1].String(), 5060)
		if !s.getsBytes(t, peer, a[0].String(), 6000) {
			t.Errorf("a SIP message in fragments from %s is lost", a[0])
		}
	}
}

func TestPingAndItsLimit(t *testing.T) {
	t.Parallel()
	host, peer := nstest.Pair(t)
	load(t, host, DefaultPolicy())
	peer.Run("ping", "-c1", "-W2", nstest.Host4)
	peer.Run("ping", "-c1", "-W2", nstest.Host6)
	out, _ := peer.Command("ping", "-q", "-c600", "-i0.002", "-W1", nstest.Host4).CombinedOutput()
	if !strings.Contains(string(out), "packet loss") || strings.Contains(string(out), " 0% packet loss") {
		t.Errorf("600 pings in 1.2 s are all answered: %s", out)
	}
}

// Path MTU discovery works for untracked flows: the ICMP error reaches the
// sender's socket.
func TestICMPErrorsReachUntrackedSockets(t *testing.T) {
	t.Parallel()
	host, peer := nstest.Pair(t)
	load(t, host, inService(t))
	var conn *net.UDPConn
	var err error
	host.Do(func() {
		conn, err = net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(nstest.Host4), Port: 5060}, &net.UDPAddr{IP: net.ParseIP(nstest.Peer4), Port: 9})
	})
	must(t, err)
	defer conn.Close()
	_ = peer
	_, err = conn.Write([]byte("x"))
	must(t, err)
	_ = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("the peer's port unreachable did not arrive: %v", err)
	}
}

// The host's own traffic works: to itself, and out with answers coming back.
func TestOwnTraffic(t *testing.T) {
	t.Parallel()
	host, peer := nstest.Pair(t)
	load(t, host, DefaultPolicy())
	far := listenUDP(t, peer, nstest.Peer4, 53)
	go func() {
		buf := make([]byte, 10)
		n, from, err := far.ReadFromUDPAddrPort(buf)
		if err == nil {
			_, _ = far.WriteToUDPAddrPort(buf[:n], from)
		}
	}()
	var conn net.Conn
	var err error
	host.Do(func() { conn, err = net.Dial("udp", nstest.Peer4+":53") })
	must(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("query"))
	must(t, err)
	_ = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	if _, err := conn.Read(make([]byte, 10)); err != nil {
		t.Errorf("the answer to our own query did not arrive: %v", err)
	}
	listenTCP(t, host, "127.0.0.1", 9999)
	if !dials(t, host, "127.0.0.1", "127.0.0.1", 9999) {
		t.Error("loopback is filtered")
	}
}

func TestNothingIsForwarded(t *testing.T) {
	t.Parallel()
	host, left := nstest.Pair(t)
	right := nstest.New(t)
	host.Run("ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth0", "netns", right.Name)
	host.Run("ip", "addr", "add", "10.78.0.1/24", "dev", "eth1")
	host.Run("ip", "link", "set", "eth1", "up")
	right.Run("ip", "addr", "add", "10.78.0.2/24", "dev", "eth0")
	right.Run("ip", "link", "set", "eth0", "up")
	right.Run("ip", "route", "add", "default", "via", "10.78.0.1")
	host.Run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
	s := listenUDP(t, right, "10.78.0.2", 5060)
	if !s.gets(t, left, nstest.Peer4) {
		t.Fatal("the test's own routing does not work")
	}
	load(t, host, inService(t))
	if s.gets(t, left, nstest.Peer4) {
		t.Error("a packet was forwarded")
	}
}

func TestForeignTablesStayAsTheyAre(t *testing.T) {
	t.Parallel()
	n := nstest.New(t)
	n.Run("nft", `table ip docker { counter c { packets 7 bytes 9; }; set s { type ipv4_addr; elements = { 192.0.2.1 }; }; chain f { type filter hook forward priority 0; policy accept; ip saddr @s counter name c drop; }; }`)
	n.Run("nft", `table inet ringfence2 { chain in { type filter hook input priority 0; tcp dport 22 counter accept; }; }`)
	foreign := func() string {
		return n.Run("nft", "-a", "list", "table", "ip", "docker") + n.Run("nft", "-a", "list", "table", "inet", "ringfence2")
	}
	before := foreign()
	k := NewKernel(n.FD())
	policies := []Policy{DefaultPolicy(), inService(t), everyRow()}
	for i := range 100 {
		must(t, k.Apply(mustCompile(t, policies[i%len(policies)])))
		must(t, k.change([]element{portElement(uint16(45000+i), time.Minute, false)}))
	}
	if after := foreign(); after != before {
		t.Errorf("foreign tables were\n%s\nand are\n%s", before, after)
	}
	present, names, err := k.survey()
	must(t, err)
	if want := []string{"inet ringfence2", "ip docker"}; !present || !slices.Equal(names, want) {
		t.Errorf("survey: %v %v", present, names)
	}
}

// Counters, bans and media ports belong to run time: no policy touches them,
// and no restart.
func TestRunTimeStateSurvivesApply(t *testing.T) {
	t.Parallel()
	host, peer := nstest.Pair(t)
	k := load(t, host, inService(t))
	listenTCP(t, host, nstest.Host4, 8887)
	const conns = 5
	for range conns {
		if !dials(t, peer, nstest.Peer4, nstest.Host4, 8887) {
			t.Fatal("the portal is closed")
		}
	}
	ban, err := hostElement(autoSet(telephony.BanSIP), prefixes("192.0.2.1/32")[0], time.Hour, false)
	must(t, err)
	must(t, k.change([]element{ban, portElement(45000, time.Minute, false)}))
	for i, p := range []Policy{DefaultPolicy(), inService(t), everyRow()} {
		must(t, k.Close())
		k = NewKernel(host.FD()) // as after a restart
		must(t, k.Apply(mustCompile(t, p)))
		n, err := k.counters()
		must(t, err)
		if got := n[portCounter+string(ports.Portal)].Packets; got != conns {
			t.Errorf("after change %d the portal counted %d connections, want %d", i, got, conns)
		}
		for _, set := range []string{"auto_sip_4", setMedia} {
			if list, err := k.elements(set); err != nil || len(list) != 1 || list[0].left <= 0 {
				t.Errorf("after change %d set %s holds %v, %v", i, set, list, err)
			}
		}
	}
	for _, s := range ports.Table() {
		if n, err := k.counters(); err != nil {
			t.Fatal(err)
		} else if _, ok := n[portCounter+string(s.ID)]; !ok {
			t.Errorf("row %s has no counter", s.ID)
		}
	}
}

// A table that an older version left, of another shape and with a hole in it,
// is taken over.
func TestOldTableIsTakenOver(t *testing.T) {
	t.Parallel()
	for name, old := range map[string]string{
		"other chains": `table inet ringfence { chain old { type filter hook input priority -10; jump deep; }; chain deep { accept; }; counter port_portal { packets 3 bytes 180; }; }`,
		"other sets":   `table inet ringfence { set media { type ipv4_addr; flags interval; }; chain in { type filter hook input priority 0; policy accept; ip saddr @media accept; }; }`,
		"other hook":   `table inet ringfence { chain in { type filter hook output priority 5; policy accept; }; }`,
		"dormant":      `table inet ringfence { flags dormant; chain in { type filter hook input priority 0; policy accept; }; }`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			taken, fresh := nstest.New(t), nstest.New(t)
			taken.Run("nft", old)
			k := load(t, taken, inService(t))
			load(t, fresh, inService(t))
			sorted := func(n *nstest.NS) string {
				lines := strings.Split(n.Run("nft", "list", "ruleset"), "\n")
				slices.Sort(lines)
				return strings.Join(lines, "\n")
			}
			got, want := sorted(taken), sorted(fresh)
			got = strings.Replace(got, "packets 3 bytes 180", "packets 0 bytes 0", 1)
			lines := func(s string) []string { l := strings.Split(s, "\n"); slices.Sort(l); return l }
			if !slices.Equal(lines(got), lines(want)) {
				t.Errorf("the kernel lists\n%s\nwant\n%s", taken.Run("nft", "list", "ruleset"), want)
			}
			must(t, k.intact())
			taken.Run("nft", "flush", "chain", "inet", "ringfence", "in")
			wantErr(t, k.intact(), errTampered)
		})
	}
}

// Large lists arrive whole: the library cuts longer messages without an error.
func TestLargeListsArriveWhole(t *testing.T) {
	t.Parallel()
	n := nstest.New(t)
	p := inService(t)
	for i := range 6000 {
		p.Block = append(p.Block, netip.PrefixFrom(netip.AddrFrom4([4]byte{11, byte(i >> 7), byte(i << 1), 1}), 32))
	}
	k := load(t, n, p)
	list, err := k.elements("block_host_4")
	must(t, err)
	if len(list) != 6000 {
		t.Errorf("the set holds %d elements, want %d", len(list), 6000)
	}
	var media []element
	for port := 45000; port < 65000; port++ {
		media = append(media, portElement(uint16(port), time.Minute, false))
	}
	must(t, k.change(media))
	if list, err = k.elements(setMedia); err != nil || len(list) != 20000 {
		t.Errorf("the media set holds %d elements, want 20000; %v", len(list), err)
	}
	for i := range media {
		media[i].gone = true
	}
	must(t, k.change(media))
	if list, err = k.elements(setMedia); err != nil || len(list) != 0 {
		t.Errorf("the media set holds %d elements after closing all; %v", len(list), err)
	}
}
