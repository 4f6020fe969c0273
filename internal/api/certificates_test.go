package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"ringfence/internal/certs"
)

// ownSigned is a certificate as people make it, with its key.
func ownSigned(t *testing.T, life time.Duration, names ...string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: serial, DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

func TestCertificatesOverTheAPI(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	var list CertificateList
	boss.must(http.StatusOK, "GET", "/certificates", nil, &list)
	if len(list.Items) != 1 || list.Items[0].ID != "standard" || list.Items[0].Source != "made_here" || !list.Items[0].InForce || !slices.Equal(list.Uncovered, []string{"pbx.example"}) {
		t.Fatalf("%+v", list)
	}
	cert, key := ownSigned(t, 10*24*time.Hour+time.Hour, "pbx.example", "www.pbx.example")
	a := boss.must(http.StatusUnprocessableEntity, "POST", "/certificates", CertificateUpload{Certificate: cert}, nil)
	if len(a.Problem.Errors) != 1 || a.Problem.Errors[0].Location != "body.key" {
		t.Errorf("%s", a.Body)
	}
	var made Certificate
	a = boss.must(http.StatusCreated, "POST", "/certificates", CertificateUpload{Certificate: key + cert}, &made)
	if made.InForce || made.DaysLeft != 10 || made.Title != "pbx.example" || !slices.Equal(made.UsedFor, []string{"pbx.example"}) || !strings.Contains(strings.Join(made.Warnings, " "), "expires in 10 days") {
		t.Errorf("%+v", made)
	}
	if strings.Contains(a.Body.String(), "PRIVATE") {
		t.Error("the answer holds the key")
	}
	boss.must(http.StatusOK, "PUT", "/certificates/in-force", CertificateChoice{ID: made.ID}, &made)
	if !made.InForce || b.store.Snapshot().Settings.Certificate != made.ID {
		t.Errorf("%+v", made)
	}
	boss.must(http.StatusConflict, "DELETE", "/certificates/"+made.ID, nil, nil)
	boss.must(http.StatusConflict, "DELETE", "/certificates/standard", nil, nil)
	for _, id := range []string{"0123456789abcdef", "acme"} {
		boss.must(http.StatusNotFound, "DELETE", "/certificates/"+id, nil, nil)
		boss.must(http.StatusNotFound, "PUT", "/certificates/in-force", CertificateChoice{ID: id}, nil)
	}
	boss.must(http.StatusOK, "GET", "/certificates", nil, &list)
	if len(list.Items) != 2 || len(list.Uncovered) != 0 || list.Items[0].InForce {
		t.Errorf("%+v", list)
	}
	if text := b.certificateForOperator(); !strings.Contains(text, "pbx.example: until") || !strings.Contains(text, "10 days left") {
		t.Error(text)
	}
	// One that is for other names takes the place: said, and done.
	cert, key = ownSigned(t, 100*24*time.Hour, "other.example")
	var other Certificate
	boss.must(http.StatusCreated, "POST", "/certificates", CertificateUpload{Certificate: cert, Key: key, Use: true}, &other)
	if !other.InForce || len(other.UsedFor) != 0 {
		t.Errorf("%+v", other)
	}
	if text := b.certificateForOperator(); !strings.Contains(text, "other.example: until") || !strings.Contains(text, "another one, of pbx.example") {
		t.Error(text)
	}
	boss.must(http.StatusNoContent, "DELETE", "/certificates/"+made.ID, nil, nil)
	boss.must(http.StatusOK, "PUT", "/certificates/in-force", CertificateChoice{ID: "standard"}, nil)
	if b.store.Snapshot().Settings.Certificate != certs.Standard {
		t.Error("the standard certificate is not in force")
	}
	a = boss.must(http.StatusOK, "GET", "/audit", nil, nil)
	for _, want := range []string{"certificate.upload", "certificate.delete", made.ID} {
		if !strings.Contains(a.Body.String(), want) {
			t.Errorf("the audit log lacks %s", want)
		}
	}
	if strings.Contains(a.Body.String(), "PRIVATE") || strings.Contains(b.log.String(), "PRIVATE") {
		t.Error("a key is in a log")
	}
}

func TestACMESettingsNameTheirField(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	good := ACMEUpdate{Enabled: true, Names: []string{"PBX.example."}, TermsAgreed: true, Email: "a@pbx.example"}
	for name, c := range map[string]struct {
		change func(*ACMEUpdate)
		where  string
	}{
		"plain HTTP":  {func(u *ACMEUpdate) { u.Directory = "http://ca.example/dir" }, "body.directory"},
		"password":    {func(u *ACMEUpdate) { u.Directory = "https://a:b@ca.example/dir" }, "body.directory"},
		"no names":    {func(u *ACMEUpdate) { u.Names = []string{} }, "body.names"},
		"wildcard":    {func(u *ACMEUpdate) { u.Names = []string{"*.pbx.example"} }, "body.names"},
		"address":     {func(u *ACMEUpdate) { u.Names = []string{"192.0.2.1"} }, "body.names"},
		"short":       {func(u *ACMEUpdate) { u.Names = []string{"pbx"} }, "body.names"},
		"twice":       {func(u *ACMEUpdate) { u.Names = []string{"pbx.example", "pbx.example."} }, "body.names"},
		"not agreed":  {func(u *ACMEUpdate) { u.TermsAgreed = false }, "body.terms_agreed"},
		"mail":        {func(u *ACMEUpdate) { u.Email = "Boss <a@b.example>" }, "body.email"},
		"a key":       {func(u *ACMEUpdate) { _, u.Roots = ownSigned(t, time.Hour, "a.example") }, "body.roots"},
		"not a label": {func(u *ACMEUpdate) { u.Names = []string{"a_b.example"} }, "body.names"},
	} {
		u := good
		c.change(&u)
		a := boss.must(http.StatusUnprocessableEntity, "PUT", "/acme", u, nil)
		if len(a.Problem.Errors) != 1 || a.Problem.Errors[0].Location != c.where {
			t.Errorf("%s: %s, want %s", name, a.Body, c.where)
		}
	}
	var now ACME
	boss.must(http.StatusOK, "PUT", "/acme", good, &now)
	if !slices.Equal(now.ACMEUpdate.Names, []string{"pbx.example"}) || now.DefaultDirectory == "" || b.store.Snapshot().Settings.ACME.Email != "a@pbx.example" {
		t.Errorf("%+v", now)
	}
	boss.must(http.StatusConflict, "POST", "/acme/ask", nil, nil) // nobody is there to ask
	boss.must(http.StatusConflict, "POST", "/acme/check", NameCheck{Names: []string{"pbx.example"}}, nil)
	boss.must(http.StatusUnprocessableEntity, "POST", "/acme/check", NameCheck{Names: []string{"not a name"}}, nil)
}
