package api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"ringfence/internal/b2bua"
	"ringfence/internal/opsock"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

func TestDryRunSaysWhatWouldBecomeOfACall(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	var p DialPlan
	boss.must(http.StatusOK, "POST", "/dialplan/try", DialTry{Extension: "101", Number: "102"}, &p)
	if p.Outcome != "extension" || p.Extension != "102" || p.Class != "internal" || len(p.Steps) == 0 || p.Verdict == "" {
		t.Errorf("%+v", p)
	}
	p = DialPlan{}
	boss.must(http.StatusOK, "POST", "/dialplan/try", DialTry{Extension: "101", Number: "+43 1 234567"}, &p)
	if p.Outcome != "refused" || p.RefusalCode != 403 || p.Class != "international" || p.Country != "AT" || p.Number != "+431234567" {
		t.Errorf("%+v", p)
	}
	for field, q := range map[string]DialTry{
		"extension": {Number: "102"}, "trunk": {Trunk: 7, Number: "102"}, "number": {Extension: "101"},
	} {
		if a := boss.do("POST", "/dialplan/try", q, nil); a.Code != http.StatusUnprocessableEntity || !strings.Contains(a.Body.String(), "body."+field) {
			t.Errorf("%s: %d %s", field, a.Code, a.Body)
		}
	}
	boss.must(http.StatusUnprocessableEntity, "POST", "/dialplan/try", DialTry{Extension: "101", Trunk: 1, Number: "102"}, nil)
	boss.must(http.StatusUnprocessableEntity, "POST", "/dialplan/try", DialTry{Extension: "999", Number: "102"}, nil)
	b.user(1, "ann", telephony.RoleStandard, "101").must(http.StatusForbidden, "POST", "/dialplan/try", DialTry{Extension: "101", Number: "102"}, nil)
}

func TestCountriesAreListed(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	var list CountryList
	b.setUp().must(http.StatusOK, "GET", "/dialplan/countries", nil, &list)
	found := false
	for _, c := range list.Items {
		found = found || c.ISO == "DE" && c.Codes[0] == "49" && c.Planned && c.National == "0" && strings.Join(c.Emergency, " ") == "110 112"
	}
	if len(list.Items) < 200 || !found {
		t.Errorf("%d countries, Germany among them: %v", len(list.Items), found)
	}
}

func TestOperatorTriesTheDialplan(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.setUp()
	call := b.operatorSocket(t)
	var out opsock.DialPlan
	if err := call("POST", opsock.PathDialplanTry, opsock.DialTry{From: "101", Number: "102", At: "2026-12-24 18:00"}, &out); err != nil || !strings.Contains(out.Text, "rings extension 102") {
		t.Errorf("%v %s", err, out.Text)
	}
	for what, q := range map[string]opsock.DialTry{
		"-tenant": {Tenant: "nobody.example", From: "101", Number: "102"}, "no trunk": {From: "101", Number: "102", Trunk: "none"},
		"the time must look like": {From: "101", Number: "102", At: "noon"}, "extension: is not there": {From: "7", Number: "102"},
	} {
		if err := call("POST", opsock.PathDialplanTry, q, &out); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestDryRunOverATrunk: what is kept in the store is what the dry run sees, and
// the INVITE is the one that calls would send.
func TestDryRunOverATrunk(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	var trunk telephony.Trunk
	_, err := b.store.ForTenant(1).Update(t.Context(), telephony.Actor{Kind: telephony.ActorSystem}, func(tx *store.Tx) (err error) {
		trunk, err = tx.CreateTrunk(telephony.Trunk{
			Name: "main", Kind: telephony.TrunkPeer, Enabled: true, Host: "sip.provider.example", Transport: telephony.TrunkUDP, Media: telephony.SecurityOffer, DTMF: telephony.DTMFAuto,
			Format: telephony.FormatPlus, CallerID: "+49301000", Identity: telephony.IdentityPAI, DialledIn: "uri", RegisterInterval: time.Minute,
			Rates: []telephony.Rate{{Prefix: "43", Minute: 60_000}},
		})
		if err != nil {
			return err
		}
		if _, err := tx.CreateOutboundRule(telephony.OutboundRule{Name: "all", Enabled: true, Priority: 10, Order: telephony.OrderListed, Routes: []telephony.Route{{Trunk: trunk.ID}}}); err != nil {
			return err
		}
		return tx.PutRoutingSettings(telephony.Routing{
			Plan: telephony.NumberingPlan{Outside: "0", Allowed: []string{"43"}, Emergency: []telephony.EmergencyNumber{{Number: "112", Name: "fire"}}}, Currency: "EUR", Night: telephony.NightAuto,
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	b.user(1, "ann", telephony.RoleAdmin, "101") // 101 dials what its user may
	b.cfg.Preview = b2bua.Preview
	var p DialPlan
	boss.must(http.StatusOK, "POST", "/dialplan/try", DialTry{Extension: "101", Number: "+43 1 234567"}, &p)
	if p.Outcome != "outside" || len(p.Attempts) != 1 {
		t.Fatalf("%+v", p)
	}
	a := p.Attempts[0]
	if a.TrunkName != "main" || a.URI != "sip:+431234567@sip.provider.example" || a.MinutePrice == nil || *a.MinutePrice != 60_000 {
		t.Errorf("%+v", a)
	}
	if h := a.Headers; len(h) != 3 || h[0].Name != "From" || !strings.Contains(h[0].Value, "+49301000") || h[2].Name != "P-Asserted-Identity" {
		t.Errorf("%+v", h)
	}
	p = DialPlan{}
	boss.must(http.StatusOK, "POST", "/dialplan/try", DialTry{Extension: "102", Number: "0112", Down: []int64{int64(trunk.ID)}}, &p)
	if !p.Emergency || p.EmergencyName != "fire" || len(p.Attempts) != 1 {
		t.Errorf("%+v", p)
	}
	p = DialPlan{}
	boss.must(http.StatusOK, "POST", "/dialplan/try", DialTry{Trunk: int64(trunk.ID), Number: "+49301000"}, &p)
	if p.RefusalCode != 404 || p.Caller != "" {
		t.Errorf("%+v", p)
	}
}
