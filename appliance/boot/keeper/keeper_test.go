package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ringfence/appliance/boot"
	"ringfence/appliance/slot"
	"ringfence/internal/version"
)

// fake notes what was asked for.
type fake struct {
	mu    sync.Mutex
	calls []string
	err   error
}

func (f *fake) note(format string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
	return f.err
}

func (f *fake) Status() (Status, error) {
	return Status{Hostname: "box", Healthy: true}, f.note("status")
}
func (f *fake) Reboot() error              { return f.note("reboot") }
func (f *fake) PowerOff() error            { return f.note("power-off") }
func (f *fake) SetHostname(n string) error { return f.note("hostname %s", n) }
func (f *fake) SetClock(t time.Time) error { return f.note("clock %d", t.Unix()) }
func (f *fake) FactoryReset() error        { return f.note("factory-reset") }

// serve starts a server on a socket of its own.
func serve(t *testing.T, sys System, users ...int) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kp") // socket paths are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, FileName)
	ln, err := Listen(path, -1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- (&Server{System: sys, Users: users, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}).Serve(ctx, ln)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return path
}

func TestOperations(t *testing.T) {
	t.Parallel()
	f := &fake{}
	c := Client{serve(t, f, os.Getuid())}
	ctx := context.Background()
	s, err := c.Status(ctx)
	if err != nil || s.Hostname != "box" || !s.Healthy {
		t.Errorf("status %+v, %v", s, err)
	}
	for _, err := range []error{c.Reboot(ctx), c.PowerOff(ctx), c.SetHostname(ctx, "new"), c.SetClock(ctx, time.Unix(1800000000, 0)), c.FactoryReset(ctx)} {
		if err != nil {
			t.Error(err)
		}
	}
	want := []string{"status", "reboot", "power-off", "hostname new", "clock 1800000000", "factory-reset"}
	if !slices.Equal(f.calls, want) {
		t.Errorf("calls %q", f.calls)
	}
	if err := c.do(ctx, Request{Op: OpInstall}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("install: %v", err)
	}
	f.err = errors.New("the disk is full")
	if err := c.SetHostname(ctx, "x"); err == nil || !strings.Contains(err.Error(), "asking sysd for hostname: the disk is full") {
		t.Errorf("error %v", err)
	}
}

func TestOtherUsersAreRefused(t *testing.T) {
	t.Parallel()
	f := &fake{}
	c := Client{serve(t, f, os.Getuid()+1)}
	if _, err := c.Status(context.Background()); err == nil {
		t.Error("a stranger was answered")
	}
	if len(f.calls) > 0 {
		t.Errorf("calls %q", f.calls)
	}
}

// TestBadRequests: whatever comes, nothing is done and the server goes on.
func TestBadRequests(t *testing.T) {
	t.Parallel()
	f := &fake{}
	path := serve(t, f, os.Getuid())
	for _, in := range []string{"\n", "{}\n", "{\"op\":\"format\"}\n", "{\"op\":\"reboot\",\"now\":true}\n", "{\"op\":\"reboot\"}{}\n", "[\n", "{\"op\":\"reboot\"", strings.Repeat("x", maxRequest+2) + "\n"} {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, in)
		_ = conn.(*net.UnixConn).CloseWrite()
		out, _ := io.ReadAll(conn)
		if !strings.Contains(string(out), `"error"`) {
			t.Errorf("%.40q was answered with %q", in, out)
		}
		_ = conn.Close()
	}
	if len(f.calls) > 0 {
		t.Errorf("calls %q", f.calls)
	}
	if _, err := (Client{path}).Status(context.Background()); err != nil {
		t.Error(err)
	}
}

// TestSilentClientsAreBounded: clients that say nothing take no more than their
// share, and their end makes room again.
func TestSilentClientsAreBounded(t *testing.T) {
	t.Parallel()
	path := serve(t, &fake{}, os.Getuid())
	var idle []net.Conn
	for range maxClients {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, conn)
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		if _, err := (Client{path}).Status(context.Background()); err != nil {
			break // all places are taken
		}
		if time.Now().After(deadline) {
			t.Fatal("one more client was served")
		}
	}
	for _, c := range idle {
		_ = c.Close()
	}
	for {
		if _, err := (Client{path}).Status(context.Background()); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("no room after the clients had gone")
		}
	}
}

func TestCallEndsWithItsContext(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "kp")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ln, err := net.Listen("unix", filepath.Join(dir, "s")) // accepts, never answers
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if err := (Client{ln.Addr().String()}).Reboot(ctx); err == nil {
		t.Error("no error")
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("took %s", took)
	}
}

// host is a machine in a folder.
func host(t *testing.T) (Host, *[]string) {
	t.Helper()
	root := t.TempDir()
	done := &[]string{}
	h := Host{
		Data: filepath.Join(root, "perm/sysd"), Paths: boot.Paths{Root: root},
		Signal:   func(s syscall.Signal) error { *done = append(*done, fmt.Sprint("signal ", int(s))); return nil },
		Hostname: func(n string) error { *done = append(*done, "hostname "+n); return nil },
		Clock:    func(tm time.Time) error { *done = append(*done, "clock"); return nil },
	}
	for _, dir := range []string{h.Data, h.Paths.Run(""), h.Paths.ESP()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return h, done
}

func TestHost(t *testing.T) {
	t.Parallel()
	h, done := host(t)
	s, err := h.Status()
	if err != nil || s.Slots != nil || s.Healthy {
		t.Errorf("without an init of ours: %+v, %v", s, err)
	}
	if err := h.FactoryReset(); !errors.Is(err, ErrUnsupported) {
		t.Errorf("factory reset without an init of ours: %v", err)
	}
	if err := os.WriteFile(h.Paths.Run(boot.StateFile), []byte(`{"version":"1.2","slot":"a","healthy":true,"machine_id":"0123","undone":"1.3","notices":["n"]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	files, err := slot.FactoryFiles(slot.Factory("1.2"))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := h.Status(); err != nil || s.Slots != nil || len(s.Notices) != 2 {
		t.Errorf("with a boot partition that is empty: %+v, %v", s, err)
	}
	for name, data := range files {
		path := filepath.Join(h.Paths.ESP(), name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	s, err = h.Status()
	want := Slots{Firmware: "BIOS", Running: "a", Committed: "a", Next: "a", VersionA: "1.2", Undone: "1.3"}
	if err != nil || s.Slots == nil || *s.Slots != want || !s.Healthy || s.MachineID != "0123" {
		t.Errorf("got %+v %+v, %v", s, s.Slots, err)
	}
	for _, bad := range []string{"", "-x", "a b", "a.b", strings.Repeat("x", 64), "a\n"} {
		if err := h.SetHostname(bad); err == nil {
			t.Errorf("host name %q was accepted", bad)
		}
	}
	for _, bad := range []time.Time{{}, time.Unix(0, 0), time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), version.Built().Add(-time.Second), version.Built().AddDate(10, 1, 0)} {
		if err := h.SetClock(bad); err == nil {
			t.Errorf("time %s was accepted", bad)
		}
	}
	if len(*done) > 0 {
		t.Errorf("refused, yet done: %q", *done)
	}
	if err := errors.Join(h.SetHostname("pbx-2"), h.SetClock(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)), h.PowerOff(), h.FactoryReset()); err != nil {
		t.Error(err)
	}
	if !slices.Equal(*done, []string{"hostname pbx-2", "clock", "signal 38", "signal 39"}) {
		t.Errorf("done %q", *done)
	}
	if text, _ := os.ReadFile(filepath.Join(h.Data, boot.HostnameFile)); string(text) != "pbx-2\n" {
		t.Errorf("kept host name %q", text)
	}
	if s, _ := h.Status(); !s.ResetPending {
		t.Error("the factory reset is not pending")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"op":"clock","time":"2030-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		var r Request
		_ = decode(line, &r)
	})
}
