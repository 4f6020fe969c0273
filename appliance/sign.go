package appliance

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// The lists beside an image.
const (
	SumsFile      = "SHA256SUMS"     // in the form that sha256sum -c reads
	SignatureFile = "SHA256SUMS.sig" // Ed25519 over SumsFile, 64 bytes (RFC 8032)
	ManifestFile  = "manifest.json"
	SBOMFile      = "sbom.cdx.json"
)

// ReadSignKey reads an Ed25519 key as `openssl genpkey -algorithm ed25519`
// writes it: PKCS #8 in PEM.
func ReadSignKey(path string) (ed25519.PrivateKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the key to sign with: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("reading the key to sign with: %s holds no PRIVATE KEY in PEM", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading the key to sign with: %w", err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, errors.New("reading the key to sign with: it is not an Ed25519 key")
	}
	return key, nil
}

// sign writes the signature over the sums, or removes one of other sums.
func (b *builder) sign(sums []byte) error {
	path := filepath.Join(b.Out, SignatureFile)
	if b.SignKey == nil {
		if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	return os.WriteFile(path, ed25519.Sign(b.SignKey, sums), 0o644)
}
