package store

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"ringfence/internal/telephony"
)

// userQuery reads users with the number of their extension.
const userQuery = `SELECT u.tenant_id, u.id, u.name, u.first_name, u.last_name, u.email, u.phone, u.role,
	coalesce(e.number, ''), u.must_change, u.created_at, u.password_hash,
	EXISTS (SELECT 1 FROM totp t WHERE t.tenant_id = u.tenant_id AND t.user_id = u.id AND t.confirmed = 1)
	FROM user u LEFT JOIN extension e ON e.tenant_id = u.tenant_id AND e.id = u.extension_id`

type userRow struct {
	telephony.User
	hash string
}

func scanUser(scan func(...any) error) (u userRow, err error) {
	var created int64
	err = scan(&u.Tenant, &u.ID, &u.Name, &u.FirstName, &u.LastName, &u.Email, &u.Phone, &u.Role,
		&u.Extension, &u.MustChangePassword, &created, &u.hash, &u.SecondFactor)
	u.CreatedAt = fromMicros(created)
	return u, err
}

// userValue is what the history keeps of a user.
type userValue struct {
	Name       string `json:"name"`
	FirstName  string `json:"first_name"`
	LastName   string `json:"last_name"`
	Email      string `json:"email"`
	Phone      string `json:"phone"`
	Role       string `json:"role"`
	Extension  string `json:"extension"`
	MustChange bool   `json:"must_change_password"`
}

func valueOfUser(u telephony.User) userValue {
	return userValue{u.Name, u.FirstName, u.LastName, u.Email, u.Phone, string(u.Role), u.Extension, u.MustChangePassword}
}

// Users lists the users of the scope by name; the box's scope lists its
// administrators.
func (sc Scope) Users(ctx context.Context) ([]telephony.User, error) {
	rows, err := collect(ctx, sc.s.readers, scanUser, userQuery+` WHERE u.tenant_id = ? ORDER BY u.name`, sc.tenant)
	if err != nil {
		return nil, fmt.Errorf("reading users: %w", err)
	}
	out := make([]telephony.User, len(rows))
	for i, r := range rows {
		out[i] = r.User
	}
	return out, nil
}

// UserFilter chooses users, by name.
type UserFilter struct {
	After  string // only names after it
	Search string // part of a name, the e-mail address or the extension, in any case
	Limit  int    // 1..1000; 0 is 100
}

// UserPage lists users of the scope by name, and says whether there are more.
func (sc Scope) UserPage(ctx context.Context, f UserFilter) (users []telephony.User, more bool, err error) {
	if f.Limit <= 0 || f.Limit > 1000 {
		f.Limit = 100
	}
	rows, err := collect(ctx, sc.s.readers, scanUser, userQuery+` WHERE u.tenant_id = ?1 AND u.name > ?2 AND (?3 = ''
		OR instr(lower(u.name || char(10) || u.first_name || ' ' || u.last_name || char(10) || u.email || char(10) || coalesce(e.number, '')), lower(?3)) > 0)
		ORDER BY u.name LIMIT ?4`, sc.tenant, f.After, f.Search, f.Limit+1)
	if err != nil {
		return nil, false, fmt.Errorf("reading users: %w", err)
	}
	for _, r := range rows[:min(len(rows), f.Limit)] {
		users = append(users, r.User)
	}
	return users, len(rows) > f.Limit, nil
}

// User reads one user of the scope.
func (sc Scope) User(ctx context.Context, id int64) (u telephony.User, passwordHash string, err error) {
	r, err := scanUser(sc.s.readers.QueryRowContext(ctx, userQuery+` WHERE u.tenant_id = ? AND u.id = ?`, sc.tenant, id).Scan)
	if err != nil {
		return u, "", fmt.Errorf("reading user: %w", notFound(err))
	}
	return r.User, r.hash, nil
}

// PasswordHashes are those of the users of an extension of the scope; at most a
// few.
func (sc Scope) PasswordHashes(ctx context.Context, extension string) ([]string, error) {
	out, err := collect(ctx, sc.s.readers, func(scan func(...any) error) (h string, err error) { return h, scan(&h) },
		`SELECT u.password_hash FROM user u JOIN extension e ON e.tenant_id = u.tenant_id AND e.id = u.extension_id
		WHERE u.tenant_id = ? AND e.number = ? ORDER BY u.id LIMIT 8`, sc.tenant, extension)
	if err != nil {
		return nil, fmt.Errorf("reading users: %w", err)
	}
	return out, nil
}

// UserByName finds a user by login name, in any case, among all tenants.
func (s *Store) UserByName(ctx context.Context, name string) (u telephony.User, passwordHash string, err error) {
	r, err := scanUser(s.readers.QueryRowContext(ctx, userQuery+` WHERE u.name = ?`, strings.ToLower(name)).Scan)
	if err != nil {
		return u, "", fmt.Errorf("reading user: %w", notFound(err))
	}
	return r.User, r.hash, nil
}

// User reads one user of the scope as this transaction sees it.
func (tx *Tx) User(id int64) (telephony.User, error) {
	r, err := scanUser(tx.row(userQuery+` WHERE u.tenant_id = ? AND u.id = ?`, tx.scope, id).Scan)
	if err != nil {
		return r.User, fmt.Errorf("reading user %d: %w", id, notFound(err))
	}
	return r.User, nil
}

// CreateUser adds a user with a password hash made by package login, and
// allots ID and CreatedAt.
func (tx *Tx) CreateUser(u telephony.User, passwordHash string) (telephony.User, error) {
	if err := tx.own(&u.Tenant); err != nil {
		return u, err
	}
	if err := u.Validate(); err != nil {
		return u, err
	}
	if err := tx.checkNameFree(u.Name, 0); err != nil {
		return u, err
	}
	if err := tx.checkUserRoom(u); err != nil {
		return u, err
	}
	extension, err := tx.extensionID(u)
	if err != nil {
		return u, err
	}
	if u.ID, err = tx.nextID(); err != nil {
		return u, err
	}
	u.CreatedAt = time.Now().UTC().Truncate(time.Microsecond)
	_, err = tx.exec(`INSERT INTO user
		(tenant_id, id, name, first_name, last_name, email, phone, role, extension_id, must_change, created_at, password_hash)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		u.Tenant, u.ID, u.Name, u.FirstName, u.LastName, u.Email, u.Phone, string(u.Role), extension,
		u.MustChangePassword, micros(u.CreatedAt), passwordHash)
	if err != nil {
		return u, fmt.Errorf("creating user: %w", err)
	}
	tx.touchDialler(extension)
	tx.note(KindUser, "create", u.Name, valueOfUser(u))
	return u, nil
}

func (tx *Tx) checkNameFree(name string, own int64) error {
	var n int
	err := tx.row(`SELECT count(*) FROM user WHERE name = ? AND NOT (tenant_id = ? AND id = ?)`, name, tx.scope, own).Scan(&n)
	if err != nil {
		return fmt.Errorf("looking for the user name: %w", err)
	}
	if n > 0 {
		return taken("name", "is used by another user")
	}
	return nil
}

// checkUserRoom refuses a role that is not there, and a user too many.
func (tx *Tx) checkUserRoom(u telephony.User) error {
	if u.Tenant == telephony.System {
		return nil
	}
	if err := tx.checkRole("role", u.Role); err != nil {
		return err
	}
	t, err := tx.Tenant()
	if err != nil {
		return err
	}
	return tx.checkRoom("user", "name", t.MaxUsers)
}

// extensionID finds the user's extension in the scope's own tenant. Nobody else
// may have it.
func (tx *Tx) extensionID(u telephony.User) (id sql.NullInt64, err error) {
	if u.Extension == "" {
		return id, nil
	}
	e, err := tx.Extension(u.Extension)
	if err != nil {
		return id, &telephony.FieldError{Field: "extension", Reason: "does not exist"}
	}
	var n int
	if err := tx.row(`SELECT count(*) FROM user WHERE tenant_id = ? AND extension_id = ? AND id <> ?`, tx.scope, e.ID, u.ID).Scan(&n); err != nil {
		return id, fmt.Errorf("looking for the user of extension %s: %w", e.Number, err)
	}
	if n > 0 {
		return id, taken("extension", "belongs to another user")
	}
	return sql.NullInt64{Int64: e.ID, Valid: true}, nil
}

// touchDialler says that what a user's extension may dial can have changed.
func (tx *Tx) touchDialler(extension sql.NullInt64) {
	if extension.Valid {
		tx.touchExtension(tx.scope, extension.Int64)
	}
}

// PutUser changes the user with u.ID; CreatedAt is not looked at. A user whose
// role changes is logged out everywhere.
func (tx *Tx) PutUser(u telephony.User) error {
	if err := tx.own(&u.Tenant); err != nil {
		return err
	}
	old, err := tx.User(u.ID)
	if err != nil {
		return err
	}
	if err := u.Validate(); err != nil {
		return err
	}
	if valueOfUser(u) == valueOfUser(old) {
		return nil
	}
	if err := tx.checkNameFree(u.Name, u.ID); err != nil {
		return err
	}
	if u.Role != old.Role && u.Tenant != telephony.System {
		if err := tx.checkRole("role", u.Role); err != nil {
			return err
		}
	}
	extension, err := tx.extensionID(u)
	if err != nil {
		return err
	}
	if err := tx.touchOldDialler(u.ID); err != nil {
		return err
	}
	_, err = tx.exec(`UPDATE user SET name = ?, first_name = ?, last_name = ?, email = ?, phone = ?, role = ?,
		extension_id = ?, must_change = ? WHERE tenant_id = ? AND id = ?`,
		u.Name, u.FirstName, u.LastName, u.Email, u.Phone, string(u.Role), extension, u.MustChangePassword, u.Tenant, u.ID)
	if err != nil {
		return fmt.Errorf("storing user %d: %w", u.ID, err)
	}
	if u.Role != old.Role {
		if err := tx.DeleteSessions(u.ID, nil); err != nil {
			return err
		}
	}
	tx.touchDialler(extension)
	tx.note(KindUser, "put", u.Name, valueOfUser(u))
	return nil
}

// touchOldDialler is touchDialler for the extension a user has.
func (tx *Tx) touchOldDialler(id int64) error {
	var extension sql.NullInt64
	if err := tx.row(`SELECT extension_id FROM user WHERE tenant_id = ? AND id = ?`, tx.scope, id).Scan(&extension); err != nil {
		return fmt.Errorf("reading the extension of user %d: %w", id, err)
	}
	tx.touchDialler(extension)
	return nil
}

// SetUserPassword replaces a user's password hash. Sessions are the caller's
// business: see DeleteSessions.
func (tx *Tx) SetUserPassword(id int64, passwordHash string, mustChange bool) error {
	u, err := tx.User(id)
	if err != nil {
		return err
	}
	_, err = tx.exec(`UPDATE user SET password_hash = ?, must_change = ? WHERE tenant_id = ? AND id = ?`, passwordHash, mustChange, u.Tenant, u.ID)
	if err != nil {
		return fmt.Errorf("storing password of user %d: %w", id, err)
	}
	tx.note(KindUser, "password", u.Name, map[string]bool{"must_change_password": mustChange})
	return nil
}

// DeleteUser removes a user and its sessions. The last administrator of the
// box stays: without one nobody could get in again.
func (tx *Tx) DeleteUser(id int64) error {
	u, err := tx.User(id)
	if err != nil {
		return err
	}
	if u.Role == telephony.RoleSystemAdmin {
		var n int
		if err := tx.row(`SELECT count(*) FROM user WHERE tenant_id = 0`).Scan(&n); err != nil {
			return fmt.Errorf("counting administrators: %w", err)
		}
		if n < 2 {
			return &telephony.FieldError{Field: "role", Reason: "the last administrator of the box cannot be deleted"}
		}
	}
	if err := tx.touchOldDialler(id); err != nil {
		return err
	}
	if _, err := tx.exec(`DELETE FROM user WHERE tenant_id = ? AND id = ?`, u.Tenant, u.ID); err != nil {
		return fmt.Errorf("deleting user %d: %w", id, err)
	}
	tx.note(KindUser, "delete", u.Name, map[string]string{"id": strconv.FormatInt(id, 10)})
	return nil
}
