package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"ringfence/internal/telephony"
)

// Scope is the store as one tenant sees it, or as the box sees it. Nothing can
// be reached through a tenant's scope that belongs to another tenant.
type Scope struct {
	s      *Store
	tenant telephony.TenantID
}

// System is the scope of the box: box-wide settings, tenants, box administrators.
func (s *Store) System() Scope { return Scope{s, telephony.System} }

// ForTenant is the scope of one tenant. Updates through the scope of a tenant
// that does not exist fail with ErrNotFound.
func (s *Store) ForTenant(id telephony.TenantID) Scope { return Scope{s, id} }

// Tenant is whose scope this is; telephony.System for the box.
func (sc Scope) Tenant() telephony.TenantID { return sc.tenant }

// Tx is a change being made. It is valid only inside the function given to
// Update and must not be used by two goroutines.
type Tx struct {
	*txState
	scope telephony.TenantID
}

type txState struct {
	ctx     context.Context
	tx      *sql.Tx
	s       *Store
	ops     []op
	failed  error // a statement failed: SQLite undid it alone, so the whole must go
	touched touched
	decide  func(before, after *telephony.Snapshot) *telephony.Trial // nil: no trial
	title   op                                                       // of the history entry, if not its only operation
}

// touched is what the transaction changed.
type touched struct {
	settings   bool
	rules      bool // of addresses
	trial      bool
	signIn     bool
	roles      bool
	trunks     map[trunkKey]bool
	routing    map[telephony.TenantID]routingPart
	tenants    map[telephony.TenantID]bool
	extensions map[extensionID]bool
	kinds      map[Kind]map[telephony.TenantID]bool
}

type extensionID struct {
	tenant telephony.TenantID
	id     int64
}

// Update runs fn in a transaction. If fn and every verifier agree, all its
// changes commit together with their entry in the history and their revision
// becomes visible in Snapshot; else nothing is changed and the error comes
// back. When Update returns, the change has reached the disk. An fn that
// changes nothing makes no revision.
func (sc Scope) Update(ctx context.Context, actor telephony.Actor, fn func(*Tx) error) (rev uint64, err error) {
	s := sc.s
	var change Change
	setUp := false
	err = s.writeThen(ctx, func(ctx context.Context, sqlTx *sql.Tx) (*telephony.Snapshot, error) {
		st := &txState{ctx: ctx, tx: sqlTx, s: s}
		tx := &Tx{st, sc.tenant}
		if err := tx.checkScope(); err != nil {
			return nil, err
		}
		if err := errors.Join(fn(tx), st.failed); err != nil {
			return nil, err
		}
		old := s.snapshot.Load()
		rev = old.Rev
		if len(st.ops) == 0 {
			return nil, nil
		}
		rev++
		snap, err := st.finish(sc.tenant, actor, old)
		change = st.change(rev)
		setUp = err == nil && snap.Settings.SetupDone && !old.Settings.SetupDone
		return snap, err
	}, func() {
		s.publish(change)
		if setUp {
			s.urgePoint()
		}
	})
	return rev, err
}

// finish writes revision and history and asks the verifiers.
func (st *txState) finish(scope telephony.TenantID, actor telephony.Actor, old *telephony.Snapshot) (*telephony.Snapshot, error) {
	rev := old.Rev + 1
	snap, err := st.nextSnapshot(old, rev)
	if err != nil {
		return nil, err
	}
	if err := st.weigh(old, snap); err != nil {
		return nil, err
	}
	if _, err := st.exec(`UPDATE meta SET rev = ?`, int64(rev)); err != nil {
		return nil, fmt.Errorf("counting the revision: %w", err)
	}
	entry, err := entryOf(rev, scope, actor, st.ops)
	if err != nil {
		return nil, err
	}
	if st.title.Kind != "" {
		entry.Kind, entry.Object = st.title.Kind, st.title.Object
	}
	if err := appendChange(st.ctx, st.tx, entry); err != nil {
		return nil, err
	}
	return snap, st.s.verify(snap)
}

// AddVerifier adds a veto: v sees each new snapshot before it commits, and its
// error rolls the change back and reaches the caller of Update. A
// *telephony.FieldError points at the field of the form.
func (s *Store) AddVerifier(name string, v func(*telephony.Snapshot) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.verifiers = append(s.verifiers, verifier{name, v})
}

func (s *Store) verify(snap *telephony.Snapshot) error {
	s.mu.Lock()
	all := s.verifiers[:len(s.verifiers):len(s.verifiers)]
	s.mu.Unlock()
	for _, v := range all {
		if err := v.verify(snap); err != nil {
			return fmt.Errorf("%s refuses the change: %w", v.name, err)
		}
	}
	return nil
}

// write runs fn in a transaction that changes no setting.
func (s *Store) write(ctx context.Context, fn func(context.Context, *sql.Tx) error) error {
	return s.writeThen(ctx, func(ctx context.Context, tx *sql.Tx) (*telephony.Snapshot, error) {
		return nil, fn(ctx, tx)
	}, nil)
}

// writeThen is the only way to write: one at a time, sums and commit count in
// the same transaction, the witness before the acknowledgement. The snapshot
// that fn returns becomes current and publish runs after the commit, in the
// order of commits.
func (s *Store) writeThen(ctx context.Context, fn func(context.Context, *sql.Tx) (*telephony.Snapshot, error), publish func()) error {
	select {
	case s.writing <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("waiting to write: %w", ctx.Err())
	}
	defer func() { <-s.writing }()
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return ErrClosed
	}
	// Once begun, a transaction is short and runs to its end.
	snap, p, err := s.transact(context.WithoutCancel(ctx), fn)
	if err != nil {
		s.noticeDamage(err)
		return err
	}
	s.witnessMu.Lock()
	if err := s.witness.record(p); err != nil {
		// The commit itself is durable.
		s.log.Error("witness not recorded", "error", err)
	}
	s.witnessMu.Unlock()
	if snap != nil {
		s.snapshot.Store(snap)
		publish()
	}
	return nil
}

func (s *Store) transact(ctx context.Context, fn func(context.Context, *sql.Tx) (*telephony.Snapshot, error)) (*telephony.Snapshot, progress, error) {
	s.sums.reset()
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return nil, progress{}, fmt.Errorf("beginning a transaction: %w", err)
	}
	defer tx.Rollback() // also if fn panics
	snap, err := fn(ctx, tx)
	if err != nil {
		return nil, progress{}, err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE meta SET commits = commits + 1`); err != nil {
		return nil, progress{}, fmt.Errorf("counting the commit: %w", err)
	}
	if err := s.sums.flush(ctx, tx); err != nil {
		return nil, progress{}, err
	}
	p, err := progressOf(ctx, tx)
	if err != nil {
		return nil, progress{}, err
	}
	if err := tx.Commit(); err != nil {
		return nil, progress{}, fmt.Errorf("committing: %w", err)
	}
	return snap, p, nil
}

// ForTenant is the same transaction in a tenant's scope; only the box's scope
// may change over.
func (tx *Tx) ForTenant(id telephony.TenantID) (*Tx, error) {
	if tx.scope != telephony.System && tx.scope != id {
		return nil, ErrNotFound
	}
	t := &Tx{tx.txState, id}
	return t, t.checkScope()
}

func (tx *Tx) checkScope() error {
	if tx.scope == telephony.System {
		return nil
	}
	_, err := tx.Tenant()
	return err
}

// own checks that a value belongs to the scope; a zero tenant means the scope's.
func (tx *Tx) own(id *telephony.TenantID) error {
	if *id == 0 {
		*id = tx.scope
	}
	if *id != tx.scope {
		return ErrNotFound
	}
	return nil
}

func (tx *Tx) systemOnly() error {
	if tx.scope != telephony.System {
		return ErrScope
	}
	return nil
}

func (tx *Tx) tenantOnly() error {
	if tx.scope == telephony.System {
		return fmt.Errorf("%w: the box itself has no extensions", ErrScope)
	}
	return nil
}

// exec runs a statement; after a failed one the transaction cannot commit.
func (st *txState) exec(query string, args ...any) (sql.Result, error) {
	r, err := st.tx.ExecContext(st.ctx, query, args...)
	if err != nil && st.failed == nil {
		st.failed = err
	}
	return r, err
}

func (st *txState) row(query string, args ...any) *sql.Row {
	return st.tx.QueryRowContext(st.ctx, query, args...)
}

// note adds an operation to the history entry and to the announced change.
func (tx *Tx) note(kind Kind, verb, object string, value any) {
	tx.ops = append(tx.ops, op{string(kind) + "." + verb, object, value})
	tx.touch(kind, tx.scope)
}

func (st *txState) touch(kind Kind, tenant telephony.TenantID) {
	if st.touched.kinds == nil {
		st.touched.kinds = make(map[Kind]map[telephony.TenantID]bool)
	}
	if st.touched.kinds[kind] == nil {
		st.touched.kinds[kind] = make(map[telephony.TenantID]bool)
	}
	st.touched.kinds[kind][tenant] = true
}

func (st *txState) touchTenant(id telephony.TenantID) {
	if st.touched.tenants == nil {
		st.touched.tenants = make(map[telephony.TenantID]bool)
	}
	st.touched.tenants[id] = true
	st.touch(KindTenant, id)
}

func (st *txState) touchExtension(tenant telephony.TenantID, id int64) {
	if st.touched.extensions == nil {
		st.touched.extensions = make(map[extensionID]bool)
	}
	st.touched.extensions[extensionID{tenant, id}] = true
	st.touch(KindExtension, tenant)
}
