package dtls

import (
	"errors"
	"fmt"

	"github.com/pion/dtls/v3"
)

// ErrProfile says that the peer and we have no protection profile in common.
var ErrProfile = errors.New("no common SRTP protection profile")

// exporter is the label of RFC 5764 section 4.2.
const exporter = "EXTRACTOR-dtls_srtp"

// Profile is an SRTP protection profile by its number at IANA (RFC 5764 section
// 4.1.2, RFC 7714 section 14.2).
type Profile uint16

// The profiles we take.
const (
	AES128CMHMACSHA180 = Profile(dtls.SRTP_AES128_CM_HMAC_SHA1_80)
	AEADAES128GCM      = Profile(dtls.SRTP_AEAD_AES_128_GCM)
	AEADAES256GCM      = Profile(dtls.SRTP_AEAD_AES_256_GCM)
)

// String is the name of the profile.
func (p Profile) String() string {
	switch p {
	case AES128CMHMACSHA180:
		return "SRTP_AES128_CM_HMAC_SHA1_80"
	case AEADAES128GCM:
		return "SRTP_AEAD_AES_128_GCM"
	case AEADAES256GCM:
		return "SRTP_AEAD_AES_256_GCM"
	}
	return fmt.Sprintf("SRTP profile 0x%04x", uint16(p))
}

// lengths of master key and master salt.
func (p Profile) lengths() (key, salt int) {
	switch p {
	case AES128CMHMACSHA180:
		return 16, 14
	case AEADAES128GCM:
		return 16, 12
	case AEADAES256GCM:
		return 32, 12
	}
	return 0, 0
}

// profiles are what we offer, or take, best first.
func profiles(only256 bool) []dtls.SRTPProtectionProfile {
	if only256 {
		return []dtls.SRTPProtectionProfile{dtls.SRTP_AEAD_AES_256_GCM}
	}
	return []dtls.SRTPProtectionProfile{dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80}
}

// Keys are what a handshake was made for: the master key and master salt of
// each direction.
type Keys struct {
	Profile               Profile
	LocalKey, LocalSalt   []byte // of what we send
	RemoteKey, RemoteSalt []byte // of what the peer sends
}

// keysOf takes the keys from a connection (RFC 5764 section 4.2).
func keysOf(conn *dtls.Conn, role Role) (Keys, error) {
	chosen, _ := conn.SelectedSRTPProtectionProfile()
	k := Keys{Profile: Profile(chosen)}
	key, salt := k.Profile.lengths()
	if key == 0 {
		return Keys{}, ErrProfile // the peer does not speak use_srtp
	}
	state, ok := conn.ConnectionState()
	if !ok {
		return Keys{}, errors.New("exporting SRTP keys: connection has no state")
	}
	material, err := state.ExportKeyingMaterial(exporter, nil, 2*(key+salt))
	if err != nil {
		return Keys{}, fmt.Errorf("exporting SRTP keys: %w", err)
	}
	next := func(n int) (part []byte) {
		part, material = material[:n:n], material[n:]
		return part
	}
	k.LocalKey, k.RemoteKey, k.LocalSalt, k.RemoteSalt = next(key), next(key), next(salt), next(salt)
	if role == Server { // the client's come first
		k.LocalKey, k.RemoteKey, k.LocalSalt, k.RemoteSalt = k.RemoteKey, k.LocalKey, k.RemoteSalt, k.LocalSalt
	}
	return k, nil
}
