// Package store keeps all settings and records in one SQLite database and hands
// out immutable snapshots of the settings.
//
// One connection writes, a pool reads. Every change of a setting goes through
// Scope.Update: rows, hash-chained history and sums in one transaction, shown
// to verifiers before it commits and published after.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"ringfence/internal/telephony"
)

// Options of Open; the zero value is ready to use.
type Options struct {
	Logger *slog.Logger
	// KeyFile holds the key that encrypts SIP passwords, mode 0600; empty is
	// ringfence.key in the data folder.
	KeyFile string
	// MaxCallRecords bounds the call records kept; the oldest go first. 0 is
	// one million.
	MaxCallRecords int
	// Snapshots is how many automatic snapshots are kept; 0 is 8, negative
	// switches them off.
	Snapshots int
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.MaxCallRecords <= 0 {
		o.MaxCallRecords = 1_000_000
	}
	if o.Snapshots == 0 {
		o.Snapshots = keptPoints
	}
	return o
}

// Store is the open database of one data folder. It is safe for concurrent use.
type Store struct {
	o     Options
	log   *slog.Logger
	paths paths
	keys  *keys
	lock  *os.File
	node  telephony.NodeID
	epoch uint64

	writing chan struct{} // holds one token while somebody writes
	writer  *sql.DB
	sums    *sumKeeper // used by whoever holds the token
	readers *sql.DB

	witnessMu sync.Mutex
	witness   *witness

	snapshot atomic.Pointer[telephony.Snapshot]
	damage   atomic.Pointer[CorruptError]

	mu        sync.Mutex // guards what follows
	verifiers []verifier
	subs      map[*Subscription]struct{}
	closed    bool

	pointNow chan struct{} // asks for a restore point
	pointing sync.Mutex    // held while one is made
	stop     context.CancelFunc
	done     sync.WaitGroup
}

type verifier struct {
	name   string
	verify func(*telephony.Snapshot) error
}

// Open opens the database of a data folder, or makes a fresh one in an empty
// folder. It returns a *CorruptError for a damaged database and a
// *MissingError if only a part of the files is there; in both cases nothing
// was changed, and never does a system that was in use begin anew by itself.
func Open(ctx context.Context, dir string, o Options) (*Store, error) {
	o = o.withDefaults()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating data folder: %w", err)
	}
	p := pathsOf(dir, o.KeyFile)
	lock, err := lockDir(p.lock)
	if err != nil {
		return nil, err
	}
	s := &Store{
		o: o, log: o.Logger, paths: p, lock: lock,
		writing: make(chan struct{}, 1), pointNow: make(chan struct{}, 1),
		subs: make(map[*Subscription]struct{}),
	}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.release())
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = cancel
	s.done.Go(func() { s.maintain(run) })
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	fresh, err := s.decide()
	if err != nil {
		return err
	}
	if fresh {
		if err := create(ctx, s.paths, s.log); err != nil {
			return err
		}
	}
	if s.keys, err = loadKeys(s.paths.key); err != nil {
		return err
	}
	s.sums = newSumKeeper(s.keys)
	report, err := s.inspect(ctx)
	if err != nil {
		return err
	}
	if err := s.connect(ctx, report); err != nil {
		return err
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	if report.deferred {
		s.done.Go(func() { s.checkLater() })
	}
	return nil
}

// decide says whether the folder is to be filled. What a power cut left of a
// creation that was never finished is cleared away: nothing in it was ever
// acknowledged.
func (s *Store) decide() (fresh bool, err error) {
	p := s.paths
	creating, err := exists(p.creating)
	if err != nil {
		return false, fmt.Errorf("looking into data folder: %w", err)
	}
	if creating {
		return true, nil
	}
	haveDB, err1 := exists(p.database)
	haveKey, err2 := exists(p.key)
	haveWitness, err3 := exists(p.witness)
	haveSnapshots, err4 := exists(p.snapshots)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return false, fmt.Errorf("looking into data folder: %w", err)
	}
	switch {
	case haveDB && haveKey:
		return false, nil
	case haveDB:
		return false, &MissingError{Path: p.key, What: "key file"}
	case haveKey, haveWitness, haveSnapshots:
		return false, &MissingError{Path: p.database, What: "database"}
	}
	return true, nil
}

// create makes a fresh system. A marker stands while it lasts.
func create(ctx context.Context, p paths, log *slog.Logger) error {
	if err := writeFile(p.creating, nil, 0o600); err != nil {
		return fmt.Errorf("creating database: %w", err)
	}
	if err := removeAll(append(databaseFiles(p.database), p.key, p.witness)...); err != nil {
		return fmt.Errorf("creating database: %w", err)
	}
	k, err := createKeys(p.key)
	if err != nil {
		return err
	}
	if err := createDatabase(ctx, p.database, k, nil); err != nil {
		return fmt.Errorf("creating database: %w", err)
	}
	if err := createWitness(p.witness, progress{}); err != nil {
		return err
	}
	if err := errors.Join(removeAll(p.creating), syncDir(p.dir)); err != nil {
		return fmt.Errorf("creating database: %w", err)
	}
	log.Info("created a fresh database", "path", p.database)
	return nil
}

// createDatabase makes a database file with the newest schema; fill may add
// rows before the sums are taken.
func createDatabase(ctx context.Context, path string, k *keys, fill func(context.Context, *sql.Tx) error) error {
	steps, err := migrations()
	if err != nil {
		return err
	}
	db := openWriter(path, nil)
	defer db.Close()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := createSchema(ctx, tx, len(steps), k.id, time.Now()); err != nil {
		return err
	}
	if fill != nil {
		if err := fill(ctx, tx); err != nil {
			return err
		}
	}
	if err := sumAll(ctx, tx, k); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return err
	}
	return syncFile(path)
}

// inspect checks the database before anything may write to it.
func (s *Store) inspect(ctx context.Context) (checkReport, error) {
	last, err := s.openWitness()
	if err != nil {
		return checkReport{}, err
	}
	report, err := check(ctx, s.paths.database, s.keys, last, true)
	if err != nil {
		return report, err
	}
	steps, err := migrations()
	if err != nil {
		return report, err
	}
	if report.version > len(steps) {
		return report, fmt.Errorf("opening database %s: its schema version %d is newer than this program's %d; start the newer program or restore a backup", s.paths.database, report.version, len(steps))
	}
	return report, nil
}

// openWitness opens the witness; a missing or unreadable one is made anew from
// what the database says, with a warning: the database itself is still checked.
func (s *Store) openWitness() (*progress, error) {
	have, err := exists(s.paths.witness)
	if err != nil {
		return nil, fmt.Errorf("opening witness file: %w", err)
	}
	if !have {
		s.log.Warn("witness file is missing; missing commits at the end cannot be noticed this time", "path", s.paths.witness)
		return nil, nil
	}
	w, ok, err := openWitness(s.paths.witness)
	if err != nil {
		return nil, err
	}
	if !ok {
		w.close()
		s.log.Warn("witness file is unreadable; missing commits at the end cannot be noticed this time", "path", s.paths.witness)
		return nil, nil
	}
	s.witness = w
	return &w.last, nil
}

// connect opens the writer and the readers and brings the schema up to date.
func (s *Store) connect(ctx context.Context, report checkReport) error {
	s.writer = openWriter(s.paths.database, s.sums.onChange)
	steps, err := migrations()
	if err != nil {
		return err
	}
	if report.version < len(steps) {
		if err := s.keepBeforeMigration(ctx, report.version); err != nil {
			return err
		}
		if err := migrate(ctx, s.writer, s.keys, report.version, steps); err != nil {
			return err
		}
		s.log.Info("migrated the database", "from", report.version, "to", len(steps))
	}
	if err := verifySchema(ctx, s.writer); err != nil {
		return &CorruptError{Path: s.paths.database, Reason: err.Error()}
	}
	s.readers = openReaders(s.paths.database)
	if s.witness != nil {
		return nil
	}
	p, err := progressOf(ctx, s.writer)
	if err != nil {
		return err
	}
	if err := createWitness(s.paths.witness, p); err != nil {
		return err
	}
	s.witness, _, err = openWitness(s.paths.witness)
	return err
}

// start counts the epoch and builds the first snapshot.
func (s *Store) start(ctx context.Context) error {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var err error
		s.node, s.epoch, err = bootNode(ctx, tx)
		return err
	})
	if err != nil {
		return fmt.Errorf("opening database %s: %w", s.paths.database, err)
	}
	snap, err := s.readSnapshot(ctx, s.readers)
	if err != nil {
		return fmt.Errorf("opening database %s: %w", s.paths.database, err)
	}
	s.snapshot.Store(snap)
	return nil
}

func (s *Store) checkLater() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	_, err := check(ctx, s.paths.database, s.keys, nil, false)
	s.noticeDamage(err)
}

// Health is nil while no damage was found, else the *CorruptError.
func (s *Store) Health() error {
	if ce := s.damage.Load(); ce != nil {
		return ce
	}
	return nil
}

// Snapshot is all settings at the newest committed revision; never nil.
func (s *Store) Snapshot() *telephony.Snapshot { return s.snapshot.Load() }

// Node is this machine and how many times it has started.
func (s *Store) Node() (id telephony.NodeID, epoch uint64) { return s.node, s.epoch }

// Dir is the data folder.
func (s *Store) Dir() string { return s.paths.dir }

// Close waits for the writer and ends everything. Further calls return ErrClosed.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.done.Wait()
	s.writing <- struct{}{} // the last writer has finished; who waits finds it closed
	defer func() { <-s.writing }()
	return s.release()
}

func (s *Store) release() error {
	var errs []error
	if s.readers != nil {
		errs = append(errs, s.readers.Close())
	}
	if s.writer != nil {
		errs = append(errs, s.writer.Close()) // moves the write-ahead log into the database
	}
	if s.witness != nil {
		errs = append(errs, s.witness.close())
	}
	return errors.Join(append(errs, s.lock.Close())...)
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
