package powercut

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The log is made by QEMU itself, through qemu-io, so that the format is
// QEMU's and not our idea of it.
func TestCutKeepsWhatWasFlushed(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("qemu-io"); err != nil {
		t.Skip("needs qemu-io of package qemu-utils")
	}
	dir := t.TempDir()
	base, log := filepath.Join(dir, "base"), filepath.Join(dir, "log")
	for _, f := range []string{base, log} {
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate(base, 1<<20); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("qemu-io", "-c", "write -P 1 0 4k", "-c", "flush", "-c", "write -P 2 4k 4k", "-c", "write -P 3 8k 4k", "--image-opts",
		"driver=blklogwrites,file.driver=file,file.filename="+base+",log.driver=file,log.filename="+log+",log-sector-size=512")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	l, err := Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if len(l.Entries) < 4 || !l.Entries[1].Durable() {
		t.Fatalf("entries %+v", l.Entries)
	}
	missing := 0
	for seed := range uint64(32) {
		disk := filepath.Join(dir, "disk")
		if err := os.WriteFile(disk, make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := l.Cut(disk, 4, rand.New(rand.NewPCG(seed, 0))); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(disk)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got[:4096], bytes.Repeat([]byte{1}, 4096)) {
			t.Fatal("a flushed write is gone")
		}
		if got[4096] == 0 || got[8192] == 0 {
			missing++
		}
	}
	if missing == 0 || missing == 32 {
		t.Errorf("%d of 32 cuts lost an unflushed write; a cut should sometimes", missing)
	}
}
