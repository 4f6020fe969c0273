package pbx_test

import (
	"bytes"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ringfence/internal/certs"
	"ringfence/internal/pbx"
	"ringfence/internal/pbxtest"
	"ringfence/internal/ports"
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
