package store

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// trying makes every change of a transaction a trial.
func trying(id string) func(before, after *telephony.Snapshot) *telephony.Trial {
	return func(before, after *telephony.Snapshot) *telephony.Trial {
		return &telephony.Trial{ID: id, By: "admin", Began: time.Now(), Window: time.Minute}
	}
}

func movePortal(to uint16) func(*telephony.Settings) {
	return func(v *telephony.Settings) {
		v.Ports = putOverride(v.Ports, ports.Override{ID: ports.Portal, First: to, Last: to})
	}
}

// change changes settings, on trial if an id is given.
func change(s *Store, id string, fn func(*telephony.Settings)) error {
	_, err := s.System().Update(context.Background(), admin(), func(tx *Tx) error {
		v, err := tx.Settings()
		if err != nil {
			return err
		}
		fn(&v)
		if id != "" {
			tx.Try(trying(id))
		}
		return tx.PutSettings(v)
	})
	return err
}

func takeBack(s *Store, id string) error {
	_, err := s.System().Update(context.Background(), admin(), func(tx *Tx) error { return tx.TakeBackTrial(id, "tested") })
	return err
}

func TestTrialIsTakenBackWithoutWhatElseChanged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAt(t, dir)
	old := netip.MustParsePrefix("192.0.2.0/24")
	mustUpdate(t, s.System(), func(tx *Tx) error {
		return tx.PutAddressRules("admin", telephony.AddressRule{Prefix: old, Allow: true, Note: "office"})
	})
	before := s.Snapshot()
	err := func() error {
		_, err := s.System().Update(t.Context(), admin(), func(tx *Tx) error {
			v, err := tx.Settings()
			if err != nil {
				return err
			}
			movePortal(9443)(&v)
			v.CloudMode, v.ListenerDigests = true, map[ports.ID]telephony.Digest{ports.SIPUDP: telephony.DigestMD5}
			tx.Try(trying("one"))
			return errors.Join(tx.PutSettings(v), tx.PutAddressRules("admin", telephony.AddressRule{Prefix: old, Note: "no office"}, telephony.AddressRule{Prefix: netip.MustParsePrefix("10.0.0.0/8")}))
		})
		return err
	}()
	if err != nil {
		t.Fatal(err)
	}
	if tr := s.Snapshot().Trial; tr == nil || tr.ID != "one" || tr.Window != time.Minute || tr.Rev != s.Snapshot().Rev {
		t.Fatalf("the trial is %+v", tr)
	}
	// Something else may change, the same not, and not what is in the way back.
	if err := change(s, "", func(v *telephony.Settings) { v.SessionMax = 7 * time.Hour }); err != nil {
		t.Fatal(err)
	}
	for what, fn := range map[string]func(*telephony.Settings){
		"the same row":   movePortal(9444),
		"the same field": func(v *telephony.Settings) { v.CloudMode = false },
		"in the way": func(v *telephony.Settings) {
			on := true
			v.Ports = putOverride(v.Ports, ports.Override{ID: ports.SIPTCP, Enabled: &on, First: 8887, Last: 8887})
		},
	} {
		if err := change(s, "", fn); !errors.Is(err, ErrTried) {
			t.Errorf("%s during the trial: %v", what, err)
		}
	}
	if err := change(s, "two", func(v *telephony.Settings) { v.LoginFailures++ }); !errors.Is(err, ErrTried) {
		t.Errorf("another trial: %v", err)
	}
	// It survives on disk, and nothing but it is taken back.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, dir)
	if tr := s.Snapshot().Trial; tr == nil || tr.ID != "one" {
		t.Fatalf("after a restart the trial is %+v", tr)
	}
	if err := takeBack(s, "three"); !errors.Is(err, ErrNoTrial) {
		t.Errorf("another one is taken back: %v", err)
	}
	if err := takeBack(s, ""); err != nil {
		t.Fatal(err)
	}
	after := s.Snapshot()
	want := before.Settings
	want.SessionMax = 7 * time.Hour
	if after.Trial != nil || !reflect.DeepEqual(after.Settings, want) || !reflect.DeepEqual(after.Rules, before.Rules) {
		t.Errorf("returned to %+v %+v, want %+v %+v", after.Settings, after.Rules, want, before.Rules)
	}
	log, err := s.System().Audit(t.Context(), AuditFilter{Limit: 1})
	if err != nil || len(log) != 1 || log[0].Kind != "settings.take_back" || log[0].Object != "cloud_mode listener_digests portal 10.0.0.0/8 192.0.2.0/24" {
		t.Errorf("history: %+v, %v", log, err)
	}
	if err := s.VerifyChain(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTrialIsKept(t *testing.T) {
	t.Parallel()
	s := open(t)
	if err := change(s, "one", movePortal(9443)); err != nil {
		t.Fatal(err)
	}
	keep := func(id string) error {
		_, err := s.System().Update(t.Context(), admin(), func(tx *Tx) error { return tx.KeepTrial(id) })
		return err
	}
	if err := keep("guess"); !errors.Is(err, ErrNoTrial) {
		t.Errorf("kept by a guess: %v", err)
	}
	rev := s.Snapshot().Rev
	if err := keep("one"); err != nil {
		t.Fatal(err)
	}
	if now := s.Snapshot(); now.Trial != nil || now.Rev != rev+1 || len(now.Settings.Ports) != 1 || now.Settings.Ports[0].First != 9443 {
		t.Errorf("%+v", now)
	}
	if err := takeBack(s, ""); !errors.Is(err, ErrNoTrial) {
		t.Errorf("taken back after it was kept: %v", err)
	}
}

// A change that is refused leaves no trial behind.
func TestNoTrialOfARefusedChange(t *testing.T) {
	t.Parallel()
	s := open(t)
	if err := change(s, "one", movePortal(80)); err == nil {
		t.Fatal("port 80 is taken")
	}
	if err := takeBack(s, ""); !errors.Is(err, ErrNoTrial) {
		t.Errorf("a trial of nothing: %v", err)
	}
}

// putOverride returns the overrides with o in place of that of the same row.
func putOverride(list []ports.Override, o ports.Override) []ports.Override {
	return ports.Change(list, o.ID, func(old *ports.Override) { *old = o })
}
