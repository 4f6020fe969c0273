package boot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"ringfence/appliance/boot/timesync"
	"ringfence/cloud-init/metadata"
)

// State is what init tells others about this boot, in StateFile.
type State struct {
	Version string    `json:"version"`
	Slot    string    `json:"slot,omitempty"`
	Started time.Time `json:"started"`
	// Healthy says that all services were ready; the slot is committed then.
	Healthy bool `json:"healthy"`
	// Trial says that the slot was on trial when it started.
	Trial bool `json:"trial,omitempty"`
	// Undone is the version of a slot whose trial failed.
	Undone    string `json:"undone,omitempty"`
	MachineID string `json:"machine_id,omitempty"`
	Seed      string `json:"seed,omitempty"` // where first-boot data came from
	// Cloud is the one that the firmware names; empty is none.
	Cloud metadata.Cloud `json:"cloud,omitempty"`
	// Public are the addresses of the world that lead to this machine, as the
	// cloud says.
	Public   []metadata.Address `json:"public_addresses,omitempty"`
	Watchdog string             `json:"watchdog,omitempty"`
	// Clock is nil until a time server answered, or nobody did for long.
	Clock   *timesync.State `json:"clock,omitempty"`
	Notices []string        `json:"notices,omitempty"`
}

// SaveState replaces what LoadState reads.
func (p Paths) SaveState(s State) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return replaceFile(p.Run(StateFile), data, 0o644, -1, -1)
}

// LoadState reads what init told about this boot. Where there is no init of
// ours it is empty.
func (p Paths) LoadState() (State, error) {
	var s State
	data, err := os.ReadFile(p.Run(StateFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s, nil
	case err != nil:
		return s, fmt.Errorf("reading the state of the boot: %w", err)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("reading the state of the boot: %w", err)
	}
	return s, nil
}
