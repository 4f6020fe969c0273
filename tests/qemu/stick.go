package qemu

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ringfence/appliance/disk"
	"ringfence/appliance/qemu"
)

// WithStick hangs an image on USB and starts from it, as long as it is there.
func WithStick(path string) Option {
	return func(o *options) {
		o.args = append(o.args, "-device", "qemu-xhci,id=xhci",
			"-drive", "if=none,id=stick,format=raw,file="+path, "-device", "usb-storage,id=stick,bus=xhci.0,drive=stick,removable=on,bootindex=0")
	}
}

// InstallsFromStick starts a machine from a stick beside a disk that already
// has a system, installs on that disk over the serial line, pulls the stick out
// and boots what was installed.
func InstallsFromStick(t *testing.T, fw qemu.Firmware) {
	raw, _ := Image(t)
	dir := folder(t)
	stick, target := filepath.Join(dir, "stick.raw"), filepath.Join(dir, "target.raw")
	run(t, "cp", "--sparse=always", raw, stick)
	olderSystem(t, raw, target)
	before := hashOf(t, stick, 0)
	vm := Start(t, Disk(target), WithStick(stick), Firmware(fw))
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	mark := 0
	expect := func(pattern, answer string) {
		t.Helper()
		if _, err := vm.Console.WaitAfter(ctx, mark, pattern); err != nil {
			t.Fatal(err)
		}
		mark = vm.Console.Mark()
		if err := vm.Type(answer); err != nil {
			t.Fatal(err)
		}
	}
	expect(`started from sda \(USB, .*\)\. Nothing on it is changed(?s:.*)1  vda .*(?s:.*)Enter to look for disks again\.\r?\n> `, "sda\n")
	expect(`sda is what this machine was started from: it is never written to(?s:.*)again\.\r?\n> `, "vda\n")
	expect(`EVERYTHING ON vda (?s:.*)\n> `, "yes\n")
	expect(`Nothing was written(?s:.*)again\.\r?\n> `, "1\n")
	expect(`Type its name, vda, (?s:.*)\n> `, "vda\n")
	begin := time.Now()
	expect(`100 % reading back(?s:.*)Remove the stick`, "")
	t.Logf("written and read back in %.1f s, %.1f s after power-on", time.Since(begin).Seconds(), time.Since(vm.Started).Seconds())
	if _, err := vm.QMP("device_del", map[string]string{"id": "stick"}); err != nil {
		t.Fatal(err)
	}
	vm.WaitReady(mark)
	if _, err := vm.Console.WaitAfter(ctx, mark, `msg="new machine" id=`); err != nil {
		t.Error(err)
	}
	vm.PowerOff()
	if hashOf(t, stick, 0) != before {
		t.Error("the stick was changed")
	}
	table := tableOf(t, target)
	if perm, _ := table.Part(disk.Perm); table.Fresh() || perm.Size() < 2<<30 {
		t.Errorf("the installed system has no identifiers of its own, or did not grow: %+v", table)
	}
	if want, got := hashOf(t, raw, disk.RootA), hashOf(t, target, disk.RootA); want != got {
		t.Error("the root on the disk is not the image's")
	}
}

// olderSystem makes a disk of 4 GiB with a system of ours that ran: the labels
// are the image's, the GUIDs its own; its root is rubbish, so that nothing
// starts from it by mistake.
func olderSystem(t *testing.T, raw, path string) {
	t.Helper()
	run(t, "cp", "--sparse=always", raw, path)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	const size = 4 << 30
	table := tableOf(t, path)
	root, _ := table.Part(disk.RootA)
	_, werr := f.WriteAt(bytes.Repeat([]byte("old "), 1<<20), root.Offset())
	_, gerr := table.Grow(size)
	if err := errors.Join(werr, gerr, table.Renew(rand.Reader), f.Truncate(size), table.Write(f), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func tableOf(t *testing.T, path string) *disk.Table {
	t.Helper()
	f, err := os.Open(path)
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
	return table
}

// hashOf is the sum of one partition of an image, or of all of it.
func hashOf(t *testing.T, path string, part int) [sha256.Size]byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r io.Reader = f
	if p, found := tableOf(t, path).Part(part); found {
		r = io.NewSectionReader(f, p.Offset(), p.Size())
	}
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		t.Fatal(err)
	}
	return [sha256.Size]byte(h.Sum(nil))
}
