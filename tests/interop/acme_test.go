package interop

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/pem"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ringfence/internal/certs"
	"ringfence/internal/ports"
)

// startAuthority runs a certificate authority outside, which asks for challenges
// at the real port 80.
func (f fenced) startAuthority(t *testing.T) (directory, roots string) {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "server")
	build := exec.Command("go", "build", "-o", bin, "./tests/acmelab/server")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the authority: %v: %s", err, out)
	}
	cmd := f.outside.Command(context.Background(), bin, "-address", "10.77.0.2", "-names", f.addr.String(), "-http", "80", "-delay", "1s", "-dir", dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, certs.FileName))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	return strings.TrimSpace(line), string(pem.EncodeToMemory(block))
}

// shown is whose certificate a port shows.
func (f fenced) shown(t *testing.T, port uint16, name string) string {
	t.Helper()
	c, err := f.outside.DialContext(t.Context(), "tcp", netip.AddrPortFrom(f.addr, port).String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := tls.Client(c, &tls.Config{InsecureSkipVerify: true, ServerName: name})
	if err := s.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s.ConnectionState().PeerCertificates[0].Issuer.CommonName
}

// Feature 16, W03, W04: an authority gives a certificate by HTTP-01 through the
// real fence. Port 80 is silent before and after, open in between; 443 is never.
// HTTPS and SIP over TLS show the new certificate at once.
func TestCertificateThroughTheWindow(t *testing.T) {
	f := startFenced(t)
	directory, roots := f.startAuthority(t)
	do := func(method, path string, in, out any) {
		t.Helper()
		if err := f.api.Do(t.Context(), method, path, in, out); err != nil {
			t.Fatal(err)
		}
	}
	portal, _ := ports.Lookup(ports.Table(), ports.Portal)
	sips, _ := ports.Lookup(ports.Table(), ports.SIPTLS)
	do(http.MethodPost, "/transports", map[string]any{"side": "core", "protocol": "tls"}, nil)
	f.becomes(t, func() bool { return f.dial(t, sips.First) == "open" })
	for _, port := range []uint16{80, 443} {
		if got := f.dial(t, port); got != "silent" {
			t.Errorf("before: %d is %s", port, got)
		}
	}
	type acme struct {
		State, Error string
	}
	want := map[string]any{"enabled": true, "directory": directory, "roots": roots, "email": "", "names": []string{"pbx.example", "sip.pbx.example"}, "terms_agreed": true}
	do(http.MethodPut, "/acme", want, nil)
	var now acme
	var seen []string
	for end := time.Now().Add(60 * time.Second); ; {
		for port, state := range map[uint16]string{80: f.dial(t, 80), 443: f.dial(t, 443)} {
			if port == 443 && state != "silent" {
				t.Errorf("443 is %s", state)
			}
			if port == 80 && (len(seen) == 0 || seen[len(seen)-1] != state) {
				seen = append(seen, state)
			}
		}
		var list struct {
			Items []struct {
				ID      string
				InForce bool `json:"in_force"`
			}
		}
		do(http.MethodGet, "/certificates", nil, &list)
		do(http.MethodGet, "/acme", nil, &now)
		if i := len(list.Items) - 1; list.Items[i].ID == "acme" && list.Items[i].InForce {
			break
		}
		if time.Now().After(end) || now.State == "failed" {
			t.Fatalf("no certificate: %+v, port 80 was %q", now, seen)
		}
	}
	f.becomes(t, func() bool { return f.dial(t, 80) == "silent" })
	if seen[0] != "silent" && seen[0] != "open" || !slices.Contains(seen, "open") {
		t.Errorf("port 80 was %q", seen)
	}
	for _, port := range []uint16{portal.First, sips.First} {
		for _, name := range []string{"pbx.example", "sip.pbx.example", ""} {
			if by := f.shown(t, port, name); !strings.HasPrefix(by, "Pebble") {
				t.Errorf("%d shows a certificate of %q to who asks for %q", port, by, name)
			}
		}
	}
}
