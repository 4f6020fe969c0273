package firewall

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// fakeKernel remembers what it is told.
type fakeKernel struct {
	mu      sync.Mutex
	rules   []string // texts of the rulesets, in order
	sets    map[string]map[string]time.Duration
	batches int
	fail    error         // next Apply fails
	block   chan struct{} // change waits for it
	gone    bool          // table was removed
	others  []string
	told    chan logged // what the packet log says
}

func (k *fakeKernel) Apply(r Ruleset) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.fail; err != nil {
		k.fail = nil
		return err
	}
	k.gone = false
	k.rules = append(k.rules, r.String())
	return nil
}

func (k *fakeKernel) change(list []element) error {
	if k.block != nil {
		<-k.block
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.batches++
	if k.sets == nil {
		k.sets = map[string]map[string]time.Duration{}
	}
	for _, e := range list {
		if k.sets[e.set] == nil {
			k.sets[e.set] = map[string]time.Duration{}
		}
		if e.gone {
			delete(k.sets[e.set], e.key)
			continue
		}
		k.sets[e.set][e.key] = e.timeout
	}
	return nil
}

func (k *fakeKernel) elements(set string) ([]listed, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []listed
	for key, left := range k.sets[set] {
		out = append(out, listed{key: []byte(key), left: left})
	}
	return out, nil
}

func (k *fakeKernel) follow(ctx context.Context, told func(logged)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case l := <-k.told:
			told(l)
		}
	}
}

func (k *fakeKernel) counters() (map[string]Counter, error) {
	return map[string]Counter{"port_portal": {Packets: 3, Bytes: 180}, "drop_rest": {Packets: 1, Bytes: 40}}, nil
}

func (k *fakeKernel) survey() (bool, []string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.gone, k.others, nil
}

func (k *fakeKernel) intact() error { return nil }

func (k *fakeKernel) loaded(t testing.TB) string {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.rules) == 0 {
		t.Fatal("nothing was loaded")
	}
	return k.rules[len(k.rules)-1]
}

func (k *fakeKernel) set(name string) map[string]time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.sets[name])
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// fence is a server on a socket of its own, for tests.
type fence struct {
	*Server
	socket string
	stop   func()
}

func newFence(t testing.TB, dir string, k kernel, change ...func(*Options)) *fence {
	t.Helper()
	o := Options{Dir: filepath.Join(dir, "state"), Kernel: k, UIDs: []uint32{uint32(os.Geteuid())}, Logger: quiet()}
	for _, c := range change {
		c(&o)
	}
	s, err := NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	f := &fence{Server: s, socket: filepath.Join(dir, "s")}
	l, err := Listen(f.socket)
	if err != nil {
		t.Fatal(err)
	}
	f.serve(t, l)
	return f
}

func (f *fence) serve(t testing.TB, l net.Listener) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Serve(ctx, l) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("Serve did not end")
		}
	})
	t.Cleanup(f.stop)
}

func (f *fence) dial(t testing.TB) *Client {
	c := Dial(f.socket, ClientOptions{})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// shortDir is a folder whose path leaves room for a socket name (unix(7):
// sun_path has 108 bytes).
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rf")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error is %v, want one that wraps %v", err, want)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if cond() {
			return
		}
	}
	t.Fatalf("it never happened that %s", what)
}
