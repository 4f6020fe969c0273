package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"ringfence/internal/setup"
)

// Without the right token nothing exists before set-up, and everything that
// does not exist looks the same.
func TestBeforeSetUpOnlyTheTokenOpensAnything(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	missing := b.client().do("GET", "/nowhere", nil, nil)
	for _, token := range []string{"", "wrong", strings.Repeat("a", 26), b.wizard.Token() + "x"} {
		c := b.client()
		c.token = token
		for pattern := range b.routes.access {
			method, path, _ := strings.Cut(pattern, " ")
			a := c.do(method, strings.NewReplacer("{number}", "101", "{id}", "x").Replace(strings.TrimPrefix(path, Base)), nil, nil)
			if a.Code != http.StatusNotFound || a.Body.String() != missing.Body.String() {
				t.Errorf("%s with token %q: %d %s", pattern, token, a.Code, a.Body)
			}
		}
	}
	c := b.client()
	c.token = b.wizard.Token()
	c.must(http.StatusOK, "GET", "/setup", nil, nil)
	c.must(http.StatusNotFound, "GET", "/session", nil, nil)
	c.must(http.StatusNotFound, "POST", "/login", Login{"boss", adminPassword}, nil)
}

func TestWizardFromStartToEnd(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	c := b.client()
	c.token = b.wizard.Token()
	if len(c.token) != 26 {
		t.Errorf("token %q is not 128 bits in base32", c.token)
	}
	var s Setup
	c.must(http.StatusOK, "GET", "/setup", nil, &s)
	if len(s.Steps) != 3 || s.Steps[0].Done || s.Suggestion.Domain != "box.local" || s.Suggestion.Administrator != "admin" || s.Fingerprint != "ab" {
		t.Errorf("%+v", s)
	}
	// Out of order.
	c.must(http.StatusConflict, "POST", "/setup/extensions", SetupExtensions{Count: 3}, nil)
	c.must(http.StatusConflict, "POST", "/setup/finish", nil, nil)

	// Each step may be sent again, and then holds.
	c.must(http.StatusOK, "PUT", "/setup/administrator", SetupAdministrator{Name: "first", Password: adminPassword}, nil)
	c.must(http.StatusOK, "PUT", "/setup/administrator", SetupAdministrator{Name: "Boss", Password: otherPassword, Email: "b@pbx.example"}, nil)
	c.must(http.StatusOK, "PUT", "/setup/tenant", SetupTenant{Name: "Acme", Domain: "Old.example", ExtensionFirst: "101", ExtensionLast: "199"}, nil)
	var one, two []SIPCredentials
	c.must(http.StatusOK, "POST", "/setup/extensions", SetupExtensions{Count: 2}, &one)
	c.must(http.StatusOK, "PUT", "/setup/tenant", SetupTenant{Name: "Acme", Domain: "pbx.example", ExtensionFirst: "101", ExtensionLast: "199"}, &s)
	c.must(http.StatusOK, "POST", "/setup/extensions", SetupExtensions{Count: 3}, &two)
	if len(one) != 2 || len(two) != 3 || one[0].SIPPassword != two[0].SIPPassword || two[2].Number != "103" || two[0].Domain != "pbx.example" || len(two[0].SIPPassword) < 20 {
		t.Errorf("%+v\n%+v", one, two)
	}
	if !s.Steps[0].Done || !s.Steps[1].Done || s.Suggestion.Administrator != "boss" {
		t.Errorf("%+v", s)
	}
	users, err := b.store.System().Users(t.Context())
	if err != nil || len(users) != 1 || users[0].Name != "boss" {
		t.Fatalf("%v %+v", err, users)
	}
	done := c.must(http.StatusNoContent, "POST", "/setup/finish", nil, nil)
	if k := done.Header().Get("Set-Cookie"); !strings.HasPrefix(k, CookieName+"=") || !strings.Contains(k, "Path=/") || !strings.Contains(k, "HttpOnly") || !strings.Contains(k, "Secure") || !strings.Contains(k, "SameSite=Strict") || strings.Contains(k, "Domain") {
		t.Errorf("cookie %q", k)
	}
	if !b.store.Snapshot().Settings.SetupDone || b.wizard.Token() != "" {
		t.Error("not finished")
	}
	// For ever: token, session or not.
	for _, path := range []string{"/setup", "/setup/finish"} {
		for _, method := range []string{"GET", "POST"} {
			if a := c.do(method, path, nil, nil); a.Code != http.StatusNotFound && a.Code != http.StatusMethodNotAllowed {
				t.Errorf("%s %s after the end: %d", method, path, a.Code)
			}
		}
	}
	if a := c.do("PUT", "/setup/administrator", SetupAdministrator{Name: "evil", Password: adminPassword}, nil); a.Code != http.StatusNotFound {
		t.Errorf("second claim: %d", a.Code)
	}
	var who Session
	c.must(http.StatusOK, "GET", "/session", nil, &who)
	if who.User.Name != "boss" || who.Role != "system_admin" || who.Tenant.Domain != "pbx.example" || who.CSRFToken == "" {
		t.Errorf("%+v", who)
	}
	b.client().login("boss", otherPassword)
	b.client().must(http.StatusUnauthorized, "POST", "/login", Login{"first", adminPassword}, nil)
}

// A01: no default password opens anything.
func TestNoDefaultPassword(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.setUp()
	c := b.client()
	for _, l := range []Login{{"admin", "admin"}, {"boss", "boss"}, {"admin", ""}} {
		if a := c.do("POST", "/login", l, nil); a.Code != http.StatusUnauthorized && a.Code != http.StatusUnprocessableEntity {
			t.Errorf("%v: %d", l, a.Code)
		}
	}
}

// After a restart the wizard goes on where it stopped, with another token.
func TestWizardGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := openBox(t, dir, nil)
	c := b.client()
	c.token = b.wizard.Token()
	c.must(http.StatusOK, "PUT", "/setup/administrator", SetupAdministrator{Name: "boss", Password: adminPassword}, nil)
	c.must(http.StatusOK, "PUT", "/setup/tenant", SetupTenant{Name: "Acme", Domain: "pbx.example", ExtensionFirst: "101", ExtensionLast: "199"}, nil)
	var before []SIPCredentials
	c.must(http.StatusOK, "POST", "/setup/extensions", SetupExtensions{Count: 2}, &before)
	old := c.token
	b.shut()

	b = openBox(t, dir, nil)
	c = b.client()
	c.token = old
	c.must(http.StatusNotFound, "GET", "/setup", nil, nil)
	c.token = b.wizard.Token()
	if c.token == old {
		t.Error("the token survived the restart")
	}
	var s Setup
	c.must(http.StatusOK, "GET", "/setup", nil, &s)
	for _, step := range s.Steps {
		if !step.Done {
			t.Errorf("step %s is forgotten", step.ID)
		}
	}
	var after []SIPCredentials
	c.must(http.StatusOK, "POST", "/setup/extensions", SetupExtensions{Count: 2}, &after)
	if len(after) != 2 || after[0] != before[0] || after[1] != before[1] {
		t.Errorf("passwords changed: %v, %v", before, after)
	}
	c.must(http.StatusNoContent, "POST", "/setup/finish", nil, nil)
	b.shut()

	b = openBox(t, dir, nil)
	c = b.client()
	c.token = b.wizard.Token()
	c.must(http.StatusNotFound, "GET", "/setup", nil, nil)
	b.client().login("boss", adminPassword)
}

// A03-A09: each refusal names its rule, at the field, without the password.
func TestWeakPasswordsAreRefusedNamingTheRule(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	c := b.client()
	c.token = b.wizard.Token()
	for _, x := range []struct{ row, password, says string }{
		{"A03", "93857204!", "letter"},
		{"A04", "Kirschbaumholz", "digit"},
		{"A05", "kirschbaum7holz", "upper-case"},
		{"A06", "Kirsch4567baum", "sequen"},
		{"A07", "Kirsch7baaaum", "in a row"},
		{"A08", "Bossmann7Kirsch", "name"},
		{"A09", "Kir7bau", "8"},
		{"A09", strings.Repeat("Ki7-", 9), "32"},
	} {
		a := c.do("PUT", "/setup/administrator", SetupAdministrator{Name: "boss", Password: x.password}, nil)
		if a.Code != http.StatusUnprocessableEntity || len(a.Problem.Errors) == 0 {
			t.Errorf("%s %q: %d %s", x.row, x.password, a.Code, a.Body)
			continue
		}
		e := a.Problem.Errors[0]
		if e.Location != "body.password" || !strings.Contains(strings.ToLower(e.Message), x.says) {
			t.Errorf("%s: %+v does not say %q", x.row, e, x.says)
		}
		if strings.Contains(a.Body.String(), x.password) {
			t.Errorf("%s: the answer holds the password", x.row)
		}
	}
	if users, err := b.store.System().Users(t.Context()); err != nil || len(users) != 0 {
		t.Errorf("a refused password made a user: %v %v", users, err)
	}
	if strings.Contains(b.log.String(), "Kirsch") {
		t.Error("the log holds a password")
	}
}

func TestWizardRefusesBadInput(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	c := b.client()
	c.token = b.wizard.Token()
	c.must(http.StatusUnprocessableEntity, "PUT", "/setup/tenant", SetupTenant{Name: "A", Domain: "no good", ExtensionFirst: "101", ExtensionLast: "199"}, nil)
	a := c.must(http.StatusUnprocessableEntity, "PUT", "/setup/tenant", SetupTenant{Name: "A", Domain: "a.example", ExtensionFirst: "199", ExtensionLast: "101"}, nil)
	if a.Problem.Errors[0].Location != "body.extension_last" {
		t.Errorf("%+v", a.Problem)
	}
	c.must(http.StatusOK, "PUT", "/setup/tenant", SetupTenant{Name: "A", Domain: "a.example", ExtensionFirst: "101", ExtensionLast: "110"}, nil)
	for _, in := range []string{
		`{}`, `{"count":0}`, `{"count":11}`, `{"count":1001}`, `{"count":-1}`, `{"count":1,"extensions":[{"number":"101"}]}`,
		`{"extensions":[]}`, `{"extensions":[{"number":"999"}]}`, `{"extensions":[{"number":"1o1"}]}`, `{"extensions":[{"number":"101","sip_password":"x"}]}`,
		`{"count":1e9}`, `[1]`, `null`,
	} {
		if a := c.do("POST", "/setup/extensions", in, nil); a.Code < 400 || a.Code >= 500 {
			t.Errorf("%s: %d %s", in, a.Code, a.Body)
		}
	}
	a = c.must(http.StatusUnprocessableEntity, "POST", "/setup/extensions", `{"extensions":[{"number":"101"},{"number":"102","display_name":"\u0007"}]}`, nil)
	if a.Problem.Errors[0].Location != "body.extensions[1].display_name" {
		t.Errorf("%s", a.Body)
	}
	if n := len(b.store.Snapshot().Extensions(1)); n != 0 {
		t.Errorf("a refused list left %d extensions", n)
	}
	var made []SIPCredentials
	c.must(http.StatusOK, "POST", "/setup/extensions", `{"extensions":[{"number":"105","display_name":"Ann"},{"number":"101"}]}`, &made)
	if len(made) != 2 || made[0].Number != "105" || made[0].DisplayName != "Ann" {
		t.Errorf("%+v", made)
	}
}

// Wrong tokens count per source; they neither disarm the wizard for others nor
// shut out the right token.
func TestWrongTokensCountPerSource(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	bad := b.client()
	bad.addr, bad.token = "192.0.2.66", "guess"
	for range 50 {
		bad.must(http.StatusNotFound, "GET", "/setup", nil, nil)
	}
	if len(b.bans) != 1 || !strings.HasPrefix(b.bans[0], "192.0.2.66 ") {
		t.Errorf("bans %q", b.bans)
	}
	bad.token = ""
	for range 50 {
		bad.must(http.StatusNotFound, "GET", "/setup", nil, nil)
	}
	for _, addr := range []string{"192.0.2.66", "192.0.2.10"} {
		c := b.client()
		c.addr, c.token = addr, b.wizard.Token()
		c.must(http.StatusOK, "GET", "/setup", nil, nil)
	}
	if len(b.bans) != 1 {
		t.Errorf("bans %q", b.bans)
	}
}

func TestWizardRefusesOtherSites(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	c := b.client()
	c.token, c.header = b.wizard.Token(), map[string]string{"Sec-Fetch-Site": "cross-site"}
	c.must(http.StatusForbidden, "PUT", "/setup/administrator", SetupAdministrator{Name: "boss", Password: adminPassword}, nil)
	c.header = map[string]string{"Sec-Fetch-Site": "", "Origin": "https://192.0.2.1:9999"}
	c.must(http.StatusForbidden, "PUT", "/setup/administrator", SetupAdministrator{Name: "boss", Password: adminPassword}, nil)
}

// The name the wizard was opened by stays the portal's name.
func TestWizardRemembersItsName(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	c := b.client()
	c.token = b.wizard.Token()
	c.must(http.StatusOK, "PUT", "/setup/administrator", SetupAdministrator{Name: "boss", Password: adminPassword}, nil)
	c.must(http.StatusOK, "PUT", "/setup/tenant", SetupTenant{Name: "Acme", Domain: "sip.example", ExtensionFirst: "101", ExtensionLast: "199"}, nil)
	c.must(http.StatusOK, "POST", "/setup/extensions", SetupExtensions{Count: 1}, nil)
	r := c.request("POST", "/setup/finish", nil)
	r.Host = "Voice.firm.example:8887"
	r.Header.Set("Origin", "https://Voice.firm.example:8887")
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	if w.Code != http.StatusNoContent {
		t.Fatal(w.Code, w.Body)
	}
	if n := b.store.Snapshot().Settings.WebNames; len(n) != 1 || n[0] != "voice.firm.example" {
		t.Errorf("names %q", n)
	}
}

func TestSeedAnswersTheWizard(t *testing.T) {
	t.Parallel()
	var seed setup.Seed
	text := `{"token":"ABCDEFGHIJKLMNOPQRSTUVWXYZ","administrator":{"name":"root7","password":"` + adminPassword + `"},"tenant":{"name":"Acme","domain":"pbx.example","extension_first":"101","extension_last":"199"},"public_address":"203.0.113.7"}`
	if err := json.Unmarshal([]byte(text), &seed); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	b := openBox(t, dir, &seed)
	if err := b.wizard.ApplySeed(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b.wizard.Finished() || b.store.Snapshot().Settings.PublicAddress.String() != "203.0.113.7" {
		t.Error("half a seed finished the wizard, or was not applied")
	}
	c := b.client()
	c.token = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	var s Setup
	c.must(http.StatusOK, "GET", "/setup", nil, &s)
	if !s.Steps[0].Done || !s.Steps[1].Done || s.Steps[2].Done {
		t.Errorf("%+v", s.Steps)
	}
	b.shut()
	// The rest of the answers end it, without anybody.
	seed.ExtensionCount = 4
	b = openBox(t, dir, &seed)
	if err := b.wizard.ApplySeed(t.Context()); err != nil || !b.wizard.Finished() {
		t.Fatal(err)
	}
	if n := len(b.store.Snapshot().Extensions(1)); n != 4 {
		t.Errorf("%d extensions", n)
	}
	b.client().login("root7", adminPassword)
	if err := b.wizard.ApplySeed(t.Context()); err != nil {
		t.Errorf("a second boot: %v", err)
	}
	if strings.Contains(b.log.String(), adminPassword) {
		t.Error("the log holds the password")
	}
}
