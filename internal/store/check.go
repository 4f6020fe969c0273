package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"

	"modernc.org/sqlite"
)

// deferCheckAbove is the database size in bytes above which the call records,
// the only table without a small bound, are checked after the start instead of
// before it.
const deferCheckAbove = 64 << 20

// openForCheck opens a database so that looking changes nothing: the write-
// ahead log is neither checkpointed nor removed, the evidence stays. A database
// without such a log is opened as immutable, else SQLite would leave an empty
// one behind.
func openForCheck(path string) *sql.DB {
	q := url.Values{"mode": {"ro"}, "_defensive": {"1"}, "_pragma": {"busy_timeout(10000)", "trusted_schema(OFF)", "cell_size_check(ON)"}}
	if have, err := exists(path + "-wal"); err == nil && !have {
		q.Set("immutable", "1")
	}
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}
	db := sql.OpenDB(connector{&sqlite.Driver{}, u.String()})
	db.SetMaxOpenConns(1)
	return db
}

// checkFile refuses what SQLite would take for an empty database.
func checkFile(path string) (size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	header := make([]byte, 100)
	if _, err := io.ReadFull(f, header); err != nil {
		return 0, &CorruptError{Path: path, Reason: "the file is too short to hold a database"}
	}
	// Bytes 18 and 19 are 2 for a write-ahead log and 1 for none; anything
	// else would make the file read-only or unreadable.
	journal := header[18:20]
	if !bytes.HasPrefix(header, []byte("SQLite format 3\x00")) || journal[0] != journal[1] || journal[0]-1 > 1 {
		return 0, &CorruptError{Path: path, Reason: "the file does not begin like a database"}
	}
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// checkReport is what a check found out.
type checkReport struct {
	version  int
	progress progress
	deferred bool // the call records are still to be checked
}

// check reads a database whole and compares it with its structure, its sums
// and, if given, the witness. Every fault of the content is a *CorruptError.
func check(ctx context.Context, path string, k *keys, last *progress, mayDefer bool) (checkReport, error) {
	var r checkReport
	size, err := checkFile(path)
	if err != nil {
		return r, err
	}
	r.deferred = mayDefer && size > deferCheckAbove
	db := openForCheck(path)
	defer db.Close()
	if err := checkContent(ctx, db, k, last, &r); err != nil {
		var ce *CorruptError
		switch {
		case errors.As(err, &ce), ctx.Err() != nil, transient(err):
			return r, fmt.Errorf("checking database: %w", err)
		}
		return r, &CorruptError{Path: path, Reason: err.Error()}
	}
	return r, nil
}

func checkContent(ctx context.Context, db *sql.DB, k *keys, last *progress, r *checkReport) error {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	names, err := tables(ctx, tx)
	if err != nil {
		return err
	}
	if err := checkStructure(ctx, tx, names, r.deferred); err != nil {
		return err
	}
	if r.version, err = versionOf(ctx, tx); err != nil {
		return err
	}
	if err := checkKey(ctx, tx, k); err != nil {
		return err
	}
	for _, name := range names {
		if r.deferred && name == callRecordTable {
			continue
		}
		if err := compareSum(ctx, tx, k, name); err != nil {
			return err
		}
		if err := walkIndexes(ctx, tx, name); err != nil {
			return err
		}
	}
	if r.progress, err = progressOf(ctx, tx); err != nil {
		return err
	}
	if last != nil {
		return compareWitness(ctx, tx, r.progress, *last)
	}
	return nil
}

func checkStructure(ctx context.Context, q queryer, names []string, deferred bool) error {
	if !deferred {
		return integrity(ctx, q, `PRAGMA integrity_check(5)`)
	}
	for _, name := range names {
		if name == callRecordTable {
			continue
		}
		if err := integrity(ctx, q, `PRAGMA integrity_check("`+name+`")`); err != nil {
			return err
		}
	}
	return nil
}

// walkIndexes reads the indexes of a table that has no rows: integrity_check
// takes an empty page of a wrong kind for a good one, and every query by that
// index would fail.
func walkIndexes(ctx context.Context, q queryer, table string) error {
	if sum, err := storedSum(ctx, q, table); err != nil || sum.count > 0 {
		return err
	}
	type column struct{ index, name string }
	first, err := collect(ctx, q, func(scan func(...any) error) (c column, err error) { return c, scan(&c.index, &c.name) },
		`SELECT l.name, c.name FROM pragma_index_list(?) l JOIN pragma_index_info(l.name) c WHERE c.seqno = 0`, table)
	if err != nil {
		return fmt.Errorf("listing the indexes of %s: %w", table, err)
	}
	for _, c := range first {
		var v any
		err := q.QueryRowContext(ctx, `SELECT "`+c.name+`" FROM "`+table+`" INDEXED BY "`+c.index+`" ORDER BY "`+c.name+`" LIMIT 1`).Scan(&v)
		if err == nil {
			return fmt.Errorf("index %s of the empty table %s is not empty", c.index, table)
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("reading index %s of the empty table %s: %w", c.index, table, err)
		}
	}
	return nil
}

func integrity(ctx context.Context, q queryer, pragma string) error {
	found, err := collect(ctx, q, func(scan func(...any) error) (s string, err error) { return s, scan(&s) }, pragma)
	if err != nil {
		return err
	}
	if len(found) != 1 || found[0] != "ok" {
		return fmt.Errorf("integrity check: %q", found)
	}
	return nil
}

func checkKey(ctx context.Context, q queryer, k *keys) error {
	var id string
	if err := q.QueryRowContext(ctx, `SELECT key_id FROM meta WHERE id = 1`).Scan(&id); err != nil {
		return fmt.Errorf("reading key id: %w", err)
	}
	if id != k.id {
		return errors.New("the key file belongs to another database")
	}
	return nil
}

// progressOf reads how far the database has come.
func progressOf(ctx context.Context, q queryer) (p progress, err error) {
	if err := q.QueryRowContext(ctx, `SELECT commits FROM meta WHERE id = 1`).Scan(&p.Commits); err != nil {
		return p, fmt.Errorf("reading commit count: %w", err)
	}
	p.Seq, p.Head, err = chainHead(ctx, q)
	return p, err
}

// compareWitness says whether acknowledged commits are missing.
func compareWitness(ctx context.Context, q queryer, have, last progress) error {
	if have.Commits < last.Commits || have.Seq < last.Seq {
		return fmt.Errorf("%d acknowledged commits are missing", last.Commits-min(have.Commits, last.Commits))
	}
	if last.Seq == 0 {
		return nil
	}
	var hash []byte
	if err := q.QueryRowContext(ctx, `SELECT hash FROM change WHERE seq = ?`, int64(last.Seq)).Scan(&hash); err != nil {
		return fmt.Errorf("reading the last acknowledged change: %w", err)
	}
	if !bytes.Equal(hash, last.Head[:]) {
		return errors.New("the history of changes is another one than was acknowledged")
	}
	return nil
}
