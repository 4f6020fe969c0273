package debian

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fake is a systemd that does what it is told.
type fake struct {
	units   map[string]Unit
	leaders []int
	calls   []string
	fail    map[string]error // by call
}

func (f *fake) do(verb, name string, change func(*Unit)) error {
	call := verb + " " + name
	f.calls = append(f.calls, call)
	if err := f.fail[call]; err != nil {
		return err
	}
	u := f.units[name]
	change(&u)
	f.units[name] = u
	return nil
}

func (f *fake) Unit(_ context.Context, name string) (Unit, error) {
	u, ok := f.units[name]
	if !ok {
		u.Load = "not-found"
	}
	return u, nil
}

func (f *fake) Start(_ context.Context, name string) error {
	return f.do("start", name, func(u *Unit) { u.Active = "active" })
}

func (f *fake) Stop(_ context.Context, name string) error {
	return f.do("stop", name, func(u *Unit) { u.Active = "inactive" })
}

func (f *fake) Restart(_ context.Context, name string) error {
	return f.do("restart", name, func(u *Unit) { u.Active, u.MainPID = "active", u.MainPID+100 })
}

func (f *fake) Mask(_ context.Context, name string) error {
	return f.do("mask", name, func(u *Unit) { u.Load = "masked" })
}

func (f *fake) Unmask(_ context.Context, name string) error {
	return f.do("unmask", name, func(u *Unit) { u.Load = "loaded" })
}

func (f *fake) Leaders(context.Context) ([]int, error) { return f.leaders, nil }

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestOtherFiltersRestAndComeBack(t *testing.T) {
	t.Parallel()
	f := &fake{units: map[string]Unit{"ufw.service": {Load: "loaded", Active: "active"}, "firewalld.service": {Load: "loaded", Active: "inactive"}}}
	filters := Filters{Dir: t.TempDir(), Systemd: f, Logger: quiet()}
	for range 2 { // the second time there is nothing to do
		if err := filters.Rest(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"stop firewalld.service", "mask firewalld.service", "stop ufw.service", "mask ufw.service"}; !slices.Equal(f.calls, want) {
		t.Errorf("calls %q", f.calls)
	}
	if n := filters.Notices(); len(n) != 1 || !strings.Contains(n[0], "firewalld, ufw") {
		t.Errorf("notices %q", n)
	}
	f.calls = nil
	if err := filters.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []string{"unmask firewalld.service", "unmask ufw.service", "start ufw.service"}; !slices.Equal(f.calls, want) {
		t.Errorf("calls %q", f.calls)
	}
	f.calls = nil
	if err := filters.Restore(t.Context()); err != nil || len(f.calls) > 0 || filters.Notices() != nil {
		t.Errorf("restored twice: %v, %q", err, f.calls)
	}
}

// A power cut between stop and mask must not make us forget that it ran.
func TestAFilterThatRanIsRemembered(t *testing.T) {
	t.Parallel()
	f := &fake{units: map[string]Unit{"ufw.service": {Load: "loaded", Active: "active"}}, fail: map[string]error{"mask ufw.service": errors.New("read-only")}}
	filters := Filters{Dir: t.TempDir(), Systemd: f, Logger: quiet()}
	if err := filters.Rest(t.Context()); err == nil {
		t.Fatal("no error")
	}
	f.fail, f.calls = nil, nil
	if err := errors.Join(filters.Rest(t.Context()), filters.Restore(t.Context())); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(f.calls, "start ufw.service") {
		t.Errorf("calls %q", f.calls)
	}
}

// box is a host in a folder, with sshd as process 100.
type box struct {
	*SSH
	fake *fake
	shut bool // the fence does not answer

	mu   sync.Mutex
	open []uint16
}

func newBox(t *testing.T) *box {
	t.Helper()
	root := t.TempDir()
	put(t, filepath.Join(root, "proc/sys/kernel/random/boot_id"), "boot-1\n")
	put(t, filepath.Join(root, "etc/ssh/sshd_config"), "Include /etc/ssh/sshd_config.d/*.conf\n#Port 22\n")
	put(t, filepath.Join(root, "etc/ssh/sshd_config.d/other.conf"), "PermitRootLogin no\n")
	put(t, filepath.Join(root, "data/none"), "")
	b := &box{fake: &fake{units: map[string]Unit{sshUnit: {Load: "loaded", Active: "active", MainPID: 100}}}}
	b.SSH = &SSH{Dir: filepath.Join(root, "data"), Root: root, Systemd: b.fake, Window: Window, Logger: quiet(),
		Open: func(_ context.Context, list []uint16) error {
			if b.shut {
				return errors.New("the fence is away")
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			b.open = list
			return nil
		}}
	return b
}

func (b *box) session(t *testing.T, pid, parent int) {
	t.Helper()
	put(t, filepath.Join(b.Root, fmt.Sprintf("proc/%d/status", pid)), fmt.Sprintf("Name:\tsshd\nPid:\t%d\nPPid:\t%d\n", pid, parent))
	b.fake.leaders = append(b.fake.leaders, pid)
}

func (b *box) want(t *testing.T, p phase, moved bool, open ...uint16) {
	t.Helper()
	synctest.Wait()
	state, err := b.load()
	if err != nil || state.Phase != p {
		t.Errorf("phase %q, %v, want %q", state.Phase, err, p)
	}
	if _, err := os.Stat(b.dropIn()); (err == nil) != moved {
		t.Errorf("sshd's settings: moved %t, want %t", err == nil, moved)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Equal(b.open, open) {
		t.Errorf("open %v, want %v", b.open, open)
	}
}

func (b *box) steps(t *testing.T, n int) {
	t.Helper()
	for range n {
		if err := b.step(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(watchEvery)
	}
}

func TestSSHStaysAfterANewLogIn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.session(t, 150, 100) // through the old port, before the move
		b.steps(t, 3)
		b.want(t, phaseTrial, true, 22, 10210)
		if len(b.Notices()) != 1 {
			t.Errorf("notices %q", b.Notices())
		}
		b.session(t, 250, 200) // a child of the sshd that was restarted
		b.steps(t, 2)
		b.want(t, phaseMoved, true, 10210)
		time.Sleep(2 * Window)
		b.steps(t, 2)
		b.want(t, phaseMoved, true, 10210)
		if n := b.Notices(); len(n) > 0 {
			t.Errorf("notices %q", n)
		}
	})
}

func TestSSHReturnsWithoutALogIn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.session(t, 150, 100) // an old session does not count, however long it lasts
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); b.Run(ctx) }()
		time.Sleep(Window - time.Minute)
		b.want(t, phaseTrial, true, 22, 10210)
		time.Sleep(2 * time.Minute)
		b.want(t, phaseReturned, false, 22)
		time.Sleep(time.Hour)
		b.want(t, phaseReturned, false, 22)
		cancel()
		<-done
		if want := []string{"restart ssh.service", "restart ssh.service"}; !slices.Equal(b.fake.calls, want) {
			t.Errorf("calls %q", b.fake.calls)
		}
	})
}

// Whoever restarts the machine because SSH is gone has it back at once.
func TestSSHReturnsWhenTheMachineRestarts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.steps(t, 2)
		put(t, filepath.Join(b.Root, "proc/sys/kernel/random/boot_id"), "boot-2\n")
		b.steps(t, 1)
		b.want(t, phaseReturned, false, 22)
	})
}

// A restart of sysd in the window changes nothing.
func TestSSHTrialOutlivesSysd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.steps(t, 2)
		again := *b.SSH
		if err := again.step(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.want(t, phaseTrial, true, 22, 10210)
	})
}

func TestSSHReturnsWhenTheMoveFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.fake.fail = map[string]error{"restart ssh.service": errors.New("failed")}
		if err := b.step(t.Context()); err == nil {
			t.Fatal("no error")
		}
		b.want(t, phaseTrial, false, 22)
		b.fake.fail = nil
		time.Sleep(2 * Window)
		b.steps(t, 1)
		b.want(t, phaseReturned, false, 22)

		b = newBox(t)
		b.shut = true // nothing moves while the new port cannot be opened
		if err := b.step(t.Context()); err == nil {
			t.Fatal("no error")
		}
		b.want(t, phaseReturned, false)
	})
}

func TestSSHThatHasItsOwnPortsIsLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		put(t, filepath.Join(b.Root, "etc/ssh/sshd_config.d/mine.conf"), "  port = 2222\nListenAddress [::1]:2223\nlistenaddress 10.0.0.1\nListenAddress fd77::1\n")
		b.steps(t, 2)
		b.want(t, phaseOwn, false, 2222, 2223, 22)
		if len(b.fake.calls) > 0 {
			t.Errorf("calls %q", b.fake.calls)
		}
	})
}

func TestWithoutSSHNothingMoves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		delete(b.fake.units, sshUnit)
		b.steps(t, 2)
		b.want(t, phaseNone, false, 22)
		b.fake.units[sshUnit] = Unit{Load: "loaded", Active: "active", MainPID: 100} // installed later
		b.steps(t, 1)
		b.want(t, phaseTrial, true, 22, 10210)
	})
}

func TestSSHIsGivenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		if err := b.Settle(); err != nil {
			t.Fatal(err)
		}
		b.steps(t, 1)
		b.want(t, phaseMoved, true, 10210)
		for range 2 {
			if err := b.Restore(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		b.want(t, phaseNone, false, 10210)
		if want := []string{"restart ssh.service"}; !slices.Equal(b.fake.calls, want) {
			t.Errorf("calls %q", b.fake.calls)
		}
	})
}

func TestSeedReachesThePBX(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	put(t, filepath.Join(root, "run/ringfence/x"), "")
	seed := filepath.Join(root, "run/ringfence/seed.json")
	if err := TakeSeed(root, os.Getuid(), quiet()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(seed); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a seed without user-data: %v", err)
	}
	put(t, filepath.Join(root, mergedUserData), "#cloud-config\n\n# from 1 files\n# part-001\n\n---\npackages: [vim]\nringfence:\n    domain: lab.example\n    extension_first: '101'\n    extension_last: '199'\n...\n")
	if err := TakeSeed(root, os.Getuid(), quiet()); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(seed)
	if err != nil || info.Mode() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	if data, _ := os.ReadFile(seed); !strings.Contains(string(data), "lab.example") {
		t.Errorf("seed %s", data)
	}
}

// Whatever user-data hold, the machine boots on.
func TestWrongUserDataAreLeftOut(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"#cloud-config\nringfence: {domain: -}\n", "\x00", strings.Repeat("x", 1<<20), "ringfence: [", "#!/bin/sh\n"} {
		root := t.TempDir()
		put(t, filepath.Join(root, "run/ringfence/x"), "")
		put(t, filepath.Join(root, mergedUserData), text)
		if err := TakeSeed(root, os.Getuid(), quiet()); err != nil {
			t.Errorf("%.30q: %v", text, err)
		}
		if _, err := os.Stat(filepath.Join(root, "run/ringfence/seed.json")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%.30q was taken", text)
		}
	}
}
