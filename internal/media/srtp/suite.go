// Package srtp knows the crypto suites of SRTP, the a=crypto lines that agree on
// one (SDES, RFC 4568), and the contexts that protect packets with it.
package srtp

import (
	"crypto/rand"
	"crypto/subtle"

	pion "github.com/pion/srtp/v3"
)

// Suite is a crypto suite. The zero value is none. Higher values are preferred,
// a longer key before a cheaper cipher: the AEAD ones cost a third of the others.
type Suite uint8

// The suites (RFC 4568 section 6.2, RFC 6188 section 4, RFC 7714 section 14.2).
const (
	None Suite = iota
	AES128CM32
	AES128CM80
	AES128GCM
	AES256CM32
	AES256CM80
	AES256GCM
)

type facts struct {
	name    string
	profile pion.ProtectionProfile
	bits    int
	master  int // bytes of the master key
	salt    int // bytes of the master salt
	tag     int // bytes of the authentication tag of RTP
}

// facts of a suite; those of one that does not exist are zero.
func (s Suite) facts() facts {
	switch s {
	case AES128CM32:
		return facts{"AES_CM_128_HMAC_SHA1_32", pion.ProtectionProfileAes128CmHmacSha1_32, 128, 16, 14, 4}
	case AES128CM80:
		return facts{"AES_CM_128_HMAC_SHA1_80", pion.ProtectionProfileAes128CmHmacSha1_80, 128, 16, 14, 10}
	case AES128GCM:
		return facts{"AEAD_AES_128_GCM", pion.ProtectionProfileAeadAes128Gcm, 128, 16, 12, 16}
	case AES256CM32:
		return facts{"AES_256_CM_HMAC_SHA1_32", pion.ProtectionProfileAes256CmHmacSha1_32, 256, 32, 14, 4}
	case AES256CM80:
		return facts{"AES_256_CM_HMAC_SHA1_80", pion.ProtectionProfileAes256CmHmacSha1_80, 256, 32, 14, 10}
	case AES256GCM:
		return facts{"AEAD_AES_256_GCM", pion.ProtectionProfileAeadAes256Gcm, 256, 32, 12, 16}
	}
	return facts{}
}

// String is the name in the registry, empty for none.
func (s Suite) String() string { return s.facts().name }

// Bits is the length of the cipher's key: 128, 256, or 0 for none.
func (s Suite) Bits() int { return s.facts().bits }

// Offered are the suites we offer, best first. The ones with a short tag are
// taken from peers that offer nothing better, and never offered.
func Offered() []Suite { return []Suite{AES256GCM, AES256CM80, AES128GCM, AES128CM80} }

// ParseSuite finds a suite by its name. AES_CM_256 is how several
// implementations write AES_256_CM.
func ParseSuite(name string) (Suite, bool) {
	switch name {
	case "AES_CM_256_HMAC_SHA1_80":
		return AES256CM80, true
	case "AES_CM_256_HMAC_SHA1_32":
		return AES256CM32, true
	}
	for s := AES128CM32; s <= AES256GCM; s++ {
		if s.String() == name {
			return s, true
		}
	}
	return None, false
}

// ProfileSuite is the suite of a DTLS-SRTP protection profile number
// (RFC 5764 section 4.1.2, RFC 7714 section 14.2). The 256-bit counter mode has
// no number.
func ProfileSuite(profile uint16) (Suite, bool) {
	for _, s := range []Suite{AES128CM80, AES128CM32, AES128GCM, AES256GCM} {
		if uint16(s.facts().profile) == profile {
			return s, true
		}
	}
	return None, false
}

// Key is the master key of one direction.
type Key struct {
	Suite        Suite
	Master, Salt []byte
	MKI          []byte // empty for none (RFC 3711 section 3.1)
}

// NewKey makes a random key.
func NewKey(s Suite) Key {
	f := s.facts()
	k := Key{Suite: s, Master: make([]byte, f.master), Salt: make([]byte, f.salt)}
	rand.Read(k.Master)
	rand.Read(k.Salt)
	return k
}

// Equal reports whether both are the same key, in constant time.
func (k Key) Equal(o Key) bool {
	return k.Suite == o.Suite && subtle.ConstantTimeCompare(k.Master, o.Master)&
		subtle.ConstantTimeCompare(k.Salt, o.Salt)&subtle.ConstantTimeCompare(k.MKI, o.MKI) == 1
}

// String keeps keys out of logs.
func (k Key) String() string { return k.Suite.String() }
