package pbx_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"ringfence/internal/pbx"
	"ringfence/internal/pbxtest"
	"ringfence/internal/ports"
	"ringfence/internal/siptest"
	"ringfence/tests/apiclient"
)

// serverCertificate is a self-signed one for names, with its key, as PEM.
func serverCertificate(t *testing.T, life time.Duration, names ...string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) + string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

type certificate struct {
	ID, Fingerprint string
	InForce         bool `json:"in_force"`
}

func upload(t *testing.T, admin *apiclient.Client, text string, use bool) (made certificate) {
	t.Helper()
	if err := admin.Do(t.Context(), http.MethodPost, "/certificates", map[string]any{"certificate": text, "use": use}, &made); err != nil {
		t.Fatal(err)
	}
	return made
}

// shown is the fingerprint that a listener shows to who asks for a name.
func shown(t *testing.T, p *pbxtest.PBX, id ports.ID, name string) string {
	t.Helper()
	c, err := tls.Dial("tcp", p.Addr(id).String(), &tls.Config{InsecureSkipVerify: true, ServerName: name})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sum := sha256.Sum256(c.ConnectionState().PeerCertificates[0].Raw)
	return hex.EncodeToString(sum[:])
}

// W05: uploaded certificates are in force at once on HTTPS, SIP over TLS and WSS,
// by name, while calls over TLS, WSS and DTLS-SRTP and a connection of the portal
// go on.
func TestUploadedCertificateIsInForceDuringCalls(t *testing.T) {
	t.Parallel()
	p := pbxtest.Open(t, pbx.Options{DataDir: t.TempDir(), Extensions: 5})
	admin := p.Admin() // its connections stay
	out, in := connect(t, p.PhoneOn(ports.SIPTLS, "101", 440), p.PhoneOn(ports.EdgeWSS, "102", 880), "102")
	out2, in2 := connect(t, p.PhoneOn(ports.SIPTLS, "103", 500, func(c *siptest.Config) { c.DTLS = true }), p.PhoneOn(ports.EdgeWSS, "104", 700, func(c *siptest.Config) { c.DTLS = true }), "104")
	old := shown(t, p, ports.Portal, "")
	quiet := upload(t, admin, serverCertificate(t, 40*24*time.Hour, "sip.other.example"), false)
	chosen := upload(t, admin, serverCertificate(t, 5*24*time.Hour+time.Hour, "pbx.example"), true)
	if quiet.InForce || !chosen.InForce {
		t.Errorf("in force: %v, %v", quiet.InForce, chosen.InForce)
	}
	for _, id := range []ports.ID{ports.Portal, ports.SIPTLS, ports.EdgeWSS} {
		for name, want := range map[string]string{"": chosen.Fingerprint, "pbx.example": chosen.Fingerprint, "sip.other.example": quiet.Fingerprint, "strange.example": chosen.Fingerprint} {
			if got := shown(t, p, id, name); got != want || got == old {
				t.Errorf("%s shows %s to who asks for %q, want %s", id, got, name, want)
			}
		}
	}
	p.PhoneOn(ports.SIPTLS, "105", 660)
	talk(t, out, in, true, 440, 880)
	talk(t, out2, in2, true, 500, 700)
	var status struct{ Notices []string }
	if err := admin.Do(t.Context(), http.MethodGet, "/status", nil, &status); err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(status.Notices, "\n"); !strings.Contains(text, "pbx.example, which is in force, expires in 5 days") || strings.Contains(text, "sip.other.example") {
		t.Errorf("notices %q", status.Notices)
	}
}
