package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"modernc.org/sqlite"
)

//go:embed sql/schema.sql
var schemaSQL string

//go:embed sql/migrations/*.sql
var migrationFiles embed.FS

// migrations are the SQL steps in order; step i leads to version i+1.
func migrations() ([]string, error) {
	entries, err := migrationFiles.ReadDir("sql/migrations") // sorted by name
	if err != nil {
		return nil, fmt.Errorf("reading migrations: %w", err)
	}
	steps := make([]string, len(entries))
	for i, e := range entries {
		if !strings.HasPrefix(e.Name(), fmt.Sprintf("%04d-", i+1)) {
			return nil, fmt.Errorf("reading migrations: %s stands where number %04d belongs", e.Name(), i+1)
		}
		text, err := migrationFiles.ReadFile("sql/migrations/" + e.Name())
		if err != nil {
			return nil, fmt.Errorf("reading migrations: %w", err)
		}
		steps[i] = string(text)
	}
	return steps, nil
}

// createSchema fills an empty database.
func createSchema(ctx context.Context, tx *sql.Tx, version int, keyID string, now time.Time) error {
	if _, err := tx.ExecContext(ctx, schemaSQL); err != nil {
		return fmt.Errorf("creating schema: %w", err)
	}
	if err := setVersion(ctx, tx, version); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO meta (id, version, rev, commits, next_tenant, key_id, created_at) VALUES (1, ?, 0, 0, 1, ?, ?)`,
		version, keyID, micros(now))
	if err != nil {
		return fmt.Errorf("creating schema: %w", err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO tenant (id, name, domain, extension_first, extension_last) VALUES (0, 'system', '', '', '')`)
	if err != nil {
		return fmt.Errorf("creating schema: %w", err)
	}
	return nil
}

func setVersion(ctx context.Context, tx *sql.Tx, version int) error {
	// A pragma takes no parameters; version is our own number.
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", version)); err != nil {
		return fmt.Errorf("setting schema version: %w", err)
	}
	return nil
}

// versionOf reads the schema version, which stands in two places so that a
// flipped bit in the header cannot make an old migration run again.
func versionOf(ctx context.Context, q queryer) (int, error) {
	var header, meta int
	if err := q.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&header); err != nil {
		return 0, fmt.Errorf("reading schema version: %w", err)
	}
	if err := q.QueryRowContext(ctx, `SELECT version FROM meta WHERE id = 1`).Scan(&meta); err != nil {
		return 0, fmt.Errorf("reading schema version: %w", err)
	}
	if header != meta {
		return 0, fmt.Errorf("schema version is %d in the header and %d in the table", header, meta)
	}
	return meta, nil
}

// migrate runs the missing steps in one transaction and sums all tables anew.
func migrate(ctx context.Context, db *sql.DB, k *keys, from int, steps []string) (err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("migrating database: %w", err)
	}
	defer conn.Close()
	// Rebuilding a table that others point to needs the foreign keys off, and
	// that is possible outside a transaction only; they are checked at the end.
	if _, err := conn.ExecContext(ctx, `PRAGMA foreign_keys = OFF`); err != nil {
		return fmt.Errorf("migrating database: %w", err)
	}
	defer func() {
		if _, e := conn.ExecContext(ctx, `PRAGMA foreign_keys = ON`); e != nil {
			err = errors.Join(err, e)
		}
	}()
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("migrating database: %w", err)
	}
	defer tx.Rollback()
	for i, step := range steps[from:] {
		if _, err := tx.ExecContext(ctx, step); err != nil {
			return fmt.Errorf("migrating database to version %d: %w", from+i+1, err)
		}
	}
	if err := setVersion(ctx, tx, len(steps)); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE meta SET version = ?, commits = commits + 1`, len(steps)); err != nil {
		return fmt.Errorf("migrating database: %w", err)
	}
	if err := checkForeignKeys(ctx, tx); err != nil {
		return fmt.Errorf("migrating database: %w", err)
	}
	if err := sumAll(ctx, tx, k); err != nil {
		return fmt.Errorf("migrating database: %w", err)
	}
	return tx.Commit()
}

func sumAll(ctx context.Context, tx *sql.Tx, k *keys) error {
	names, err := tables(ctx, tx)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM row_sum`); err != nil {
		return err
	}
	for _, name := range names {
		sum, err := tableSum(ctx, tx, k, name)
		if err != nil {
			return err
		}
		if err := storeSum(ctx, tx, name, sum); err != nil {
			return err
		}
	}
	return nil
}

func checkForeignKeys(ctx context.Context, q queryer) error {
	bad, err := collect(ctx, q, func(scan func(...any) error) (string, error) {
		var table, parent string
		var rowid, fk sql.NullInt64
		err := scan(&table, &rowid, &parent, &fk)
		return table + " to " + parent, err
	}, `PRAGMA foreign_key_check`)
	if err != nil {
		return err
	}
	if len(bad) > 0 {
		return fmt.Errorf("%d broken references, the first from %s", len(bad), bad[0])
	}
	return nil
}

// schemaObjects lists what a database is made of, in comparable form.
func schemaObjects(ctx context.Context, q queryer) ([]string, error) {
	return collect(ctx, q, func(scan func(...any) error) (string, error) {
		var kind, name, table, text string
		err := scan(&kind, &name, &table, &text)
		return kind + " " + name + " on " + table + ": " + normalizeSQL(text), err
	}, `SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema ORDER BY type, name`)
}

// normalizeSQL takes away what ALTER TABLE and people write differently:
// comments, white space and quotes around names.
func normalizeSQL(s string) string {
	s = regexp.MustCompile(`--[^\n]*`).ReplaceAllString(s, " ")
	s = strings.ReplaceAll(s, `"`, "")
	s = regexp.MustCompile(`\s+`).ReplaceAllString(s, " ")
	s = regexp.MustCompile(` ?([(),]) ?`).ReplaceAllString(s, "$1")
	return strings.TrimSpace(s)
}

// verifySchema says how a database differs from schema.sql.
func verifySchema(ctx context.Context, q queryer) error {
	want, err := freshObjects(ctx)
	if err != nil {
		return err
	}
	got, err := schemaObjects(ctx, q)
	if err != nil {
		return fmt.Errorf("reading schema: %w", err)
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			return fmt.Errorf("schema lacks %q", w)
		}
	}
	for _, g := range got {
		if !slices.Contains(want, g) {
			return fmt.Errorf("schema has %q, which is not ours", g)
		}
	}
	return nil
}

// freshObjects builds schema.sql in memory and lists it.
func freshObjects(ctx context.Context) ([]string, error) {
	db := sql.OpenDB(connector{&sqlite.Driver{}, ":memory:"})
	defer db.Close()
	db.SetMaxOpenConns(1) // each connection would be a database of its own
	if _, err := db.ExecContext(ctx, schemaSQL); err != nil {
		return nil, fmt.Errorf("building schema: %w", err)
	}
	return schemaObjects(ctx, db)
}

// micros is a time as the database keeps it.
func micros(t time.Time) int64 { return t.UnixMicro() }

// orNull keeps the zero time as NULL.
func orNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

func fromMicros(v int64) time.Time { return time.UnixMicro(v).UTC() }

func fromNull(v sql.NullInt64) time.Time {
	if !v.Valid {
		return time.Time{}
	}
	return fromMicros(v.Int64)
}
