package media

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/ports"
)

// fakeFence remembers which ports are open and until when.
type fakeFence struct {
	mu    sync.Mutex
	open  map[uint16]time.Time
	calls int
	fail  error
	hang  bool
	delay time.Duration
	now   func() time.Time
}

func newFakeFence() *fakeFence { return &fakeFence{open: map[uint16]time.Time{}, now: time.Now} }

func (f *fakeFence) wait(ctx context.Context) error {
	f.mu.Lock()
	f.calls++
	fail, hang, delay := f.fail, f.hang, f.delay
	f.mu.Unlock()
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	time.Sleep(delay)
	return fail
}

func (f *fakeFence) MediaOpen(ctx context.Context, list []uint16, ttl time.Duration) error {
	if err := f.wait(ctx); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range list {
		f.open[p] = f.now().Add(ttl)
	}
	return nil
}

func (f *fakeFence) MediaClose(ctx context.Context, list []uint16) error {
	if err := f.wait(ctx); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range list {
		delete(f.open, p)
	}
	return nil
}

func (f *fakeFence) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// ports lists what is open now.
func (f *fakeFence) ports() []uint16 {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []uint16
	for p, until := range f.open {
		if until.After(f.now()) {
			list = append(list, p)
		}
	}
	slices.Sort(list)
	return list
}

func TestPortsAreOpenWhileACallHoldsThem(t *testing.T) {
	t.Parallel()
	f := newFakeFence()
	e := testEngine(t, 23000, 23019, func(c *Config) { c.Fence = f })
	c := e.NewCall("fence")
	l := newLeg(t, c, loopback)
	p := l.RTP().Port()
	if got := f.ports(); !slices.Equal(got, []uint16{p, p + 1}) {
		t.Errorf("open when NewLeg returns: %d, want %d and %d", got, p, p+1)
	}
	l2 := newLeg(t, c, loopback)
	l.Close()
	p = l2.RTP().Port()
	eventually(t, "the closed leg's ports close", func() bool { return slices.Equal(f.ports(), []uint16{p, p + 1}) })
	newLeg(t, e.NewCall("left over"), loopback)
	e.Close()
	if got := f.ports(); len(got) != 0 {
		t.Errorf("open after Close: %d", got)
	}
}

func TestFenceThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*fakeFence){
		"hangs":   func(f *fakeFence) { f.hang = true },
		"refuses": func(f *fakeFence) { f.fail = errors.New("no rights") },
	} {
		f := newFakeFence()
		change(f)
		first := uint16(23020)
		if name == "refuses" {
			first = 23030
		}
		e := testEngine(t, first, first+9, func(c *Config) { c.Fence = f })
		c := e.NewCall("fence")
		start := time.Now()
		_, err := c.NewLeg(t.Context(), LegParams{Side: ports.Core, Local: loopback})
		if took := time.Since(start); !errors.Is(err, ErrFence) || took > FenceWait+150*time.Millisecond {
			t.Errorf("%s: %v after %s", name, err, took)
		}
		if s := e.Stats(); s.Held[ports.Core]+s.Resting[ports.Core] != 0 {
			t.Errorf("%s: a port is kept", name)
		}
		f.set(func() { f.hang, f.fail = false, nil })
		eventually(t, "the fence is used again", func() bool {
			_, err := c.NewLeg(t.Context(), LegParams{Side: ports.Core, Local: loopback})
			return err == nil
		})
	}
}

// Many calls at once share requests to the fence.
func TestFenceRequestsAreBatched(t *testing.T) {
	t.Parallel()
	f := newFakeFence()
	f.delay = 20 * time.Millisecond
	e := testEngine(t, 23040, 23139, func(c *Config) { c.Fence = f })
	c := e.NewCall("batch")
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() { newLeg(t, c, netip.Addr{}) })
	}
	wg.Wait()
	if n := len(f.ports()); n != 80 {
		t.Errorf("%d ports are open", n)
	}
	f.set(func() {
		if f.calls > 20 {
			t.Errorf("%d requests for 40 legs", f.calls)
		}
	})
}

// Live ports are reported again before they run out, all in one request; a
// fence that was away learns of them when it is back.
func TestFenceRefresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFence()
		var log bytes.Buffer
		d := newDoorman(f, fenceRefresh, slog.New(slog.NewTextHandler(&log, nil)))
		want := map[uint16]bool{}
		for p := uint16(2000); p < 4000; p++ {
			want[p] = true
		}
		list := slices.Sorted(maps.Keys(want))
		must(t, d.open(t.Context(), list...))
		check := func(when string, n, calls int) {
			t.Helper()
			synctest.Wait()
			if got := f.ports(); len(got) != n {
				t.Errorf("%s: %d ports are open, want %d", when, len(got), n)
			}
			f.set(func() {
				if f.calls != calls {
					t.Errorf("%s: %d requests, want %d", when, f.calls, calls)
				}
				f.calls = 0
			})
		}
		check("opened", 2000, 1)
		time.Sleep(3*time.Minute + time.Second)
		check("after 3 minutes", 2000, 7)

		f.set(func() { f.fail = errors.New("gone") })
		time.Sleep(2*time.Minute + 500*time.Millisecond)
		f.set(func() { f.calls = 0 })
		check("away for 2 minutes", 0, 0)
		f.set(func() { f.fail = nil })
		time.Sleep(1100 * time.Millisecond)
		check("a second after its return", 2000, 1)
		if n := strings.Count(log.String(), "\n"); n != 2 {
			t.Errorf("%d lines in the log, want one for going and one for coming:\n%s", n, log.String())
		}

		d.close(list...)
		check("closed", 0, 1)
		time.Sleep(time.Minute)
		check("closed for a minute", 0, 0)
		must(t, d.open(t.Context(), 7, 8))
		d.close(7, 8)
		must(t, d.open(t.Context(), 7, 8)) // the last word counts
		synctest.Wait()
		if got := f.ports(); !slices.Equal(got, []uint16{7, 8}) {
			t.Errorf("open: %d", got)
		}
		d.shut()
		if got := f.ports(); len(got) != 0 {
			t.Errorf("open after the end: %d", got)
		}
		if err := d.open(t.Context(), 9); !errors.Is(err, ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
	})
}
