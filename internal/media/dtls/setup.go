package dtls

import (
	"errors"
	"fmt"
	"strings"
)

// ErrSetup says that a setup attribute cannot be used.
var ErrSetup = errors.New("setup attribute")

// Setup is the value of a setup attribute (RFC 4145 section 4): who sends the
// ClientHello (RFC 5763 section 5).
type Setup string

// The values of RFC 4145 section 4.1. Nobody has a use for holdconn in
// DTLS-SRTP.
const (
	Actpass Setup = "actpass"
	Active  Setup = "active"
	Passive Setup = "passive"
)

// ParseSetup reads the attribute.
func ParseSetup(value string) (Setup, error) {
	switch s := Setup(strings.ToLower(strings.TrimSpace(value))); s {
	case Actpass, Active, Passive:
		return s, nil
	}
	return "", fmt.Errorf("%w: none of actpass, active, passive", ErrSetup)
}

// Answer is our answer to an offer: passive where we can be. RFC 5763 section 5
// prefers active, which saves half a round trip. But it is the server that picks
// the profile (RFC 5764 section 4.1.1), and browsers as servers pick AES-128.
func (s Setup) Answer() Setup {
	if s == Passive {
		return Active
	}
	return Passive
}

// Role is the one of the side that says s.
func (s Setup) Role() Role {
	if s == Active {
		return Client
	}
	return Server
}

// Role of an endpoint in the handshake.
type Role int

// The roles.
const (
	Server Role = iota
	Client
)

// Setup says the role in an answer.
func (r Role) Setup() Setup {
	if r == Client {
		return Active
	}
	return Passive
}

// Peer is the other role.
func (r Role) Peer() Role { return 1 - r }
