package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"ringfence/internal/telephony"
)

// signInSetting is the row of tenant_setting that holds the sign-in rules.
const signInSetting = "sign_in"

// readSignIn reads the rules of those who changed them.
func readSignIn(ctx context.Context, q queryer) (map[telephony.TenantID]telephony.SignIn, error) {
	type row struct {
		tenant telephony.TenantID
		text   string
	}
	rows, err := collect(ctx, q, func(scan func(...any) error) (r row, err error) { return r, scan(&r.tenant, &r.text) },
		`SELECT tenant_id, value FROM tenant_setting WHERE name = ?`, signInSetting)
	if err != nil {
		return nil, fmt.Errorf("reading the sign-in rules: %w", err)
	}
	out := make(map[telephony.TenantID]telephony.SignIn, len(rows))
	for _, r := range rows {
		v := telephony.DefaultSignIn() // what the row does not name
		if err := json.Unmarshal([]byte(r.text), &v); err != nil {
			return nil, fmt.Errorf("reading the sign-in rules of tenant %d: %w", r.tenant, err)
		}
		out[r.tenant] = v
	}
	return out, nil
}

// SignIn is how people of the scope sign in, as this transaction sees it.
func (tx *Tx) SignIn() (telephony.SignIn, error) {
	v := telephony.DefaultSignIn()
	var text string
	err := tx.row(`SELECT value FROM tenant_setting WHERE tenant_id = ? AND name = ?`, tx.scope, signInSetting).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return v, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(text), &v)
	}
	if err != nil {
		return v, fmt.Errorf("reading the sign-in rules of tenant %d: %w", tx.scope, err)
	}
	return v, nil
}

// PutSignIn changes how people of the scope sign in. It concerns the next
// password and the next log-in; sessions go on.
func (tx *Tx) PutSignIn(v telephony.SignIn) error {
	if err := v.Validate(); err != nil {
		return err
	}
	old, err := tx.SignIn()
	if err != nil {
		return err
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding the sign-in rules: %w", err)
	}
	if before, err := json.Marshal(old); err != nil || string(before) == string(text) {
		return err
	}
	_, err = tx.exec(`INSERT INTO tenant_setting (tenant_id, name, value) VALUES (?1, ?2, ?3)
		ON CONFLICT (tenant_id, name) DO UPDATE SET value = ?3`, tx.scope, signInSetting, string(text))
	if err != nil {
		return fmt.Errorf("storing the sign-in rules of tenant %d: %w", tx.scope, err)
	}
	tx.touched.signIn = true
	tx.note(KindTenant, signInSetting, "", json.RawMessage(text))
	return nil
}
