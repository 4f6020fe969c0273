package firewall

import (
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func newTrial(t testing.TB, dir string, enact func(string) error) *trial[string] {
	t.Helper()
	return &trial[string]{files: files[string]{dir, "word"}, log: quiet(), enact: enact, revise: func(s string) uint64 { return uint64(len(s)) }}
}

func TestTrial(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var now string
		tr := newTrial(t, dir, func(s string) error { now = s; return nil })
		must(t, tr.start("standard"))
		if now != "standard" || tr.state().found {
			t.Errorf("started with %q", now)
		}

		must(t, tr.apply("one", 0))
		must(t, tr.apply("second", time.Minute))
		if now != "second" || tr.state().until.IsZero() {
			t.Errorf("after apply: %q", now)
		}
		time.Sleep(59 * time.Second)
		if now != "second" {
			t.Error("taken back too early")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if s := tr.state(); now != "one" || s.reverted == nil || s.reverted.Rev != uint64(len("second")) || !s.until.IsZero() {
			t.Errorf("after the window: %q, %+v", now, s)
		}

		must(t, tr.apply("third", time.Minute))
		wantErr(t, tr.confirm(99), ErrRefused)
		must(t, tr.confirm(5))
		wantErr(t, tr.confirm(5), ErrRefused)
		time.Sleep(time.Hour)
		synctest.Wait()
		if now != "third" {
			t.Errorf("a confirmed change was taken back to %q", now)
		}

		// A change that replaces a waiting one returns to the confirmed value,
		// and the first window is over.
		must(t, tr.apply("fourth", time.Minute))
		time.Sleep(50 * time.Second)
		must(t, tr.apply("fifth!", time.Minute))
		time.Sleep(50 * time.Second)
		if now != "fifth!" {
			t.Errorf("the first window took back the second change: %q", now)
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if now != "third" {
			t.Errorf("after the second window: %q", now)
		}
		wantErr(t, tr.apply("x", -1), ErrRefused)
		wantErr(t, tr.apply("x", MaxConfirm+1), ErrRefused)
		tr.stop()
	})
}

func TestTrialAcrossRestarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var now string
	boot := func() *trial[string] {
		tr := newTrial(t, dir, func(s string) error { now = s; return nil })
		must(t, tr.start("standard"))
		return tr
	}
	must(t, boot().apply("confirmed", 0))
	if boot(); now != "confirmed" {
		t.Errorf("after a restart: %q", now)
	}
	must(t, boot().apply("never confirmed", time.Minute)) // and the power goes
	tr := boot()
	if s := tr.state(); now != "confirmed" || s.reverted == nil || s.reverted.Rev != uint64(len("never confirmed")) {
		t.Errorf("after a power cut inside the window: %q, %+v", now, s.reverted)
	}
	wantErr(t, tr.confirm(uint64(len("never confirmed"))), ErrRefused)
	if tr = boot(); tr.state().reverted != nil {
		t.Error("the change was taken back twice")
	}
	for _, e := range dirNames(t, dir) {
		if e != "word.confirmed.json" {
			t.Errorf("%s is left over", e)
		}
	}
}

func dirNames(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// Whatever a damaged disk makes of the file, the fence starts, with the
// standard setting, and says so.
func TestTrialWithDamagedFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var now string
	enact := func(s string) error { now = s; return nil }
	must(t, newTrial(t, dir, enact).apply("wanted", 0))
	path := newTrial(t, dir, enact).confirmedPath()
	whole, err := os.ReadFile(path)
	must(t, err)
	for i := range whole {
		bent := append([]byte(nil), whole...)
		bent[i] ^= 1
		must(t, os.WriteFile(path, bent, 0o600))
		tr := newTrial(t, dir, enact)
		must(t, tr.start("standard"))
		if now != "wanted" && (now != "standard" || tr.state().fault == "") {
			t.Fatalf("byte %d bent: %q in effect, fault %q", i, now, tr.state().fault)
		}
		if now == "standard" {
			if kept, err := os.ReadFile(tr.damagedPath()); err != nil || string(kept) != string(bent) {
				t.Fatalf("byte %d bent: the damaged file was not kept: %v", i, err)
			}
		}
	}
	for n := range whole {
		must(t, os.WriteFile(path, whole[:n], 0o600))
		must(t, newTrial(t, dir, enact).start("standard"))
		if now != "standard" {
			t.Fatalf("cut to %d bytes: %q in effect", n, now)
		}
	}
}

func TestTrialWhenEnactingFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var now string
		var fail error
		enact := func(s string) error {
			if fail != nil {
				return fail
			}
			now = s
			return nil
		}
		tr := newTrial(t, dir, enact)
		must(t, tr.start("standard"))
		must(t, tr.apply("good", 0))
		fail = errors.New("no room")
		wantErr(t, tr.apply("bad", 0), fail)
		if now != "good" {
			t.Errorf("%q in effect", now)
		}

		// A failed change leaves the one that waits alone, on disk too.
		fail = nil
		must(t, tr.apply("waits", time.Minute))
		fail = errors.New("no room")
		wantErr(t, tr.apply("bad", 0), fail)
		fail = nil
		must(t, tr.confirm(5))
		other := newTrial(t, dir, enact)
		must(t, other.start("standard"))
		if now != "waits" {
			t.Errorf("after a restart: %q", now)
		}

		// Taking back is tried until it works.
		must(t, tr.apply("second", time.Minute))
		fail = errors.New("no room")
		time.Sleep(63 * time.Second)
		synctest.Wait()
		if tr.state().fault == "" || now != "second" {
			t.Errorf("%q in effect, fault %q", now, tr.state().fault)
		}
		fail = nil
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if now != "waits" {
			t.Errorf("%q in effect", now)
		}

		// A confirmed value that no longer works does not stop the start.
		fail = nil
		bad := newTrial(t, dir, func(s string) error {
			if s == "waits" {
				return errors.New("unknown service")
			}
			now = s
			return nil
		})
		must(t, bad.start("standard"))
		if now != "standard" || bad.state().fault == "" {
			t.Errorf("%q in effect, fault %q", now, bad.state().fault)
		}
	})
}
