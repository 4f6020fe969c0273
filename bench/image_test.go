package bench

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	machine "ringfence/appliance/qemu"
	"ringfence/internal/siptest"
	"ringfence/tests/qemu"
)

// gate skips a test unless the figures are wanted.
func gate(t *testing.T) {
	t.Helper()
	if os.Getenv("RINGFENCE_BENCH") == "" {
		t.Skip("a measurement of minutes; RINGFENCE_BENCH=1 or make bench takes it")
	}
}

// idle is how long a guest is left alone before its memory is read.
const idle = 30 * time.Second

// row prints one line of the table, to be found among the tests' own output.
func row(t *testing.T, what, measured, aim string) {
	t.Logf("| %-52s | %-10s | %-8s |", what, measured, aim)
}

func TestBoot(t *testing.T) {
	gate(t)
	_, accel := qemu.Image(t)
	for _, bus := range []machine.Bus{machine.NVMe, machine.Virtio} {
		t.Run(string(bus), func(t *testing.T) {
			vm := qemu.Boot(t, qemu.Bus(bus))
			vm.Setup()
			// A phone that tries four times a second finds the first moment.
			phone := vm.Phone(vm.Extensions[0].Number, 440, func(c *siptest.Config) { c.T1 = time.Minute })
			vm.PowerOff()
			vm.StartAgain()
			took, err := untilRegistered(t.Context(), phone, vm.Started)
			if err != nil {
				t.Fatal(err)
			}
			used, err := processorTime(vm.PID())
			if err != nil {
				t.Fatal(err)
			}
			aim := ""
			if bus == machine.NVMe {
				aim = "<= 8 s"
			}
			row(t, fmt.Sprintf("power-on to first 200 to REGISTER, %s, %s", bus, accel), fmt.Sprintf("%.1f s", took.Seconds()), aim)
			// What other programs of the host do to the figure above is not in this one.
			row(t, "  of it, processor time of QEMU", fmt.Sprintf("%.1f s", used.Seconds()), "")
			if bus != machine.NVMe {
				return
			}
			time.Sleep(idle)
			m, err := vm.MemoryAvailable()
			if err != nil {
				t.Fatal(err)
			}
			row(t, fmt.Sprintf("memory used when idle, of %d MiB", m.Total>>20), fmt.Sprintf("%d MiB", (m.Total-m.Available)>>20), "<= 90 MB")
		})
	}
}

func untilRegistered(ctx context.Context, phone *siptest.Phone, start time.Time) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	for {
		// A machine that is slow to boot is slow to answer, too.
		pace := max(250*time.Millisecond, time.Since(start)/30)
		try, end := context.WithTimeout(ctx, pace)
		err := phone.Register(try)
		took := time.Since(start)
		if err != nil { // early, for want of a route
			<-try.Done()
		}
		end()
		if err == nil {
			return took, nil
		}
		if ctx.Err() != nil {
			return 0, fmt.Errorf("not registered %s after power-on: %w", took.Round(time.Second), err)
		}
	}
}

// processorTime is what a process used so far, all its threads together.
func processorTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// proc(5): the name may hold anything, so fields count from its end.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("statistics of process %d: %q", pid, text)
	}
	const tick = time.Second / 100 // USER_HZ
	var sum time.Duration
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

func TestSize(t *testing.T) {
	gate(t)
	raw, _ := qemu.Image(t)
	if _, err := exec.LookPath("zstd"); err != nil {
		t.Skip("zstd is not installed (make deps)")
	}
	cmd := exec.CommandContext(t.Context(), "zstd", "-q", "-19", "-T0", "-c", raw)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, out)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	row(t, "raw image, compressed with zstd -19", fmt.Sprintf("%.1f MB", float64(n)/1e6), "<= 40 MB")
	if n > 40e6 {
		t.Errorf("the image has %d bytes compressed", n)
	}
}

// TestReproducible builds the committed sources in two folders whose names
// differ in length, and compares.
func TestReproducible(t *testing.T) {
	gate(t)
	if os.Getenv("RINGFENCE_BENCH") == "quick" {
		t.Skip("RINGFENCE_BENCH=quick: building two images takes minutes")
	}
	root, err := qemu.Root()
	if err != nil {
		t.Fatal(err)
	}
	dist := filepath.Join(root, "web/dist")
	if _, err := os.Stat(dist); err != nil {
		t.Skip("the user interface is not built (make web)")
	}
	var sums []string
	for _, name := range []string{"a", "a/longer/path/than/the/other"} {
		dir := filepath.Join(t.TempDir(), name)
		run(t, root, "git", "clone", "-q", ".", dir)
		// Built once: npm's part of it is not what is measured.
		run(t, root, "cp", "-a", dist, filepath.Join(dir, "web"))
		out := filepath.Join(dir, "out")
		run(t, dir, "go", "run", "./cmd/mkimage", "build", "-o", out, "-format", "raw", "-version", "bench")
		sum, err := sha256Of(filepath.Join(out, "ringfence.raw"))
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, sum)
	}
	if sums[0] != sums[1] {
		t.Fatalf("two builds of the same sources differ: %s", strings.Join(sums, ", "))
	}
	row(t, "image built in two folders", "the same", "the same")
	t.Logf("sha256 %s", sums[0])
}

func run(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

func sha256Of(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
