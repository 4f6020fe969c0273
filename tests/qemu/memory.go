package qemu

import (
	"encoding/json"
	"fmt"
	"time"
)

// balloon is the device that tells of the guest's memory; nothing is taken
// through it.
const balloon = "balloon0"

// GuestMemory is what the guest's kernel says about its memory, in bytes.
type GuestMemory struct {
	Total     int64 `json:"stat-total-memory"`
	Free      int64 `json:"stat-free-memory"`
	Available int64 `json:"stat-available-memory"` // free, or could be at once
}

// MemoryAvailable asks the guest's kernel, from outside, for its memory as it
// is now.
func (vm *VM) MemoryAvailable() (GuestMemory, error) {
	const path = "/machine/peripheral/" + balloon
	property := func(name string) map[string]any { return map[string]any{"path": path, "property": name} }
	every := property("guest-stats-polling-interval")
	every["value"] = 1
	if _, err := vm.QMP("qom-set", every); err != nil {
		return GuestMemory{}, err
	}
	// The clock of last-update has whole seconds: the statistics are of now
	// when they are two seconds newer than those found first.
	var first int64
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		text, err := vm.QMP("qom-get", property("guest-stats"))
		if err != nil {
			return GuestMemory{}, err
		}
		var reply struct {
			Stats  GuestMemory
			Update int64 `json:"last-update"`
		}
		if err := json.Unmarshal(text, &reply); err != nil {
			return GuestMemory{}, fmt.Errorf("statistics of the guest: %w", err)
		}
		if first == 0 {
			first = max(1, reply.Update)
		}
		if reply.Update >= first+2 && reply.Stats.Total > 0 {
			return reply.Stats, nil
		}
	}
	return GuestMemory{}, fmt.Errorf("the guest's kernel tells no statistics")
}
