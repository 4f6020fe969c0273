package pbx

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"ringfence/internal/api"
	"ringfence/internal/events"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// trials takes changes of settings back that nobody confirms in time. The store
// keeps what to return to; the packet filter returns by itself, also when this
// process is dead.
type trials struct {
	store *store.Store
	bus   *events.Bus
	log   *slog.Logger
	begun chan struct{} // wakes run

	mu       sync.Mutex
	id       string    // of the change that waits, as far as we know
	until    time.Time // when it is taken back
	since    time.Time // when it was in effect; zero while it is not
	reverted *api.NetworkReverted
}

func newTrials(s *store.Store, bus *events.Bus, log *slog.Logger) *trials {
	return &trials{store: s, bus: bus, log: log, begun: make(chan struct{}, 1)}
}

// proof is what a change that waits demands of whoever confirms it: the id that
// he was told, over a connection that was made when the change was in effect. An
// older one could live on where no new one gets through.
type proof struct {
	id       string
	inEffect bool
	since    time.Time
}

func (p proof) check(id string, path api.NetworkPath) error {
	switch {
	case subtle.ConstantTimeCompare([]byte(id), []byte(p.id)) != 1:
		return api.ErrNoChange
	case !p.inEffect || !path.Opened.After(p.since):
		return api.ErrOldPath
	}
	return nil
}

// takeBackLeftover takes back what the last process, or the machine, did not
// live to see confirmed. Nothing listens yet.
func (t *trials) takeBackLeftover(ctx context.Context) error {
	if t.store.Snapshot().Trial == nil {
		return nil
	}
	return t.takeBack(ctx, telephony.Actor{Kind: telephony.ActorSystem, Name: "trial"}, "", "restarted before it was confirmed")
}

// observe takes note of the change that waits under a snapshot.
func (t *trials) observe(s *telephony.Snapshot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case s.Trial == nil:
		t.id, t.until, t.since = "", time.Time{}, time.Time{}
	case s.Trial.ID != t.id:
		t.id, t.until, t.since = s.Trial.ID, time.Now().Add(s.Trial.Window), time.Time{}
		select {
		case t.begun <- struct{}{}:
		default:
		}
	}
}

// inEffect notes that listeners and packet filter are as a snapshot has them.
func (t *trials) inEffect(s *telephony.Snapshot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.Trial != nil && s.Trial.ID == t.id && t.since.IsZero() {
		t.since = time.Now()
	}
}

// failed takes a trial back that left the portal without a listener.
func (t *trials) failed(ctx context.Context, s *telephony.Snapshot, why error) {
	if s.Trial == nil {
		return
	}
	err := t.takeBack(ctx, telephony.Actor{Kind: telephony.ActorSystem, Name: "trial"}, s.Trial.ID, fmt.Sprintf("the portal could not listen: %v", why))
	if err != nil {
		t.log.Error("settings do not return to what they were", "err", err)
	}
}

var errOverdue = errors.New("the change was not confirmed and is about to be taken back")

// window is how long the packet filter is to wait for the confirmation of a
// snapshot's trial; zero if there is none.
func (t *trials) window(s *telephony.Snapshot) (time.Duration, error) {
	if s.Trial == nil {
		return 0, nil
	}
	t.observe(s)
	t.mu.Lock()
	defer t.mu.Unlock()
	left := time.Until(t.until)
	if left <= 0 {
		return 0, errOverdue
	}
	return left, nil
}

// State is how long the change that waits does so, and which was taken back.
func (t *trials) State() (left time.Duration, reverted *api.NetworkReverted) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.id != "" {
		left = max(time.Until(t.until), time.Millisecond)
	}
	if r := t.reverted; r != nil && time.Since(r.At) < revertedShown {
		reverted = r
	}
	return left, reverted
}

// Confirm keeps the change with an id, if the request shows that the portal can
// be reached as it is now.
func (t *trials) Confirm(ctx context.Context, id string, path api.NetworkPath, from netip.Addr) (by string, err error) {
	s := t.store.Snapshot()
	if s.Trial == nil {
		return "", api.ErrNoChange
	}
	t.mu.Lock()
	p := proof{s.Trial.ID, t.id == s.Trial.ID && !t.since.IsZero(), t.since}
	t.mu.Unlock()
	if err := p.check(id, path); err != nil {
		return "", err
	}
	by = s.Trial.By
	return by, t.keep(ctx, telephony.Actor{Kind: telephony.ActorUser, Name: by, Addr: from}, id)
}

// ConfirmHere keeps the change that waits, on the word of an operator at the
// machine itself.
func (t *trials) ConfirmHere(ctx context.Context, by telephony.Actor) error {
	s := t.store.Snapshot()
	if s.Trial == nil {
		return api.ErrNoChange
	}
	return t.keep(ctx, by, s.Trial.ID)
}

func (t *trials) keep(ctx context.Context, by telephony.Actor, id string) error {
	t.mu.Lock()
	late := t.id == id && !time.Now().Before(t.until)
	t.mu.Unlock()
	if late { // the packet filter has returned by itself
		return api.ErrNoChange
	}
	_, err := t.store.System().Update(ctx, by, func(tx *store.Tx) error { return tx.KeepTrial(id) })
	if err != nil {
		return noTrial(err)
	}
	t.log.Info("a change of settings is kept", "by", by.Name)
	return nil
}

// noTrial is the API's word for it.
func noTrial(err error) error {
	if errors.Is(err, store.ErrNoTrial) {
		return api.ErrNoChange
	}
	return err
}

// Revert takes the change that waits back now.
func (t *trials) Revert(ctx context.Context, by telephony.Actor, reason string) error {
	return t.takeBack(ctx, by, "", reason)
}

// takeBack takes the change with an id back; empty is whichever waits.
func (t *trials) takeBack(ctx context.Context, by telephony.Actor, id, reason string) error {
	_, err := t.store.System().Update(ctx, by, func(tx *store.Tx) error { return tx.TakeBackTrial(id, reason) })
	if errors.Is(err, store.ErrNoTrial) {
		return api.ErrNoChange
	}
	if err != nil {
		return fmt.Errorf("taking a change of settings back: %w", err)
	}
	t.log.Warn("a change of settings was taken back", "reason", reason)
	t.mu.Lock()
	t.reverted = &api.NetworkReverted{Reason: reason, At: time.Now()}
	t.mu.Unlock()
	t.bus.Publish(events.SettingsTakenBack{Reason: reason})
	return nil
}

// retryTakeBack is the pause after a change could not be taken back: the disk is
// full, for example. The packet filter has returned all the same.
const retryTakeBack = time.Second

// run takes back what is not confirmed in time, until ctx ends.
func (t *trials) run(ctx context.Context) {
	wait := time.NewTimer(0)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.begun:
		case <-wait.C:
		}
		t.mu.Lock()
		id, left := t.id, time.Until(t.until)
		t.mu.Unlock()
		if id == "" {
			continue
		}
		if left <= 0 {
			err := t.takeBack(ctx, telephony.Actor{Kind: telephony.ActorSystem, Name: "trial"}, id, "not confirmed in time")
			if err == nil || errors.Is(err, api.ErrNoChange) {
				continue
			}
			t.log.Error("settings do not return to what they were; trying again", "err", err)
			left = retryTakeBack
		}
		wait.Reset(left)
	}
}
