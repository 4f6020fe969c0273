package supervise

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"time"
)

// Options are what a Supervisor needs.
type Options struct {
	Spawner Spawner
	Logger  *slog.Logger
	// Output receives each line that a service prints. It must not block.
	Output func(service, line string)
	// Changed is called after every change of a Status, without locks held.
	// It must not block.
	Changed func()
	// Message receives what a service notified, after the supervisor has seen
	// it; for the keys that are not the supervisor's. It must not block.
	Message func(service string, m Message)
}

// Supervisor runs services, each in its own goroutine.
type Supervisor struct {
	o  Options
	wg sync.WaitGroup

	mu      sync.Mutex
	order   []*unit
	stopped bool
	changed chan struct{} // closed and replaced at every change
}

// unit is one service under supervision. Its status is guarded by the
// supervisor's mu; everything else belongs to its goroutine.
type unit struct {
	Service
	status   Status
	messages chan Message
	stop     chan struct{} // closed to ask for the end
	stopOnce sync.Once
	ended    chan struct{} // closed when the goroutine is gone
}

// New returns a supervisor without services.
func New(o Options) *Supervisor {
	if o.Output == nil {
		o.Output = func(string, string) {}
	}
	if o.Changed == nil {
		o.Changed = func() {}
	}
	if o.Message == nil {
		o.Message = func(string, Message) {}
	}
	return &Supervisor{o: o, changed: make(chan struct{})}
}

// Start begins to run s and returns at once.
func (v *Supervisor) Start(s Service) error {
	u := &unit{
		Service:  s,
		status:   Status{Name: s.Name, Phase: Stopped, Since: time.Now()},
		messages: make(chan Message, 16),
		stop:     make(chan struct{}),
		ended:    make(chan struct{}),
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.stopped {
		return fmt.Errorf("starting %s: the system is going down", s.Name)
	}
	for _, o := range v.order {
		if o.Name == s.Name {
			return fmt.Errorf("starting %s: it is under supervision already", s.Name)
		}
	}
	v.order = append(v.order, u)
	v.wg.Go(func() {
		defer close(u.ended)
		v.run(u)
	})
	return nil
}

// Status returns how every service is, in the order of their Start.
func (v *Supervisor) Status() []Status {
	v.mu.Lock()
	defer v.mu.Unlock()
	list := make([]Status, len(v.order))
	for i, u := range v.order {
		list[i] = u.status
	}
	return list
}

// WaitReady returns nil once all of the named services have been seen ready at
// the same time, or the context's error.
func (v *Supervisor) WaitReady(ctx context.Context, names ...string) error {
	for {
		ready, changed := v.ready(names)
		if ready {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (v *Supervisor) ready(names []string) (bool, <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	count := 0
	for _, u := range v.order {
		for _, n := range names {
			if u.Name == n && u.status.Phase == Ready {
				count++
			}
		}
	}
	return count == len(names), v.changed
}

// Deliver hands a message to the service whose main process sent it. It
// reports whether there is one: messages of other processes are nobody's.
func (v *Supervisor) Deliver(pid int, m Message) bool {
	deadline := time.Now().Add(time.Second)
	for {
		to, unborn, changed := v.byPID(pid)
		switch {
		case to != nil:
			select {
			case to.messages <- m:
			case <-to.ended:
			}
			return true
		case !unborn || time.Now().After(deadline):
			return false
		}
		// A program may speak before its start has been written down.
		select {
		case <-changed:
		case <-time.After(time.Until(deadline)):
		}
	}
}

// byPID finds the service whose process has the pid; unborn tells that some
// service is being started whose pid is not known yet.
func (v *Supervisor) byPID(pid int) (to *unit, unborn bool, changed <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, u := range v.order {
		switch {
		case pid > 0 && u.status.PID == pid:
			return u, false, v.changed
		case u.status.Phase == Starting && u.status.PID == 0:
			unborn = true
		}
	}
	return nil, unborn, v.changed
}

// Stop ends all services, the last started first, each within its StopTimeout,
// and returns when none is left.
func (v *Supervisor) Stop() {
	v.mu.Lock()
	v.stopped = true
	list := append([]*unit(nil), v.order...)
	v.mu.Unlock()
	for i := len(list) - 1; i >= 0; i-- {
		list[i].stopOnce.Do(func() { close(list[i].stop) })
		<-list[i].ended
	}
	v.wg.Wait()
}

func (v *Supervisor) update(u *unit, f func(*Status)) {
	v.mu.Lock()
	before := u.status
	f(&u.status)
	if u.status.Phase != before.Phase {
		u.status.Since = time.Now()
	}
	same := u.status == before
	if !same {
		close(v.changed)
		v.changed = make(chan struct{})
	}
	v.mu.Unlock()
	if !same {
		v.o.Changed()
	}
}

// run starts the service again and again until it is asked to stop.
func (v *Supervisor) run(u *unit) {
	backOff := minBackOff
	for {
		started := time.Now()
		exit := v.once(u)
		if time.Since(started) >= settled {
			backOff = minBackOff
		}
		select {
		case <-u.stop:
			v.update(u, func(s *Status) { s.Phase, s.PID, s.LastExit = Stopped, 0, exit })
			return
		default:
		}
		v.o.Logger.Warn("service ended, starting it again", "service", u.Name, "exit", exit, "after", time.Since(started).Round(time.Millisecond), "pause", backOff)
		v.update(u, func(s *Status) { s.Phase, s.PID, s.Text, s.LastExit = Waiting, 0, "", exit; s.Restarts++ })
		select {
		case <-time.After(backOff):
		case <-u.stop:
			v.update(u, func(s *Status) { s.Phase = Stopped })
			return
		}
		backOff = min(2*backOff, maxBackOff)
	}
}

// once runs the service to its end and says how that was.
func (v *Supervisor) once(u *unit) string {
	v.update(u, func(s *Status) { s.Phase = Starting })
	p, err := v.o.Spawner.Spawn(u.Service, func(line string) { v.o.Output(u.Name, line) })
	if err != nil {
		return err.Error()
	}
	v.update(u, func(s *Status) { s.PID = p.PID() })
	exited := make(chan string, 1)
	go func() { exited <- p.Wait() }()
	w := &watch{v: v, u: u, p: p, stop: u.stop, patience: time.NewTimer(u.startTimeout())}
	defer w.patience.Stop()
	for {
		select {
		case exit := <-exited:
			u.drain()
			return w.reason + exit
		case m := <-u.messages:
			w.message(m)
			v.o.Message(u.Name, m)
		case <-w.patience.C:
			w.lost()
		case <-w.stop:
			w.terminate()
		}
	}
}

// drain forgets what the process that ended has still said.
func (u *unit) drain() {
	for {
		select {
		case <-u.messages:
		default:
			return
		}
	}
}

// watch follows one run of a service. patience is the time until the next
// sign of life is due: READY=1, then WATCHDOG=1, and in the end the exit.
type watch struct {
	v        *Supervisor
	u        *unit
	p        Process
	stop     <-chan struct{} // nil once the end was asked for
	patience *time.Timer
	ready    bool
	ending   bool // a signal that ends it was sent
	aborted  bool
	reason   string
}

func (w *watch) message(m Message) {
	if m.Status != "" {
		w.v.update(w.u, func(s *Status) { s.Text = m.Status })
	}
	if w.ending {
		return
	}
	switch {
	case m.Ready && !w.ready:
		w.ready = true
		w.v.update(w.u, func(s *Status) { s.Phase = Ready })
		w.expectPing()
	case m.WatchdogTrigger:
		w.lost()
	case m.Watchdog && w.ready:
		w.expectPing()
	case m.Extend > 0:
		w.patience.Reset(min(m.Extend, w.u.startTimeout()))
	}
}

func (w *watch) expectPing() {
	if w.u.Watchdog > 0 {
		w.patience.Reset(w.u.Watchdog)
	} else {
		w.patience.Stop()
	}
}

// lost acts on a sign of life that did not come: first SIGABRT, on which Go
// prints all its stacks, then SIGKILL.
func (w *watch) lost() {
	what := "no sign of readiness"
	switch {
	case w.ending && !w.aborted:
		what = "not gone after SIGTERM"
	case w.ready:
		what = "watchdog silent"
	}
	if w.aborted || w.ending {
		w.signal(syscall.SIGKILL)
		w.patience.Reset(abortGrace) // again, should it hang in the kernel
		if w.ending && !w.aborted {
			w.reason = what + ", "
		}
		return
	}
	w.v.o.Logger.Error("service does not answer", "service", w.u.Name, "why", what)
	w.reason = what + ", "
	w.aborted, w.ending = true, true
	w.signal(syscall.SIGABRT)
	w.patience.Reset(abortGrace)
}

// terminate asks the service to end.
func (w *watch) terminate() {
	w.stop = nil
	w.v.update(w.u, func(s *Status) { s.Phase = Stopping })
	if w.ending {
		return // SIGABRT or SIGKILL is on its way already
	}
	w.ending = true
	w.signal(syscall.SIGTERM)
	w.patience.Reset(w.u.stopTimeout())
}

func (w *watch) signal(s syscall.Signal) {
	if err := w.p.Signal(s); err != nil {
		w.v.o.Logger.Warn("signalling service failed", "service", w.u.Name, "signal", s.String(), "err", err)
	}
}
