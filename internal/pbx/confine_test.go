//go:build linux

package pbx

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ringfence/firewall/nstest"
)

// asProgram tells this test binary to be a process that was taken over: it
// tries what an intruder would.
const asProgram = "RINGFENCE_TEST_AS_INTRUDER"

const intruder = 64321 // a user without anything

func TestMain(m *testing.M) {
	if mode := os.Getenv(asProgram); mode != "" {
		if err := intrude(mode == "confined", os.Args[1]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// intrude becomes what pbxd is, or stays what root is, and tries.
func intrude(confined bool, dir string) error {
	p := &PBX{opts: Options{DataDir: filepath.Join(dir, "data"), RunDir: filepath.Join(dir, "run")}, log: slog.New(slog.DiscardHandler)}
	waiting, tell := make(chan bool), make(chan error)
	go func() { // a thread that was there before
		runtime.LockOSThread()
		<-waiting
		tell <- unix.Unshare(unix.CLONE_NEWNET)
	}()
	if confined {
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setresgid(intruder, intruder, intruder), syscall.Setresuid(intruder, intruder, intruder)); err != nil {
			return err
		}
		gaps, err := p.confine()
		if err != nil || len(gaps) > 0 {
			return fmt.Errorf("confining: %w, gaps %q", err, gaps)
		}
	}
	close(waiting)
	say("unshare in a thread from before", <-tell)
	for _, a := range attempts(dir) {
		say(a.name, a.try())
	}
	return nil
}

func say(name string, err error) {
	var errno syscall.Errno
	switch {
	case err == nil:
		fmt.Printf("%s: done\n", name)
	case errors.As(err, &errno):
		fmt.Printf("%s: %s\n", name, unix.ErrnoName(errno))
	default:
		fmt.Printf("%s: %v\n", name, err)
	}
}

// attempt is one thing that pbxd must never be able to do. Root can.
type attempt struct {
	name string
	want string // of a confined process
	try  func() error
}

func attempts(dir string) []attempt {
	all := append(socketAttempts(), fileAttempts(dir)...)
	return append(all,
		attempt{"run a program", "EPERM", func() error {
			c := exec.Command("/bin/true")
			c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
			return c.Run()
		}},
		attempt{"become a program", "EPERM", func() error {
			if err := syscall.Exec("/nonexistent", nil, nil); !errors.Is(err, unix.ENOENT) {
				return err
			}
			return nil
		}},
		attempt{"trace a process", "EPERM", func() error {
			if err := unix.PtraceSeize(1 << 30); !errors.Is(err, unix.ESRCH) {
				return err
			}
			return nil
		}},
		attempt{"see whether the parent lives", "EPERM", func() error { return unix.Kill(os.Getppid(), 0) }},
		attempt{"map memory to execute", "EPERM", func() error {
			b, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON)
			if err == nil {
				err = unix.Munmap(b)
			}
			return err
		}},
		attempt{"file system in memory", "EPERM", func() error { return unix.Mount("none", dir, "tmpfs", 0, "") }},
		attempt{"new root", "EPERM", func() error { return unix.Chroot("/") }},
		attempt{"file without a name", "EPERM", func() error {
			fd, err := unix.MemfdCreate("x", 0)
			if err == nil {
				err = unix.Close(fd)
			}
			return err
		}},
		attempt{"core dump", "denied", func() error {
			var l unix.Rlimit
			if err := unix.Getrlimit(unix.RLIMIT_CORE, &l); err != nil || l == (unix.Rlimit{}) {
				return errors.Join(err, errors.New("denied"))
			}
			return nil
		}},
		attempt{"memory read by its own user", "denied", func() error {
			var st unix.Stat_t
			if err := unix.Stat("/proc/self/mem", &st); err != nil || int(st.Uid) != os.Getuid() {
				return errors.Join(err, errors.New("denied"))
			}
			return nil
		}},
		attempt{"a right in some thread", "denied", someRight},
	)
}

func socketAttempts() []attempt {
	socket := func(domain, kind, proto int) func() error {
		return func() error {
			fd, err := unix.Socket(domain, kind, proto)
			if err == nil {
				err = unix.Close(fd)
			}
			return err
		}
	}
	return []attempt{
		{"MPTCP socket", "EPERM", socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP)},
		{"MPTCP listener of Go", "denied", listenMPTCP},
		{"raw socket", "EPERM", socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_UDP)},
		{"packet socket", "EPERM", socket(unix.AF_PACKET, unix.SOCK_DGRAM, 0)},
		{"netlink to the packet filter", "EPERM", socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER)},
		{"table of the packet filter", "EPERM", func() error {
			c, err := nftables.New()
			if err != nil {
				return err
			}
			c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "intruder"})
			return c.Flush()
		}},
		{"address of the host", "EPERM", func() error {
			lo, err := netlink.LinkByName("lo")
			if err != nil {
				return err
			}
			a, err := netlink.ParseAddr("127.9.9.9/32")
			if err != nil {
				return err
			}
			return netlink.AddrAdd(lo, a)
		}},
		{"port below 1024", "EACCES", func() error {
			l, err := net.Listen("tcp4", "127.0.0.1:443")
			if err == nil {
				err = l.Close()
			}
			return err
		}},
		{"datagram port below 1024", "EACCES", func() error {
			l, err := net.ListenPacket("udp4", "127.0.0.1:53")
			if err == nil {
				err = l.Close()
			}
			return err
		}},
	}
}

// listenMPTCP asks Go for it; where the kernel refuses, Go takes TCP.
func listenMPTCP() error {
	var lc net.ListenConfig
	lc.SetMultipathTCP(true)
	l, err := lc.Listen(context.Background(), "tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		return err
	}
	var proto int
	var perr error
	if err := raw.Control(func(fd uintptr) { proto, perr = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PROTOCOL) }); err != nil || perr != nil {
		return errors.Join(err, perr)
	}
	if proto != unix.IPPROTO_MPTCP {
		return errors.New("denied")
	}
	return nil
}

func fileAttempts(dir string) []attempt {
	read := func(path string) func() error {
		return func() error { _, err := os.ReadFile(path); return err }
	}
	return []attempt{
		{"/etc/shadow", "EACCES", read("/etc/shadow")},
		{"state of the fence, readable by all", "EACCES", read(filepath.Join(dir, "fenced", "confirmed.json"))},
		{"firmware", "EACCES", func() error { _, err := os.ReadDir("/sys/firmware"); return err }},
		{"folder that all may write", "EACCES", func() error { return os.WriteFile(filepath.Join(dir, "open", "x"), nil, 0o600) }},
		{"parameter of the kernel", "EACCES", func() error {
			f, err := os.OpenFile("/proc/sys/net/ipv4/ip_forward", os.O_WRONLY, 0)
			if err == nil {
				err = f.Close()
			}
			return err
		}},
		{"device", "EPERM", func() error { return unix.Mknod(filepath.Join(dir, "data", "null"), unix.S_IFCHR, 1<<8|3) }},
		{"own data", "done", func() error { return os.WriteFile(filepath.Join(dir, "data", "x"), nil, 0o600) }},
	}
}

// someRight reports whether any thread has a capability or is not filtered.
func someRight() error {
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(tasks) < 2 {
		return fmt.Errorf("%d threads: %w", len(tasks), err)
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			return err
		}
		const no = "0000000000000000"
		for _, line := range []string{"CapInh:\t" + no, "CapPrm:\t" + no, "CapEff:\t" + no, "CapAmb:\t" + no, "NoNewPrivs:\t1", "Seccomp:\t2"} {
			if !strings.Contains(string(text), line+"\n") {
				return nil
			}
		}
	}
	return errors.New("denied")
}

// What was taken over can use its data, and nothing else; what was not
// confined can do all of it, so that a test that proves nothing is seen.
func TestIntruderIsRefused(t *testing.T) {
	t.Parallel()
	host, _ := nstest.Cable(t)
	for _, mode := range []string{"free", "confined"} {
		t.Run(mode, func(t *testing.T) {
			dir := t.TempDir()
			prepareHost(t, dir)
			cmd := host.Command(os.Args[0], dir)
			cmd.Env = append(os.Environ(), asProgram+"="+mode)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			want := []string{"unshare in a thread from before: done"}
			if mode == "confined" {
				want[0] = "unshare in a thread from before: EPERM"
			}
			for _, a := range attempts(dir) {
				result := "done"
				if mode == "confined" {
					result = a.want
				}
				want = append(want, a.name+": "+result)
			}
			got := strings.Split(strings.TrimSpace(string(out)), "\n")
			for i := range max(len(got), len(want)) {
				var g, w string
				if i < len(got) {
					g = got[i]
				}
				if i < len(want) {
					w = want[i]
				}
				if g != w {
					t.Errorf("got %q, want %q", g, w)
				}
			}
		})
	}
}

// prepareHost makes the folders that are there on a host.
func prepareHost(t *testing.T, dir string) {
	t.Helper()
	for name, mode := range map[string]os.FileMode{"data": 0o700, "run": 0o755, "fenced": 0o755, "open": 0o777} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.Mkdir(path, mode), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "fenced", "confirmed.json"), nil, 0o644),
		os.Chown(filepath.Join(dir, "data"), intruder, intruder),
		os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755),
	); err != nil {
		t.Fatal(err)
	}
}
