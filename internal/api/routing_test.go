package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"ringfence/internal/telephony"
)

// trunkStates says what it is told to.
type trunkStates []telephony.TrunkState

func (s trunkStates) States(telephony.TenantID) []telephony.TrunkState { return s }

func (s trunkStates) Test(_ context.Context, tenant telephony.TenantID, id telephony.TrunkID) (telephony.TrunkTest, error) {
	if len(s) == 0 {
		return telephony.TrunkTest{}, errors.New("no line to test")
	}
	return telephony.TrunkTest{Trunk: id, Codecs: []string{"PCMA"}, Ours: netip.MustParseAddrPort("192.0.2.1:5060"), Steps: []telephony.TrunkStep{
		{Name: "dns", OK: true, Took: 3 * time.Millisecond}, {Name: "tls", Skipped: true, Detail: "UDP"}, {Name: "options", Detail: "no answer"},
	}}, nil
}

func TestTrunkIsTestedOnRequest(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	var made Trunk
	boss.must(http.StatusCreated, "POST", "/trunks", map[string]any{"name": "main", "kind": "peer", "host": "198.51.100.1"}, &made)
	path := fmt.Sprintf("/trunks/%d/test", made.ID)
	boss.must(http.StatusServiceUnavailable, "POST", path, nil, nil)
	b.cfg.TrunkStates = trunkStates{}
	boss.must(http.StatusServiceUnavailable, "POST", path, nil, nil)
	b.cfg.TrunkStates = trunkStates{{}}
	var got TrunkTest
	boss.must(http.StatusOK, "POST", path, nil, &got)
	if got.OK || len(got.Steps) != 3 || got.Steps[0].Result != "ok" || got.Steps[1].Result != "skipped" || got.Steps[2].Result != "failed" || got.Steps[0].TookMs != 3 || got.Ours != "192.0.2.1:5060" || got.Seen != "" {
		t.Errorf("%+v", got)
	}
	boss.must(http.StatusNotFound, "POST", "/trunks/99999/test", nil, nil)
}

func provider(name, did string) map[string]any {
	return map[string]any{"name": name, "kind": "register", "host": "sip.provider.example", "user": "4930", "password": "itsp-password-77", "dids": []map[string]string{{"first": did + "0", "last": did + "9"}}}
}

// TestTrunksOverTheAPI: what is left out has its default, a patch keeps what it
// does not name, and the password never comes back.
func TestTrunksOverTheAPI(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	var made Trunk
	a := boss.must(http.StatusCreated, "POST", "/trunks", provider("A", "+493012"), &made)
	if !made.Enabled || made.OptionsSeconds != 60 || made.RegisterSeconds != 600 || made.Transport != "udp" || !made.PasswordSet || a.Header().Get("ETag") == "" || strings.Contains(a.Body.String(), "itsp-") {
		t.Errorf("%s", a.Body)
	}
	path := "/trunks/" + itoa(made.ID)
	var patched Trunk
	boss.must(http.StatusOK, "PATCH", path, map[string]any{"max_calls": 8, "options_seconds": 0, "caps": map[string]any{"money_day": 12.5}}, &patched)
	if patched.MaxCalls != 8 || patched.OptionsSeconds != 0 || patched.Caps.MoneyDay != 12.5 || patched.Host != "sip.provider.example" || len(patched.DIDs) != 1 || !patched.PasswordSet {
		t.Errorf("after a patch: %+v", patched)
	}
	boss.must(http.StatusOK, "PATCH", path, map[string]any{"caps": map[string]any{"minutes_day": 60}, "headers": []map[string]any{{"name": "X-A", "value": "b"}}}, &patched)
	if patched.Caps.MoneyDay != 12.5 || patched.Caps.MinutesDay != 60 || len(patched.Headers) != 1 {
		t.Errorf("a patch inside: %+v", patched)
	}
	var replaced Trunk
	boss.must(http.StatusOK, "PUT", path, map[string]any{"name": "B", "kind": "peer", "host": "192.0.2.7"}, &replaced)
	if replaced.MaxCalls != 0 || len(replaced.Headers) != 0 || len(replaced.DIDs) != 0 || replaced.OptionsSeconds != 60 || !replaced.PasswordSet {
		t.Errorf("replaced: %+v", replaced)
	}
	if got, _ := b.store.Snapshot().Trunk(1, telephony.TrunkID(made.ID)); got.Password != "itsp-password-77" {
		t.Error("the password did not stay")
	}
	for field, change := range map[string]map[string]any{
		"body.host":                   {"host": "127.0.0.1"},
		"body.outbound_proxy":         {"outbound_proxy": "[::1]:5060"},
		"body.peers[0]":               {"peers": []string{"0.0.0.0/0"}},
		"body.peers[1]":               {"peers": []string{"192.0.2.1", "x"}},
		"body.headers[0].name":        {"headers": []map[string]any{{"name": "Via", "value": "x"}}},
		"body.dids[0].first":          {"dids": []map[string]any{{"first": "030"}}},
		"body.register_seconds":       {"register_seconds": 1},
		"body.caps.calls_per_minute":  {"caps": map[string]any{"calls_per_minute": -1}},
		"body.kind":                   {"kind": "isdn"},
		"body.unknown":                {"unknown": 1},
		"body.headers[0].value":       {"headers": []map[string]any{{"name": "X-A", "value": "a\r\nb"}}},
		"body.outbound_proxy (local)": {"outbound_proxy": "169.254.169.254"},
	} {
		a := boss.do("PATCH", path, change, nil)
		if want, _, _ := strings.Cut(field, " "); a.Code != http.StatusUnprocessableEntity || !strings.Contains(a.Body.String(), want) {
			t.Errorf("%s: %d %s", field, a.Code, a.Body)
		}
	}
}

// TestChangesOfWhatWasChangedAreRefused: If-Match of an older state is 412, for
// every resource that people edit.
func TestChangesOfWhatWasChangedAreRefused(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	var trunk Trunk
	boss.must(http.StatusCreated, "POST", "/trunks", provider("A", "+493012"), &trunk)
	boss.must(http.StatusCreated, "POST", "/hours", map[string]any{"name": "Office"}, nil)
	var out OutboundRule
	boss.must(http.StatusCreated, "POST", "/outbound-rules", map[string]any{"name": "All", "routes": []map[string]any{{"trunk": trunk.ID}}}, &out)
	var in InboundRule
	boss.must(http.StatusCreated, "POST", "/inbound-rules", map[string]any{"name": "Main", "open": map[string]any{"kind": "busy"}}, &in)
	for path, change := range map[string]map[string]any{
		"/trunks/" + itoa(trunk.ID):       {"max_calls": 3},
		"/outbound-rules/" + itoa(out.ID): {"priority": 3},
		"/inbound-rules/" + itoa(in.ID):   {"priority": 3},
		"/hours/Office":                   {"week": [][]map[string]int{{}, {{"from": 480, "to": 960}}, {}, {}, {}, {}, {}}},
		"/numbering":                      {"area_code": "30"},
	} {
		tag := boss.must(http.StatusOK, "GET", path, nil, nil).Header().Get("ETag")
		if tag == "" {
			t.Errorf("%s has no ETag", path)
		}
		c := *boss
		c.header = map[string]string{"If-Match": tag}
		c.must(http.StatusOK, "PATCH", path, change, nil)
		if a := c.do("PATCH", path, change, nil); a.Code != http.StatusPreconditionFailed {
			t.Errorf("%s with an old tag: %d %s", path, a.Code, a.Body)
		}
		if path != "/numbering" {
			if a := c.do("DELETE", path, nil, nil); a.Code != http.StatusPreconditionFailed {
				t.Errorf("deleting %s with an old tag: %d %s", path, a.Code, a.Body)
			}
		}
	}
	a := boss.do("DELETE", "/trunks/"+itoa(trunk.ID), nil, nil)
	if a.Code != http.StatusConflict || !strings.Contains(a.Body.String(), "outgoing rule All") {
		t.Errorf("a trunk in use: %d %s", a.Code, a.Body)
	}
	boss.must(http.StatusNoContent, "DELETE", "/outbound-rules/"+itoa(out.ID), nil, nil)
	boss.must(http.StatusNoContent, "DELETE", "/trunks/"+itoa(trunk.ID), nil, nil)
}

// TestNumbersOfOthersAreRefusedWithoutSayingWhose covers both ways to add one.
func TestNumbersOfOthersAreRefusedWithoutSayingWhose(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	var other TenantEntry
	boss.must(http.StatusCreated, "POST", "/tenants", map[string]any{"name": "Rival Ltd", "domain": "rival.example", "extension_first": "100", "extension_last": "199", "time_zone": "UTC"}, &other)
	theirs := *boss
	theirs.header = map[string]string{"Ringfence-Tenant": itoa(other.ID)}
	theirs.must(http.StatusCreated, "POST", "/trunks", provider("A", "+493012"), nil)
	a := boss.do("POST", "/trunks", provider("A", "+493012"), nil)
	if a.Code != http.StatusConflict || strings.Contains(a.Body.String(), "ival") || !strings.Contains(a.Body.String(), "body.dids[0]") {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	var mine Trunk
	boss.must(http.StatusCreated, "POST", "/trunks", provider("A", "+494012"), &mine)
	a = boss.do("POST", "/dids", map[string]any{"first": "+4930125", "trunk": mine.ID}, nil)
	if a.Code != http.StatusConflict || strings.Contains(a.Body.String(), "ival") || !strings.Contains(a.Body.String(), "body.first") {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	boss.must(http.StatusCreated, "POST", "/dids", map[string]any{"first": "+4930130", "last": "+4930139", "trunk": mine.ID}, nil)
	boss.must(http.StatusCreated, "POST", "/inbound-rules", map[string]any{"name": "Main", "dids": []map[string]any{{"first": "+4930135"}}, "open": map[string]any{"kind": "busy"}}, nil)
	var list DIDList
	boss.must(http.StatusOK, "GET", "/dids?limit=1", nil, &list)
	if len(list.Items) != 1 || list.Items[0].First != "+4930130" || list.Items[0].RuleName != "Main" || list.Next == "" {
		t.Errorf("%+v", list)
	}
	boss.must(http.StatusNoContent, "DELETE", "/dids?trunk="+itoa(mine.ID)+"&first=%2B4930130", nil, nil)
	boss.must(http.StatusNotFound, "DELETE", "/dids?trunk="+itoa(mine.ID)+"&first=%2B4930130", nil, nil)
}

// TestRatesAsCSV: what is exported comes back the same, nothing in it is a formula
// to a spreadsheet, and a bad file changes nothing and names its lines.
func TestRatesAsCSV(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	var trunk Trunk
	boss.must(http.StatusCreated, "POST", "/trunks", provider("A", "+493012"), &trunk)
	path := "/trunks/" + itoa(trunk.ID) + "/rates"
	boss.must(http.StatusOK, "PUT", path, map[string]any{"items": []map[string]any{{"prefix": "49", "name": "=HYPERLINK(1)", "minute": 0.009, "first_seconds": 60, "next_seconds": 1}, {"prefix": "882", "minute": 4.5, "connect": 1}}}, nil)
	text := boss.must(http.StatusOK, "GET", path+"/csv", nil, nil).Body.String()
	if !strings.Contains(text, "'=HYPERLINK(1)") {
		t.Errorf("a formula: %s", text)
	}
	before := b.store.Snapshot().Trunks(1)[0].Rates
	var done RateImported
	boss.must(http.StatusOK, "PUT", path, map[string]any{"items": []map[string]any{}}, nil)
	boss.must(http.StatusOK, "POST", path+"/csv", map[string]any{"csv": text, "dry_run": true}, &done)
	if done.Applied || done.Rates != 2 || len(b.store.Snapshot().Trunks(1)[0].Rates) != 0 {
		t.Errorf("a dry run: %+v", done)
	}
	boss.must(http.StatusOK, "POST", path+"/csv", map[string]any{"csv": text}, &done)
	after := b.store.Snapshot().Trunks(1)[0].Rates
	if len(after) != 2 || after[0] != before[0] || after[1] != before[1] || after[0].Minute != 9000 || after[0].First != time.Minute {
		t.Errorf("came back as %+v", after)
	}
	a := boss.do("POST", path+"/csv", map[string]any{"csv": "prefix;name;connect;minute\n49;Germany;0;0,012\n49;again;0;1\nx;;;\n43;;;a"}, nil)
	if a.Code != http.StatusUnprocessableEntity || !strings.Contains(a.Body.String(), "line 3: prefix is there twice") || !strings.Contains(a.Body.String(), "line 4: prefix") || !strings.Contains(a.Body.String(), "line 5: minute") {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	boss.must(http.StatusOK, "POST", path+"/csv", map[string]any{"csv": "+49;Germany;0;0,012\n"}, nil)
	if after := b.store.Snapshot().Trunks(1)[0].Rates; len(after) != 1 || after[0].Minute != 12000 {
		t.Errorf("with semicolons: %+v", after)
	}
}

func TestHoursSayWhatTheySayNow(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	all := make([][]map[string]int, 7)
	for i := range all {
		all[i] = []map[string]int{{"from": 0, "to": 1440}}
	}
	boss.must(http.StatusCreated, "POST", "/hours", map[string]any{"name": "Always open", "week": all}, nil)
	boss.must(http.StatusCreated, "POST", "/hours", map[string]any{"name": "Zero"}, nil)
	var list HoursList
	boss.must(http.StatusOK, "GET", "/hours", nil, &list)
	if len(list.Items) != 2 || list.Items[0].State != "open" || list.Items[1].State != "closed" || list.Items[0].NextChange != nil {
		t.Errorf("%+v", list)
	}
	today := time.Now().UTC()
	boss.must(http.StatusOK, "PATCH", "/hours/Always%20open", map[string]any{"holidays": []map[string]any{{"name": "Today", "month": int(today.Month()), "day": today.Day()}, {"name": "Tomorrow", "month": int(today.AddDate(0, 0, 1).Month()), "day": today.AddDate(0, 0, 1).Day()}}}, nil)
	boss.must(http.StatusOK, "GET", "/hours", nil, &list)
	if h := list.Items[0]; h.State != "holiday" || h.NextState != "open" || h.NextChange == nil || h.Holiday != "Today" && h.Holiday != "Tomorrow" {
		t.Errorf("%+v", h)
	}
	a := boss.do("PATCH", "/hours/Zero", map[string]any{"week": [][]map[string]int{{}, {{"from": 600, "to": 500}}}}, nil)
	if a.Code != http.StatusUnprocessableEntity || !strings.Contains(a.Body.String(), "body.week[1]") {
		t.Errorf("%d %s", a.Code, a.Body)
	}
}

// TestNumberingKeepsWhatIsNotNamed: also the country, which is the organisation's.
func TestNumberingKeepsWhatIsNotNamed(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	var n Numbering
	boss.must(http.StatusOK, "PATCH", "/numbering", map[string]any{"country": "DE", "area_code": "30", "outside": "0", "allowed": []string{"49", "43"}}, &n)
	boss.must(http.StatusOK, "PATCH", "/numbering", map[string]any{"night": "on"}, &n)
	if n.Country != "DE" || n.AreaCode != "30" || len(n.Allowed) != 2 || n.Night != "on" {
		t.Errorf("%+v", n)
	}
	if v, _ := b.store.Snapshot().Tenant(1); v.Country != "DE" {
		t.Errorf("tenant: %+v", v)
	}
	a := boss.do("PATCH", "/numbering", map[string]any{"emergency_routes": []map[string]any{{"trunk": 99}}}, nil)
	if a.Code != http.StatusUnprocessableEntity || !strings.Contains(a.Body.String(), "body.emergency_routes[0].trunk") {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	boss.must(http.StatusCreated, "POST", "/blocked-callers", map[string]any{"caller": "+4990*", "note": "noise"}, nil)
	var blocked BlockedCallerList
	boss.must(http.StatusOK, "GET", "/blocked-callers", nil, &blocked)
	if len(blocked.Items) != 1 {
		t.Errorf("%+v", blocked)
	}
	boss.must(http.StatusNoContent, "DELETE", "/blocked-callers?caller=%2B4990%2A", nil, nil)
}

// TestRoutingFollowsPermissions: who may see to rules does not see trunks.
func TestRoutingFollowsPermissions(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	boss.must(http.StatusCreated, "POST", "/roles", map[string]any{"name": "rule_keeper", "permissions": []string{"rules.manage"}, "classes": []string{}}, nil)
	kim := b.user(1, "kim", "rule_keeper", "")
	for path, want := range map[string]int{"/outbound-rules": 200, "/inbound-rules": 200, "/hours": 200, "/numbering": 200, "/trunks": 403, "/dids": 403, "/trunks/states": 403} {
		if a := kim.do("GET", path, nil, nil); a.Code != want {
			t.Errorf("%s: %d, want %d", path, a.Code, want)
		}
	}
	kim.must(http.StatusForbidden, "POST", "/trunks", provider("A", "+493012"), nil)
}

func TestTrunkStatesAreWhatIsKnown(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	var up, off Trunk
	boss.must(http.StatusCreated, "POST", "/trunks", provider("A", "+493012"), &up)
	boss.must(http.StatusCreated, "POST", "/trunks", map[string]any{"name": "B", "kind": "peer", "host": "192.0.2.1", "enabled": false}, &off)
	var list TrunkStateList
	boss.must(http.StatusOK, "GET", "/trunks/states", nil, &list)
	if len(list.Items) != 2 || list.Items[0].Condition != "unknown" || list.Items[1].Condition != "off" {
		t.Errorf("%+v", list)
	}
	b.cfg.TrunkStates = trunkStates{{Trunk: telephony.TrunkID(up.ID), Condition: telephony.TrunkRefused, Since: time.Now(), Reason: "403 Forbidden", Calls: 2}}
	boss.must(http.StatusOK, "GET", "/trunks/states", nil, &list)
	if v := list.Items[0]; v.Condition != "refused" || v.Reason != "403 Forbidden" || v.Calls != 2 || v.Since == nil {
		t.Errorf("%+v", v)
	}
}

func TestDirectoryOverTheAPI(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	ann := b.user(1, "ann", telephony.RoleStandard, "")
	var c Contact
	for _, name := range []string{"Zoe Z", "Adam A", "Mia M"} {
		boss.must(http.StatusCreated, "POST", "/directory", map[string]any{"name": name, "numbers": []string{"+49301"}}, &c)
	}
	var names []string
	for after := ""; ; {
		var list ContactList
		ann.must(http.StatusOK, "GET", "/directory?limit=2&after="+strings.ReplaceAll(after, " ", "%20"), nil, &list)
		for _, v := range list.Items {
			names = append(names, v.Name)
		}
		if after = list.Next; after == "" {
			break
		}
	}
	if strings.Join(names, ",") != "Adam A,Mia M,Zoe Z" {
		t.Errorf("%q", names)
	}
	ann.must(http.StatusForbidden, "POST", "/directory", map[string]any{"name": "x", "numbers": []string{"1"}}, nil)
	boss.must(http.StatusOK, "PUT", "/directory/"+itoa(c.ID), map[string]any{"name": "Mia N", "numbers": []string{"1"}}, nil)
	boss.must(http.StatusNoContent, "DELETE", "/directory/"+itoa(c.ID), nil, nil)
	boss.must(http.StatusNotFound, "DELETE", "/directory/"+itoa(c.ID), nil, nil)
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
