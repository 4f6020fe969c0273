package store

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"modernc.org/sqlite"
)

func TestSchemaMigratedEqualsFresh(t *testing.T) {
	t.Parallel()
	steps, err := migrations()
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector{&sqlite.Driver{}, ":memory:"})
	defer db.Close()
	db.SetMaxOpenConns(1)
	for i, step := range steps {
		if _, err := db.Exec(step); err != nil {
			t.Fatalf("migration %d: %v", i+1, err)
		}
	}
	if err := verifySchema(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	// The comparison can fail.
	for _, change := range []string{
		`CREATE TABLE extra (x INTEGER) STRICT`,
		`DROP TABLE extra; DROP INDEX user_extension`,
		`CREATE INDEX user_extension ON user (tenant_id, extension_id); ALTER TABLE user ADD COLUMN more TEXT`,
	} {
		if _, err := db.Exec(change); err != nil {
			t.Fatal(err)
		}
		if err := verifySchema(t.Context(), db); err == nil {
			t.Errorf("after %q the schema still counts as ours", change)
		}
	}
}

func TestSchemaRules(t *testing.T) {
	t.Parallel()
	objects, err := freshObjects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tenantTables := []string{"extension", "user", "role", "extension_group", "extension_group_member", "trunk", "trunk_did", "trunk_rate", "schedule",
		"outbound_rule", "outbound_route", "outbound_group", "inbound_rule", "inbound_trunk", "emergency_route", "caller_block", "contact",
		"binding", "subscription", "publication", "call_record", "tenant_setting", "totp", "recovery_code", "api_token", "invite", "user_identity"}
	for _, o := range objects {
		if !strings.HasPrefix(o, "table ") {
			continue
		}
		name := strings.Fields(o)[1]
		if !strings.HasSuffix(o, "STRICT") {
			t.Errorf("table %s is not STRICT", name)
		}
		if strings.Contains(o, " REAL") {
			t.Errorf("table %s has a REAL column, whose row sums would not be exact", name)
		}
		if slices.Contains(tenantTables, name) != strings.Contains(o, "PRIMARY KEY(tenant_id,") {
			t.Errorf("table %s: every tenant table, and no other, has a composite key that begins with tenant_id", name)
		}
		// Addresses of this machine's own belong in node_* tables; a binding's
		// flow carries the node it belongs to.
		if strings.HasPrefix(name, "node_") && !strings.Contains(o, "node_id TEXT") {
			t.Errorf("table %s does not name its node", name)
		}
	}
}

// oldFixture builds a database of another version around the given steps.
func TestMigrationOfAnOpenedDatabase(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "old.db")
	k, err := createKeys(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := createDatabase(t.Context(), path, k, nil); err != nil {
		t.Fatal(err)
	}
	steps, err := migrations()
	if err != nil {
		t.Fatal(err)
	}
	db := openWriter(path, nil)
	defer db.Close()
	next := append(slices.Clone(steps),
		`ALTER TABLE tenant ADD COLUMN language TEXT NOT NULL DEFAULT 'en'; UPDATE tenant SET name = 'renamed'`,
		`CREATE TABLE lamp (tenant_id INTEGER NOT NULL REFERENCES tenant (id), id INTEGER NOT NULL, PRIMARY KEY (tenant_id, id)) STRICT;
		 INSERT INTO lamp VALUES (0, 1)`)
	if err := migrate(t.Context(), db, k, len(steps), next); err != nil {
		t.Fatal(err)
	}
	report, err := check(t.Context(), path, k, nil, false)
	if err != nil || report.version != len(next) {
		t.Fatalf("after migration: %+v, %v", report, err)
	}
	// A step that breaks references or fails leaves everything as it was.
	for _, bad := range []string{`INSERT INTO lamp VALUES (77, 1)`, `INSERT INTO lamp VALUES (0, 2); SELECT nothing FROM nowhere`} {
		if err := migrate(t.Context(), db, k, len(next), append(slices.Clone(next), bad)); err == nil {
			t.Errorf("migration %q went through", bad)
		}
	}
	if report, err = check(t.Context(), path, k, nil, false); err != nil || report.version != len(next) {
		t.Fatalf("after failed migrations: %+v, %v", report, err)
	}
	var on int
	if err := db.QueryRow(`PRAGMA foreign_keys`).Scan(&on); err != nil || on != 1 {
		t.Errorf("foreign keys are %d after migrating, %v", on, err)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAt(t, dir)
	err := s.write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE meta SET version = 900`)
		return errors.Join(err, setVersion(ctx, tx, 900))
	})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	before := fileSums(t, dir)
	_, err = Open(t.Context(), dir, Options{})
	var ce *CorruptError
	if err == nil || errors.As(err, &ce) || !strings.Contains(err.Error(), "newer") {
		t.Fatalf("got %v", err)
	}
	for name, sum := range fileSums(t, dir) {
		if before[name] != sum {
			t.Errorf("%s was changed", name)
		}
	}
}

func TestKeepBeforeMigration(t *testing.T) {
	t.Parallel()
	s := open(t)
	fill(t, s)
	if err := s.keepBeforeMigration(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	found, err := restorePoints(s.paths.snapshots)
	if err != nil || len(found) != 1 || !strings.HasSuffix(found[0], "-v0007.db") {
		t.Fatalf("kept %v, %v", found, err)
	}
}

func TestConnectionsAreSetUp(t *testing.T) {
	t.Parallel()
	s := open(t)
	for name, db := range map[string]*sql.DB{"writer": s.writer, "reader": s.readers} {
		for pragma, want := range map[string]string{
			"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "10000",
			"trusted_schema": "0", "secure_delete": "1",
		} {
			var got string
			if err := db.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s: %s is %q, want %q (%v)", name, pragma, got, want, err)
			}
		}
	}
	if _, err := s.readers.Exec(`DELETE FROM tenant`); err == nil {
		t.Error("a reader can write")
	}
	// Readers go on while somebody writes.
	err := s.write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_, err := s.System().Users(ctx)
		return errors.Join(err, s.VerifyChain(ctx))
	})
	if err != nil {
		t.Error(err)
	}
}
