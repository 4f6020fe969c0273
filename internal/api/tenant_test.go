package api

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"ringfence/internal/telephony"
)

func TestTenantSettings(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	var have Tenant
	boss.must(http.StatusOK, "GET", "/tenant", nil, &have)
	want := Tenant{Name: "Acme", Domain: "pbx.example", ExtensionFirst: "101", ExtensionLast: "199", Digest: "md5", MaxContacts: 10, QualifySeconds: 30, QualifyFailures: 3}
	if have != want {
		t.Errorf("of a new tenant: %+v", have)
	}
	in := TenantUpdate{Name: "Acme & Co", Digest: "both", TLSOnly: true, MaxContacts: 3, QualifyFailures: 5}
	boss.must(http.StatusOK, "PUT", "/tenant", in, &have)
	want = Tenant{Name: "Acme & Co", Domain: "pbx.example", ExtensionFirst: "101", ExtensionLast: "199", Digest: "both", TLSOnly: true, MaxContacts: 3, QualifyFailures: 5}
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
