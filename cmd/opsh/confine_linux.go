package main

import (
	"fmt"
	"slices"

	"github.com/landlock-lsm/go-landlock/landlock"

	"ringfence/internal/confine"
	"ringfence/internal/ports"
)

// confineSelf gives up for good, and for every thread, all files but those of
// the folder data, every outgoing connection over TCP, every port but the
// shell's, signals to other processes, capabilities, and system calls that it
// never makes.
func confineSelf(data string) error {
	if _, err := confine.Capabilities(); err != nil {
		return err
	}
	if err := confine.Memory(); err != nil {
		return err
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
	return confine.Filter{Rules: slices.Concat(confine.GoRuntime(), confine.ReadFiles(), confine.WriteFiles(), confine.Sockets(confine.Unix, confine.Internet))}.Load()
}
