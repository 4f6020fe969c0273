package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"ringfence/internal/telephony"
)

// Limits of what may be uploaded.
const (
	MaxUpload = 64 << 10 // of each field, in bytes
	maxChain  = 10
	minRSA    = 2048
	maxRSA    = 8192 // what crypto/tls signs with
)

// Upload is a certificate as an administrator has it: PEM with its chain and its
// key, in any order and in one text or two, or a PKCS #12 file.
type Upload struct {
	Certificate, Key string
	PKCS12           []byte
	Password         string // of the PKCS #12 file
}

func refuse(field, format string, args ...any) error {
	return &telephony.FieldError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// material is what was found in an upload.
type material struct {
	key   crypto.Signer
	certs []*x509.Certificate
}

// read checks an upload and returns it as the one PEM text that is kept: the
// certificate, its chain and its key. Errors name the field; warnings are what
// works, but perhaps not everywhere.
func (u Upload) read(now time.Time) (text []byte, leaf *x509.Certificate, warnings []string, err error) {
	var m material
	if len(u.PKCS12) > 0 {
		m, err = u.readPKCS12()
	} else {
		m, err = u.readPEM()
	}
	if err != nil {
		return nil, nil, nil, err
	}
	leaf, err = m.leaf()
	if err != nil {
		return nil, nil, nil, err
	}
	if err := checkLeaf(leaf, now); err != nil {
		return nil, nil, nil, err
	}
	chain, warnings := m.chain(leaf, now)
	text, err = encode(chain, m.key)
	return text, leaf, append(warnings, doubts(leaf)...), err
}

func (u Upload) readPKCS12() (m material, err error) {
	if len(u.PKCS12) > MaxUpload {
		return m, refuse("pkcs12", "is larger than %d bytes", MaxUpload)
	}
	key, cert, others, err := pkcs12.DecodeChain(u.PKCS12, u.Password)
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword):
		return m, refuse("password", "does not open the file")
	case err != nil:
		return m, refuse("pkcs12", "cannot be read: %s", reason(err))
	case len(others) >= maxChain:
		return m, refuse("pkcs12", "holds more than %d certificates", maxChain)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return m, refuse("pkcs12", "holds a key of a kind that signs nothing")
	}
	return material{signer, append([]*x509.Certificate{cert}, others...)}, nil
}

func (u Upload) readPEM() (m material, err error) {
	for _, part := range []struct{ field, text string }{{"certificate", u.Certificate}, {"key", u.Key}} {
		if len(part.text) > MaxUpload {
			return m, refuse(part.field, "is larger than %d bytes", MaxUpload)
		}
		if err := m.addPEM(part.field, part.text); err != nil {
			return m, err
		}
	}
	switch {
	case len(m.certs) == 0:
		return m, refuse("certificate", "is missing: a text that begins with -----BEGIN CERTIFICATE-----")
	case m.key == nil:
		return m, refuse("key", "is missing: a text that begins with -----BEGIN PRIVATE KEY-----")
	}
	return m, nil
}

func (m *material) addPEM(field, text string) error {
	rest := []byte(strings.TrimPrefix(text, "\ufeff")) // editors of Windows write it
	for n := 1; ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if err := m.addBlock(field, n, block); err != nil {
			return err
		}
	}
	if bytes.Contains(rest, []byte("-----BEGIN")) {
		return refuse(field, "holds a part that is damaged: copy it with its lines BEGIN and END")
	}
	if len(m.certs) == 0 && m.key == nil && strings.TrimSpace(text) != "" {
		return refuse(field, "holds nothing in PEM form, which begins with -----BEGIN")
	}
	return nil
}

func (m *material) addBlock(field string, n int, block *pem.Block) error {
	if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
		return refuse(field, "is encrypted; decrypt it first, with: openssl pkey -in key.pem -out plain.pem")
	}
	switch block.Type {
	case "CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE":
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return refuse(field, "part %d is a certificate that cannot be read: %s", n, reason(err))
		}
		if len(m.certs) == maxChain {
			return refuse(field, "holds more than %d certificates", maxChain)
		}
		m.certs = append(m.certs, c)
	case "EC PARAMETERS": // openssl ecparam writes them before the key
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY":
		key, err := parseKey(block)
		switch {
		case err != nil:
			return refuse(field, "part %d is a key that cannot be read: %s", n, reason(err))
		case m.key != nil:
			return refuse(field, "there is more than one private key")
		}
		m.key = key
	default:
		return refuse(field, "part %d is a %q; only certificates and their private key belong here", n, cut(block.Type))
	}
	return nil
}

func parseKey(block *pem.Block) (crypto.Signer, error) {
	var key any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("it is of a kind that signs nothing")
	}
	return signer, nil
}

// leaf is the certificate that the key belongs to.
func (m material) leaf() (*x509.Certificate, error) {
	public, ok := m.key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if ok {
		for _, c := range m.certs {
			if public.Equal(c.PublicKey) {
				return c, nil
			}
		}
	}
	if len(m.certs) == 1 {
		return nil, refuse("key", "does not belong to the certificate of %s", Title(m.certs[0]))
	}
	return nil, refuse("key", "belongs to none of the %d certificates", len(m.certs))
}

// checkLeaf refuses what no client would take.
func checkLeaf(c *x509.Certificate, now time.Time) error {
	switch {
	case clockIsSet(now) && now.After(c.NotAfter):
		return refuse("certificate", "has expired on %s", day(c.NotAfter))
	case clockIsSet(now) && now.Before(c.NotBefore):
		return refuse("certificate", "is valid from %s on only; the clock here says %s", c.NotBefore.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	case len(c.DNSNames)+len(c.IPAddresses) == 0:
		return refuse("certificate", "names no host in its subject alternative names; clients ignore the common name (RFC 9525 section 2)")
	case len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) > 0 && !serves(c):
		return refuse("certificate", "is not made for servers: its extended key usage lacks serverAuth")
	case c.SignatureAlgorithm == x509.SHA1WithRSA || c.SignatureAlgorithm == x509.ECDSAWithSHA1 || c.SignatureAlgorithm == x509.MD5WithRSA:
		return refuse("certificate", "is signed with %s, which clients refuse", c.SignatureAlgorithm)
	}
	switch k := c.PublicKey.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < minRSA || n > maxRSA {
			return refuse("key", "has %d bits; RSA keys need %d to %d", n, minRSA, maxRSA)
		}
	case *ecdsa.PublicKey:
		if k.Curve.Params().BitSize < 256 {
			return refuse("key", "is on the curve %s; P-256 is the least", k.Curve.Params().Name)
		}
	case ed25519.PublicKey:
	default:
		return refuse("key", "is of a kind that TLS does not know")
	}
	return nil
}

func serves(c *x509.Certificate) bool {
	for _, u := range c.ExtKeyUsage {
		if u == x509.ExtKeyUsageServerAuth || u == x509.ExtKeyUsageAny {
			return true
		}
	}
	return false
}

// doubts are what works with some clients only.
func doubts(c *x509.Certificate) (out []string) {
	if _, ok := c.PublicKey.(ed25519.PublicKey); ok {
		out = append(out, "the key is of the kind Ed25519, which browsers and most phones do not take")
	}
	if c.IsCA {
		out = append(out, "the certificate may sign others: whoever has its key can pretend to be anybody to those who trust it")
	}
	return out
}

// chain puts the certificates that were found behind the leaf, each signed by the
// next. A root is left out: clients have it or do not trust it.
func (m material) chain(leaf *x509.Certificate, now time.Time) (chain []*x509.Certificate, warnings []string) {
	chain = []*x509.Certificate{leaf}
	used := map[*x509.Certificate]bool{leaf: true}
	complete := selfIssued(leaf)
	for last := leaf; !complete; {
		next := m.issuer(last, used)
		if next == nil {
			break
		}
		used[next] = true
		if complete = selfIssued(next); complete {
			break
		}
		if clockIsSet(now) && now.After(next.NotAfter) {
			warnings = append(warnings, fmt.Sprintf("the certificate %s of the chain has expired on %s", Title(next), day(next.NotAfter)))
		}
		chain = append(chain, next)
		last = next
	}
	for _, c := range m.certs {
		if !used[c] && !selfIssued(c) {
			warnings = append(warnings, fmt.Sprintf("the certificate %s belongs to no part of the chain and was left out", Title(c)))
		}
	}
	if last := chain[len(chain)-1]; !complete && !knownIssuer(last) {
		warnings = append(warnings, fmt.Sprintf("the chain ends with a certificate of %q, whom this system does not know: if that is an intermediate authority, its certificate is missing, and phones will refuse the connection", cut(last.Issuer.String())))
	}
	return chain, warnings
}

func (m material) issuer(c *x509.Certificate, used map[*x509.Certificate]bool) *x509.Certificate {
	for _, other := range m.certs {
		if !used[other] && bytes.Equal(other.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(other) == nil {
			return other
		}
	}
	return nil
}

func selfIssued(c *x509.Certificate) bool { return bytes.Equal(c.RawIssuer, c.RawSubject) }

// knownIssuer says whether a root that this system trusts signed c.
func knownIssuer(c *x509.Certificate) bool {
	_, err := c.Verify(x509.VerifyOptions{KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err == nil
}

// encode is the text that is kept: chain and key in one, so that one rename
// replaces both together.
func encode(chain []*x509.Certificate, key crypto.Signer) ([]byte, error) {
	var out []byte
	for _, c := range chain {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, refuse("key", "cannot be kept: %s", reason(err))
	}
	return append(out, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...), nil
}

// Title names a certificate for people: its common name, or its first other name.
func Title(c *x509.Certificate) string {
	switch {
	case c.Subject.CommonName != "":
		return cut(c.Subject.CommonName)
	case len(c.DNSNames) > 0:
		return cut(c.DNSNames[0])
	case len(c.IPAddresses) > 0:
		return c.IPAddresses[0].String()
	}
	return cut(c.Subject.String())
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// reason is an error of a parser, short enough for people.
func reason(err error) string { return cut(err.Error()) }

func cut(s string) string {
	const most = 100
	s = strings.ToValidUTF8(s, "?")
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
