// Package host puts what is measured on one core and the load on another, and
// reads what the measured processes used.
package host

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ServerCore is where OnCore puts what is measured.
const ServerCore = 0

// Gate skips a test unless the figures are wanted.
func Gate(t *testing.T) {
	t.Helper()
	if os.Getenv("RINGFENCE_BENCH") == "" {
		t.Skip("a measurement of minutes; RINGFENCE_BENCH=1 or make bench takes it")
	}
}

// Load is how busy the machine is, to be told with figures.
func Load() string {
	load, _ := os.ReadFile("/proc/loadavg")
	return strings.TrimSpace(string(load))
}

// OnCore runs f on a core; the processes that f starts stay there. The rest of
// this process has the last core to itself.
func OnCore(t *testing.T, core int, f func()) {
	t.Helper()
	if runtime.NumCPU() < 2 && lastCore() < 1 {
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

// Server is what is measured: the process started and its children.
type Server struct{ PID int }

func (s Server) processes() []int {
	pids := []int{s.PID}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.PID))
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

// Used is the processor time of all processes so far.
func (s Server) Used(t *testing.T) time.Duration {
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

// Memory is what all processes hold, shared pages counted once, in bytes.
func (s Server) Memory(t *testing.T) int {
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

// Median is the middle of the rounds.
func Median[F any](rounds []F, of func(F) float64) float64 {
	var v []float64
	for _, f := range rounds {
		v = append(v, of(f))
	}
	slices.Sort(v)
	return v[len(v)/2]
}
