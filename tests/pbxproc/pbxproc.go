// Package pbxproc runs the real pbxd in -dev mode as a process of its own, for
// tests that need one to kill, or in a network namespace.
package pbxproc

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"ringfence/internal/pbx"
	"ringfence/internal/ports"
	"ringfence/tests/apiclient"
	"ringfence/tests/netlab"
)

// Process is one running pbxd.
type Process struct {
	Facts pbx.Facts
	Dir   string // data folder
	cmd   *exec.Cmd
	args  []string
	facts string
	ns    *netlab.Namespace
	log   *os.File
	ended chan struct{}
}

// binary is built once a test process.
type binary struct {
	once sync.Once
	path string
	err  error
}

var pbxd binary

func (b *binary) get() (string, error) {
	b.once.Do(func() {
		dir, err := os.MkdirTemp("", "rf-pbxd-")
		if err != nil {
			b.err = err
			return
		}
		b.path = filepath.Join(dir, "pbxd")
		root, err := filepath.Abs("../..")
		if err != nil {
			b.err = err
			return
		}
		cmd := exec.Command("go", "build", "-o", b.path, "./cmd/pbxd")
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			b.err = fmt.Errorf("building pbxd: %w: %s", err, out)
		}
	})
	return b.path, b.err
}

// Start runs pbxd until the test ends. ns may be nil; listen is the address of
// every listener.
func Start(t testing.TB, ns *netlab.Namespace, listen string, args ...string) *Process {
	t.Helper()
	return start(t, ns, listen, append([]string{"-dev"}, args...))
}

// StartFresh runs pbxd as the image does, never set up and without a fence.
func StartFresh(t testing.TB, ns *netlab.Namespace, listen string, args ...string) *Process {
	t.Helper()
	return start(t, ns, listen, append([]string{"-run", t.TempDir()}, args...))
}

func start(t testing.TB, ns *netlab.Namespace, listen string, args []string) *Process {
	t.Helper()
	path, err := pbxd.get()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p := &Process{Dir: filepath.Join(dir, "data"), ns: ns, facts: filepath.Join(dir, "facts.json")}
	p.args = append([]string{path, "-strict", "-listen", listen, "-data", p.Dir, "-facts", p.facts}, args...)
	if p.log, err = os.Create(filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Stop(syscall.SIGTERM)
		if t.Failed() {
			text, _ := os.ReadFile(p.log.Name())
			t.Logf("pbxd:\n%s", text[max(0, len(text)-8000):])
		}
		p.log.Close()
	})
	first := p.run(t)
	p.Facts = first
	return p
}

// run starts the process and returns its facts once everything listens.
func (p *Process) run(t testing.TB) pbx.Facts {
	t.Helper()
	if err := os.Remove(p.facts); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	ctx := context.Background()
	if p.ns != nil {
		p.cmd = p.ns.Command(ctx, p.args[0], p.args[1:]...)
	} else {
		p.cmd = exec.CommandContext(ctx, p.args[0], p.args[1:]...)
	}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		_ = cmd.Wait()
		close(ended)
	}(p.cmd, p.ended)
	var facts pbx.Facts
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		text, err := os.ReadFile(p.facts)
		if err == nil {
			if err := json.Unmarshal(text, &facts); err != nil {
				t.Fatalf("facts: %v", err)
			}
			return facts
		}
		select {
		case <-p.ended:
			log, _ := os.ReadFile(p.log.Name())
			t.Fatalf("pbxd ended before it was ready:\n%s", log)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("pbxd wrote no facts in 60 s")
		}
	}
}

// Stop ends the process with a signal and waits for it.
func (p *Process) Stop(sig syscall.Signal) {
	_ = p.cmd.Process.Signal(sig)
	select {
	case <-p.ended:
	case <-time.After(15 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// Restart runs pbxd again on the same data, after Stop.
func (p *Process) Restart(t testing.TB) {
	t.Helper()
	p.run(t)
}

// PID is the running process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Log is what the process has written so far.
func (p *Process) Log(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(p.log.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Addr is where a service listens.
func (p *Process) Addr(id ports.ID) netip.AddrPort {
	for _, l := range p.Facts.Listeners {
		if l.ID == id {
			return netip.AddrPortFrom(l.Addr, l.Port)
		}
	}
	return netip.AddrPort{}
}

// Extension returns the facts of one extension.
func (p *Process) Extension(number string) pbx.PhoneFacts {
	for _, e := range p.Facts.Extensions {
		if e.Number == number {
			return e
		}
	}
	return pbx.PhoneFacts{}
}

// Admin is an API client that is logged in as the administrator.
func (p *Process) Admin(t testing.TB) *apiclient.Client {
	t.Helper()
	var dial apiclient.Dial
	if p.ns != nil {
		dial = p.ns.DialContext
	}
	c := apiclient.New(p.Facts.Admin.URL, "", dial)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := c.Login(ctx, p.Facts.Admin.User, p.Facts.Admin.Password); err != nil {
		t.Fatal(err)
	}
	return c
}
