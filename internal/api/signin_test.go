package api

import (
	"net/http"
	"strings"
	"testing"

	"ringfence/internal/telephony"
)

// A16: the tenant's policy, edited over the API, judges the next password.
func TestPasswordPolicyOverTheAPI(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	ann := b.user(1, "ann", telephony.RoleAdmin, "101")
	var v SignIn
	ann.must(http.StatusOK, "GET", "/sign-in", nil, &v)
	if want := (PasswordPolicy{"rules", 8, 32, true, true, true, true, true, true}); v.Passwords != want {
		t.Errorf("as shipped: %+v", v)
	}
	const weak = "kvb mqz" // 7 characters, no digit
	change := PasswordChange{otherPassword, weak}
	a := ann.must(http.StatusUnprocessableEntity, "PUT", "/session/password", change, nil)
	if len(a.Problem.Errors) != 1 || a.Problem.Errors[0].Location != "body.new" {
		t.Errorf("%s", a.Body)
	}
	v.Passwords.Min, v.Passwords.Digit = 7, false
	ann.must(http.StatusOK, "PUT", "/sign-in", v, &v)
	var mine PasswordPolicy
	ann.must(http.StatusOK, "GET", "/session/password-policy", nil, &mine)
	if mine.Min != 7 || mine.Digit || mine != v.Passwords {
		t.Errorf("own policy: %+v", mine)
	}
	var s Session
	ann.must(http.StatusOK, "PUT", "/session/password", change, &s)
	ann.csrf = s.CSRFToken
	// The administrator of the box has another policy.
	boss.must(http.StatusUnprocessableEntity, "PUT", "/session/password", PasswordChange{adminPassword, weak}, nil)
	boss.must(http.StatusOK, "GET", "/session/password-policy", nil, &mine)
	if mine.Min != 8 {
		t.Errorf("policy of the box: %+v", mine)
	}
	boss.must(http.StatusOK, "PUT", "/box/sign-in", SignIn{Passwords: PasswordPolicy{Mode: "nist", Min: 15, Max: 128, Letter: true, NoAccount: true}, SecondFactor: "optional"}, &v)
	if v.Passwords.Letter {
		t.Error("NIST mode keeps a rule on what a password is made of")
	}
	a = boss.must(http.StatusUnprocessableEntity, "PUT", "/session/password", PasswordChange{adminPassword, "Kv7#mQzp-river"}, nil)
	if !strings.Contains(a.Body.String(), "fewer than 15") {
		t.Errorf("%s", a.Body)
	}
	boss.must(http.StatusOK, "PUT", "/session/password", PasswordChange{adminPassword, "wolkig und heiter"}, nil)
	ann.must(http.StatusForbidden, "GET", "/box/sign-in", nil, nil)
}

func TestBadPasswordPoliciesAreRefusedNamingTheField(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	for where, p := range map[string]PasswordPolicy{
		"body.passwords.min":  {Mode: "nist", Min: 14, Max: 64},
		"body.passwords.max":  {Mode: "rules", Min: 12, Max: 11},
		"body.passwords.mode": {Mode: "none", Min: 12, Max: 20},
	} {
		for _, path := range []string{"/sign-in", "/box/sign-in"} {
			a := boss.must(http.StatusUnprocessableEntity, "PUT", path, SignIn{Passwords: p, SecondFactor: "optional"}, nil)
			if len(a.Problem.Errors) != 1 || a.Problem.Errors[0].Location != where {
				t.Errorf("%s, %+v: %s", path, p, a.Body)
			}
		}
	}
}
