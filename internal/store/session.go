package store

import (
	"context"
	"database/sql"
	"fmt"
	"net/netip"
	"time"

	"ringfence/internal/telephony"
)

// Session is a web session as it is kept: the hash of the cookie's value
// stands for the value itself.
type Session struct {
	Hash    [32]byte
	Tenant  telephony.TenantID
	User    int64
	CSRF    string
	Addr    netip.Addr // where it logged in from
	Created time.Time
	Seen    time.Time // last use
	Expires time.Time // absolute end
	Agent   string    // User-Agent of the browser
	// Owed is true while the second factor was not shown: the session is good
	// for showing it, and for nothing else.
	Owed bool
}

// MaxSessionsPerUser bounds the sessions of one user; a new one ends the one
// used longest ago. Those that owe the second factor are counted by themselves:
// who has the password alone cannot end the sessions of who has both.
const MaxSessionsPerUser = 20

// CreateSession keeps a new session.
func (s *Store) CreateSession(ctx context.Context, v Session) error {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM session WHERE hash IN (SELECT hash FROM session
			WHERE tenant_id = ? AND user_id = ? AND factor_owed = ? ORDER BY seen_at DESC, hash LIMIT -1 OFFSET ?)`, v.Tenant, v.User, v.Owed, MaxSessionsPerUser-1)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO session
			(hash, tenant_id, user_id, csrf, addr, created_at, seen_at, expires_at, agent, factor_owed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			v.Hash[:], v.Tenant, v.User, v.CSRF, addrText(v.Addr), micros(v.Created), micros(v.Seen), micros(v.Expires), v.Agent, v.Owed)
		return err
	})
	if err != nil {
		return fmt.Errorf("storing session: %w", err)
	}
	return nil
}

// SessionByHash finds a session together with its user as that is now.
func (s *Store) SessionByHash(ctx context.Context, hash [32]byte) (v Session, u telephony.User, err error) {
	var addr string
	var created, seen, expires int64
	err = s.readers.QueryRowContext(ctx, `SELECT tenant_id, user_id, csrf, addr, created_at, seen_at, expires_at, agent, factor_owed
		FROM session WHERE hash = ?`, hash[:]).Scan(&v.Tenant, &v.User, &v.CSRF, &addr, &created, &seen, &expires, &v.Agent, &v.Owed)
	if err != nil {
		return v, u, fmt.Errorf("reading session: %w", notFound(err))
	}
	v.Hash, v.Addr = hash, parseAddr(addr)
	v.Created, v.Seen, v.Expires = fromMicros(created), fromMicros(seen), fromMicros(expires)
	u, _, err = Scope{s, v.Tenant}.User(ctx, v.User)
	return v, u, err
}

// TouchSession notes that a session was used.
func (s *Store) TouchSession(ctx context.Context, hash [32]byte, seen time.Time) error {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE session SET seen_at = max(seen_at, ?) WHERE hash = ?`, micros(seen), hash[:])
		return err
	})
	if err != nil {
		return fmt.Errorf("storing session: %w", err)
	}
	return nil
}

// DeleteSession ends a session; one that is gone already is no error.
func (s *Store) DeleteSession(ctx context.Context, hash [32]byte) error {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM session WHERE hash = ?`, hash[:])
		return err
	})
	if err != nil {
		return fmt.Errorf("deleting session: %w", err)
	}
	return nil
}

// Sessions lists the sessions of a user of the scope, the last used first.
func (sc Scope) Sessions(ctx context.Context, user int64) ([]Session, error) {
	out, err := collect(ctx, sc.s.readers, func(scan func(...any) error) (v Session, err error) {
		var hash []byte
		var addr string
		var created, seen, expires int64
		err = scan(&hash, &v.Tenant, &v.User, &v.CSRF, &addr, &created, &seen, &expires, &v.Agent, &v.Owed)
		copy(v.Hash[:], hash)
		v.Addr = parseAddr(addr)
		v.Created, v.Seen, v.Expires = fromMicros(created), fromMicros(seen), fromMicros(expires)
		return v, err
	}, `SELECT hash, tenant_id, user_id, csrf, addr, created_at, seen_at, expires_at, agent, factor_owed FROM session
		WHERE tenant_id = ? AND user_id = ? ORDER BY seen_at DESC`, sc.tenant, user)
	if err != nil {
		return nil, fmt.Errorf("reading sessions: %w", err)
	}
	return out, nil
}

// DeleteSessions ends the sessions of a user, except one if given.
func (tx *Tx) DeleteSessions(user int64, except *[32]byte) error {
	var keep []byte
	if except != nil {
		keep = except[:]
	}
	_, err := tx.exec(`DELETE FROM session WHERE tenant_id = ?1 AND user_id = ?2 AND (?3 IS NULL OR hash <> ?3)`, tx.scope, user, keep)
	if err != nil {
		return fmt.Errorf("deleting sessions of user %d: %w", user, err)
	}
	return nil
}

// DescribeSession notes which browser a session belongs to.
func (s *Store) DescribeSession(ctx context.Context, hash [32]byte, agent string) error {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE session SET agent = ? WHERE hash = ?`, agent, hash[:])
		return err
	})
	if err != nil {
		return fmt.Errorf("storing session: %w", err)
	}
	return nil
}

// EndSession ends one session of a user of the scope, found by the beginning of
// its hash, and reports whether it was there.
func (sc Scope) EndSession(ctx context.Context, actor telephony.Actor, u telephony.User, id []byte) (found bool, err error) {
	err = sc.s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `DELETE FROM session WHERE tenant_id = ? AND user_id = ? AND substr(hash, 1, ?) = ?`, sc.tenant, u.ID, len(id), id)
		if err != nil {
			return err
		}
		n, err := r.RowsAffected()
		if found = n > 0; err != nil || !found {
			return err
		}
		return recordIn(ctx, tx, sc.tenant, actor, "session.end", u.Name, nil)
	})
	if err != nil {
		return false, fmt.Errorf("ending a session: %w", err)
	}
	return found, nil
}

// EndSessions ends the sessions of everybody.
func (s *Store) EndSessions(ctx context.Context) error {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM session`)
		return err
	})
	if err != nil {
		return fmt.Errorf("ending sessions: %w", err)
	}
	return nil
}

// PruneSessions removes sessions past their absolute end or idle since before
// the given time.
func (s *Store) PruneSessions(ctx context.Context, now, idleSince time.Time) error {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM session WHERE expires_at <= ? OR seen_at < ?`, micros(now), micros(idleSince))
		return err
	})
	if err != nil {
		return fmt.Errorf("pruning sessions: %w", err)
	}
	return nil
}
