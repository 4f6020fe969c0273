package qemu

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"ringfence/appliance"
	"ringfence/appliance/qemu"
	"ringfence/appliance/slot"
)

// A slot on trial whose kernel panics for want of an init, and one whose PBX
// never reports health, give way to the slot before them by themselves, in
// both firmwares.
func TestBrokenSlotsGiveWay(t *testing.T) {
	raw, _ := Image(t)
	for _, tool := range []string{"unsquashfs", "mksquashfs"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed (make deps)", tool)
		}
	}
	good := filepath.Join(filepath.Dir(raw), "root.squashfs")
	dir := t.TempDir()
	broken := map[string]string{"panics": emptyRoot(t, dir), "never healthy": deafRoot(t, dir, good)}
	for what, root := range broken {
		for _, firmware := range []qemu.Firmware{qemu.BIOS, qemu.UEFI} {
			t.Run(fmt.Sprintf("%s, %s", what, firmware), func(t *testing.T) {
				t.Parallel()
				disk := copyDisk(t, raw)
				err := appliance.WriteSlot(t.Context(), disk, appliance.SlotContent{Name: slot.B, Root: root, Kernel: filepath.Join(filepath.Dir(raw), "vmlinuz"), Version: "broken", Tries: 1})
				if err != nil {
					t.Fatal(err)
				}
				vm := Start(t, Disk(disk), Firmware(firmware))
				ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
				defer cancel()
				if _, err := vm.Console.Wait(ctx, `ringfence\.slot=b`); err != nil {
					t.Fatal(err)
				}
				mark := vm.Console.Mark()
				if _, err := vm.Console.WaitAfter(ctx, mark, `ringfence\.slot=a`); err != nil {
					t.Fatal(err)
				}
				vm.WaitReady(mark)
			})
		}
	}
}

// emptyRoot is a root file system without anything to start: the kernel panics.
func emptyRoot(t *testing.T, dir string) string {
	t.Helper()
	empty, root := filepath.Join(dir, "empty"), filepath.Join(dir, "empty.squashfs")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, "mksquashfs", empty, root, "-quiet", "-no-progress", "-all-root")
	return root
}

// deafRoot is the shipped root with a pbxd that never reports health.
func deafRoot(t *testing.T, dir, good string) string {
	t.Helper()
	tree, root := filepath.Join(dir, "tree"), filepath.Join(dir, "deaf.squashfs")
	run(t, "unsquashfs", "-quiet", "-no-progress", "-d", tree, good)
	found, err := filepath.Glob(filepath.Join(tree, "*", "pbxd"))
	if err != nil || len(found) != 1 {
		t.Fatalf("pbxd in the root: %v, %v", found, err)
	}
	cmd := exec.Command("go", "build", "-o", found[0], "./testdata/deaf")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	run(t, "mksquashfs", tree, root, "-quiet", "-no-progress", "-all-root", "-comp", "zstd", "-Xcompression-level", "3")
	return root
}

// copyDisk is a copy of an image that the test may change.
func copyDisk(t *testing.T, raw string) string {
	t.Helper()
	disk := filepath.Join(t.TempDir(), "disk.raw")
	run(t, "cp", "--sparse=always", raw, disk)
	return disk
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}
