package sip

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ringfence/internal/ports"
)

// tortureMessages returns the RFC 4475 messages that the library's module
// carries, or nil when the module cache is not there.
func tortureMessages(t testing.TB) map[string][]byte {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/emiago/sipgo").Output()
	if err != nil {
		return nil
	}
	files, _ := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "sip", "testdata", "torture", "*", "*.dat"))
	all := make(map[string][]byte, len(files))
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil {
			all[strings.TrimSuffix(filepath.Base(f), ".dat")] = b
		}
	}
	return all
}

// FuzzReceive runs datagrams through parsing, validation, transactions and
// digest up to the answer. Whatever comes: no panic, at most one final answer
// to a message, and no line of the answer that the grammar does not allow.
func FuzzReceive(f *testing.F) {
	for _, b := range tortureMessages(f) {
		f.Add(b)
	}
	for _, m := range []string{INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, INFO, "X"} {
		f.Add([]byte(msg(m, "z9hG4bKa", "1", "Contact: <sip:101@192.0.2.9>;expires=60;q=0.5", "Require: a, b", `Authorization: Digest username="101", realm="a.test", nonce="x", response="y", nc=00000001, qop=auth`)))
	}
	f.Add([]byte(answer(msg("INVITE", "z9hG4bKa", "1"), 200)))
	e := New(Config{Logger: quiet(), Workers: 1})
	f.Cleanup(func() { e.Close() })
	auth := NewAuthenticator(AuthConfig{})
	e.Handle("", HandlerFunc(func(tx *ServerTx) {
		r := tx.Request()
		r.SDP()
		r.Addresses("Contact")
		r.Addresses("Record-Route")
		if _, ok := auth.Require(tx, ChallengeProxy, realm, func(string) (Secret, bool) { return Secret{MD5: "x"}, true }); ok {
			panic("let in")
		}
	}))
	m := &memory{}
	flow, err := e.Attach(ports.SIPUDP, ports.Core, here, m)
	if err != nil {
		f.Fatal(err)
	}
	flow.Remote = there
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !looksLikeSIP(raw) {
			return
		}
		callIDOf(raw)
		e.handle(flow, raw, time.Now())
		sent := m.take()
		if len(sent) > 1 {
			t.Errorf("%d answers: %q", len(sent), sent)
		}
		for _, s := range sent {
			head, _, ok := strings.Cut(s, "\r\n\r\n")
			if !ok || strings.ContainsAny(strings.ReplaceAll(head, "\r\n", ""), "\r\n") {
				t.Errorf("broken answer %q", s)
			}
			var code int
			if _, err := fmt.Sscanf(s, "SIP/2.0 %d", &code); err != nil || code < 200 || code > 699 {
				t.Errorf("answer %q", s)
			}
		}
	})
}

// FuzzNameAddr: what is taken survives printing.
func FuzzNameAddr(f *testing.F) {
	for _, s := range []string{`"A \"B\"" <sip:a:b@[::1]:5060;lr?x=y>;tag=1;q="a b"`, "sip:a@b;tag=2", "a b <sips:c>", "<tel:1>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsAny(s, "\r\n") {
			return // no header value has them
		}
		a, err := parseNameAddr(s)
		if err != nil {
			return
		}
		URIKey(a.URI)
		if !isSIP(&a.URI) {
			return
		}
		b, err := parseNameAddr(a.String())
		if err != nil || b.String() != a.String() || b.Tag() != a.Tag() || b.Display != a.Display {
			t.Errorf("%q became %q, then %q: %v", s, a.String(), b.String(), err)
		}
	})
}
