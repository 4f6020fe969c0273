package pbx

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"ringfence/internal/api"
	"ringfence/internal/events"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// trialBox is a store with what watches over its trials.
type trialBox struct {
	t   *testing.T
	dir string
	bus events.Bus
	*trials
}

func newTrialBox(t *testing.T) *trialBox {
	b := &trialBox{t: t, dir: t.TempDir()}
	b.open()
	return b
}

func (b *trialBox) open() {
	b.t.Helper()
	s, err := store.Open(b.t.Context(), b.dir, store.Options{Snapshots: -1})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { s.Close() })
	b.trials = newTrials(s, &b.bus, slog.New(slog.DiscardHandler))
}

// try puts cloud mode to a trial, as the API does.
func (b *trialBox) try(window time.Duration) *telephony.Snapshot {
	b.t.Helper()
	_, err := b.store.System().Update(b.t.Context(), telephony.Actor{Kind: telephony.ActorUser, Name: "boss"}, func(tx *store.Tx) error {
		s, err := tx.Settings()
		if err != nil {
			return err
		}
		s.CloudMode = true
		tx.Try(func(_, _ *telephony.Snapshot) *telephony.Trial {
			return &telephony.Trial{ID: "right", By: "boss", Began: time.Now(), Window: window}
		})
		return tx.PutSettings(s)
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return b.store.Snapshot()
}

func (b *trialBox) confirm(id string, opened time.Time) error {
	_, err := b.Confirm(b.t.Context(), id, api.NetworkPath{Opened: opened}, netip.MustParseAddr("192.0.2.7"))
	return err
}

func (b *trialBox) history() []string {
	b.t.Helper()
	log, err := b.store.System().Audit(b.t.Context(), store.AuditFilter{})
	if err != nil {
		b.t.Fatal(err)
	}
	var out []string
	for _, e := range slices.Backward(log) {
		out = append(out, string(e.Actor.Kind)+" "+e.Kind+" "+e.Object)
	}
	return out
}

func TestTrialIsConfirmedByANewPathOnly(t *testing.T) {
	t.Parallel()
	b := newTrialBox(t)
	if err := b.confirm("", time.Now()); !errors.Is(err, api.ErrNoChange) {
		t.Errorf("nothing waits: %v", err)
	}
	s := b.try(time.Minute)
	opened := time.Now()
	if left, err := b.window(s); err != nil || left <= 59*time.Second || left > time.Minute {
		t.Errorf("the packet filter waits %v, %v", left, err)
	}
	if err := b.confirm("right", time.Now()); !errors.Is(err, api.ErrOldPath) {
		t.Errorf("before it is in effect: %v", err)
	}
	b.observe(s)
	b.inEffect(s)
	if err := b.confirm("right", opened); !errors.Is(err, api.ErrOldPath) {
		t.Errorf("by the old path: %v", err)
	}
	if err := b.confirm("wrong", time.Now()); !errors.Is(err, api.ErrNoChange) {
		t.Errorf("by a guess: %v", err)
	}
	if left, _ := b.State(); left <= 0 {
		t.Error("nothing waits")
	}
	if err := b.confirm("right", time.Now()); err != nil {
		t.Fatal(err)
	}
	b.observe(b.store.Snapshot())
	if left, reverted := b.State(); left != 0 || reverted != nil || !b.store.Snapshot().Settings.CloudMode {
		t.Errorf("%v %v %v", left, reverted, b.store.Snapshot().Settings.CloudMode)
	}
	if left, err := b.window(b.store.Snapshot()); left != 0 || err != nil {
		t.Errorf("the packet filter waits %v, %v", left, err)
	}
	if got, want := b.history(), []string{"user settings.try cloud_mode", "user settings.keep cloud_mode"}; !slices.Equal(got, want) {
		t.Errorf("history %q", got)
	}
}

func TestTrialThatNobodyConfirmsIsTakenBack(t *testing.T) {
	t.Parallel()
	b := newTrialBox(t)
	sub := b.bus.Subscribe(8)
	defer sub.Close()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); b.run(ctx) }()
	s := b.try(100 * time.Millisecond)
	b.observe(s)
	b.inEffect(s)
	select {
	case e := <-sub.C:
		if e != (events.SettingsTakenBack{Reason: "not confirmed in time"}) {
			t.Errorf("%+v", e)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it stays")
	}
	if now := b.store.Snapshot(); now.Settings.CloudMode || now.Trial != nil {
		t.Errorf("%+v", now)
	}
	// The packet filter does not get what is about to go.
	if _, err := b.window(s); !errors.Is(err, errOverdue) {
		t.Errorf("for the packet filter: %v", err)
	}
	if err := b.confirm("right", time.Now()); !errors.Is(err, api.ErrNoChange) {
		t.Errorf("confirmed too late: %v", err)
	}
	b.observe(b.store.Snapshot())
	if left, reverted := b.State(); left != 0 || reverted == nil || reverted.Reason != "not confirmed in time" {
		t.Errorf("%v %+v", left, reverted)
	}
	stop()
	<-done
	if got, want := b.history(), []string{"user settings.try cloud_mode", "system settings.take_back cloud_mode"}; !slices.Equal(got, want) {
		t.Errorf("history %q", got)
	}
}

func TestTrialDoesNotOutliveTheProcess(t *testing.T) {
	t.Parallel()
	b := newTrialBox(t)
	if err := b.takeBackLeftover(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.try(time.Hour)
	if err := b.store.Close(); err != nil {
		t.Fatal(err)
	}
	b.open()
	if !b.store.Snapshot().Settings.CloudMode {
		t.Fatal("the change was not committed")
	}
	if err := b.takeBackLeftover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := b.store.Snapshot(); now.Settings.CloudMode || now.Trial != nil {
		t.Errorf("after a restart: %+v", now)
	}
	if _, reverted := b.State(); reverted == nil || reverted.Reason != "restarted before it was confirmed" {
		t.Errorf("%+v", reverted)
	}
}

// An operator at the machine needs no path; a portal that cannot listen does not
// wait for anybody.
func TestTrialEndsAtTheMachine(t *testing.T) {
	t.Parallel()
	b := newTrialBox(t)
	by := telephony.Actor{Kind: telephony.ActorOperator, Name: "uid 0"}
	if err := b.ConfirmHere(t.Context(), by); !errors.Is(err, api.ErrNoChange) {
		t.Errorf("nothing waits: %v", err)
	}
	b.observe(b.try(time.Minute))
	b.failed(t.Context(), b.store.Snapshot(), errors.New("address already in use"))
	if b.store.Snapshot().Settings.CloudMode {
		t.Error("the portal does not listen and the change stays")
	}
	b.observe(b.try(time.Minute))
	if err := b.ConfirmHere(t.Context(), by); err != nil || !b.store.Snapshot().Settings.CloudMode || b.store.Snapshot().Trial != nil {
		t.Errorf("%v %+v", err, b.store.Snapshot())
	}
}
