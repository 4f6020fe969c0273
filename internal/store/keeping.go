package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"ringfence/internal/telephony"
)

// keepingSetting is the row of tenant_setting that says what is kept how long.
const keepingSetting = "keeping"

// Keeping is how long the scope's tenant keeps what it recorded.
func (sc Scope) Keeping(ctx context.Context) (telephony.Keeping, error) {
	return readKeeping(sc.s.readers.QueryRowContext(ctx, `SELECT value FROM tenant_setting WHERE tenant_id = ? AND name = ?`, sc.tenant, keepingSetting))
}

func readKeeping(row *sql.Row) (v telephony.Keeping, err error) {
	var text string
	err = row.Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return v, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(text), &v)
	}
	if err != nil {
		return v, fmt.Errorf("reading how long records are kept: %w", err)
	}
	return v, nil
}

// PutKeeping changes how long the scope's tenant keeps what it recorded.
func (tx *Tx) PutKeeping(v telephony.Keeping) error {
	if err := errors.Join(tx.tenantOnly(), v.Validate()); err != nil {
		return err
	}
	old, err := readKeeping(tx.row(`SELECT value FROM tenant_setting WHERE tenant_id = ? AND name = ?`, tx.scope, keepingSetting))
	if err != nil || old == v {
		return err
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding how long records are kept: %w", err)
	}
	_, err = tx.exec(`INSERT INTO tenant_setting (tenant_id, name, value) VALUES (?1, ?2, ?3)
		ON CONFLICT (tenant_id, name) DO UPDATE SET value = ?3`, tx.scope, keepingSetting, string(text))
	if err != nil {
		return fmt.Errorf("storing how long records are kept: %w", err)
	}
	tx.note(KindTenant, keepingSetting, "", json.RawMessage(text))
	return nil
}

// forgetCallRecords removes records that are older than their tenant keeps them,
// at most step at a time.
func (s *Store) forgetCallRecords(ctx context.Context, now time.Time, step int) error {
	for _, t := range s.Snapshot().Tenants() {
		keep, err := s.ForTenant(t.ID).Keeping(ctx)
		if err != nil {
			return err
		}
		if keep.CallDays == 0 {
			continue
		}
		oldest := micros(now.AddDate(0, 0, -keep.CallDays))
		for removed := int64(step); removed == int64(step); {
			err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
				r, err := tx.ExecContext(ctx, `DELETE FROM call_record WHERE rowid IN
					(SELECT rowid FROM call_record WHERE tenant_id = ? AND started_at < ? AND ended_at < ? LIMIT ?)`, t.ID, oldest, oldest, step)
				if err == nil {
					removed, err = r.RowsAffected()
				}
				return err
			})
			if err != nil {
				return fmt.Errorf("removing old call records of tenant %d: %w", t.ID, err)
			}
		}
	}
	return nil
}
