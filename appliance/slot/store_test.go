package slot

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

// esp is a folder that looks like the ESP of a fresh image.
func esp(t *testing.T) string {
	t.Helper()
	files, err := FactoryFiles(Factory("1.0"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// boot does what the loader of the firmware does and returns the slot it starts.
func boot(t *testing.T, dir string, fw Firmware) Name {
	t.Helper()
	s := Open(dir, fw)
	state, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	if fw == BIOS {
		next := state.Next()
		if state.Tries > 0 {
			state.Tries--
			if err := s.saveGrub(state); err != nil {
				t.Fatal(err)
			}
		}
		return next
	}
	return bootEntries(t, dir)
}

// bootEntries picks and renames an entry as systemd-boot does, from the file
// names and "version" lines alone.
func bootEntries(t *testing.T, dir string) Name {
	t.Helper()
	list, err := Open(dir, UEFI).readEntries()
	if err != nil || len(list) == 0 {
		t.Fatalf("%d entries, %v", len(list), err)
	}
	sort.SliceStable(list, func(i, j int) bool {
		if x, y := list[i].left == 0, list[j].left == 0; x != y {
			return y
		}
		return list[i].serial > list[j].serial
	})
	e := list[0]
	if e.left > 0 {
		old := filepath.Join(dir, EntriesPath, e.name())
		e.left, e.done = e.left-1, e.done+1
		if err := os.Rename(old, filepath.Join(dir, EntriesPath, e.name())); err != nil {
			t.Fatal(err)
		}
	}
	return e.slot
}

func forBothFirmwares(t *testing.T, f func(t *testing.T, fw Firmware)) {
	t.Helper()
	for _, fw := range []Firmware{BIOS, UEFI} {
		t.Run(fw.String(), func(t *testing.T) { t.Parallel(); f(t, fw) })
	}
}

func expect(t *testing.T, dir string, fw Firmware, want ...Name) {
	t.Helper()
	for i, n := range want {
		if got := boot(t, dir, fw); got != n {
			t.Fatalf("boot %d starts slot %q, want %q", i+1, got, n)
		}
	}
}

func TestFactoryBootsA(t *testing.T) {
	t.Parallel()
	forBothFirmwares(t, func(t *testing.T, fw Firmware) {
		dir := esp(t)
		expect(t, dir, fw, A, A, A)
		if err := Open(dir, fw).Commit(A); err != nil {
			t.Fatal(err)
		}
		expect(t, dir, fw, A, A)
	})
}

func TestFailedTrialReturns(t *testing.T) {
	t.Parallel()
	forBothFirmwares(t, func(t *testing.T, fw Firmware) {
		dir := esp(t)
		s := Open(dir, fw)
		if err := s.Try(B, 3, Image{Version: "2.0"}); err != nil {
			t.Fatal(err)
		}
		expect(t, dir, fw, B, B, B, A, A)
		if err := s.Commit(A); err != nil {
			t.Fatal(err)
		}
		state, err := s.Load()
		if err != nil || state.GivenUp(A) != B || state.GivenUp(B) != "" {
			t.Errorf("state %+v, %v", state, err)
		}
		// The other firmware must not begin the trial again.
		other := BIOS + UEFI - fw
		expect(t, dir, other, A, A)
		expect(t, dir, fw, A)
		// A later update has its tries again.
		if err := s.Try(B, 2, Image{Version: "2.1"}); err != nil {
			t.Fatal(err)
		}
		expect(t, dir, fw, B, B, A)
	})
}

func TestHealthyTrialIsCommitted(t *testing.T) {
	t.Parallel()
	forBothFirmwares(t, func(t *testing.T, fw Firmware) {
		dir := esp(t)
		s := Open(dir, fw)
		for round, n := range []Name{B, A, B, A, B, A, B, A, B, A, B} {
			if err := s.Try(n, 1+round%3, Image{Version: fmt.Sprintf("2.%d", round)}); err != nil {
				t.Fatal(err)
			}
			expect(t, dir, fw, n)
			if err := s.Commit(n); err != nil {
				t.Fatal(err)
			}
			expect(t, dir, fw, n, n, n, n)
			expect(t, dir, BIOS+UEFI-fw, n, n, n, n)
		}
		if files, _ := os.ReadDir(filepath.Join(dir, EntriesPath)); len(files) != 2 {
			t.Errorf("%d entries are left, want 2", len(files))
		}
	})
}

func TestGiveUpEndsTheTrial(t *testing.T) {
	t.Parallel()
	forBothFirmwares(t, func(t *testing.T, fw Firmware) {
		dir := esp(t)
		s := Open(dir, fw)
		if err := s.Try(B, 9, Image{Version: "2.0"}); err != nil {
			t.Fatal(err)
		}
		expect(t, dir, fw, B)
		if err := s.GiveUp(B); err != nil {
			t.Fatal(err)
		}
		expect(t, dir, fw, A, A)
	})
}

func TestCommitOfRunningSlotKeepsWaitingTrial(t *testing.T) {
	t.Parallel()
	forBothFirmwares(t, func(t *testing.T, fw Firmware) {
		dir := esp(t)
		s := Open(dir, fw)
		if err := s.Try(B, 2, Image{Version: "2.0"}); err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(A); err != nil {
			t.Fatal(err)
		}
		expect(t, dir, fw, B)
	})
}

// systemd-boot comes back when it cannot start a kernel, and the guard has it
// start the other slot; the trial must not begin again at every restart.
func TestCommitAfterUnstartableTrialEndsIt(t *testing.T) {
	t.Parallel()
	dir := esp(t)
	s := Open(dir, UEFI)
	if err := s.Try(B, 5, Image{Version: "2.0"}); err != nil {
		t.Fatal(err)
	}
	expect(t, dir, UEFI, B)
	if err := s.Commit(A); err != nil {
		t.Fatal(err)
	}
	expect(t, dir, UEFI, A, A)
	expect(t, dir, BIOS, A, A)
	state, err := s.Load()
	if err != nil || state.GivenUp(A) != B {
		t.Errorf("state %+v, %v", state, err)
	}
}

func TestTryRefusesTheCommittedSlot(t *testing.T) {
	t.Parallel()
	s := Open(esp(t), BIOS)
	for _, n := range []Name{A, "", "c"} {
		if err := s.Try(n, 1, Image{Version: "2.0"}); err == nil {
			t.Errorf("slot %q was put on trial", n)
		}
	}
	for _, tries := range []int{0, 10, -1} {
		if err := s.Try(B, tries, Image{Version: "2.0"}); err == nil {
			t.Errorf("%d tries were accepted", tries)
		}
	}
}

func TestSetRoots(t *testing.T) {
	t.Parallel()
	forBothFirmwares(t, func(t *testing.T, fw Firmware) {
		dir := esp(t)
		s := Open(dir, fw)
		if err := s.SetRoots("PARTUUID=aa", "PARTUUID=bb"); err != nil {
			t.Fatal(err)
		}
		if err := s.Try(B, 1, Image{Version: "2.0"}); err != nil {
			t.Fatal(err)
		}
		for _, f := range []Firmware{BIOS, UEFI} {
			state, err := Open(dir, f).Load()
			if err != nil || state.A.Root != "PARTUUID=aa" || state.B.Root != "PARTUUID=bb" {
				t.Errorf("%s: %+v, %v", f, state, err)
			}
		}
	})
}

func TestUnusableRecordIsReplacedFromTheOther(t *testing.T) {
	t.Parallel()
	dir := esp(t)
	if err := os.WriteFile(filepath.Join(dir, GrubEnvPath), []byte("rubbish"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Open(dir, BIOS).Commit(A); err != nil {
		t.Fatal(err)
	}
	expect(t, dir, BIOS, A)
	if err := os.RemoveAll(filepath.Join(dir, EntriesPath)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, EntriesPath), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Open(dir, UEFI).Commit(A); err != nil {
		t.Fatal(err)
	}
	expect(t, dir, UEFI, A)
}

func TestNothingReadable(t *testing.T) {
	t.Parallel()
	if _, err := Open(t.TempDir(), BIOS).Load(); err == nil {
		t.Error("an empty ESP has a state")
	}
}

func TestSaveTouchesNothingWhenNothingChanges(t *testing.T) {
	t.Parallel()
	forBothFirmwares(t, func(t *testing.T, fw Firmware) {
		dir := esp(t)
		before := snapshot(t, dir)
		if err := Open(dir, fw).Commit(A); err != nil {
			t.Fatal(err)
		}
		if after := snapshot(t, dir); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
	})
}

func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			fmt.Fprintf(&b, "%s %d\n", path, info.ModTime().UnixNano())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestEveryInterruptedSaveBoots stops a save after each of its steps by
// replaying the directory states that a power cut can leave.
func TestEveryInterruptedSaveBoots(t *testing.T) {
	t.Parallel()
	dir := esp(t)
	s := Open(dir, UEFI)
	if err := s.Try(B, 3, Image{Version: "2.0"}); err != nil {
		t.Fatal(err)
	}
	expect(t, dir, UEFI, B)
	left, err := os.ReadFile(filepath.Join(dir, EntriesPath, "ringfence-b+2-1.conf"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(B); err != nil {
		t.Fatal(err)
	}
	// The cut came before the counted entry was removed.
	if err := os.WriteFile(filepath.Join(dir, EntriesPath, "ringfence-b+2-1.conf"), left, 0o644); err != nil {
		t.Fatal(err)
	}
	state, err := s.Load()
	if err != nil || state.Committed != B || state.Trial != "" {
		t.Errorf("state %+v, %v", state, err)
	}
	expect(t, dir, UEFI, B, B, B, B)
	if err := s.Commit(B); err != nil {
		t.Fatal(err)
	}
	if files, _ := os.ReadDir(filepath.Join(dir, EntriesPath)); len(files) != 2 {
		t.Errorf("%d entries are left, want 2", len(files))
	}
}

func FuzzDecodeGrubEnv(f *testing.F) {
	if data, err := EncodeGrubEnv(Factory("1.0")); err == nil {
		f.Add(data)
	}
	f.Add([]byte(grubEnvHeader))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := DecodeGrubEnv(data)
		if err != nil {
			return
		}
		again, err := EncodeGrubEnv(s)
		if err != nil {
			t.Fatalf("%+v cannot be written: %v", s, err)
		}
		if back, err := DecodeGrubEnv(again); err != nil || back != s {
			t.Fatalf("%+v comes back as %+v, %v", s, back, err)
		}
	})
}

func FuzzParseEntry(f *testing.F) {
	e := entry{slot: B, left: 2, done: 1, serial: 7, image: Image{Version: "1", Root: "PARTLABEL=x"}}
	f.Add(e.name(), e.content())
	f.Add("ringfence-a.conf", "title Ringfence 1 (slot a)\nversion 1\noptions root=PARTUUID=1\n")
	f.Fuzz(func(t *testing.T, name, content string) {
		e, ok := parseEntry(name, content)
		if !ok {
			return
		}
		back, ok := parseEntry(e.name(), e.content())
		if !ok || back != e {
			t.Fatalf("%+v comes back as %+v, %v", e, back, ok)
		}
	})
}
