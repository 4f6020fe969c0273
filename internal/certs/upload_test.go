package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"ringfence/internal/telephony"
)

// issued is a certificate of the tests with its key.
type issued struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func ecKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue signs a certificate; by nil is itself.
func issue(t testing.TB, by *issued, key crypto.Signer, change func(*x509.Certificate)) *issued {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: serial, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour), BasicConstraintsValid: true}
	change(c)
	parent, signer := c, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &issued{parsed, key}
}

func authority(name string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.IsCA, c.Subject = true, pkix.Name{CommonName: name} }
}

func server(names ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.DNSNames, c.Subject = names, pkix.Name{CommonName: names[0]}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
}

func (i *issued) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.cert.Raw}))
}

func keyPEM(t testing.TB, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// company is a root, an intermediate authority and a server.
func company(t testing.TB) (root, between, leaf *issued) {
	root = issue(t, nil, ecKey(t), authority("Root"))
	between = issue(t, root, ecKey(t), authority("Between"))
	return root, between, issue(t, between, ecKey(t), server("pbx.example", "*.sip.example"))
}

// Whatever the order and wherever the key stands, the same is kept: the leaf, its
// chain without the root, the key.
func TestUploadTakesEveryOrder(t *testing.T) {
	t.Parallel()
	root, between, leaf := company(t)
	key := keyPEM(t, leaf.key)
	sec1, err := x509.MarshalECPrivateKey(leaf.key.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	ecText := "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}))
	p12, err := pkcs12.Modern.Encode(leaf.key, leaf.cert, []*x509.Certificate{root.cert, between.cert}, "geheim")
	if err != nil {
		t.Fatal(err)
	}
	legacy, err := pkcs12.LegacyRC2.Encode(leaf.key, leaf.cert, []*x509.Certificate{between.cert}, "")
	if err != nil {
		t.Fatal(err)
	}
	for name, u := range map[string]Upload{
		"leaf first":         {Certificate: leaf.pem() + between.pem(), Key: key},
		"root first":         {Certificate: root.pem() + between.pem() + leaf.pem(), Key: key},
		"all in one":         {Certificate: key + between.pem() + leaf.pem() + root.pem()},
		"key field only":     {Key: leaf.pem() + key + between.pem()},
		"windows":            {Certificate: "\ufeff" + strings.ReplaceAll(leaf.pem()+between.pem(), "\n", "\r\n"), Key: strings.ReplaceAll(key, "\n", "\r\n")},
		"text between":       {Certificate: "subject=CN = pbx.example\n" + leaf.pem() + "\nissuer=CN = Root\n" + between.pem(), Key: "Bag Attributes\n" + key},
		"openssl ecparam":    {Certificate: leaf.pem() + between.pem(), Key: ecText},
		"pkcs12":             {PKCS12: p12, Password: "geheim"},
		"pkcs12 of old days": {PKCS12: legacy},
	} {
		s := open(t, t.TempDir(), newClock(time.Now()))
		c, _, err := s.Add(u)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !bytes.Equal(c.pair.Certificate[0], leaf.cert.Raw) || c.Chain != 2 || !bytes.Equal(c.pair.Certificate[1], between.cert.Raw) {
			t.Errorf("%s: %d certificates are kept, the first of %s", name, c.Chain, Title(c.Leaf))
		}
		if c.Source != Uploaded || len(c.ID) != 16 || !strings.HasPrefix(c.Fingerprint(), c.ID) || c.Key() != "ECDSA P-256" {
			t.Errorf("%s: %+v", name, c)
		}
		st, err := os.Stat(filepath.Join(s.cfg.Dir, keptFolder, c.ID+".pem"))
		if err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, st, err)
		}
	}
}

func TestUploadRefusals(t *testing.T) {
	t.Parallel()
	_, between, leaf := company(t)
	key := keyPEM(t, leaf.key)
	p12, err := pkcs12.Modern.Encode(leaf.key, leaf.cert, nil, "geheim")
	if err != nil {
		t.Fatal(err)
	}
	of := func(k crypto.Signer, change func(*x509.Certificate)) Upload {
		i := issue(t, between, k, func(c *x509.Certificate) { server("pbx.example")(c); change(c) })
		return Upload{Certificate: i.pem(), Key: keyPEM(t, k)}
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		in          Upload
		field, says string
	}{
		"nothing":           {Upload{}, "certificate", "is missing"},
		"no key":            {Upload{Certificate: leaf.pem()}, "key", "is missing"},
		"no certificate":    {Upload{Key: key}, "certificate", "is missing"},
		"other key":         {Upload{Certificate: leaf.pem(), Key: keyPEM(t, ecKey(t))}, "key", "does not belong to the certificate of pbx.example"},
		"key of nobody":     {Upload{Certificate: leaf.pem() + between.pem(), Key: keyPEM(t, ecKey(t))}, "key", "none of the 2"},
		"two keys":          {Upload{Certificate: leaf.pem() + key, Key: key}, "key", "more than one"},
		"encrypted, PKCS 8": {Upload{Certificate: leaf.pem(), Key: "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n"}, "key", "openssl pkey"},
		"encrypted, old":    {Upload{Certificate: leaf.pem(), Key: "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMIIB\n-----END RSA PRIVATE KEY-----\n"}, "key", "openssl pkey"},
		"request":           {Upload{Certificate: "-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n", Key: key}, "certificate", "CERTIFICATE REQUEST"},
		"no PEM":            {Upload{Certificate: "0\x82\x03", Key: key}, "certificate", "nothing in PEM form"},
		"cut off":           {Upload{Certificate: leaf.pem()[:200], Key: key}, "certificate", "damaged"},
		"damaged":           {Upload{Certificate: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", Key: key}, "certificate", "cannot be read"},
		"damaged key":       {Upload{Certificate: leaf.pem(), Key: "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"}, "key", "cannot be read"},
		"large":             {Upload{Certificate: strings.Repeat(" ", MaxUpload+1)}, "certificate", "larger"},
		"many":              {Upload{Certificate: strings.Repeat(leaf.pem(), maxChain+1), Key: key}, "certificate", "more than 10"},
		"wrong password":    {Upload{PKCS12: p12, Password: "x"}, "password", "does not open"},
		"no PKCS 12":        {Upload{PKCS12: []byte("zip")}, "pkcs12", "cannot be read"},
		"expired":           {of(ecKey(t), func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), "certificate", "has expired"},
		"not yet":           {of(ecKey(t), func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }), "certificate", "is valid from"},
		"no host":           {of(ecKey(t), func(c *x509.Certificate) { c.DNSNames = nil }), "certificate", "names no host"},
		"client":            {of(ecKey(t), func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), "certificate", "serverAuth"},
		"short RSA key":     {of(weak, func(*x509.Certificate) {}), "key", "1024 bits"},
		"small curve":       {of(p224, func(*x509.Certificate) {}), "key", "P-224"},
	} {
		dir := t.TempDir()
		s := open(t, dir, newClock(time.Now()))
		_, _, err := s.Add(c.in)
		fe, ok := telephony.AsFieldError(err)
		if !ok || fe.Field != c.field || !strings.Contains(fe.Reason, c.says) {
			t.Errorf("%s: %v, want %s: ... %s", name, err, c.field, c.says)
		}
		if err != nil && strings.Contains(err.Error(), "MII") {
			t.Errorf("%s: the error tells the key: %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(dir, keptFolder)); len(s.List()) != 1 || err == nil {
			t.Errorf("%s: something was kept", name)
		}
	}
}

func TestUploadWarnings(t *testing.T) {
	t.Parallel()
	root, between, leaf := company(t)
	_, stranger, _ := company(t)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edwards := issue(t, between, ed, server("pbx.example"))
	own := issue(t, nil, ecKey(t), server("pbx.example"))
	old := issue(t, root, ecKey(t), func(c *x509.Certificate) { authority("Old")(c); c.NotAfter = time.Now().Add(-time.Minute) })
	late := issue(t, old, ecKey(t), server("pbx.example"))
	for name, c := range map[string]struct {
		in   Upload
		want []string
	}{
		"whole chain":        {Upload{Certificate: leaf.pem() + between.pem() + root.pem(), Key: keyPEM(t, leaf.key)}, nil},
		"self-signed":        {Upload{Certificate: own.pem(), Key: keyPEM(t, own.key)}, nil},
		"between is missing": {Upload{Certificate: leaf.pem(), Key: keyPEM(t, leaf.key)}, []string{"its certificate is missing"}},
		"stranger":           {Upload{Certificate: leaf.pem() + stranger.pem() + between.pem() + root.pem(), Key: keyPEM(t, leaf.key)}, []string{"was left out"}},
		"Ed25519":            {Upload{Certificate: edwards.pem() + between.pem() + root.pem(), Key: keyPEM(t, ed)}, []string{"Ed25519"}},
		"old chain":          {Upload{Certificate: late.pem() + old.pem() + root.pem(), Key: keyPEM(t, late.key)}, []string{"of the chain has expired"}},
	} {
		s := open(t, t.TempDir(), newClock(time.Now()))
		_, warnings, err := s.Add(c.in)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(warnings) != len(c.want) || len(c.want) > 0 && !strings.Contains(warnings[0], c.want[0]) {
			t.Errorf("%s: %q, want %q", name, warnings, c.want)
		}
	}
}

// Each name gets the certificate that is for it, and who asks for none the
// chosen one.
func TestCertificateByName(t *testing.T) {
	t.Parallel()
	chosen, dir, c := Standard, t.TempDir(), newClock(time.Now())
	s, err := Open(Config{Dir: dir, Names: []string{"pbx.local"}, Now: c.now, Chosen: func() string { return chosen }})
	if err != nil {
		t.Fatal(err)
	}
	_, between, first := company(t)
	second := issue(t, between, ecKey(t), func(c *x509.Certificate) { server("sip.tenant.example")(c); c.NotAfter = time.Now().Add(time.Hour) })
	longer := issue(t, between, ecKey(t), server("sip.tenant.example"))
	ids := map[*issued]string{}
	for _, i := range []*issued{first, second, longer} {
		kept, _, err := s.Add(Upload{Certificate: i.pem() + between.pem(), Key: keyPEM(t, i.key)})
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = kept.ID
	}
	shows := func(s *Store, name string) string {
		pair, err := s.GetCertificate(&tls.ClientHelloInfo{ServerName: name})
		if err != nil {
			t.Fatal(err)
		}
		for i, id := range ids {
			if bytes.Equal(i.cert.Raw, pair.Certificate[0]) {
				return id
			}
		}
		return Standard
	}
	check := func(when string, s *Store, want map[string]string) {
		t.Helper()
		for name, id := range want {
			if got := shows(s, name); got != id {
				t.Errorf("%s: %q is shown %q, want %q", when, name, got, id)
			}
		}
	}
	check("standard", s, map[string]string{"": Standard, "pbx.local": Standard, "pbx.example": ids[first], "a.sip.example": ids[first], "a.b.sip.example": Standard, "sip.tenant.example": ids[longer], "SIP.TENANT.EXAMPLE": ids[longer]})
	chosen = ids[second]
	check("chosen", s, map[string]string{"": ids[second], "sip.tenant.example": ids[second], "pbx.example": ids[first], "strange.example": ids[second]})
	again, err := Open(Config{Dir: dir, Names: []string{"pbx.local"}, Now: c.now, Chosen: func() string { return chosen }})
	if err != nil || len(again.List()) != 4 {
		t.Fatalf("after a restart: %v", err)
	}
	check("after a restart", again, map[string]string{"": ids[second], "pbx.example": ids[first]})
	if err := s.Remove(ids[second]); err != nil {
		t.Fatal(err)
	}
	check("removed though chosen", s, map[string]string{"": Standard, "sip.tenant.example": ids[longer]})
	c.advance(lookAgain + time.Second)
	check("removed by another process", again, map[string]string{"": Standard})
	c.advance(100 * 24 * time.Hour)
	check("expired", s, map[string]string{"pbx.example": Standard})
	for _, id := range []string{Standard, "0123456789abcdef", "../certificate"} {
		if err := s.Remove(id); err == nil {
			t.Errorf("%q was removed", id)
		}
	}
}

// One file that is damaged takes no other out of service.
func TestDamagedFileIsLeftOut(t *testing.T) {
	t.Parallel()
	dir, c := t.TempDir(), newClock(time.Now())
	s := open(t, dir, c)
	_, between, leaf := company(t)
	if _, _, err := s.Add(Upload{Certificate: leaf.pem() + between.pem(), Key: keyPEM(t, leaf.key)}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"0123456789abcdef.pem", "notes.txt"} {
		if err := os.WriteFile(filepath.Join(dir, keptFolder, name), []byte("?"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again := open(t, dir, c)
	if len(again.List()) != 2 || len(again.Faults()) != 1 || !strings.Contains(again.Faults()[0], "0123456789abcdef") {
		t.Errorf("%d certificates, faults %q", len(again.List()), again.Faults())
	}
}

func FuzzUpload(f *testing.F) {
	_, between, leaf := company(f)
	f.Add(leaf.pem()+between.pem(), keyPEM(f, leaf.key), []byte(nil), "")
	f.Add(leaf.pem()[:100], "-----BEGIN ENCRYPTED PRIVATE KEY-----\n\n-----END ENCRYPTED PRIVATE KEY-----", []byte("0\x82"), "x")
	f.Fuzz(func(t *testing.T, cert, key string, p12 []byte, password string) {
		text, parsed, _, err := Upload{Certificate: cert, Key: key, PKCS12: p12, Password: password}.read(time.Now())
		if err != nil {
			if _, ok := telephony.AsFieldError(err); !ok {
				t.Errorf("the error names no field: %v", err)
			}
			return
		}
		pair, err := tls.X509KeyPair(text, text)
		if err != nil || !bytes.Equal(pair.Certificate[0], parsed.Raw) {
			t.Errorf("what is kept cannot be used: %v", err)
		}
	})
}
