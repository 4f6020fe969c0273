package main

import (
	"fmt"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"

	"ringfence/internal/ports"
)

// confine gives up for good, and for every thread, all files but those of the
// folder data, every outgoing connection over TCP, every port but the
// shell's, signals to other processes, and the way to new rights. Capabilities
// it never had: the supervisor starts it as a user of its own.
func confine(data string) error {
	if _, _, errno := psx.Syscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("renouncing new rights: %w", errno)
	}
	row, _ := ports.Lookup(ports.Table(), ports.SSH)
	// BestEffort: an old kernel confines less.
	err := landlock.V6.BestEffort().Restrict(
		landlock.RWDirs(data),
		landlock.BindTCP(row.First),
	)
	if err != nil {
		return fmt.Errorf("confining the shell: %w", err)
	}
	return nil
}
