package boot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mount is one file system without a disk.
type mount struct {
	kind, at string
	flags    uintptr
	data     string
}

const closed = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// earlyMounts are needed before anything else. What the services get to see of
// processes is their own (hidepid).
func (p Paths) earlyMounts() []mount {
	return []mount{
		{"devtmpfs", p.dev(""), unix.MS_NOSUID | unix.MS_NOEXEC, "mode=0755"},
		{"proc", p.proc(""), closed, "hidepid=invisible"},
		{"sysfs", p.sys(""), closed, ""},
		{"tmpfs", filepath.Join(p.Root, "run"), closed, "mode=0755,size=16m"},
		{"tmpfs", filepath.Join(p.Root, "tmp"), closed, "mode=1777,size=64m"},
	}
}

// mountEarly mounts what is needed to see disks and processes. The kernel may
// have mounted /dev already.
func (p Paths) mountEarly() error {
	var problems []error
	for _, m := range p.earlyMounts() {
		if err := unix.Mount(m.kind, m.at, m.kind, m.flags, m.data); err != nil && !(errors.Is(err, unix.EBUSY) && m.kind != "tmpfs") {
			problems = append(problems, fmt.Errorf("mounting %s on %s: %w", m.kind, m.at, err))
		}
	}
	return errors.Join(problems...)
}

// sysctls harden what the kernel's configuration leaves open. The network's
// belong to fenced.
func sysctls() map[string]string {
	return map[string]string{
		"kernel/kptr_restrict":         "2",
		"kernel/yama/ptrace_scope":     "3", // nobody traces anybody, for good
		"kernel/core_pattern":          "|/bin/false",
		"kernel/ctrl-alt-del":          "0", // a signal to us instead of a reset
		"kernel/perf_event_paranoid":   "3",
		"kernel/randomize_va_space":    "2",
		"fs/suid_dumpable":             "0",
		"fs/protected_symlinks":        "1",
		"fs/protected_hardlinks":       "1",
		"fs/protected_fifos":           "2",
		"fs/protected_regular":         "2",
		"vm/mmap_min_addr":             "65536",
		"vm/dirty_writeback_centisecs": "500",
	}
}

// applySysctls returns those that the kernel refused; one it does not have is
// no fault.
func (p Paths) applySysctls() error {
	var problems []error
	for name, value := range sysctls() {
		err := os.WriteFile(p.proc(filepath.Join("sys", name)), []byte(value), 0)
		if ignoreMissing(err) != nil {
			problems = append(problems, fmt.Errorf("setting %s: %w", name, err))
		}
	}
	return errors.Join(problems...)
}

// mountPerm mounts /perm; ext4 replays its journal by itself. Nothing on it is
// ever executed.
func (p Paths) mountPerm(device string) error {
	const flags = closed | unix.MS_NOATIME
	if err := unix.Mount(device, p.Perm(""), "ext4", flags, "errors=remount-ro"); err != nil {
		return fmt.Errorf("mounting /perm from %s: %w", device, err)
	}
	return nil
}

const espOptions = "umask=0077,shortname=mixed,utf8"

// mountESP mounts the EFI system partition for reading.
func (p Paths) mountESP(device string) error {
	if err := os.MkdirAll(p.ESP(), 0o700); err != nil {
		return err
	}
	if err := unix.Mount(device, p.ESP(), "vfat", closed|unix.MS_RDONLY, espOptions); err != nil {
		return fmt.Errorf("mounting the EFI system partition from %s: %w", device, err)
	}
	return nil
}

// WithWritableESP makes the EFI system partition writable while f runs. FAT
// has no journal: the less it is writable, the better.
func (p Paths) WithWritableESP(f func() error) error {
	remount := func(extra uintptr) error {
		return unix.Mount("", p.ESP(), "", unix.MS_REMOUNT|closed|extra, espOptions)
	}
	if err := remount(0); err != nil {
		return fmt.Errorf("making the EFI system partition writable: %w", err)
	}
	err := f()
	if rerr := remount(unix.MS_RDONLY); rerr != nil {
		err = errors.Join(err, fmt.Errorf("making the EFI system partition read-only: %w", rerr))
	}
	return err
}

// unmount lets go of every disk, as far as it can be done.
func (p Paths) unmount() error {
	var problems []error
	for _, at := range []string{p.ESP(), p.Perm("")} {
		err := unix.Unmount(at, 0)
		if errors.Is(err, unix.EBUSY) {
			// Somebody is left who holds a file: what matters is that
			// everything is written.
			err = unix.Mount("", at, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
		}
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) { // not mounted
			problems = append(problems, fmt.Errorf("unmounting %s: %w", at, err))
		}
	}
	return errors.Join(problems...)
}
