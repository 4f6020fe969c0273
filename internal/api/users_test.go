package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

func TestUsersAreMadeChangedAndDeleted(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	ann := b.user(1, "ann", telephony.RoleAdmin, "101")
	var made UserCreated
	ann.must(http.StatusCreated, "POST", "/users", UserCreate{
		UserInput:    UserInput{Name: "jo", FirstName: "Jo", LastName: "Fox", Role: "standard", Extension: "150"},
		NewExtension: &UserNewExtension{},
	}, &made)
	if made.Password == "" || made.SIP == nil || made.SIP.SIPPassword == made.Password || made.SIP.DisplayName != "Jo Fox" || !made.User.MustChangePassword {
		t.Fatalf("made: %+v", made)
	}
	// The SIP password opens no portal; the user's own does, and is to be changed.
	if a := b.client().do("POST", "/login", Login{"jo", made.SIP.SIPPassword}, nil); a.Code != http.StatusUnauthorized {
		t.Errorf("SIP password: %d", a.Code)
	}
	jo := b.client().login("jo", made.Password)
	jo.must(http.StatusForbidden, "GET", "/own", nil, nil)
	var s Session
	jo.must(http.StatusOK, "PUT", "/session/password", PasswordChange{made.Password, "Sonnig ab 5 Tomaten"}, &s)
	jo.csrf = s.CSRFToken
	jo.must(http.StatusOK, "GET", "/own", nil, nil)

	one := fmt.Sprintf("/users/%d", made.User.ID)
	var got User
	tag := ann.must(http.StatusOK, "GET", one, nil, &got).Header().Get("ETag")
	if got.Extension != "150" || got.MustChangePassword || tag == "" {
		t.Errorf("read: %+v, %q", got, tag)
	}
	phone := "+49 30 1234"
	ann.must(http.StatusOK, "PATCH", one, UserPatch{Phone: &phone}, &got)
	if got.Phone != phone || got.LastName != "Fox" || got.Extension != "150" {
		t.Errorf("a patch changed more than it named: %+v", got)
	}
	late := *ann
	late.header = map[string]string{"If-Match": tag}
	if a := late.do("PATCH", one, UserPatch{Phone: &phone}, nil); a.Code != http.StatusPreconditionFailed {
		t.Errorf("a change of what was changed since: %d", a.Code)
	}
	// Another role ends the sessions, and an administrator's password is to be changed.
	role := "standard_international"
	ann.must(http.StatusOK, "PATCH", one, UserPatch{Role: &role}, nil)
	jo.must(http.StatusUnauthorized, "GET", "/own", nil, nil)
	if e, _ := b.store.Snapshot().Extension(1, "150"); e.Role != telephony.RoleInternational {
		t.Errorf("the extension dials as %s", e.Role)
	}
	var fresh NewPassword
	ann.must(http.StatusOK, "PUT", one+"/password", UserPassword{}, &fresh)
	if b.client().login("jo", fresh.Password).do("GET", "/own", nil, nil).Code != http.StatusForbidden {
		t.Error("a password somebody else set need not be changed")
	}
	ann.must(http.StatusConflict, "DELETE", fmt.Sprintf("/users/%d", userID(t, b, "ann")), nil, nil)
	ann.must(http.StatusNoContent, "DELETE", one, nil, nil)
	if _, ok := b.store.Snapshot().Extension(1, "150"); !ok {
		t.Error("the extension went with its user")
	}
	var list UserList
	boss.must(http.StatusOK, "GET", "/users?search=AN", nil, &list)
	if len(list.Items) != 1 || list.Items[0].Name != "ann" {
		t.Errorf("list: %+v", list)
	}
}

func userID(t *testing.T, b *box, name string) int64 {
	t.Helper()
	u, _, err := b.store.UserByName(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return u.ID
}

func TestBothPasswordsMeetThePolicyAndDiffer(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.setUp()
	ann := b.user(1, "ann", telephony.RoleAdmin, "")
	jo := func(user, sip string) UserCreate {
		in := UserCreate{UserInput: UserInput{Name: "jo", Role: "standard"}, Password: user}
		if sip != "" {
			in.Extension, in.NewExtension = "150", &UserNewExtension{SIPPassword: sip}
		}
		return in
	}
	for what, x := range map[string]struct {
		in    UserCreate
		field string
	}{
		"weak user password": {jo("abcdefgh", ""), "body.password"},
		"own extension":      {jo("Nummer-150-laut-7", "Regen-4-Stunden"), "body.password"},
		"weak SIP password":  {jo("", "abcd1234abcd"), "body.new_extension.sip_password"},
		"both the same":      {jo("Wetter-9-Karte", "Wetter-9-Karte"), "body.new_extension.sip_password"},
	} {
		a := ann.do("POST", "/users", x.in, nil)
		if a.Code != http.StatusUnprocessableEntity || len(a.Problem.Errors) != 1 || a.Problem.Errors[0].Location != x.field {
			t.Errorf("%s: %d %s", what, a.Code, a.Body)
		}
	}
	// Each is changed alone, by its owner and by an administrator.
	eve := b.user(1, "eve", telephony.RoleStandard, "101")
	for _, c := range []*client{ann, eve} {
		path := "/own/sip-password"
		if c == ann {
			path = "/extensions/101/sip-password"
		}
		if a := c.do("PUT", path, OwnSIPPassword{otherPassword}, nil); a.Code != http.StatusUnprocessableEntity {
			t.Errorf("%s takes the portal's password: %d", path, a.Code)
		}
		var got SIPCredentials
		c.must(http.StatusOK, "PUT", path, OwnSIPPassword{"Regen-4-Stunden"}, &got)
		if got.SIPPassword != "Regen-4-Stunden" || got.Number != "101" {
			t.Errorf("%s: %+v", path, got)
		}
		c.must(http.StatusOK, "PUT", path, OwnSIPPassword{}, &got)
		if len(got.SIPPassword) < 20 {
			t.Errorf("%s generated %d characters", path, len(got.SIPPassword))
		}
	}
	eve.must(http.StatusOK, "GET", "/own", nil, nil) // her session is what it was
}

func TestNobodyHandsOutMoreThanTheOwnRoleAllows(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	ann := b.user(1, "ann", telephony.RoleAdmin, "")
	perms := []string{"users.manage", "roles.manage", "extensions.manage"}
	boss.must(http.StatusCreated, "POST", "/roles", RoleCreate{"helpdesk", RoleInput{Permissions: perms, Classes: []string{"internal"}}}, nil)
	eve := b.user(1, "eve", "helpdesk", "101")
	annID := fmt.Sprintf("/users/%d", userID(t, b, "ann"))
	self := fmt.Sprintf("/users/%d", userID(t, b, "eve"))
	admin, international := "admin", "standard_international"
	for what, x := range map[string]struct {
		method, path string
		in           any
	}{
		"a mightier user":        {"POST", "/users", UserCreate{UserInput: UserInput{Name: "x", Role: "admin"}}},
		"a dialler abroad":       {"POST", "/users", UserCreate{UserInput: UserInput{Name: "x", Role: "standard_international"}}},
		"oneself an admin":       {"PATCH", self, UserPatch{Role: &admin}},
		"oneself abroad":         {"PATCH", self, UserPatch{Role: &international}},
		"the admin's password":   {"PUT", annID + "/password", UserPassword{}},
		"the admin's role":       {"PATCH", annID, UserPatch{Role: &self}},
		"the admin's end":        {"DELETE", annID, nil},
		"a mightier role":        {"POST", "/roles", RoleCreate{"mighty", RoleInput{Permissions: []string{"tenant.manage"}, Classes: []string{}}}},
		"a role that dials more": {"POST", "/roles", RoleCreate{"mighty", RoleInput{Permissions: []string{}, Classes: []string{"premium"}}}},
		"the own role":           {"PUT", "/roles/helpdesk", RoleInput{Permissions: append(perms, "audit.read"), Classes: []string{}}},
		"an extension abroad":    {"POST", "/extensions", ExtensionCreate{Number: "160", Role: "standard_international"}},
	} {
		if a := eve.do(x.method, x.path, x.in, nil); a.Code != http.StatusForbidden {
			t.Errorf("%s: %d %s", what, a.Code, a.Body)
		}
	}
	eve.must(http.StatusCreated, "POST", "/users", UserCreate{UserInput: UserInput{Name: "kim", Role: "standard"}}, nil)
	for _, path := range []string{"/roles/admin", "/roles/standard"} {
		ann.must(http.StatusUnprocessableEntity, "PUT", path, RoleInput{Permissions: []string{}, Classes: []string{}}, nil)
		ann.must(http.StatusUnprocessableEntity, "DELETE", path, nil, nil)
	}
	ann.must(http.StatusConflict, "DELETE", "/roles/helpdesk", nil, nil)
	ann.must(http.StatusUnprocessableEntity, "POST", "/roles", RoleCreate{"new", RoleInput{Permissions: []string{"root"}, Classes: []string{}}}, nil)
}

func TestAUserSeesTheOwnDataOnly(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.setUp()
	eve, bob := b.user(1, "eve", telephony.RoleStandard, "101"), b.user(1, "bob", telephony.RoleStandard, "")
	b.live.bindings[1] = []telephony.Binding{
		{Tenant: 1, AOR: telephony.AOR{User: "101"}, Contact: "sip:mine"}, {Tenant: 1, AOR: telephony.AOR{User: "102"}, Contact: "sip:theirs"},
	}
	var own Own
	eve.must(http.StatusOK, "GET", "/own", nil, &own)
	if own.Extension == nil || own.Extension.Number != "101" || own.User.Name != "eve" || len(own.Dials) != 1 || own.Dials[0] != "internal" {
		t.Errorf("own: %+v", own)
	}
	if a := eve.must(http.StatusOK, "GET", "/own/registrations", nil, nil); !strings.Contains(a.Body.String(), "sip:mine") || strings.Contains(a.Body.String(), "theirs") {
		t.Errorf("phones: %s", a.Body)
	}
	eve.must(http.StatusOK, "PUT", "/own/call-handling", CallHandling{DoNotDisturb: true, ForwardBusy: "102", RingAlso: []string{}}, &own)
	if e, _ := b.store.Snapshot().Extension(1, "101"); !e.Handling.DoNotDisturb || e.Handling.ForwardBusy != "102" {
		t.Errorf("handling: %+v", e.Handling)
	}
	if a := eve.do("PUT", "/own/call-handling", CallHandling{ForwardBusy: "101", RingAlso: []string{}}, nil); a.Code != http.StatusUnprocessableEntity || a.Problem.Errors[0].Location != "body.forward_busy" {
		t.Errorf("forwarded to itself: %d %s", a.Code, a.Body)
	}
	bob.must(http.StatusOK, "GET", "/own", nil, &own)
	bob.must(http.StatusNotFound, "PUT", "/own/call-handling", CallHandling{RingAlso: []string{}}, nil)
	bob.must(http.StatusNotFound, "PUT", "/own/sip-password", OwnSIPPassword{}, nil)
}

func TestTenantsAreMadeChangedAndRemoved(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	in := TenantInput{Name: "Beta", Domain: "beta.example", ExtensionFirst: "101", ExtensionLast: "199", TimeZone: "Europe/Zurich", Country: "CH", Tones: "CH", MaxExtensions: 2}
	var made TenantEntry
	tag := boss.must(http.StatusCreated, "POST", "/tenants", in, &made).Header().Get("ETag")
	if made.ID != 2 || made.TimeZone != "Europe/Zurich" || made.Tones != "CH" {
		t.Errorf("made: %+v", made)
	}
	boss.must(http.StatusConflict, "POST", "/tenants", in, nil)
	beta := boss.in("2")
	beta.must(http.StatusCreated, "POST", "/extensions", ExtensionCreate{Number: "101"}, nil)
	beta.must(http.StatusCreated, "POST", "/extensions", ExtensionCreate{Number: "102"}, nil)
	if a := beta.do("POST", "/extensions", ExtensionCreate{Number: "103"}, nil); a.Code != http.StatusUnprocessableEntity {
		t.Errorf("one more than allowed: %d", a.Code)
	}
	// The organisation's own administrator changes the place, not the limits.
	zoe := b.user(2, "zoe", telephony.RoleAdmin, "101")
	var own Tenant
	zoe.must(http.StatusOK, "GET", "/tenant", nil, &own)
	zone := "Europe/Vienna"
	zoe.must(http.StatusOK, "PUT", "/tenant", TenantUpdate{Name: own.Name, Digest: own.Digest, MaxContacts: 5, QualifyFailures: 3, TimeZone: &zone}, &own)
	if own.TimeZone != zone || own.Country != "CH" || own.MaxExtensions != 2 {
		t.Errorf("changed: %+v", own)
	}
	late := *boss
	late.header = map[string]string{"If-Match": tag}
	late.must(http.StatusPreconditionFailed, "PUT", "/tenants/2", in, nil)
	more := 5
	boss.must(http.StatusOK, "PATCH", "/tenants/2", TenantPatch{MaxExtensions: &more}, &made)
	if made.MaxExtensions != 5 || made.TimeZone != zone || made.Tones != "CH" {
		t.Errorf("patched: %+v", made)
	}
	if a := boss.do("PATCH", "/tenants/2", TenantPatch{TimeZone: new("Mars/Olympus")}, nil); a.Code != http.StatusUnprocessableEntity || a.Problem.Errors[0].Location != "body.time_zone" {
		t.Errorf("zone: %d %s", a.Code, a.Body)
	}
	var rows TenantRows
	boss.must(http.StatusOK, "GET", "/tenants", nil, &rows)
	if len(rows.Items) != 2 || rows.Items[1].Extensions != 2 {
		t.Errorf("list: %+v", rows)
	}
	boss.must(http.StatusNoContent, "DELETE", "/tenants/2", nil, nil)
	zoe.must(http.StatusUnauthorized, "GET", "/own", nil, nil)
	beta.must(http.StatusNotFound, "GET", "/extensions", nil, nil)
	boss.must(http.StatusConflict, "DELETE", "/tenants/1", nil, nil)
	_, err := b.store.System().Update(t.Context(), telephony.Actor{}, func(tx *store.Tx) error { _, err := tx.ForTenant(2); return err })
	if err == nil {
		t.Error("the tenant is still there")
	}
}

func TestGroupsAreMadeChangedAndDeleted(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.setUp()
	ann := b.user(1, "ann", telephony.RoleAdmin, "")
	var g Group
	tag := ann.must(http.StatusCreated, "POST", "/groups", GroupInput{"Sales", []string{"102", "101"}}, &g).Header().Get("ETag")
	if len(g.Members) != 2 || g.Members[0] != "101" {
		t.Errorf("made: %+v", g)
	}
	one := fmt.Sprintf("/groups/%d", g.ID)
	ann.must(http.StatusOK, "PUT", one, GroupInput{"Sales", []string{"102"}}, nil)
	var e Extension
	ann.must(http.StatusOK, "GET", "/extensions/102", nil, &e)
	if len(e.Groups) != 1 || e.Groups[0] != "Sales" || e.EffectiveRole != "standard" {
		t.Errorf("extension: %+v", e)
	}
	late := *ann
	late.header = map[string]string{"If-Match": tag}
	late.must(http.StatusPreconditionFailed, "PUT", one, GroupInput{"Sales", []string{}}, nil)
	ann.must(http.StatusUnprocessableEntity, "POST", "/groups", GroupInput{"More", []string{"999"}}, nil)
	ann.must(http.StatusConflict, "POST", "/groups", GroupInput{"Sales", []string{}}, nil)
	ann.must(http.StatusNoContent, "DELETE", one, nil, nil)
	ann.must(http.StatusNotFound, "GET", one, nil, nil)
}
