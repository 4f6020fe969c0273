package store

import (
	"errors"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

const testPassword = "correct-horse-42-battery"

// admin acts in these tests.
func admin() telephony.Actor {
	return telephony.Actor{Kind: telephony.ActorUser, Name: "admin", Addr: netip.MustParseAddr("192.0.2.7")}
}

func openAt(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(t.Context(), dir, Options{Snapshots: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func open(t *testing.T) *Store {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "data"))
}

func exampleTenant(domain string) telephony.Tenant {
	return telephony.Tenant{Name: "Example", Domain: domain, ExtensionFirst: "100", ExtensionLast: "199"}
}

func mustUpdate(t *testing.T, sc Scope, fn func(*Tx) error) uint64 {
	t.Helper()
	rev, err := sc.Update(t.Context(), admin(), fn)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// addTenant makes a tenant with the given extensions.
func addTenant(t *testing.T, s *Store, domain string, numbers ...string) telephony.TenantID {
	t.Helper()
	var id telephony.TenantID
	mustUpdate(t, s.System(), func(tx *Tx) (err error) {
		id, err = tx.CreateTenant(exampleTenant(domain))
		if err != nil {
			return err
		}
		in, err := tx.ForTenant(id)
		if err != nil {
			return err
		}
		for _, n := range numbers {
			if _, err := in.CreateExtension(telephony.Extension{Number: n, DisplayName: "Phone " + n}, testPassword); err != nil {
				return err
			}
		}
		return nil
	})
	return id
}

func TestUpdateSurvivesRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAt(t, dir)
	id := addTenant(t, s, "pbx.example", "101", "102")
	off := false
	want := telephony.DefaultSettings()
	want.SetupDone = true
	want.PublicAddress = netip.MustParseAddr("203.0.113.5")
	want.SessionIdle = 20 * time.Minute
	want.Ports = []ports.Override{{ID: ports.RTPCore, First: 50000, Last: 50999}, {ID: ports.SIPTLS, Enabled: &off}, {ID: ports.SIPUDP, Zones: []ports.Zone{ports.Voice, ports.Trunk}, Sources: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}}}
	rev := mustUpdate(t, s.System(), func(tx *Tx) error { return tx.PutSettings(want) })
	before := s.Snapshot()
	if before.Rev != rev {
		t.Fatalf("snapshot has revision %d, want %d", before.Rev, rev)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, dir)
	after := s.Snapshot()
	if after.Rev != rev || !reflect.DeepEqual(after.Settings, want) || !reflect.DeepEqual(after, before) {
		t.Fatalf("after restart: %+v\nwant %+v", after, before)
	}
	e, ok := after.Extension(id, "101")
	if !ok || e.DisplayName != "Phone 101" || e.NoAnswer != telephony.DefaultNoAnswer || len(e.ProvisionPath) != 26 {
		t.Fatalf("extension 101: %+v %v", e, ok)
	}
	// RFC 7616 section 3.4.2: H(user ":" realm ":" password).
	m, sh := ha1("101", "pbx.example", testPassword)
	if e.HA1 != m || e.HA1SHA256 != sh {
		t.Fatal("HA1 is not over user, realm and password")
	}
	password, err := s.ForTenant(id).SIPPassword(t.Context(), admin(), "101")
	if err != nil || password != testPassword {
		t.Fatalf("password came back as %q, %v", password, err)
	}
	if err := s.VerifyChain(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestSnapshotEqualsDatabase(t *testing.T) {
	t.Parallel()
	s := open(t)
	a := addTenant(t, s, "a.example", "101", "102", "103")
	addTenant(t, s, "b.example", "101")
	steps := []func() error{
		func() error {
			_, err := s.ForTenant(a).Update(t.Context(), admin(), func(tx *Tx) error { return tx.DeleteExtension("102") })
			return err
		},
		func() error {
			_, err := s.ForTenant(a).Update(t.Context(), admin(), func(tx *Tx) error { return tx.SetSIPPassword("103", "another-password-1") })
			return err
		},
		func() error {
			_, err := s.System().Update(t.Context(), admin(), func(tx *Tx) error {
				v := exampleTenant("c.example")
				v.ID = a
				return tx.PutTenant(v)
			})
			return err
		},
		func() error {
			_, err := s.System().Update(t.Context(), admin(), func(tx *Tx) error { return tx.DeleteTenant(a) })
			return err
		},
	}
	for i, step := range steps {
		if err := step(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		want, err := s.readSnapshot(t.Context(), s.readers)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Snapshot(); !reflect.DeepEqual(got, want) {
			t.Fatalf("step %d: snapshot %+v\ndatabase %+v", i, got, want)
		}
	}
}

func TestSubscribeMergesUntakenChanges(t *testing.T) {
	t.Parallel()
	s := open(t)
	sub := s.Subscribe()
	defer sub.Close()
	id := addTenant(t, s, "a.example", "101")
	rev := mustUpdate(t, s.System(), func(tx *Tx) error {
		v, err := tx.Settings()
		v.LoginFailures = 7
		return errors.Join(err, tx.PutSettings(v))
	})
	select {
	case <-sub.C:
	default:
		t.Fatal("no word of a change")
	}
	c := sub.Take()
	if c.Rev != rev || !c.Has(KindSettings) || !c.Has(KindTenant) || !c.Has(KindExtension) || !slices.Contains(c.Tenants, id) {
		t.Fatalf("took %+v", c)
	}
	select {
	case <-sub.C:
		t.Fatal("told twice of one change")
	default:
	}
	if c := sub.Take(); c.Rev != 0 {
		t.Fatalf("took %+v after everything was taken", c)
	}
}

func TestVerifierVetoesBeforeCommit(t *testing.T) {
	t.Parallel()
	s := open(t)
	sub := s.Subscribe()
	defer sub.Close()
	veto := &telephony.FieldError{Field: "login_failures", Reason: "too many"}
	s.AddVerifier("test", func(snap *telephony.Snapshot) error {
		if snap.Settings.LoginFailures > 50 {
			return veto
		}
		return nil
	})
	before := s.Snapshot()
	_, err := s.System().Update(t.Context(), admin(), func(tx *Tx) error {
		v := telephony.DefaultSettings()
		v.LoginFailures = 51
		return tx.PutSettings(v)
	})
	if fe, ok := telephony.AsFieldError(err); !ok || fe != veto {
		t.Fatalf("got %v", err)
	}
	if s.Snapshot() != before {
		t.Fatal("a refused change became visible")
	}
	if c := sub.Take(); c.Rev != 0 {
		t.Fatal("a refused change was announced")
	}
	entries, err := s.System().Audit(t.Context(), AuditFilter{})
	if err != nil || len(entries) != 0 {
		t.Fatalf("history has %v, %v", entries, err)
	}
}

func TestUpdateThatChangesNothingMakesNoRevision(t *testing.T) {
	t.Parallel()
	s := open(t)
	id := addTenant(t, s, "a.example", "101")
	rev := s.Snapshot().Rev
	got := mustUpdate(t, s.ForTenant(id), func(tx *Tx) error {
		e, err := tx.Extension("101")
		tn, err2 := tx.Tenant()
		return errors.Join(err, err2, tx.PutExtension(e), tx.PutTenant(tn))
	})
	if got != rev || s.Snapshot().Rev != rev {
		t.Fatalf("revision %d, want %d", got, rev)
	}
}
