package api

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"ringfence/internal/opsock"
)

// operator serves the box's local socket.
func (b *box) operatorSocket(t *testing.T) func(method, path string, in, out any) error {
	t.Helper()
	path := filepath.Join(t.TempDir(), opsock.FileName)
	ln, err := opsock.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	srv := opsock.Server(b.OperatorHandler())
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	return func(method, p string, in, out any) error { return opsock.Call(t.Context(), path, method, p, in, out) }
}

func TestOperatorSocket(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	call := b.operatorSocket(t)
	var one, two opsock.Token
	if err := call("GET", opsock.PathSetupToken, nil, &one); err != nil || one.Token != b.wizard.Token() {
		t.Errorf("%v %q", err, one.Token)
	}
	if err := call("POST", opsock.PathSetupToken, nil, &two); err != nil || two.Token == one.Token {
		t.Errorf("%v %q", err, two.Token)
	}
	c := b.client()
	c.token = one.Token
	c.must(http.StatusNotFound, "GET", "/setup", nil, nil)
	c.token = two.Token
	c.must(http.StatusOK, "GET", "/setup", nil, nil)
	if err := call("POST", opsock.PathResetAdmin, opsock.ResetAdmin{}, nil); err == nil {
		t.Error("an administrator was reset before there is one")
	}

	boss := b.setUp()
	if err := call("GET", opsock.PathSetupToken, nil, nil); err == nil {
		t.Error("a token after set-up")
	}
	var st opsock.Status
	if err := call("GET", opsock.PathStatus, nil, &st); err != nil || !st.SetupDone || st.Extensions != 3 || !strings.Contains(st.Clock, "by 192.0.2.1 (DHCP)") || st.Version != "1.2.3" {
		t.Errorf("%v %+v", err, st)
	}
	var list []opsock.Port
	if err := call("GET", opsock.PathPorts, nil, &list); err != nil || len(list) < 10 {
		t.Errorf("%v %+v", err, list)
	}
	var rules opsock.PortRules
	if err := call("GET", opsock.PathPortRules+"?format=aws-cli", nil, &rules); err != nil || !strings.Contains(rules.Text, "FromPort=5060,") {
		t.Errorf("%v %+v", err, rules)
	}
	if err := call("GET", opsock.PathPortRules+"?format=aws-cli&management=office", nil, nil); err == nil || !strings.Contains(err.Error(), "management") {
		t.Errorf("%v", err)
	}

	if err := call("POST", opsock.PathResetAdmin, opsock.ResetAdmin{Name: "nobody"}, nil); err == nil || !strings.Contains(err.Error(), "boss") {
		t.Errorf("%v", err)
	}
	var p opsock.NewPassword
	if err := call("POST", opsock.PathResetAdmin, opsock.ResetAdmin{}, &p); err != nil || p.Name != "boss" {
		t.Fatalf("%v %+v", err, p)
	}
	boss.must(http.StatusUnauthorized, "GET", "/session", nil, nil)
	b.client().must(http.StatusUnauthorized, "POST", "/login", Login{"boss", adminPassword}, nil)
	again := b.client().login("boss", p.Password)
	again.must(http.StatusForbidden, "GET", "/status", nil, nil)
	again.must(http.StatusOK, "PUT", "/session/password", PasswordChange{p.Password, otherPassword}, nil)
	a := b.client().login("boss", otherPassword).must(http.StatusOK, "GET", "/audit", nil, nil)
	if !strings.Contains(a.Body.String(), `"kind":"operator"`) || strings.Contains(a.Body.String(), p.Password) {
		t.Errorf("%s", a.Body)
	}
}
