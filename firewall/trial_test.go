package firewall

import (
	"errors"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// effect is what a trial put into effect last; a timer may do so beside the
// test.
type effect struct {
	mu   sync.Mutex
	word string
	fail error
}

func (e *effect) enact(s string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fail == nil {
		e.word = s
	}
	return e.fail
}

func (e *effect) now() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.word
}

func (e *effect) failWith(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fail = err
}

func newTrial(t testing.TB, dir string, enact func(string) error) *trial[string] {
	t.Helper()
	return &trial[string]{files: files[string]{dir, "word"}, log: quiet(), enact: enact, revise: func(s string) uint64 { return uint64(len(s)) }}
}

func TestTrial(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var in effect
		tr := newTrial(t, dir, in.enact)
		must(t, tr.start("standard"))
		if in.now() != "standard" || tr.state().found {
			t.Errorf("started with %q", in.now())
		}

		must(t, tr.apply("one", 0))
		must(t, tr.apply("second", time.Minute))
		if in.now() != "second" || tr.state().until.IsZero() {
			t.Errorf("after apply: %q", in.now())
		}
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if in.now() != "second" {
			t.Error("taken back too early")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if s := tr.state(); in.now() != "one" || s.reverted == nil || s.reverted.Rev != uint64(len("second")) || !s.until.IsZero() {
			t.Errorf("after the window: %q, %+v", in.now(), s)
		}

		must(t, tr.apply("third", time.Minute))
		wantErr(t, tr.confirm(99), ErrRefused)
		must(t, tr.confirm(5))
		wantErr(t, tr.confirm(5), ErrRefused)
		time.Sleep(time.Hour)
		synctest.Wait()
		if in.now() != "third" {
			t.Errorf("a confirmed change was taken back to %q", in.now())
		}

		// A change that replaces a waiting one returns to the confirmed value,
		// and the first window is over.
		must(t, tr.apply("fourth", time.Minute))
		time.Sleep(50 * time.Second)
		must(t, tr.apply("fifth!", time.Minute))
		time.Sleep(50 * time.Second)
		synctest.Wait()
		if in.now() != "fifth!" {
			t.Errorf("the first window took back the second change: %q", in.now())
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if in.now() != "third" {
			t.Errorf("after the second window: %q", in.now())
		}
		wantErr(t, tr.apply("x", -1), ErrRefused)
		wantErr(t, tr.apply("x", MaxConfirm+1), ErrRefused)
		tr.stop()
	})
}

func TestTrialAcrossRestarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var in effect
	boot := func() *trial[string] {
		tr := newTrial(t, dir, in.enact)
		must(t, tr.start("standard"))
		return tr
	}
	must(t, boot().apply("confirmed", 0))
	if boot(); in.now() != "confirmed" {
		t.Errorf("after a restart: %q", in.now())
	}
	must(t, boot().apply("never confirmed", time.Minute)) // and the power goes
	tr := boot()
	if s := tr.state(); in.now() != "confirmed" || s.reverted == nil || s.reverted.Rev != uint64(len("never confirmed")) {
		t.Errorf("after a power cut inside the window: %q, %+v", in.now(), s.reverted)
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
	var in effect
	enact := in.enact
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
		if in.now() != "wanted" && (in.now() != "standard" || tr.state().fault == "") {
			t.Fatalf("byte %d bent: %q in effect, fault %q", i, in.now(), tr.state().fault)
		}
		if in.now() == "standard" {
			if kept, err := os.ReadFile(tr.damagedPath()); err != nil || string(kept) != string(bent) {
				t.Fatalf("byte %d bent: the damaged file was not kept: %v", i, err)
			}
		}
	}
	for n := range whole {
		must(t, os.WriteFile(path, whole[:n], 0o600))
		must(t, newTrial(t, dir, enact).start("standard"))
		if in.now() != "standard" {
			t.Fatalf("cut to %d bytes: %q in effect", n, in.now())
		}
	}
}

func TestTrialWhenEnactingFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var in effect
		enact, noRoom := in.enact, errors.New("no room")
		tr := newTrial(t, dir, enact)
		must(t, tr.start("standard"))
		must(t, tr.apply("good", 0))
		in.failWith(noRoom)
		wantErr(t, tr.apply("bad", 0), noRoom)
		if in.now() != "good" {
			t.Errorf("%q in effect", in.now())
		}

		// A failed change leaves the one that waits alone, on disk too.
		in.failWith(nil)
		must(t, tr.apply("waits", time.Minute))
		in.failWith(noRoom)
		wantErr(t, tr.apply("bad", 0), noRoom)
		in.failWith(nil)
		must(t, tr.confirm(5))
		other := newTrial(t, dir, enact)
		must(t, other.start("standard"))
		if in.now() != "waits" {
			t.Errorf("after a restart: %q", in.now())
		}

		// Taking back is tried until it works.
		must(t, tr.apply("second", time.Minute))
		synctest.Wait()
		in.failWith(noRoom)
		time.Sleep(63 * time.Second)
		synctest.Wait()
		if tr.state().fault == "" || in.now() != "second" {
			t.Errorf("%q in effect, fault %q", in.now(), tr.state().fault)
		}
		in.failWith(nil)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if in.now() != "waits" {
			t.Errorf("%q in effect", in.now())
		}

		// A confirmed value that no longer works does not stop the start.
		in.failWith(nil)
		bad := newTrial(t, dir, func(s string) error {
			if s == "waits" {
				return errors.New("unknown service")
			}
			return in.enact(s)
		})
		must(t, bad.start("standard"))
		if in.now() != "standard" || bad.state().fault == "" {
			t.Errorf("%q in effect, fault %q", in.now(), bad.state().fault)
		}
	})
}
