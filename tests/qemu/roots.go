package qemu

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"ringfence/appliance"
	"ringfence/appliance/qemu"
	"ringfence/appliance/slot"
)

// Programs of package testdata that take the place of shipped ones.
const (
	deaf   = "ringfence/tests/qemu/testdata/deaf"
	killer = "ringfence/tests/qemu/testdata/killer"
)

// EmptyRoot makes a root file system without anything to start: the kernel
// panics.
func EmptyRoot(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	empty, root := filepath.Join(dir, "empty"), filepath.Join(dir, "empty.squashfs")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	squash(t, empty, root)
	return root
}

// DeafRoot makes the shipped root with a pbxd that never reports health.
func DeafRoot(t testing.TB) string {
	return variant(t, func(programs string) { compile(t, deaf, filepath.Join(programs, "pbxd")) })
}

// killerRoot makes the shipped root with a sysd that also kills services on
// demand, see testdata/killer.
func killerRoot(t testing.TB) string {
	return variant(t, func(programs string) {
		own := filepath.Join(programs, "sysd")
		if err := os.Rename(own, own+"-shipped"); err != nil {
			t.Fatal(err)
		}
		compile(t, killer, own)
	})
}

// variant makes the shipped root with something changed in the folder of its
// programs.
func variant(t testing.TB, change func(programs string)) string {
	t.Helper()
	raw, _ := Image(t)
	dir := t.TempDir()
	tree, root := filepath.Join(dir, "tree"), filepath.Join(dir, "variant.squashfs")
	run(t, "unsquashfs", "-quiet", "-no-progress", "-d", tree, filepath.Join(filepath.Dir(raw), "root.squashfs"))
	change(filepath.Join(tree, "user"))
	squash(t, tree, root)
	return root
}

func squash(t testing.TB, tree, root string) {
	t.Helper()
	run(t, "mksquashfs", tree, root, "-quiet", "-no-progress", "-all-root", "-comp", "zstd", "-Xcompression-level", "3")
}

func compile(t testing.TB, program, to string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", to, program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v: %s", program, err, out)
	}
}

// needSquashfs skips a test, saying why, where roots cannot be changed.
func needSquashfs(t testing.TB) {
	t.Helper()
	for _, tool := range []string{"unsquashfs", "mksquashfs"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed (make deps)", tool)
		}
	}
}

// WithSlot is a copy of the image under test with a root in one of its slots,
// on trial for tries boots or, with 0, committed.
func WithSlot(t testing.TB, name slot.Name, root string, tries int) string {
	t.Helper()
	raw, _ := Image(t)
	disk := CopyImage(t)
	err := appliance.WriteSlot(t.Context(), disk, appliance.SlotContent{
		Name: name, Root: root, Kernel: filepath.Join(filepath.Dir(raw), "vmlinuz"), Version: "variant", Tries: tries,
	})
	if err != nil {
		t.Fatal(err)
	}
	return disk
}

// CopyImage is a copy of the image under test that the test may change.
func CopyImage(t testing.TB) string {
	t.Helper()
	raw, _ := Image(t)
	disk := filepath.Join(t.TempDir(), "disk.raw")
	run(t, "cp", "--sparse=always", raw, disk)
	return disk
}

// The signs on the console that a broken root of slot b was tried.
const (
	Panics    = `Kernel panic`
	Unhealthy = `msg=starting version=\S+ slot=b`
)

// GivesWay puts a broken root on trial in slot b, and demands that the machine
// tries it, which the console shows by the sign, and comes back with slot a by
// itself.
func GivesWay(t testing.TB, root, sign string, firmware qemu.Firmware) {
	t.Helper()
	vm := Start(t, Disk(WithSlot(t, slot.B, root, 1)), Firmware(firmware))
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	if _, err := vm.Console.Wait(ctx, sign); err != nil {
		t.Fatal(err)
	}
	mark := vm.Console.Mark()
	tried := time.Since(vm.Started)
	if _, err := vm.Console.WaitAfter(ctx, mark, `msg=starting version=\S+ slot=a`); err != nil {
		t.Fatal(err)
	}
	vm.WaitReady(mark)
	t.Logf("slot b tried %.0f s after power-on, slot a ready after %.0f s", tried.Seconds(), time.Since(vm.Started).Seconds())
}

func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}
