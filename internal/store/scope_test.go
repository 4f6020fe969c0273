package store

import (
	"context"
	"database/sql"
	"errors"
	"reflect"
	"testing"
	"time"

	"ringfence/internal/telephony"
)

// TestScopesCannotCross tries every door from tenant A to tenant B.
func TestScopesCannotCross(t *testing.T) {
	t.Parallel()
	s := open(t)
	a := addTenant(t, s, "a.example", "101", "102")
	b := addTenant(t, s, "b.example", "101", "150", "151", "152")
	var bob telephony.User
	mustUpdate(t, s.ForTenant(b), func(tx *Tx) (err error) {
		bob, err = tx.CreateUser(telephony.User{Name: "bob", Role: telephony.RoleAdmin, Extension: "150"}, "hash-b")
		return err
	})
	mustUpdate(t, s.ForTenant(a), func(tx *Tx) error {
		_, err := tx.CreateUser(telephony.User{Name: "ann", Role: telephony.RoleAdmin}, "hash-a")
		return err
	})
	now := time.Now()
	if err := s.CreateSession(t.Context(), Session{Hash: [32]byte{1}, Tenant: b, User: bob.ID, Created: now, Seen: now, Expires: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if err := s.AppendCallRecords(t.Context(), []telephony.CallRecord{exampleCall(b, "call-b", "101", "150", now)}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.ForTenant(a).User(t.Context(), bob.ID); !errors.Is(err, ErrNotFound) {
		t.Fatalf("the user ids of both tenants coincide, so the test would not tell: %v", err)
	}
	before := dump(t, s)
	for name, fn := range map[string]func(*Tx) error{
		"read extension": func(tx *Tx) error { _, err := tx.Extension("150"); return err },
		"put extension": func(tx *Tx) error {
			return tx.PutExtension(telephony.Extension{Tenant: b, Number: "101", NoAnswer: time.Minute})
		},
		"put by number": func(tx *Tx) error { return tx.PutExtension(telephony.Extension{Number: "150", NoAnswer: time.Minute}) },
		"create extension": func(tx *Tx) error {
			_, err := tx.CreateExtension(telephony.Extension{Tenant: b, Number: "160"}, testPassword)
			return err
		},
		"delete extension": func(tx *Tx) error { return tx.DeleteExtension("150") },
		"SIP password":     func(tx *Tx) error { return tx.SetSIPPassword("150", testPassword) },
		"rotate path":      func(tx *Tx) error { _, err := tx.RotateProvisionPath("150"); return err },
		"create user": func(tx *Tx) error {
			_, err := tx.CreateUser(telephony.User{Tenant: b, Name: "eve", Role: telephony.RoleAdmin}, "h")
			return err
		},
		"other's phone": func(tx *Tx) error {
			_, err := tx.CreateUser(telephony.User{Name: "eve", Role: telephony.RoleAdmin, Extension: "150"}, "h")
			return err
		},
		"read user":       func(tx *Tx) error { _, err := tx.User(bob.ID); return err },
		"put user":        func(tx *Tx) error { return tx.PutUser(bob) },
		"user's password": func(tx *Tx) error { return tx.SetUserPassword(bob.ID, "h", false) },
		"delete user":     func(tx *Tx) error { return tx.DeleteUser(bob.ID) },
		"system admin": func(tx *Tx) error {
			_, err := tx.CreateUser(telephony.User{Name: "eve", Role: telephony.RoleSystemAdmin}, "h")
			return err
		},
		"put tenant":    func(tx *Tx) error { v := exampleTenant("b.example"); v.ID = b; v.Name = "mine"; return tx.PutTenant(v) },
		"take domain":   func(tx *Tx) error { v := exampleTenant("b.example"); return tx.PutTenant(v) },
		"create tenant": func(tx *Tx) error { _, err := tx.CreateTenant(exampleTenant("c.example")); return err },
		"delete tenant": func(tx *Tx) error { return tx.DeleteTenant(b) },
		"delete own":    func(tx *Tx) error { return tx.DeleteTenant(a) },
		"settings":      func(tx *Tx) error { return tx.PutSettings(telephony.DefaultSettings()) },
		"change over":   func(tx *Tx) error { _, err := tx.ForTenant(b); return err },
	} {
		_, err := s.ForTenant(a).Update(t.Context(), admin(), fn)
		var fe *telephony.FieldError
		if err == nil || !(errors.Is(err, ErrNotFound) || errors.Is(err, ErrScope) || errors.As(err, &fe)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after := dump(t, s); after != before {
		t.Error("tenant A changed something")
	}
	if _, err := s.ForTenant(a).SIPPassword(t.Context(), admin(), "150"); !errors.Is(err, ErrNotFound) {
		t.Errorf("SIP password: %v", err)
	}
	if u, _, err := s.ForTenant(a).User(t.Context(), bob.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("user: %+v, %v", u, err)
	}
	users, err := s.ForTenant(a).Users(t.Context())
	if err != nil || len(users) != 1 || users[0].Name != "ann" {
		t.Errorf("users: %+v, %v", users, err)
	}
	if calls, _, err := s.ForTenant(a).CallRecords(t.Context(), CallRecordFilter{}); err != nil || len(calls) != 0 {
		t.Errorf("call records: %v, %v", calls, err)
	}
	if sessions, err := s.ForTenant(a).Sessions(t.Context(), bob.ID); err != nil || len(sessions) != 0 {
		t.Errorf("sessions: %v, %v", sessions, err)
	}
	mustUpdate(t, s.ForTenant(a), func(tx *Tx) error { return tx.DeleteSessions(bob.ID, nil) })
	if _, _, err := s.SessionByHash(t.Context(), [32]byte{1}); err != nil {
		t.Errorf("tenant A ended a session of B: %v", err)
	}
}

// TestForeignKeysCannotCross goes behind the code, to the schema.
func TestForeignKeysCannotCross(t *testing.T) {
	t.Parallel()
	s := open(t)
	a := addTenant(t, s, "a.example", "101")
	b := addTenant(t, s, "b.example", "101", "150")
	e, _ := s.Snapshot().Extension(b, "150")
	for _, x := range []struct {
		query string
		args  []any
	}{
		{`INSERT INTO user (tenant_id, id, name, first_name, last_name, email, phone, role, extension_id, must_change, created_at, password_hash)
			VALUES (?, 99, 'eve', '', '', '', '', 'admin', ?, 0, 0, '')`, []any{a, e.ID}},
		{`UPDATE extension SET tenant_id = 0 WHERE tenant_id = ?`, []any{a}},
		{`INSERT INTO session (hash, tenant_id, user_id, csrf, addr, created_at, seen_at, expires_at) VALUES (x'00', ?, ?, '', '', 0, 0, 0)`, []any{a, e.ID}},
		{`INSERT INTO binding SELECT 77, 'x', '', '', '', 0, 0, '', 0, '', '', 0, '', '', '', '', 0, 0, 0, 0, '', '', '', ''`, nil},
		{`UPDATE tenant SET domain = 'b.example' WHERE id = ?`, []any{a}},
		{`UPDATE tenant SET domain = '' WHERE id = ?`, []any{a}},
	} {
		err := s.write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, x.query, x.args...)
			return err
		})
		if err == nil || code(err) != 19 { // SQLITE_CONSTRAINT
			t.Errorf("%s: %v", x.query, err)
		}
	}
}

func TestDeleteExtensionRemovesEverything(t *testing.T) {
	t.Parallel()
	s := open(t)
	id := addTenant(t, s, "pbx.example", "101", "102")
	var user telephony.User
	mustUpdate(t, s.ForTenant(id), func(tx *Tx) (err error) {
		user, err = tx.CreateUser(telephony.User{Name: "jo", Role: telephony.RoleStandard, Extension: "101"}, "h")
		return err
	})
	if err := s.SaveBindings(t.Context(), []telephony.Binding{exampleBinding(id, "101"), exampleBinding(id, "102")}, nil); err != nil {
		t.Fatal(err)
	}
	path := func() string { e, _ := s.Snapshot().Extension(id, "101"); return e.ProvisionPath }()
	mustUpdate(t, s.ForTenant(id), func(tx *Tx) error { return tx.DeleteExtension("101") })
	if _, ok := s.Snapshot().Extension(id, "101"); ok {
		t.Error("still in the snapshot")
	}
	if _, ok := s.Snapshot().ExtensionByProvisionPath(path); ok {
		t.Error("its provisioning path still works")
	}
	if _, err := s.ForTenant(id).SIPPassword(t.Context(), admin(), "101"); !errors.Is(err, ErrNotFound) {
		t.Errorf("its password can still be read: %v", err)
	}
	// A late write-behind does not bring the registration back.
	if err := s.SaveBindings(t.Context(), []telephony.Binding{exampleBinding(id, "101")}, nil); err != nil {
		t.Fatal(err)
	}
	bindings, err := s.LoadBindings(t.Context())
	if err != nil || len(bindings) != 1 || bindings[0].AOR.User != "102" {
		t.Errorf("bindings: %+v, %v", bindings, err)
	}
	if u, _, err := s.ForTenant(id).User(t.Context(), user.ID); err != nil || u.Extension != "" {
		t.Errorf("user: %+v, %v", u, err)
	}
	// The number can be used again, under a new id, with nothing of the old one.
	var again telephony.Extension
	mustUpdate(t, s.ForTenant(id), func(tx *Tx) (err error) {
		again, err = tx.CreateExtension(telephony.Extension{Number: "101"}, "another-password-9")
		return err
	})
	if again.ProvisionPath == path || again.ID <= user.ID {
		t.Errorf("made anew: %+v", again)
	}
}

func TestRealmChangeComputesHA1Anew(t *testing.T) {
	t.Parallel()
	s := open(t)
	a := addTenant(t, s, "a.example", "101", "102")
	b := addTenant(t, s, "b.example", "101")
	other, _ := s.Snapshot().Extension(b, "101")
	mustUpdate(t, s.ForTenant(a), func(tx *Tx) error { return tx.PutTenant(exampleTenant("new.example")) })
	for _, number := range []string{"101", "102"} {
		e, _ := s.Snapshot().Extension(a, number)
		if m, sh := ha1(number, "new.example", testPassword); e.HA1 != m || e.HA1SHA256 != sh {
			t.Errorf("HA1 of %s is not of the new realm", number)
		}
	}
	if e, _ := s.Snapshot().Extension(b, "101"); !reflect.DeepEqual(e, other) {
		t.Error("another tenant's extension changed")
	}
	if _, ok := s.Snapshot().TenantByDomain("NEW.example"); !ok {
		t.Error("the new domain is not found")
	}
	if password, err := s.ForTenant(a).SIPPassword(t.Context(), admin(), "101"); err != nil || password != testPassword {
		t.Errorf("the password changed: %v", err)
	}
}

func TestSealedPasswordsAreBoundToTheirRow(t *testing.T) {
	t.Parallel()
	s := open(t)
	a := addTenant(t, s, "a.example", "101", "102")
	b := addTenant(t, s, "b.example", "101")
	sealed := func(id telephony.TenantID, number string) (v []byte) {
		if err := s.readers.QueryRow(`SELECT sip_password FROM extension WHERE tenant_id = ? AND number = ?`, id, number).Scan(&v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	v := sealed(a, "101")
	if got, err := s.keys.open(a, "101", v); err != nil || got != testPassword {
		t.Fatalf("%q, %v", got, err)
	}
	for name, fn := range map[string]func() (string, error){
		"other number": func() (string, error) { return s.keys.open(a, "102", v) },
		"other tenant": func() (string, error) { return s.keys.open(b, "101", v) },
		"flipped": func() (string, error) {
			w := append([]byte(nil), v...)
			w[len(w)-1] ^= 1
			return s.keys.open(a, "101", w)
		},
		"other version": func() (string, error) { w := append([]byte(nil), v...); w[0] = 9; return s.keys.open(a, "101", w) },
		"empty":         func() (string, error) { return s.keys.open(a, "101", nil) },
	} {
		if got, err := fn(); err == nil || got != "" {
			t.Errorf("%s opened as %q", name, got)
		}
	}
	if string(sealed(a, "101")) == string(sealed(a, "102")) || string(sealed(a, "101")) == string(sealed(b, "101")) {
		t.Error("equal passwords look equal when encrypted")
	}
}

func TestDeleteTenant(t *testing.T) {
	t.Parallel()
	s := open(t)
	fill(t, s)
	id := s.Snapshot().Tenants()[0].ID
	mustUpdate(t, s.System(), func(tx *Tx) error { return tx.DeleteTenant(id) })
	names, err := tables(t.Context(), s.readers)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		var n int
		err := s.readers.QueryRow(`SELECT count(*) FROM "`+name+`" WHERE tenant_id = ?`, id).Scan(&n)
		if name != "change" && err == nil && n > 0 {
			t.Errorf("table %s keeps %d rows of a deleted tenant", name, n)
		}
	}
	if _, err := s.ForTenant(id).Update(t.Context(), admin(), func(*Tx) error { return nil }); !errors.Is(err, ErrNotFound) {
		t.Errorf("the scope of a deleted tenant: %v", err)
	}
	// What comes in late for it is dropped, the rest of the batch stays.
	other := s.Snapshot().Tenants()[0].ID
	now := time.Now()
	if err := s.AppendCallRecords(t.Context(), []telephony.CallRecord{exampleCall(id, "late", "1", "2", now), exampleCall(other, "good", "1", "2", now)}); err != nil {
		t.Fatal(err)
	}
	if next := addTenant(t, s, "c.example"); next <= id {
		t.Error("a tenant id was used twice")
	}
}
