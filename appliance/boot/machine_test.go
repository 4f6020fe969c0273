package boot

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/appliance/disk"
)

func TestJournal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var shown []string
	j := NewJournal(func(l string) { shown = append(shown, l) })
	j.limit = 10_000
	j.Line("pbxd", "before the disk was there \x1b[2J")
	if err := j.OpenFile(dir); err != nil {
		t.Fatal(err)
	}
	j.Quieten()
	shown = nil
	j.Line("pbxd", `time=2026-01-01T00:00:00Z level=INFO msg="nothing special"`)
	j.Line("pbxd", `time=2026-01-01T00:00:00Z level=ERROR msg="disk full"`)
	j.Line("pbxd", "panic: oh no")
	j.Line("pbxd", "")
	if want := []string{`pbxd: level=ERROR msg="disk full"`, "pbxd: panic: oh no"}; !slices.Equal(shown, want) {
		t.Errorf("shown %q", shown)
	}
	slog.New(slog.NewTextHandler(j, nil)).Warn("two\nlines")
	for range 300 {
		j.Line("pbxd", "level=WARN "+strings.Repeat("x", 89))
	}
	if len(shown) > consoleBurst+3 {
		t.Errorf("%d lines of a flood were shown", len(shown))
	}
	j.Close(5 * time.Second)
	files := map[string]int64{}
	list, _ := os.ReadDir(dir)
	for _, e := range list {
		info, _ := e.Info()
		files[e.Name()] = info.Size()
	}
	if len(files) != 2 || files[LogFile] > 10_000 || files[LogFile+".1"] > 10_000 || files[LogFile+".1"] < 9_000 {
		t.Errorf("files %v", files)
	}
	if n := len(j.Recent()); n != 305 {
		t.Errorf("%d lines in memory", n)
	}
	for range journalRing {
		j.Line("x", "y")
	}
	if n := len(j.Recent()); n != journalRing {
		t.Errorf("%d lines in memory", n)
	}
}

// TestJournalStartsWithTheEarlyLines and keeps control characters out.
func TestJournalStartsWithTheEarlyLines(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := NewJournal(func(string) {})
	j.Line("init", "early\x1b]0;x\x07")
	if err := j.OpenFile(dir); err != nil {
		t.Fatal(err)
	}
	j.Line("pbxd", "late")
	j.Close(5 * time.Second)
	text, err := os.ReadFile(filepath.Join(dir, LogFile))
	if err != nil || !strings.Contains(string(text), "Z init: early ]0;x\n") || !strings.Contains(string(text), "Z pbxd: late\n") {
		t.Errorf("%q, %v", text, err)
	}
}

func TestKeepAlive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var open atomic.Bool
		var pings atomic.Int64
		open.Store(true)
		stop := make(chan struct{})
		done := make(chan struct{})
		go func() {
			keepAlive(func() { pings.Add(1) }, 10*time.Second, open.Load, stop)
			close(done)
		}()
		time.Sleep(95 * time.Second)
		synctest.Wait()
		open.Store(false)
		if pings.Load() != 10 {
			t.Errorf("%d pings", pings.Load())
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if pings.Load() != 10 {
			t.Errorf("%d pings through a closed gate", pings.Load())
		}
		close(stop)
		<-done
	})
}

func TestPowerButton(t *testing.T) {
	t.Parallel()
	for bitmap, want := range map[string]bool{"10000000000000 0": true, "0": false, "": false, "ffffffffffffffff": false, "100000 0 0": false, "x 0": false} {
		if got := hasBit(bitmap, keyPower); got != want {
			t.Errorf("%q: %v", bitmap, got)
		}
	}
	event := func(kind, code uint16, value uint32) []byte {
		e := make([]byte, inputEvent)
		e[16], e[18], e[19], e[20] = byte(kind), byte(code), byte(code>>8), byte(value)
		return e
	}
	var in bytes.Buffer
	for _, e := range [][]byte{event(0, 0, 0), event(1, 30, 1), event(1, keyPower, 0), event(1, keyPower, 1), event(1, keyPower, 2), {1, 2, 3}} {
		in.Write(e)
	}
	pressed := 0
	readPowerButton(&in, func() { pressed++ })
	if pressed != 1 {
		t.Errorf("pressed %d times", pressed)
	}
}

func TestFixClock(t *testing.T) {
	t.Parallel()
	p := Paths{t.TempDir()}
	if err := os.MkdirAll(p.Keeper(""), 0o755); err != nil {
		t.Fatal(err)
	}
	never := func(time.Time) error { t.Error("the clock was set"); return nil }
	if moved, err := p.fixClock(never); moved || err != nil {
		t.Errorf("a good clock: %v, %v", moved, err)
	}
	if err := p.noteClock(); err != nil {
		t.Fatal(err)
	}
	future := time.Now().Add(48 * time.Hour).Truncate(time.Second)
	if err := os.Chtimes(p.Keeper(ClockFile), future, future); err != nil {
		t.Fatal(err)
	}
	var to time.Time
	if moved, err := p.fixClock(func(t time.Time) error { to = t; return nil }); !moved || err != nil || !to.Equal(future) {
		t.Errorf("a clock that is behind: %v, %v, %s", moved, err, to)
	}
}

func TestExt4Superblock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "fs")
	tool := "/usr/sbin/mke2fs"
	if _, err := os.Stat(tool); err != nil {
		t.Skip("mke2fs is not installed")
	}
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 64<<20)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(tool, "-q", "-F", "-t", "ext4", "-b", "4096", path).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if count, size, err := ext4Blocks(path); err != nil || count != 64<<20/4096 || size != 4096 {
		t.Errorf("%d blocks of %d, %v", count, size, err)
	}
	sb := make([]byte, 1024)
	if _, _, err := parseSuperblock(sb); err == nil {
		t.Error("zeros are a superblock")
	}
	sb[0x38], sb[0x39], sb[0x18], sb[4], sb[0x150] = 0x53, 0xef, 2, 7, 1
	if count, _, _ := parseSuperblock(sb); count != 7 {
		t.Errorf("32 bits: %d", count)
	}
	sb[0x60] = 0x80
	if count, size, _ := parseSuperblock(sb); count != 1<<32+7 || size != 4096 {
		t.Errorf("64 bits: %d of %d", count, size)
	}
	sb[0x18] = 200
	if _, _, err := parseSuperblock(sb); err == nil {
		t.Error("an impossible block size was accepted")
	}
}

// TestFindDisk plays a machine's /sys and /dev.
func TestFindDisk(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	p := Paths{root}
	mk := func(path, text string) {
		t.Helper()
		full := filepath.Join(root, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	mk("sys/block/sr0/x", "")
	mk("sys/class/block/sr0/size", "0\n")
	mk("sys/block/vda/x", "")
	mk("sys/class/block/vda/size", fmt.Sprint(disk.MinSize/512, "\n"))
	for n := 1; n <= 5; n++ {
		mk(fmt.Sprintf("sys/class/block/vda/vda%d/partition", n), fmt.Sprint(n, "\n"))
	}
	mk("dev/vda", "")
	if _, err := p.findDisk(); err == nil {
		t.Error("found a disk without a table")
	}
	table, err := disk.Layout(disk.MinSize)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(root, "dev/vda"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := errors.Join(f.Truncate(disk.MinSize), table.Write(f)); err != nil {
		t.Fatal(err)
	}
	d, err := p.findDisk()
	if err != nil || d.name != "vda" || d.size != disk.MinSize || d.parts[disk.Perm] != "vda5" {
		t.Errorf("got %+v, %v", d, err)
	}
	if dev, err := p.partition(d, disk.ESP); err != nil || dev != p.dev("vda2") {
		t.Errorf("%s, %v", dev, err)
	}
	if _, err := p.partition(d, 9); err == nil {
		t.Error("a partition that is not there was found")
	}
	if !d.owns("vda") || !d.owns("vda5") || d.owns("vdb") {
		t.Error("owns is wrong")
	}
}

func TestServicesHoldTheContract(t *testing.T) {
	t.Parallel()
	for _, s := range (Paths{"/"}).services() {
		if s.Name != ServiceKeeper && s.UID == 0 {
			t.Errorf("%s runs as root", s.Name)
		}
		if s.Name == ServicePBX && (len(s.Ambient) > 0 || len(s.Bounding) > 0) {
			t.Errorf("%s has capabilities", s.Name)
		}
		if s.GID != GroupRingfence || s.Watchdog == 0 || !strings.HasPrefix(s.Path, Programs) {
			t.Errorf("%+v", s)
		}
		for _, e := range s.Env {
			if strings.HasPrefix(e, "PATH=/") && e != "PATH=/nonexistent" {
				t.Errorf("%s could start other programs: %s", s.Name, e)
			}
		}
	}
}
