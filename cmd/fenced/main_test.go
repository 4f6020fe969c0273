package main

import (
	"context"
	"errors"
	"fmt"
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

	"ringfence/firewall"
	"ringfence/firewall/nstest"
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
		got, err = nstest.ScanTCP(netip.MustParseAddr(nstest.Peer4), netip.MustParseAddr(nstest.Host4))
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
	// An address that passes duplicate address detection makes the fence load
	// its rules again, which would repair them before it counts as a repair.
	eventually(t, "the addresses are settled", func() bool {
		return f.host.Run("ip", "-6", "addr", "show", "tentative") == ""
	})
	time.Sleep(time.Second)
	f.host.Run("nft", "add", "table", "ip", "stranger")
	f.host.Run("nft", "delete", "table", "inet", firewall.TableName)
	eventually(t, "the rules are back and the stranger is named", func() bool {
		st, err := c.Status(t.Context())
		return err == nil && st.Repaired == 1 && st.Active && slices.Equal(st.Foreign, []string{"ip stranger"})
	})
	if got := f.scan(); !slices.Equal(got, []uint16{5065, 8887}) {
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
