package provision_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ringfence/internal/certs"
	"ringfence/internal/httpd"
	"ringfence/internal/ports"
	"ringfence/internal/telephony"
	"ringfence/provision"
)

// The real Linphone fetches its configuration over our HTTPS and adopts it. It
// trusts our self-signed certificate and no other; the TLS library it is built
// with does not compare addresses, so the name check is off.
func TestRealLinphoneFetchesItsConfiguration(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("linphonec")
	if err != nil {
		t.Skip("linphonec is not installed")
	}
	const path, password = "abcdefghijklmnopqrstuvwx23", "Real-Phone-Password-77"
	e := telephony.Extension{Tenant: 1, ID: 1, Number: "101", DisplayName: "Ann", ProvisionPath: path}
	settings := telephony.DefaultSettings()
	settings.SetupDone = true
	snap := telephony.NewSnapshot(1, settings, []telephony.Tenant{{ID: 1, Domain: "pbx.example"}}, []telephony.Extension{e})
	var fetched atomic.Int32
	handler := provision.NewHandler(provision.Config{
		Snapshot: func() *telephony.Snapshot { return snap },
		Services: func() []ports.Service {
			s, _ := ports.Effective(nil, ports.InService)
			return s
		},
		Password: func(context.Context, telephony.TenantID, telephony.Actor, string) (string, error) {
			fetched.Add(1)
			return password, nil
		},
		Ban: func(a netip.Addr, _ time.Time, reason string) { t.Errorf("%s banned: %s", a, reason) },
	})
	home := t.TempDir()
	base := serve(t, handler, home)

	rc := filepath.Join(home, "linphonerc")
	config := fmt.Sprintf("[misc]\nconfig-uri=%s\n[sip]\nroot_ca=%s\nverify_server_cn=0\nsip_port=-1\nsip_tcp_port=-1\nsip_tls_port=-1\n[sound]\nplayback_dev_id=ANULL\ncapture_dev_id=ANULL\n", provision.URL(base, e), filepath.Join(home, certs.FileName))
	if err := os.WriteFile(rc, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	// The program does not make the folder of its own database.
	if err := os.MkdirAll(filepath.Join(home, ".local/share/linphone"), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	var out bytes.Buffer
	phone := exec.CommandContext(ctx, program, "-c", rc, "-d", "6", "-l", filepath.Join(home, "log"))
	phone.Env = append(os.Environ(), "HOME="+home)
	phone.Stdout, phone.Stderr = &out, &out
	stdin, err := phone.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := phone.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for fetched.Load() == 0 && time.Now().Before(deadline) {
		time.Sleep(100 * time.Millisecond)
	}
	time.Sleep(time.Second)
	fmt.Fprintln(stdin, "proxy list")
	time.Sleep(500 * time.Millisecond)
	fmt.Fprintln(stdin, "quit")
	_ = phone.Wait()
	if fetched.Load() == 0 {
		log, _ := os.ReadFile(filepath.Join(home, "log"))
		t.Fatalf("not fetched\n%s\n%s", out.String(), log)
	}
	adopted, err := os.ReadFile(rc)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"sip:127.0.0.1:5060", "sip:101@pbx.example", "username=101"} {
		if !strings.Contains(string(adopted), want) && !strings.Contains(out.String(), want) {
			t.Errorf("the phone did not adopt %q\n%s\n%s", want, adopted, out.String())
		}
	}
}

// serve runs the portal's TLS listener with the handler and returns host:port;
// its certificate is kept in dir.
func serve(t *testing.T, h http.Handler, dir string) string {
	t.Helper()
	store, err := certs.Open(certs.Config{Dir: dir, Names: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := httpd.New(httpd.Config{
		Logger: slog.New(slog.DiscardHandler), GetCertificate: store.GetCertificate,
		API: http.NotFoundHandler(), Provision: h, Listen: "127.0.0.1",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	svc, _ := ports.Lookup(ports.Table(), ports.Portal)
	svc.First, svc.Last = 0, 0
	if err := s.Reconcile(t.Context(), []ports.Service{svc}); err != nil {
		t.Fatal(err)
	}
	return s.Addr(ports.Portal).String()
}
