package slot

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
)

// Name is the name of a slot, "a" or "b"; the empty Name means none.
type Name string

// The two slots of a disk.
const (
	A Name = "a"
	B Name = "b"
)

// MaxTries bounds the number of tries a trial can have: the GRUB script counts
// without arithmetic and knows each value.
const MaxTries = 9

// DefaultTries is the number of tries that an update gives to a new slot: one
// for the update itself and two for power cuts at a bad moment.
const DefaultTries = 3

// maxVersion bounds the length of a version in bytes, so that all of grubenv
// stays within one sector.
const maxVersion = 40

// ErrBadState is wrapped by the errors that report an unreadable or
// contradictory record.
var ErrBadState = errors.New("slot state is not usable")

// Valid reports whether n names a slot.
func (n Name) Valid() bool { return n == A || n == B }

// Other returns the other slot. It is empty for an invalid name.
func (n Name) Other() Name {
	switch n {
	case A:
		return B
	case B:
		return A
	}
	return ""
}

// KernelPath is where the loaders find the kernel of a slot, from the root of
// the ESP.
func (n Name) KernelPath() string { return "/" + string(n) + "/vmlinuz" }

// KernelSumPath is where the sum of the kernel lies, see KernelSum.
func (n Name) KernelSumPath() string { return n.KernelPath() + ".crc32" }

// KernelSum is the content of the file at KernelSumPath for a kernel: its
// CRC-32, as GRUB's hashsum checks it. It finds damage, not malice; the latter
// is the business of signatures, and a stronger sum costs seconds of a start
// under emulation. GRUB starts a kernel only if the sum fits; without the file
// it starts it unchecked, so an updater that replaces a kernel removes the sum
// first and writes the new one last.
func (n Name) KernelSum(kernel []byte) []byte {
	return fmt.Appendf(nil, "%08x  %s\n", crc32.ChecksumIEEE(kernel), n.KernelPath())
}

// RootLabel is the GPT name of the root partition of a slot.
func (n Name) RootLabel() string { return "ringfence-root-" + string(n) }

// Parse returns the slot that a kernel command line names with
// "ringfence.slot=".
func Parse(cmdline string) (Name, error) {
	for _, word := range strings.Fields(cmdline) {
		if value, ok := strings.CutPrefix(word, "ringfence.slot="); ok {
			if n := Name(value); n.Valid() {
				return n, nil
			}
			return "", fmt.Errorf("kernel command line names slot %q: %w", value, ErrBadState)
		}
	}
	return "", fmt.Errorf("kernel command line names no slot: %w", ErrBadState)
}

// Firmware tells which boot loader is in charge.
type Firmware int

// The firmwares an image boots under.
const (
	BIOS Firmware = iota // GRUB
	UEFI                 // systemd-boot
)

// String returns the usual name of the firmware.
func (f Firmware) String() string {
	if f == UEFI {
		return "UEFI"
	}
	return "BIOS"
}

// RunningFirmware tells under which firmware this system was started; root is
// the folder that holds sys, "/" outside tests.
func RunningFirmware(root string) Firmware {
	if _, err := os.Stat(filepath.Join(root, "sys/firmware/efi")); err == nil {
		return UEFI
	}
	return BIOS
}

// Image describes what a slot holds. An empty Version means that the slot is
// empty and must not be booted.
type Image struct {
	// Version is shown in the boot menus: printable ASCII without spaces,
	// 40 bytes at most.
	Version string
	// Root is the value of the kernel's root= parameter: "PARTLABEL=..." as
	// built, "PARTUUID=..." once the disk has GUIDs of its own.
	Root string
}

// State is everything the loaders know.
type State struct {
	Committed Name // boots unless there is a trial with tries left
	Trial     Name // the slot on trial or given up, empty when none
	Tries     int  // boots that Trial has left, 0 to MaxTries
	A, B      Image
}

// Image returns what slot n holds.
func (s State) Image(n Name) Image {
	if n == B {
		return s.B
	}
	return s.A
}

// WithImage returns the state with slot n holding img.
func (s State) WithImage(n Name, img Image) State {
	if n == B {
		s.B = img
	} else {
		s.A = img
	}
	return s
}

// Next returns the slot that the loader boots next.
func (s State) Next() Name {
	if s.Trial != "" && s.Tries > 0 {
		return s.Trial
	}
	return s.Committed
}

// GivenUp returns the slot whose trial failed, seen from the running slot, and
// the empty name when there is none.
func (s State) GivenUp(running Name) Name {
	if s.Tries == 0 && s.Trial != running {
		return s.Trial
	}
	return ""
}

// Check tells what makes the state unusable, wrapping ErrBadState.
func (s State) Check() error {
	switch {
	case !s.Committed.Valid():
		return fmt.Errorf("committed slot is %q: %w", string(s.Committed), ErrBadState)
	case s.Image(s.Committed).Version == "":
		return fmt.Errorf("committed slot %s is empty: %w", s.Committed, ErrBadState)
	case s.Trial != "" && s.Trial != s.Committed.Other():
		return fmt.Errorf("slot on trial is %q with %s committed: %w", string(s.Trial), s.Committed, ErrBadState)
	case s.Trial != "" && s.Image(s.Trial).Version == "":
		return fmt.Errorf("slot on trial %s is empty: %w", s.Trial, ErrBadState)
	case s.Tries < 0 || s.Tries > MaxTries:
		return fmt.Errorf("%d tries are outside 0 to %d: %w", s.Tries, MaxTries, ErrBadState)
	case s.Trial == "" && s.Tries != 0:
		return fmt.Errorf("%d tries without a slot on trial: %w", s.Tries, ErrBadState)
	}
	for _, n := range []Name{A, B} {
		if err := s.Image(n).check(); err != nil {
			return fmt.Errorf("slot %s: %w", n, err)
		}
	}
	return nil
}

func (i Image) check() error {
	if len(i.Version) > maxVersion || !plain(i.Version) {
		return fmt.Errorf("version %q is not up to %d printable ASCII characters without spaces: %w", i.Version, maxVersion, ErrBadState)
	}
	if len(i.Root) > 48 || !plain(i.Root) || !strings.Contains(i.Root, "=") {
		return fmt.Errorf("root %q is not PARTLABEL=... or PARTUUID=...: %w", i.Root, ErrBadState)
	}
	return nil
}

// plain reports whether s can stand in a GRUB variable, a loader entry and a
// kernel command line without any quoting.
func plain(s string) bool {
	for _, r := range s {
		if (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && !strings.ContainsRune("=-_.+~:/", r) {
			return false
		}
	}
	return true
}

// Factory is the state of a fresh image: slot a committed, slot b empty.
func Factory(version string) State {
	return State{
		Committed: A,
		A:         Image{Version: version, Root: "PARTLABEL=" + A.RootLabel()},
		B:         Image{Root: "PARTLABEL=" + B.RootLabel()},
	}
}

// Cmdline is the kernel command line of slot n whose root file system is root.
//
// A panic restarts the machine after ten seconds, so that the loader can count
// it; a root that does not appear within 30 seconds is a panic too. "gpt" lets
// the kernel use the second copy of the partition table when a power cut hit
// the writing of the first. no_timer_check leaves out a test of the timer that
// looks for faults of old boards, and panics on an emulated machine whose host
// is busy.
func Cmdline(n Name, root string) string {
	return "root=" + root + " rootfstype=squashfs rootwait=30 gpt ro init=/gokrazy/init" +
		" panic=10 oops=panic no_timer_check quiet console=tty0 console=ttyS0,115200 ringfence.slot=" + string(n)
}
