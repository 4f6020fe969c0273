package telephony

import "fmt"

// MediaSecurity says how the media of a party must be protected on their way
// to and from it.
type MediaSecurity string

const (
	// SecurityOffer takes the best protection that both ends know, AES-256
	// before AES-128, and speaks with those that know none (RFC 8643).
	SecurityOffer MediaSecurity = "offer"
	// SecurityOff neither offers nor takes SRTP.
	SecurityOff MediaSecurity = "off"
	// SecurityRequire refuses media without SRTP.
	SecurityRequire MediaSecurity = "require"
	// SecurityRequire256 refuses media without SRTP under a 256-bit key.
	SecurityRequire256 MediaSecurity = "require-256"
)

// ParseMediaSecurity reads a name of the constants; empty is SecurityOffer.
func ParseMediaSecurity(s string) (MediaSecurity, error) {
	switch m := MediaSecurity(s); m {
	case SecurityOffer, SecurityOff, SecurityRequire, SecurityRequire256:
		return m, nil
	case "":
		return SecurityOffer, nil
	}
	return "", fmt.Errorf("media security is %q; it must be %q, %q, %q or %q",
		s, SecurityOffer, SecurityOff, SecurityRequire, SecurityRequire256)
}

// Required reports whether media without SRTP are refused.
func (m MediaSecurity) Required() bool { return m == SecurityRequire || m == SecurityRequire256 }
