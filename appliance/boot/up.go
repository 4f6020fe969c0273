package boot

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ringfence/appliance/boot/console"
	"ringfence/appliance/boot/supervise"
	"ringfence/appliance/disk"
	cloudinit "ringfence/cloud-init"
)

// storageRetry is the pause between tries to mount /perm.
const storageRetry = 5 * time.Second

// up brings the machine up and stays until it is healthy, given up, or ctx
// ends.
func (m *machine) up(ctx context.Context) {
	if err := m.paths.applySysctls(); err != nil {
		m.logger.Warn("hardening", "err", err)
	}
	d, err := m.paths.findDisk()
	if err == nil {
		if size, is := m.fromStick(ctx, d); is && !m.install(ctx, d, size) {
			return
		}
		m.disk = d
		if esp, perr := m.paths.partition(d, disk.ESP); perr == nil {
			m.openSlots(esp)
		}
	}
	settled := make(chan struct{})
	go func() { // beside the rest: it also covers storage that does not come
		defer close(settled)
		m.settle(ctx, m.judge().verdict(ctx))
	}()
	if m.storage(ctx, err) {
		m.makeFolders()
		m.check("The services cannot report", m.notifications())
		m.prepare(ctx)
		if err := m.services(ctx); err != nil && ctx.Err() == nil {
			m.notice("The services cannot be started: %v", err)
		}
	}
	go m.keepTime(ctx)
	<-settled
	m.noteRegularly(ctx)
}

func (m *machine) judge() judge {
	return judge{
		running: m.cmd.Slot, slots: m.slots, limit: m.cmd.HealthTimeout, logger: m.logger,
		ready: func(ctx context.Context) error {
			return m.sup.WaitReady(ctx, ServiceFence, ServiceKeeper, ServicePBX)
		},
		restarts: func() (n int) {
			for _, s := range m.sup.Status() {
				if s.Name != ServiceShell { // nobody's call hangs on it
					n += s.Restarts
				}
			}
			return n
		},
	}
}

// storage mounts the disk that was found, or looks for it until it comes.
func (m *machine) storage(ctx context.Context, err error) bool {
	for {
		if err == nil {
			err = m.mountStorage()
		}
		if err == nil {
			return true
		}
		m.notice("The storage cannot be used: %v", err)
		m.say("This machine cannot work without its storage. It is tried again.")
		select {
		case <-time.After(storageRetry):
		case <-ctx.Done():
			return false
		}
		m.disk, err = m.paths.findDisk()
	}
}

func (m *machine) mountStorage() error {
	device, err := m.paths.partition(m.disk, disk.Perm)
	if err != nil {
		return err
	}
	return m.paths.mountPerm(device)
}

// check tells what failed; everything else goes on, as long as the services
// may still work.
func (m *machine) check(what string, err error) {
	if err != nil {
		m.notice("%s: %v", what, err)
	}
}

// makeFolders carries out a factory reset that was asked for and makes what
// everything else stands on.
func (m *machine) makeFolders() {
	m.say(starting)
	if m.cmd.FactoryReset || m.paths.resetPending() {
		m.logger.Warn("factory reset")
		m.check("The factory reset failed", m.paths.factoryReset())
	}
	m.check("Folders", makeFolders(m.paths.folders(), os.Lchown))
	m.check("Log", m.journal.OpenFile(m.paths.Perm("log")))
	m.check("Random seed", m.paths.stirRandom())
	if moved, err := m.paths.fixClock(SetClock); moved {
		m.logger.Warn("the clock was behind and was moved to the last known time", "err", err)
	}
	m.check("DNS settings", m.paths.resolver())
}

// prepare decides which machine this is and what its services are told.
func (m *machine) prepare(ctx context.Context) {
	seed, problems := m.paths.readSeed(ctx, m.disk)
	seed, said, more := m.cloud(ctx, seed)
	problems = append(problems, more...)
	id, fresh := m.identify(seed)
	m.check("The machine's identity cannot be kept", m.paths.remember(&id, seed, said))
	m.check("SSH keys", m.paths.keepSSHKeys(seed.SSHKeys, fresh))
	name := m.paths.hostname(seed.Hostname, id)
	m.check("Host name", unix.Sethostname([]byte(name)))
	more, err := m.paths.handOver(seed, name, true)
	m.check("First-boot data", err)
	for _, p := range append(problems, more...) {
		m.seedProblem(p)
	}
	m.mu.Lock()
	m.hostname = name
	m.mu.Unlock()
	m.update(func(s *State) {
		s.MachineID, s.Seed = id.MachineID, seed.Source
		if s.Cloud != "" {
			s.Public = id.Public
		}
	})
}

func (m *machine) seedProblem(p cloudinit.Problem) {
	if p.Warning {
		m.logger.Info("first-boot data", "problem", p.String())
		return
	}
	m.notice("First-boot data: %s", p)
}

// resolver leads /etc/resolv.conf, which points into /tmp in a root file system
// made by gokrazy's tools, to what fenced writes.
func (p Paths) resolver() error {
	return os.Symlink(p.Run(ResolverFile), filepath.Join(p.Root, "tmp/resolv.conf"))
}

// identify makes sure of the machine's identity and arranges the disk; fresh
// reports a machine that was not there before.
func (m *machine) identify(seed cloudinit.Seed) (id identity, fresh bool) {
	table, err := m.disk.table()
	if err != nil {
		m.notice("The partition table cannot be read: %v", err)
	}
	id, fresh, err = m.paths.ensureIdentity(table, seed.InstanceID)
	if err != nil {
		m.notice("The machine's identity cannot be kept: %v", err)
		return id, fresh
	}
	if fresh {
		m.logger.Info("new machine", "id", id.MachineID, "instance", seed.InstanceID)
	}
	if err := replaceFile(m.paths.Run(MachineIDFile), []byte(id.MachineID+"\n"), 0o444, -1, -1); err != nil {
		m.notice("Machine id: %v", err)
	}
	if table != nil {
		if err := m.arrangeDisk(id); err != nil {
			m.notice("The disk cannot be arranged: %v", err)
		}
	}
	return id, fresh
}

func (m *machine) arrangeDisk(id identity) error {
	f, err := os.OpenFile(m.disk.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	a, err := arrange(f, m.disk.size, id, m.slots)
	if err != nil {
		return err
	}
	name := m.disk.parts[disk.Perm]
	if sectors, err := readNumber(m.paths.sys(filepath.Join("class/block", name, "size"))); err == nil && sectors*512 < a.perm.Size() {
		if err := m.disk.tellKernel(f, a.perm); err != nil {
			return err
		}
	}
	go func() { // large disks take their time, and nothing waits for it
		begin := time.Now()
		grown, err := growExt4(m.paths.Perm(""), m.paths.dev(name), a.perm.Size())
		switch {
		case err != nil:
			m.notice("The storage does not use all of the disk: %v", err)
		case grown:
			m.logger.Info("storage grown", "bytes", a.perm.Size(), "took", time.Since(begin).Round(time.Millisecond))
		}
	}()
	return nil
}

// notifications opens the socket that services report to.
func (m *machine) notifications() error {
	notify, err := supervise.ListenNotify(m.paths.Run(NotifySocket), GroupRingfence, m.logger)
	if err != nil {
		return err
	}
	go func() {
		// Not ctx: services report until they have ended.
		if err := notify.Serve(context.Background(), m.sup.Deliver); err != nil {
			m.logger.Error("notifications ended", "err", err)
		}
	}()
	return nil
}

// services starts those that do not run yet. They need not wait for each
// other: no interface is up before fenced has loaded its packet filter and
// then brings it up, and whoever needs another's socket tries until it is
// there.
func (m *machine) services(ctx context.Context) error {
	for _, s := range m.paths.services() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := m.startService(s.Name); err != nil {
			return err
		}
	}
	return nil
}

// startService starts a service, unless it was started before.
func (m *machine) startService(name string) error {
	if slices.ContainsFunc(m.sup.Status(), func(s supervise.Status) bool { return s.Name == name }) {
		return nil
	}
	for _, s := range m.paths.services() {
		if s.Name == name {
			return m.sup.Start(s)
		}
	}
	return fmt.Errorf("there is no service %s", name)
}

// settle acts on the verdict.
func (m *machine) settle(ctx context.Context, v Verdict) {
	switch v {
	case Return:
		m.logger.Error("this version does not start properly, going back to the other slot")
		m.ask(Reboot)
		return
	case Retry:
		m.mu.Lock()
		m.unwell = true
		m.mu.Unlock()
	case Healthy:
		m.logger.Info("all services are ready", "after", time.Since(m.started).Round(time.Millisecond))
		m.update(func(s *State) { s.Healthy = true })
		go m.reportReady(ctx)
	}
	m.deadline.Store(0)
	m.journal.Quieten()
	m.mu.Lock()
	if m.doing == starting {
		m.doing = ""
	}
	m.mu.Unlock()
	m.changed()
}

// noteRegularly writes down the time until ctx ends.
func (m *machine) noteRegularly(ctx context.Context) {
	for ctx.Err() == nil {
		if err := m.paths.noteClock(); err != nil {
			m.logger.Warn("writing the time down failed", "err", err)
		}
		select {
		case <-time.After(clockEvery):
		case <-ctx.Done():
		}
	}
}

// listen turns signals and buttons into requests.
func (m *machine) listen() {
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF) // Ctrl-Alt-Del is a SIGINT from now on
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, SignalPowerOff, SignalReboot, unix.SIGINT, unix.SIGPWR)
	// PID 1 ignores what it has no handler for; these would be handled by Go.
	signal.Ignore(unix.SIGTERM, unix.SIGHUP, unix.SIGPIPE, unix.SIGQUIT)
	go func() {
		for s := range signals {
			if s == SignalPowerOff || s == unix.SIGPWR {
				m.ask(PowerOff)
			} else {
				m.ask(Reboot)
			}
		}
	}()
	m.paths.watchPowerButtons(func() { m.ask(PowerOff) })
}

// reap takes orphans whenever a child ends.
func (m *machine) reap() {
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	for range children {
		for {
			if _, more := m.children.Reap(); !more {
				break
			}
			time.Sleep(10 * time.Millisecond) // somebody is about to wait for it
		}
	}
}

// openConsole opens the terminals that the kernel prints to.
func (m *machine) openConsole() {
	var outputs []console.Output
	for _, name := range m.cmd.Consoles {
		if o, ok := m.terminal(name); ok {
			outputs = append(outputs, o)
		}
	}
	if len(outputs) == 0 {
		if o, ok := m.terminal("console"); ok {
			outputs = append(outputs, o)
		}
	}
	m.console = console.Open(outputs...)
}

// kind tells a screen from a serial line.
func (m *machine) kind(name string) console.Kind {
	if strings.HasPrefix(name, "tty") && len(name) > 3 && name[3] >= '0' && name[3] <= '9' {
		return console.Display
	}
	return console.Log
}

func (m *machine) terminal(name string) (console.Output, bool) {
	kind := m.kind(name)
	if name == "tty0" {
		name = "tty1" // tty0 is whichever is in front
	}
	// Not as a controlling terminal, and not to read from.
	f, err := os.OpenFile(m.paths.dev(name), os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return console.Output{}, false
	}
	o := console.Output{W: f, Kind: kind}
	if kind == console.Display {
		o.Size = func() (int, int) {
			if ws, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && ws.Col >= 40 && ws.Row >= 10 {
				return int(ws.Col), int(ws.Row)
			}
			return 80, 24
		}
	}
	return o, true
}

// down ends the machine in order: services in reverse, strays, disks.
func (m *machine) down(action Action, stopDog chan struct{}) error {
	m.deadline.Store(time.Now().Add(downLimit).UnixNano())
	m.say(map[Action]string{Reboot: "Restarting ...", PowerOff: "Switching off ..."}[action])
	m.console.Show(m.screen())
	m.logger.Info("going down", "how", string(action))
	m.sup.Stop()
	_ = m.paths.noteClock()
	m.journal.Close(2 * time.Second)
	m.endStrays()
	unix.Sync()
	if err := m.paths.unmount(); err != nil {
		m.console.Line("init: " + err.Error())
	}
	unix.Sync()
	m.console.Line(fmt.Sprintf("ringfence: %s", action))
	m.console.Close(time.Second)
	command := unix.LINUX_REBOOT_CMD_RESTART
	if action == PowerOff {
		command = unix.LINUX_REBOOT_CMD_POWER_OFF
		if m.dog != nil {
			close(stopDog)
			m.dog.disarm() // a machine that stays off must not be woken by it
		}
	}
	return unix.Reboot(command)
}

// endStrays ends processes that nobody supervises, so that disks can be let go.
func (m *machine) endStrays() {
	if err := unix.Kill(-1, unix.SIGKILL); err != nil {
		return // there are none
	}
	for range 20 {
		time.Sleep(20 * time.Millisecond)
		if unix.Kill(-1, 0) != nil {
			return
		}
	}
}
