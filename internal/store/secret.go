package store

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"os"
	"strings"

	"ringfence/internal/telephony"
)

// keyPrefix names the format of the key file: one line, prefix and 32 bytes
// in hexadecimal.
const keyPrefix = "ringfence-key-1 "

// keys are the secrets derived from the key file. The file stands outside the
// database, so that a stolen database alone gives no SIP password away.
type keys struct {
	id      string // fingerprint, kept in the database
	sealing cipher.AEAD
	sums    []byte
}

func newKeys(master []byte) (*keys, error) {
	derive := func(info string) ([]byte, error) { return hkdf.Key(sha256.New, master, nil, info, 32) }
	id, err := derive("ringfence key id")
	if err != nil {
		return nil, fmt.Errorf("deriving keys: %w", err)
	}
	seal, err := derive("ringfence sip password")
	if err != nil {
		return nil, fmt.Errorf("deriving keys: %w", err)
	}
	sums, err := derive("ringfence row sums")
	if err != nil {
		return nil, fmt.Errorf("deriving keys: %w", err)
	}
	block, err := aes.NewCipher(seal)
	if err != nil {
		return nil, fmt.Errorf("deriving keys: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("deriving keys: %w", err)
	}
	return &keys{id: hex.EncodeToString(id[:8]), sealing: aead, sums: sums}, nil
}

// createKeys writes a new key file, readable by its owner only, in one step:
// it is there whole or not at all.
func createKeys(path string) (*keys, error) {
	master := make([]byte, 32)
	rand.Read(master)
	if err := writeFile(path, []byte(keyPrefix+hex.EncodeToString(master)+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("creating key file: %w", err)
	}
	return newKeys(master)
}

// loadKeys reads the key file and refuses one that others may read.
func loadKeys(path string) (*keys, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading key file: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("reading key file %s: mode %#o lets others read it; want 0600", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading key file: %w", err)
	}
	hexKey, ok := strings.CutPrefix(string(text), keyPrefix)
	master, err := hex.DecodeString(strings.TrimSuffix(hexKey, "\n"))
	if !ok || err != nil || len(master) != 32 {
		return nil, &CorruptError{Path: path, Reason: "not a key file"}
	}
	return newKeys(master)
}

// sealVersion leads every encrypted value, so that the way of sealing can change.
const sealVersion = 1

// associated binds an encrypted password to its extension: a value copied to
// another row does not open there.
func associated(tenant telephony.TenantID, number string) []byte {
	return fmt.Appendf(nil, "sip-password\x00%d\x00%s", tenant, number)
}

func (k *keys) seal(tenant telephony.TenantID, number, password string) []byte {
	return k.sealValue(associated(tenant, number), []byte(password))
}

// sealValue encrypts a secret for one purpose and owner, which associated
// names: elsewhere it does not open.
func (k *keys) sealValue(associated, secret []byte) []byte {
	return k.sealing.Seal([]byte{sealVersion}, nil, secret, associated)
}

func (k *keys) openValue(associated, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] != sealVersion {
		return nil, errors.New("decrypting a secret: unknown format")
	}
	plain, err := k.sealing.Open(nil, nil, sealed[1:], associated)
	if err != nil {
		return nil, fmt.Errorf("decrypting a secret: %w", err)
	}
	return plain, nil
}

func (k *keys) open(tenant telephony.TenantID, number string, sealed []byte) (string, error) {
	plain, err := k.openValue(associated(tenant, number), sealed)
	if err != nil {
		return "", fmt.Errorf("SIP password of extension %s: %w", number, err)
	}
	return string(plain), nil
}

// trunkData binds an encrypted password to its trunk.
func trunkData(tenant telephony.TenantID, id telephony.TrunkID) []byte {
	return fmt.Appendf(nil, "trunk-password\x00%d\x00%d", tenant, id)
}

func (k *keys) sealTrunk(tenant telephony.TenantID, id telephony.TrunkID, password telephony.Secret) []byte {
	return k.sealValue(trunkData(tenant, id), []byte(password.Reveal()))
}

func (k *keys) openTrunk(tenant telephony.TenantID, id telephony.TrunkID, sealed []byte) (telephony.Secret, error) {
	plain, err := k.openValue(trunkData(tenant, id), sealed)
	if err != nil {
		return "", fmt.Errorf("password of trunk %d: %w", id, err)
	}
	return telephony.Secret(plain), nil
}

func (k *keys) rowMAC() hash.Hash { return hmac.New(sha256.New, k.sums) }

// ha1 is H(user:realm:password) of RFC 7616 section 3.4.2, for MD5 and SHA-256.
func ha1(user, realm, password string) (md5Hex, sha256Hex string) {
	a1 := []byte(user + ":" + realm + ":" + password)
	m, s := md5.Sum(a1), sha256.Sum256(a1)
	return hex.EncodeToString(m[:]), hex.EncodeToString(s[:])
}

// newProvisionPath is 128 random bits in lower case base32: the name of the
// directory of an extension's phone configuration.
func newProvisionPath() string {
	b := make([]byte, 16)
	rand.Read(b)
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}

// documentData binds a secret that stands in a document to this box.
func documentData() []byte { return []byte("document") }

// Tell is a secret as documents of this box write it: no other box can read it.
func (s *Store) Tell(v telephony.Secret) (string, error) {
	return sealedPrefix + base64.StdEncoding.EncodeToString(s.keys.sealValue(documentData(), []byte(v.Reveal()))), nil
}

const sealedPrefix = "sealed:"

// Hear is what Tell told, or a secret that somebody wrote as it is.
func (s *Store) Hear(text string) (telephony.Secret, error) {
	sealed, is := strings.CutPrefix(text, sealedPrefix)
	if !is {
		return telephony.Secret(text), nil
	}
	raw, err := base64.StdEncoding.DecodeString(sealed)
	if err == nil {
		raw, err = s.keys.openValue(documentData(), raw)
	}
	if err != nil {
		return "", errors.New("was sealed by another box; leave it out to keep what there is, or write the secret itself")
	}
	return telephony.Secret(raw), nil
}

// SIPPasswords are the SIP passwords of the scope's extensions, by number. Whoever
// asks has to write into the history that they were read.
func (sc Scope) SIPPasswords(ctx context.Context) (map[string]telephony.Secret, error) {
	type row struct {
		number string
		sealed []byte
	}
	rows, err := collect(ctx, sc.s.readers, func(scan func(...any) error) (r row, err error) { return r, scan(&r.number, &r.sealed) },
		`SELECT number, sip_password FROM extension WHERE tenant_id = ?`, sc.tenant)
	if err != nil {
		return nil, fmt.Errorf("reading SIP passwords: %w", err)
	}
	out := make(map[string]telephony.Secret, len(rows))
	for _, r := range rows {
		password, err := sc.s.keys.open(sc.tenant, r.number, r.sealed)
		if err != nil {
			return nil, err
		}
		out[r.number] = telephony.Secret(password)
	}
	return out, nil
}

// UserHashes are the password hashes of the scope's users, by name.
func (sc Scope) UserHashes(ctx context.Context) (map[string]telephony.Secret, error) {
	rows, err := collect(ctx, sc.s.readers, scanUser, userQuery+` WHERE u.tenant_id = ?`, sc.tenant)
	if err != nil {
		return nil, fmt.Errorf("reading users: %w", err)
	}
	out := make(map[string]telephony.Secret, len(rows))
	for _, r := range rows {
		out[r.Name] = telephony.Secret(r.hash)
	}
	return out, nil
}
