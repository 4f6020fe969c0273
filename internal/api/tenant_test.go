package api

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"ringfence/internal/telephony"
)

func TestTenantSettings(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	rules := CallRules{MediaSecurity: "offer", SessionTimers: "accept", SessionExpiresSeconds: 1800, SessionMinSeconds: 90, DeadMediaSeconds: 600, Tones: "ITU", MusicOnHold: "pbx"}
	var have Tenant
	boss.must(http.StatusOK, "GET", "/tenant", nil, &have)
	want := Tenant{Name: "Acme", Domain: "pbx.example", ExtensionFirst: "101", ExtensionLast: "199", Digest: "md5", MaxContacts: 10, QualifySeconds: 30, QualifyFailures: 3, Calls: rules, TimeZone: "UTC"}
	if have != want {
		t.Errorf("of a new tenant: %+v", have)
	}
	in := TenantUpdate{Name: "Acme & Co", Digest: "both", TLSOnly: true, MaxContacts: 3, QualifyFailures: 5}
	boss.must(http.StatusOK, "PUT", "/tenant", in, &have)
	want = Tenant{Name: "Acme & Co", Domain: "pbx.example", ExtensionFirst: "101", ExtensionLast: "199", Digest: "both", TLSOnly: true, MaxContacts: 3, QualifyFailures: 5, Calls: rules, TimeZone: "UTC"}
	if have != want {
		t.Errorf("after the change: %+v", have)
	}
	if kept, _ := b.store.Snapshot().Tenant(1); kept.Registration != (telephony.Registration{Digest: telephony.DigestBoth, TLSOnly: true, MaxContacts: 3, QualifyFailures: 5}) {
		t.Errorf("kept: %+v", kept)
	}
	for field, bad := range map[string]TenantUpdate{
		"body.qualify_seconds":  {Name: "A", Digest: "md5", MaxContacts: 3, QualifyFailures: 5, QualifySeconds: 14},
		"body.max_contacts":     {Name: "A", Digest: "md5", MaxContacts: 51, QualifyFailures: 5},
		"body.digest":           {Name: "A", Digest: "sha512", MaxContacts: 5, QualifyFailures: 5},
		"body.qualify_failures": {Name: "A", Digest: "md5", MaxContacts: 5},
	} {
		a := boss.do("PUT", "/tenant", bad, nil)
		if a.Code != http.StatusUnprocessableEntity || len(a.Problem.Errors) != 1 || a.Problem.Errors[0].Location != field {
			t.Errorf("%s: %d %s", field, a.Code, a.Body)
		}
	}
	if a := b.user(1, "ann", telephony.RoleStandard, "101").do("PUT", "/tenant", in, nil); a.Code != http.StatusForbidden {
		t.Errorf("a standard user: %d", a.Code)
	}
}

// TestCallRules: they are changed as a whole or kept, new extensions take the
// media security, and a refusal names the field of the form.
func TestCallRules(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	want := CallRules{MediaSecurity: "require-256", SessionTimers: "require", SessionExpiresSeconds: 600, SessionMinSeconds: 120, DeadMediaSeconds: 0, Tones: "DE", MusicOnHold: "phone"}
	in := TenantUpdate{Name: "Acme", Digest: "md5", MaxContacts: 3, QualifyFailures: 5, Calls: &want}
	var have Tenant
	boss.must(http.StatusOK, "PUT", "/tenant", in, &have)
	if have.Calls != want {
		t.Errorf("%+v", have.Calls)
	}
	in.Calls = nil
	boss.must(http.StatusOK, "PUT", "/tenant", in, &have)
	if have.Calls != want {
		t.Errorf("left out: %+v", have.Calls)
	}
	for field, change := range map[string]func(*CallRules){
		"body.calls.media_security":          func(r *CallRules) { r.MediaSecurity = "srtp" },
		"body.calls.session_timers":          func(r *CallRules) { r.SessionTimers = "" },
		"body.calls.session_expires_seconds": func(r *CallRules) { r.SessionExpiresSeconds = 119 },
		"body.calls.session_min_seconds":     func(r *CallRules) { r.SessionMinSeconds = 89 },
		"body.calls.dead_media_seconds":      func(r *CallRules) { r.DeadMediaSeconds = 29 },
		"body.calls.tones":                   func(r *CallRules) { r.Tones = "xx" },
		"body.calls.music_on_hold":           func(r *CallRules) { r.MusicOnHold = "off" },
	} {
		bad := want
		change(&bad)
		in.Calls = &bad
		a := boss.do("PUT", "/tenant", in, nil)
		if a.Code != http.StatusUnprocessableEntity || len(a.Problem.Errors) != 1 || a.Problem.Errors[0].Location != field {
			t.Errorf("%s: %d %s", field, a.Code, a.Body)
		}
	}
	var e Extension
	boss.must(http.StatusCreated, "POST", "/extensions", ExtensionCreate{Number: "150"}, nil)
	boss.must(http.StatusOK, "GET", "/extensions/150", nil, &e)
	if e.MediaSecurity != "require-256" || e.DTMF != "auto" {
		t.Errorf("of a new extension: %+v", e)
	}
	boss.must(http.StatusOK, "PUT", "/extensions/150", ExtensionUpdate{NoAnswerSeconds: 30, MediaSecurity: "off", DTMF: "inband"}, &e)
	boss.must(http.StatusOK, "PUT", "/extensions/150", ExtensionUpdate{NoAnswerSeconds: 31}, &e)
	if e.MediaSecurity != "off" || e.DTMF != "inband" || e.NoAnswerSeconds != 31 {
		t.Errorf("left out: %+v", e)
	}
	a := boss.do("PUT", "/extensions/150", ExtensionUpdate{NoAnswerSeconds: 31, MediaSecurity: "require-128"}, nil)
	if a.Code != http.StatusUnprocessableEntity || a.Problem.Errors[0].Location != "body.media_security" {
		t.Errorf("%d %s", a.Code, a.Body)
	}
}

// The API's list of countries is typed by hand.
func TestTonesAreThoseOfTheDomain(t *testing.T) {
	t.Parallel()
	f, _ := reflect.TypeFor[CallRules]().FieldByName("Tones")
	if got := strings.Split(f.Tag.Get("enum"), ","); !slices.Equal(got, telephony.ToneCountries()) {
		t.Errorf("%v, want %v", got, telephony.ToneCountries())
	}
}

func TestWebPhoneCredentialsEndWithTheSession(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	if a := boss.do("POST", "/web-phone/credentials", nil, nil); a.Code != http.StatusConflict {
		t.Errorf("a user without extension: %d %s", a.Code, a.Body)
	}
	ann := b.user(1, "ann", telephony.RoleStandard, "102")
	var got WebPhoneCredentials
	ann.must(http.StatusOK, "POST", "/web-phone/credentials", nil, &got)
	if got.Number != "102" || got.URI != "sip:102@pbx.example" || got.AuthUser != "web.102" || got.Password != "made-up" || got.ExpiresAt.Before(time.Now()) {
		t.Errorf("%+v", got)
	}
	cookie := ann.cookie
	var s Session
	ann.must(http.StatusOK, "PUT", "/session/password", PasswordChange{otherPassword, adminPassword}, &s)
	changed := ann.cookie
	ann.csrf = s.CSRFToken
	ann.must(http.StatusNoContent, "DELETE", "/session", nil, nil)
	want := []string{"issue sip:102@pbx.example " + cookie, "revoke " + cookie, "revoke all sip:102@pbx.example", "revoke " + changed}
	if !slices.Equal(b.webPhones.log, want) {
		t.Errorf("%q, want %q", b.webPhones.log, want)
	}
}
