package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"ringfence/internal/telephony"
)

func scanRole(scan func(...any) error) (r telephony.RoleDefinition, err error) {
	var permissions, classes string
	err = scan(&r.Tenant, &r.Name, &r.Description, &permissions, &classes)
	for _, p := range split(permissions) {
		r.Permissions = append(r.Permissions, telephony.Permission(p))
	}
	for _, c := range split(classes) {
		r.Classes = append(r.Classes, telephony.CallClass(c))
	}
	return r, err
}

const roleQuery = `SELECT tenant_id, name, description, permissions, classes FROM role`

func readRoles(ctx context.Context, q queryer) ([]telephony.RoleDefinition, error) {
	out, err := collect(ctx, q, scanRole, roleQuery+` ORDER BY tenant_id, name`)
	if err != nil {
		return nil, fmt.Errorf("reading roles: %w", err)
	}
	return out, nil
}

// roleValue is what the history keeps of a role.
type roleValue struct {
	Description string `json:"description"`
	Permissions string `json:"permissions"`
	Classes     string `json:"classes"`
}

func valueOfRole(r telephony.RoleDefinition) roleValue {
	return roleValue{r.Description, join(r.Permissions), join(r.Classes)}
}

func join[T ~string](list []T) string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = string(v)
	}
	return strings.Join(words, ",")
}

// Role reads one role of the scope's tenant that somebody made.
func (tx *Tx) Role(name telephony.Role) (telephony.RoleDefinition, error) {
	r, err := scanRole(tx.row(roleQuery+` WHERE tenant_id = ? AND name = ?`, tx.scope, string(name)).Scan)
	if err != nil {
		return r, fmt.Errorf("reading role: %w", notFound(err))
	}
	return r, nil
}

// checkRole refuses a role that the scope's tenant does not have.
func (tx *Tx) checkRole(field string, name telephony.Role) error {
	if name.BuiltIn() && name != telephony.RoleSystemAdmin {
		return nil
	}
	_, err := tx.Role(name)
	if errors.Is(err, ErrNotFound) {
		return &telephony.FieldError{Field: field, Reason: "is no role of the organisation"}
	}
	return err
}

// MaxRoles bounds the roles people make in a tenant.
const MaxRoles = 100

// CreateRole adds a role to the scope's tenant.
func (tx *Tx) CreateRole(r telephony.RoleDefinition) error {
	if err := errors.Join(tx.tenantOnly(), tx.own(&r.Tenant)); err != nil {
		return err
	}
	if err := r.Validate(); err != nil {
		return err
	}
	if _, err := tx.Role(r.Name); err == nil {
		return taken("name", "is used by another role")
	}
	if err := tx.checkRoom("role", "name", MaxRoles); err != nil {
		return err
	}
	_, err := tx.exec(`INSERT INTO role (tenant_id, name, description, permissions, classes) VALUES (?, ?, ?, ?, ?)`,
		r.Tenant, string(r.Name), r.Description, join(r.Permissions), join(r.Classes))
	if err != nil {
		return fmt.Errorf("creating role %s: %w", r.Name, err)
	}
	tx.noteRole("create", r.Name, valueOfRole(r))
	return nil
}

func (tx *Tx) noteRole(verb string, name telephony.Role, value any) {
	tx.touched.roles = true
	tx.note(KindRole, verb, string(name), value)
}

// PutRole changes the role of that name. It is in force at the next request and
// the next call of whoever has it.
func (tx *Tx) PutRole(r telephony.RoleDefinition) error {
	if err := errors.Join(tx.tenantOnly(), tx.own(&r.Tenant)); err != nil {
		return err
	}
	if err := r.Validate(); err != nil {
		return err
	}
	old, err := tx.Role(r.Name)
	if err != nil {
		return err
	}
	if valueOfRole(old) == valueOfRole(r) {
		return nil
	}
	_, err = tx.exec(`UPDATE role SET description = ?, permissions = ?, classes = ? WHERE tenant_id = ? AND name = ?`,
		r.Description, join(r.Permissions), join(r.Classes), r.Tenant, string(r.Name))
	if err != nil {
		return fmt.Errorf("storing role %s: %w", r.Name, err)
	}
	tx.noteRole("put", r.Name, valueOfRole(r))
	return nil
}

// DeleteRole removes a role that nobody has.
func (tx *Tx) DeleteRole(name telephony.Role) error {
	if name.BuiltIn() {
		return &telephony.FieldError{Field: "name", Reason: "is a role that every tenant has and nobody changes"}
	}
	if _, err := tx.Role(name); err != nil {
		return err
	}
	var users, extensions int
	err := tx.row(`SELECT (SELECT count(*) FROM user WHERE tenant_id = ?1 AND role = ?2),
		(SELECT count(*) FROM extension WHERE tenant_id = ?1 AND role = ?2)`, tx.scope, string(name)).Scan(&users, &extensions)
	if err != nil {
		return fmt.Errorf("looking who has role %s: %w", name, err)
	}
	if users+extensions > 0 {
		return taken("name", fmt.Sprintf("is the role of %d users and %d extensions", users, extensions))
	}
	rules, err := tx.rulesOfRole(name)
	if err != nil {
		return err
	}
	if len(rules) > 0 {
		return taken("name", "is used by "+someOf(rules))
	}
	if _, err := tx.exec(`DELETE FROM role WHERE tenant_id = ? AND name = ?`, tx.scope, string(name)); err != nil {
		return fmt.Errorf("deleting role %s: %w", name, err)
	}
	tx.noteRole("delete", name, nil)
	return nil
}
