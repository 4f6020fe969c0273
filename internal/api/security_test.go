package api

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"ringfence/internal/telephony"
)

func TestProtection(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	var have Protection
	boss.must(http.StatusOK, "GET", "/security/protection", nil, &have)
	if have.PeriodSeconds != 10 || have.WrongAnswers != 50 || have.Unanswered != 1000 || have.BanSeconds != 3600 ||
		have.Level1 != 500 || have.Level1BanSeconds != 30 || have.Level2 != 2000 || have.Level2BanSeconds != 3600 || !have.Detect {
		t.Errorf("of a new box: %+v", have)
	}
	in := have
	in.WrongAnswers, in.UserAgents, in.Level1, in.BanTools = 7, []string{"evil*scan"}, 400, true
	boss.must(http.StatusOK, "PUT", "/security/protection", in, &have)
	now := b.store.Snapshot().Settings
	if have.Trial = nil; !reflect.DeepEqual(have, in) || now.Protection.WrongAnswers != 7 || now.Limits.L1 != 400 {
		t.Errorf("changed: %+v, %+v", have, now.Limits)
	}
	for field, change := range map[string]func(*Protection){
		"period_seconds": func(p *Protection) { p.PeriodSeconds = 0 },
		"level2":         func(p *Protection) { p.Level1, p.Level2 = 600, 600 },
		"level2_ban_seconds": func(p *Protection) {
			p.Level1BanSeconds, p.Level2BanSeconds = 100, 100
		},
		"user_agents[1]":   func(p *Protection) { p.UserAgents = []string{"good one", "*a*"} },
		"session_names[0]": func(p *Protection) { p.SessionNames = []string{"x\x01yz"} },
		"names":            func(p *Protection) { p.Names = 0 },
	} {
		bad := in
		change(&bad)
		a := boss.do("PUT", "/security/protection", bad, nil)
		if a.Code != http.StatusUnprocessableEntity || len(a.Problem.Errors) == 0 || a.Problem.Errors[0].Location != "body."+field {
			t.Errorf("%s: %d %s", field, a.Code, a.Body)
		}
	}
	ann := b.user(1, "ann", telephony.RoleAdmin, "")
	for _, path := range []string{"/security/protection", "/security/bans", "/security/addresses", "/security/addresses/csv", "/security/check?address=192.0.2.1"} {
		if a := ann.do("GET", path, nil, nil); a.Code != http.StatusForbidden {
			t.Errorf("an administrator of a tenant gets %s: %d", path, a.Code)
		}
	}
}

// I03 to I08, I10, I13.
func TestAddressRules(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	var rule AddressRule
	for _, c := range []struct{ in, network, first, last string }{
		{"103.224.182.210", "103.224.182.210", "103.224.182.210", "103.224.182.210"},
		{"41.202.0.0/255.255.0.0", "41.202.0.0/16", "41.202.0.0", "41.202.255.255"},
		{" 41.203.7.9  255.255.0.0 ", "41.203.0.0/16", "41.203.0.0", "41.203.255.255"},
		{"2001:db8:1::/48", "2001:db8:1::/48", "2001:db8:1::", "2001:db8:1:ffff:ffff:ffff:ffff:ffff"},
		{"::ffff:198.51.100.9", "198.51.100.9", "198.51.100.9", "198.51.100.9"},
	} {
		boss.must(http.StatusCreated, "POST", "/security/addresses", AddressRulePut{Network: c.in, Action: "block", Note: "Lärm"}, &rule)
		if rule.Network != c.network || rule.First != c.first || rule.Last != c.last || rule.Note != "Lärm" || rule.CreatedBy != "boss" || rule.ExpiresAt != nil {
			t.Errorf("%q: %+v", c.in, rule)
		}
	}
	later := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	boss.must(http.StatusCreated, "POST", "/security/addresses", AddressRulePut{Network: "41.202.160.2", Action: "allow", ExpiresAt: &later}, &rule)
	if rule.ExpiresAt == nil || !rule.ExpiresAt.Equal(later) {
		t.Errorf("%+v", rule)
	}
	past := time.Now().Add(-time.Minute)
	for _, c := range []struct {
		in     AddressRulePut
		status int
		field  string
	}{
		{AddressRulePut{Network: "103.224.182.210.0"}, 422, "network"},
		{AddressRulePut{Network: "pbx.example"}, 422, "network"},
		{AddressRulePut{Network: "10.0.0.0/33"}, 422, "network"},
		{AddressRulePut{Network: "10.0.0.0/255.0.255.0"}, 422, "network"},
		{AddressRulePut{Network: "0.0.0.0/0"}, 422, "network"},
		{AddressRulePut{Network: "127.0.0.0/8"}, 422, "network"},
		{AddressRulePut{Network: "203.0.113.1", ExpiresAt: &past}, 422, "expires_at"},
		{AddressRulePut{Network: "10.0.0.0/24"}, 409, "network"},                // our own address
		{AddressRulePut{Network: "192.0.2.0/30", Anyway: true}, 409, "network"}, // the gateway
		{AddressRulePut{Network: "9.9.9.0/24"}, 409, "anyway"},                  // the name server
	} {
		c.in.Action = "block"
		a := boss.do("POST", "/security/addresses", c.in, nil)
		if a.Code != c.status || len(a.Problem.Errors) != 1 || a.Problem.Errors[0].Location != "body."+c.field {
			t.Errorf("%q: %d %s", c.in.Network, a.Code, a.Body)
		}
	}
	boss.must(http.StatusCreated, "POST", "/security/addresses", AddressRulePut{Network: "9.9.9.0/24", Action: "block", Anyway: true}, nil)
	var list AddressRuleList
	boss.must(http.StatusOK, "GET", "/security/addresses?search=41.202.160.2", nil, &list)
	if list.Total != 2 || len(list.Items) != 2 {
		t.Errorf("those that hold an address: %+v", list)
	}
	var check AddressCheck
	for address, want := range map[string]string{"41.202.160.2": "allowed", "41.202.160.3": "blocked", "203.0.113.77": "open", "198.51.100.7": "open", "2001:db8:1:2::3": "blocked"} {
		boss.must(http.StatusOK, "GET", "/security/check?address="+url.QueryEscape(address), nil, &check)
		if check.Verdict != want || check.Explanation == "" || check.Trusted != (address == "198.51.100.7") {
			t.Errorf("%s: %+v", address, check)
		}
	}
	boss.must(http.StatusOK, "DELETE", "/security/addresses?network="+url.QueryEscape("41.202.0.0/16"), nil, nil)
	if a := boss.do("DELETE", "/security/addresses?network="+url.QueryEscape("41.202.0.0/16"), nil, nil); a.Code != http.StatusNotFound {
		t.Errorf("again: %d", a.Code)
	}
	var audit AuditList
	boss.must(http.StatusOK, "GET", "/audit?limit=1", nil, &audit)
	if len(audit.Items) != 1 || audit.Items[0].Action != "address.delete" || audit.Items[0].Object != "41.202.0.0/16" {
		t.Errorf("%+v", audit.Items)
	}
}

// Whoever asks is not shut out by mistake.
func TestBlockingOneselfAsksBack(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	from := "192.0.2.0/24" // where the requests of tests come from
	a := boss.do("POST", "/security/addresses", AddressRulePut{Network: from, Action: "block"}, nil)
	if a.Code != http.StatusConflict {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	boss.must(http.StatusCreated, "POST", "/security/addresses", AddressRulePut{Network: from, Action: "allow"}, nil)
}

// The whole way of a thousand lines, with notes that spreadsheets take for formulas
// and CSV for syntax: what comes out goes in again and is the same, and no cell
// begins like a formula.
func TestHostileLinesComeBack(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	hostile := []string{"=HYPERLINK(\"http://evil.example\")", "+1", "-1", "@SUM(A1)", "a, \"quoted\" note", "'already quoted", "# no comment", "a; b", "=cmd|' /C calc'!A0", "plain"}
	var in strings.Builder
	w := csv.NewWriter(&in)
	for i := range 1000 {
		_ = w.Write([]string{fmt.Sprintf("11.%d.%d.0/24", i>>8, i&255), []string{"block", "allow"}[i%2], hostile[i%len(hostile)], []string{"", "2090-01-01T00:00:00Z"}[i%2]})
	}
	w.Flush()
	var added AddressImported
	boss.must(http.StatusOK, "POST", "/security/addresses/csv", AddressImport{CSV: in.String()}, &added)
	first := boss.do("GET", "/security/addresses/csv", nil, nil).Body.String()
	cells, err := csv.NewReader(strings.NewReader(first)).ReadAll()
	if err != nil || len(cells) != 1001 || added.Added != 1000 {
		t.Fatalf("%d lines, %v, %+v", len(cells), err, added)
	}
	for _, line := range cells {
		for _, cell := range line {
			if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
				t.Fatalf("a cell is a formula: %q", cell)
			}
		}
	}
	before := slices.Clone(b.store.Snapshot().Rules)
	boss.must(http.StatusOK, "POST", "/security/addresses/csv", AddressImport{CSV: first}, &added)
	if second := boss.do("GET", "/security/addresses/csv", nil, nil).Body.String(); second != first {
		t.Error("another round makes another list")
	}
	notes := map[string]int{}
	for i, r := range b.store.Snapshot().Rules {
		if r.Note != before[i].Note || r.Prefix != before[i].Prefix || r.Allow != before[i].Allow || !r.Expires.Equal(before[i].Expires) {
			t.Fatalf("line %d was %+v and is %+v", i, before[i], r)
		}
		notes[r.Note]++
	}
	for _, note := range hostile {
		if notes[note] != 100 {
			t.Errorf("%q came %d times", note, notes[note])
		}
	}
	bad := boss.do("POST", "/security/addresses/csv", AddressImport{CSV: first + "12.0.0.0/40,block,,\n"}, nil)
	if bad.Code != http.StatusUnprocessableEntity || len(bad.Problem.Errors) != 1 || !strings.HasPrefix(bad.Problem.Errors[0].Message, "line 1002: network") {
		t.Errorf("%d %s", bad.Code, bad.Body)
	}
}

func TestImportAndExport(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	text := "network,action,note,expires_at\n41.0.0.0/8,block,\"Noise, mostly\",\n203.0.113.4 , Allow\n41.5.0.0 255.255.0.0,allow,'=1+1,2090-01-01T00:00:00Z\n"
	var added AddressImported
	boss.must(http.StatusOK, "POST", "/security/addresses/csv", AddressImport{CSV: text}, &added)
	a := boss.do("GET", "/security/addresses/csv", nil, nil)
	want := "network,action,note,expires_at\n203.0.113.4,allow,,\n41.0.0.0/8,block,\"Noise, mostly\",\n41.5.0.0/16,allow,'=1+1,2090-01-01T00:00:00Z\n"
	if got := a.Body.String(); added.Added != 3 || got != want {
		t.Errorf("%d added, exported:\n%s", added.Added, got)
	}
	bad := boss.do("POST", "/security/addresses/csv", AddressImport{CSV: "1.2.3.4,block\nnobody,block\n1.2.3.5,drop\n1.2.3.6,block,,tomorrow\n"}, nil)
	if bad.Code != http.StatusUnprocessableEntity || len(bad.Problem.Errors) != 3 || !strings.HasPrefix(bad.Problem.Errors[1].Message, "line 3: action") {
		t.Errorf("%d %s", bad.Code, bad.Body)
	}
	if n := len(b.store.Snapshot().Rules); n != 3 {
		t.Errorf("a list with mistakes left %d lines, not 3", n)
	}
	var big strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&big, "11.%d.%d.%d,block,from a list\n", i>>16, i>>8&255, i&255)
	}
	b.live.asked = 0
	boss.must(http.StatusOK, "POST", "/security/addresses/csv", AddressImport{CSV: big.String()}, &added)
	if b.live.asked != 1 { // each is a question to another process
		t.Errorf("the neighbours were asked for %d times", b.live.asked)
	}
	if n := len(b.store.Snapshot().Rules); n != 2003 {
		t.Errorf("%d lines", n)
	}
}

// Whoever is logged in sees the bans of the own address, and no others; who may
// lift one is told so.
func TestOwnBans(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	ann := b.user(1, "ann", telephony.RoleStandard, "")
	ends := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	own := boss.addr
	b.live.bans = []telephony.Ban{
		{Source: netip.MustParseAddr("203.0.113.66"), Scope: telephony.BanSIP, Reason: "wrong passwords", Until: ends},
		{Source: netip.MustParseAddr(own), Scope: telephony.BanSIP, Reason: "wrong passwords", Until: ends, Evidence: telephony.Evidence{Target: "101"}},
	}
	for _, c := range []struct {
		who  *client
		lift bool
	}{{boss, true}, {ann, false}} {
		var got OwnBans
		a := c.who.must(http.StatusOK, "GET", "/session/bans", nil, &got)
		want := OwnBans{Address: own, MayLift: c.lift, Items: []OwnBan{{Source: own, Scope: "sip", Reason: "wrong passwords", Until: ends}}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
		if strings.Contains(a.Body.String(), "101") {
			t.Errorf("it tells whom else the ban is about: %s", a.Body)
		}
	}
	if a := ann.do("DELETE", "/security/bans?scope=sip&source="+own, nil, nil); a.Code != http.StatusForbidden {
		t.Errorf("a user lifts a ban: %d", a.Code)
	}
}

// S12, S13.
func TestBans(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	ban := func(a string, scope telephony.BanScope) telephony.Ban {
		return telephony.Ban{Source: netip.MustParseAddr(a), Scope: scope, Reason: "wrong passwords", Since: time.Now(), Until: time.Now().Add(time.Hour),
			Evidence: telephony.Evidence{UserAgent: "friendly", Target: "101", Count: 50}}
	}
	b.live.bans = []telephony.Ban{ban("203.0.113.66", telephony.BanSIP), ban("203.0.113.66", telephony.BanWeb), ban("2001:db8:7:8::", telephony.BanSIP)}
	var list BanList
	boss.must(http.StatusOK, "GET", "/security/bans", nil, &list)
	if list.Total != 3 || list.Items[0].Source != "203.0.113.66" || list.Items[0].UserAgent != "friendly" || list.Items[0].Count != 50 || list.Items[0].Target != "101" {
		t.Errorf("%+v", list)
	}
	var check AddressCheck
	boss.must(http.StatusOK, "GET", "/security/check?address=2001:db8:7:8::99", nil, &check)
	if check.Verdict != "banned" || len(check.Bans) != 1 {
		t.Errorf("%+v", check)
	}
	boss.must(http.StatusNoContent, "DELETE", "/security/bans?source=203.0.113.66&scope=web", nil, nil)
	if a := boss.do("DELETE", "/security/bans?source=203.0.113.66&scope=web", nil, nil); a.Code != http.StatusNotFound {
		t.Errorf("again: %d", a.Code)
	}
	var rule AddressRule
	boss.must(http.StatusCreated, "POST", "/security/bans/allow", BanAllow{Source: "203.0.113.66", Note: "branch office"}, &rule)
	boss.must(http.StatusOK, "GET", "/security/bans", nil, &list)
	if list.Total != 1 || rule.Action != "allow" || rule.Network != "203.0.113.66" || rule.Note != "branch office" {
		t.Errorf("%+v %+v", list, rule)
	}
	boss.must(http.StatusCreated, "POST", "/security/bans/allow", BanAllow{Source: "2001:db8:7:8::"}, &rule)
	if rule.Network != "2001:db8:7:8::/64" || len(b.live.bans) != 0 {
		t.Errorf("%+v %v", rule, b.live.bans)
	}
}

// C06, C07: offered in a cloud, refused everywhere else.
func TestCloudModeNeedsACloud(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	b.live.cloud = ""
	a := boss.do("PUT", "/security/filter", PortFilterPut{Mode: "cloud"}, nil)
	if a.Code != http.StatusConflict || len(a.Problem.Errors) != 1 || a.Problem.Errors[0].Location != "body.mode" || b.store.Snapshot().Settings.CloudMode {
		t.Errorf("on premises: %d %s", a.Code, a.Body)
	}
	b.live.cloud = "AWS"
	var now PortFilter
	boss.must(http.StatusOK, "PUT", "/security/filter", PortFilterPut{Mode: "cloud"}, &now)
	if now.Mode != "cloud" || now.Trial == nil || !b.store.Snapshot().Settings.CloudMode {
		t.Errorf("%+v", now)
	}
	boss.must(http.StatusNoContent, "POST", "/settings/trial/confirm", NetworkConfirm{now.Trial.ID}, nil)
	for _, typed := range []string{"", "yes", "Switch the packet filter off"} {
		a := boss.do("PUT", "/security/filter", PortFilterPut{Mode: "off", Confirmation: typed}, nil)
		if a.Code != http.StatusUnprocessableEntity || a.Problem.Errors[0].Location != "body.confirmation" || b.store.Snapshot().Settings.FilterOff {
			t.Errorf("off with %q: %d %s", typed, a.Code, a.Body)
		}
	}
	boss.must(http.StatusOK, "PUT", "/security/filter", PortFilterPut{Mode: "off", Confirmation: FilterOffPhrase}, &now)
	if now.Mode != "off" || now.Trial == nil || !b.store.Snapshot().Settings.FilterOff {
		t.Errorf("%+v", now)
	}
	boss.must(http.StatusNoContent, "POST", "/settings/trial/confirm", NetworkConfirm{now.Trial.ID}, nil)
	b.live.cloud = "" // the disk was carried out of the cloud
	a = boss.do("PUT", "/security/filter", PortFilterPut{Mode: "off", Confirmation: FilterOffPhrase}, nil)
	if a.Code != http.StatusConflict {
		t.Errorf("off on premises: %d %s", a.Code, a.Body)
	}
	now = PortFilter{}
	boss.must(http.StatusOK, "GET", "/security/filter", nil, &now)
	if now != (PortFilter{Mode: "filter", Cloud: "none"}) {
		t.Errorf("%+v", now)
	}
	boss.must(http.StatusOK, "PUT", "/security/filter", PortFilterPut{Mode: "filter"}, &now)
	if s := b.store.Snapshot().Settings; s.FilterOff || s.CloudMode {
		t.Errorf("back in filter mode: %+v", s)
	}
}
