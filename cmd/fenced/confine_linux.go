package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"unsafe"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// needed are the capabilities of the fence: the packet filter, addresses and
// net.* kernel parameters; packet sockets; the DHCP client's port.
func needed() []uintptr {
	return []uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_NET_BIND_SERVICE}
}

// confine gives up for good what the fence does not need: other capabilities,
// gaining new ones, and files outside its folders.
func confine(o options, log *slog.Logger) error {
	if err := errors.Join(os.MkdirAll(o.state, 0o700), os.MkdirAll(o.run, 0o755)); err != nil {
		return err
	}
	if err := dropCapabilities(needed()); err != nil {
		return err
	}
	if _, _, errno := psx.Syscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("renouncing new rights: %w", errno)
	}
	// BestEffort: an old kernel confines less, or, without a word, not at all.
	version, err := ll.LandlockGetABIVersion()
	if err != nil {
		log.Warn("files are not confined", "err", err)
		return nil
	}
	err = landlock.V5.BestEffort().RestrictPaths(
		landlock.RWDirs(o.state, o.run),
		landlock.RWDirs(filepath.Dir(o.resolv), filepath.Join(o.proc, "net")).IgnoreIfMissing(),
		landlock.RODirs("/proc", "/sys/class/net").IgnoreIfMissing(),
	)
	if err != nil {
		log.Warn("files are not confined", "err", err)
		return nil
	}
	log.Info("files confined", "landlock", version)
	return nil
}

// dropCapabilities keeps those of keep that the process has, in every thread.
func dropCapabilities(keep []uintptr) error {
	kept := func(c uintptr) bool {
		for _, k := range keep {
			if k == c {
				return true
			}
		}
		return false
	}
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if kept(c) {
			continue
		}
		// EPERM: not ours to drop, the supervisor did. EINVAL: this kernel knows
		// fewer.
		if _, _, errno := psx.Syscall6(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0, 0, 0, 0); errno != 0 && errno != unix.EPERM && errno != unix.EINVAL {
			return fmt.Errorf("dropping capability %d from the bounding set: %w", c, errno)
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("reading capabilities: %w", err)
	}
	var mask [2]uint32
	for _, c := range keep {
		mask[c/32] |= 1 << (c % 32)
	}
	for i := range data {
		data[i].Permitted &= mask[i]
		data[i].Effective = data[i].Permitted
		data[i].Inheritable = 0
	}
	if data[0].Effective&(1<<unix.CAP_NET_ADMIN) == 0 {
		return errors.New("the fence needs CAP_NET_ADMIN")
	}
	if _, _, errno := psx.Syscall3(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0); errno != 0 {
		return fmt.Errorf("setting capabilities: %w", errno)
	}
	return nil
}
