package keeper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ringfence/appliance/boot"
	"ringfence/appliance/slot"
	"ringfence/internal/version"
)

// Host is the machine that sysd runs on: the appliance, or a Debian system
// where there are no slots and no first-boot data.
type Host struct {
	// Data is sysd's folder.
	Data  string
	Paths boot.Paths
	// Signal reaches PID 1.
	Signal func(syscall.Signal) error
	// Hostname and Clock change the running system.
	Hostname func(string) error
	Clock    func(time.Time) error
}

// NewHost returns the machine itself.
func NewHost(data string) Host {
	return Host{
		Data: data, Paths: boot.Paths{Root: "/"},
		Signal:   func(s syscall.Signal) error { return unix.Kill(1, s) },
		Hostname: func(name string) error { return unix.Sethostname([]byte(name)) },
		Clock:    boot.SetClock,
	}
}

// Status collects what init and the boot loaders know.
func (h Host) Status() (Status, error) {
	b, err := h.Paths.LoadState()
	if err != nil {
		return Status{}, err
	}
	name, err := os.Hostname()
	if err != nil {
		return Status{}, fmt.Errorf("reading the host name: %w", err)
	}
	_, rerr := os.Lstat(filepath.Join(h.Data, boot.ResetFile))
	s := Status{
		Version: version.String(), Hostname: name, MachineID: b.MachineID, Started: b.Started, Healthy: b.Healthy,
		Watchdog: b.Watchdog, Seed: b.Seed, Notices: b.Notices, ResetPending: rerr == nil,
	}
	if b.Slot != "" {
		// A record that cannot be read is to be seen, and no reason to tell
		// nothing at all.
		if s.Slots, err = h.slots(b); err != nil {
			s.Notices = append(s.Notices, err.Error())
		}
	}
	return s, nil
}

func (h Host) slots(b boot.State) (*Slots, error) {
	firmware := slot.RunningFirmware(h.Paths.Root)
	state, err := slot.Open(h.Paths.ESP(), firmware).Load()
	if err != nil {
		return nil, err
	}
	return &Slots{
		Firmware: firmware.String(), Running: b.Slot, Committed: string(state.Committed), Next: string(state.Next()),
		Trial: string(state.Trial), Tries: state.Tries, VersionA: state.A.Version, VersionB: state.B.Version, Undone: b.Undone,
	}, nil
}

// Reboot asks PID 1, which ends the services first.
func (h Host) Reboot() error { return h.Signal(boot.SignalReboot) }

// PowerOff asks PID 1, which ends the services first.
func (h Host) PowerOff() error { return h.Signal(boot.SignalPowerOff) }

// SetHostname keeps the name for later boots, then gives it to the kernel.
func (h Host) SetHostname(name string) error {
	if !boot.ValidHostname(name) {
		return errors.New("a host name has 1 to 63 letters, digits and inner hyphens")
	}
	if err := boot.WriteFile(filepath.Join(h.Data, boot.HostnameFile), []byte(name+"\n"), 0o600); err != nil {
		return err
	}
	return h.Hostname(name)
}

// SetClock sets system time and hardware clock. A time before this program
// was made, or far away, is refused.
func (h Host) SetClock(t time.Time) error {
	if err := boot.CheckClock(t); err != nil {
		return err
	}
	return h.Clock(t)
}

// FactoryReset asks init of the next boot, and reboots. It needs our init.
func (h Host) FactoryReset() error {
	if b, err := h.Paths.LoadState(); err != nil || b.Version == "" {
		return ErrUnsupported
	}
	if err := boot.WriteFile(filepath.Join(h.Data, boot.ResetFile), nil, 0o600); err != nil {
		return err
	}
	return h.Reboot()
}
