package firewall

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// MaxConfirm is the longest time a change may wait for its confirmation.
const MaxConfirm = 10 * time.Minute

// retryTakeBack is the pause after a return to the confirmed value failed.
const retryTakeBack = time.Second

// trial is a setting that returns to its last confirmed value unless a change
// is confirmed in time, so that nobody locks himself out. It also returns when
// the process or the power fails before the confirmation.
type trial[T any] struct {
	files[T]
	log    *slog.Logger
	enact  func(T) error // makes the value take effect, or changes nothing
	revise func(T) uint64

	mu       sync.Mutex
	current  T // in effect
	last     T // confirmed
	found    bool
	waiting  *time.Timer
	until    time.Time
	reverted *Reverted
	fault    string // why the value in effect is not the wanted one
}

// Reverted says that a change was taken back.
type Reverted struct {
	Rev    uint64    `json:"rev"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// start puts the confirmed value into effect, or standard if there is none.
func (t *trial[T]) start(standard T) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	value, found, err := t.confirmed()
	if err != nil {
		t.fault = err.Error()
		t.log.Error("the confirmed setting is unreadable, using the standard one", "setting", t.name, "err", err, "aside", t.damagedPath())
		if err := t.setAside(); err != nil {
			t.log.Error("setting the damaged file aside", "setting", t.name, "err", err)
		}
	}
	if !found {
		value = standard
	}
	t.takeBackUnconfirmed()
	err = t.enact(value)
	if err != nil && found {
		// Written by a version that knew more, or less: still no reason to run
		// without any.
		t.fault = err.Error()
		t.log.Error("the confirmed setting cannot be put into effect, using the standard one", "setting", t.name, "err", err)
		value, found = standard, false
		err = t.enact(value)
	}
	if err != nil {
		return fmt.Errorf("putting the standard %s into effect: %w", t.name, err)
	}
	t.current, t.last, t.found = value, value, found
	return nil
}

// takeBackUnconfirmed deals with a change whose confirmation the last process
// did not live to see.
func (t *trial[T]) takeBackUnconfirmed() {
	value, found, err := t.pending()
	if !found && err == nil {
		return
	}
	if found {
		t.reverted = &Reverted{Rev: t.revise(value), Reason: "restarted before it was confirmed", At: time.Now()}
		t.log.Warn("taking back a change that was not confirmed before the restart", "setting", t.name, "rev", t.reverted.Rev)
	}
	if err := t.dropPending(); err != nil {
		t.log.Error("removing the unconfirmed setting", "setting", t.name, "err", err)
	}
}

// apply puts value into effect. With confirm > 0 it returns to the confirmed
// value after that time unless confirmed; else it is confirmed at once.
func (t *trial[T]) apply(value T, confirm time.Duration) error {
	if confirm < 0 || confirm > MaxConfirm {
		return fmt.Errorf("%w: time to confirm %s is not within 0 and %s", ErrRefused, confirm, MaxConfirm)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	// On disk first: after a power cut there must be no doubt what was meant.
	if err := t.putPending(value); err != nil {
		return fmt.Errorf("keeping the new %s: %w", t.name, err)
	}
	if err := t.enact(value); err != nil {
		return errors.Join(err, t.forgetPending())
	}
	t.stopWaiting()
	t.current, t.fault = value, ""
	if confirm > 0 {
		t.wait(confirm)
		return nil
	}
	return t.settle()
}

// forgetPending removes the file of a change that failed; if an earlier change
// still waits, its own file was overwritten and is written again.
func (t *trial[T]) forgetPending() error {
	if t.waiting != nil {
		return t.putPending(t.current)
	}
	return t.dropPending()
}

func (t *trial[T]) wait(confirm time.Duration) {
	t.until = time.Now().Add(confirm)
	var timer *time.Timer
	timer = time.AfterFunc(confirm, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.waiting == timer { // else: confirmed or replaced meanwhile
			t.takeBack("not confirmed in time")
		}
	})
	t.waiting = timer
}

func (t *trial[T]) stopWaiting() {
	if t.waiting != nil {
		t.waiting.Stop()
		t.waiting = nil
	}
}

// settle makes the value in effect the confirmed one.
func (t *trial[T]) settle() error {
	if err := t.promote(); err != nil {
		return fmt.Errorf("confirming the %s: %w", t.name, err)
	}
	t.last, t.found = t.current, true
	return nil
}

// takeBack returns to the confirmed value.
func (t *trial[T]) takeBack(reason string) {
	t.stopWaiting()
	t.reverted = &Reverted{Rev: t.revise(t.current), Reason: reason, At: time.Now()}
	t.log.Warn("taking a change back", "setting", t.name, "rev", t.reverted.Rev, "reason", reason)
	if err := t.dropPending(); err != nil {
		t.log.Error("removing the unconfirmed setting", "setting", t.name, "err", err)
	}
	if err := t.enact(t.last); err != nil {
		t.fault = err.Error()
		t.log.Error("returning to the confirmed setting; trying again", "setting", t.name, "err", err)
		t.wait(retryTakeBack)
		return
	}
	t.current = t.last
}

// confirm keeps the change with revision rev that waits for it.
func (t *trial[T]) confirm(rev uint64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.waits(rev); err != nil {
		return err
	}
	if err := t.settle(); err != nil {
		return err
	}
	t.stopWaiting()
	return nil
}

// revert takes the change with revision rev back before its time.
func (t *trial[T]) revert(rev uint64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.waits(rev); err != nil {
		return err
	}
	t.takeBack("taken back on request")
	return nil
}

// waits refuses unless the change with revision rev waits for confirmation.
func (t *trial[T]) waits(rev uint64) error {
	if t.waiting == nil {
		return fmt.Errorf("%w: no %s waits for confirmation", ErrRefused, t.name)
	}
	if got := t.revise(t.current); got != rev {
		return fmt.Errorf("%w: %s revision %d waits for confirmation, not %d", ErrRefused, t.name, got, rev)
	}
	return nil
}

// again puts the value in effect into effect once more, after its
// surroundings changed.
func (t *trial[T]) again() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.enact(t.current)
}

// trialState is a copy for a status report.
type trialState[T any] struct {
	current  T
	last     T // confirmed
	found    bool
	until    time.Time // zero unless a change waits
	reverted *Reverted
	fault    string
}

func (t *trial[T]) state() trialState[T] {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := trialState[T]{current: t.current, last: t.last, found: t.found, reverted: t.reverted, fault: t.fault}
	if t.waiting != nil {
		s.until = t.until
	}
	return s
}

// stop ends the waiting. An unconfirmed change stays in effect and on disk; the
// next start takes it back.
func (t *trial[T]) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopWaiting()
}
