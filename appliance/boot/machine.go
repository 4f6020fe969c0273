package boot

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ringfence/appliance/boot/console"
	"ringfence/appliance/boot/supervise"
	"ringfence/appliance/slot"
	"ringfence/internal/version"
)

// downLimit is how long an ordered end may take until the watchdog ends it.
const downLimit = 90 * time.Second

// upLimit is how long the beginning may take to notice that the end is near.
const upLimit = 10 * time.Second

const maxNotices = 8

// starting is what the machine does until it is judged.
const starting = "Starting ..."

// machine is a run of PID 1.
type machine struct {
	paths    Paths
	cmd      CommandLine
	logger   *slog.Logger
	journal  *Journal
	console  *console.Console
	children *supervise.Children
	exec     supervise.Exec
	sup      *supervise.Supervisor
	askCloud func(ctx context.Context, args ...string) ([]byte, error) // speak, outside tests
	askTime  func(ctx context.Context, args ...string) ([]byte, error) // speakTime, outside tests
	slots    Slots                                                     // nil without a slot or an EFI system partition
	disk     systemDisk
	dog      *watchdog
	started  time.Time

	end    chan Action   // requests to end
	redraw chan struct{} // one slot, coalescing
	// deadline is until when the watchdog is fed whatever happens, as Unix
	// nanoseconds; 0 is for ever.
	deadline atomic.Int64

	mu       sync.Mutex
	state    State
	hostname string
	doing    string
	unwell   bool // not healthy in time, and kept trying
	status   console.Status
}

// Run is the life of PID 1 from the first instruction to the last. It returns
// only when the machine cannot be ended.
func Run() error {
	m := newMachine(Paths{"/"})
	earlyErr := m.paths.mountEarly()
	text, _ := os.ReadFile(m.paths.proc("cmdline"))
	m.cmd = ParseCommandLine(string(text))
	m.dog = m.paths.openWatchdog()
	m.openConsole()
	m.logger.Info("starting", "version", version.String(), "slot", string(m.cmd.Slot))
	if earlyErr != nil {
		m.logger.Error("mounting", "err", earlyErr)
	}
	ctx, cancel := context.WithCancel(context.Background())
	stopDog := m.guard()
	go m.reap()
	go m.draw(ctx)
	m.listen()
	upDone := make(chan struct{})
	go func() {
		defer close(upDone)
		m.up(ctx)
	}()
	action := <-m.end
	cancel()
	select {
	case <-upDone:
	case <-time.After(upLimit): // the end does not wait for a beginning that hangs
	}
	return m.down(action, stopDog)
}

func newMachine(p Paths) *machine {
	m := &machine{
		paths: p, children: &supervise.Children{},
		end: make(chan Action, 1), redraw: make(chan struct{}, 1),
		doing: starting, started: time.Now(),
	}
	m.state = State{Version: version.String(), Started: m.started}
	m.journal = NewJournal(func(line string) {
		if m.console != nil {
			m.console.Line(line)
		}
	})
	m.logger = slog.New(slog.NewTextHandler(m.journal, nil))
	m.exec = supervise.Exec{Notify: p.Run(NotifySocket), Children: m.children}
	m.askCloud, m.askTime = m.speak, m.speakTime
	m.sup = supervise.New(supervise.Options{
		Spawner: m.exec,
		Logger:  m.logger,
		Output:  m.journal.Line,
		Changed: m.changed,
		Message: m.told,
	})
	return m
}

// ask requests an end; the first request counts.
func (m *machine) ask(a Action) {
	select {
	case m.end <- a:
	default:
	}
}

// guard feeds the watchdog. The gate asks the supervisor, so that a supervisor
// that hangs is noticed.
func (m *machine) guard() (stop chan struct{}) {
	stop = make(chan struct{})
	if m.dog == nil {
		m.logger.Info("no watchdog")
		return stop
	}
	m.deadline.Store(time.Now().Add(m.cmd.HealthTimeout + 2*downLimit).UnixNano())
	m.update(func(s *State) { s.Watchdog = m.dog.name })
	m.logger.Info("watchdog armed", "device", m.dog.name, "timeout", m.dog.timeout)
	go keepAlive(m.dog.ping, m.dog.timeout/6, m.alive, stop)
	return stop
}

func (m *machine) alive() bool {
	if d := m.deadline.Load(); d != 0 && time.Now().UnixNano() > d {
		return false
	}
	return len(m.sup.Status()) >= 0 // takes its lock
}

// told handles what a service notified beyond the supervisor's concern.
func (m *machine) told(service string, msg supervise.Message) {
	if service != ServicePBX || msg.Console == "" {
		return
	}
	status, err := console.ParseStatus(msg.Console)
	if err != nil {
		m.logger.Warn("console status of pbxd not understood", "err", err)
		return
	}
	m.mu.Lock()
	m.status = status
	m.mu.Unlock()
	if status.State == console.Running {
		if err := m.paths.forgetSeed(); err != nil {
			m.logger.Error("removing preset answers failed", "err", err)
		}
	}
	m.changed()
}

func (m *machine) changed() {
	select {
	case m.redraw <- struct{}{}:
	default:
	}
}

// notice keeps a sentence on the console for this boot.
func (m *machine) notice(format string, args ...any) {
	text := console.Printable(fmt.Sprintf(format, args...), 300)
	m.logger.Warn(text)
	m.update(func(s *State) {
		if len(s.Notices) < maxNotices && !slices.Contains(s.Notices, text) {
			s.Notices = append(s.Notices, text)
		}
	})
}

// update changes the state of the boot and tells everybody.
func (m *machine) update(f func(*State)) {
	m.mu.Lock()
	f(&m.state)
	var err error
	if _, missing := os.Stat(m.paths.Run("")); missing == nil {
		err = m.paths.SaveState(m.state) // in memory: it does not wait for a disk
	}
	m.mu.Unlock()
	if err != nil {
		m.logger.Warn("saving the state of the boot failed", "err", err)
	}
	m.changed()
}

func (m *machine) say(doing string) {
	m.mu.Lock()
	m.doing = doing
	m.mu.Unlock()
	m.changed()
}

// draw shows the screen after each change until the machine ends.
func (m *machine) draw(ctx context.Context) {
	for {
		m.console.Show(m.screen())
		select {
		case <-m.redraw:
		case <-ctx.Done():
			return
		}
	}
}

// screen composes what the console shows now.
func (m *machine) screen() console.Screen {
	services := m.sup.Status()
	m.mu.Lock()
	defer m.mu.Unlock()
	s := console.Screen{
		Product: "Ringfence " + m.state.Version, Slot: string(m.cmd.Slot), Hostname: m.hostname,
		Doing: m.doing, Notices: slices.Clone(m.state.Notices), Status: m.status,
	}
	if c := m.state.Clock; c != nil && c.Problem != "" {
		s.Notices = append(s.Notices, c.Problem)
	}
	bad := false
	for _, sv := range services {
		line := sv.Name + ": " + string(sv.Phase)
		if sv.Text != "" {
			line += ", " + sv.Text
		}
		if sv.Restarts > 0 && sv.Phase != supervise.Ready {
			line += fmt.Sprintf(", restarted %d times, last: %s", sv.Restarts, sv.LastExit)
		}
		bad = bad || sv.Phase != supervise.Ready
		s.Services = append(s.Services, console.Printable(line, 200))
	}
	if s.Doing == starting && !bad && s.Status.State != "" {
		s.Doing = "" // it serves; whether it is healthy is still to be judged
	}
	switch {
	case s.Doing != "":
	case bad && m.unwell:
		s.Doing = "Not everything works. What fails is started again and again."
	case bad:
		s.Doing = "A service is being restarted ..."
	default:
		s.Services = nil
	}
	return s
}

// openSlots finds the loaders' record.
func (m *machine) openSlots(device string) {
	if !m.cmd.Slot.Valid() {
		return
	}
	if err := m.paths.mountESP(device); err != nil {
		m.notice("The boot partition cannot be read: %v", err)
		return
	}
	m.slots = espSlots{m.paths, slot.Open(m.paths.ESP(), slot.RunningFirmware(m.paths.Root))}
	state, err := m.slots.Load()
	if err != nil {
		m.notice("The slot record cannot be read: %v", err)
		return
	}
	version, notice := undone(state, m.cmd.Slot)
	m.update(func(s *State) {
		s.Slot, s.Trial, s.Undone = string(m.cmd.Slot), state.Committed != m.cmd.Slot, version
	})
	if notice != "" {
		m.notice("%s", notice)
	}
}
