package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// pragmas of every connection; busy_timeout first, so that the others wait
// their turn too. secure_delete overwrites what is deleted: secrets do not
// linger in free pages.
var pragmas = [...]string{
	"busy_timeout(10000)",
	"journal_mode(WAL)",
	"synchronous(FULL)",
	"foreign_keys(ON)",
	"trusted_schema(OFF)",
	"cell_size_check(ON)",
	"secure_delete(ON)",
	"temp_store(MEMORY)",
	"cache_size(-8000)",
	"journal_size_limit(4194304)",
}

// connector opens connections to one file with a driver of its own, so that
// nothing is registered for the whole process.
type connector struct {
	driver *sqlite.Driver
	dsn    string
}

func (c connector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.dsn) }
func (c connector) Driver() driver.Driver                        { return c.driver }

// dsn names a file with our pragmas. A writer takes its lock at the beginning
// of a transaction, so that it never finds out halfway that it came second.
func dsn(path, txlock string, extra ...string) string {
	q := url.Values{"_defensive": {"1"}, "_dqs": {"0"}, "_txlock": {txlock}}
	for _, p := range pragmas {
		q.Add("_pragma", p)
	}
	for _, p := range extra {
		q.Add("_pragma", p)
	}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String()
}

// openWriter opens the one connection that writes; onChange sees every row
// before it changes.
func openWriter(path string, onChange sqlite.PreUpdateHookFn) *sql.DB {
	d := &sqlite.Driver{}
	if onChange != nil {
		d.RegisterConnectionHook(func(conn sqlite.ExecQuerierContext, _ string) error {
			r, ok := conn.(sqlite.HookRegisterer)
			if !ok {
				return errors.New("driver has no pre-update hook")
			}
			r.RegisterPreUpdateHook(onChange)
			return nil
		})
	}
	db := sql.OpenDB(connector{d, dsn(path, "immediate")})
	db.SetMaxOpenConns(1)
	db.SetConnMaxIdleTime(0)
	return db
}

// openReaders opens a pool that cannot write.
func openReaders(path string) *sql.DB {
	db := sql.OpenDB(connector{&sqlite.Driver{}, dsn(path, "deferred", "query_only(ON)")})
	db.SetMaxOpenConns(4)
	db.SetMaxIdleConns(4)
	return db
}

// code is the primary SQLite result code of err, or 0.
func code(err error) int {
	var se *sqlite.Error
	if !errors.As(err, &se) {
		return 0
	}
	return se.Code() & 0xff
}

// damaged reports whether err says that the file itself is bad.
func damaged(err error) bool {
	c := code(err)
	return c == sqlite3.SQLITE_CORRUPT || c == sqlite3.SQLITE_NOTADB || c == sqlite3.SQLITE_FORMAT || c == sqlite3.SQLITE_IOERR && isShortRead(err)
}

// transient reports whether err says something about the machine at this
// moment and nothing about the file.
func transient(err error) bool {
	switch code(err) {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT,
		sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		return true
	case sqlite3.SQLITE_IOERR:
		return !isShortRead(err)
	}
	return false
}

func isShortRead(err error) bool {
	var se *sqlite.Error
	return errors.As(err, &se) && (se.Code() == sqlite3.SQLITE_IOERR_SHORT_READ || se.Code() == sqlite3.SQLITE_IOERR_READ)
}

func isUnique(err error) bool {
	var se *sqlite.Error
	return errors.As(err, &se) && (se.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || se.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
}

// notFound turns "no rows" into ErrNotFound.
func notFound(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

// queryer is what reads need: a transaction or a pool.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// collect runs a query and scans every row.
func collect[T any](ctx context.Context, q queryer, scan func(scan func(...any) error) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		v, err := scan(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("reading a row: %w", err)
		}
		out = append(out, v)
	}
	return out, rows.Err()
}
