//go:build linux

package confine

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// asProgram tells this test binary to be a process that confines itself.
const asProgram = "RINGFENCE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(tryNever())
	}
	os.Exit(m.Run())
}

const (
	allow, refuse, unknown, kill = 1, 2, 3, 4
)

// judge runs the filter in a machine of BPF's own.
func judge(t *testing.T, rules []Rule, arch uint32, call uintptr, args ...uint64) int {
	t.Helper()
	p, err := program(thisMachine(), verdicts{allow, refuse, unknown, kill}, rules, never())
	if err != nil {
		t.Fatal(err)
	}
	vm, err := bpf.NewVM(p)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 64)
	// This machine reads packets, so its words are big-endian.
	binary.BigEndian.PutUint32(data, uint32(call))
	binary.BigEndian.PutUint32(data[offArch:], arch)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[offArgs+8*i:], uint32(a))
		binary.BigEndian.PutUint32(data[offArgs+8*i+4:], uint32(a>>32))
	}
	got, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestFilterJudgesCallsByTheirArguments(t *testing.T) {
	t.Parallel()
	all := append(append(append(GoRuntime(), ReadFiles()...), WriteFiles()...), Sockets(Unix, Internet, RouteLink)...)
	here := thisMachine().arch
	const flags = unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
	const goThread = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD
	self := uint64(os.Getpid())
	for _, c := range []struct {
		name string
		want int
		call uintptr
		args []uint64
	}{
		{"read", allow, unix.SYS_READ, nil},
		{"execve", refuse, unix.SYS_EXECVE, nil},
		{"a call that no rule names", unknown, unix.SYS_GETPRIORITY, nil},
		{"a call of the future", unknown, 5000, nil},
		{"TCP", allow, unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_STREAM | flags, 0}},
		{"TCP by number", allow, unix.SYS_SOCKET, []uint64{unix.AF_INET6, unix.SOCK_STREAM | flags, unix.IPPROTO_TCP}},
		{"UDP", allow, unix.SYS_SOCKET, []uint64{unix.AF_INET6, unix.SOCK_DGRAM | flags, 0}},
		{"TCP, with rubbish in the upper half that the kernel ignores", allow, unix.SYS_SOCKET, []uint64{7<<32 | unix.AF_INET, unix.SOCK_STREAM, 0}},
		{"MPTCP", refuse, unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP}},
		{"MPTCP, with rubbish in the upper half", refuse, unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_STREAM, 7<<32 | unix.IPPROTO_MPTCP}},
		{"ping", refuse, unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP}},
		{"raw", refuse, unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW}},
		{"SCTP", refuse, unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_SEQPACKET, unix.IPPROTO_SCTP}},
		{"packets", refuse, unix.SYS_SOCKET, []uint64{unix.AF_PACKET, unix.SOCK_RAW, 0}},
		{"vsock", refuse, unix.SYS_SOCKET, []uint64{unix.AF_VSOCK, unix.SOCK_STREAM, 0}},
		{"crypto of the kernel", refuse, unix.SYS_SOCKET, []uint64{unix.AF_ALG, unix.SOCK_SEQPACKET, 0}},
		{"routes", allow, unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE}},
		{"packet filter", refuse, unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER}},
		{"thread", allow, unix.SYS_CLONE, []uint64{goThread}},
		{"process", refuse, unix.SYS_CLONE, []uint64{uint64(unix.SIGCHLD)}},
		{"process by vfork", refuse, unix.SYS_CLONE, []uint64{unix.CLONE_VM | unix.CLONE_VFORK | uint64(unix.SIGCHLD)}},
		{"thread in a name space", refuse, unix.SYS_CLONE, []uint64{goThread | unix.CLONE_NEWNET}},
		{"process by clone3", unknown, unix.SYS_CLONE3, nil},
		{"memory", allow, unix.SYS_MMAP, []uint64{0, 4096, unix.PROT_READ | unix.PROT_WRITE}},
		{"executable memory", refuse, unix.SYS_MMAP, []uint64{0, 4096, unix.PROT_READ | unix.PROT_EXEC}},
		{"memory made executable", refuse, unix.SYS_MPROTECT, []uint64{0, 4096, unix.PROT_EXEC}},
		{"signal to itself", allow, unix.SYS_TGKILL, []uint64{self, 5, 6}},
		{"signal to another", refuse, unix.SYS_TGKILL, []uint64{1, 1, 6}},
		{"kill all", refuse, unix.SYS_KILL, []uint64{^uint64(0), 9}},
		{"own limits", allow, unix.SYS_PRLIMIT64, []uint64{0, unix.RLIMIT_NOFILE}},
		{"another's limits", refuse, unix.SYS_PRLIMIT64, []uint64{1, unix.RLIMIT_NOFILE}},
		{"to be dumpable again", refuse, unix.SYS_PRCTL, []uint64{unix.PR_SET_DUMPABLE, 1}},
		{"names of memory", allow, unix.SYS_PRCTL, []uint64{unix.PR_SET_VMA}},
	} {
		if got := judge(t, all, here, c.call, c.args...); got != c.want {
			t.Errorf("%s: verdict %d, want %d", c.name, got, c.want)
		}
	}
	if got := judge(t, all, unix.AUDIT_ARCH_I386, unix.SYS_READ); got != kill {
		t.Errorf("a call by another architecture's numbers: verdict %d, want %d", got, kill)
	}
	if runtime.GOARCH == "amd64" {
		if got := judge(t, all, here, 0x4000_0000|unix.SYS_READ); got != kill {
			t.Errorf("a call of x32: verdict %d, want %d", got, kill)
		}
	}
}

// A rule for a call in never would have no effect.
func TestNothingIsAllowedAndForbidden(t *testing.T) {
	t.Parallel()
	rules := append(append(append(GoRuntime(), ReadFiles()...), WriteFiles()...), Sockets(Unix, Internet, RouteLink, FilterLink, PacketsOfLink)...)
	seen := map[uintptr]bool{}
	for _, n := range never() {
		seen[n] = true
	}
	for _, r := range rules {
		if seen[r.Call] {
			t.Errorf("system call %d is named twice", r.Call)
		}
		seen[r.Call] = true
	}
}

// tryNever confines itself and makes each forbidden call in other threads than
// the one that loaded the filter.
func tryNever() int {
	ready, load, done := make(chan bool), make(chan bool), make(chan bool)
	go func() { // a thread from before the filter
		runtime.LockOSThread()
		ready <- true
		<-load
		report("thread from before", unix.SYS_UNSHARE)
		done <- true
	}()
	<-ready
	// If a call gets through after all, it has no rights.
	if _, err := Capabilities(); err != nil {
		fmt.Println(err)
		return 1
	}
	if err := (Filter{Rules: append(GoRuntime(), ReadFiles()...)}).Load(); err != nil {
		fmt.Println(err)
		return 1
	}
	close(load)
	<-done
	for _, n := range never() {
		if !forks(n) { // which would come back twice
			report("call", n)
		}
	}
	report("unknown", unix.SYS_GETPRIORITY)
	fmt.Println("end")
	return 0
}

// forks tells of a call that would come back twice.
func forks(n uintptr) bool { return runtime.GOARCH == "amd64" && (n == 57 || n == 58) }

func report(what string, n uintptr) {
	_, _, errno := unix.RawSyscall(n, 0, 0, 0)
	fmt.Println(what, n, unix.ErrnoName(errno))
}

func TestForbiddenCallsAreRefusedInEveryThread(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), asProgram+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var want strings.Builder
	fmt.Fprintln(&want, "thread from before", unix.SYS_UNSHARE, "EPERM")
	for _, n := range never() {
		if !forks(n) {
			fmt.Fprintln(&want, "call", n, "EPERM")
		}
	}
	fmt.Fprintln(&want, "unknown", unix.SYS_GETPRIORITY, "ENOSYS")
	fmt.Fprintln(&want, "end")
	if string(out) != want.String() {
		t.Errorf("got\n%swant\n%s", out, want.String())
	}
}
