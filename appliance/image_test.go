package appliance

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ringfence/appliance/disk"
	"ringfence/appliance/kernel"
	"ringfence/appliance/slot"
)

// testInit is a stand-in for the real init; its version tells it what to do.
const testInit = "ringfence/appliance/testdata/init"

// needTools skips where the programs are missing that make an image.
func needTools(t testing.TB) {
	t.Helper()
	for _, tool := range []string{"mkfs.vfat", "mcopy", "mke2fs", "mksquashfs", "unsquashfs", "grub-mkimage", "qemu-img"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed (make deps)", tool)
		}
	}
	for _, file := range []string{grubDir, systemdBoot} {
		if _, err := os.Stat(file); err != nil {
			t.Skipf("%s is not installed (make deps)", file)
		}
	}
}

// cachedKernel skips where no kernel was built yet, which takes long.
func cachedKernel(t testing.TB) kernel.Kernel {
	t.Helper()
	cache, err := CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	k, err := kernel.Cached(t.Context(), kernel.Options{Cache: cache})
	if err != nil {
		t.Skipf("no kernel in the cache (make kernel): %v", err)
	}
	return k
}

// buildTest builds an image with the stand-in init.
func buildTest(t testing.TB, out, version string, formats ...Format) Result {
	t.Helper()
	r, err := Build(context.Background(), Options{Out: out, Init: testInit, Version: version, Web: WebOptional, Formats: formats, SignKey: testKey()})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestImage(t *testing.T) {
	t.Parallel()
	if raceDetector {
		t.Skip("gigabytes of hashing, minutes under the race detector; suite image runs it without")
	}
	needTools(t)
	cachedKernel(t)
	first := buildTest(t, t.TempDir(), "healthy-1", Formats()...)
	second := buildTest(t, t.TempDir(), "healthy-1", QCOW2)
	for name, sum := range second.SHA256 {
		if name != ManifestFile && first.SHA256[name] != sum { // the manifest names the formats
			t.Errorf("%s differs between two builds: %s and %s", name, sum, first.SHA256[name])
		}
	}
	t.Run("GPT", func(t *testing.T) { checkGPT(t, first.Raw) })
	t.Run("file systems", func(t *testing.T) { checkFileSystems(t, first.Raw) })
	t.Run("manifest", func(t *testing.T) { checkManifest(t, first) })
	t.Run("sums", func(t *testing.T) {
		cmd := exec.Command("sha256sum", "-c", "SHA256SUMS")
		cmd.Dir = filepath.Dir(first.Raw)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("formats", func(t *testing.T) { checkFormats(t, first) })
	t.Run("signature", func(t *testing.T) { checkSignature(t, first) })
	t.Run("bill of materials", func(t *testing.T) { checkBill(t, first) })
	t.Run("slots", func(t *testing.T) { checkSlots(t, first) })
}

func checkGPT(t *testing.T, raw string) {
	out, err := exec.Command("sgdisk", "--verify", raw).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "No problems found") {
		t.Errorf("%v\n%s", err, out)
	}
	f, err := os.Open(raw)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mbr := make([]byte, 512)
	if _, err := f.ReadAt(mbr, 0); err != nil {
		t.Fatal(err)
	}
	if mbr[0] != 0xeb || mbr[450] != 0xee || mbr[510] != 0x55 {
		t.Errorf("first sector begins % x, partition type %x", mbr[:4], mbr[450])
	}
}

func checkFileSystems(t *testing.T, raw string) {
	table, err := readTable(raw)
	if err != nil {
		t.Fatal(err)
	}
	for number, tool := range map[int][]string{
		disk.ESP:  {"fsck.vfat", "-n"},
		disk.Perm: {"e2fsck", "-fn"},
	} {
		part, _ := table.Part(number)
		f, err := os.Open(raw)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		copied := filepath.Join(t.TempDir(), "part")
		out, err := os.Create(copied)
		if err != nil {
			t.Fatal(err)
		}
		if err := copySparse(out, io.NewSectionReader(f, part.Offset(), part.Size())); err != nil {
			t.Fatal(err)
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
		if text, err := exec.Command(tool[0], append(tool[1:], copied)...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", tool[0], err, text)
		}
	}
}

func checkSlots(t *testing.T, r Result) {
	ctx := t.Context()
	for _, step := range []struct {
		name    slot.Name
		tries   int
		version string
		want    slot.State
	}{
		{slot.B, 3, "2.0", slot.State{Committed: slot.A, Trial: slot.B, Tries: 3}},
		{slot.B, 0, "2.1", slot.State{Committed: slot.B}},
		{slot.A, 1, "2.2", slot.State{Committed: slot.B, Trial: slot.A, Tries: 1}},
	} {
		err := WriteSlot(ctx, r.Raw, SlotContent{Name: step.name, Root: r.Root, Kernel: r.Kernel, Version: step.version, Tries: step.tries})
		if err != nil {
			t.Fatal(err)
		}
		for _, fw := range []slot.Firmware{slot.BIOS, slot.UEFI} {
			got, err := ReadState(ctx, r.Raw, fw)
			if err != nil || got.Committed != step.want.Committed || got.Trial != step.want.Trial || got.Tries != step.want.Tries || got.Image(step.name).Version != step.version {
				t.Errorf("%s: %+v, %v", fw, got, err)
			}
		}
	}
	checkFileSystems(t, r.Raw)
	big := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(big, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, 513<<20); err != nil {
		t.Fatal(err)
	}
	if err := WriteSlot(ctx, r.Raw, SlotContent{Name: slot.A, Root: big, Version: "3", Tries: 1}); err == nil {
		t.Error("a root that is larger than its partition was written")
	}
	if err := WriteSlot(ctx, r.Raw, SlotContent{Name: "c", Version: "3"}); err == nil {
		t.Error("slot c was written")
	}
}
