package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"ringfence/internal/telephony"
)

// TOTP is the shared secret of a user's authenticator app (RFC 6238).
type TOTP struct {
	Secret    []byte
	Confirmed bool  // the user has shown that the app has it
	Last      int64 // step of the code used last
}

// totpAssociated binds an encrypted secret to its user.
func totpAssociated(tenant telephony.TenantID, user int64) []byte {
	return fmt.Appendf(nil, "totp\x00%d\x00%d", tenant, user)
}

// TOTP reads the secret of a user of the scope; ErrNotFound if there is none.
func (sc Scope) TOTP(ctx context.Context, user int64) (v TOTP, err error) {
	var sealed []byte
	err = sc.s.readers.QueryRowContext(ctx, `SELECT secret, confirmed, last_step FROM totp WHERE tenant_id = ? AND user_id = ?`,
		sc.tenant, user).Scan(&sealed, &v.Confirmed, &v.Last)
	if err != nil {
		return v, fmt.Errorf("reading the second factor of user %d: %w", user, notFound(err))
	}
	if v.Secret, err = sc.s.keys.openValue(totpAssociated(sc.tenant, user), sealed); err != nil {
		return v, fmt.Errorf("reading the second factor of user %d: %w", user, err)
	}
	return v, nil
}

// UseTOTP notes that the code of a step was used, and reports false if that
// one, or a later one, was used before: of two requests with one code the first
// gets in.
func (sc Scope) UseTOTP(ctx context.Context, user, step int64) (first bool, err error) {
	err = sc.s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE totp SET last_step = ?3 WHERE tenant_id = ?1 AND user_id = ?2 AND last_step < ?3 AND confirmed = 1`, sc.tenant, user, step)
		if err != nil {
			return err
		}
		n, err := r.RowsAffected()
		first = n == 1
		return err
	})
	if err != nil {
		return false, fmt.Errorf("using the second factor of user %d: %w", user, err)
	}
	return first, nil
}

// UseRecoveryCode removes a recovery code and reports whether it was there.
func (sc Scope) UseRecoveryCode(ctx context.Context, actor telephony.Actor, user int64, hash [32]byte) (found bool, err error) {
	err = sc.s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `DELETE FROM recovery_code WHERE tenant_id = ? AND user_id = ? AND hash = ?`, sc.tenant, user, hash[:])
		if err != nil {
			return err
		}
		n, err := r.RowsAffected()
		if found = n == 1; err != nil || !found {
			return err
		}
		return recordIn(ctx, tx, sc.tenant, actor, "user.recovery_code_used", actor.Name, nil)
	})
	if err != nil {
		return false, fmt.Errorf("using a recovery code of user %d: %w", user, err)
	}
	return found, nil
}

// RecoveryCodes counts the codes a user has left.
func (sc Scope) RecoveryCodes(ctx context.Context, user int64) (n int, err error) {
	err = sc.s.readers.QueryRowContext(ctx, `SELECT count(*) FROM recovery_code WHERE tenant_id = ? AND user_id = ?`, sc.tenant, user).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("counting the recovery codes of user %d: %w", user, err)
	}
	return n, nil
}

// BeginTOTP keeps a secret that is not in force before ConfirmTOTP. It takes
// the place of another such, and never that of one in force.
func (tx *Tx) BeginTOTP(user int64, secret []byte) error {
	u, err := tx.User(user)
	if err != nil {
		return err
	}
	if u.SecondFactor {
		return taken("second_factor", "is set up already; take it off first")
	}
	_, err = tx.exec(`INSERT INTO totp (tenant_id, user_id, secret, confirmed, last_step) VALUES (?1, ?2, ?3, 0, -1)
		ON CONFLICT (tenant_id, user_id) DO UPDATE SET secret = ?3, last_step = -1`,
		u.Tenant, u.ID, tx.s.keys.sealValue(totpAssociated(u.Tenant, u.ID), secret))
	if err != nil {
		return fmt.Errorf("storing the second factor of user %d: %w", user, err)
	}
	tx.note(KindUser, "totp_begun", u.Name, nil)
	return nil
}

// ConfirmTOTP puts the user's secret in force after its code of a step was
// shown, together with recovery codes.
func (tx *Tx) ConfirmTOTP(user, step int64, codes [][32]byte) error {
	u, err := tx.User(user)
	if err != nil {
		return err
	}
	r, err := tx.exec(`UPDATE totp SET confirmed = 1, last_step = ? WHERE tenant_id = ? AND user_id = ? AND confirmed = 0`, step, u.Tenant, u.ID)
	if err != nil {
		return fmt.Errorf("storing the second factor of user %d: %w", user, err)
	}
	if n, err := r.RowsAffected(); err != nil || n != 1 {
		return errors.Join(err, taken("second_factor", "is set up already; take it off first"))
	}
	if err := tx.putRecoveryCodes(u, codes); err != nil {
		return err
	}
	tx.note(KindUser, "totp_on", u.Name, nil)
	return nil
}

// RenewRecoveryCodes replaces all recovery codes of a user.
func (tx *Tx) RenewRecoveryCodes(user int64, codes [][32]byte) error {
	u, err := tx.User(user)
	if err != nil {
		return err
	}
	if !u.SecondFactor {
		return ErrNotFound
	}
	if err := tx.putRecoveryCodes(u, codes); err != nil {
		return err
	}
	tx.note(KindUser, "recovery_codes", u.Name, nil)
	return nil
}

func (tx *Tx) putRecoveryCodes(u telephony.User, codes [][32]byte) error {
	if _, err := tx.exec(`DELETE FROM recovery_code WHERE tenant_id = ? AND user_id = ?`, u.Tenant, u.ID); err != nil {
		return fmt.Errorf("replacing the recovery codes of user %d: %w", u.ID, err)
	}
	for i, hash := range codes {
		if _, err := tx.exec(`INSERT INTO recovery_code (tenant_id, user_id, id, hash) VALUES (?, ?, ?, ?)`, u.Tenant, u.ID, i+1, hash[:]); err != nil {
			return fmt.Errorf("storing the recovery codes of user %d: %w", u.ID, err)
		}
	}
	return nil
}

// DeleteSecondFactor takes a user's second factor off; one that is not there
// changes nothing.
func (tx *Tx) DeleteSecondFactor(user int64) error {
	u, err := tx.User(user)
	if err != nil {
		return err
	}
	if err := tx.putRecoveryCodes(u, nil); err != nil {
		return err
	}
	r, err := tx.exec(`DELETE FROM totp WHERE tenant_id = ? AND user_id = ?`, u.Tenant, u.ID)
	if err != nil {
		return fmt.Errorf("deleting the second factor of user %d: %w", user, err)
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return err
	}
	tx.note(KindUser, "totp_off", u.Name, nil)
	return nil
}
