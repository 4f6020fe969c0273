package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"ringfence/internal/telephony"
)

// Recovery says what Recover or Restore did.
type Recovery struct {
	From        string    // the copy that was taken
	Taken       time.Time // when that copy was made
	Rev         uint64    // the settings it holds
	Kept        []string  // the files that were moved aside
	CallRecords int       // saved from the damaged database
}

// Recover replaces a damaged or missing database by the newest good restore
// point and saves what call records are still readable. The bad files are kept
// beside it. All web sessions end. It returns ErrNoSnapshot, and changes
// nothing, if no good restore point is there; it refuses to replace a database
// that is in order.
func Recover(ctx context.Context, dir string, o Options) (Recovery, error) {
	r := rescue{o: o.withDefaults(), paths: pathsOf(dir, o.KeyFile)}
	return r.run(ctx, true)
}

// Restore replaces the database, damaged or not, by a backup that was made
// under the same key file.
func Restore(ctx context.Context, dir, backup string, o Options) (Recovery, error) {
	r := rescue{o: o.withDefaults(), paths: pathsOf(dir, o.KeyFile), candidates: []string{backup}}
	return r.run(ctx, false)
}

type rescue struct {
	o          Options
	paths      paths
	keys       *keys
	candidates []string
	result     Recovery
}

func (r *rescue) run(ctx context.Context, onlyDamaged bool) (Recovery, error) {
	aside, err := r.swap(ctx, onlyDamaged)
	if err != nil {
		return r.result, fmt.Errorf("recovering database: %w", err)
	}
	// From here on the database is in order; what follows adds to it.
	if err := r.complete(ctx, aside); err != nil {
		return r.result, fmt.Errorf("recovering database: %w", err)
	}
	r.o.Logger.Warn("database was replaced", "from", r.result.From, "taken", r.result.Taken, "rev", r.result.Rev,
		"kept", r.result.Kept, "call_records", r.result.CallRecords)
	return r.result, nil
}

// swap puts a good copy in the place of the database, under the folder's lock.
// Whenever it is interrupted it can be run again: either the old database is
// still there, or none, or the new one.
func (r *rescue) swap(ctx context.Context, onlyDamaged bool) (aside string, err error) {
	lock, err := lockDir(r.paths.lock)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if r.keys, err = loadKeys(r.paths.key); err != nil {
		return "", err
	}
	if onlyDamaged {
		if err := r.refuseHealthy(ctx); err != nil {
			return "", err
		}
		if r.candidates, err = restorePoints(r.paths.snapshots); err != nil {
			return "", err
		}
	}
	report, err := r.choose(ctx)
	if err != nil {
		return "", err
	}
	fresh := r.paths.database + ".restoring"
	if err := removeAll(databaseFiles(fresh)...); err != nil {
		return "", err
	}
	if err := copyFile(ctx, r.result.From, fresh); err != nil {
		return "", err
	}
	if aside, err = r.moveAside(); err != nil {
		return "", err
	}
	if err := os.Rename(fresh, r.paths.database); err != nil {
		return "", err
	}
	return aside, createWitness(r.paths.witness, report.progress)
}

// refuseHealthy looks at the database the way Open does.
func (r *rescue) refuseHealthy(ctx context.Context) error {
	if have, err := exists(r.paths.database); err != nil || !have {
		return err
	}
	s := &Store{log: r.o.Logger, paths: r.paths}
	last, err := s.openWitness()
	if err != nil {
		return err
	}
	if s.witness != nil {
		defer s.witness.close()
	}
	_, err = check(ctx, r.paths.database, r.keys, last, false)
	var ce *CorruptError
	switch {
	case errors.As(err, &ce):
		return nil
	case err != nil:
		return err
	}
	return errors.New("the database is in order; restore a backup if another state is wanted")
}

// restorePoints lists everything Recover may go back to, the newest first.
func restorePoints(dir string) ([]string, error) {
	own, err := points(dir, pointPrefix)
	if err != nil {
		return nil, err
	}
	before, err := points(dir, migrationPrefix)
	return append(own, before...), err
}

// choose takes the first candidate that is good.
func (r *rescue) choose(ctx context.Context) (checkReport, error) {
	var errs []error
	for _, path := range r.candidates {
		report, err := check(ctx, path, r.keys, nil, false)
		if ctx.Err() != nil {
			return report, ctx.Err()
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return report, err
		}
		r.result.From, r.result.Taken = path, info.ModTime()
		return report, nil
	}
	return checkReport{}, errors.Join(append([]error{ErrNoSnapshot}, errs...)...)
}

// moveAside keeps the old database with its log, so that it can be looked into,
// and the witness.
func (r *rescue) moveAside() (aside string, err error) {
	mark := ".corrupt-" + time.Now().UTC().Format(pointTime)
	aside = r.paths.database + mark
	moves := [][2]string{
		{r.paths.database, aside},
		{r.paths.database + "-wal", aside + "-wal"},
		{r.paths.witness, r.paths.witness + mark},
	}
	for _, m := range moves {
		have, err := exists(m[0])
		if err != nil {
			return "", err
		}
		if !have {
			continue
		}
		if err := os.Rename(m[0], m[1]); err != nil {
			return "", err
		}
		r.result.Kept = append(r.result.Kept, m[1])
	}
	// The index of the log is built anew from the log.
	if err := removeAll(r.paths.database + "-shm"); err != nil {
		return "", err
	}
	return aside, syncDir(r.paths.dir)
}

// complete opens the restored database, ends what must not come back to life,
// saves call records and writes down what happened.
func (r *rescue) complete(ctx context.Context, aside string) error {
	o := r.o
	o.Snapshots = -1
	s, err := Open(ctx, r.paths.dir, o)
	if err != nil {
		return err
	}
	r.result.Rev = s.Snapshot().Rev
	r.result.CallRecords, err = salvage(ctx, s, aside)
	if err != nil {
		r.o.Logger.Warn("not all call records could be saved", "saved", r.result.CallRecords, "error", err)
	}
	err = s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		// Sessions that were ended after the copy was made must stay ended, and
		// no start may have the number of one since.
		for _, query := range []string{`DELETE FROM session`, `UPDATE node SET epoch = epoch + 1000`} {
			if _, err := tx.ExecContext(ctx, query); err != nil {
				return err
			}
		}
		return recordIn(ctx, tx, telephony.System, telephony.Actor{Kind: telephony.ActorSystem, Name: "store"}, "store.recover", "",
			map[string]string{"from": r.result.From, "taken": r.result.Taken.UTC().Format(time.RFC3339)})
	})
	return errors.Join(err, s.Close())
}

// salvage reads the call records of a damaged database from both ends, as far
// as each goes.
func salvage(ctx context.Context, s *Store, aside string) (saved int, err error) {
	if have, err := exists(aside); err != nil || !have {
		return 0, err
	}
	db := openForCheck(aside)
	defer db.Close()
	before, err := s.countAllCalls(ctx)
	if err != nil {
		return 0, err
	}
	_, up := copyCalls(ctx, s, db, "ASC")
	if up != nil {
		_, down := copyCalls(ctx, s, db, "DESC")
		err = errors.Join(up, down)
	}
	after, countErr := s.countAllCalls(ctx)
	return after - before, errors.Join(err, countErr)
}

func (s *Store) countAllCalls(ctx context.Context) (n int, err error) {
	return n, s.readers.QueryRowContext(ctx, `SELECT count(*) FROM call_record`).Scan(&n)
}

func copyCalls(ctx context.Context, s *Store, from *sql.DB, order string) (n int, err error) {
	rows, err := from.QueryContext(ctx, `SELECT `+callRecordColumns+` FROM call_record NOT INDEXED ORDER BY rowid `+order)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	const batch = 500
	records := make([]telephony.CallRecord, 0, batch)
	flush := func() error {
		n += len(records)
		err := s.AppendCallRecords(ctx, records)
		records = records[:0]
		return err
	}
	for rows.Next() && n < s.o.MaxCallRecords {
		r, err := scanCallRecord(rows.Scan)
		if err != nil {
			return n, errors.Join(err, flush())
		}
		if records = append(records, r); len(records) == batch {
			if err := flush(); err != nil {
				return n, err
			}
		}
	}
	return n, errors.Join(rows.Err(), flush())
}

func copyFile(ctx context.Context, from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, ctx.Err(), out.Sync(), out.Close())
}
