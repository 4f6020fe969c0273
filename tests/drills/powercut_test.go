package drills

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"ringfence/appliance/disk"
	"ringfence/tests/apiclient"
	"ringfence/tests/powercut"
	"ringfence/tests/qemu"
)

// share is the part of a drill to run: n scaled, at least least.
func share(t *testing.T, n, least int) int {
	t.Helper()
	text := os.Getenv("RINGFENCE_DRILL")
	if text == "" {
		t.Skip("a drill; RINGFENCE_DRILL says which share of it to run (make test: 0.05, make drills: 1)")
	}
	part, err := strconv.ParseFloat(text, 64)
	if err != nil || part <= 0 || part > 1 {
		t.Fatalf("RINGFENCE_DRILL=%q is not within 0..1", text)
	}
	return max(least, int(part*float64(n)))
}

// random is seeded by the clock, and says how to run again.
func random(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("RINGFENCE_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("RINGFENCE_SEED: %v", err)
		}
		seed = n
	}
	t.Logf("RINGFENCE_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// wide is a set-up with room for many extensions.
func wide() apiclient.Setup {
	s := apiclient.DefaultSetup()
	s.First, s.Last, s.Extensions = "1001", "9999", 1
	return s
}

// writer adds extensions one after another and keeps those the API
// acknowledged.
type writer struct {
	next  int
	acked []ack
	size  func() int64 // of the write log, or nil
}

type ack struct {
	number string
	log    int64 // size of the write log when the answer came
}

// run adds until ctx ends or the guest does not answer any more.
func (w *writer) run(ctx context.Context, c *apiclient.Client) error {
	for ctx.Err() == nil {
		w.next++
		number := strconv.Itoa(1100 + w.next)
		err := c.Do(ctx, "POST", "/extensions", map[string]any{"number": number, "display_name": "Drill " + number}, nil)
		if apiclient.Status(err) != 0 {
			return err
		}
		if err != nil {
			return nil // the power is off
		}
		a := ack{number: number}
		if w.size != nil {
			a.log = w.size()
		}
		w.acked = append(w.acked, a)
	}
	return nil
}

// missing lists the acknowledged extensions that are not there.
func missing(ctx context.Context, c *apiclient.Client, acked []ack) ([]string, error) {
	var list struct {
		Items []struct{ Number string }
	}
	if err := c.Do(ctx, "GET", "/extensions", nil, &list); err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, e := range list.Items {
		there[e.Number] = true
	}
	var gone []string
	for _, a := range acked {
		if !there[a.number] {
			gone = append(gone, a.number)
		}
	}
	return gone, nil
}

func login(t *testing.T, vm *qemu.VM, s apiclient.Setup) *apiclient.Client {
	t.Helper()
	c := vm.Client()
	if err := c.Login(t.Context(), s.Name, s.Password); err != nil {
		t.Fatal(err)
	}
	return c
}

// QEMU is killed at random moments while extensions are added: every
// acknowledged one is there after the next boot, and it boots each time.
func TestPowerCutsWhileAdding(t *testing.T) {
	cuts := share(t, 30, 2)
	rnd := random(t)
	s := wide()
	vm := qemu.Boot(t)
	vm.SetupAs(s)
	client := vm.API
	w := &writer{}
	for i := range cuts {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(200+rnd.IntN(8000))*time.Millisecond)
		go func() {
			<-ctx.Done()
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				vm.Kill()
			}
		}()
		if err := w.run(t.Context(), client); err != nil {
			cancel()
			t.Fatalf("cut %d: %v", i, err)
		}
		<-vm.Ended()
		cancel()
		vm.PowerOn()
		client = login(t, vm, s)
		gone, err := missing(t.Context(), client, w.acked)
		if err != nil {
			t.Fatal(err)
		}
		if len(gone) > 0 {
			t.Fatalf("cut %d: of %d acknowledged extensions these are gone: %v", i, len(w.acked), gone)
		}
		t.Logf("cut %d of %d: %d acknowledged extensions, none lost", i+1, cuts, len(w.acked))
	}
	t.Logf("%d cuts, %d acknowledged extensions, none lost", cuts, len(w.acked))
	if len(w.acked) < cuts {
		t.Errorf("%d acknowledged extensions are no drill", len(w.acked))
	}
	vm.PowerOff()
	integrity(t, vm.DiskPath())
}

// The log of one run's writes is cut at random places, flushed writes kept and
// later ones lost or torn, as a disk with a cache loses them: each of those
// disks boots and holds what was acknowledged before.
func TestLostWritesAfterFlush(t *testing.T) {
	cuts := share(t, 30, 2)
	rnd := random(t)
	s := wide()
	raw, _ := qemu.Image(t)
	dir := t.TempDir()
	disk, base, log := filepath.Join(dir, "disk.raw"), filepath.Join(dir, "base.raw"), filepath.Join(dir, "log")
	copySparse(t, raw, disk)
	first := qemu.Boot(t, qemu.Disk(disk))
	first.SetupAs(s)
	first.PowerOff()
	copySparse(t, disk, base)
	if err := os.WriteFile(log, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	vm := qemu.Boot(t, qemu.Disk(disk), qemu.LogWrites(log))
	client := login(t, vm, s)
	w := &writer{size: func() int64 {
		info, err := os.Stat(log)
		if err != nil {
			return 1 << 62
		}
		return info.Size()
	}}
	started := w.size()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := w.run(ctx, client); err != nil {
		t.Fatal(err)
	}
	vm.Kill()
	written, err := powercut.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer written.Close()
	low, high := written.Before(started), len(written.Entries)
	if high-low < 20 || len(w.acked) < 5 {
		t.Fatalf("%d writes and %d acknowledged extensions are no drill", high-low, len(w.acked))
	}
	for i := range cuts {
		n := low + rnd.IntN(high-low)
		var due []ack
		for _, a := range w.acked {
			if written.Before(a.log) <= n {
				due = append(due, a)
			}
		}
		t.Run(fmt.Sprintf("cut %d after write %d", i, n), func(t *testing.T) {
			cut := filepath.Join(t.TempDir(), "cut.raw")
			copySparse(t, base, cut)
			if err := written.Cut(cut, n, rnd); err != nil {
				t.Fatal(err)
			}
			vm := qemu.Boot(t, qemu.Disk(cut))
			gone, err := missing(t.Context(), login(t, vm, s), due)
			if err != nil {
				t.Fatal(err)
			}
			if len(gone) > 0 {
				t.Errorf("of %d extensions acknowledged before the cut these are gone: %v", len(due), gone)
			}
			vm.PowerOff()
			integrity(t, cut)
		})
	}
}

// integrity takes the database out of a disk's data partition and has another
// implementation check it.
func integrity(t *testing.T, disk string) {
	t.Helper()
	dir := t.TempDir()
	raw := filepath.Join(dir, "raw")
	run(t, "qemu-img", "convert", "-O", "raw", disk, raw)
	offset := permOffset(t, raw)
	for _, f := range []string{"ringfence.db", "ringfence.db-wal"} {
		// A database that was closed in order has no WAL: debugfs then writes
		// nothing, which is well.
		run(t, "debugfs", "-R", fmt.Sprintf("dump /pbxd/%s %s", f, filepath.Join(dir, f)), fmt.Sprintf("%s?offset=%d", raw, offset))
	}
	// sqlite3 finds nothing wrong with a file that is not there.
	if info, err := os.Stat(filepath.Join(dir, "ringfence.db")); err != nil || info.Size() == 0 {
		t.Fatalf("no database came out of the disk: %v", err)
	}
	out, err := exec.Command("sqlite3", filepath.Join(dir, "ringfence.db"), "pragma integrity_check; pragma foreign_key_check").CombinedOutput()
	if err != nil || string(out) != "ok\n" {
		t.Errorf("integrity of the database: %v, %s", err, out)
	}
}

func copySparse(t *testing.T, from, to string) {
	t.Helper()
	run(t, "cp", "--sparse=always", from, to)
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}

func permOffset(t *testing.T, raw string) int64 {
	t.Helper()
	f, err := os.Open(raw)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	table, err := disk.Read(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	part, ok := table.Part(disk.Perm)
	if !ok {
		t.Fatal("the disk has no data partition")
	}
	return part.Offset()
}
