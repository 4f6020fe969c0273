package telephony

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// Limits of what may log in to the operator shell.
const (
	MaxSSHKeys    = 32
	MaxSSHKeyText = 8 << 10 // bytes of a line
	MinSSHRSABits = 3072
	maxSSHRSABits = 16384
)

// SSHUser is the only user of the operator shell.
const SSHUser = "operator"

// SSHKey is a public key whose owner may use the operator shell.
type SSHKey struct {
	Label string
	// Key is its type and its wire form in base64, as in a .pub file, without
	// the comment.
	Key     string
	AddedAt time.Time
	AddedBy string
}

// SSHPublicKey is a public key that may be used (RFC 4253 section 6.6).
type SSHPublicKey struct {
	Type    string
	Wire    []byte
	Bits    int
	Comment string
}

// Fingerprint is the SHA-256 of the wire form, as ssh-keygen prints it.
func (k SSHPublicKey) Fingerprint() string { return SSHFingerprint(k.Wire) }

// SSHFingerprint is the SHA-256 of a key's wire form, as ssh-keygen prints it.
func SSHFingerprint(wire []byte) string {
	sum := sha256.Sum256(wire)
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// ID names the key in paths and commands: the beginning of the same hash.
func (k SSHPublicKey) ID() string {
	sum := sha256.Sum256(k.Wire)
	return hex.EncodeToString(sum[:8])
}

// String is the key as it is stored.
func (k SSHPublicKey) String() string {
	return k.Type + " " + base64.StdEncoding.EncodeToString(k.Wire)
}

// ParseSSHKey reads a line of a .pub file. The errors are for people; they
// never repeat what was read, which may be a private key.
func ParseSSHKey(text string) (SSHPublicKey, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return SSHPublicKey{}, errors.New("must not be empty")
	case strings.Contains(text, "PRIVATE KEY"):
		return SSHPublicKey{}, errors.New("is a private key, which must never leave its owner; enter the .pub file")
	case len(text) > MaxSSHKeyText:
		return SSHPublicKey{}, fmt.Errorf("is longer than %d bytes", MaxSSHKeyText)
	case strings.ContainsAny(text, "\r\n"):
		return SSHPublicKey{}, errors.New("must be one line: one key")
	}
	kind, rest, _ := strings.Cut(text, " ")
	if err := checkSSHKind(kind); err != nil {
		return SSHPublicKey{}, err
	}
	encoded, comment, _ := strings.Cut(strings.TrimSpace(rest), " ")
	wire, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(wire) == 0 {
		return SSHPublicKey{}, errors.New("has no key in base64 after its type")
	}
	k := SSHPublicKey{Type: kind, Wire: wire, Comment: strings.TrimSpace(comment)}
	if k.Bits, err = sshBits(kind, wire); err != nil {
		return SSHPublicKey{}, err
	}
	return k, nil
}

const (
	sshEd25519 = "ssh-ed25519"
	sshRSA     = "ssh-rsa"
	sshECDSA   = "ecdsa-sha2-"
)

func checkSSHKind(kind string) error {
	switch {
	case kind == sshEd25519, kind == sshRSA, sshCurve(kind) != nil:
		return nil
	case kind == "ssh-dss":
		return errors.New("is a DSA key, which is too weak")
	case strings.Contains(kind, "-cert-v01@"):
		return errors.New("is a certificate; enter the key itself")
	case strings.HasPrefix(kind, "sk-"):
		return errors.New("is a key on a security token, which this version does not take")
	case strings.ContainsAny(kind, `=",`) || strings.HasPrefix(kind, "no-") || kind == "restrict":
		return errors.New("begins with options; the operator shell knows none, enter the key alone")
	}
	return errors.New("does not begin with ssh-ed25519, ssh-rsa or ecdsa-sha2-nistp256, 384 or 521")
}

// sshCurve is the curve of an ECDSA key's type (RFC 5656 section 3.1).
func sshCurve(kind string) elliptic.Curve {
	switch strings.TrimPrefix(kind, sshECDSA) {
	case "nistp256":
		return elliptic.P256()
	case "nistp384":
		return elliptic.P384()
	case "nistp521":
		return elliptic.P521()
	}
	return nil
}

// sshBits checks a key's wire form against its type and says how long it is.
func sshBits(kind string, wire []byte) (int, error) {
	damaged := errors.New("is damaged: its inside is not a key of its type")
	var fields [][]byte
	for rest := wire; len(rest) > 0 && len(fields) < 4; {
		field, after, ok := sshString(rest)
		if !ok {
			return 0, damaged
		}
		fields, rest = append(fields, field), after
	}
	switch {
	case len(fields) < 2 || string(fields[0]) != kind:
		return 0, damaged
	case kind == sshEd25519 && len(fields) == 2 && len(fields[1]) == 32: // RFC 8709 section 4
		return 256, nil
	case kind == sshRSA && len(fields) == 3: // RFC 4253 section 6.6: e, n
		return rsaBits(fields[1], fields[2])
	case sshCurve(kind) != nil && len(fields) == 3: // RFC 5656 section 3.1
		curve := sshCurve(kind)
		if string(fields[1]) != strings.TrimPrefix(kind, sshECDSA) {
			return 0, damaged
		}
		if _, err := ecdsa.ParseUncompressedPublicKey(curve, fields[2]); err != nil {
			return 0, damaged
		}
		return curve.Params().BitSize, nil
	}
	return 0, damaged
}

func rsaBits(e, n []byte) (int, error) {
	exponent, modulus := new(big.Int).SetBytes(e), new(big.Int).SetBytes(n)
	bits := modulus.BitLen()
	switch {
	case len(e) == 0 || len(n) == 0 || e[0]&0x80 != 0 || n[0]&0x80 != 0: // negative
		return 0, errors.New("is damaged: its numbers are negative")
	case bits < MinSSHRSABits:
		return 0, fmt.Errorf("is an RSA key of %d bits; it needs %d at least, or use ed25519", bits, MinSSHRSABits)
	case bits > maxSSHRSABits:
		return 0, fmt.Errorf("is an RSA key of %d bits; more than %d are not taken", bits, maxSSHRSABits)
	case exponent.Bit(0) == 0 || exponent.BitLen() < 2 || exponent.BitLen() > 31 || modulus.Bit(0) == 0:
		return 0, errors.New("is an RSA key with unusable numbers")
	}
	return bits, nil
}

// sshString reads a string (RFC 4251 section 5).
func sshString(b []byte) (field, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) {
		return nil, nil, false
	}
	return b[4 : 4+n], b[4+n:], true
}

// CheckSSHKeys reports the first key that is not usable.
func (s Settings) CheckSSHKeys() error {
	if len(s.ShellKeys) > MaxSSHKeys {
		return refuse("shell_keys", "are more than %d", MaxSSHKeys)
	}
	var seen [][]byte
	for i, k := range s.ShellKeys {
		if err := checkName(entry("shell_keys", i, "label"), k.Label, 1, MaxNameLen); err != nil {
			return err
		}
		key, err := ParseSSHKey(k.Key)
		if err != nil {
			return refuse(entry("shell_keys", i, "key"), "%s", err)
		}
		for _, old := range seen {
			if bytes.Equal(old, key.Wire) {
				return refuse(entry("shell_keys", i, "key"), "is in the list already")
			}
		}
		seen = append(seen, key.Wire)
	}
	return nil
}
