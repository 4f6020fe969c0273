package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"ringfence/internal/telephony"
)

// SaveBans stores and removes bans in one transaction; it is meant for batches
// written behind. Of removed ones only Source and Scope are looked at.
func (s *Store) SaveBans(ctx context.Context, put, removed []telephony.Ban) error {
	if len(put)+len(removed) == 0 {
		return nil
	}
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, b := range removed {
			if _, err := tx.ExecContext(ctx, `DELETE FROM ban WHERE source = ? AND scope = ?`, b.Source.String(), string(b.Scope)); err != nil {
				return err
			}
		}
		for _, b := range put {
			_, err := tx.ExecContext(ctx, `INSERT INTO ban (source, scope, reason, user_agent, target, count, since, until, level, port) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
				ON CONFLICT (source, scope) DO UPDATE SET reason = ?3, user_agent = ?4, target = ?5, count = ?6, since = ?7, until = ?8, level = ?9, port = ?10`,
				b.Source.String(), string(b.Scope), b.Reason, b.Evidence.UserAgent, b.Evidence.Target, b.Evidence.Count, micros(b.Since), micros(b.Until), b.Level, b.Port)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("storing bans: %w", err)
	}
	return nil
}

// LoadBans reads the bans that are in force, and forgets the others.
func (s *Store) LoadBans(ctx context.Context) ([]telephony.Ban, error) {
	now := micros(time.Now())
	out, err := collect(ctx, s.readers, func(scan func(...any) error) (b telephony.Ban, err error) {
		var source string
		var since, until int64
		err = scan(&source, &b.Scope, &b.Reason, &b.Evidence.UserAgent, &b.Evidence.Target, &b.Evidence.Count, &since, &until, &b.Level, &b.Port)
		b.Source, b.Since, b.Until = parseAddr(source), fromMicros(since), fromMicros(until)
		return b, err
	}, `SELECT source, scope, reason, user_agent, target, count, since, until, level, port FROM ban WHERE until > ?`, now)
	if err != nil {
		return nil, fmt.Errorf("reading bans: %w", err)
	}
	return out, s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM ban WHERE until <= ?`, now)
		return err
	})
}
