package document

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"ringfence/internal/login"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// Options say how a document is applied.
type Options struct {
	By string // who asks, for lists that say who made an entry
	// RemoveTenants allows whole tenants to go that the document does not name.
	RemoveTenants bool
	// NoPassword is the hash of a password that nobody knows, for new users
	// whose hash the document does not tell. They have to be given one.
	NoPassword string
}

// Apply makes the box as a document says, in the transaction of the box's scope:
// everything or nothing. The document has been filled from was, which is how the
// box is now. A refusal is an *Error that names line and field.
func Apply(tx *store.Tx, was Configuration, d *Document, o Options) error {
	a := applier{tx: tx, d: d, o: o}
	if err := a.box(was.Box, d.Box); err != nil {
		return err
	}
	for _, t := range was.Tenants {
		if find(d.Tenants, t.Domain) != nil {
			continue
		}
		if !o.RemoveTenants {
			return &Error{[]Fault{{Field: "tenants", Reason: fmt.Sprintf("does not name %s: whole organisations are removed only if that is asked for", t.Domain)}}}
		}
		if err := a.at("tenants["+t.Domain+"]", tx.DeleteTenant(t.ID)); err != nil {
			return err
		}
	}
	for _, t := range d.Tenants {
		if err := a.tenant(find(was.Tenants, t.Domain), t); err != nil {
			return err
		}
	}
	return nil
}

type applier struct {
	tx *store.Tx
	d  *Document
	o  Options
}

// at says where in the document a refusal belongs.
func (a applier) at(path string, err error) error {
	if err == nil {
		return nil
	}
	var done *Error
	if errors.As(err, &done) {
		return err
	}
	if fe, ok := telephony.AsFieldError(err); ok {
		where := path
		if fe.Field != "" {
			where = join(path, fe.Field)
		}
		return &Error{[]Fault{{a.d.Line(where), where, fe.Reason}}}
	}
	return fmt.Errorf("%s: %w", path, err)
}

// find is the entry of a list with a key, or nil.
func find[T any](list []T, key string) *T {
	for i := range list {
		if keyOf(reflect.ValueOf(list[i])) == key {
			return &list[i]
		}
	}
	return nil
}

// each calls put for every entry of a list that is new, with nil, or other than
// it was.
func each[T any](a applier, path string, was, is []T, put func(old *T, now T) error) error {
	known := make(map[string]*T, len(was))
	for i := range was {
		known[keyOf(reflect.ValueOf(was[i]))] = &was[i]
	}
	for _, now := range is {
		key := keyOf(reflect.ValueOf(now))
		old := known[key]
		if old != nil && same(reflect.ValueOf(*old), reflect.ValueOf(now)) {
			continue
		}
		if err := a.at(path+"["+key+"]", put(old, now)); err != nil {
			return err
		}
	}
	return nil
}

// gone calls remove for every entry that is not there any more.
func gone[T any](a applier, path string, was, is []T, remove func(T) error) error {
	stays := make(map[string]bool, len(is))
	for _, x := range is {
		stays[keyOf(reflect.ValueOf(x))] = true
	}
	for _, x := range was {
		if key := keyOf(reflect.ValueOf(x)); !stays[key] {
			if err := a.at(path+"["+key+"]", remove(x)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a applier) box(was, is Box) error {
	is.Settings.SetupDone = was.Settings.SetupDone
	if !same(reflect.ValueOf(was.Settings), reflect.ValueOf(is.Settings)) {
		if err := a.at("box.settings", a.tx.PutSettings(is.Settings)); err != nil {
			return err
		}
	}
	if err := a.at("box.sign_in", a.tx.PutSignIn(is.SignIn)); err != nil {
		return err
	}
	const list = "box.addresses"
	err := each(a, list, was.Addresses, is.Addresses, func(_ *telephony.AddressRule, r telephony.AddressRule) error {
		return a.tx.PutAddressRules(a.o.By, r)
	})
	if err != nil {
		return err
	}
	if err := gone(a, list, was.Addresses, is.Addresses, func(r telephony.AddressRule) error { return a.tx.DeleteAddressRule(r.Prefix) }); err != nil {
		return err
	}
	return a.users(a.tx, "box.administrators", was.Administrators, is.Administrators)
}

// users adds before it removes: the last administrator of the box cannot go.
func (a applier) users(tx *store.Tx, path string, was, is []User) error {
	err := each(a, path, was, is, func(old *User, u User) error {
		if old == nil {
			hash := u.PasswordHash.Reveal()
			if hash == "" {
				hash, u.MustChangePassword = a.o.NoPassword, true
			} else if err := login.CheckHash(hash); err != nil {
				return &telephony.FieldError{Field: "password_hash", Reason: err.Error()}
			}
			u.ID = 0
			_, err := tx.CreateUser(u.User, hash)
			return err
		}
		u.ID, u.Tenant, u.CreatedAt, u.MustChangePassword = old.ID, old.Tenant, old.CreatedAt, old.MustChangePassword
		if err := tx.PutUser(u.User); err != nil {
			return err
		}
		if u.PasswordHash == "" || u.PasswordHash == old.PasswordHash {
			return nil
		}
		if err := login.CheckHash(u.PasswordHash.Reveal()); err != nil {
			return &telephony.FieldError{Field: "password_hash", Reason: err.Error()}
		}
		return errors.Join(tx.SetUserPassword(old.ID, u.PasswordHash.Reveal(), u.MustChangePassword), tx.DeleteSessions(old.ID, nil))
	})
	if err != nil {
		return err
	}
	return gone(a, path, was, is, func(u User) error { return tx.DeleteUser(u.ID) })
}

// tenant makes a tenant as the document says; was is nil for a new one. What
// refers to something comes after it, and goes before it.
func (a applier) tenant(was *Tenant, is Tenant) error {
	path := "tenants[" + is.Domain + "]"
	if was == nil {
		was = &Tenant{}
		id, err := a.tx.CreateTenant(is.Tenant)
		if err != nil {
			return a.at(path, err)
		}
		is.ID = id
	} else {
		is.ID = was.ID
		if err := a.at(path, a.tx.PutTenant(is.Tenant)); err != nil {
			return err
		}
	}
	tx, err := a.tx.ForTenant(is.ID)
	if err != nil {
		return err
	}
	t := tenantApplier{applier: a, tx: tx, path: path, was: was, is: is}
	for _, step := range []func() error{
		t.policies, t.roles, t.schedules, t.extensions, t.groups, t.members, t.trunks, t.rules,
		t.removeTrunks, t.removeGroups, t.removeExtensions, t.removeSchedules, t.removeRoles, t.contacts,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// number compares two contacts as the document does.
func sameContact(a, b telephony.Contact) bool { return same(reflect.ValueOf(a), reflect.ValueOf(b)) }

func has(list []telephony.Contact, c telephony.Contact) bool {
	return slices.ContainsFunc(list, func(o telephony.Contact) bool { return sameContact(o, c) })
}
