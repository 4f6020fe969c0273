package store

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"ringfence/internal/telephony"
)

func mustFail(t *testing.T, sc Scope, field string, fn func(*Tx) error) {
	t.Helper()
	_, err := sc.Update(t.Context(), admin(), fn)
	if fe, ok := telephony.AsFieldError(err); !ok || fe.Field != field {
		t.Errorf("got %v, want a refused %s", err, field)
	}
}

func TestWhatAnExtensionMayDialIsTheRoleOfItsUser(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAt(t, dir)
	id := addTenant(t, s, "pbx.example", "101", "102")
	role := func(number string) telephony.Role { e, _ := s.Snapshot().Extension(id, number); return e.Role }
	mustUpdate(t, s.ForTenant(id), func(tx *Tx) error {
		return tx.CreateRole(telephony.RoleDefinition{Name: "sales", Permissions: []telephony.Permission{telephony.PermCDR}, Classes: []telephony.CallClass{telephony.ClassInternal, telephony.ClassNational}})
	})
	if got := role("101"); got != telephony.RoleStandard {
		t.Errorf("without a user: %s", got)
	}
	var jo telephony.User
	mustUpdate(t, s.ForTenant(id), func(tx *Tx) (err error) {
		jo, err = tx.CreateUser(telephony.User{Name: "jo", Role: "sales", Extension: "101"}, "h")
		return err
	})
	if got := role("101"); got != "sales" {
		t.Errorf("with a user: %s", got)
	}
	r, ok := s.Snapshot().Role(id, "sales")
	if !ok || !r.Dials(telephony.ClassNational) || r.Dials(telephony.ClassInternational) || !r.Dials(telephony.ClassEmergency) || !r.May(telephony.PermCDR) || r.May(telephony.PermUsers) {
		t.Errorf("role: %+v", r)
	}
	jo.Extension = "102"
	mustUpdate(t, s.ForTenant(id), func(tx *Tx) error { return tx.PutUser(jo) })
	if role("101") != telephony.RoleStandard || role("102") != "sales" {
		t.Errorf("moved: %s, %s", role("101"), role("102"))
	}
	mustUpdate(t, s.ForTenant(id), func(tx *Tx) error {
		e, err := tx.Extension("101")
		e.OwnRole = telephony.RoleInternational
		return errors.Join(err, tx.PutExtension(e))
	})
	live := s.Snapshot()
	s.Close()
	if s = openAt(t, dir); !reflect.DeepEqual(live.Extensions(id), s.Snapshot().Extensions(id)) || !reflect.DeepEqual(live.Roles(id), s.Snapshot().Roles(id)) {
		t.Errorf("after a restart %+v, %+v", s.Snapshot().Extensions(id), s.Snapshot().Roles(id))
	}
	if role("101") != telephony.RoleInternational {
		t.Errorf("own role: %s", role("101"))
	}
	mustFail(t, s.ForTenant(id), "name", func(tx *Tx) error { return tx.DeleteRole("sales") })
	mustUpdate(t, s.ForTenant(id), func(tx *Tx) error { return errors.Join(tx.DeleteUser(jo.ID), tx.DeleteRole("sales")) })
	if role("102") != telephony.RoleStandard {
		t.Errorf("user deleted: %s", role("102"))
	}
}

func TestRolesAndUsersThatAreRefused(t *testing.T) {
	t.Parallel()
	s := open(t)
	a, b := addTenant(t, s, "a.example", "101"), addTenant(t, s, "b.example", "101")
	mustUpdate(t, s.ForTenant(b), func(tx *Tx) error { return tx.CreateRole(telephony.RoleDefinition{Name: "theirs"}) })
	mustUpdate(t, s.ForTenant(a), func(tx *Tx) error {
		_, err := tx.CreateUser(telephony.User{Name: "ann", Role: telephony.RoleAdmin, Extension: "101"}, "h")
		return err
	})
	in := s.ForTenant(a)
	mustFail(t, in, "role", func(tx *Tx) error {
		_, err := tx.CreateUser(telephony.User{Name: "x", Role: "theirs"}, "h")
		return err
	})
	mustFail(t, in, "role", func(tx *Tx) error {
		_, err := tx.CreateExtension(telephony.Extension{Number: "102", OwnRole: "theirs"}, testPassword)
		return err
	})
	mustFail(t, in, "role", func(tx *Tx) error {
		_, err := tx.CreateExtension(telephony.Extension{Number: "102", OwnRole: telephony.RoleSystemAdmin}, testPassword)
		return err
	})
	mustFail(t, in, "extension", func(tx *Tx) error {
		_, err := tx.CreateUser(telephony.User{Name: "x", Role: telephony.RoleStandard, Extension: "101"}, "h")
		return err
	})
	mustFail(t, in, "name", func(tx *Tx) error { return tx.CreateRole(telephony.RoleDefinition{Name: telephony.RoleAdmin}) })
	mustFail(t, in, "name", func(tx *Tx) error { return tx.PutRole(telephony.RoleDefinition{Name: telephony.RoleStandard}) })
	mustFail(t, in, "name", func(tx *Tx) error { return tx.DeleteRole(telephony.RoleStandard) })
	mustFail(t, in, "permissions", func(tx *Tx) error {
		return tx.CreateRole(telephony.RoleDefinition{Name: "xx", Permissions: []telephony.Permission{"everything"}})
	})
	mustFail(t, in, "classes", func(tx *Tx) error {
		return tx.CreateRole(telephony.RoleDefinition{Name: "xx", Classes: []telephony.CallClass{telephony.ClassEmergency}})
	})
	for _, fn := range []func(*Tx) error{
		func(tx *Tx) error { return tx.PutRole(telephony.RoleDefinition{Name: "theirs", Description: "ours"}) },
		func(tx *Tx) error { return tx.DeleteRole("theirs") },
	} {
		if _, err := in.Update(t.Context(), admin(), fn); !errors.Is(err, ErrNotFound) {
			t.Errorf("another tenant's role: %v", err)
		}
	}
}

func TestGroupsOfExtensions(t *testing.T) {
	t.Parallel()
	s := open(t)
	a, b := addTenant(t, s, "a.example", "101", "102", "103"), addTenant(t, s, "b.example", "101", "150")
	groups := func(number string) []string { e, _ := s.Snapshot().Extension(a, number); return e.Groups }
	var sales, support telephony.Group
	mustUpdate(t, s.ForTenant(a), func(tx *Tx) (err error) {
		if sales, err = tx.CreateGroup(telephony.Group{Name: "Sales", Members: []string{"102", "101", "102"}}); err != nil {
			return err
		}
		support, err = tx.CreateGroup(telephony.Group{Name: "Help, first line", Members: []string{"101"}})
		return err
	})
	if got := groups("101"); !slices.Equal(got, []string{"Help, first line", "Sales"}) || len(groups("103")) != 0 {
		t.Errorf("groups of 101: %q", got)
	}
	if _, ok := s.Snapshot().Extension(b, "101"); !ok {
		t.Fatal("no 101")
	} else if e, _ := s.Snapshot().Extension(b, "101"); len(e.Groups) != 0 {
		t.Errorf("the same number in another tenant is in %q", e.Groups)
	}
	sales.Name, sales.Members = "Selling", []string{"103"}
	mustUpdate(t, s.ForTenant(a), func(tx *Tx) error { return errors.Join(tx.PutGroup(sales), tx.DeleteExtension("101")) })
	if len(groups("102")) != 0 || !slices.Equal(groups("103"), []string{"Selling"}) {
		t.Errorf("after the change: %q, %q", groups("102"), groups("103"))
	}
	all, err := s.ForTenant(a).Groups(t.Context())
	if err != nil || len(all) != 2 || len(all[0].Members) != 0 || !slices.Equal(all[1].Members, []string{"103"}) {
		t.Errorf("%+v, %v", all, err)
	}
	mustFail(t, s.ForTenant(a), "members", func(tx *Tx) error {
		_, err := tx.CreateGroup(telephony.Group{Name: "x", Members: []string{"150"}})
		return err
	})
	mustFail(t, s.ForTenant(a), "name", func(tx *Tx) error {
		support.Name = "Selling"
		return tx.PutGroup(support)
	})
	for _, fn := range []func(*Tx) error{
		func(tx *Tx) error { return tx.DeleteGroup(sales.ID) },
		func(tx *Tx) error { return tx.PutGroup(telephony.Group{ID: support.ID, Name: "y"}) },
	} {
		if _, err := s.ForTenant(b).Update(t.Context(), admin(), fn); !errors.Is(err, ErrNotFound) {
			t.Errorf("another tenant's group: %v", err)
		}
	}
	mustUpdate(t, s.ForTenant(a), func(tx *Tx) error { return tx.DeleteGroup(sales.ID) })
	if len(groups("103")) != 0 {
		t.Errorf("deleted: %q", groups("103"))
	}
}

func TestATenantHasNoMoreThanItMay(t *testing.T) {
	t.Parallel()
	s := open(t)
	id := addTenant(t, s, "pbx.example", "101")
	mustUpdate(t, s.System(), func(tx *Tx) error {
		v, err := tx.tenant(id)
		v.MaxExtensions, v.MaxUsers, v.TimeZone, v.Country = 2, 1, "Europe/Berlin", "DE"
		return errors.Join(err, tx.PutTenant(v))
	})
	add := func(number, name string) func(*Tx) error {
		return func(tx *Tx) error {
			if number != "" {
				_, err := tx.CreateExtension(telephony.Extension{Number: number}, testPassword)
				return err
			}
			_, err := tx.CreateUser(telephony.User{Name: name, Role: telephony.RoleStandard}, "h")
			return err
		}
	}
	mustUpdate(t, s.ForTenant(id), add("102", ""))
	mustUpdate(t, s.ForTenant(id), add("", "jo"))
	mustFail(t, s.ForTenant(id), "number", add("103", ""))
	mustFail(t, s.ForTenant(id), "name", add("", "jim"))
	if zone := s.Snapshot().Location(id).String(); zone != "Europe/Berlin" {
		t.Errorf("zone %s", zone)
	}
	mustFail(t, s.System(), "time_zone", func(tx *Tx) error {
		v, err := tx.tenant(id)
		v.TimeZone = "../../etc/passwd"
		return errors.Join(err, tx.PutTenant(v))
	})
}
