package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"modernc.org/sqlite"
)

// A restore point is a small verified copy of the database without the call
// records, made by itself: soon after a setting changed, and once a day. Recover goes back to the newest good one.

const (
	pointPrefix     = "point-"
	migrationPrefix = "migration-"
	keptPoints      = 8
	keptMigrations  = 2
	pointTime       = "20060102T150405.000Z"
)

// makePoint writes a restore point, checks it, and removes the oldest.
func (s *Store) makePoint(ctx context.Context) (path string, err error) {
	s.pointing.Lock() // the copy in the making has one name
	defer s.pointing.Unlock()
	if err := os.MkdirAll(s.paths.snapshots, 0o700); err != nil {
		return "", fmt.Errorf("making a restore point: %w", err)
	}
	tmp := filepath.Join(s.paths.snapshots, "new.db")
	defer func() { err = errors.Join(err, removeAll(databaseFiles(tmp)...)) }()
	if err := removeAll(databaseFiles(tmp)...); err != nil {
		return "", fmt.Errorf("making a restore point: %w", err)
	}
	// Taken before the copy: what is committed meanwhile asks for a new point.
	path = filepath.Join(s.paths.snapshots, pointName(time.Now(), s.Snapshot().Rev))
	if err := copySettings(ctx, s.paths.database, tmp); err != nil {
		return "", fmt.Errorf("making a restore point: %w", err)
	}
	if err := s.keepPoint(ctx, tmp, path); err != nil {
		return "", fmt.Errorf("making a restore point: %w", err)
	}
	keep := s.o.Snapshots
	if keep < 0 {
		keep = keptPoints
	}
	return path, rotate(s.paths.snapshots, pointPrefix, keep)
}

// pointName holds when a point was made, so that names sort by age, and the
// revision it has at least.
func pointName(at time.Time, rev uint64) string {
	return fmt.Sprintf("%s%s-r%d.db", pointPrefix, at.UTC().Format(pointTime), rev)
}

// newestPoint says when the newest point was made and with which revision; the
// zero time if there is none.
func newestPoint(dir string) (at time.Time, rev uint64, err error) {
	all, err := points(dir, pointPrefix)
	if err != nil || len(all) == 0 {
		return at, 0, err
	}
	stamp, number, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(filepath.Base(all[0]), pointPrefix), ".db"), "-r")
	if at, err = time.Parse(pointTime, stamp); err != nil {
		return at, 0, fmt.Errorf("reading the name of restore point %s: %w", all[0], err)
	}
	if rev, err = strconv.ParseUint(number, 10, 64); err != nil {
		return at, 0, fmt.Errorf("reading the name of restore point %s: %w", all[0], err)
	}
	return at, rev, nil
}

// keepPoint checks a finished copy and gives it its name.
func (s *Store) keepPoint(ctx context.Context, tmp, path string) error {
	if err := os.Chmod(tmp, 0o600); err != nil {
		return err
	}
	if err := syncFile(tmp); err != nil {
		return err
	}
	if _, err := check(ctx, tmp, s.keys, nil, false); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// copySettings copies everything but the call records, as of one moment, into
// a new database with the newest schema.
func copySettings(ctx context.Context, from, to string) error {
	q := url.Values{"_defensive": {"1"}, "_pragma": {"busy_timeout(10000)", "foreign_keys(OFF)", "synchronous(FULL)", "temp_store(MEMORY)"}}
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: to}).EscapedPath(), RawQuery: q.Encode()}
	db := sql.OpenDB(connector{&sqlite.Driver{}, u.String()})
	defer db.Close()
	db.SetMaxOpenConns(1) // what is attached belongs to the connection
	source := url.URL{Scheme: "file", Opaque: (&url.URL{Path: from}).EscapedPath(), RawQuery: "mode=ro"}
	if _, err := db.ExecContext(ctx, `ATTACH ? AS live`, source.String()); err != nil {
		return err
	}
	// Each statement ends with ctx. A transaction that did would be rolled back by
	// a goroutine nobody waits for, which takes the files of the next copy away.
	tx, err := db.BeginTx(context.WithoutCancel(ctx), nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, schemaSQL); err != nil {
		return err
	}
	names, err := tables(ctx, tx)
	if err != nil {
		return err
	}
	names = slices.DeleteFunc(names, func(n string) bool { return n == callRecordTable })
	for _, name := range names {
		if _, err := tx.ExecContext(ctx, `INSERT INTO main."`+name+`" SELECT * FROM live."`+name+`"`); err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO main.row_sum SELECT * FROM live.row_sum WHERE name <> ?`, callRecordTable)
	if err != nil {
		return err
	}
	var version int
	if err := tx.QueryRowContext(ctx, `SELECT version FROM main.meta`).Scan(&version); err != nil {
		return err
	}
	if err := setVersion(ctx, tx, version); err != nil {
		return err
	}
	return tx.Commit()
}

// keepBeforeMigration copies the whole database as it is before its schema
// changes, for the way back to the program before.
func (s *Store) keepBeforeMigration(ctx context.Context, version int) error {
	if err := os.MkdirAll(s.paths.snapshots, 0o700); err != nil {
		return fmt.Errorf("keeping a copy before migrating: %w", err)
	}
	tmp := filepath.Join(s.paths.snapshots, "new.db")
	path := filepath.Join(s.paths.snapshots, fmt.Sprintf("%s%s-v%04d.db", migrationPrefix, time.Now().UTC().Format(pointTime), version))
	if err := removeAll(databaseFiles(tmp)...); err != nil {
		return fmt.Errorf("keeping a copy before migrating: %w", err)
	}
	db := openForCheck(s.paths.database)
	defer db.Close()
	if _, err := db.ExecContext(ctx, `VACUUM INTO ?`, tmp); err != nil {
		return fmt.Errorf("keeping a copy before migrating: %w", err)
	}
	if err := s.keepPoint(ctx, tmp, path); err != nil {
		return fmt.Errorf("keeping a copy before migrating: %w", err)
	}
	return rotate(s.paths.snapshots, migrationPrefix, keptMigrations)
}

// points lists the copies with a prefix, the newest first.
func points(dir, prefix string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing restore points: %w", err)
	}
	var out []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) && strings.HasSuffix(e.Name(), ".db") {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	slices.Sort(out) // the names hold the time
	slices.Reverse(out)
	return out, nil
}

// rotate removes all but the newest copies with a prefix.
func rotate(dir, prefix string, keep int) error {
	all, err := points(dir, prefix)
	if err != nil || len(all) <= keep {
		return err
	}
	if err := removeAll(all[keep:]...); err != nil {
		return fmt.Errorf("removing old restore points: %w", err)
	}
	return nil
}
