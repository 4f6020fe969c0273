package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"ringfence/internal/opsock"
	"ringfence/internal/telephony"
)

// TestConfigurationAsCode: export, plan, apply, and back again.
func TestConfigurationAsCode(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	first := b.store.Snapshot().Rev
	sealed := boss.must(http.StatusOK, "GET", "/configuration?secrets=sealed", nil, nil).Body.String()
	if err := b.store.KeepRevision(t.Context(), first, []byte(sealed)); err != nil {
		t.Fatal(err)
	}
	a := boss.must(http.StatusOK, "GET", "/configuration", nil, nil)
	text := a.Body.String()
	if a.Header().Get("Content-Type") != yamlType || strings.Contains(text, "sip_password") || !strings.Contains(text, "domain: pbx.example") {
		t.Fatalf("%v\n%s", a.Header(), text)
	}
	var plan ConfigurationPlan
	boss.must(http.StatusOK, "POST", "/configuration/plan", ConfigurationText{YAML: text}, &plan)
	if len(plan.Changes) != 0 {
		t.Errorf("the document of the box itself changes %+v", plan.Changes)
	}
	other := strings.Replace(text, `- number: "102"`, "- number: \"102\"\n        display_name: Front desk", 1)
	boss.must(http.StatusOK, "POST", "/configuration/plan", ConfigurationText{YAML: other}, &plan)
	if len(plan.Changes) != 1 || plan.Changes[0].Verb != "change" || plan.Changes[0].Object != "tenants[pbx.example].extensions[102]" || plan.Changes[0].Line == 0 ||
		fmt.Sprint(plan.Changes[0].Fields) != "[{display_name  Front desk}]" {
		t.Errorf("%+v in\n%s", plan, other)
	}
	if b.store.Snapshot().Rev != first {
		t.Error("a plan changed something")
	}
	boss.must(http.StatusOK, "POST", "/configuration/apply", ConfigurationText{YAML: other}, &plan)
	if e, _ := b.store.Snapshot().Extension(1, "102"); e.DisplayName != "Front desk" || plan.Rev != b.store.Snapshot().Rev || plan.Trial != nil {
		t.Errorf("%+v %+v", e, plan)
	}
	var list ConfigurationHistory
	boss.must(http.StatusOK, "GET", "/configuration/history", nil, &list)
	if len(list.Items) == 0 || list.Items[0].Rev != first || list.Items[0].Actor == "" {
		t.Errorf("%+v", list)
	}
	at := fmt.Sprintf("/configuration/history/%d", first)
	boss.must(http.StatusOK, "GET", at+"/plan", nil, &plan)
	if len(plan.Changes) != 1 {
		t.Errorf("%+v", plan)
	}
	if kept := boss.must(http.StatusOK, "GET", at, nil, nil).Body.String(); kept != sealed {
		t.Error("the kept document is another one")
	}
	boss.must(http.StatusOK, "POST", at+"/restore", nil, &plan)
	if e, _ := b.store.Snapshot().Extension(1, "102"); e.DisplayName == "Front desk" {
		t.Errorf("it did not return: %+v", e)
	}
	boss.must(http.StatusNotFound, "POST", "/configuration/history/77777/restore", nil, nil)
}

// TestConfigurationThatCutsOffWaits to be confirmed, as the same change in the
// portal does.
func TestConfigurationThatCutsOffWaits(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	var plan ConfigurationPlan
	boss.must(http.StatusOK, "POST", "/configuration/apply?confirm_seconds=20", ConfigurationText{YAML: "version: 1\nbox:\n  addresses:\n    - prefix: 192.0.2.0/24\n"}, &plan)
	if plan.Trial == nil || plan.Trial.SecondsLeft != 20 {
		t.Fatalf("blocking one's own network: %+v", plan)
	}
	if a := boss.do("POST", "/configuration/apply", ConfigurationText{YAML: "version: 1\nbox:\n  addresses: []\n"}, nil); a.Code != http.StatusConflict {
		t.Errorf("another change while it waits: %d %s", a.Code, a.Body)
	}
}

// TestBadConfigurationIsRefused naming line and field; administrators of an
// organisation may not ask.
func TestBadConfigurationIsRefused(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	before := b.store.Snapshot().Rev
	for text, want := range map[string]string{
		"version: 1\nbox:\n  settings:\n    session_idle: 1s\n": "body.yaml:4|box.settings.session_idle: must",
		"version: 1\ntenants: []\n":                             "body.yaml|tenants: does not name pbx.example",
		"version: 1\nnothing: 1\n":                              `body.yaml:2|has no field "nothing"`,
		"version: 1\nbox:\n  administrators: []\n":              "body.yaml:3|box.administrators[boss]",
		"version: 1\nbox:\n  administrators:\n    - {name: eve, role: system_admin, password_hash: x}": "body.yaml:4|box.administrators[eve].password_hash",
	} {
		for _, path := range []string{"/configuration/apply", "/configuration/plan"} {
			a := boss.do("POST", path, ConfigurationText{YAML: text}, nil)
			if path == "/configuration/plan" && a.Code == http.StatusOK {
				continue // what the store refuses, a plan does not know
			}
			if a.Code != http.StatusUnprocessableEntity || len(a.Problem.Errors) != 1 || !strings.HasPrefix(a.Problem.Errors[0].Location+"|"+a.Problem.Errors[0].Message, want) {
				t.Errorf("%s of %s: %d %s", path, text, a.Code, a.Body)
			}
		}
	}
	if b.store.Snapshot().Rev != before {
		t.Error("a document that was refused changed something")
	}
	ann := b.user(1, "ann", telephony.RoleAdmin, "")
	for _, path := range []string{"GET /configuration", "POST /configuration/apply", "GET /configuration/history"} {
		method, path, _ := strings.Cut(path, " ")
		ann.must(http.StatusForbidden, method, path, nil, nil)
	}
}

// TestOperatorAppliesADocument over the local socket; the history names him.
func TestOperatorAppliesADocument(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.setUp()
	ask := func(method, path string, in, out any) int {
		t.Helper()
		body, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		b.OperatorHandler().ServeHTTP(w, httptest.NewRequest(method, path, bytes.NewReader(body)))
		if err := json.Unmarshal(w.Body.Bytes(), out); err != nil {
			t.Fatalf("%v: %s", err, w.Body)
		}
		return w.Code
	}
	var c opsock.Configuration
	var p opsock.ConfigurationPlan
	ask("GET", opsock.PathConfiguration, nil, &c)
	c.YAML = strings.Replace(c.YAML, `- number: "103"`, "- number: \"103\"\n        display_name: Gate\n      - number: \"150\"", 1)
	if code := ask("POST", opsock.PathPlan, c, &p); code != http.StatusOK || p.Changes != 2 || !strings.Contains(p.Text, "~ tenants[pbx.example].extensions[103]") || !strings.Contains(p.Text, "    display_name:  -> Gate\n") || !strings.Contains(p.Text, "+ tenants[pbx.example].extensions[150]") {
		t.Errorf("%d %+v", code, p)
	}
	if _, there := b.store.Snapshot().Extension(1, "150"); there {
		t.Error("a plan changed something")
	}
	if code := ask("POST", opsock.PathApply, c, &p); code != http.StatusOK || p.Rev != b.store.Snapshot().Rev {
		t.Errorf("%d %+v", code, p)
	}
	if e, there := b.store.Snapshot().Extension(1, "150"); !there || e.HA1 == "" {
		t.Errorf("%+v", e)
	}
	var refused opsock.Error
	c.YAML += "nonsense: 1\n"
	if code := ask("POST", opsock.PathApply, c, &refused); code != http.StatusConflict || !strings.Contains(refused.Message, `has no field "nonsense"`) {
		t.Errorf("%d %+v", code, refused)
	}
}
