package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"

	"ringfence/internal/confine"
)

// needed are the capabilities of the fence: the packet filter, addresses and
// net.* kernel parameters; packet sockets; the DHCP client's port.
func needed() []uintptr {
	return []uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_NET_BIND_SERVICE}
}

// confineSelf gives up for good what the fence does not need: other capabilities,
// gaining new ones, and files outside its folders.
func confineSelf(o options, log *slog.Logger) error {
	if err := errors.Join(os.MkdirAll(o.state, 0o700), os.MkdirAll(o.run, 0o755)); err != nil {
		return err
	}
	left, err := confine.Capabilities(needed()...)
	if err != nil {
		return err
	}
	if left&(1<<unix.CAP_NET_ADMIN) == 0 {
		return errors.New("the fence needs CAP_NET_ADMIN")
	}
	if err := confine.Memory(); err != nil {
		return err
	}
	confineFiles(o, log)
	if err := (confine.Filter{Rules: systemCalls()}).Load(); err != nil {
		log.Warn("system calls are not filtered", "err", err)
		return nil
	}
	log.Info("system calls filtered")
	return nil
}

// systemCalls are those of the fence in service: it tells the kernel what to
// do over netlink, and speaks DHCP below IP and over UDP.
func systemCalls() []confine.Rule {
	return slices.Concat(confine.GoRuntime(), confine.ReadFiles(), confine.WriteFiles(),
		confine.Sockets(confine.Unix, confine.Internet, confine.RouteLink, confine.FilterLink, confine.PacketsOfLink))
}

func confineFiles(o options, log *slog.Logger) {
	// BestEffort: an old kernel confines less, or, without a word, not at all.
	version, err := ll.LandlockGetABIVersion()
	if err != nil {
		log.Warn("files are not confined", "err", err)
		return
	}
	err = landlock.V5.BestEffort().RestrictPaths(
		landlock.RWDirs(o.state, o.run),
		landlock.RWDirs(filepath.Dir(o.resolv), filepath.Join(o.proc, "net")).IgnoreIfMissing(),
		landlock.RODirs("/proc", "/sys/class/net").IgnoreIfMissing(),
	)
	if err != nil {
		log.Warn("files are not confined", "err", err)
		return
	}
	log.Info("files confined", "landlock", version)
}
