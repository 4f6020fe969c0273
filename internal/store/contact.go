package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"ringfence/internal/telephony"
)

const contactColumns = `tenant_id, id, name, company, numbers, note`

func scanContact(scan func(...any) error) (c telephony.Contact, err error) {
	return c, scan(&c.Tenant, &c.ID, &c.Name, &c.Company, fromJSON{&c.Numbers}, &c.Note)
}

// ContactFilter chooses entries of the directory.
type ContactFilter struct {
	Search    string // in name, company and numbers
	AfterName string // only entries after this name and ID
	AfterID   int64
	Limit     int // 1..1000; 0 is 100
}

// Contacts lists the directory of the scope's tenant by name.
func (sc Scope) Contacts(ctx context.Context, f ContactFilter) ([]telephony.Contact, error) {
	if f.Limit <= 0 || f.Limit > 1000 {
		f.Limit = 100
	}
	like := "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(f.Search) + "%"
	out, err := collect(ctx, sc.s.readers, scanContact, `SELECT `+contactColumns+` FROM contact
		WHERE tenant_id = ?1 AND (name, id) > (?2, ?3) AND (?4 = '%%' OR name LIKE ?4 ESCAPE '\' OR company LIKE ?4 ESCAPE '\' OR numbers LIKE ?4 ESCAPE '\')
		ORDER BY name, id LIMIT ?5`, sc.tenant, f.AfterName, f.AfterID, like, f.Limit)
	if err != nil {
		return nil, fmt.Errorf("reading the directory: %w", err)
	}
	return out, nil
}

// Contact reads one entry of the scope's directory.
func (tx *Tx) Contact(id int64) (telephony.Contact, error) {
	c, err := scanContact(tx.row(`SELECT `+contactColumns+` FROM contact WHERE tenant_id = ? AND id = ?`, tx.scope, id).Scan)
	if err != nil {
		return c, fmt.Errorf("reading the directory: %w", notFound(err))
	}
	return c, nil
}

// CreateContact adds an entry to the directory and allots its ID.
func (tx *Tx) CreateContact(c telephony.Contact) (telephony.Contact, error) {
	if err := errors.Join(tx.tenantOnly(), tx.own(&c.Tenant), c.Validate()); err != nil {
		return c, err
	}
	if err := tx.checkRoom("contact", "name", telephony.MaxContacts); err != nil {
		return c, err
	}
	var err error
	if c.ID, err = tx.nextID(); err != nil {
		return c, err
	}
	return c, tx.storeContact("create", c)
}

// PutContact changes an entry of the directory.
func (tx *Tx) PutContact(c telephony.Contact) error {
	if err := errors.Join(tx.tenantOnly(), tx.own(&c.Tenant), c.Validate()); err != nil {
		return err
	}
	old, err := tx.Contact(c.ID)
	if err != nil {
		return err
	}
	if sameJSON(c, old) {
		return nil
	}
	return tx.storeContact("put", c)
}

func (tx *Tx) storeContact(verb string, c telephony.Contact) error {
	_, err := tx.exec(`INSERT INTO contact (`+contactColumns+`) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
		ON CONFLICT (tenant_id, id) DO UPDATE SET name = ?3, company = ?4, numbers = ?5, note = ?6`,
		c.Tenant, c.ID, c.Name, c.Company, toJSON(c.Numbers), c.Note)
	if err != nil {
		return fmt.Errorf("storing an entry of the directory: %w", err)
	}
	tx.note(KindContact, verb, strconv.FormatInt(c.ID, 10), c)
	return nil
}

// DeleteContact takes an entry out of the directory.
func (tx *Tx) DeleteContact(id int64) error {
	if _, err := tx.Contact(id); err != nil {
		return err
	}
	if _, err := tx.exec(`DELETE FROM contact WHERE tenant_id = ? AND id = ?`, tx.scope, id); err != nil {
		return fmt.Errorf("deleting an entry of the directory: %w", err)
	}
	tx.note(KindContact, "delete", strconv.FormatInt(id, 10), nil)
	return nil
}
