package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"

	"ringfence/firewall"
	"ringfence/firewall/nstest"
	"ringfence/internal/netcfg"
	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// The fence of these tests is the real program, in a network namespace: this
// test binary again, told to be it.
const asProgram = "RINGFENCE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	switch os.Getenv(asProgram) {
	case "":
		os.Exit(m.Run())
	case "confined":
		os.Exit(tryFiles(os.Args[1]))
	}
	main()
	os.Exit(0)
}

// tryFiles gives up rights as the fence does, and reports what it can still
// reach.
func tryFiles(dir string) int {
	o := options{run: filepath.Join(dir, "run"), state: filepath.Join(dir, "state"), resolv: filepath.Join(dir, "run", "resolv.conf"), proc: "/proc/sys"}
	if err := confine(o, slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
		fmt.Println(err)
		return 1
	}
	try := func(name string, err error) { fmt.Println(name, err == nil) }
	_, err := os.ReadFile("/etc/passwd")
	try("read /etc/passwd", err)
	_, err = os.ReadFile(filepath.Join(dir, "secret"))
	try("read beside", err)
	try("write beside", os.WriteFile(filepath.Join(dir, "new"), nil, 0o600))
	try("write state", os.WriteFile(filepath.Join(o.state, "x"), nil, 0o600))
	try("rename state", os.Rename(filepath.Join(o.state, "x"), filepath.Join(o.state, "y")))
	try("write run", os.WriteFile(o.resolv, nil, 0o600))
	f, err := os.OpenFile("/proc/sys/net/ipv4/ip_local_reserved_ports", os.O_WRONLY, 0)
	try("open parameter", err)
	_ = f.Close()
	_, err = os.OpenFile("/proc/sys/kernel/hostname", os.O_WRONLY, 0)
	try("open other parameter", err)
	try("execute", exec.Command("/bin/true").Run())
	return 0
}

// A fence that was taken over reaches its own folders, and no program.
func TestConfine(t *testing.T) {
	t.Parallel()
	host, _ := nstest.Cable(t)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "secret"), nil, 0o600))
	cmd := host.Command(os.Args[0], dir)
	cmd.Env = append(os.Environ(), asProgram+"=confined")
	out, err := cmd.CombinedOutput()
	must(t, err)
	if strings.Contains(string(out), "not confined") {
		t.Skip("this kernel has no Landlock")
	}
	want := "read /etc/passwd false\nread beside false\nwrite beside false\nwrite state true\nrename state true\nwrite run true\nopen parameter true\nopen other parameter false\nexecute false\n"
	if string(out) != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
}

// fenced is the program and its surroundings.
type fenced struct {
	t          *testing.T
	host, peer *nstest.NS
	dir        string
	args       []string
	notices    chan string
	notify     string
	log        lockedBuilder

	cmd  *exec.Cmd
	done chan error
}

type lockedBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuilder) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuilder) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// prepare makes the surroundings. The folder is short: a socket's path has 108
// bytes at most.
func prepare(t *testing.T, host, peer *nstest.NS, args ...string) *fenced {
	t.Helper()
	dir, err := os.MkdirTemp("", "rf")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	f := &fenced{t: t, host: host, peer: peer, dir: dir, args: args, notices: make(chan string, 1000), notify: filepath.Join(dir, "notify")}
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: f.notify, Net: "unixgram"})
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := l.Read(buf)
			if err != nil {
				return
			}
			select {
			case f.notices <- string(buf[:n]):
			default:
			}
		}
	}()
	t.Cleanup(func() {
		f.kill()
		if t.Failed() {
			t.Logf("the fence said:\n%s", f.log.String())
		}
	})
	return f
}

func pair(t *testing.T, args ...string) *fenced {
	t.Helper()
	host, peer := nstest.Pair(t)
	return prepare(t, host, peer, args...)
}

func (f *fenced) socket() string { return filepath.Join(f.dir, "run", socketName) }

func (f *fenced) launch() {
	f.t.Helper()
	args := append([]string{os.Args[0], "-run", filepath.Join(f.dir, "run"), "-state", filepath.Join(f.dir, "state"), "-uid", fmt.Sprintf("4242,%d", os.Getuid())}, f.args...)
	f.cmd = f.host.Command(args...)
	f.cmd.Env = append(os.Environ(), asProgram+"=1", "NOTIFY_SOCKET="+f.notify, "WATCHDOG_USEC=400000")
	f.cmd.Stderr = &f.log
	must(f.t, f.cmd.Start())
	f.done = make(chan error, 1)
	go func() { f.done <- f.cmd.Wait() }()
}

func (f *fenced) start() *firewall.Client {
	f.t.Helper()
	f.launch()
	f.await("READY=1")
	c := firewall.Dial(f.socket(), firewall.ClientOptions{})
	f.t.Cleanup(func() { _ = c.Close() })
	return c
}

// await waits for a notice to the supervisor.
func (f *fenced) await(want string) {
	f.t.Helper()
	for end := time.After(20 * time.Second); ; {
		select {
		case got := <-f.notices:
			if got == want {
				return
			}
		case err := <-f.done:
			f.t.Fatalf("the fence ended: %v", err)
		case <-end:
			f.t.Fatalf("the fence never said %s", want)
		}
	}
}

func (f *fenced) kill() {
	if f.cmd != nil && f.cmd.ProcessState == nil {
		_ = f.cmd.Process.Kill()
		<-f.done
		f.cmd = nil
	}
}

// rules lists our table without what traffic changes; handles tell a rule from
// one loaded later.
func (f *fenced) rules() string {
	text := f.host.Run("nft", "-a", "list", "table", "inet", firewall.TableName)
	return regexp.MustCompile(`packets \d+ bytes \d+|elements = \{[^}]*\}`).ReplaceAllString(text, "")
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if cond() {
			return
		}
	}
	t.Fatalf("it never happened that %s", what)
}

func inService(t testing.TB, rev uint64) firewall.Policy {
	t.Helper()
	services, err := ports.Effective(nil, ports.InService)
	must(t, err)
	p := firewall.DefaultPolicy()
	p.Rev, p.Services = rev, services
	return p
}

// scan returns the TCP ports that answer.
func (f *fenced) scan() []uint16 {
	f.t.Helper()
	var got []uint16
	var err error
	f.peer.Do(func() {
		got, err = nstest.ScanTCP(netip.MustParseAddr(nstest.Peer4), netip.MustParseAddr(nstest.Host4), 1)
	})
	must(f.t, err)
	return got
}

// reaches reports whether a datagram of the peer arrives at the host's port.
func (f *fenced) reaches(port uint16) bool {
	f.t.Helper()
	var in *net.UDPConn
	var out net.Conn
	var err1, err2 error
	addr := netip.AddrPortFrom(netip.MustParseAddr(nstest.Host4), port)
	f.host.Do(func() { in, err1 = net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr)) })
	must(f.t, err1)
	defer in.Close()
	f.peer.Do(func() { out, err2 = net.Dial("udp", addr.String()) })
	must(f.t, err2)
	defer out.Close()
	_, err := out.Write([]byte("?"))
	must(f.t, err)
	_ = in.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	_, _, err = in.ReadFromUDPAddrPort(make([]byte, 10))
	return err == nil
}

func TestFenceStartsClosedAndEndsClosed(t *testing.T) {
	t.Parallel()
	f := pair(t)
	c := f.start()
	if got := f.scan(); !slices.Equal(got, []uint16{8887}) {
		t.Errorf("open ports before set-up: %v", got)
	}
	st, err := c.Status(t.Context())
	must(t, err)
	if !st.Active || !st.Standard {
		t.Errorf("status %+v", st)
	}
	f.await("WATCHDOG=1")
	reserved := f.host.Run("cat", "/proc/sys/net/ipv4/ip_local_reserved_ports")
	if strings.TrimSpace(reserved) != "25000-34999,45000-64999" {
		t.Errorf("reserved ports are %q", reserved)
	}
	must(t, c.Apply(t.Context(), inService(t, 2), 0))
	if !f.reaches(5060) {
		t.Error("SIP is closed after set-up")
	}

	before := f.rules()
	must(t, f.cmd.Process.Signal(syscall.SIGTERM))
	if err := <-f.done; err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	if after := f.rules(); after != before {
		t.Errorf("the rules were\n%s\nand are\n%s", before, after)
	}
	if _, err := os.Stat(f.socket()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left over: %v", err)
	}
	f.cmd = nil
}

// Killed at any moment the fence leaves its rules, and takes them up again
// without a gap: datagrams to a closed port never arrive, those to an open one
// always do.
func TestFenceKilledUnderTraffic(t *testing.T) {
	t.Parallel()
	f := pair(t)
	c := f.start()
	p := inService(t, 1)
	p.Limits.L1, p.Limits.L2, p.Limits.Total = 500_000, 600_000, 1_000_000
	must(t, c.Apply(t.Context(), p, 0))
	must(t, c.Ban(t.Context(), firewall.Ban{Prefix: netip.MustParsePrefix("192.0.2.1/32"), Scope: telephony.BanSIP, Until: time.Now().Add(time.Hour)}))
	must(t, c.MediaOpen(t.Context(), []uint16{45000}, time.Minute))

	var leaked, sent atomic.Int64
	for _, port := range []int{7000, 45001, 22} {
		var in *net.UDPConn
		var err error
		f.host.Do(func() { in, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(nstest.Host4), Port: port}) })
		must(t, err)
		t.Cleanup(func() { _ = in.Close() })
		go func() {
			for buf := make([]byte, 64); ; leaked.Add(1) {
				if _, _, err := in.ReadFromUDPAddrPort(buf); err != nil {
					return
				}
			}
		}()
	}
	var outs []*nstest.Spoofer
	f.peer.Do(func() {
		for _, port := range []uint16{5060, 7000, 45001, 22} {
			o, err := nstest.NewSpoofer(netip.AddrPortFrom(netip.MustParseAddr(nstest.Host4), port), []byte("?"))
			must(t, err)
			outs = append(outs, o)
		}
	})
	stop := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() {
		for source := netip.MustParseAddr(nstest.Peer4); ; sent.Add(1) {
			select {
			case <-stop:
				return
			default:
			}
			for _, o := range outs {
				if err := o.Send(source); err != nil {
					t.Error(err)
				}
			}
			if sent.Load()%8 == 7 {
				time.Sleep(time.Millisecond)
			}
		}
	})
	const kills = 15
	for i := range kills {
		if i%2 == 0 { // also in the middle of a change
			p.Rev++
			next := p
			go func() { _ = c.Apply(context.Background(), next, 0) }()
			time.Sleep(time.Duration(i) * time.Millisecond)
		}
		f.kill()
		f.launch()
		f.await("READY=1")
	}
	close(stop)
	sending.Wait()
	var n firewall.Counters
	eventually(t, "the client is back", func() (ok bool) { var err error; n, err = c.Counters(t.Context()); return err == nil })
	if got := n.Ports[ports.SIPUDP].Packets; got != uint64(sent.Load()) {
		t.Errorf("%d kills: %d of %d allowed datagrams passed", kills, got, sent.Load())
	}
	if leaked.Load() != 0 {
		t.Errorf("%d kills: %d of %d forbidden datagrams arrived", kills, leaked.Load(), 3*sent.Load())
	}
	bans, err := c.Bans(t.Context())
	must(t, err)
	if len(bans) != 1 || bans[0].Prefix.String() != "192.0.2.1/32" {
		t.Errorf("bans %+v", bans)
	}
	if !f.reaches(45000) {
		t.Error("the held media port is closed")
	}
	t.Logf("%d kills, %d allowed and %d forbidden datagrams", kills, sent.Load(), 3*sent.Load())
}

func TestFenceConfirmOrRevert(t *testing.T) {
	t.Parallel()
	f := pair(t)
	c := f.start()
	ctx := t.Context()
	must(t, c.Apply(ctx, inService(t, 1), 0))
	shut := firewall.DefaultPolicy() // closes SIP
	shut.Rev = 2
	must(t, c.Apply(ctx, shut, time.Second))
	if f.reaches(5060) {
		t.Error("the change is not in effect")
	}
	time.Sleep(1200 * time.Millisecond)
	if !f.reaches(5060) {
		t.Error("the unconfirmed change was not taken back")
	}
	must(t, c.Apply(ctx, shut, time.Minute))
	f.kill() // the power goes inside the window
	if f.reaches(5060) {
		t.Error("the rules changed when the fence was killed")
	}
	f.launch()
	f.await("READY=1")
	if !f.reaches(5060) {
		t.Error("the unconfirmed change survived the restart")
	}
	eventually(t, "the status tells", func() bool {
		st, err := c.Status(ctx)
		return err == nil && st.Rev == 1 && st.Reverted != nil && st.Reverted.Rev == 2
	})
	must(t, c.Apply(ctx, shut, time.Minute))
	must(t, c.Confirm(ctx, 2))
	f.kill()
	f.launch()
	f.await("READY=1")
	if f.reaches(5060) {
		t.Error("the confirmed change did not survive the restart")
	}
}

func TestFenceRepairsAFlush(t *testing.T) {
	t.Parallel()
	f := pair(t)
	c := f.start()
	must(t, c.Apply(t.Context(), inService(t, 1), 0))
	f.host.Run("nft", "add", "table", "ip", "stranger")
	f.host.Run("nft", "delete", "table", "inet", firewall.TableName)
	eventually(t, "the rules are back and the stranger is named", func() bool {
		st, err := c.Status(t.Context())
		return err == nil && st.Repaired == 1 && st.Active && slices.Equal(st.Foreign, []string{"ip stranger"})
	})
	if got := f.scan(); !slices.Equal(got, []uint16{8887}) {
		t.Errorf("open ports: %v", got)
	}
	f.host.Run("nft", "insert", "rule", "inet", firewall.TableName, "in", "accept")
	eventually(t, "a rule of somebody else in our table is gone", func() bool {
		st, err := c.Status(t.Context())
		return err == nil && st.Repaired == 2
	})
	if f.reaches(7000) {
		t.Error("the hole is still there")
	}
}

func TestFenceHoldsThreeCapabilities(t *testing.T) {
	t.Parallel()
	f := pair(t)
	f.start()
	// "ip netns exec" becomes the program by execve.
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", f.cmd.Process.Pid))
	must(t, err)
	if len(tasks) == 0 {
		t.Fatal("the fence has no threads")
	}
	const net = "0000000000003400" // NET_BIND_SERVICE 10, NET_ADMIN 12, NET_RAW 13
	for _, task := range tasks {
		raw, err := os.ReadFile(task)
		must(t, err)
		for _, want := range []string{"CapPrm:\t" + net, "CapEff:\t" + net, "CapBnd:\t" + net, "CapInh:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1"} {
			if !strings.Contains(string(raw), want) {
				t.Errorf("%s lacks %q:\n%s", task, want, raw)
			}
		}
	}
}

// As on the image: not root, with ambient capabilities only.
func TestFenceRunsWithoutRoot(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("setpriv"); err != nil {
		t.Skip("setpriv is not installed")
	}
	host, peer := nstest.Cable(t)
	f := prepare(t, host, peer, "-manage-network")
	const user = 4242
	program := filepath.Join(f.dir, "fenced")
	raw, err := os.ReadFile(os.Args[0])
	must(t, err)
	must(t, os.WriteFile(program, raw, 0o755))
	for _, d := range []string{"run", "state"} {
		must(t, os.Mkdir(filepath.Join(f.dir, d), 0o755))
		must(t, os.Chown(filepath.Join(f.dir, d), user, user))
	}
	must(t, os.Chmod(f.dir, 0o755))
	must(t, os.Chmod(f.notify, 0o777))
	caps := "+net_admin,+net_raw,+net_bind_service"
	f.cmd = host.Command("setpriv", "--reuid", fmt.Sprint(user), "--regid", fmt.Sprint(user), "--clear-groups", "--inh-caps", caps, "--ambient-caps", caps,
		program, "-run", filepath.Join(f.dir, "run"), "-state", filepath.Join(f.dir, "state"), "-uid", "0", "-manage-network")
	f.cmd.Env = append(os.Environ(), asProgram+"=1", "NOTIFY_SOCKET="+f.notify)
	f.cmd.Stderr = &f.log
	must(t, f.cmd.Start())
	f.done = make(chan error, 1)
	go func() { f.done <- f.cmd.Wait() }()
	f.await("READY=1")
	c := firewall.Dial(f.socket(), firewall.ClientOptions{})
	defer c.Close()
	must(t, c.Apply(t.Context(), inService(t, 1), 0))
	if out := host.Run("ip", "link", "show", "dev", nstest.HostLink); !strings.Contains(out, "UP") {
		t.Errorf("the link is down: %s", out)
	}
	for name, want := range map[string]string{"net.ipv4.conf.all.accept_redirects": "0", "net.ipv4.ip_local_reserved_ports": "25000-34999,45000-64999"} {
		if got := strings.TrimSpace(host.Run("sysctl", "-n", name)); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, line := range strings.Split(f.log.String(), "\n") {
		// Some parameters belong to the machine and are read-only in a namespace.
		if strings.Contains(line, "level=ERROR") && !strings.Contains(line, "protective kernel settings") {
			t.Error(line)
		}
	}
}

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
	host.Run("ip", "addr", "add", nstest.Host4+"/24", "dev", nstest.HostLink) // down, but addressed
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
	raw, err := os.ReadFile(filepath.Join(f.dir, "run", "resolv.conf"))
	if err != nil || !strings.Contains(string(raw), "nameserver 10.77.0.53\n") {
		t.Errorf("resolv.conf: %q, %v", raw, err)
	}
	if got := strings.TrimSpace(host.Run("sysctl", "-n", "net.ipv4.conf.all.rp_filter")); got != "2" {
		t.Errorf("rp_filter is %s", got)
	}
	// The host's own network and gateway cannot be blocked.
	p := inService(t, 1)
	p.Block = []netip.Prefix{netip.MustParsePrefix("10.77.0.0/24")}
	if err := c.Apply(t.Context(), p, 0); !errors.Is(err, firewall.ErrRefused) {
		t.Errorf("blocking the own network: %v", err)
	}
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

func TestFenceRefusesToStartWithoutRules(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("setpriv"); err != nil {
		t.Skip("setpriv is not installed")
	}
	host, _ := nstest.Cable(t)
	cmd := host.Command("setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin", os.Args[0], "-run", t.TempDir(), "-state", t.TempDir(), "-manage-network")
	cmd.Env = append(os.Environ(), asProgram+"=1")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "CAP_NET_ADMIN") {
		t.Errorf("%v: %s", err, out)
	}
	if out := host.Run("ip", "link", "show", "dev", nstest.HostLink); strings.Contains(out, ",UP") {
		t.Errorf("the link is up without rules: %s", out)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	o, err := parse([]string{"-run", "/r", "-state", "/s", "-uid", "1001, 0", "-manage-network"})
	must(t, err)
	if o.run != "/r" || o.state != "/s" || !slices.Equal(o.uids, []uint32{1001, 0}) || !o.manage || o.resolv != "/r/resolv.conf" {
		t.Errorf("%+v", o)
	}
	for _, bad := range [][]string{{"-uid", "x"}, {"-uid", "-1"}, {"-uid", ""}, {"stray"}, {"-nonsense"}} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%q passed", bad)
		}
	}
}
