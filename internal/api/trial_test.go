package api

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// lowered is a Protection whose first level is lower than the standard one.
func lowered(c *client) Protection {
	var p Protection
	c.must(http.StatusOK, "GET", "/security/protection", nil, &p)
	p.Level1 /= 2
	return p
}

func TestSettingsTrial(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	var p Protection
	boss.must(http.StatusOK, "PUT", "/security/protection?confirm_seconds=90", lowered(boss), &p)
	trial := p.Trial
	if trial == nil || trial.ID == "" || trial.SecondsLeft != 90 || trial.Where != "https://192.0.2.1:8887" || trial.By != "boss" || !slices.Equal(trial.Changes, []string{"limits"}) {
		t.Fatalf("%+v", trial)
	}
	var now SettingsTrialState
	boss.must(http.StatusOK, "GET", "/settings/trial", nil, &now)
	if now.Pending == nil || now.Pending.ID != trial.ID {
		t.Errorf("%+v", now)
	}
	var status Status
	boss.must(http.StatusOK, "GET", "/status", nil, &status)
	if status.Trial == nil || status.Trial.Pending.ID != trial.ID {
		t.Errorf("status: %+v", status.Trial)
	}
	// The same again is refused, something else is not.
	a := boss.do("PUT", "/security/protection", lowered(boss), nil)
	if a.Code != http.StatusConflict || !strings.Contains(a.Problem.Detail, "limits") {
		t.Errorf("the same again: %d %s", a.Code, a.Body)
	}
	boss.must(http.StatusCreated, "POST", "/transports", TransportCreate{Side: "core", Protocol: "tls"}, nil)
	// Whoever knows the id confirms, and nobody else; only an administrator of
	// the box takes back.
	stranger := b.client()
	if a := stranger.do("POST", "/settings/trial/confirm", NetworkConfirm{"guess"}, nil); a.Code != http.StatusConflict {
		t.Errorf("confirmed by a guess: %d", a.Code)
	}
	if a := stranger.do("POST", "/settings/trial/revert", nil, nil); a.Code != http.StatusUnauthorized {
		t.Errorf("taken back by a stranger: %d", a.Code)
	}
	foreign := b.client()
	foreign.header = map[string]string{"Sec-Fetch-Site": "same-site", "Origin": "https://192.0.2.1:9443"}
	if a := foreign.do("POST", "/settings/trial/confirm", NetworkConfirm{trial.ID}, nil); a.Code != http.StatusForbidden {
		t.Errorf("confirmed by the page of another origin: %d", a.Code)
	}
	boss.must(http.StatusNoContent, "POST", "/settings/trial/revert", nil, nil)
	if l := b.store.Snapshot().Settings.Limits; l != telephony.DefaultPacketLimits() {
		t.Errorf("after it was taken back: %+v", l)
	}
	if _, on := b.transport(ports.SIPTLS); !on {
		t.Error("the transport went with it")
	}
	boss.must(http.StatusOK, "PUT", "/security/protection", lowered(boss), &p)
	stranger.must(http.StatusNoContent, "POST", "/settings/trial/confirm", NetworkConfirm{p.Trial.ID}, nil)
	if a := boss.do("POST", "/settings/trial/revert", nil, nil); a.Code != http.StatusConflict {
		t.Errorf("taken back after it was kept: %d", a.Code)
	}
	var log AuditList
	boss.must(http.StatusOK, "GET", "/audit", nil, &log)
	var kinds []string
	for _, e := range log.Items[:5] {
		kinds = append(kinds, e.Action)
	}
	if want := []string{"settings.keep", "settings.try", "settings.take_back", "settings.put", "settings.try"}; !slices.Equal(kinds, want) {
		t.Errorf("audit log: %q, want %q", kinds, want)
	}
	for _, seconds := range []string{"9", "601"} {
		if a := boss.do("PUT", "/security/protection?confirm_seconds="+seconds, lowered(boss), nil); a.Code != http.StatusUnprocessableEntity {
			t.Errorf("%s s to confirm: %d", seconds, a.Code)
		}
	}
}

// Who is asked back and does so anyway is not shut out for good.
func TestBlockingOneselfIsATrial(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	var rule AddressRule
	block := AddressRulePut{Network: "192.0.2.8/29", Action: "block", Anyway: true}
	boss.must(http.StatusCreated, "POST", "/security/addresses", block, &rule)
	if rule.Trial == nil || !slices.Equal(rule.Trial.Changes, []string{"192.0.2.8/29"}) {
		t.Fatalf("%+v", rule.Trial)
	}
	var gone AddressRemoved
	if a := boss.do("DELETE", "/security/addresses?network="+url.QueryEscape("192.0.2.8/29"), nil, nil); a.Code != http.StatusConflict {
		t.Errorf("what is tried is deleted: %d", a.Code)
	}
	boss.must(http.StatusNoContent, "POST", "/settings/trial/revert", nil, nil)
	if rules := b.store.Snapshot().Rules; len(rules) != 0 {
		t.Errorf("still there: %+v", rules)
	}
	// An exception for oneself makes it harmless; to take that away does not.
	boss.must(http.StatusCreated, "POST", "/security/addresses", AddressRulePut{Network: boss.addr, Action: "allow"}, &rule)
	rule = AddressRule{}
	boss.must(http.StatusCreated, "POST", "/security/addresses", block, &rule)
	if rule.Trial != nil {
		t.Errorf("a block with an exception for oneself waits: %+v", rule.Trial)
	}
	boss.must(http.StatusOK, "DELETE", "/security/addresses?network="+boss.addr, nil, &gone)
	if gone.Trial == nil || !slices.Equal(gone.Trial.Changes, []string{boss.addr + "/32"}) {
		t.Errorf("%+v", gone.Trial)
	}
	boss.must(http.StatusNoContent, "POST", "/settings/trial/revert", nil, nil)
	var done AddressImported
	boss.must(http.StatusOK, "POST", "/security/addresses/csv", AddressImport{CSV: boss.addr + ",block\n198.51.100.0/24,block", Anyway: true}, &done)
	if done.Trial == nil || len(done.Trial.Changes) != 2 {
		t.Errorf("%+v", done.Trial)
	}
}

func TestWhatCutsOff(t *testing.T) {
	t.Parallel()
	me := netip.MustParseAddr("192.0.2.10")
	on, off := true, false
	override := func(o ports.Override) func(*telephony.Snapshot) {
		return func(s *telephony.Snapshot) { s.Settings.Ports = putOverride(s.Settings.Ports, o) }
	}
	rule := func(network string, allow bool) func(*telephony.Snapshot) {
		return func(s *telephony.Snapshot) {
			s.Rules = append(slices.Clone(s.Rules), telephony.AddressRule{Prefix: netip.MustParsePrefix(network), Allow: allow})
		}
	}
	for what, x := range map[string]struct {
		before, change func(*telephony.Snapshot)
		want           bool
	}{
		"portal moves":          {nil, override(ports.Override{ID: ports.Portal, First: 9443}), true},
		"portal for few":        {nil, override(ports.Override{ID: ports.Portal, Sources: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}), true},
		"portal for a zone":     {nil, override(ports.Override{ID: ports.Portal, Zones: []ports.Zone{ports.Voice}}), true},
		"SIP for few":           {nil, override(ports.Override{ID: ports.SIPUDP, Sources: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}), false},
		"SIP moves":             {nil, override(ports.Override{ID: ports.SIPUDP, First: 5080}), false},
		"SIP ends":              {override(ports.Override{ID: ports.SIPTLS, Enabled: &on}), override(ports.Override{ID: ports.SIPUDP, Enabled: &off}), false},
		"shell opens":           {nil, override(ports.Override{ID: ports.SSH, Enabled: &on}), false},
		"shell closes":          {override(ports.Override{ID: ports.SSH, Enabled: &on}), override(ports.Override{ID: ports.SSH, Enabled: &off}), true},
		"cloud mode":            {nil, func(s *telephony.Snapshot) { s.Settings.CloudMode = true }, true},
		"level 1 lower":         {nil, func(s *telephony.Snapshot) { s.Settings.Limits.L1 = 499 }, true},
		"level 2 lower":         {nil, func(s *telephony.Snapshot) { s.Settings.Limits.L2 = 1999 }, true},
		"levels higher":         {nil, func(s *telephony.Snapshot) { s.Settings.Limits.L1, s.Settings.Limits.L2 = 600, 3000 }, false},
		"own network blocked":   {nil, rule("192.0.2.0/24", false), true},
		"other network blocked": {nil, rule("198.51.100.0/24", false), false},
		"blocked but allowed":   {rule("192.0.2.10/32", true), rule("192.0.2.0/24", false), false},
		"blocked as before":     {rule("192.0.2.0/24", false), rule("192.0.2.0/25", false), false},
		"nothing":               {nil, func(*telephony.Snapshot) {}, false},
	} {
		before := telephony.NewSnapshot(1, telephony.DefaultSettings(), nil, nil)
		if x.before != nil {
			x.before(before)
		}
		after := *before
		x.change(&after)
		if got := cutsOff(before, &after, me); got != x.want {
			t.Errorf("%s: %v", what, got)
		}
	}
}

// putOverride returns the overrides with o in place of that of the same row.
func putOverride(list []ports.Override, o ports.Override) []ports.Override {
	return ports.Change(list, o.ID, func(old *ports.Override) { *old = o })
}
