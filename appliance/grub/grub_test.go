package grub

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"testing"
)

const debianDir = "/usr/lib/grub/i386-pc"

func images(t *testing.T) Images {
	t.Helper()
	if _, err := exec.LookPath("grub-mkimage"); err != nil {
		t.Skip("grub-mkimage is not installed (package grub-common)")
	}
	if _, err := os.Stat(debianDir); err != nil {
		t.Skip("GRUB for BIOS is not installed (package grub-pc-bin)")
	}
	img, err := Make(t.Context(), debianDir, 2, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestPatchesAndNothingElse(t *testing.T) {
	t.Parallel()
	img := images(t)
	code, err := BootCode(img.Boot, 2048)
	if err != nil {
		t.Fatal(err)
	}
	want := append([]byte(nil), img.Boot[:440]...)
	copy(want[0x5c:], []byte{0, 8, 0, 0, 0, 0, 0, 0})
	copy(want[0x66:], []byte{0x90, 0x90})
	if !bytes.Equal(code, want) {
		t.Error("boot code differs from boot.img in more than the two patches")
	}
	core, err := Core(img.Core, 2048, 2048)
	if err != nil {
		t.Fatal(err)
	}
	if len(core)%512 != 0 || len(core) < len(img.Core) {
		t.Errorf("core image of %d bytes became %d", len(img.Core), len(core))
	}
	if at := binary.LittleEndian.Uint64(core[0x1f4:]); at != 2049 {
		t.Errorf("rest of the core image is looked for in sector %d", at)
	}
	copy(core[0x1f4:0x1fc], img.Core[0x1f4:0x1fc])
	if !bytes.Equal(core[:len(img.Core)], img.Core) {
		t.Error("core image changed in more than its block list")
	}
}

func TestSameInputsSameCore(t *testing.T) {
	t.Parallel()
	if a, b := images(t), images(t); !bytes.Equal(a.Core, b.Core) {
		t.Error("two core images from the same files differ")
	}
}

func TestRefusesOtherFiles(t *testing.T) {
	t.Parallel()
	img := images(t)
	for name, boot := range map[string][]byte{
		"empty": nil, "short": img.Boot[:511], "zeros": make([]byte, 512), "core image": img.Core[:512],
	} {
		if _, err := BootCode(boot, 1); !errors.Is(err, ErrImage) {
			t.Errorf("boot.img %s: %v", name, err)
		}
	}
	for name, core := range map[string][]byte{
		"empty": nil, "one sector": img.Core[:512], "cut": img.Core[:1024], "zeros": make([]byte, 4096),
	} {
		if _, err := Core(core, 1, 2048); !errors.Is(err, ErrImage) {
			t.Errorf("core image %s: %v", name, err)
		}
	}
	if _, err := Core(img.Core, 1, 100); !errors.Is(err, ErrImage) {
		t.Errorf("no room for the core image: %v", err)
	}
	if _, err := Make(t.Context(), t.TempDir(), 2, t.TempDir()); err == nil {
		t.Error("GRUB came out of an empty folder")
	}
}
