package supervise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// fake is a Spawner of processes that a test plays.
type fake struct {
	mu     sync.Mutex
	nextID int
	born   chan *fakeProcess
	refuse error
	killed []string // "name signal"
	begin  time.Time
}

type fakeProcess struct {
	f      *fake
	name   string
	pid    int
	at     time.Duration // after the test's begin
	exit   chan string
	output func(string)
	ignore map[syscall.Signal]bool
}

func newFake() *fake { return &fake{born: make(chan *fakeProcess, 100), begin: time.Now()} }

func (f *fake) Spawn(s Service, output func(string)) (Process, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		return nil, f.refuse
	}
	f.nextID++
	p := &fakeProcess{f: f, name: s.Name, pid: f.nextID, at: time.Since(f.begin), exit: make(chan string, 1), output: output, ignore: map[syscall.Signal]bool{}}
	f.born <- p
	return p, nil
}

func (p *fakeProcess) PID() int     { return p.pid }
func (p *fakeProcess) Wait() string { return <-p.exit }

func (p *fakeProcess) Signal(s syscall.Signal) error {
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	p.f.killed = append(p.f.killed, fmt.Sprintf("%s %s at %s", p.name, s, time.Since(p.f.begin)))
	if !p.ignore[s] {
		p.exit <- "signal: " + s.String()
	}
	return nil
}

func (f *fake) signals() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.killed)
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func newSupervisor(f *fake) *Supervisor { return New(Options{Spawner: f, Logger: quiet()}) }

func start(t *testing.T, v *Supervisor, s Service) {
	t.Helper()
	if err := v.Start(s); err != nil {
		t.Fatal(err)
	}
}

// TestBackOff: any exit is followed by a restart, 0.1 s later at first, 5 s at
// most, and at once again after a run that lasted.
func TestBackOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		v := newSupervisor(f)
		start(t, v, Service{Name: "a"})
		var starts []time.Duration
		for i := range 9 {
			p := <-f.born
			starts = append(starts, p.at)
			if i == 7 {
				time.Sleep(settled)
			}
			p.exit <- []string{"exit status 0", "exit status 125", "exit status 1"}[i%3]
		}
		want := []time.Duration{0, 100, 300, 700, 1500, 3100, 6300, 11300, 21400}
		for i := range want {
			if starts[i] != want[i]*time.Millisecond {
				t.Errorf("start %d at %s, want %s", i, starts[i], want[i]*time.Millisecond)
			}
		}
		(<-f.born).exit <- "exit status 3"
		synctest.Wait()
		s := v.Status()[0]
		if s.Phase != Waiting || s.Restarts != 10 || s.LastExit != "exit status 3" || s.PID != 0 {
			t.Errorf("status %+v", s)
		}
		v.Stop()
	})
}

func TestProgramThatCannotStartIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.refuse = errors.New("no such file")
		v := newSupervisor(f)
		start(t, v, Service{Name: "a"})
		time.Sleep(time.Second)
		f.mu.Lock()
		f.refuse = nil
		f.mu.Unlock()
		p := <-f.born
		if p.at > 7*time.Second {
			t.Errorf("started at %s", p.at)
		}
		if s := v.Status()[0]; s.LastExit != "no such file" {
			t.Errorf("status %+v", s)
		}
		v.Stop()
	})
}

// TestWatchdog: silence of a ready service means SIGABRT, then SIGKILL, then a
// new start; pings keep it alive.
func TestWatchdog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		v := newSupervisor(f)
		start(t, v, Service{Name: "a", Watchdog: 30 * time.Second})
		p := <-f.born
		p.ignore[syscall.SIGABRT] = true
		v.Deliver(p.pid, Message{Ready: true})
		for range 10 {
			time.Sleep(20 * time.Second)
			v.Deliver(p.pid, Message{Watchdog: true})
		}
		synctest.Wait()
		if got := f.signals(); got != nil {
			t.Fatalf("signals %q while it pinged", got)
		}
		again := <-f.born
		want := []string{"a aborted at 3m50s", "a killed at 3m55s"}
		if got := f.signals(); !slices.Equal(got, want) {
			t.Errorf("signals %q, want %q", got, want)
		}
		if got := v.Status()[0].LastExit; got != "watchdog silent, signal: killed" {
			t.Errorf("exit %q", got)
		}
		// Before it is ready, the watchdog does not count.
		time.Sleep(60 * time.Second)
		if got := len(f.signals()); got != 2 {
			t.Errorf("signals %q", f.signals())
		}
		v.Deliver(again.pid, Message{Ready: true})
		v.Deliver(again.pid, Message{WatchdogTrigger: true})
		synctest.Wait()
		if got := f.signals(); len(got) != 3 {
			t.Errorf("a triggered watchdog did nothing: %q", got)
		}
		v.Stop()
	})
}

func TestStartTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		v := newSupervisor(f)
		start(t, v, Service{Name: "a", StartTimeout: 20 * time.Second})
		p := <-f.born
		time.Sleep(15 * time.Second)
		v.Deliver(p.pid, Message{Extend: 10 * time.Second, Status: "migrating"})
		synctest.Wait()
		if s := v.Status()[0]; s.Text != "migrating" || s.Phase != Starting {
			t.Errorf("status %+v", s)
		}
		<-f.born
		if got := f.signals(); !slices.Equal(got, []string{"a aborted at 25s"}) {
			t.Errorf("signals %q", got)
		}
		if got := v.Status()[0].LastExit; got != "no sign of readiness, signal: aborted" {
			t.Errorf("exit %q", got)
		}
		v.Stop()
	})
}

// TestStopOrder: the last started goes first; one that ignores SIGTERM is
// killed after its time; nothing starts any more.
func TestStopOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		v := newSupervisor(f)
		for _, name := range []string{"first", "second", "third"} {
			start(t, v, Service{Name: name, StopTimeout: 4 * time.Second})
			p := <-f.born
			p.ignore[syscall.SIGTERM] = name == "second"
		}
		v.Stop()
		want := []string{"third terminated at 0s", "second terminated at 0s", "second killed at 4s", "first terminated at 4s"}
		if got := f.signals(); !slices.Equal(got, want) {
			t.Errorf("signals %q, want %q", got, want)
		}
		if got := v.Status()[1].LastExit; got != "not gone after SIGTERM, signal: killed" {
			t.Errorf("exit %q", got)
		}
		if err := v.Start(Service{Name: "late"}); err == nil {
			t.Error("a service was started after Stop")
		}
		v.Stop()
	})
}

func TestStopEndsABackOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		v := newSupervisor(f)
		start(t, v, Service{Name: "a"})
		(<-f.born).exit <- "exit status 1"
		synctest.Wait()
		v.Stop()
		if took := time.Since(f.begin); took != 0 {
			t.Errorf("stopping took %s", took)
		}
		if s := v.Status()[0]; s.Phase != Stopped {
			t.Errorf("status %+v", s)
		}
	})
}

func TestWaitReadyAndDeliver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		v := newSupervisor(f)
		start(t, v, Service{Name: "a"})
		start(t, v, Service{Name: "b"})
		a, b := <-f.born, <-f.born
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- v.WaitReady(ctx, "a", "b") }()
		v.Deliver(a.pid, Message{Ready: true})
		synctest.Wait()
		if len(done) > 0 {
			t.Fatal("one of two was enough")
		}
		if v.Deliver(4711, Message{Ready: true}) {
			t.Error("a stranger's message was taken")
		}
		v.Deliver(b.pid, Message{Ready: true})
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := v.WaitReady(ctx, "a", "c"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting for a service that does not exist: %v", err)
		}
		v.Stop()
	})
}

func TestTwoOfOneName(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newSupervisor(newFake())
		start(t, v, Service{Name: "a"})
		if err := v.Start(Service{Name: "a"}); err == nil {
			t.Error("accepted")
		}
		v.Stop()
	})
}

func TestParseMessage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   string
		want Message
	}{
		{"", Message{}},
		{"READY=1", Message{Ready: true}},
		{"READY=0\nMAINPID=1\nFDSTORE=1", Message{}},
		{"READY=1\nSTATUS=well\x1b[2J \u202eno", Message{Ready: true, Status: "well [2J  no"}},
		{"WATCHDOG=1\n", Message{Watchdog: true}},
		{"WATCHDOG=trigger", Message{WatchdogTrigger: true}},
		{"EXTEND_TIMEOUT_USEC=5000000", Message{Extend: 5 * time.Second}},
		{"EXTEND_TIMEOUT_USEC=99999999999999999", Message{Extend: time.Hour}},
		{"EXTEND_TIMEOUT_USEC=-5", Message{}},
		{`X_CONSOLE={"state":"setup","a":"b=c"}`, Message{Console: `{"state":"setup","a":"b=c"}`}},
	} {
		if got := ParseMessage(c.in); got != c.want {
			t.Errorf("%q: got %+v, want %+v", c.in, got, c.want)
		}
	}
	long := ParseMessage("STATUS=" + string(make([]byte, 1000)) + fmt.Sprint(slices.Repeat([]string{"ä"}, 1000)))
	if len(long.Status) > 256 {
		t.Errorf("status of %d bytes", len(long.Status))
	}
}

func FuzzParseMessage(f *testing.F) {
	f.Add("READY=1\nSTATUS=x\nEXTEND_TIMEOUT_USEC=1\nX_CONSOLE={}")
	f.Fuzz(func(t *testing.T, in string) {
		m := ParseMessage(in)
		if len(m.Status) > 256 || clean(m.Status, 256) != m.Status || m.Extend < 0 || m.Extend > time.Hour {
			t.Errorf("%q: %+v", in, m)
		}
	})
}
