package api

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
	"ringfence/internal/trace"
)

// public are the routes that need no session, typed by hand: a new one has to
// be thought about here.
var public = []string{"POST /api/v1/login", "POST /api/v1/invite", "POST /api/v1/invite/read", "GET /api/v1/sso", "POST /api/v1/sso/start", "POST /api/v1/sso/finish", "POST /api/v1/network/confirm", "POST /api/v1/settings/trial/confirm"}

// ofTheWizard are the routes that exist before set-up only.
var ofTheWizard = []string{
	"GET /api/v1/setup", "PUT /api/v1/setup/administrator", "PUT /api/v1/setup/tenant",
	"POST /api/v1/setup/extensions", "POST /api/v1/setup/finish",
}

// target fills in the names of a pattern.
func target(pattern string) (method, path string) {
	method, path, _ = strings.Cut(pattern, " ")
	path = strings.ReplaceAll(path, "/inbound-rules/{rule}", "/inbound-rules/8")
	path = strings.TrimPrefix(path, Base)
	return method, strings.NewReplacer("{number}", "101", "{id}", "call-1", "{tenant}", "1", "{role}", "ours", "{user}", "4", "{group}", "5", "{session}", "0011223344556677", "{trunk}", "6", "{rule}", "7", "{hours}", "Office", "{contact}", "9", "{token}", "4711", "{rev}", "1").Replace(path)
}

// examples are what the names of target stand for, right after setUp: of the
// first tenant, with ids that no other tenant has.
func (b *box) examples() {
	b.t.Helper()
	if err := b.store.KeepRevision(b.t.Context(), 1, []byte("version: 1\n")); err != nil {
		b.t.Fatal(err)
	}
	_, err := b.store.ForTenant(1).Update(b.t.Context(), telephony.Actor{}, func(tx *store.Tx) error {
		u, err := tx.CreateUser(telephony.User{Name: "pat", Role: telephony.RoleStandard}, "h")
		if err != nil || u.ID != 4 {
			return fmt.Errorf("user %d: %w", u.ID, err)
		}
		g, err := tx.CreateGroup(telephony.Group{Name: "Ours", Members: []string{"101"}})
		if err != nil || g.ID != 5 {
			return fmt.Errorf("group %d: %w", g.ID, err)
		}
		return errors.Join(tx.CreateRole(telephony.RoleDefinition{Name: "ours"}), exampleRoutes(tx))
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// exampleRoutes are trunk 6, outgoing rule 7, incoming rule 8 and entry 9 of the
// directory.
func exampleRoutes(tx *store.Tx) error {
	trunk, err := tx.CreateTrunk(telephony.Trunk{Name: "Provider", Kind: telephony.TrunkPeer, Host: "192.0.2.1"})
	if err != nil {
		return err
	}
	out, err1 := tx.CreateOutboundRule(telephony.OutboundRule{Name: "All", Priority: 1, Routes: []telephony.Route{{Trunk: trunk.ID}}})
	in, err2 := tx.CreateInboundRule(telephony.InboundRule{Name: "Main", Priority: 1, Open: telephony.Destination{Kind: telephony.ToBusy}})
	c, err3 := tx.CreateContact(telephony.Contact{Name: "Supplier", Numbers: []string{"1"}})
	if trunk.ID != 6 || out.ID != 7 || in.ID != 8 || c.ID != 9 {
		return fmt.Errorf("trunk %d, rules %d and %d, contact %d", trunk.ID, out.ID, in.ID, c.ID)
	}
	return errors.Join(err1, err2, err3, tx.CreateSchedule(telephony.Schedule{Name: "Office"}))
}

// Every route that is served x every way of not being allowed.
func TestEveryRouteIsGuarded(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	b.examples()
	standard := b.user(1, "ann", telephony.RoleStandard, "101")
	full, reading, narrow := boss.makeToken(TokenInput{Name: "full"}), boss.makeToken(TokenInput{Name: "reading", ReadOnly: true}), standard.makeToken(TokenInput{Name: "narrow", Permissions: []string{"reports"}})
	must, half, owing := b.mustChange(), b.halfLoggedIn(), b.mustEnrol()
	gone := b.client().login("boss", adminPassword)
	gone.must(http.StatusNoContent, "DELETE", "/session", nil, nil)
	expired, idle := b.expired(time.Hour, -time.Minute), b.expired(-time.Hour, time.Hour)

	if len(b.routes.added) != len(b.routes.access) || len(b.routes.added) < 20 {
		t.Fatalf("%d routes served, %d declared", len(b.routes.added), len(b.routes.access))
	}
	for _, pattern := range b.routes.added {
		method, path := target(pattern)
		check := func(what string, c *client, want ...int) {
			t.Helper()
			if a := c.do(method, path, nil, nil); !slices.Contains(want, a.Code) || !strings.HasPrefix(a.Header().Get("Content-Type"), "application/problem+json") {
				t.Errorf("%s, %s: %d, want %v: %s", pattern, what, a.Code, want, a.Body)
			}
		}
		need, declared := b.routes.access[pattern]
		switch {
		case !declared || need == denied:
			t.Errorf("%s: nobody said who may", pattern)
			continue
		case slices.Contains(ofTheWizard, pattern):
			check("after set-up", boss, http.StatusNotFound)
			continue
		case slices.Contains(public, pattern):
			foreign := b.client()
			foreign.header = map[string]string{"Sec-Fetch-Site": "cross-site"}
			check("cross-site", foreign, http.StatusForbidden)
			continue
		case !need.needsSession():
			t.Errorf("%s needs no session and is not on the list", pattern)
			continue
		}
		check("no session", b.client(), http.StatusUnauthorized)
		check("made-up token", b.bearer("rfence_"+strings.Repeat("A", 43)), http.StatusUnauthorized)
		check("cookie as a token", b.bearer(boss.cookie), http.StatusUnauthorized)
		if !need.takesTokens() {
			check("token", full, http.StatusForbidden)
		} else if method != http.MethodGet {
			check("token that reads only", reading, http.StatusForbidden)
		}
		if need != anyUser {
			check("token of one permission", narrow, http.StatusForbidden)
		}
		check("made-up session", &client{b: b, addr: "192.0.2.10", cookie: "made-up", csrf: "x"}, http.StatusUnauthorized)
		check("ended session", &client{b: b, addr: "192.0.2.10", cookie: gone.cookie, csrf: gone.csrf}, http.StatusUnauthorized)
		check("expired session", expired, http.StatusUnauthorized)
		check("idle session", idle, http.StatusUnauthorized)
		for _, site := range []string{"cross-site", "same-site"} {
			foreign := *boss
			foreign.header = map[string]string{"Sec-Fetch-Site": site}
			check(site, &foreign, http.StatusForbidden)
		}
		if method != http.MethodGet {
			noCSRF, wrongCSRF, otherPort := *boss, *boss, *boss
			noCSRF.csrf, wrongCSRF.csrf = "", standard.csrf
			check("no CSRF token", &noCSRF, http.StatusForbidden)
			check("another session's CSRF token", &wrongCSRF, http.StatusForbidden)
			otherPort.header = map[string]string{"Sec-Fetch-Site": "", "Origin": "https://192.0.2.1:10443"}
			check("other port's origin", &otherPort, http.StatusForbidden)
		}
		if need != halfSession {
			check("second factor owed", half, http.StatusForbidden)
		}
		if need == halfSession {
			continue
		}
		if need != ownSession {
			check("second factor to be set up", owing, http.StatusForbidden)
		}
		if need != ownSession && need != anyUser && need != inPerson {
			check("standard user", standard, http.StatusForbidden)
		}
		if need != ownSession {
			check("password to be changed", must, http.StatusForbidden)
		}
	}
}

// exampleTrace is that of call-1, of the first tenant.
func exampleTrace() map[telephony.TenantID]map[telephony.CallID]trace.Trace {
	one := trace.Trace{Messages: []trace.Message{{Raw: []byte("INVITE sip:101@pbx.example SIP/2.0\r\n\r\n")}}}
	return map[telephony.TenantID]map[telephony.CallID]trace.Trace{1: {"call-1": one}}
}

// The other half: who is allowed does get through.
func TestAdministratorsGetThrough(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	b.examples()
	ann := b.user(1, "ann", telephony.RoleAdmin, "")
	b.live.traces = exampleTrace()
	for _, pattern := range b.routes.added {
		method, path := target(pattern)
		if method != http.MethodGet || path == "/events" || path == "/setup" {
			continue
		}
		for _, c := range []*client{boss, ann} {
			want := http.StatusOK
			if c == ann && b.routes.access[pattern] == systemOnly {
				want = http.StatusForbidden
			}
			if a := c.do(method, path, nil, nil); a.Code != want {
				t.Errorf("%s: %d %s", pattern, a.Code, a.Body)
			}
		}
	}
}

// mustChange is an administrator who has to change the password first.
func (b *box) mustChange() *client {
	b.t.Helper()
	hash, err := b.login.Hash(b.t.Context(), otherPassword)
	if err != nil {
		b.t.Fatal(err)
	}
	_, err = b.store.ForTenant(1).Update(b.t.Context(), telephony.Actor{}, func(tx *store.Tx) error {
		_, err := tx.CreateUser(telephony.User{Tenant: 1, Name: "new", Role: telephony.RoleAdmin, MustChangePassword: true}, hash)
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return b.client().login("new", otherPassword)
}

// expired is the administrator with a session that was last used a time from
// now and ends a time from now.
func (b *box) expired(seen, ends time.Duration) *client {
	b.t.Helper()
	users, err := b.store.System().Users(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	cookie := strings.Repeat("A", 43-len(seen.String())) + strings.NewReplacer(".", "", "-", "").Replace(seen.String())
	cookie += strings.Repeat("B", 43-len(cookie))
	now := time.Now()
	err = b.store.CreateSession(b.t.Context(), store.Session{
		Hash: sha256.Sum256([]byte(cookie)), User: users[0].ID, CSRF: "x",
		Created: now.Add(-2 * time.Hour), Seen: now.Add(seen), Expires: now.Add(ends),
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return &client{b: b, addr: "192.0.2.10", cookie: cookie, csrf: "x"}
}

// Every route, as the administrator of one tenant with another tenant's names.
func TestTenantsDoNotSeeEachOther(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.setUp()
	b.examples()
	_, err := b.store.System().Update(t.Context(), telephony.Actor{}, func(tx *store.Tx) error {
		id, err := tx.CreateTenant(telephony.Tenant{Name: "Other", Domain: "other.example", ExtensionFirst: "201", ExtensionLast: "299"})
		if err != nil {
			return err
		}
		two, err := tx.ForTenant(id)
		if err != nil {
			return err
		}
		_, err = two.CreateExtension(telephony.Extension{Number: "201", DisplayName: "Zoe"}, strings.Repeat("x9A", 8))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	b.live.calls[1] = []telephony.LiveCall{{ID: "call-1", Tenant: 1, Caller: telephony.Party{Number: "101"}}}
	b.live.traces = exampleTrace()
	b.live.bindings[1] = []telephony.Binding{{Tenant: 1, AOR: telephony.AOR{User: "101", Domain: "pbx.example"}}}
	now := time.Now()
	if err := b.store.AppendCallRecords(t.Context(), []telephony.CallRecord{{ID: "call-0", Tenant: 1, Caller: telephony.Party{Number: "101"}, Started: now, Ended: now}}); err != nil {
		t.Fatal(err)
	}
	other := b.user(2, "zoe", telephony.RoleAdmin, "201")
	bodies := map[string]any{
		"PUT /extensions/{number}": ExtensionUpdate{NoAnswerSeconds: 30}, "PUT /extensions/{number}/sip-password": OwnSIPPassword{},
		"PUT /users/{user}": UserInput{Name: "pat", Role: "standard"}, "PATCH /users/{user}": UserPatch{},
		"PUT /users/{user}/password": UserPassword{}, "PUT /groups/{group}": GroupInput{Name: "Ours", Members: []string{}},
		"PUT /roles/{role}":   RoleInput{Permissions: []string{}, Classes: []string{}},
		"PUT /trunks/{trunk}": map[string]any{}, "PATCH /trunks/{trunk}": map[string]any{}, "PUT /trunks/{trunk}/rates": map[string]any{"items": []Rate{}},
		"POST /trunks/{trunk}/rates/csv": RateImport{CSV: "49"}, "PUT /outbound-rules/{rule}": map[string]any{}, "PATCH /outbound-rules/{rule}": map[string]any{},
		"PUT /inbound-rules/{rule}": map[string]any{}, "PATCH /inbound-rules/{rule}": map[string]any{},
		"PUT /hours/{hours}": map[string]any{}, "PATCH /hours/{hours}": map[string]any{}, "PUT /directory/{contact}": ContactInput{Name: "x", Numbers: []string{"1"}},
	}
	for _, pattern := range b.routes.added {
		method, path := target(pattern)
		switch {
		case b.routes.access[pattern] == systemOnly:
			if a := other.do(method, path, nil, nil); a.Code != http.StatusForbidden {
				t.Errorf("%s: %d %s", pattern, a.Code, a.Body)
			}
		case strings.Contains(pattern, "{"):
			in := bodies[strings.Replace(pattern, " "+Base, " ", 1)]
			if a := other.do(method, path, in, nil); a.Code != http.StatusNotFound {
				t.Errorf("%s: %d %s", pattern, a.Code, a.Body)
			}
		case path == "/dialplan/countries": // of everybody, and some have an emergency number 101
		case method == http.MethodGet && path != "/events" && path != "/setup":
			a := other.must(http.StatusOK, method, path, nil, nil)
			for _, theirs := range []string{`"101"`, "call-0", "call-1", "pbx.example", "boss"} {
				if strings.Contains(a.Body.String(), theirs) {
					t.Errorf("%s shows %s: %s", pattern, theirs, a.Body)
				}
			}
		}
	}
	if _, ok := b.store.Snapshot().Extension(1, "101"); !ok || len(b.live.hungUp) != 0 {
		t.Error("the other tenant was changed")
	}
}
