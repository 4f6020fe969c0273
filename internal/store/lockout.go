package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// LockoutKind says what a lockout counts by.
type LockoutKind string

// The kinds of lockouts.
const (
	LockoutAddress LockoutKind = "address" // an IPv4 address or an IPv6 /64
	LockoutAccount LockoutKind = "account"
)

// Lockout counts failed log-ins of one source or account.
type Lockout struct {
	Kind     LockoutKind
	Subject  string
	Failures int
	Failed   time.Time // the last one
	Until    time.Time // refused until then; zero if not refused
}

// SaveLockouts stores and removes lockouts in one transaction. Of removed ones
// only Kind and Subject are looked at.
func (s *Store) SaveLockouts(ctx context.Context, put, removed []Lockout) error {
	if len(put)+len(removed) == 0 {
		return nil
	}
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, l := range removed {
			if _, err := tx.ExecContext(ctx, `DELETE FROM lockout WHERE kind = ? AND subject = ?`, string(l.Kind), l.Subject); err != nil {
				return err
			}
		}
		for _, l := range put {
			_, err := tx.ExecContext(ctx, `INSERT INTO lockout (kind, subject, failures, failed_at, until) VALUES (?1, ?2, ?3, ?4, ?5)
				ON CONFLICT (kind, subject) DO UPDATE SET failures = ?3, failed_at = ?4, until = ?5`,
				string(l.Kind), l.Subject, l.Failures, micros(l.Failed), orNull(l.Until))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("storing lockouts: %w", err)
	}
	return nil
}

// LoadLockouts reads all lockouts.
func (s *Store) LoadLockouts(ctx context.Context) ([]Lockout, error) {
	out, err := collect(ctx, s.readers, func(scan func(...any) error) (l Lockout, err error) {
		var failed int64
		var until sql.NullInt64
		err = scan(&l.Kind, &l.Subject, &l.Failures, &failed, &until)
		l.Failed, l.Until = fromMicros(failed), fromNull(until)
		return l, err
	}, `SELECT kind, subject, failures, failed_at, until FROM lockout ORDER BY kind, subject`)
	if err != nil {
		return nil, fmt.Errorf("reading lockouts: %w", err)
	}
	return out, nil
}
