package media

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ringfence/bench/host"
	"ringfence/tests/netlab"
)

const (
	rounds  = 2
	steady  = 200 // calls whose cost is measured
	step    = 50  // calls more, until they do not hold
	top     = 1500
	seconds = 5 // of each step
)

func modes() []mode {
	return []mode{
		{name: "RTP - RTP"},
		{name: "SRTP - RTP", encrypted: [2]bool{true, false}},
		{name: "SRTP - SRTP", encrypted: [2]bool{true, true}},
	}
}

// TestRelay prints the table of docs/performance.md.
func TestRelay(t *testing.T) {
	host.Gate(t)
	for _, m := range modes() {
		var ours, theirs []figure
		for round := range rounds {
			t.Logf("%s, round %d, load %s", m.name, round+1, host.Load())
			t.Run(fmt.Sprintf("ringfence %s %d", m.name, round+1), func(t *testing.T) { ours = append(ours, newBench(t, true).measure(m)) })
			t.Run(fmt.Sprintf("rtpengine %s %d", m.name, round+1), func(t *testing.T) { theirs = append(theirs, newBench(t, false).measure(m)) })
		}
		if len(ours) == 0 || len(theirs) == 0 {
			t.Fatal("nothing to compare")
		}
		t.Logf("| %-40s | %10s | %10s | %6s |", m.name, "ringfence", "rtpengine", "ratio")
		for _, f := range []struct {
			what string
			of   func(figure) float64
		}{
			{"two-way calls of one core", func(f figure) float64 { return float64(f.held.Calls) }},
			{"CPU of a call, ms a second", func(f figure) float64 { return f.cpu.Seconds() * 1e3 }},
			{"CPU with the kernel's share, ms a second", func(f figure) float64 { return f.core.Seconds() * 1e3 }},
			{"delay, p99 - min, ms", func(f figure) float64 { return f.steady.Spread.Seconds() * 1e3 }},
			{"memory of a call, KB", func(f figure) float64 { return f.memory * 1e-3 }},
			{"allocations of a packet", func(f figure) float64 { return f.allocations }},
		} {
			a, b := host.Median(ours, f.of), host.Median(theirs, f.of)
			t.Logf("| %-40s | %10.3f | %10.3f | %6.2f |", f.what, a, b, a/b)
		}
	}
}

type figure struct {
	held, steady Figures
	cpu, core    time.Duration // a second of a call
	memory       float64
	allocations  float64 // of the engine, a packet
}

// bench is a relay and a load, each in a namespace and on a core of its own.
type bench struct {
	*testing.T
	host.Server
	control control
	load    *Load
	ours    bool
	spool   string // of recordings
}

// Addresses inside the namespaces.
const (
	server = "10.78.0.1"
	sideA  = "10.78.0.2"
	sideB  = "10.78.0.3"
)

func newBench(t *testing.T, ours bool) *bench {
	t.Helper()
	start := rtpengine
	if ours {
		start = ringfence
	}
	box, phones := netlab.New(t, "mbs"), netlab.New(t, "mbl")
	if err := netlab.Join(box, "mb0", []string{server + "/24"}, phones, "mb1", []string{sideA + "/24", sideB + "/24"}); err != nil {
		t.Fatal(err)
	}
	steer(t, box, "mb0", host.ServerCore)
	steer(t, phones, "mb1", 1)
	at := netip.AddrPortFrom(netip.MustParseAddr(server), 2223)
	spool := t.TempDir()
	cmd := start(t, box, at, spool)
	cmd.Dir = spool // a program that crashes leaves its memory there
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	host.OnCore(t, host.ServerCore, func() { err = cmd.Start() })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("%s", text[max(0, len(text)-4000):])
		}
	})
	b := &bench{T: t, Server: host.Server{PID: cmd.Process.Pid}, ours: ours, spool: spool}
	if b.control.conn, err = phones.DialContext(t.Context(), "udp", at.String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.control.conn.Close() })
	if _, err := b.control.do("ping", nil); err != nil {
		t.Fatal(err)
	}
	b.load, err = newLoad(phones.ListenUDP, netip.MustParseAddr(sideA), netip.MustParseAddr(sideB))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.load.close)
	return b
}

// steer has the kernel's work on what a link received done on one core.
func steer(t *testing.T, ns *netlab.Namespace, link string, core int) {
	t.Helper()
	file := "/sys/class/net/" + link + "/queues/rx-0/rps_cpus"
	if out, err := ns.Command(t.Context(), "sh", "-c", fmt.Sprintf("echo %x > %s", 1<<core, file)).CombinedOutput(); err != nil {
		t.Logf("packets are not steered: %v: %s", err, out)
	}
}

// ringfence is our engine: this program again.
func ringfence(t *testing.T, ns *netlab.Namespace, control netip.AddrPort, spool string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := ns.Command(context.Background(), self)
	cmd.Env = append(os.Environ(), engineVariable+"="+control.String(), spoolVariable+"="+spool)
	return cmd
}

// rtpengine is the peer in user space.
func rtpengine(t *testing.T, ns *netlab.Namespace, control netip.AddrPort, spool string) *exec.Cmd {
	t.Helper()
	if _, err := exec.LookPath("rtpengine"); err != nil {
		t.Skip("rtpengine is not installed (make deps)")
	}
	return ns.Command(context.Background(), "rtpengine", "--config-file=none", "--table=-1", "--foreground", "--log-stderr", "--log-level=3", "--num-threads=1",
		"--interface="+server, "--listen-ng="+control.String(), "--port-min=30000", "--port-max=60000", "--pidfile="+filepath.Join(t.TempDir(), "pid"),
		"--recording-method=pcap", "--recording-dir="+spool)
}

// grow has so many calls in all.
func (b *bench) grow(m mode, calls int) {
	b.Helper()
	for b.load.size() < calls {
		if err := b.load.setUp(&b.control, b.Name()+strconv.Itoa(b.load.size()), m); err != nil {
			b.Fatal(err)
		}
	}
}

func (b *bench) measure(m mode) (f figure) {
	b.Helper()
	b.grow(m, 10)
	before := b.Memory(b.T)
	b.grow(m, steady)
	time.Sleep(2 * time.Second)
	f.memory = float64(b.Memory(b.T)-before) / (steady - 10)
	b.cost(&f, 10*time.Second)
	b.Logf("steady: %s; %s a second of a call, %s with the kernel, %.3f allocations a packet", f.steady, f.cpu, f.core, f.allocations)
	for n := steady; n <= top; n += step {
		b.grow(m, n)
		time.Sleep(500 * time.Millisecond)
		got := b.load.measure(seconds*time.Second, nil)
		if !got.Holds() { // once more: the machine has other things to do
			b.Logf("again: %s", got)
			got = b.load.measure(seconds*time.Second, nil)
		}
		b.Logf("%s", got)
		if !got.Holds() {
			break
		}
		f.held = got
	}
	return f
}

// cost is what the calls that are up cost.
func (b *bench) cost(f *figure, length time.Duration) {
	b.Helper()
	used, busy, mallocs := b.Used(b.T), coreBusy(b.T), b.mallocs()
	f.steady = b.load.measure(length, nil)
	per := time.Duration(b.load.size()) * length / time.Second
	f.cpu = (b.Used(b.T) - used) / per
	f.core = (coreBusy(b.T) - busy) / per
	f.allocations = float64(b.mallocs()-mallocs) / float64(max(f.steady.Sent, 1))
}

// mallocs counts the allocations of our engine so far.
func (b *bench) mallocs() int {
	if !b.ours {
		return 0
	}
	d, err := b.control.do("statistics", nil)
	if err != nil {
		b.Fatal(err)
	}
	n, _ := d["mallocs"].(int)
	return n
}

// coreBusy is how long the server's core was not idle, interrupts included.
func coreBusy(t *testing.T) time.Duration {
	t.Helper()
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatal(err)
	}
	var busy time.Duration
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if f[0] != "cpu"+strconv.Itoa(host.ServerCore) {
			continue
		}
		for i, v := range f[1:9] { // user nice system idle iowait irq softirq steal of proc(5), in USER_HZ
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			if i != 3 && i != 4 {
				busy += time.Duration(n) * time.Second / 100
			}
		}
	}
	return busy
}

// TestRelaysRelay checks, with a few calls, that what is measured is relayed.
func TestRelaysRelay(t *testing.T) {
	for _, ours := range []bool{true, false} {
		for _, m := range modes() {
			t.Run(fmt.Sprintf("%s ringfence %t", m.name, ours), func(t *testing.T) {
				b := newBench(t, ours)
				b.grow(m, 3)
				time.Sleep(200 * time.Millisecond)
				if f := b.load.measure(3*time.Second, nil); f.Lost > 3 || f.Sent < 800 || f.Wrong+f.Strange > 0 {
					t.Errorf("%s", f)
				}
			})
		}
	}
}
