package store

import (
	"context"
	"fmt"
	"time"

	"ringfence/internal/telephony"
)

// PutInvite keeps the hash of a one-time link by which a user of the scope sets
// a password. It takes the place of an older one.
func (tx *Tx) PutInvite(user int64, hash [32]byte, expires time.Time) error {
	u, err := tx.User(user)
	if err != nil {
		return err
	}
	_, err = tx.exec(`INSERT INTO invite (tenant_id, user_id, hash, expires_at) VALUES (?1, ?2, ?3, ?4)
		ON CONFLICT (tenant_id, user_id) DO UPDATE SET hash = ?3, expires_at = ?4`, u.Tenant, u.ID, hash[:], micros(expires))
	if err != nil {
		return fmt.Errorf("storing the invitation of user %d: %w", user, err)
	}
	tx.note(KindUser, "invite", u.Name, map[string]time.Time{"expires": expires.UTC()})
	return nil
}

// InviteByHash finds whom a link invites; ErrNotFound for links that are
// unknown, used or too old.
func (s *Store) InviteByHash(ctx context.Context, hash [32]byte, now time.Time) (u telephony.User, err error) {
	var tenant telephony.TenantID
	var id int64
	err = s.readers.QueryRowContext(ctx, `SELECT tenant_id, user_id FROM invite WHERE hash = ? AND expires_at > ?`, hash[:], micros(now)).Scan(&tenant, &id)
	if err != nil {
		return u, fmt.Errorf("reading an invitation: %w", notFound(err))
	}
	u, _, err = Scope{s, tenant}.User(ctx, id)
	return u, err
}

// UseInvite takes an invitation away; ErrNotFound if it was used meanwhile or
// is too old.
func (tx *Tx) UseInvite(user int64, hash [32]byte, now time.Time) error {
	r, err := tx.exec(`DELETE FROM invite WHERE tenant_id = ? AND user_id = ? AND hash = ? AND expires_at > ?`, tx.scope, user, hash[:], micros(now))
	if err != nil {
		return fmt.Errorf("using an invitation: %w", err)
	}
	if n, err := r.RowsAffected(); err != nil || n != 1 {
		return fmt.Errorf("using an invitation: %w", ErrNotFound)
	}
	return nil
}

// DropInvite takes the invitation of a user of the scope back.
func (tx *Tx) DropInvite(user int64) error {
	if _, err := tx.exec(`DELETE FROM invite WHERE tenant_id = ? AND user_id = ?`, tx.scope, user); err != nil {
		return fmt.Errorf("taking an invitation back: %w", err)
	}
	return nil
}
