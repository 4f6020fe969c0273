package api

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"ringfence/internal/events"
	"ringfence/internal/telephony"
)

// A fixated cookie is worth nothing: log-in always makes a new one.
func TestLoginMakesANewSession(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	victim := &client{b: b, addr: "192.0.2.10", cookie: "planted-by-an-attacker"}
	victim.login("boss", adminPassword)
	if victim.cookie == "planted-by-an-attacker" || victim.cookie == boss.cookie || len(victim.cookie) < 40 {
		t.Errorf("cookie %q", victim.cookie)
	}
	again := &client{b: b, addr: "192.0.2.10", cookie: victim.cookie}
	again.login("boss", adminPassword)
	if again.cookie == victim.cookie {
		t.Error("a second log-in kept the first one's session")
	}
	fixed := &client{b: b, addr: "192.0.2.10", cookie: "planted-by-an-attacker"}
	fixed.must(http.StatusUnauthorized, "GET", "/session", nil, nil)
}

func TestLogout(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	kept := *boss
	a := boss.must(http.StatusNoContent, "DELETE", "/session", nil, nil)
	if k := a.Header().Get("Set-Cookie"); !strings.Contains(k, "Max-Age=0") {
		t.Errorf("cookie %q", k)
	}
	kept.must(http.StatusUnauthorized, "GET", "/session", nil, nil)
}

// A10: the current password is needed, and other sessions end.
func TestPasswordChange(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	elsewhere := b.client().login("boss", adminPassword)
	a := boss.must(http.StatusForbidden, "PUT", "/session/password", PasswordChange{"Falsch mit 3 Kirschen", otherPassword}, nil)
	if a.Problem.Errors[0].Location != "body.current" {
		t.Errorf("%s", a.Body)
	}
	a = boss.must(http.StatusUnprocessableEntity, "PUT", "/session/password", PasswordChange{adminPassword, "weak"}, nil)
	if a.Problem.Errors[0].Location != "body.new" {
		t.Errorf("%s", a.Body)
	}
	old := *boss
	var s Session
	boss.must(http.StatusOK, "PUT", "/session/password", PasswordChange{adminPassword, otherPassword}, &s)
	boss.csrf = s.CSRFToken
	boss.must(http.StatusOK, "GET", "/status", nil, nil)
	old.must(http.StatusUnauthorized, "GET", "/session", nil, nil)
	elsewhere.must(http.StatusUnauthorized, "GET", "/session", nil, nil)
	b.client().must(http.StatusUnauthorized, "POST", "/login", Login{"boss", adminPassword}, nil)
	b.client().login("boss", otherPassword)
}

// A02: with a password to be changed only that can be done.
func TestForcedPasswordChange(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.setUp()
	c := b.mustChange()
	var s Session
	c.must(http.StatusOK, "GET", "/session", nil, &s)
	if !s.MustChangePassword {
		t.Error("the session does not say so")
	}
	c.must(http.StatusForbidden, "GET", "/extensions", nil, nil)
	c.must(http.StatusForbidden, "GET", "/cdrs", nil, nil)
	c.must(http.StatusOK, "PUT", "/session/password", PasswordChange{otherPassword, adminPassword}, &s)
	c.csrf = s.CSRFToken
	c.must(http.StatusOK, "GET", "/extensions", nil, nil)
}

// L01, L02: the sixth failure meets a wall, told with a time; the packet
// filter is asked to take over for that address and the web alone.
func TestLockOut(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.setUp()
	sub := b.bus.Subscribe(16)
	defer sub.Close()
	bad := b.client()
	bad.addr = "192.0.2.66"
	for range 5 {
		bad.must(http.StatusUnauthorized, "POST", "/login", Login{"boss", "Falsch mit 3 Kirschen"}, nil)
	}
	a := bad.must(http.StatusTooManyRequests, "POST", "/login", Login{"boss", adminPassword}, nil)
	if wait, err := strconv.Atoi(a.Header().Get("Retry-After")); err != nil || wait < 3500 || wait > 3600 {
		t.Errorf("Retry-After %q", a.Header().Get("Retry-After"))
	}
	select {
	case e := <-sub.C:
		ban, ok := e.(events.AddressBanned)
		if !ok || ban.Scope != telephony.BanWeb || ban.Addr.String() != "192.0.2.66" || time.Until(ban.Until) < 59*time.Minute {
			t.Errorf("%+v", e)
		}
	case <-time.After(5 * time.Second):
		t.Error("nobody was told")
	}
}

// Wrong password and unknown name get the same answer.
func TestUnknownUsersLookLikeWrongPasswords(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.setUp()
	one := b.client().must(http.StatusUnauthorized, "POST", "/login", Login{"boss", "Falsch mit 3 Kirschen"}, nil)
	two := b.client().must(http.StatusUnauthorized, "POST", "/login", Login{"nobody", "Falsch mit 3 Kirschen"}, nil)
	if one.Body.String() != two.Body.String() {
		t.Errorf("%s\n%s", one.Body, two.Body)
	}
}
