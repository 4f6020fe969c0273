package pbx

import (
	"fmt"
	"path/filepath"

	"github.com/landlock-lsm/go-landlock/landlock"
)

// confine gives up, for good and for every thread, all files but those of the
// PBX: its data, the sockets of the run folder, and what the resolver and the
// network stack are read from.
// Ports are the packet filter's business. A kernel without Landlock confines
// nothing, which is reported.
func (o *Options) confine() error {
	writable := []string{o.DataDir, o.RunDir}
	if o.FactsFile != "" {
		writable = append(writable, filepath.Dir(o.FactsFile))
	}
	err := landlock.V5.RestrictPaths(
		landlock.RWDirs(writable...),
		landlock.RODirs("/etc", "/proc", "/sys/class/net", "/usr/share/zoneinfo").IgnoreIfMissing(),
		landlock.ROFiles("/tmp/resolv.conf", "/dev/urandom").IgnoreIfMissing(),
	)
	if err != nil {
		return fmt.Errorf("confining the PBX to its files: %w", err)
	}
	return nil
}
