package api

import (
	"net/http"
	"strings"
	"testing"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// secondTenant has its own 101 and 102.
func (b *box) secondTenant() telephony.TenantID {
	b.t.Helper()
	var id telephony.TenantID
	_, err := b.store.System().Update(b.t.Context(), telephony.Actor{}, func(tx *store.Tx) (err error) {
		if id, err = tx.CreateTenant(telephony.Tenant{Name: "Other", Domain: "other.example", ExtensionFirst: "101", ExtensionLast: "199"}); err != nil {
			return err
		}
		two, err := tx.ForTenant(id)
		if err != nil {
			return err
		}
		for _, n := range []string{"101", "102"} {
			if _, err := two.CreateExtension(telephony.Extension{Number: n, DisplayName: "Zoe " + n}, strings.Repeat("x9A", 8)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return id
}

// in is the same client with requests that name a tenant.
func (c *client) in(tenant string) *client {
	other := *c
	other.header = map[string]string{tenantHeader: tenant}
	return &other
}

func TestOnlyAdministratorsOfTheBoxChooseTheTenant(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	two := b.secondTenant()
	ann := b.user(1, "ann", telephony.RoleAdmin, "101")
	var list ExtensionList
	boss.in("2").must(http.StatusOK, "GET", "/extensions", nil, &list)
	if len(list.Items) != 2 || list.Items[0].DisplayName != "Zoe 101" {
		t.Errorf("in the second tenant: %+v", list.Items)
	}
	boss.in("2").must(http.StatusNoContent, "DELETE", "/extensions/101", nil, nil)
	if _, ok := b.store.Snapshot().Extension(two, "101"); ok {
		t.Error("101 of the second tenant is still there")
	}
	if _, ok := b.store.Snapshot().Extension(1, "101"); !ok {
		t.Error("101 of the first tenant is gone")
	}
	var s Session
	boss.in("2").must(http.StatusOK, "GET", "/session", nil, &s)
	if s.Tenant.ID != 2 || s.Tenant.Domain != "other.example" {
		t.Errorf("session: %+v", s.Tenant)
	}
	for _, x := range []struct {
		c      *client
		tenant string
		want   int
	}{
		{boss, "1", 200}, {boss, "3", 404}, {boss, "0", 404}, {boss, "-1", 404}, {boss, "x", 404}, {boss, "2 ", 404},
		{ann, "1", 200}, {ann, "2", 404}, {ann, "0", 404}, {ann, "99999999999999999999", 404},
	} {
		if a := x.c.in(x.tenant).do("GET", "/extensions", nil, nil); a.Code != x.want {
			t.Errorf("tenant %q: %d, want %d", x.tenant, a.Code, x.want)
		}
	}
	if a := ann.do("GET", "/events?tenant=2", nil, nil); a.Code != http.StatusNotFound {
		t.Errorf("events of another tenant: %d", a.Code)
	}
}

func TestARoleIsInForceAtTheNextRequest(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.setUp()
	role := func(perms ...telephony.Permission) {
		t.Helper()
		_, err := b.store.ForTenant(1).Update(t.Context(), telephony.Actor{}, func(tx *store.Tx) error {
			r := telephony.RoleDefinition{Name: "reception", Permissions: perms}
			if _, err := tx.Role(r.Name); err != nil {
				return tx.CreateRole(r)
			}
			return tx.PutRole(r)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	role(telephony.PermCalls)
	eve := b.user(1, "eve", "reception", "101")
	eve.must(http.StatusOK, "GET", "/calls", nil, nil)
	eve.must(http.StatusOK, "GET", "/status", nil, nil)
	eve.must(http.StatusForbidden, "GET", "/extensions", nil, nil)
	eve.must(http.StatusForbidden, "GET", "/tenant", nil, nil)
	role(telephony.PermExtensions)
	eve.must(http.StatusForbidden, "GET", "/calls", nil, nil)
	eve.must(http.StatusOK, "GET", "/extensions", nil, nil)
	role()
	eve.must(http.StatusForbidden, "GET", "/extensions", nil, nil)
	eve.must(http.StatusForbidden, "GET", "/status", nil, nil)
	eve.must(http.StatusOK, "GET", "/cdrs", nil, nil)
}
