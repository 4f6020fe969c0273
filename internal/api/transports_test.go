package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

func TestTransports(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	ids := func() string {
		t.Helper()
		var list TransportList
		if a := boss.do(http.MethodGet, "/transports", nil, &list); a.Code != http.StatusOK {
			t.Fatalf("%d %s", a.Code, a.Body)
		}
		var out []string
		for _, x := range list.Items {
			out = append(out, x.ID)
			if x.State != "listening" || x.Port == 0 {
				t.Errorf("%+v", x)
			}
		}
		return strings.Join(out, " ")
	}
	if got := ids(); got != "sip-udp edge-wss" {
		t.Fatalf("out of the box: %s", got)
	}
	for _, c := range []struct {
		name   string
		in     TransportCreate
		status int
		where  string
	}{
		{"exists", TransportCreate{Side: "core", Protocol: "udp"}, 409, "body.protocol"},
		{"RTP range", TransportCreate{Side: "edge", Protocol: "udp", Port: 45010}, 409, "body.port"},
		{"another transport", TransportCreate{Side: "core", Protocol: "tls", Port: 5065}, 409, "body.port"},
		{"a row that is off", TransportCreate{Side: "core", Protocol: "tls", Port: 8888}, 409, "body.port"},
		{"reserved", TransportCreate{Side: "core", Protocol: "tls", Port: 443}, 409, "body.port"},
		{"another program", TransportCreate{Side: "core", Protocol: "tls", Port: busyPort}, 409, "body.port"},
		{"no such", TransportCreate{Side: "core", Protocol: "wss"}, 422, "body.protocol"},
		{"no port", TransportCreate{Side: "core", Protocol: "tls", Port: 70000}, 422, "body.port"},
		{"standard port", TransportCreate{Side: "core", Protocol: "tls"}, 201, ""},
	} {
		a := boss.do(http.MethodPost, "/transports", c.in, nil)
		if a.Code != c.status || !strings.Contains(a.Body.String(), c.where) {
			t.Errorf("%s: %d %s", c.name, a.Code, a.Body)
		}
	}
	if got := ids(); got != "sip-udp sip-tls edge-wss" {
		t.Errorf("with TLS: %s", got)
	}
	if a := boss.do(http.MethodDelete, "/transports/sip-udp", nil, nil); a.Code != http.StatusNoContent {
		t.Errorf("deleting UDP: %d %s", a.Code, a.Body)
	}
	var made Transport
	if a := boss.do(http.MethodPost, "/transports", TransportCreate{Side: "core", Protocol: "udp", Port: 5080}, &made); a.Code != http.StatusCreated || made.Port != 5080 || made.ID != "sip-udp" {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	for _, id := range []string{"edge-wss", "sip-tls"} {
		if a := boss.do(http.MethodDelete, "/transports/"+id, nil, nil); a.Code != http.StatusNoContent {
			t.Errorf("deleting %s: %d %s", id, a.Code, a.Body)
		}
	}
	if a := boss.do(http.MethodDelete, "/transports/sip-udp", nil, nil); a.Code != http.StatusConflict || !strings.Contains(a.Body.String(), "last SIP listener") {
		t.Errorf("deleting the last: %d %s", a.Code, a.Body)
	}
	for _, id := range []string{"sip-tls", "portal", "nothing"} {
		if a := boss.do(http.MethodDelete, "/transports/"+id, nil, nil); a.Code != http.StatusNotFound {
			t.Errorf("deleting %s: %d %s", id, a.Code, a.Body)
		}
	}
	ann := b.user(1, "ann", telephony.RoleAdmin, "")
	if a := ann.do(http.MethodDelete, "/transports/sip-udp", nil, nil); a.Code != http.StatusForbidden {
		t.Errorf("an administrator of a tenant: %d %s", a.Code, a.Body)
	}
	history, err := b.store.System().Audit(t.Context(), store.AuditFilter{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range history {
		if e.Actor.Name == "boss" && strings.Contains(string(e.Payload), `"ports"`) {
			n++
		}
	}
	if n != 5 {
		t.Errorf("%d entries in the history, want 5: %+v", n, history)
	}
}

// TestDigestOfATransport: it is set, kept while the transport exists, and gone
// with it.
func TestDigestOfATransport(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	var made Transport
	boss.must(http.StatusCreated, "POST", "/transports", TransportCreate{Side: "core", Protocol: "tls", Digest: "sha256"}, &made)
	if made.Digest != "sha256" || b.store.Snapshot().Settings.ListenerDigests[ports.SIPTLS] != telephony.DigestSHA256 {
		t.Errorf("created: %+v", made)
	}
	boss.must(http.StatusOK, "PUT", "/transports/sip-tls", TransportUpdate{Digest: "both"}, &made)
	if made.Digest != "both" || made.Port != 5061 {
		t.Errorf("changed: %+v", made)
	}
	boss.must(http.StatusOK, "PUT", "/transports/sip-udp", TransportUpdate{Digest: "md5"}, nil)
	boss.must(http.StatusNoContent, "DELETE", "/transports/sip-tls", nil, nil)
	boss.must(http.StatusCreated, "POST", "/transports", TransportCreate{Side: "core", Protocol: "tls"}, &made)
	if made.Digest != "default" {
		t.Errorf("created again: %+v", made)
	}
	boss.must(http.StatusOK, "PUT", "/transports/sip-udp", TransportUpdate{Digest: "default"}, &made)
	if left := b.store.Snapshot().Settings.ListenerDigests; len(left) != 0 || made.Digest != "default" {
		t.Errorf("left: %v, %+v", left, made)
	}
	if a := boss.do("PUT", "/transports/sip-udp", TransportUpdate{Digest: "sha1"}, nil); a.Code != 422 || a.Problem.Errors[0].Location != "body.digest" {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	for _, id := range []string{"sip-tcp", "portal"} {
		if a := boss.do("PUT", "/transports/"+id, TransportUpdate{Digest: "md5"}, nil); a.Code != 404 {
			t.Errorf("%s: %d %s", id, a.Code, a.Body)
		}
	}
}

func TestClientCertificates(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	authority, other := certificate(t, "Phones of Acme", true), certificate(t, "A phone", false)
	var have ClientCertificates
	boss.must(http.StatusOK, "GET", "/client-certificates", nil, &have)
	if have.Mode != "off" || have.Authorities != "" || have.Issuers == nil {
		t.Errorf("at first: %+v", have)
	}
	boss.must(http.StatusOK, "PUT", "/client-certificates", ClientCertificatesUpdate{Mode: "require", Authorities: authority}, &have)
	if have.Mode != "require" || len(have.Issuers) != 1 || have.Issuers[0].Name != "CN=Phones of Acme" || have.Issuers[0].ExpiresAt.Before(time.Now()) {
		t.Errorf("required: %+v", have)
	}
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("secret")}))
	for what, x := range map[string]struct {
		in    ClientCertificatesUpdate
		field string
	}{
		"no authority":   {ClientCertificatesUpdate{Mode: "verify"}, "body.authorities"},
		"no PEM":         {ClientCertificatesUpdate{Mode: "off", Authorities: "hello"}, "body.authorities"},
		"a key":          {ClientCertificatesUpdate{Mode: "verify", Authorities: authority + key}, "body.authorities"},
		"cut off":        {ClientCertificatesUpdate{Mode: "verify", Authorities: authority + authority[:60]}, "body.authorities"},
		"not an issuer":  {ClientCertificatesUpdate{Mode: "verify", Authorities: other}, "body.authorities"},
		"an unknown way": {ClientCertificatesUpdate{Mode: "sometimes", Authorities: authority}, "body.mode"},
	} {
		a := boss.do("PUT", "/client-certificates", x.in, nil)
		if a.Code != 422 || len(a.Problem.Errors) != 1 || a.Problem.Errors[0].Location != x.field || strings.Contains(a.Body.String(), "BEGIN") {
			t.Errorf("%s: %d %s", what, a.Code, a.Body)
		}
	}
	boss.must(http.StatusOK, "GET", "/client-certificates", nil, &have)
	if have.Mode != "require" || have.Authorities != authority {
		t.Errorf("after refusals: %+v", have)
	}
}

// certificate is one as PEM: of an authority, or issued by one.
func certificate(t *testing.T, name string, ca bool) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: ca, BasicConstraintsValid: true,
	}
	issuer := *c
	if !ca {
		issuer.Subject = pkix.Name{CommonName: "somebody"}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, &issuer, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
