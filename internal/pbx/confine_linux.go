package pbx

import (
	"fmt"

	"github.com/landlock-lsm/go-landlock/landlock"
)

// confine gives up, for good and for every thread, all files but those of the
// PBX: its data, the sockets of the run folder, and what the resolver and the
// network stack are read from.
// Ports are the packet filter's business. A kernel without Landlock confines
// nothing, which is reported.
func (o *Options) confine() error {
	err := landlock.V5.RestrictPaths(
		landlock.RWDirs(o.DataDir, o.RunDir),
		landlock.RODirs("/etc", "/proc", "/sys/class/net", "/usr/share/zoneinfo").IgnoreIfMissing(),
		landlock.ROFiles("/tmp/resolv.conf", "/dev/urandom").IgnoreIfMissing(),
	)
	if err != nil {
		return fmt.Errorf("confining the PBX to its files: %w", err)
	}
	return nil
}
