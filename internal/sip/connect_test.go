package sip

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"ringfence/internal/ports"
)

func plainDial(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, to.String())
}

// outward is an endpoint that listens nowhere.
func outward(t testing.TB, c Config) *Endpoint {
	c.Logger = quiet()
	e := New(c)
	t.Cleanup(func() { e.Close() })
	return e
}

func probing() Outgoing {
	return Outgoing{Method: OPTIONS, URI: "sip:a.test", From: "<sip:x@a.test>;tag=1", To: "<sip:a.test>", CallID: NewCallID(), CSeq: 1}
}

// final sends a request and waits for its answer.
func final(t testing.TB, e *Endpoint, f Flow, out Outgoing) *Response {
	t.Helper()
	got := make(chan *Response, 4)
	if _, err := e.Request(f, out, func(r *Response) { got <- r }); err != nil {
		t.Fatal(err)
	}
	select {
	case r := <-got:
		return r
	case <-time.After(20 * time.Second):
		t.Fatal("no answer")
		return nil
	}
}

// named is a certificate with the given names, signed by itself.
func named(t testing.TB, dns []string, uris ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: dns, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	for _, u := range uris {
		p, err := url.Parse(u)
		if err != nil {
			t.Fatal(err)
		}
		c.URIs = append(c.URIs, p)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, _ := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func pool(c tls.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(c.Leaf)
	return p
}

func TestConnectionsOfOurOwnCarryRequestsBothWays(t *testing.T) {
	t.Parallel()
	cert := named(t, []string{"provider.test"})
	for _, id := range []ports.ID{ports.SIPTCP, ports.SIPTLS} {
		came := make(chan *ServerTx, 1)
		far, to := listenOn(t, Config{TLS: shows(cert)}, id, loopback)
		far.Handle("", HandlerFunc(func(tx *ServerTx) { came <- tx; tx.Reply(Reply{Code: 200}) }))
		e := outward(t, Config{})
		gone := make(chan struct{})
		f, err := e.Connect(t.Context(), Connecting{Service: id, Remote: to, Dial: plainDial, ServerName: "provider.test", Roots: pool(cert), Gone: func() { close(gone) }})
		if err != nil {
			t.Fatal(err)
		}
		out := probing()
		out.Method = INFO
		if r := final(t, e, f, out); r.Code != 200 || r.Local {
			t.Fatalf("%s: %d %v", id, r.Code, r.Local)
		}
		back := (<-came).Flow()
		if r := final(t, far, back, probing()); r.Code != 200 || r.Local {
			t.Errorf("%s: back: %d %v", id, r.Code, r.Local)
		}
		if again, err := e.Flow(e.Stored(f)); err != nil || again != f {
			t.Errorf("%s: stored flow: %v", id, err)
		}
		if err := f.Ping(); err != nil || !f.Live() {
			t.Errorf("%s: ping: %v", id, err)
		}
		f.Close()
		select {
		case <-gone:
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: nobody was told of the end", id)
		}
		if f.Live() {
			t.Errorf("%s: lives after its end", id)
		}
		if _, err := e.Flow(e.Stored(f)); err == nil {
			t.Errorf("%s: a flow that ended is found", id)
		}
		if n := e.Stats().Conns; n != 0 {
			t.Errorf("%s: %d connections are kept", id, n)
		}
	}
}

// TestRequestsFailAtOnceWithTheirConnection: a call that waits 32 seconds for a
// provider that is gone has no time to take another way.
func TestRequestsFailAtOnceWithTheirConnection(t *testing.T) {
	t.Parallel()
	far, to := listenOn(t, Config{}, ports.SIPTCP, loopback)
	asked := make(chan struct{})
	far.Handle("", HandlerFunc(func(tx *ServerTx) { close(asked) }))
	e := outward(t, Config{})
	f, err := e.Connect(t.Context(), Connecting{Service: ports.SIPTCP, Remote: to, Dial: plainDial})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan *Response, 1)
	out := probing()
	out.Method = INVITE
	if _, err := e.Request(f, out, func(r *Response) { got <- r }); err != nil {
		t.Fatal(err)
	}
	<-asked
	far.Close()
	select {
	case r := <-got:
		if r.Code != 503 || !r.Local {
			t.Errorf("%d", r.Code)
		}
	case <-time.After(20 * time.Second):
		t.Error("the request still waits")
	}
}

func TestCertificatesOfPeersAreVerified(t *testing.T) {
	t.Parallel()
	cert := named(t, []string{"sip.provider.test"}, "sip:provider.test")
	_, to := listenOn(t, Config{TLS: shows(cert)}, ports.SIPTLS, loopback)
	other := named(t, []string{"provider.test"})
	e := outward(t, Config{})
	for _, c := range []struct {
		name  string
		roots *x509.CertPool
		ok    bool
	}{
		{"provider.test", pool(cert), true}, // by its URI
		{"sip.provider.test", pool(cert), true},
		{"127.0.0.1", pool(cert), true},
		{"127.0.0.2", pool(cert), false},
		{"evil.test", pool(cert), false},
		{"provider.test", pool(other), false},
		{"provider.test", nil, false}, // the system does not know it
	} {
		f, err := e.Connect(t.Context(), Connecting{Service: ports.SIPTLS, Remote: to, Dial: plainDial, ServerName: c.name, Roots: c.roots})
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if err == nil {
			f.Close()
		}
	}
}

func TestConnectShowsOurCertificateToWhoAsks(t *testing.T) {
	t.Parallel()
	cert, ours := named(t, []string{"provider.test"}), certificate(t, "pbx")
	far := shows(cert)
	far.Clients = func() (*x509.CertPool, bool) { return pool(ours), true }
	_, to := listenOn(t, Config{TLS: far}, ports.SIPTLS, loopback)
	for _, show := range []bool{true, false} {
		var c Config
		if show {
			c.TLS = shows(ours)
		}
		e := outward(t, c)
		f, err := e.Connect(t.Context(), Connecting{Service: ports.SIPTLS, Remote: to, Dial: plainDial, ServerName: "provider.test", Roots: pool(cert)})
		if err != nil {
			continue // TLS 1.2 says so at once, 1.3 with the first read
		}
		if r := final(t, e, f, probing()); (r.Code == 200) != show {
			t.Errorf("certificate shown %v: %d", show, r.Code)
		}
	}
}

func TestConnectAfterCloseLeavesNothing(t *testing.T) {
	t.Parallel()
	_, to := listenOn(t, Config{}, ports.SIPTCP, loopback)
	e := outward(t, Config{})
	e.Close()
	if _, err := e.Connect(t.Context(), Connecting{Service: ports.SIPTCP, Remote: to, Dial: plainDial}); err == nil {
		t.Error("connected")
	}
	if _, err := e.Connect(t.Context(), Connecting{Service: ports.SIPUDP, Remote: to, Dial: plainDial}); err == nil {
		t.Error("connected over UDP")
	}
}
