package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"ringfence/internal/telephony"
)

// SavePublications stores and removes published presence in one transaction; it
// is meant for batches written behind. That of extensions that do not exist (any
// more) is left out. Of removed ones only tenant and tag are looked at.
func (s *Store) SavePublications(ctx context.Context, put, removed []telephony.Publication) error {
	if len(put)+len(removed) == 0 {
		return nil
	}
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, x := range removed {
			if _, err := tx.ExecContext(ctx, `DELETE FROM publication WHERE tenant_id = ? AND tag = ?`, x.Tenant, x.Tag); err != nil {
				return err
			}
		}
		for _, x := range put {
			_, err := tx.ExecContext(ctx, `INSERT INTO publication (`+publicationColumns+`) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
				WHERE EXISTS (SELECT 1 FROM extension WHERE tenant_id = ?1 AND number = ?3) ON CONFLICT (tenant_id, tag) DO NOTHING`,
				x.Tenant, x.Tag, x.Number, x.Open, strings.Join(x.Activities, " "), x.Note, micros(x.Published), micros(x.Expires))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("storing published presence: %w", err)
	}
	return nil
}

const publicationColumns = `tenant_id, tag, number, open, activities, note, published_at, expires_at`

func scanPublication(scan func(...any) error) (x telephony.Publication, err error) {
	var activities string
	var published, expires int64
	err = scan(&x.Tenant, &x.Tag, &x.Number, &x.Open, &activities, &x.Note, &published, &expires)
	x.Activities, x.Published, x.Expires = strings.Fields(activities), fromMicros(published), fromMicros(expires)
	return x, err
}

// LoadPublications reads the published presence that has not expired, oldest
// first.
func (s *Store) LoadPublications(ctx context.Context) ([]telephony.Publication, error) {
	out, err := collect(ctx, s.readers, scanPublication, `SELECT `+publicationColumns+` FROM publication WHERE expires_at > ?
		ORDER BY published_at, tag`, micros(time.Now()))
	if err != nil {
		return nil, fmt.Errorf("reading published presence: %w", err)
	}
	return out, nil
}

// prunePublications removes what expired.
func (s *Store) prunePublications(ctx context.Context, now time.Time) error {
	var n int
	if err := s.readers.QueryRowContext(ctx, `SELECT count(*) FROM publication WHERE expires_at <= ?`, micros(now)).Scan(&n); err != nil || n == 0 {
		return err
	}
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM publication WHERE expires_at <= ?`, micros(now))
		return err
	})
}
