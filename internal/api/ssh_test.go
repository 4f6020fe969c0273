package api

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"ringfence/internal/opsock"
	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

func publicKey(t *testing.T) string {
	t.Helper()
	key, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ssh.NewPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(p)))
}

func (b *box) sshIsOn() bool {
	on, err := ports.Effective(b.store.Snapshot().Settings.Ports, ports.InService)
	if err != nil {
		b.t.Fatal(err)
	}
	_, open := ports.Lookup(on, ports.SSH)
	return open
}

func TestSSHSettings(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	var s SSH
	boss.must(http.StatusOK, "GET", "/ssh", nil, &s)
	if s.Enabled || s.Port != 10210 || s.User != "operator" || len(s.Keys) != 0 || b.sshIsOn() {
		t.Errorf("a fresh system: %+v", s)
	}
	a := boss.must(http.StatusUnprocessableEntity, "PUT", "/ssh", SSHUpdate{true}, nil)
	if !strings.Contains(a.Body.String(), `"body.enabled"`) || !strings.Contains(a.Body.String(), "needs a key") || b.sshIsOn() {
		t.Errorf("on without a key: %s", a.Body)
	}
	weak, _ := rsa.GenerateKey(rand.Reader, 1024)
	weakPublic, _ := ssh.NewPublicKey(weak.Public())
	good := publicKey(t)
	for _, c := range []struct{ label, key, field, reason string }{
		{"", good, "label", "empty"},
		{"a\u202eb", good, "label", "invisible"},
		{"boss", "", "key", "empty"},
		{"boss", string(ssh.MarshalAuthorizedKey(weakPublic)), "key", "1024 bits"},
		{"boss", `command="sh" ` + good, "key", "options"},
		{"boss", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA", "key", "private key"},
	} {
		a := boss.must(http.StatusUnprocessableEntity, "POST", "/ssh/keys", SSHKeyCreate{c.label, c.key}, nil)
		if !strings.Contains(a.Body.String(), `"body.`+c.field+`"`) || !strings.Contains(a.Body.String(), c.reason) {
			t.Errorf("%q %.20q: %s", c.label, c.key, a.Body)
		}
	}
	boss.must(http.StatusCreated, "POST", "/ssh/keys", SSHKeyCreate{"Boss' laptop", good + " boss@laptop"}, &s)
	if len(s.Keys) != 1 || s.Keys[0].Label != "Boss' laptop" || s.Keys[0].AddedBy != "boss" || s.Keys[0].Bits != 256 || s.Keys[0].Cloud || s.Keys[0].LastUsedAt != nil {
		t.Fatalf("%+v", s.Keys)
	}
	if a := boss.must(http.StatusUnprocessableEntity, "POST", "/ssh/keys", SSHKeyCreate{"again", good}, nil); !strings.Contains(a.Body.String(), "in the list already") {
		t.Errorf("%s", a.Body)
	}
	boss.must(http.StatusOK, "PUT", "/ssh", SSHUpdate{true}, &s)
	if !s.Enabled || !b.sshIsOn() || s.State != "no operator shell runs on this machine" {
		t.Errorf("%+v", s)
	}
	boss.must(http.StatusConflict, "DELETE", "/ssh/keys/"+s.Keys[0].ID, nil, nil)
	boss.must(http.StatusNotFound, "DELETE", "/ssh/keys/0123456789abcdef", nil, nil)
	boss.must(http.StatusOK, "PUT", "/ssh", SSHUpdate{false}, nil)
	boss.must(http.StatusNoContent, "DELETE", "/ssh/keys/"+s.Keys[0].ID, nil, nil)
	if b.sshIsOn() || len(b.store.Snapshot().Settings.ShellKeys) != 0 {
		t.Errorf("%+v", b.store.Snapshot().Settings)
	}
}

// 22 is refused however somebody asks for it.
func TestSSHNeverTakesPort22(t *testing.T) {
	t.Parallel()
	on := true
	s := telephony.DefaultSettings()
	s.Ports = []ports.Override{{ID: ports.SSH, Enabled: &on, First: 22}}
	if fe, ok := telephony.AsFieldError(s.Validate()); !ok || fe.Field != "ports" || !strings.Contains(fe.Reason, "22") {
		t.Errorf("%v", fe)
	}
}

func TestShellFollowsTheSettings(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	call := b.operatorSocket(t)
	report := func(r opsock.ShellReport) (c opsock.ShellConfig) {
		t.Helper()
		if err := call("POST", opsock.PathShell, r, &c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	cloud := publicKey(t)
	parsed, _ := telephony.ParseSSHKey(cloud)
	at := time.Unix(1_700_000_000, 0).UTC()
	r := opsock.ShellReport{HostKey: "SHA256:host", Cloud: []string{cloud + " from-aws", "nonsense"}, Used: []opsock.KeyUsed{{ID: parsed.ID(), At: at}}, Refused: 7}
	off := report(r)
	if off.Enabled || off.Port != 10210 || off.Version == "" {
		t.Errorf("%+v", off)
	}
	boss := b.setUp()
	var s SSH
	boss.must(http.StatusOK, "GET", "/ssh", nil, &s)
	if len(s.Keys) != 1 || !s.Keys[0].Cloud || s.Keys[0].Label != "from-aws" || s.Keys[0].LastUsedAt == nil || !s.Keys[0].LastUsedAt.Equal(at) || s.HostKey != "SHA256:host" || s.Refused != 7 || s.State != "off" {
		t.Errorf("%+v", s)
	}
	boss.must(http.StatusConflict, "DELETE", "/ssh/keys/"+parsed.ID(), nil, nil)

	// A report waits until something changes, and no longer.
	r.Have = off.Version
	got, begin := make(chan opsock.ShellConfig, 1), time.Now()
	go func() { got <- report(r) }()
	time.Sleep(100 * time.Millisecond)
	if err := call("POST", opsock.PathSSH, opsock.SSHChange{AddLabel: "second", AddKey: publicKey(t)}, nil); err != nil {
		t.Fatal(err)
	}
	withKey := <-got
	if len(withKey.Keys) != 1 || withKey.Keys[0].Label != "second" || withKey.Version == off.Version || time.Since(begin) > opsock.ShellWait/2 {
		t.Errorf("%+v after %v", withKey, time.Since(begin))
	}
	on := true
	var shown opsock.SSH
	if err := call("POST", opsock.PathSSH, opsock.SSHChange{Enabled: &on}, &shown); err != nil || !shown.Enabled || len(shown.Keys) != 2 {
		t.Fatalf("%v %+v", err, shown)
	}
	r.Have, r.Listening = withKey.Version, true
	if c := report(r); !c.Enabled {
		t.Errorf("%+v", c)
	}
	if err := b.ShellError(); err != nil {
		t.Error(err)
	}
	if b.ShellHostKey() != "SHA256:host" {
		t.Error("no host key for the console")
	}
	if err := call("POST", opsock.PathSSH, opsock.SSHChange{RemoveKey: "0000000000000000"}, nil); err == nil || !strings.Contains(err.Error(), "no such key") {
		t.Errorf("%v", err)
	}
	if err := call("POST", opsock.PathSSH, opsock.SSHChange{AddLabel: "x", AddKey: "y"}, nil); err == nil || !strings.HasPrefix(err.Error(), "the key does not begin") {
		t.Errorf("%v", err)
	}
}

func TestShellEventsAreAudited(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.operatorSocket(t)
	boss := b.setUp()
	path := t.TempDir() + "/s"
	ln, err := opsock.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	srv := opsock.Server(b.OperatorHandler())
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	as := opsock.WithOperator(t.Context(), opsock.Operator{Name: "Zoë's laptop (SHA256:abc)", From: netip.MustParseAddr("192.0.2.7")})
	event := func(ctx context.Context, kind, command string) error {
		return opsock.Call(ctx, path, "POST", opsock.PathShellEvent, opsock.ShellEvent{Kind: kind, Command: command}, nil)
	}
	if err := event(as, opsock.ShellCommand, "reset-admin boss"); err != nil {
		t.Fatal(err)
	}
	if err := event(as, "reboot", ""); err == nil {
		t.Error("an unknown event was taken")
	}
	if err := opsock.Call(as, path, "POST", opsock.PathSSH, opsock.SSHChange{AddLabel: "x", AddKey: publicKey(t)}, nil); err != nil {
		t.Fatal(err)
	}
	a := boss.must(http.StatusOK, "GET", "/audit", nil, nil).Body.String()
	for _, want := range []string{`"action":"shell.command"`, `"object":"reset-admin boss"`, "Zoë's laptop (SHA256:abc)", `"address":"192.0.2.7"`, `"action":"settings.put"`} {
		if !strings.Contains(a, want) {
			t.Errorf("%s is not in %s", want, a)
		}
	}
	var s SSH
	boss.must(http.StatusOK, "GET", "/ssh", nil, &s)
	if len(s.Keys) != 1 || s.Keys[0].AddedBy != "Zoë's laptop (SHA256:abc)" {
		t.Errorf("%+v", s.Keys)
	}
}
