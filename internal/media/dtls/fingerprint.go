package dtls

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrFingerprint says that a fingerprint attribute cannot be used, or that the
// certificate is another one than the description promised.
var ErrFingerprint = errors.New("certificate fingerprint")

// hash is a hash function of fingerprints.
type hash int

// The hash functions we take, weakest first. MD5, SHA-1 and SHA-224 are not
// among them (RFC 8122 section 5).
const (
	sha2_256 hash = iota
	sha2_384
	sha2_512
)

func hashNames() []string { return []string{"sha-256", "sha-384", "sha-512"} }

func (h hash) of(der []byte) []byte {
	switch h {
	case sha2_384:
		sum := sha512.Sum384(der)
		return sum[:]
	case sha2_512:
		sum := sha512.Sum512(der)
		return sum[:]
	}
	sum := sha256.Sum256(der)
	return sum[:]
}

// Fingerprint is the value of a fingerprint attribute (RFC 8122 section 5).
type Fingerprint struct {
	hash hash
	sum  string // raw bytes; a string so that fingerprints compare
}

func fingerprintOf(der []byte) Fingerprint {
	return Fingerprint{hash: sha2_256, sum: string(sha2_256.of(der))}
}

// ParseFingerprint reads "sha-256 4A:AD:B9:...". Weak hash functions are
// refused.
func ParseFingerprint(value string) (Fingerprint, error) {
	name, text, _ := strings.Cut(strings.TrimSpace(value), " ")
	i := slices.Index(hashNames(), strings.ToLower(name))
	if i < 0 {
		return Fingerprint{}, fmt.Errorf("%w: hash function is none of sha-256, sha-384, sha-512", ErrFingerprint)
	}
	h := hash(i)
	text = strings.TrimSpace(text)
	want := len(h.of(nil))
	if len(text) != 3*want-1 {
		return Fingerprint{}, fmt.Errorf("%w: %d characters for %s", ErrFingerprint, len(text), name)
	}
	sum, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
	if err != nil || len(sum) != want {
		return Fingerprint{}, fmt.Errorf("%w: not pairs of hexadecimal digits", ErrFingerprint)
	}
	return Fingerprint{h, string(sum)}, nil
}

// IsZero reports whether no fingerprint was told.
func (f Fingerprint) IsZero() bool { return f.sum == "" }

// String is the value of the attribute.
func (f Fingerprint) String() string {
	pairs := make([]string, len(f.sum))
	for i := range pairs {
		pairs[i] = fmt.Sprintf("%02X", f.sum[i])
	}
	return hashNames()[f.hash] + " " + strings.Join(pairs, ":")
}

// Strongest keeps those of a description's fingerprints that have its strongest
// hash function: the certificate has to match one of them (RFC 8122 section 5).
func Strongest(list []Fingerprint) []Fingerprint {
	best := sha2_256
	for _, f := range list {
		best = max(best, f.hash)
	}
	return slices.DeleteFunc(slices.Clone(list), func(f Fingerprint) bool { return f.hash != best || f.IsZero() })
}

// verify compares a certificate with the fingerprints of a description, in
// constant time.
func verify(list []Fingerprint, der []byte) error {
	match := 0
	for _, f := range list {
		match |= subtle.ConstantTimeCompare(f.hash.of(der), []byte(f.sum))
	}
	if match != 1 {
		return fmt.Errorf("%w: the peer's certificate is not the one it described", ErrFingerprint)
	}
	return nil
}
