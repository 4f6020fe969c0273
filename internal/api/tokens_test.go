package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/telephony"
)

// bearer is a program with a token and nothing else.
func (b *box) bearer(secret string) *client {
	c := b.client()
	c.header = map[string]string{"Authorization": "Bearer " + secret, "Sec-Fetch-Site": "", "Origin": ""}
	return c
}

// makeToken makes a token and returns the program that has it.
func (c *client) makeToken(in TokenInput) *client {
	c.b.t.Helper()
	var out NewToken
	c.must(http.StatusCreated, "POST", "/tokens", in, &out)
	return c.b.bearer(out.Secret)
}

func TestTokensOverTheAPI(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	ann := b.user(1, "ann", telephony.RoleAdmin, "101")
	program := ann.makeToken(TokenInput{Name: "sync"})
	program.must(http.StatusCreated, "POST", "/extensions", ExtensionCreate{Number: "150", NoAnswerSeconds: 30}, nil)
	var log struct{ Items []AuditEntry }
	boss.must(http.StatusOK, "GET", "/audit", nil, &log)
	if log.Items[0].Actor != "ann/sync" || log.Items[0].Kind != "token" {
		t.Errorf("in the audit log: %+v", log.Items[0])
	}
	reading := ann.makeToken(TokenInput{Name: "reading", ReadOnly: true})
	reading.must(http.StatusOK, "GET", "/extensions", nil, nil)
	reading.must(http.StatusForbidden, "DELETE", "/extensions/150", nil, nil)
	narrow := ann.makeToken(TokenInput{Name: "narrow", Permissions: []string{"audit.read"}})
	narrow.must(http.StatusOK, "GET", "/audit", nil, nil)
	narrow.must(http.StatusForbidden, "PUT", "/tenant", nil, nil)
	elsewhere := ann.makeToken(TokenInput{Name: "elsewhere", Sources: []string{"203.0.113.0/24"}})
	elsewhere.must(http.StatusUnauthorized, "GET", "/extensions", nil, nil)
	elsewhere.addr = "203.0.113.7"
	elsewhere.must(http.StatusOK, "GET", "/extensions", nil, nil)
	// A page of another site cannot use it either.
	program.header["Sec-Fetch-Site"] = "cross-site"
	program.must(http.StatusForbidden, "GET", "/extensions", nil, nil)
	program.header["Sec-Fetch-Site"] = ""
	// With less of a role the token has less.
	var list TokenList
	ann.must(http.StatusOK, "GET", "/tokens", nil, &list)
	if len(list.Items) != 4 || list.Items[0].UsedAt == nil || list.Items[0].UsedFrom != "192.0.2.10" || strings.Contains(program.header["Authorization"], list.Items[0].Name) {
		t.Errorf("%+v", list)
	}
	u, _, err := b.store.UserByName(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	role := string(telephony.RoleStandard)
	boss.must(http.StatusNoContent, "DELETE", "/users/"+strconv.FormatInt(u.ID, 10)+"/sessions", nil, nil)
	program.must(http.StatusOK, "GET", "/extensions", nil, nil) // tokens are no sessions
	boss.must(http.StatusOK, "PATCH", "/users/"+strconv.FormatInt(u.ID, 10), UserPatch{Role: &role}, nil)
	program.must(http.StatusForbidden, "GET", "/audit", nil, nil)
	ann = b.client().login("ann", otherPassword)
	boss.must(http.StatusNotFound, "DELETE", "/tokens/"+strconv.FormatInt(list.Items[0].ID, 10), nil, nil)
	ann.must(http.StatusNoContent, "DELETE", "/tokens/"+strconv.FormatInt(list.Items[0].ID, 10), nil, nil)
	program.must(http.StatusUnauthorized, "GET", "/session/bans", nil, nil)
	for where, in := range map[string]TokenInput{
		"body.sources": {Name: "x", Sources: []string{"all"}}, "body.permissions": {Name: "x", Permissions: []string{"all"}},
		"body.expires_at": {Name: "x", ExpiresAt: &time.Time{}}, "body.name": {Name: "\x00"},
	} {
		a := ann.must(http.StatusUnprocessableEntity, "POST", "/tokens", in, nil)
		if a.Problem.Errors[0].Location != where {
			t.Errorf("%s: %s", where, a.Body)
		}
	}
}

func TestRequestsOfOneTokenAreBounded(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	b.rates = newRates(5)
	program := boss.makeToken(TokenInput{Name: "busy"})
	other := boss.makeToken(TokenInput{Name: "other"})
	for range 5 {
		program.must(http.StatusOK, "GET", "/status", nil, nil)
	}
	a := program.must(http.StatusTooManyRequests, "GET", "/status", nil, nil)
	if n, err := strconv.Atoi(a.Header().Get("Retry-After")); err != nil || n < 1 || n > 12 {
		t.Errorf("Retry-After %q", a.Header().Get("Retry-After"))
	}
	other.must(http.StatusOK, "GET", "/status", nil, nil)
}

func TestRates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRates(60)
		key := [32]byte{1}
		for i := range 60 {
			if wait := r.take(key, time.Now()); wait != 0 {
				t.Fatalf("request %d waits %v", i+1, wait)
			}
		}
		if wait := r.take(key, time.Now()); wait != time.Second {
			t.Errorf("one too many waits %v", wait)
		}
		time.Sleep(10 * time.Second)
		for i := range 11 {
			if wait := r.take(key, time.Now()); (wait != 0) != (i == 10) {
				t.Errorf("after 10 s, request %d: %v", i+1, wait)
			}
		}
		for i := range maxRated + 10 {
			r.take([32]byte{2, byte(i), byte(i >> 8), byte(i >> 16)}, time.Now())
		}
		if len(r.spent) > maxRated {
			t.Errorf("%d are counted", len(r.spent))
		}
	})
}

func TestInvitesOverTheAPI(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	told := make(chan string, 1)
	b.cfg.Invited = func(_ context.Context, u telephony.User, url string, _ time.Time) { told <- u.Name + " " + url }
	boss := b.setUp()
	var made UserCreated
	boss.must(http.StatusCreated, "POST", "/users", UserCreate{UserInput: UserInput{Name: "zoe", Role: "standard"}, Invite: true}, &made)
	if made.Invite == nil || made.Password != "" || made.User.MustChangePassword {
		t.Fatalf("%+v", made)
	}
	if got := <-told; got != "zoe "+made.Invite.URL {
		t.Errorf("told %q", got)
	}
	base, secret, ok := strings.Cut(made.Invite.URL, "#")
	if !ok || base != "https://192.0.2.1:8887/invite" {
		t.Fatalf("link %s", made.Invite.URL)
	}
	b.client().must(http.StatusUnauthorized, "POST", "/login", Login{"zoe", otherPassword}, nil)
	c := b.client()
	c.cookie = "planted-by-an-attacker"
	var who Invited
	c.must(http.StatusOK, "POST", "/invite/read", InviteSecret{secret}, &who)
	if who.Name != "zoe" || who.Passwords.Min != 8 {
		t.Errorf("%+v", who)
	}
	a := c.must(http.StatusUnprocessableEntity, "POST", "/invite", InviteAnswer{InviteSecret{secret}, "weak"}, nil)
	if a.Problem.Errors[0].Location != "body.password" {
		t.Errorf("%s", a.Body)
	}
	var s Session
	c.must(http.StatusOK, "POST", "/invite", InviteAnswer{InviteSecret{secret}, otherPassword}, &s)
	if c.cookie == "planted-by-an-attacker" || s.User.Name != "zoe" || s.MustChangePassword {
		t.Errorf("%+v", s)
	}
	c.must(http.StatusNotFound, "POST", "/invite", InviteAnswer{InviteSecret{secret}, otherPassword}, nil)
	c.must(http.StatusNotFound, "POST", "/invite/read", InviteSecret{"x"}, nil)
	var again Invite
	boss.must(http.StatusCreated, "POST", "/users/"+strconv.FormatInt(made.User.ID, 10)+"/invite", nil, &again)
	b.client().login("zoe", otherPassword) // the password of before holds until then
	boss.must(http.StatusUnprocessableEntity, "POST", "/users", UserCreate{UserInput: UserInput{Name: "yan", Role: "standard"}, Invite: true, Password: otherPassword}, nil)
}
