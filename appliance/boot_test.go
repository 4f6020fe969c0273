package appliance

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"ringfence/appliance/qemu"
	"ringfence/appliance/slot"
)

// needQEMU skips the tests that boot: each takes up to minutes under emulation.
func needQEMU(t *testing.T) {
	t.Helper()
	if os.Getenv("RINGFENCE_HEAVY") == "" {
		t.Skip("boots machines in QEMU, which takes minutes; set RINGFENCE_HEAVY=1")
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip("qemu-system-x86_64 is not installed (make deps)")
	}
	needTools(t)
	cachedKernel(t)
}

// starts is one line of the stand-in init.
var starts = regexp.MustCompile(`test-init: slot=(\S+) version=(\S+) firmware=(\S+) uptime=(\S+)`)

// console is what a machine printed until it ended.
type console struct {
	text string
	took time.Duration // from the start of QEMU to the first line of init
}

// slots lists the slots whose init ran, in order.
func (c console) slots() string {
	var names []string
	for _, m := range starts.FindAllStringSubmatch(c.text, -1) {
		names = append(names, m[1])
	}
	return strings.Join(names, " ")
}

// boot runs an image until the machine switches itself off.
func boot(t *testing.T, raw string, fw qemu.Firmware, bus qemu.Bus, limit time.Duration) console {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	m, err := qemu.Start(ctx, qemu.Options{
		Dir: t.TempDir(), Accel: "tcg", Firmware: fw, Memory: 512, CPUs: 2,
		Disks: []qemu.Disk{{Path: raw, Format: "raw", Bus: bus}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var c console
	if _, err := m.Console.Wait(ctx, starts.String()); err == nil {
		c.took = time.Since(m.Started)
	}
	<-m.Ended()
	c.text = m.Console.String()
	if ctx.Err() != nil {
		t.Fatalf("the machine did not switch itself off within %s; it printed:\n%s", limit, m.Console.Tail(60))
	}
	return c
}

// clone copies an image for one test to write to.
func clone(t *testing.T, raw string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "disk.raw")
	if err := copyWhole(raw, to); err != nil {
		t.Fatal(err)
	}
	return to
}

// slotFirmware translates between the two packages' names.
func slotFirmware(fw qemu.Firmware) slot.Firmware {
	if fw == qemu.UEFI {
		return slot.UEFI
	}
	return slot.BIOS
}

func TestBoots(t *testing.T) {
	needQEMU(t)
	r := buildTest(t, t.TempDir(), "healthy-1")
	for _, c := range []struct {
		fw  qemu.Firmware
		bus qemu.Bus
	}{{qemu.BIOS, qemu.Virtio}, {qemu.BIOS, qemu.NVMe}, {qemu.UEFI, qemu.Virtio}, {qemu.UEFI, qemu.NVMe}, {qemu.BIOS, qemu.SCSI}, {qemu.BIOS, qemu.AHCI}} {
		t.Run(fmt.Sprintf("%s %s", c.fw, c.bus), func(t *testing.T) {
			got := boot(t, clone(t, r.Raw), c.fw, c.bus, 3*time.Minute)
			if got.slots() != "a" || strings.Contains(got.text, "test-init: error:") {
				t.Errorf("console:\n%s", got.text)
			}
			for _, want := range []string{"perm=/dev/", "boots=1", "Committed:a Trial: Tries:0", "ringfence.slot=a"} {
				if !strings.Contains(got.text, want) {
					t.Errorf("%q is not on the console:\n%s", want, got.text)
				}
			}
			t.Logf("init after %s", got.took)
		})
	}
}

// damagedKernel is a slot whose kernel changed after it was written: the sum
// beside it is that of the sound one.
const damagedKernel = "kernel is damaged"

// spoilSum puts the sum of the sound kernel back.
func spoilSum(t *testing.T, disk string, r Result) {
	t.Helper()
	table, err := readTable(disk)
	if err != nil {
		t.Fatal(err)
	}
	sound, err := os.ReadFile(r.Kernel)
	if err != nil {
		t.Fatal(err)
	}
	part, _ := table.Part(2)
	dir := t.TempDir()
	esp := fat{tools: tools{home: dir, time: time.Unix(fallbackTime, 0)}, image: disk, offset: part.Offset()}
	if err := esp.write(t.Context(), dir, map[string][]byte{slot.B.KernelSumPath()[1:]: slot.B.KernelSum(sound)}); err != nil {
		t.Fatal(err)
	}
}

// broken makes the kinds of slots that must not stay.
func broken(t *testing.T, r Result) map[string]SlotContent {
	t.Helper()
	dir := t.TempDir()
	rubbish := filepath.Join(dir, "root")
	if err := os.WriteFile(rubbish, []byte(strings.Repeat("not a squashfs ", 1<<16)), 0o644); err != nil {
		t.Fatal(err)
	}
	image, err := os.ReadFile(r.Kernel)
	if err != nil {
		t.Fatal(err)
	}
	// The header stays sound, so that the loader starts it.
	for i := len(image) / 2; i < len(image)/2+1<<20; i++ {
		image[i] ^= 0x5a
	}
	damaged := filepath.Join(dir, "vmlinuz")
	if err := os.WriteFile(damaged, image, 0o644); err != nil {
		t.Fatal(err)
	}
	restless := buildTest(t, t.TempDir(), "restless-1")
	stuck := buildTest(t, t.TempDir(), "stuck-1")
	return map[string]SlotContent{
		"root is rubbish":    {Root: rubbish, Kernel: r.Kernel},
		damagedKernel:        {Root: r.Root, Kernel: damaged},
		"kernel is rubbish":  {Root: r.Root, Kernel: rubbish},
		"init ends":          {Root: stuck.Root, Kernel: r.Kernel},
		"init never commits": {Root: restless.Root, Kernel: r.Kernel},
	}
}

func TestBrokenSlotReturns(t *testing.T) {
	needQEMU(t)
	r := buildTest(t, t.TempDir(), "healthy-1")
	for name, content := range broken(t, r) {
		for _, fw := range []qemu.Firmware{qemu.BIOS, qemu.UEFI} {
			t.Run(fmt.Sprintf("%s %s", name, fw), func(t *testing.T) {
				disk := clone(t, r.Raw)
				content.Name, content.Version, content.Tries = slot.B, "broken-2", 2
				if err := WriteSlot(t.Context(), disk, content); err != nil {
					t.Fatal(err)
				}
				if name == damagedKernel {
					spoilSum(t, disk, r)
				}
				got := boot(t, disk, fw, qemu.Virtio, 6*time.Minute)
				if !strings.HasSuffix(got.slots(), "a") || strings.Contains(got.text, "test-init: error:") {
					t.Errorf("slots %q; console:\n%s", got.slots(), got.text)
				}
				if name == "init never commits" && got.slots() != "b b a" {
					t.Errorf("slots %q", got.slots())
				}
				for _, f := range []qemu.Firmware{qemu.BIOS, qemu.UEFI} {
					state, err := ReadState(t.Context(), disk, slotFirmware(f))
					if err != nil || state.Committed != slot.A || state.Trial != slot.B || state.Tries != 0 {
						t.Errorf("%s: %+v, %v", f, state, err)
					}
				}
			})
		}
	}
}

// TestCommittedKernelGoesBad damages the kernel of the committed slot while
// the other one holds the version before.
func TestCommittedKernelGoesBad(t *testing.T) {
	needQEMU(t)
	r := buildTest(t, t.TempDir(), "healthy-1")
	for _, fw := range []qemu.Firmware{qemu.BIOS, qemu.UEFI} {
		t.Run(string(fw), func(t *testing.T) {
			disk := clone(t, r.Raw)
			rubbish := filepath.Join(t.TempDir(), "rubbish")
			if err := os.WriteFile(rubbish, []byte("no kernel any more"), 0o644); err != nil {
				t.Fatal(err)
			}
			// Slot a stays as the version before, slot b is committed and bad.
			content := SlotContent{Name: slot.B, Root: r.Root, Kernel: rubbish, Version: "bad-2"}
			if err := WriteSlot(t.Context(), disk, content); err != nil {
				t.Fatal(err)
			}
			if got := boot(t, disk, fw, qemu.Virtio, 5*time.Minute); got.slots() != "a" {
				t.Fatalf("slots %q; console:\n%s", got.slots(), got.text)
			}
			state, err := ReadState(t.Context(), disk, slotFirmware(fw))
			if err != nil || state.Committed != slot.A {
				t.Errorf("%+v, %v", state, err)
			}
		})
	}
}

func TestHealthyUpdateStays(t *testing.T) {
	needQEMU(t)
	r := buildTest(t, t.TempDir(), "healthy-1")
	update := buildTest(t, t.TempDir(), "healthy-2")
	for _, fw := range []qemu.Firmware{qemu.BIOS, qemu.UEFI} {
		t.Run(string(fw), func(t *testing.T) {
			disk := clone(t, r.Raw)
			content := SlotContent{Name: slot.B, Root: update.Root, Kernel: update.Kernel, Version: update.Version, Tries: 1}
			if err := WriteSlot(t.Context(), disk, content); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if got := boot(t, disk, fw, qemu.Virtio, 3*time.Minute); got.slots() != "b" {
					t.Fatalf("slots %q; console:\n%s", got.slots(), got.text)
				}
			}
		})
	}
}
