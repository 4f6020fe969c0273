package httpd

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"ringfence/internal/certs"
	"ringfence/internal/ports"
)

func dist() fstest.MapFS {
	return fstest.MapFS{
		"index.html":          {Data: []byte(`<meta name="csp-nonce" content="__CSP_NONCE__"><p nonce="__CSP_NONCE__">portal</p>`)},
		"boot.js":             {Data: []byte("boot()")},
		"assets/app-1.js":     {Data: []byte("app()")},
		"assets/app-1.js.br":  {Data: []byte("compressed")},
		".vite/manifest.json": {Data: []byte("{}")},
	}
}

// start serves the portal on a free loopback port.
func start(t *testing.T, change func(*Config)) (*Server, string) {
	t.Helper()
	store, err := certs.Open(certs.Config{Dir: t.TempDir(), Names: []string{"localhost", "127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		GetCertificate: store.GetCertificate, Dist: dist(), Built: true, Listen: "127.0.0.1",
		API:       http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "api") }),
		Provision: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "provision") }),
	}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Reconcile(t.Context(), []ports.Service{portalOn(0)}); err != nil {
		t.Fatal(err)
	}
	return s, s.Addr(ports.Portal).String()
}

func portalOn(port uint16) ports.Service {
	svc, _ := ports.Lookup(ports.Table(), ports.Portal)
	svc.First, svc.Last = port, port
	return svc
}

func client(t *testing.T) *http.Client {
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableCompression: true, ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}
}

func get(t *testing.T, c *http.Client, url string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

// P01: the portal answers over TLS; plain HTTP on its port gets nothing of it.
func TestPortalSpeaksTLSOnly(t *testing.T) {
	t.Parallel()
	_, addr := start(t, nil)
	if res, page := get(t, client(t), "https://"+addr+"/"); res.StatusCode != http.StatusOK || !strings.Contains(page, "portal") {
		t.Fatalf("%d %q", res.StatusCode, page)
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", addr)
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	raw, _ := io.ReadAll(conn)
	if strings.Contains(string(raw), "portal") || strings.Contains(string(raw), "200") {
		t.Errorf("plain HTTP got %q", raw)
	}
}

func TestTLSVersions(t *testing.T) {
	t.Parallel()
	_, addr := start(t, nil)
	for version, ok := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version})
		if (err == nil) != ok {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil {
			conn.Close()
		}
	}
}

// security.md 4a.9 by the letter, with a nonce of each answer's own.
func TestContentSecurityPolicy(t *testing.T) {
	t.Parallel()
	_, addr := start(t, nil)
	c := client(t)
	seen := map[string]bool{}
	for range 3 {
		res, page := get(t, c, "https://"+addr+"/extensions")
		m := regexp.MustCompile(`content="([A-Za-z0-9_-]{22})"><p nonce="([A-Za-z0-9_-]{22})"`).FindStringSubmatch(page)
		if m == nil || m[1] != m[2] {
			t.Fatalf("page %q", page)
		}
		want := "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-" + m[1] + "'; img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self'; connect-src 'self' wss://" + addr + "; worker-src 'self'; manifest-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; require-trusted-types-for 'script'; trusted-types default"
		if got := res.Header.Get("Content-Security-Policy"); got != want {
			t.Errorf("policy\n%s\nwant\n%s", got, want)
		}
		if res.Header.Get("Cache-Control") != "no-store" || res.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("headers %v", res.Header)
		}
		if seen[m[1]] {
			t.Error("a nonce came twice")
		}
		seen[m[1]] = true
	}
	if res, _ := get(t, c, "https://"+addr+"/api/v1/x"); res.Header.Get("Content-Security-Policy") != bareCSP {
		t.Errorf("API policy %q", res.Header.Get("Content-Security-Policy"))
	}
}

func TestStaticFiles(t *testing.T) {
	t.Parallel()
	_, addr := start(t, nil)
	c := client(t)
	for _, tc := range []struct {
		path, encoding string
		status         int
		body, cache    string
	}{
		{"/assets/app-1.js", "", 200, "app()", "public, max-age=31536000, immutable"},
		{"/assets/app-1.js", "gzip, br", 200, "compressed", "public, max-age=31536000, immutable"},
		{"/assets/app-1.js", "br;q=0, gzip", 200, "app()", "public, max-age=31536000, immutable"},
		{"/boot.js", "br", 200, "boot()", "no-cache"},
		{"/assets/gone.js", "", 404, "", "no-store"},
		{"/assets/app", "", 404, "", "no-store"},
		{"/favicon.ico", "", 404, "", "no-store"},
		{"/assets/app-1.js.br", "", 404, "", "no-store"},
		{"/.vite/manifest.json", "", 404, "", "no-store"},
		{"/../../etc/passwd.txt", "", 404, "", "no-store"},
		{"/setup", "", 200, "", "no-store"},
		{"/index.html", "", 200, "", "no-store"},
	} {
		res, body := get(t, c, "https://"+addr+tc.path, "Accept-Encoding", tc.encoding)
		if res.StatusCode != tc.status || (tc.body != "" && body != tc.body) || res.Header.Get("Cache-Control") != tc.cache {
			t.Errorf("%s (%s): %d %q %q", tc.path, tc.encoding, res.StatusCode, body, res.Header.Get("Cache-Control"))
		}
	}
	res, _ := get(t, c, "https://"+addr+"/boot.js")
	if again, _ := get(t, c, "https://"+addr+"/boot.js", "If-None-Match", res.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
		t.Errorf("unchanged file came again: %d", again.StatusCode)
	}
	post, err := c.Post("https://"+addr+"/", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	post.Body.Close()
	if post.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST / = %d", post.StatusCode)
	}
}

func TestPortalNotBuiltSaysSo(t *testing.T) {
	t.Parallel()
	_, addr := start(t, func(c *Config) { c.Dist, c.Built = fstest.MapFS{}, false })
	res, page := get(t, client(t), "https://"+addr+"/")
	if res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(page, "make web") {
		t.Errorf("%d %q", res.StatusCode, page)
	}
	if _, body := get(t, client(t), "https://"+addr+"/api/v1/x"); body != "api" {
		t.Error("the API went with it")
	}
}

func TestHostNames(t *testing.T) {
	t.Parallel()
	_, addr := start(t, func(c *Config) { c.HostAllowed = func(n string) bool { return n == "pbx.example" } })
	c := client(t)
	for host, want := range map[string]int{
		addr: 200, "192.0.2.9:8887": 200, "[2001:db8::1]:8887": 200, "pbx.example": 200, "PBX.example.:8887": 200,
		"evil.example": 421, "127.0.0.1.evil.example": 421, "x;y": 421, "": 200, // Go puts the address there
	} {
		if res, _ := get(t, c, "https://"+addr+"/", "Host", host); res.StatusCode != want {
			t.Errorf("Host %q: %d, want %d", host, res.StatusCode, want)
		}
	}
}

// A list of 16 MiB can be imported; elsewhere nobody has use for that much.
func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	swallow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		}
	})
	_, addr := start(t, func(c *Config) { c.API, c.Provision = swallow, swallow })
	for _, c := range []struct {
		path string
		size int64
		want int
	}{
		{"/api/v1/x", 16 << 20, 200}, {"/api/v1/x", 18 << 20, 413},
		{"/provision/x", 1 << 20, 200}, {"/provision/x", 2 << 20, 413},
	} {
		res, err := client(t).Post("https://"+addr+c.path, "text/plain", io.LimitReader(zeros{}, c.size))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != c.want {
			t.Errorf("%d bytes to %s: %d, want %d", c.size, c.path, res.StatusCode, c.want)
		}
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestPanicDoesNotEndTheServer(t *testing.T) {
	t.Parallel()
	_, addr := start(t, func(c *Config) {
		c.API = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("boom") })
	})
	if res, body := get(t, client(t), "https://"+addr+"/api/v1/x"); res.StatusCode != 500 || strings.Contains(body, "boom") {
		t.Errorf("%d %q", res.StatusCode, body)
	}
	if res, _ := get(t, client(t), "https://"+addr+"/"); res.StatusCode != 200 {
		t.Errorf("afterwards %d", res.StatusCode)
	}
}

// Slowloris: neither a half handshake nor a header that never ends may hold a
// connection.
func TestSlowPeersAreCut(t *testing.T) {
	t.Parallel()
	_, addr := start(t, nil)
	began := time.Now()
	half, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer half.Close()
	slow, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	fmt.Fprint(slow, "GET / HTTP/1.1\r\nHost: ")
	for name, c := range map[string]net.Conn{"half handshake": half, "endless header": slow} {
		_ = c.SetReadDeadline(began.Add(10 * time.Second))
		_, err := io.ReadAll(c)
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("%s still open after %v", name, time.Since(began))
		}
	}
	if res, _ := get(t, client(t), "https://"+addr+"/"); res.StatusCode != 200 {
		t.Errorf("afterwards %d", res.StatusCode)
	}
}

func TestConnectionsPerSourceAreCapped(t *testing.T) {
	t.Parallel()
	_, addr := start(t, nil)
	dial := func() net.Conn {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	// closedAtOnce says whether the server hung up instead of waiting for a
	// handshake.
	closedAtOnce := func(c net.Conn, patience time.Duration) bool {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		_, err := c.Read(make([]byte, 1))
		var waits net.Error
		return !errors.As(err, &waits) || !waits.Timeout()
	}
	var held []net.Conn
	for range perSource {
		c := dial()
		defer c.Close()
		held = append(held, c)
	}
	over := dial()
	defer over.Close()
	if !closedAtOnce(over, 3*time.Second) {
		t.Errorf("connection %d was kept", perSource+1)
	}
	if closedAtOnce(held[0], 50*time.Millisecond) {
		t.Error("a connection within the cap was closed")
	}
	for _, c := range held[1:] {
		c.Close()
	}
	for range 100 {
		if c := dial(); !closedAtOnce(c, 50*time.Millisecond) {
			c.Close()
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("closed connections do not make room")
}

func TestCapIsPerSource(t *testing.T) {
	t.Parallel()
	c := newCapped(nil, 2, 3)
	a, b, d := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.3")
	for i, want := range []bool{c.take(a), c.take(a), !c.take(a), c.take(b), !c.take(d)} {
		if !want {
			t.Errorf("step %d", i)
		}
	}
	c.give(a)
	if !c.take(d) || len(c.from) != 3 {
		t.Error("room was not given back")
	}
	c.give(a)
	c.give(b)
	c.give(d)
	if len(c.from) != 0 || c.total != 0 {
		t.Errorf("left over: %v, %d", c.from, c.total)
	}
}

func TestReconcileFollowsThePortTable(t *testing.T) {
	t.Parallel()
	s, first := start(t, nil)
	if err := s.Reconcile(t.Context(), []ports.Service{portalOn(0)}); err != nil || s.Addr(ports.Portal).String() != first {
		t.Fatalf("not idempotent: %v", err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	used := uint16(taken.Addr().(*net.TCPAddr).Port)
	if err := s.Reconcile(t.Context(), []ports.Service{portalOn(used)}); err == nil || s.Failed(ports.Portal) == nil {
		t.Error("a port in use was not reported")
	}
	taken.Close()
	if err := s.Reconcile(t.Context(), []ports.Service{portalOn(used)}); err != nil || s.Failed(ports.Portal) != nil {
		t.Fatal(err)
	}
	if _, err := net.DialTimeout("tcp", first, time.Second); err == nil {
		t.Error("the old port is still open")
	}
	if res, _ := get(t, client(t), "https://"+s.Addr(ports.Portal).String()+"/"); res.StatusCode != 200 {
		t.Errorf("new port: %d", res.StatusCode)
	}
	if err := s.Reconcile(t.Context(), nil); err != nil || s.Addr(ports.Portal) != nil {
		t.Error("a listener nobody wants stays")
	}
}

func TestProvisioningPortServesNothingElse(t *testing.T) {
	t.Parallel()
	s, _ := start(t, nil)
	svc, _ := ports.Lookup(ports.Table(), ports.Provisioning)
	svc.First, svc.Last = 0, 0
	if err := s.Reconcile(t.Context(), []ports.Service{svc}); err != nil {
		t.Fatal(err)
	}
	base := "http://" + s.Addr(ports.Provisioning).String()
	for path, want := range map[string]int{"/provision/x": 200, "/": 404, "/api/v1/session": 404, "/assets/app-1.js": 404, "/healthz": 404} {
		if res, _ := get(t, client(t), base+path); res.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, res.StatusCode, want)
		}
	}
}

func TestCloseCutsEndlessAnswers(t *testing.T) {
	t.Parallel()
	s, addr := start(t, func(c *Config) {
		c.API = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintln(w, "first")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		})
	})
	res, err := client(t).Get("https://" + addr + "/api/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if line, err := bufio.NewReader(res.Body).ReadString('\n'); err != nil || line != "first\n" {
		t.Fatalf("%q %v", line, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*closeTimeout)
	defer cancel()
	done := make(chan struct{})
	go func() { _ = s.Close(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		t.Fatal("Close hangs on an open stream")
	}
	if err := s.Reconcile(t.Context(), []ports.Service{portalOn(0)}); err == nil {
		t.Error("a closed server opened a listener")
	}
}

func TestHealthIsForThisMachine(t *testing.T) {
	t.Parallel()
	ready := errors.New("starting")
	s, addr := start(t, func(c *Config) { c.Ready = func() error { return ready } })
	c := client(t)
	if res, _ := get(t, c, "https://"+addr+"/healthz"); res.StatusCode != 200 {
		t.Errorf("healthz %d", res.StatusCode)
	}
	if res, _ := get(t, c, "https://"+addr+"/readyz"); res.StatusCode != 503 {
		t.Errorf("readyz %d", res.StatusCode)
	}
	rec := &recorder{header: http.Header{}}
	r, _ := http.NewRequest(http.MethodGet, "https://127.0.0.1/readyz", nil)
	r.RemoteAddr = "192.0.2.1:1000"
	s.site.ServeHTTP(rec, r)
	if rec.status != http.StatusNotFound {
		t.Errorf("a stranger got %d", rec.status)
	}
}

type recorder struct {
	header http.Header
	status int
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(s int)           { r.status = s }
func (r *recorder) Write(b []byte) (int, error) { return len(b), nil }
