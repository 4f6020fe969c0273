package install

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/appliance/disk"
	"ringfence/appliance/flash"
)

// screen keeps what was shown, and types the next answer at each prompt.
type screen struct {
	mu      sync.Mutex
	text    strings.Builder
	answers []string
	lines   chan string
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(p)
	asks := bytes.HasSuffix(p, []byte("\n> ")) || bytes.Contains(p, []byte("press Enter"))
	if asks && len(s.answers) > 0 {
		answer := s.answers[0]
		s.answers = s.answers[1:]
		go func() { s.lines <- answer }()
	}
	return len(p), nil
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

const size = 8 << 20

// machine has the stick it was started from (sda), an NVMe disk with something
// on it, a small disk and one that is part of a volume.
func machine(t *testing.T) (flash.Host, []byte) {
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
	for name, attributes := range map[string]map[string]string{
		"sda":     {"size": "40000", "dev": "8:0", "device/model": "Stick", "removable": "1", "sda3/partition": "3", "sda3/dev": "8:3"},
		"nvme0n1": {"size": "65536", "dev": "259:0", "device/model": "Target"},
		"sdb":     {"size": "64", "dev": "8:16", "device/model": "Small"},
		"sdc":     {"size": "65536", "dev": "8:32", "device/model": "Raid", "holders/md0": "x"},
	} {
		for file, text := range attributes {
			put("sys/block/"+name+"/"+file, []byte(text+"\n"))
		}
	}
	put("proc/self/mountinfo", []byte("22 1 8:3 / / ro - squashfs /dev/root ro\n"))
	image := make([]byte, 40000*512)
	copy(image[5<<20:], "the system")
	table := disk.Table{Disk: disk.DeriveGUID("d"), Sectors: size / 512, Parts: []disk.Partition{
		{Number: disk.Perm, Type: disk.DeriveGUID("t"), ID: disk.DeriveGUID("i"), Name: disk.PermName, First: 2048, Last: 4095},
	}}
	put("dev/sda", image)
	f, err := os.OpenFile(filepath.Join(root, "dev/sda"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(table.Write(f), f.Close()); err != nil {
		t.Fatal(err)
	}
	if image, err = os.ReadFile(filepath.Join(root, "dev/sda")); err != nil {
		t.Fatal(err)
	}
	for name, sectors := range map[string]int{"nvme0n1": 65536, "sdb": 64, "sdc": 65536} {
		put("dev/"+name, bytes.Repeat([]byte{'o'}, sectors*512))
	}
	return flash.Host{Root: root}, image
}

func talk(t *testing.T, h flash.Host, open func(string) (flash.Target, error), answers ...string) (Choice, string, bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s := &screen{answers: answers, lines: make(chan string)}
	stayed := false
	choice := Run(ctx, Options{Product: "Ringfence 1", Host: h, Stick: "sda", Size: size, Out: s, Lines: s.lines, Open: open, Stay: func() { stayed = true }})
	return choice, s.String(), stayed
}

func content(t *testing.T, h flash.Host, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(h.Root, "dev", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Nothing but the right answers writes anything, and never the stick, by
// whatever name it is asked for.
func TestInstallsOnTheChosenDiskOnly(t *testing.T) {
	t.Parallel()
	h, image := machine(t)
	before := map[string][]byte{}
	for _, name := range []string{"nvme0n1", "sdb", "sdc"} {
		before[name] = content(t, h, name)
	}
	choice, text, _ := talk(t, h, nil, "sda", "/dev/sda", "0", "4", "-1", "99999999999999999999", "sdb", "sdc", "2", "3", "", "yes", "1", "yes", "nvme0n1", "", "off")
	if choice != PowerOff {
		t.Errorf("choice %d\n%s", choice, text)
	}
	for _, want := range []string{
		"sda is what this machine was started from: it is never written to", "sdb cannot be used: too small", "sdc cannot be used: part of md0",
		`"4" is none of these disks`, "Nothing was written.", "This machine was started from sda (removable, 20.5 MB, Stick). Nothing on it is changed.",
		"  1  nvme0n1       33.6 MB  fixed      Target\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not said", want)
		}
	}
	for name, was := range before {
		if !bytes.Equal(content(t, h, name), was) {
			t.Errorf("%s was changed", name)
		}
	}
	if !bytes.Equal(content(t, h, "sda"), image) {
		t.Fatal("the stick was changed")
	}
	if t.Failed() {
		t.Log(text)
	}

	choice, text, stayed := talk(t, h, nil, "1", "nvme0n1", "")
	if choice != Restart || !stayed || !strings.Contains(text, "read back and is right") || !strings.Contains(text, "Remove the stick") {
		t.Errorf("choice %d, stayed %t\n%s", choice, stayed, text)
	}
	if got := content(t, h, "nvme0n1"); !bytes.Equal(got[:size], image[:size]) || bytes.Contains(got[size:], []byte("the system")) {
		t.Error("the disk does not hold the image")
	}
	if !bytes.Equal(content(t, h, "sda"), image) || !bytes.Equal(content(t, h, "sdc"), before["sdc"]) {
		t.Error("another disk was changed")
	}
}

// liar is a disk that returns something else than was written.
type liar struct{ flash.Target }

func (l liar) ReadAt(p []byte, at int64) (int, error) {
	n, err := l.Target.ReadAt(p, at)
	p[0] ^= 1
	return n, err
}

// A disk that fails is said to be useless, and another can be taken.
func TestDiskThatDoesNotKeepWhatWasWritten(t *testing.T) {
	t.Parallel()
	h, _ := machine(t)
	open := func(path string) (flash.Target, error) {
		d, err := flash.OpenDevice(path)
		return liar{d}, err
	}
	choice, text, _ := talk(t, h, open, "nvme0n1", "nvme0n1", "off")
	if choice != PowerOff || !strings.Contains(text, "THIS DID NOT WORK: the disk does not hold what was written to it") {
		t.Errorf("choice %d\n%s", choice, text)
	}
	busy := func(string) (flash.Target, error) { return nil, errors.New("in use") }
	if choice, text, _ = talk(t, h, busy, "nvme0n1", "nvme0n1", "run"); choice != RunHere || !strings.Contains(text, "THIS DID NOT WORK: in use") {
		t.Errorf("choice %d\n%s", choice, text)
	}
}

// A disk that was swapped between the list and the confirmation is not written.
func TestDiskThatBecameAnother(t *testing.T) {
	t.Parallel()
	h, _ := machine(t)
	before := content(t, h, "nvme0n1")
	d := &dialog{ctx: t.Context(), Options: Options{Host: h, Stick: "sda", Size: size, Out: &screen{}, Open: flash.OpenDevice}}
	if err := d.show(); err != nil {
		t.Fatal(err)
	}
	chosen, err := d.find("1")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.Root, "sys/block/nvme0n1/device/model"), []byte("Another\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := d.install(chosen); err == nil || !bytes.Equal(before, content(t, h, "nvme0n1")) {
		t.Errorf("%v", err)
	}
	stick := flash.Disk{Name: "sda", Size: 40000 * 512, Model: "Stick"}
	if err := d.install(stick); err == nil {
		t.Error("the stick was written to")
	}
}

// Pulling the stick out restarts; the machine's end ends the dialog.
func TestStickIsPulledOut(t *testing.T) {
	t.Parallel()
	h, _ := machine(t)
	synctest.Test(t, func(t *testing.T) {
		d := &dialog{ctx: t.Context(), Options: Options{Host: h, Stick: "sda", Out: &screen{}}}
		ended := make(chan bool, 1)
		go func() { ended <- d.farewell(flash.Disk{Name: "nvme0n1"}) }()
		time.Sleep(time.Hour)
		select {
		case <-ended:
			t.Fatal("restarted with the stick in")
		default:
		}
		if err := os.RemoveAll(filepath.Join(h.Root, "sys/block/sda")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if !<-ended {
			t.Error("no restart")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if choice := Run(ctx, Options{Host: h, Stick: "sda", Out: &screen{}}); choice != Interrupted {
			t.Errorf("choice %d", choice)
		}
	})
}
