package sip

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringfence/internal/ports"
	"ringfence/tests/pbxproc"
)

// server is what is measured: its processes sit on one core, the load on
// another.
type server struct {
	name  string
	addr  netip.AddrPort
	users []User
	pid   int
}

// ourAddress keeps clear of a PBX that somebody runs on 127.0.0.1.
const ourAddress = "127.0.5.1"

// ringfence starts pbxd with so many extensions.
func ringfence(t *testing.T, extensions int) *server {
	t.Helper()
	var p *pbxproc.Process
	onCore(t, 0, func() { p = pbxproc.Start(t, nil, ourAddress, "-alone", "-extensions", strconv.Itoa(extensions)) })
	s := &server{name: "ringfence", addr: p.Addr(ports.SIPUDP), pid: p.PID()}
	for _, e := range p.Facts.Extensions {
		s.users = append(s.users, User{e.SIPUser, e.SIPPassword, e.Domain})
	}
	return s
}

// onCore runs f on a core; the processes that f starts stay there. The rest of
// this process has the last core to itself.
func onCore(t *testing.T, core int, f func()) {
	t.Helper()
	if runtime.NumCPU() < 2 {
		t.Skip("one core for the server and one for the load are needed")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := pin(0, core); err != nil {
		t.Fatal(err)
	}
	f()
	tasks, err := filepath.Glob("/proc/self/task/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		if tid, err := strconv.Atoi(filepath.Base(task)); err == nil {
			_ = pin(tid, lastCore()) // a thread may have ended
		}
	}
}

func pin(tid, core int) error {
	var set unix.CPUSet
	set.Set(core)
	return unix.SchedSetaffinity(tid, &set)
}

// lastCore is one the process may use, whatever it is pinned to now.
func lastCore() int {
	online, err := os.ReadFile("/sys/devices/system/cpu/online")
	if err != nil {
		return 1
	}
	_, last, _ := strings.Cut(strings.TrimSpace(string(online)), "-")
	n, err := strconv.Atoi(last)
	if err != nil {
		return 1
	}
	return n
}

// processes are the server's: the one started and its children.
func (s *server) processes() []int {
	pids := []int{s.pid}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.pid))
	for _, task := range tasks {
		text, _ := os.ReadFile(task)
		for f := range strings.FieldsSeq(string(text)) {
			if pid, err := strconv.Atoi(f); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// used is the processor time of all processes so far.
func (s *server) used(t *testing.T) time.Duration {
	t.Helper()
	var sum time.Duration
	for _, pid := range s.processes() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		for _, f := range fields[11:13] { // utime and stime of proc(5), in USER_HZ
			n, err := strconv.ParseInt(f, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += time.Duration(n) * time.Second / 100
		}
	}
	return sum
}

// memory is what all processes hold, shared pages counted once, in bytes.
func (s *server) memory(t *testing.T) int {
	t.Helper()
	sum := 0
	for _, pid := range s.processes() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
				n, err := strconv.Atoi(strings.Fields(rest)[0])
				if err != nil {
					t.Fatal(err)
				}
				sum += n << 10
			}
		}
	}
	return sum
}
