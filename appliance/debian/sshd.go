package debian

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"ringfence/appliance/boot"
	"ringfence/internal/ports"
)

const (
	// sshFile in sysd's folder says how far the move is.
	sshFile = "ssh.json"
	// sshUnit is Debian's.
	sshUnit = "ssh.service"
	// dropIn is the only file of ours among sshd's settings.
	dropIn = "ringfence.conf"
	// watchEvery is how soon a log-in is noticed during the trial, restEvery how
	// often a look is taken at other times.
	watchEvery = 2 * time.Second
	restEvery  = 15 * time.Second
)

// Window is how long sshd is tried on its new port.
const Window = 15 * time.Minute

// phase is how far the move of sshd is.
type phase string

const (
	phaseNone     phase = ""
	phaseTrial    phase = "trial"    // on the new port until somebody logs in, or the time is over
	phaseMoved    phase = "moved"    // somebody did
	phaseReturned phase = "returned" // nobody did
	phaseOwn      phase = "own"      // its settings name ports: the administrator's choice
)

// sshState is what sshFile holds.
type sshState struct {
	Phase phase     `json:"phase"`
	Boot  string    `json:"boot,omitempty"` // of the trial
	Until time.Time `json:"until,omitzero"`
}

// SSH moves sshd to the port of the table, and back unless somebody logs in
// there: whoever can reach the old port only is not locked out for longer than
// the window, and not at all by a restart of the machine.
type SSH struct {
	Dir     string // sysd's
	Root    string // "/" outside tests
	Systemd Systemd
	// Open tells the fence which ports of the host to let in.
	Open   func(ctx context.Context, ports []uint16) error
	Window time.Duration
	Logger *slog.Logger
}

func (s *SSH) path(name string) string { return filepath.Join(s.Root, name) }
func (s *SSH) dropIn() string          { return s.path("etc/ssh/sshd_config.d/" + dropIn) }

func newPort() uint16 {
	row, _ := ports.Lookup(ports.Table(), ports.SSH)
	return row.First
}

// Run begins the move, if that was not done before, and sees it through.
func (s *SSH) Run(ctx context.Context) {
	last := ""
	for {
		every := restEvery
		err := s.step(ctx)
		if state, lerr := s.load(); lerr == nil && state.Phase == phaseTrial {
			every = watchEvery
		}
		if text := fmt.Sprint(err); err != nil && text != last && ctx.Err() == nil {
			s.Logger.Error("moving sshd", "err", err)
			last = text
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
	}
}

// step does what is due now.
func (s *SSH) step(ctx context.Context) error {
	state, err := s.load()
	if err != nil {
		return err
	}
	switch state.Phase {
	case phaseNone:
		err = s.begin(ctx)
	case phaseTrial:
		err = s.watch(ctx, state)
	}
	return errors.Join(err, s.open(ctx))
}

// open has the fence let in where sshd is, and during the trial also where it
// would return to.
func (s *SSH) open(ctx context.Context) error {
	state, err := s.load()
	if err != nil {
		return err
	}
	want := []uint16{ports.SSHStandard}
	switch _, err := os.Stat(s.dropIn()); {
	case state.Phase == phaseOwn:
		if want, err = s.ownPorts(); err != nil {
			return err
		}
	case err == nil && state.Phase == phaseTrial:
		want = append(want, newPort())
	case err == nil:
		want = []uint16{newPort()}
	}
	return s.Open(ctx, want) // each time: the fence may have been made anew
}

// begin moves sshd, if it is there and its settings name no port.
func (s *SSH) begin(ctx context.Context) error {
	u, err := s.Systemd.Unit(ctx, sshUnit)
	if err != nil || u.Load != "loaded" || u.Active != "active" {
		return err // it may be installed or started later
	}
	own, err := s.ownPorts()
	if err != nil {
		return err
	}
	if len(own) > 0 {
		s.Logger.Warn("sshd stays where its settings have it", "ports", own)
		return s.save(sshState{Phase: phaseOwn})
	}
	boot, err := s.bootID()
	if err != nil {
		return err
	}
	until := time.Now().Add(s.Window)
	// Written first: a power cut in between must find a trial to end. Both
	// ports are open before sshd leaves the old one.
	if err := s.save(sshState{Phase: phaseTrial, Boot: boot, Until: until}); err != nil {
		return err
	}
	if err := s.write(); err != nil {
		return errors.Join(err, s.back(ctx))
	}
	if err := s.open(ctx); err != nil {
		return errors.Join(err, s.back(ctx))
	}
	if err := s.Systemd.Restart(ctx, sshUnit); err != nil {
		return errors.Join(err, s.back(ctx))
	}
	s.Logger.Warn("sshd moved; it returns unless somebody logs in there", "port", newPort(), "until", until.Format(time.RFC3339))
	return nil
}

func (s *SSH) write() error {
	text := fmt.Sprintf("# Ringfence moved sshd here. It is %s that decides.\nPort %d\n", sshFile, newPort())
	return boot.WriteFile(s.dropIn(), []byte(text), 0o644)
}

// watch ends the trial when its outcome is known.
func (s *SSH) watch(ctx context.Context, state sshState) error {
	boot, err := s.bootID()
	if err != nil {
		return err
	}
	switch {
	case boot != state.Boot:
		s.Logger.Warn("the machine restarted before anybody had logged in on the new port; sshd returns")
		return s.back(ctx)
	case !time.Now().Before(state.Until) || time.Until(state.Until) > s.Window:
		// The second: the clock was set back, and tells nothing any more.
		s.Logger.Warn("nobody logged in on the new port; sshd returns")
		return s.back(ctx)
	}
	in, err := s.loggedIn(ctx)
	if err != nil || !in {
		return err
	}
	s.Logger.Info("somebody logged in on the new port; sshd stays", "port", newPort())
	return s.save(sshState{Phase: phaseMoved})
}

// back returns sshd to where it was.
func (s *SSH) back(ctx context.Context) error {
	if err := remove(s.dropIn()); err != nil {
		return err
	}
	if err := s.Systemd.Restart(ctx, sshUnit); err != nil {
		return err // tried again: the state still says trial
	}
	return s.save(sshState{Phase: phaseReturned})
}

// loggedIn reports a session of the sshd that listens on the new port. Sessions
// that began before the move belong to a process that is gone: their leader's
// parent is not it.
func (s *SSH) loggedIn(ctx context.Context) (bool, error) {
	leaders, err := s.Systemd.Leaders(ctx)
	if err != nil || len(leaders) == 0 {
		return false, err
	}
	u, err := s.Systemd.Unit(ctx, sshUnit)
	if err != nil || u.MainPID == 0 {
		return false, err
	}
	for _, pid := range leaders {
		if s.parent(pid) == u.MainPID {
			return true, nil
		}
	}
	return false, nil
}

// parent is a process's parent, 0 if it is gone.
func (s *SSH) parent(pid int) int {
	data, err := os.ReadFile(s.path(fmt.Sprintf("proc/%d/status", pid)))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if text, found := strings.CutPrefix(line, "PPid:"); found {
			n, err := strconv.Atoi(strings.TrimSpace(text))
			if err != nil {
				return 0
			}
			return n
		}
	}
	return 0
}

func (s *SSH) bootID() (string, error) {
	data, err := os.ReadFile(s.path("proc/sys/kernel/random/boot_id"))
	if err != nil {
		return "", fmt.Errorf("reading the boot's id: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// ownPorts are the ports that sshd's settings name, ours aside. Port lines add
// up (sshd_config(5)), so that a file of ours could not move it alone.
func (s *SSH) ownPorts() (list []uint16, err error) {
	files, err := filepath.Glob(s.path("etc/ssh/sshd_config.d/*.conf"))
	if err != nil {
		return nil, err
	}
	for _, name := range append(files, s.path("etc/ssh/sshd_config")) {
		if name == s.dropIn() {
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("reading sshd's settings: %w", err)
		}
		list = append(list, portLines(string(data))...)
	}
	return list, nil
}

// portLines finds Port, and the port of ListenAddress.
func portLines(text string) (list []uint16) {
	for line := range strings.Lines(text) {
		words := strings.FieldsFunc(strings.TrimSpace(line), func(r rune) bool { return r == ' ' || r == '\t' || r == '=' })
		if len(words) < 2 {
			continue
		}
		value := strings.Trim(words[1], `"`)
		switch strings.ToLower(words[0]) {
		case "port":
		case "listenaddress":
			_, value, _ = strings.Cut(value[strings.LastIndexByte(value, ']')+1:], ":")
			if strings.Contains(value, ":") { // an IPv6 address without brackets
				value = ""
			}
			if value == "" {
				value = strconv.Itoa(int(ports.SSHStandard))
			}
		default:
			continue
		}
		if n, err := strconv.ParseUint(value, 10, 16); err == nil && n > 0 && !slices.Contains(list, uint16(n)) {
			list = append(list, uint16(n))
		}
	}
	return list
}

// Restore returns sshd to its old port.
func (s *SSH) Restore(ctx context.Context) error {
	_, err := os.Stat(s.dropIn())
	if err == nil {
		err = s.back(ctx)
	} else if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return err
	}
	return remove(filepath.Join(s.Dir, sshFile))
}

// Settle makes an image on which sshd is on its new port from the first boot.
func (s *SSH) Settle() error {
	if err := s.write(); err != nil {
		return err
	}
	return s.save(sshState{Phase: phaseMoved})
}

// Notices tell people where sshd is, if it is not where it should be.
func (s *SSH) Notices() []string {
	state, err := s.load()
	switch {
	case err != nil:
		return []string{err.Error()}
	case state.Phase == phaseTrial:
		return []string{fmt.Sprintf("SSH of this machine is on trial on port %d, and returns to %d at %s (UTC) unless somebody logs in there.",
			newPort(), ports.SSHStandard, state.Until.UTC().Format("15:04"))}
	case state.Phase == phaseReturned:
		return []string{fmt.Sprintf("SSH of this machine is back on port %d, because nobody logged in on %d.", ports.SSHStandard, newPort())}
	case state.Phase == phaseOwn:
		return []string{"SSH of this machine stays where its own settings have it."}
	}
	return nil
}

func (s *SSH) load() (state sshState, err error) {
	return state, load(filepath.Join(s.Dir, sshFile), &state)
}

func (s *SSH) save(state sshState) error { return save(filepath.Join(s.Dir, sshFile), state) }
