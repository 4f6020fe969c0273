package api

import (
	"encoding/base32"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
	"ringfence/internal/totp"
)

// enrol sets up an authenticator app over the API; code gives its codes, off
// by steps.
func (c *client) enrol(password string) (code func(off int64) string, recovery []string) {
	c.b.t.Helper()
	var e TOTPEnrolment
	c.must(http.StatusOK, "POST", "/session/second-factor/totp", PasswordAgain{password}, &e)
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(e.Secret)
	if err != nil || !strings.HasPrefix(e.URI, "otpauth://totp/") || !strings.HasPrefix(e.QR, "data:image/png;base64,") {
		c.b.t.Fatalf("%+v, %v", e, err)
	}
	code = func(off int64) string { return totp.Code(secret, totp.StepAt(time.Now())+off) }
	var out RecoveryCodes
	// One step back, so that the others are left to open with.
	c.must(http.StatusOK, "PUT", "/session/second-factor/totp", CodeInput{code(-1)}, &out)
	return code, out.Codes
}

// halfLoggedIn is an administrator who has shown the password alone.
func (b *box) halfLoggedIn() *client {
	b.t.Helper()
	b.user(1, "halfway", telephony.RoleAdmin, "").enrol(otherPassword)
	c := b.client()
	var s Session
	c.must(http.StatusOK, "POST", "/login", Login{"halfway", otherPassword}, &s)
	if c.csrf = s.CSRFToken; !s.SecondFactorOwed {
		b.t.Fatal("no second factor is asked for")
	}
	return c
}

// mustEnrol is an administrator of a tenant of its own that asks for a second
// factor, who has none.
func (b *box) mustEnrol() *client {
	b.t.Helper()
	var id telephony.TenantID
	_, err := b.store.System().Update(b.t.Context(), telephony.Actor{}, func(tx *store.Tx) (err error) {
		if id, err = tx.CreateTenant(telephony.Tenant{Name: "Strict", Domain: "strict.example", ExtensionFirst: "301", ExtensionLast: "399"}); err != nil {
			return err
		}
		in, err := tx.ForTenant(id)
		if err != nil {
			return err
		}
		v := telephony.DefaultSignIn()
		v.SecondFactor = telephony.SecondFactorEverybody
		return in.PutSignIn(v)
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return b.user(id, "owing", telephony.RoleAdmin, "")
}

func TestSecondFactorOverTheAPI(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.setUp()
	ann := b.user(1, "ann", telephony.RoleStandard, "101")
	a := ann.must(http.StatusForbidden, "POST", "/session/second-factor/totp", PasswordAgain{"wrong-password-1"}, nil)
	if len(a.Problem.Errors) != 1 || a.Problem.Errors[0].Location != "body.password" {
		t.Errorf("%s", a.Body)
	}
	code, recovery := ann.enrol(otherPassword)
	ann.must(http.StatusConflict, "POST", "/session/second-factor/totp", PasswordAgain{otherPassword}, nil)

	c := b.client()
	var s Session
	c.must(http.StatusOK, "POST", "/login", Login{"ann", otherPassword}, &s)
	if !s.SecondFactorOwed || s.User.Extension != "" || s.Tenant.Domain != "" || len(s.Permissions) != 0 {
		t.Errorf("with the password alone: %+v", s)
	}
	c.csrf = s.CSRFToken
	half := *c
	a = c.must(http.StatusForbidden, "POST", "/session/second-factor", CodeInput{"000000"}, nil)
	if len(a.Problem.Errors) != 1 || a.Problem.Errors[0].Location != "body.code" {
		t.Errorf("%s", a.Body)
	}
	c.must(http.StatusOK, "POST", "/session/second-factor", CodeInput{code(0)}, &s)
	if s.SecondFactorOwed || s.User.Extension != "101" || c.cookie == half.cookie || s.CSRFToken == half.csrf {
		t.Errorf("a session that was half is not a new one: %+v", s)
	}
	c.csrf = s.CSRFToken
	half.must(http.StatusUnauthorized, "GET", "/session", nil, nil)
	c.must(http.StatusConflict, "POST", "/session/second-factor", CodeInput{code(1)}, nil)
	var f OwnFactor
	c.must(http.StatusOK, "GET", "/session/second-factor", nil, &f)
	if want := (OwnFactor{On: true, RecoveryCodes: 10}); f != want {
		t.Errorf("%+v", f)
	}
	var fresh RecoveryCodes
	c.must(http.StatusOK, "POST", "/session/second-factor/recovery-codes", PasswordAgain{otherPassword}, &fresh)
	d := b.client()
	d.must(http.StatusOK, "POST", "/login", Login{"ann", otherPassword}, &s)
	d.csrf = s.CSRFToken
	d.must(http.StatusForbidden, "POST", "/session/second-factor", CodeInput{recovery[0]}, nil)
	d.must(http.StatusOK, "POST", "/session/second-factor", CodeInput{fresh.Codes[0]}, nil)
	c.must(http.StatusNoContent, "POST", "/session/second-factor/disable", PasswordAgain{otherPassword}, nil)
	b.client().must(http.StatusOK, "POST", "/login", Login{"ann", otherPassword}, &s)
	if s.SecondFactorOwed {
		t.Error("asked for after it was taken off")
	}
}

// A required second factor can be set up with nothing but a log-in, and an
// administrator can take it off again (L05).
func TestRequiredSecondFactorOverTheAPI(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	c := b.mustEnrol()
	var s Session
	c.must(http.StatusOK, "GET", "/session", nil, &s)
	if !s.MustSetUpSecondFactor {
		t.Error("the session does not say so")
	}
	c.must(http.StatusForbidden, "GET", "/extensions", nil, nil)
	c.enrol(otherPassword)
	c.must(http.StatusOK, "GET", "/extensions", nil, nil)
	u, _, err := b.store.UserByName(t.Context(), "owing")
	if err != nil {
		t.Fatal(err)
	}
	boss.header = map[string]string{tenantHeader: "2"}
	boss.must(http.StatusNoContent, "DELETE", "/users/"+strconv.FormatInt(u.ID, 10)+"/second-factor", nil, nil)
	c.must(http.StatusUnauthorized, "GET", "/session", nil, nil)
	b.client().must(http.StatusOK, "POST", "/login", Login{"owing", otherPassword}, &s)
	if s.SecondFactorOwed || !s.MustSetUpSecondFactor {
		t.Errorf("after the reset: %+v", s)
	}
}

func TestSessionsOverTheAPI(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	ann := b.user(1, "ann", telephony.RoleStandard, "101")
	phone := b.client()
	phone.header = map[string]string{"User-Agent": "Phone/1"}
	phone.login("ann", otherPassword)
	third := b.client().login("ann", otherPassword)
	var list PersonSessions
	ann.must(http.StatusOK, "GET", "/sessions", nil, &list)
	id, own := "", 0
	for _, v := range list.Items {
		if v.Browser == "Phone/1" {
			id = v.ID
		}
		if v.Own {
			own++
		}
	}
	if len(list.Items) != 3 || id == "" || own != 1 || list.Items[0].Address != "192.0.2.10" {
		t.Fatalf("%+v", list)
	}
	boss.must(http.StatusNotFound, "DELETE", "/sessions/"+id, nil, nil)
	ann.must(http.StatusNoContent, "DELETE", "/sessions/"+id, nil, nil)
	ann.must(http.StatusNotFound, "DELETE", "/sessions/"+id, nil, nil)
	phone.must(http.StatusUnauthorized, "GET", "/session", nil, nil)
	ann.must(http.StatusNoContent, "DELETE", "/sessions", nil, nil)
	third.must(http.StatusUnauthorized, "GET", "/session", nil, nil)
	u, _, err := b.store.UserByName(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	path := "/users/" + strconv.FormatInt(u.ID, 10) + "/sessions"
	boss.must(http.StatusOK, "GET", path, nil, &list)
	if len(list.Items) != 1 || list.Items[0].Own {
		t.Errorf("%+v", list)
	}
	ann.must(http.StatusForbidden, "GET", path, nil, nil)
	boss.must(http.StatusNoContent, "DELETE", path, nil, nil)
	ann.must(http.StatusUnauthorized, "GET", "/session", nil, nil)
}
