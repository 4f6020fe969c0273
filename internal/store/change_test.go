package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ringfence/internal/telephony"
)

// TestVerifyChainFindsTampering edits the history behind the store's back.
func TestVerifyChainFindsTampering(t *testing.T) {
	t.Parallel()
	whole := t.TempDir()
	s := openAt(t, whole)
	fill(t, s)
	if err := s.VerifyChain(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Close()
	for _, tamper := range []string{
		`UPDATE change SET actor_name = 'nobody' WHERE seq = 2`,
		`UPDATE change SET actor_addr = '' WHERE seq = 2`,
		`UPDATE change SET payload = '[]' WHERE seq = 1`,
		`UPDATE change SET at = at + 1 WHERE seq = 3`,
		`UPDATE change SET tenant_id = 9 WHERE seq = 3`,
		`UPDATE change SET rev = rev + 1 WHERE seq = 3`,
		`UPDATE change SET object = object || 'x' WHERE seq = 3`,
		`UPDATE change SET kind = 'other' WHERE seq = 3`,
		`UPDATE change SET hash = zeroblob(32) WHERE seq = 4`,
		`UPDATE change SET prev = zeroblob(32) WHERE seq = 4`,
		`DELETE FROM change WHERE seq = 1`,
		`DELETE FROM change WHERE seq = 2`,
		`DELETE FROM change WHERE seq = (SELECT max(seq) FROM change)`,
		`DELETE FROM change`,
		`UPDATE change SET seq = seq + 100 WHERE seq = (SELECT max(seq) FROM change)`,
	} {
		dir := clone(t, whole)
		db := openWriter(filepath.Join(dir, databaseName), nil)
		r, err := db.Exec(tamper)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			t.Fatalf("%s touched %d rows, %v", tamper, n, err)
		}
		db.Close()
		// At the next start the sums tell; while running the chain does.
		if s, err := Open(t.Context(), dir, Options{Snapshots: -1}); err == nil {
			s.Close()
			t.Errorf("%s: opened without a word", tamper)
		}
		if err := chainOf(t, dir); err == nil {
			t.Errorf("%s: the chain says nothing", tamper)
		}
	}
}

// chainOf verifies the chain of a folder alone, without the other checks.
func chainOf(t *testing.T, dir string) error {
	t.Helper()
	w, ok, err := openWitness(filepath.Join(dir, witnessName))
	if err != nil || !ok {
		t.Fatal(err)
	}
	defer w.close()
	db := openForCheck(filepath.Join(dir, databaseName))
	defer db.Close()
	return verifyLinks(t.Context(), db, w.last)
}

// TestRewrittenChainIsNoticed forges a consistent chain; the witness knows.
func TestRewrittenChainIsNoticed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAt(t, dir)
	addTenant(t, s, "a.example", "101")
	addTenant(t, s, "b.example", "101")
	s.Close()
	db := openWriter(filepath.Join(dir, databaseName), nil)
	links, err := collect(t.Context(), db, scanLink, `SELECT `+changeColumns+` FROM change ORDER BY seq`)
	if err != nil {
		t.Fatal(err)
	}
	var head [32]byte
	for _, l := range links {
		l.Actor.Name = "somebody-else"
		l.prev = head
		head = l.seal()
		if _, err := db.Exec(`UPDATE change SET actor_name = ?, prev = ?, hash = ? WHERE seq = ?`, l.Actor.Name, l.prev[:], head[:], int64(l.Seq)); err != nil {
			t.Fatal(err)
		}
	}
	db.Close()
	if err := chainOf(t, dir); err == nil || !strings.Contains(err.Error(), "acknowledged") {
		t.Fatalf("got %v", err)
	}
}

func TestHistoryHoldsNoSecrets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAt(t, dir)
	id := addTenant(t, s, "a.example", "101")
	const newPassword = "zebra-KEYS-77-mountain"
	mustUpdate(t, s.ForTenant(id), func(tx *Tx) error {
		if err := tx.SetSIPPassword("101", newPassword); err != nil {
			return err
		}
		_, err := tx.RotateProvisionPath("101")
		if err != nil {
			return err
		}
		_, err = tx.CreateUser(telephony.User{Name: "jo", Role: telephony.RoleStandard}, "$argon2id$hash-of-jo")
		return err
	})
	if _, err := s.ForTenant(id).SIPPassword(t.Context(), admin(), "101"); err != nil {
		t.Fatal(err)
	}
	e, _ := s.Snapshot().Extension(id, "101")
	entries, err := s.System().Audit(t.Context(), AuditFilter{})
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	read := false
	for _, x := range entries {
		text, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, text...)
		read = read || x.Kind == "extension.sip_password_read" && x.Object == "101" && x.Actor == admin()
	}
	if !read {
		t.Error("reading a SIP password left no trace")
	}
	for _, secret := range []string{testPassword, newPassword, e.HA1, e.HA1SHA256, e.ProvisionPath, "hash-of-jo"} {
		if strings.Contains(string(all), secret) {
			t.Errorf("the history holds a secret: %.6s...", secret)
		}
	}
	// Nor does any file hold the SIP passwords in the clear, the deleted one included.
	s.Close()
	for _, name := range []string{databaseName, witnessName} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{testPassword, newPassword} {
			if strings.Contains(string(data), secret) {
				t.Errorf("%s holds a SIP password in the clear", name)
			}
		}
	}
}

func TestAuditPagesAndScopes(t *testing.T) {
	t.Parallel()
	s := open(t)
	a := addTenant(t, s, "a.example")
	b := addTenant(t, s, "b.example")
	for _, number := range []string{"101", "102", "103"} {
		for _, id := range []telephony.TenantID{a, b} {
			mustUpdate(t, s.ForTenant(id), func(tx *Tx) error {
				_, err := tx.CreateExtension(telephony.Extension{Number: number}, testPassword)
				return err
			})
		}
	}
	if err := s.ForTenant(a).Record(t.Context(), admin(), "session.login", "jo", map[string]string{"how": "password"}); err != nil {
		t.Fatal(err)
	}
	page, err := s.ForTenant(a).Audit(t.Context(), AuditFilter{Limit: 2})
	if err != nil || len(page) != 2 || page[0].Kind != "session.login" || page[1].Object != "103" || page[1].Kind != "extension.create" {
		t.Fatalf("%+v, %v", page, err)
	}
	rest, err := s.ForTenant(a).Audit(t.Context(), AuditFilter{Before: page[1].Seq})
	if err != nil || len(rest) != 2 {
		t.Fatalf("%+v, %v", rest, err)
	}
	for _, e := range append(page, rest...) {
		if e.Tenant != a {
			t.Errorf("tenant %d sees an entry of %d", a, e.Tenant)
		}
	}
	if all, err := s.System().Audit(t.Context(), AuditFilter{}); err != nil || len(all) != 9 {
		t.Errorf("the box sees %d entries, %v", len(all), err)
	}
}

func TestFailedStatementCannotCommit(t *testing.T) {
	t.Parallel()
	s := open(t)
	id := addTenant(t, s, "a.example", "101")
	before := s.Snapshot()
	_, err := s.ForTenant(id).Update(t.Context(), admin(), func(tx *Tx) error {
		if _, err := tx.CreateExtension(telephony.Extension{Number: "102"}, testPassword); err != nil {
			return err
		}
		// The error is swallowed, and with it the half that SQLite undid.
		tx.exec(`INSERT INTO extension SELECT tenant_id, id, number, display_name, no_answer, provision_path, ha1, ha1_sha256, sip_password FROM extension`)
		return nil
	})
	if err == nil || s.Snapshot() != before {
		t.Fatalf("committed after a failed statement: %v", err)
	}
	if err := s.write(t.Context(), func(ctx context.Context, tx *sql.Tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
}

func TestPanicInUpdateRollsBack(t *testing.T) {
	t.Parallel()
	s := open(t)
	func() {
		defer func() { recover() }()
		s.System().Update(t.Context(), admin(), func(tx *Tx) error {
			if _, err := tx.CreateTenant(exampleTenant("a.example")); err != nil {
				t.Error(err)
			}
			panic("test")
		})
	}()
	addTenant(t, s, "a.example") // neither locked nor taken
}
