package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"ringfence/internal/telephony"
)

// ssoSetting is the row of tenant_setting that holds the provider.
const ssoSetting = "sso"

// ssoRow is a provider as it is kept.
type ssoRow struct {
	telephony.SSO
	Secret []byte // AES-256-GCM, bound to the tenant
}

func ssoAssociated(tenant telephony.TenantID) []byte {
	return fmt.Appendf(nil, "sso\x00%d", tenant)
}

func scanSSO(scan func(...any) error) (r ssoRow, err error) {
	var text string
	if err := scan(&text); err != nil {
		return r, notFound(err)
	}
	return r, json.Unmarshal([]byte(text), &r)
}

// SSO reads the provider of the scope's tenant and the client's secret there;
// ErrNotFound if there is none.
func (sc Scope) SSO(ctx context.Context) (v telephony.SSO, secret string, err error) {
	r, err := scanSSO(sc.s.readers.QueryRowContext(ctx, `SELECT value FROM tenant_setting WHERE tenant_id = ? AND name = ?`, sc.tenant, ssoSetting).Scan)
	if err != nil {
		return v, "", fmt.Errorf("reading the sign-in provider: %w", err)
	}
	plain, err := sc.s.keys.openValue(ssoAssociated(sc.tenant), r.Secret)
	if err != nil {
		return v, "", fmt.Errorf("reading the sign-in provider: %w", err)
	}
	return r.SSO, string(plain), nil
}

// PutSSO sets the provider of the scope's tenant. An empty secret keeps the one
// there is, if the issuer stays: a secret is never sent to somebody else.
func (tx *Tx) PutSSO(v telephony.SSO, secret string) error {
	if err := tx.tenantOnly(); err != nil {
		return err
	}
	if err := v.Validate(); err != nil {
		return err
	}
	r := ssoRow{SSO: v}
	old, err := scanSSO(tx.row(`SELECT value FROM tenant_setting WHERE tenant_id = ? AND name = ?`, tx.scope, ssoSetting).Scan)
	switch {
	case err != nil && !errors.Is(err, ErrNotFound):
		return fmt.Errorf("reading the sign-in provider: %w", err)
	case secret != "":
		r.Secret = tx.s.keys.sealValue(ssoAssociated(tx.scope), []byte(secret))
	case err != nil || old.Issuer != v.Issuer:
		return &telephony.FieldError{Field: "client_secret", Reason: "is needed for a new issuer"}
	default:
		r.Secret = old.Secret
	}
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding the sign-in provider: %w", err)
	}
	_, err = tx.exec(`INSERT INTO tenant_setting (tenant_id, name, value) VALUES (?1, ?2, ?3)
		ON CONFLICT (tenant_id, name) DO UPDATE SET value = ?3`, tx.scope, ssoSetting, string(text))
	if err != nil {
		return fmt.Errorf("storing the sign-in provider: %w", err)
	}
	tx.note(KindTenant, ssoSetting, "", v)
	return nil
}

// DeleteSSO takes the provider of the scope's tenant away; who was linked stays
// so, should it come back.
func (tx *Tx) DeleteSSO() error {
	r, err := tx.exec(`DELETE FROM tenant_setting WHERE tenant_id = ? AND name = ?`, tx.scope, ssoSetting)
	if err != nil {
		return fmt.Errorf("deleting the sign-in provider: %w", err)
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, ErrNotFound)
	}
	tx.note(KindTenant, "sso_off", "", nil)
	return nil
}

// SSOProvider is a provider as the sign-in page shows it.
type SSOProvider struct {
	Domain string // SIP domain of the tenant
	Label  string
}

// SSOProviders lists the providers that are on and have a label; bounded.
func (s *Store) SSOProviders(ctx context.Context) ([]SSOProvider, error) {
	type row struct{ domain, text string }
	rows, err := collect(ctx, s.readers, func(scan func(...any) error) (r row, err error) { return r, scan(&r.domain, &r.text) },
		`SELECT t.domain, s.value FROM tenant_setting s JOIN tenant t ON t.id = s.tenant_id WHERE s.name = ? ORDER BY t.id LIMIT 100`, ssoSetting)
	if err != nil {
		return nil, fmt.Errorf("reading the sign-in providers: %w", err)
	}
	var out []SSOProvider
	for _, r := range rows {
		var v ssoRow
		if err := json.Unmarshal([]byte(r.text), &v); err != nil {
			return nil, fmt.Errorf("reading the sign-in providers: %w", err)
		}
		if v.Enabled && v.Label != "" {
			out = append(out, SSOProvider{r.domain, v.Label})
		}
	}
	return out, nil
}

// UserByIdentity finds the user of the scope whom a provider's subject is.
func (tx *Tx) UserByIdentity(issuer, subject string) (telephony.User, error) {
	var id int64
	err := tx.row(`SELECT user_id FROM user_identity WHERE tenant_id = ? AND issuer = ? AND subject = ?`, tx.scope, issuer, subject).Scan(&id)
	if err != nil {
		return telephony.User{}, fmt.Errorf("looking for an identity: %w", notFound(err))
	}
	return tx.User(id)
}

// UserByEmail finds the one user of the scope who has an e-mail address, in any
// case; ErrNotFound if there is none, or several.
func (tx *Tx) UserByEmail(email string) (telephony.User, error) {
	var n int
	var id sql.NullInt64
	err := tx.row(`SELECT count(*), min(id) FROM user WHERE tenant_id = ? AND lower(email) = ?`, tx.scope, strings.ToLower(email)).Scan(&n, &id)
	if err != nil {
		return telephony.User{}, fmt.Errorf("looking for an e-mail address: %w", err)
	}
	if n != 1 {
		return telephony.User{}, fmt.Errorf("looking for an e-mail address: %w", ErrNotFound)
	}
	return tx.User(id.Int64)
}

// LinkIdentity says that a user is a provider's subject. Who is linked already
// to another subject stays so.
func (tx *Tx) LinkIdentity(user int64, issuer, subject string) error {
	u, err := tx.User(user)
	if err != nil {
		return err
	}
	r, err := tx.exec(`INSERT OR IGNORE INTO user_identity (tenant_id, user_id, issuer, subject) VALUES (?, ?, ?, ?)`, u.Tenant, u.ID, issuer, subject)
	if err != nil {
		return fmt.Errorf("linking an identity: %w", err)
	}
	if n, err := r.RowsAffected(); err != nil || n != 1 {
		return errors.Join(err, taken("identity", "is another one already"))
	}
	tx.note(KindUser, "sso_link", u.Name, map[string]string{"issuer": issuer})
	return nil
}
