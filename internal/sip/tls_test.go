package sip

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"ringfence/internal/ports"
)

// certificate is a self-signed one.
func certificate(t testing.TB, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// shows is a TLS that shows c.
func shows(c tls.Certificate) TLS {
	return TLS{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &c, nil }}
}

func secure(t testing.TB, to netip.AddrPort, c *tls.Config) (*stream, error) {
	t.Helper()
	if c == nil {
		c = &tls.Config{}
	}
	c.InsecureSkipVerify = true
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", to.String(), c)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { conn.Close() })
	return &stream{t, conn, bufio.NewReader(conn)}, nil
}

func TestTLSVersionsOfSIP(t *testing.T) {
	t.Parallel()
	for _, id := range []ports.ID{ports.SIPTLS, ports.EdgeWSS} {
		_, to := listenOn(t, Config{TLS: shows(certificate(t, "pbx"))}, id, loopback)
		for v, want := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
			_, err := secure(t, to, &tls.Config{MinVersion: v, MaxVersion: v})
			if (err == nil) != want {
				t.Errorf("%s: %s: %v", id, tls.VersionName(v), err)
			}
		}
	}
}

// Each handshake asks for the certificate; connections that stand stay.
func TestCertificateIsAskedForAnew(t *testing.T) {
	t.Parallel()
	certs := make(chan tls.Certificate, 2)
	certs <- certificate(t, "old")
	certs <- certificate(t, "new")
	_, to := listenOn(t, Config{TLS: TLS{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { c := <-certs; return &c, nil }}}, ports.SIPTLS, loopback)
	var all []*stream
	for _, want := range []string{"old", "new"} {
		s, err := secure(t, to, nil)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
		if got := s.Conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName; got != want {
			t.Errorf("showed %s, want %s", got, want)
		}
	}
	for _, s := range all {
		s.say(probe("a"))
		if got := s.next(); status(got) != "200 OK" || !strings.Contains(header(got, "Via"), "SIP/2.0/TCP") {
			t.Errorf("%q", got)
		}
	}
}

func TestClientCertificates(t *testing.T) {
	t.Parallel()
	known, stranger := certificate(t, "phone"), certificate(t, "stranger")
	pool := x509.NewCertPool()
	pool.AddCert(known.Leaf)
	// In TLS 1.3 a client learns of its refusal only with its first read.
	works := func(to netip.AddrPort, certs ...tls.Certificate) bool {
		s, err := secure(t, to, &tls.Config{Certificates: certs})
		if err != nil {
			return false
		}
		if _, err := io.WriteString(s, probe("a")); err != nil {
			return false
		}
		s.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, err = s.r.ReadByte()
		return err == nil
	}
	for _, c := range []struct {
		name             string
		pool             *x509.CertPool
		required         bool
		none, good, evil bool
	}{
		{"not asked for", nil, false, true, true, true},
		{"verified when presented", pool, false, true, true, false},
		{"required", pool, true, false, true, false},
	} {
		config := shows(certificate(t, "pbx"))
		config.Clients = func() (*x509.CertPool, bool) { return c.pool, c.required }
		_, to := listenOn(t, Config{TLS: config}, ports.SIPTLS, loopback)
		// Without this the client would send only what the server's list names.
		force := stranger
		if none, good, evil := works(to), works(to, known), c.pool == nil && works(to, force) || c.pool != nil && presented(t, to, force); none != c.none || good != c.good || evil != c.evil {
			t.Errorf("%s: without %v, right %v, wrong %v", c.name, none, good, evil)
		}
	}
}

// presented sends a certificate whatever authorities the server names.
func presented(t *testing.T, to netip.AddrPort, c tls.Certificate) bool {
	s, err := secure(t, to, &tls.Config{GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c, nil }})
	if err != nil {
		return false
	}
	io.WriteString(s, probe("a"))
	s.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, err = s.r.ReadByte()
	return err == nil
}

// One connection that says nothing, or begins a handshake and stops, delays
// nobody.
func TestIdleConnectionDelaysNobody(t *testing.T) {
	t.Parallel()
	for _, id := range []ports.ID{ports.SIPTLS, ports.EdgeWSS} {
		e, to := listenOn(t, Config{TLS: shows(certificate(t, "pbx")), Streams: StreamTimes{Handshake: time.Second}}, id, loopback)
		for i := range 200 {
			c := connect(t, to)
			if i%2 == 0 {
				c.say("\x16\x03\x01\x02\x00\x01") // the head of a ClientHello
			}
		}
		start := time.Now()
		if id == ports.SIPTLS {
			s, err := secure(t, to, nil)
			if err != nil {
				t.Fatal(err)
			}
			s.say(probe("a"))
			s.next()
		} else {
			w := upgraded(t, to, http.Header{})
			w.Write(t.Context(), websocket.MessageText, []byte(probe("a")))
			if _, b, err := w.Read(t.Context()); err != nil || status(string(b)) != "200 OK" {
				t.Errorf("%q, %v", b, err)
			}
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("%s: took %v", id, took)
		}
		for deadline := time.Now().Add(5 * time.Second); e.Stats().Conns > 1; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d connections are left", id, e.Stats().Conns)
			}
		}
	}
}

func dialWS(t testing.TB, to netip.AddrPort, h http.Header, protocols ...string) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	host := h.Get("Host")
	h.Del("Host")
	return websocket.Dial(ctx, "wss://"+to.String()+"/ws", &websocket.DialOptions{HTTPClient: client, HTTPHeader: h, Host: host, Subprotocols: protocols})
}

func upgraded(t testing.TB, to netip.AddrPort, h http.Header) *websocket.Conn {
	t.Helper()
	ws, _, err := dialWS(t, to, h, "sip")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.CloseNow() })
	return ws
}

func TestUpgradeChecks(t *testing.T) {
	t.Parallel()
	_, to := listenOn(t, Config{
		TLS:           shows(certificate(t, "pbx")),
		OriginAllowed: func(host string) bool { return host == "pbx.example" },
	}, ports.EdgeWSS, loopback)
	for _, c := range []struct {
		name, origin, host string
		protocols          []string
		status             int
	}{
		{"no browser", "", "", []string{"sip"}, 101},
		{"several subprotocols", "", "", []string{"chat", "sip"}, 101},
		{"own page", "https://pbx.example:10443", "", []string{"sip"}, 101},
		{"own page, any case", "https://PBX.example", "", []string{"sip"}, 101},
		{"own address", "https://127.0.0.1", "", []string{"sip"}, 101},
		{"own IPv6 address", "https://[2001:db8::1]:8887", "[2001:db8::1]:5065", []string{"sip"}, 101},
		{"foreign page", "https://evil.example", "", []string{"sip"}, 403},
		{"foreign page, rebound", "https://evil.example", "evil.example", []string{"sip"}, 403},
		{"foreign address", "https://203.0.113.9", "", []string{"sip"}, 403},
		{"no page", "null", "", []string{"sip"}, 403},
		{"a file", "file:///etc", "", []string{"sip"}, 403},
		{"no subprotocol", "", "", nil, 400},
		{"another subprotocol", "", "", []string{"chat"}, 400},
	} {
		h := http.Header{}
		if c.origin != "" {
			h.Set("Origin", c.origin)
		}
		if c.host != "" {
			h.Set("Host", c.host)
		}
		ws, res, err := dialWS(t, to, h, c.protocols...)
		if res == nil || res.StatusCode != c.status {
			t.Errorf("%s: %v, %v", c.name, res, err)
		}
		if err == nil {
			ws.CloseNow()
		}
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	res, err := client.Get("https://" + to.String() + "/")
	if err != nil || res.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("a plain GET: %v, %v", res, err)
	}
}

// RFC 7118: one message in a frame, text or binary; Via says WSS; keep-alives
// as text and as Ping with a payload; what is not UTF-8 leaves as binary.
func TestWebSocketFrames(t *testing.T) {
	t.Parallel()
	flows := make(chan Flow, 1)
	e, to := listenOn(t, Config{TLS: shows(certificate(t, "pbx"))}, ports.EdgeWSS, loopback)
	e.Handle(MESSAGE, HandlerFunc(func(tx *ServerTx) { flows <- tx.Flow(); tx.Reply(Reply{Code: 200}) }))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ws := upgraded(t, to, http.Header{})
	say := func(kind websocket.MessageType, text string) (websocket.MessageType, string) {
		t.Helper()
		if err := ws.Write(ctx, kind, []byte(text)); err != nil {
			t.Fatal(err)
		}
		kind, b, err := ws.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return kind, string(b)
	}
	for _, kind := range []websocket.MessageType{websocket.MessageText, websocket.MessageBinary} {
		if _, got := say(kind, strings.Replace(probe("a"), "Content-Length: 0\r\n", "", 1)); status(got) != "200 OK" {
			t.Errorf("%v: %q", kind, got)
		}
	}
	if kind, got := say(websocket.MessageText, "\r\n\r\n"); got != "\r\n" || kind != websocket.MessageText {
		t.Errorf("keep-alive answered with %q", got)
	}
	if kind, got := say(websocket.MessageBinary, strings.Replace(probe("b"), "tag=1", "tag=1\r\nSubject: \xff", 1)); kind != websocket.MessageText || status(got) != "200 OK" {
		t.Errorf("%v %q", kind, got)
	}
	if kind, got := say(websocket.MessageBinary, strings.Replace(probe("b"), "<sip:x@a.test>", "\"\xff\" <sip:x@a.test>", 1)); kind != websocket.MessageBinary {
		t.Errorf("%v %q", kind, got)
	}
	say(websocket.MessageText, strings.ReplaceAll(probe("m"), OPTIONS, MESSAGE))
	if _, err := e.Request(<-flows, Outgoing{Method: OPTIONS, URI: "sip:x", From: "<sip:a>;tag=1", To: "<sip:x>", CallID: "out", CSeq: 1}, func(*Response) {}); err != nil {
		t.Fatal(err)
	}
	if _, b, err := ws.Read(ctx); err != nil || !strings.Contains(string(b), "\r\nVia: SIP/2.0/WSS ") {
		t.Errorf("%q, %v", b, err)
	}
	reading := ws.CloseRead(ctx)
	for range 3 {
		if err := ws.Ping(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if reading.Err() != nil {
		t.Error("the connection ended over a Ping")
	}
	big := upgraded(t, to, http.Header{})
	big.Write(ctx, websocket.MessageText, make([]byte, 70000))
	if _, _, err := big.Read(ctx); websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
		t.Errorf("70,000 bytes: %v", err)
	}
}

// A peer that answers no Ping is gone.
func TestSilentWebSocketEnds(t *testing.T) {
	t.Parallel()
	e, to := listenOn(t, Config{TLS: shows(certificate(t, "pbx")), Streams: StreamTimes{Ping: 50 * time.Millisecond, Handshake: 300 * time.Millisecond}}, ports.EdgeWSS, loopback)
	upgraded(t, to, http.Header{}) // never reads, so never answers a Ping
	if n := e.Stats().Conns; n != 1 {
		t.Fatalf("%d connections", n)
	}
	for deadline := time.Now().Add(5 * time.Second); e.Stats().Conns > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the connection stays")
		}
	}
}

// What any stranger can cause is one line in ten seconds, however often it does.
func TestStrangersDoNotFillTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, nil))
		var s seldom
		for range 1000 {
			s.log(log, "refused")
		}
		time.Sleep(seldomInterval)
		s.log(log, "refused")
		if got := out.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "count=1000") {
			t.Errorf("%s", got)
		}
	})
}
