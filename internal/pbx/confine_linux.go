package pbx

import (
	"fmt"
	"path/filepath"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// confine gives up, for good and for every thread, all files but those of the
// PBX: its data, the sockets of the run folder, and what the resolver and the
// network stack are read from.
// Ports are the packet filter's business. An older kernel, such as Debian's,
// confines less; the version of its Landlock is returned. One without Landlock
// confines nothing, which is reported.
func (o *Options) confine() (version int, err error) {
	if version, err = ll.LandlockGetABIVersion(); err != nil {
		return 0, fmt.Errorf("asking the kernel for Landlock: %w", err)
	}
	writable := []string{o.DataDir, o.RunDir}
	if o.FactsFile != "" {
		writable = append(writable, filepath.Dir(o.FactsFile))
	}
	err = landlock.V5.BestEffort().RestrictPaths(
		landlock.RWDirs(writable...),
		landlock.RODirs("/etc", "/proc", "/sys/class/net", "/usr/share/zoneinfo").IgnoreIfMissing(),
		// Where /etc/resolv.conf leads to on other people's systems; it is
		// replaced by a rename.
		landlock.RODirs("/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager").IgnoreIfMissing(),
		landlock.ROFiles("/tmp/resolv.conf", "/dev/urandom").IgnoreIfMissing(),
	)
	if err != nil {
		return 0, fmt.Errorf("confining the PBX to its files: %w", err)
	}
	return version, nil
}
