package qemu

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"ringfence/appliance/qemu"
)

// built is the image under test; its zero value builds at first use.
type built struct {
	once  sync.Once
	raw   string
	accel string
	err   error
}

var image built

// Image returns the raw disk image under test and how QEMU runs here.
func Image(t testing.TB) (raw, accel string) {
	t.Helper()
	for _, tool := range []string{"qemu-system-x86_64", "qemu-img"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed (make deps)", tool)
		}
	}
	image.once.Do(image.build)
	if image.err != nil {
		t.Fatal(image.err)
	}
	return image.raw, image.accel
}

func (b *built) build() {
	b.raw = os.Getenv("RINGFENCE_IMAGE")
	root, err := Root()
	if err != nil {
		b.err = err
		return
	}
	if b.raw == "" {
		out := filepath.Join(root, "out")
		ctx, cancel := context.WithTimeout(context.Background(), 25*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "go", "run", "./cmd/mkimage", "build", "-o", out, "-format", "raw")
		cmd.Dir = root
		if text, err := cmd.CombinedOutput(); err != nil {
			b.err = fmt.Errorf("building the image: %w\n%s", err, text)
			return
		}
		b.raw = filepath.Join(out, "ringfence.raw")
	}
	if _, err := os.Stat(b.raw); err != nil {
		b.err = err
		return
	}
	b.accel = qemu.Accelerator(context.Background(), filepath.Join(filepath.Dir(b.raw), "vmlinuz"))
}

// Root is the folder of the module, found from that of the running test.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("no go.mod above %s", dir)
		}
	}
}
