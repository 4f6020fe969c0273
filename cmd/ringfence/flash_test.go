package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ringfence/appliance/disk"
	"ringfence/appliance/flash"
)

// bench is a machine in a folder with two disks, which are files: sda, which
// the system runs from, and sdb, a free stick.
func bench(t *testing.T) (flash.Host, string) {
	t.Helper()
	root := t.TempDir()
	put := func(name string, text []byte) {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, number := range map[string]string{"sda": "8:0", "sdb": "8:16"} {
		for file, text := range map[string]string{"size": "32768", "dev": number, "device/model": "Disk " + name, "removable": "1"} {
			put("sys/block/"+name+"/"+file, []byte(text+"\n"))
		}
		put("dev/"+name, bytes.Repeat([]byte("old!"), 4<<20))
	}
	put("proc/self/mountinfo", []byte("22 1 8:0 / / rw - ext4 /dev/sda rw\n"))
	image := make([]byte, 8<<20)
	copy(image[5<<20:], "what is on it")
	table := disk.Table{Disk: disk.DeriveGUID("d"), Sectors: 8 << 11, Parts: []disk.Partition{
		{Number: disk.Perm, Type: disk.DeriveGUID("t"), ID: disk.DeriveGUID("i"), Name: disk.PermName, First: 2048, Last: 4095},
	}}
	put("image/x.raw", image)
	f, err := os.OpenFile(filepath.Join(root, "image/x.raw"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(table.Write(f), f.Close()); err != nil {
		t.Fatal(err)
	}
	return flash.Host{Root: root}, filepath.Join(root, "image/x.raw")
}

func disksOf(t *testing.T, h flash.Host) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, name := range []string{"sda", "sdb"} {
		data, err := os.ReadFile(filepath.Join(h.Root, "dev", name))
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(data)
	}
	return all
}

// Whatever is refused writes nothing at all; what is not, writes the one disk.
func TestFlash(t *testing.T) {
	t.Parallel()
	h, image := bench(t)
	dev := func(name string) string { return filepath.Join(h.Root, "dev", name) }
	before := disksOf(t, h)
	for _, c := range []struct {
		args  []string
		typed string
		says  string // part of error or output
	}{
		{nil, "", "DISK"},
		{[]string{image}, "", "say which disk"},
		{[]string{image, "sda"}, "sda\n", "this system runs from it"},
		{[]string{"-yes", image, dev("sda")}, "", "this system runs from it"},
		{[]string{image, "sdc"}, "sdc\n", "is not one of the disks"},
		{[]string{image, image}, "", "is not one of the disks"},
		{[]string{image, "sdb"}, "", "nothing was written"},
		{[]string{image, "sdb"}, "yes\n", "nothing was written"},
		{[]string{image, "sdb"}, "sda\n", "nothing was written"},
		{[]string{dev("sda"), "sdb"}, "sdb\n", "is not a raw disk image"},
		{[]string{image, "sdb", "x"}, "", "unexpected argument"},
	} {
		var out strings.Builder
		err := flashing{h, strings.NewReader(c.typed), &out}.run(t.Context(), c.args)
		text := out.String()
		if err != nil {
			text += err.Error()
		}
		if !strings.Contains(text, c.says) || (err == nil) != (len(c.args) == 0) {
			t.Errorf("%q typing %q: %v\n%s", c.args, c.typed, err, text)
		}
	}
	if after := disksOf(t, h); after["sda"] != before["sda"] || after["sdb"] != before["sdb"] {
		t.Fatal("a refusal changed a disk")
	}
	var out strings.Builder
	if err := (flashing{h, strings.NewReader("sdb\n"), &out}).run(t.Context(), []string{image, dev("sdb")}); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	want, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	after := disksOf(t, h)
	if after["sda"] != before["sda"] || !strings.HasPrefix(after["sdb"], string(want)) {
		t.Error("the disks are not what they should be")
	}
	for _, says := range []string{"100 % writing", "100 % reading back", "Type sdb to go on", "Boot a machine from it", "offers to install"} {
		if !strings.Contains(out.String(), says) {
			t.Errorf("%q is not said:\n%s", says, out.String())
		}
	}
}

// A damaged image is found before anything is written.
func TestFlashRefusesADamagedImage(t *testing.T) {
	t.Parallel()
	h, image := bench(t)
	if err := os.WriteFile(filepath.Join(filepath.Dir(image), "SHA256SUMS"), []byte(strings.Repeat("0", 64)+"  x.raw\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	before := disksOf(t, h)
	var out strings.Builder
	err := flashing{h, strings.NewReader("sdb\n"), &out}.run(t.Context(), []string{image, "sdb"})
	if err == nil || !strings.Contains(err.Error(), "is damaged") || disksOf(t, h)["sdb"] != before["sdb"] {
		t.Errorf("%v\n%s", err, out.String())
	}
}
