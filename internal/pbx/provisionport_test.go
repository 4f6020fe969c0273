package pbx_test

import (
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"ringfence/internal/pbxtest"
	"ringfence/internal/ports"
)

// W01, W02, P02, P07: phones fetch their files over plain HTTP, and nothing
// else; one switch closes the listener, the other port stays.
func TestProvisioningOverHTTPHasOneSwitch(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	admin := p.Admin()
	var files struct{ URL string }
	if err := admin.Do(t.Context(), "GET", "/extensions/101/provisioning", nil, &files); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(files.URL)
	if err != nil {
		t.Fatal(err)
	}
	fetch := func(id ports.ID, path string) (int, string) {
		t.Helper()
		res, err := http.Get("http://" + p.Addr(id).String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(b)
	}
	for _, id := range []ports.ID{ports.Provisioning, ports.EdgeProvisioning} {
		if code, doc := fetch(id, u.Path); code != http.StatusOK || !strings.Contains(doc, p.Extension("101").SIPPassword) {
			t.Errorf("%s: %d %s", id, code, doc)
		}
		for _, path := range []string{"/", "/login", "/api/v1/status", "/api/v1/session", "/healthz", "/readyz", "/provision/", u.Path + "x"} {
			if code, _ := fetch(id, path); code != http.StatusNotFound {
				t.Errorf("%s: %s is answered with %d", id, path, code)
			}
		}
	}
	addr, other := p.Addr(ports.Provisioning), p.Addr(ports.EdgeProvisioning)
	port := freePort(t, ports.TCP)
	change := map[string]any{"enabled": true, "port": port, "zones": []string{"voice"}, "sources": []string{}}
	if err := admin.Do(t.Context(), "PUT", "/ports/provisioning", change, nil); err != nil {
		t.Fatal(err)
	}
	addr = netip.AddrPortFrom(addr.Addr(), uint16(port))
	follows(t, "the port moved", func() bool { return answers(ports.TCP, addr) })
	change["enabled"] = false
	if err := admin.Do(t.Context(), "PUT", "/ports/provisioning", change, nil); err != nil {
		t.Fatal(err)
	}
	follows(t, "the port is closed", func() bool { return !answers(ports.TCP, addr) })
	if !answers(ports.TCP, other) {
		t.Error("the SBC's port closed with it")
	}
}
