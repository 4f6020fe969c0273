package pbx_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ringfence/internal/certs"
	"ringfence/internal/pbx"
	"ringfence/internal/pbxtest"
	"ringfence/internal/ports"
	"ringfence/internal/siptest"
	"ringfence/tests/apiclient"
)

// SIP over TCP has a port of its own: that of UDP answers no connection.
func TestUDPPortIsClosedForTCP(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	for _, id := range []ports.ID{ports.SIPUDP, ports.EdgeUDP} {
		if c, err := net.Dial("tcp", p.Addr(id).String()); err == nil {
			c.Close()
			t.Errorf("%s takes connections", id)
		}
	}
}

// A certificate is replaced while a call runs over TLS and WSS: the call goes
// on, new handshakes see the new certificate.
func TestCertificateIsReplacedDuringACall(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := pbxtest.Open(t, pbx.Options{DataDir: dir, Extensions: 3})
	out, in := connect(t, p.PhoneOn(ports.SIPTLS, "101", 440), p.PhoneOn(ports.EdgeWSS, "102", 880), "102")
	shown := func(id ports.ID) []byte {
		t.Helper()
		c, err := tls.Dial("tcp", p.Addr(id).String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].Raw
	}
	old := shown(ports.SIPTLS)
	other := t.TempDir()
	if _, err := certs.Open(certs.Config{Dir: other, Names: []string{"new.example"}}); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(other, certs.FileName), filepath.Join(dir, certs.FileName)); err != nil {
		t.Fatal(err)
	}
	for _, id := range []ports.ID{ports.SIPTLS, ports.EdgeWSS} {
		for deadline := time.Now().Add(15 * time.Second); bytes.Equal(shown(id), old); time.Sleep(200 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s still shows the old certificate", id)
			}
		}
	}
	p.PhoneOn(ports.SIPTLS, "103", 660)
	talk(t, out, in, true, 440, 880)
}

// Client certificates are a setting: in force for the next handshake.
func TestClientCertificatesAreASetting(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	admin := p.Admin()
	own := phoneCertificate(t)
	authorities := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.Certificate[0]}))
	if err := admin.Do(t.Context(), "PUT", "/client-certificates", map[string]string{"mode": "require", "authorities": ""}, nil); apiclient.Status(err) != http.StatusUnprocessableEntity {
		t.Errorf("requiring certificates of nobody: %v", err)
	}
	if err := admin.Do(t.Context(), "PUT", "/client-certificates", map[string]string{"mode": "require", "authorities": authorities}, nil); err != nil {
		t.Fatal(err)
	}
	register := func(certificates ...tls.Certificate) error {
		e := p.Extension("101")
		phone, err := siptest.Start(siptest.Config{
			Server: p.Addr(ports.SIPTLS), Transport: "TLS", User: e.SIPUser, Password: e.SIPPassword, Domain: e.Domain, T1: 50 * time.Millisecond,
			TLS: &tls.Config{InsecureSkipVerify: true, Certificates: certificates},
		})
		if err != nil {
			return err
		}
		defer phone.Close()
		return phone.Register(within(t, 5*time.Second))
	}
	if err := register(); err == nil {
		t.Error("a phone without a certificate registered")
	}
	if err := register(own); err != nil {
		t.Errorf("the phone with its certificate: %v", err)
	}
}

// phoneCertificate is a self-signed one for clients.
func phoneCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "phone"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
