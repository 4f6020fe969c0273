package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"ringfence/internal/telephony"
)

// Token is what a program logs in with, as it is kept: the hash stands for the
// value itself.
type Token struct {
	Tenant      telephony.TenantID
	User        int64
	ID          int64
	Name        string
	Hash        [32]byte
	ReadOnly    bool
	Permissions []telephony.Permission // none is all the user has
	Sources     []netip.Prefix         // none is everywhere
	Created     time.Time
	Expires     time.Time // zero is never
	Used        time.Time // zero is never
	UsedFrom    netip.Addr
}

// MaxTokensPerUser bounds the tokens of one user.
const MaxTokensPerUser = 50

// tokenValue is what the history keeps of a token.
type tokenValue struct {
	ReadOnly    bool                   `json:"read_only"`
	Permissions []telephony.Permission `json:"permissions,omitempty"`
	Sources     []netip.Prefix         `json:"sources,omitempty"`
	Expires     *time.Time             `json:"expires,omitempty"`
}

const tokenColumns = `tenant_id, user_id, id, name, hash, read_only, permissions, sources, created_at, expires_at, used_at, used_from`

func scanToken(scan func(...any) error) (t Token, err error) {
	var hash []byte
	var permissions, sources, from string
	var created int64
	var expires, used sql.NullInt64
	err = scan(&t.Tenant, &t.User, &t.ID, &t.Name, &hash, &t.ReadOnly, &permissions, &sources, &created, &expires, &used, &from)
	if err != nil {
		return t, err
	}
	copy(t.Hash[:], hash)
	t.Created, t.Expires, t.Used, t.UsedFrom = fromMicros(created), fromNull(expires), fromNull(used), parseAddr(from)
	return t, errors.Join(json.Unmarshal([]byte(permissions), &t.Permissions), json.Unmarshal([]byte(sources), &t.Sources))
}

// TokenByHash finds a token together with its user as that is now.
func (s *Store) TokenByHash(ctx context.Context, hash [32]byte) (t Token, u telephony.User, err error) {
	t, err = scanToken(s.readers.QueryRowContext(ctx, `SELECT `+tokenColumns+` FROM api_token WHERE hash = ?`, hash[:]).Scan)
	if err != nil {
		return t, u, fmt.Errorf("reading an API token: %w", notFound(err))
	}
	u, _, err = Scope{s, t.Tenant}.User(ctx, t.User)
	return t, u, err
}

// TouchToken notes that a token was used.
func (s *Store) TouchToken(ctx context.Context, hash [32]byte, at time.Time, from netip.Addr) error {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE api_token SET used_at = ?, used_from = ? WHERE hash = ?`, micros(at), addrText(from), hash[:])
		return err
	})
	if err != nil {
		return fmt.Errorf("storing an API token: %w", err)
	}
	return nil
}

// Tokens lists the tokens of a user of the scope.
func (sc Scope) Tokens(ctx context.Context, user int64) ([]Token, error) {
	out, err := collect(ctx, sc.s.readers, scanToken, `SELECT `+tokenColumns+` FROM api_token WHERE tenant_id = ? AND user_id = ? ORDER BY id`, sc.tenant, user)
	if err != nil {
		return nil, fmt.Errorf("reading API tokens: %w", err)
	}
	return out, nil
}

// CreateToken adds a token of a user of the scope, and allots ID and Created.
func (tx *Tx) CreateToken(t Token) (Token, error) {
	u, err := tx.User(t.User)
	if err != nil {
		return t, err
	}
	t.Tenant = u.Tenant
	var n int
	if err := tx.row(`SELECT count(*) FROM api_token WHERE tenant_id = ? AND user_id = ?`, u.Tenant, u.ID).Scan(&n); err != nil {
		return t, fmt.Errorf("counting API tokens: %w", err)
	}
	if n >= MaxTokensPerUser {
		return t, &telephony.FieldError{Field: "name", Reason: fmt.Sprintf("there are %d tokens already; delete some", n)}
	}
	if err := tx.row(`SELECT count(*) FROM api_token WHERE tenant_id = ? AND user_id = ? AND name = ?`, u.Tenant, u.ID, t.Name).Scan(&n); err != nil {
		return t, fmt.Errorf("looking for the token's name: %w", err)
	}
	if n > 0 {
		return t, taken("name", "is the name of another token")
	}
	if t.ID, err = tx.nextID(); err != nil {
		return t, err
	}
	t.Created = time.Now().UTC().Truncate(time.Microsecond)
	permissions, err1 := json.Marshal(t.Permissions)
	sources, err2 := json.Marshal(t.Sources)
	if err := errors.Join(err1, err2); err != nil {
		return t, fmt.Errorf("encoding an API token: %w", err)
	}
	_, err = tx.exec(`INSERT INTO api_token (`+tokenColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, '')`,
		t.Tenant, t.User, t.ID, t.Name, t.Hash[:], t.ReadOnly, string(permissions), string(sources), micros(t.Created), orNull(t.Expires))
	if err != nil {
		return t, fmt.Errorf("creating an API token: %w", err)
	}
	v := tokenValue{ReadOnly: t.ReadOnly, Permissions: t.Permissions, Sources: t.Sources}
	if !t.Expires.IsZero() {
		v.Expires = &t.Expires
	}
	tx.note(KindUser, "token_create", u.Name+"/"+t.Name, v)
	return t, nil
}

// DeleteToken removes a token of a user of the scope.
func (tx *Tx) DeleteToken(user, id int64) error {
	u, err := tx.User(user)
	if err != nil {
		return err
	}
	var name string
	err = tx.row(`DELETE FROM api_token WHERE tenant_id = ? AND user_id = ? AND id = ? RETURNING name`, u.Tenant, u.ID, id).Scan(&name)
	if err != nil {
		return fmt.Errorf("deleting an API token: %w", notFound(err))
	}
	tx.note(KindUser, "token_delete", u.Name+"/"+name, nil)
	return nil
}
