package interop

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ringfence/internal/ports"
	"ringfence/tests/apiclient"
	"ringfence/tests/netlab"
	"ringfence/tests/pbxproc"
)

// fenced is a PBX, set up, behind the real packet filter.
type fenced struct {
	pbx           *pbxproc.Process
	host, outside *netlab.Namespace
	api           *apiclient.Client
	addr          netip.Addr
	fence         *fenceProcess
	run           string // folder of the sockets
}

func startFenced(t *testing.T) fenced {
	t.Helper()
	netlab.Need(t)
	f := fenced{host: netlab.New(t, "pbx"), outside: netlab.New(t, "ph"), addr: netip.MustParseAddr("10.77.0.1")}
	if err := netlab.Join(f.host, "ph0", []string{"10.77.0.1/24"}, f.outside, "pbx0", []string{"10.77.0.2/24", "10.77.0.3/24"}); err != nil {
		t.Fatal(err)
	}
	f.fence = startFence(t, f.host)
	f.run = f.fence.run
	f.pbx = pbxproc.StartFresh(t, f.host, f.addr.String(), "-run", f.run)
	f.api = apiclient.New(f.pbx.Facts.Admin.URL, "", from(f.outside, "10.77.0.3"))
	f.api.Token = f.pbx.Facts.Admin.Token
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := f.api.RunSetup(ctx, apiclient.DefaultSetup()); err != nil {
		t.Fatal(err)
	}
	return f
}

// silence is how long a port is given to answer.
const silence = 200 * time.Millisecond

// dial says what becomes of a connection from outside: open, refused (the
// packet filter lets it pass and nobody listens) or silent.
func (f fenced) dial(t *testing.T, port uint16) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), silence)
	defer cancel()
	c, err := f.outside.DialContext(ctx, "tcp", netip.AddrPortFrom(f.addr, port).String())
	switch {
	case err == nil:
		c.Close()
		return "open"
	case strings.Contains(err.Error(), "refused"):
		return "refused"
	}
	return "silent"
}

// becomes waits for a port to be as wanted and returns how long that took.
func (f fenced) becomes(t *testing.T, what func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !what() {
		if time.Since(began) > 5*time.Second {
			t.Fatal("the packet filter did not follow in 5 s")
		}
	}
	return time.Since(began)
}

// The packet filter opens a port when a transport is made and closes it when
// that is deleted, or made anew elsewhere, without a word from anybody.
func TestPacketFilterFollowsTransports(t *testing.T) {
	f := startFenced(t)
	do := func(method, path string, in any) {
		t.Helper()
		if err := f.api.Do(t.Context(), method, path, in, nil); err != nil {
			t.Fatal(err)
		}
	}
	tls, _ := ports.Lookup(ports.Table(), ports.SIPTLS)
	udp, _ := ports.Lookup(ports.Table(), ports.SIPUDP)
	const elsewhere = 5080
	sip := func(port uint16) bool {
		return answersOptions(t, f.outside, "10.77.0.2:0", netip.AddrPortFrom(f.addr, port), silence)
	}
	if got := f.dial(t, tls.First); got != "silent" {
		t.Fatalf("TLS, which is not on, is %s", got)
	}
	type transport struct {
		Side     string `json:"side"`
		Protocol string `json:"protocol"`
		Port     int    `json:"port,omitempty"`
	}
	do(http.MethodPost, "/transports", transport{Side: "core", Protocol: "tls"})
	opened := f.becomes(t, func() bool { return f.dial(t, tls.First) == "open" })
	do(http.MethodDelete, "/transports/"+string(ports.SIPTLS), nil)
	closed := f.becomes(t, func() bool { return f.dial(t, tls.First) == "silent" })
	if !sip(udp.First) {
		t.Fatal("SIP over UDP does not answer before it moves")
	}
	do(http.MethodDelete, "/transports/"+string(ports.SIPUDP), nil)
	do(http.MethodPost, "/transports", transport{Side: "core", Protocol: "udp", Port: elsewhere})
	moved := f.becomes(t, func() bool { return sip(elsewhere) })
	if sip(udp.First) {
		t.Error("the old port answers")
	}
	t.Logf("opened after %v, closed after %v, moved after %v", opened, closed, moved)
	for what, took := range map[string]time.Duration{"opened": opened, "closed": closed - silence, "moved": moved} {
		if took > time.Second {
			t.Errorf("%s after %v, more than a second", what, took)
		}
	}
}

// Rules of another program are left alone and reported where people look.
func TestForeignPacketFilterIsReported(t *testing.T) {
	f := startFenced(t)
	fence := func() string {
		var s struct {
			Fence struct{ Error string }
		}
		if err := f.api.Do(t.Context(), http.MethodGet, "/status", nil, &s); err != nil {
			t.Fatal(err)
		}
		return s.Fence.Error
	}
	if got := fence(); got != "" {
		t.Fatalf("a clean machine: %s", got)
	}
	nft := func(rules string) {
		t.Helper()
		c := f.host.Command(t.Context(), "nft", "-f", "-")
		c.Stdin = strings.NewReader(rules)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("nft: %v: %s", err, out)
		}
	}
	waitFor := func(there bool) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); strings.Contains(fence(), "inet ufw") != there; time.Sleep(100 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("after 30 s: %q", fence())
			}
		}
	}
	nft("table inet ufw {\n chain input {\n type filter hook input priority 5\n policy accept\n }\n}\n")
	waitFor(true)
	if got := f.dial(t, 22); got != "silent" {
		t.Errorf("port 22 beside a foreign table is %s", got)
	}
	nft("delete table inet ufw\n")
	waitFor(false)
}
