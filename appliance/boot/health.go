package boot

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"ringfence/appliance/slot"
)

// Verdict is what came of a boot.
type Verdict int

// The verdicts.
const (
	// Healthy: all services are ready, the slot is committed.
	Healthy Verdict = iota
	// Retry: not healthy in time, but there is nothing better to start.
	Retry
	// Return: not healthy in time; a restart leads to the other slot.
	Return
)

// judge waits until the boot is healthy or its time is over.
type judge struct {
	running slot.Name // empty without slots
	slots   Slots     // nil without slots
	limit   time.Duration
	logger  *slog.Logger
	// ready returns nil when all services are.
	ready func(context.Context) error
	// restarts counts how often services had to be started again.
	restarts func() int
}

// steady is how long all services have to stay ready: one that ends a moment
// after it was ready is not healthy.
const steady = 5 * time.Second

func (j judge) verdict(ctx context.Context) Verdict {
	limited, cancel := context.WithTimeout(ctx, j.limit)
	defer cancel()
	for limited.Err() == nil && j.ready(limited) == nil {
		before := j.restarts()
		select {
		case <-time.After(steady):
		case <-limited.Done():
		}
		if limited.Err() == nil && j.restarts() == before {
			j.commit()
			return Healthy
		}
	}
	if ctx.Err() != nil {
		return Retry // the machine is going down anyway
	}
	return j.unhealthy()
}

// commit makes the running slot the one to start. A record that cannot be
// written is no reason to stop a machine that works; it is tried again at the
// next boot, if there are tries left.
func (j judge) commit() {
	if j.slots == nil || !j.running.Valid() {
		return
	}
	if err := j.slots.Commit(j.running); err != nil {
		j.logger.Error("committing the slot failed", "slot", string(j.running), "err", err)
		return
	}
	j.logger.Info("boot is healthy, slot committed", "slot", string(j.running))
}

func (j judge) unhealthy() Verdict {
	j.logger.Error("boot is not healthy in time", "limit", j.limit, "slot", string(j.running))
	if j.slots == nil || !j.running.Valid() {
		return Retry
	}
	state, err := j.slots.Load()
	if err != nil {
		j.logger.Error("reading slot state failed", "err", err)
		return Retry
	}
	if state.Committed == j.running {
		return Retry
	}
	if err := j.slots.GiveUp(j.running); err != nil {
		// The loader counts by itself; this only saves the remaining tries.
		j.logger.Error("giving the trial up failed", "err", err)
	}
	return Return
}

// undone describes a slot whose trial failed, seen from the running one.
func undone(s slot.State, running slot.Name) (version, notice string) {
	n := s.GivenUp(running)
	if n == "" {
		return "", ""
	}
	version = s.Image(n).Version
	return version, fmt.Sprintf("Version %s in slot %s did not start properly; slot %s with version %s was started instead.", version, n, running, s.Image(running).Version)
}
