// Package ice answers the connectivity checks of a peer: the lite
// implementation of ICE (RFC 8445 section 2.5). It sends no checks and gathers
// one host candidate, so the peer is always controlling. It is pure: datagrams
// come in as bytes with their source, replies go out as bytes.
//
// Consent (RFC 7675) is the peer's to ask for; its checks are answered like any
// other.
package ice

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
)

// Lengths of RFC 8839 section 5.4; the lower bounds are those of RFC 8445
// section 5.3 too.
const (
	minUfrag, minPwd = 4, 22
	maxCredential    = 256

	ownUfrag, ownPwd = 8, 24 // 48 and 144 random bits
)

// ErrCredentials says that ice-ufrag or ice-pwd cannot be used.
var ErrCredentials = errors.New("ICE credentials break the grammar")

// Credentials are the user name fragment and the password of one agent for one
// session: ice-ufrag and ice-pwd (RFC 8839 section 5.4).
type Credentials struct{ Ufrag, Pwd string }

// NewCredentials draws credentials of our own.
func NewCredentials() Credentials {
	return Credentials{Ufrag: random(ownUfrag), Pwd: random(ownPwd)}
}

// random is n ice-chars; there are 64 of them.
func random(n int) string {
	const chars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	b := make([]byte, n)
	rand.Read(b)
	for i := range b {
		b[i] = chars[b[i]&63]
	}
	return string(b)
}

// Validate checks what a peer sent against RFC 8839 section 5.4.
func (c Credentials) Validate() error {
	if !iceChars(c.Ufrag, minUfrag) || !iceChars(c.Pwd, minPwd) {
		return fmt.Errorf("ice-ufrag of %d and ice-pwd of %d characters: %w", len(c.Ufrag), len(c.Pwd), ErrCredentials)
	}
	return nil
}

func iceChars(s string, least int) bool {
	if len(s) < least || len(s) > maxCredential {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '+', c == '/':
		default:
			return false
		}
	}
	return true
}

// Components of a stream (RFC 8445 section 2.1): with rtcp-mux there is the
// first one only (RFC 8834, RFC 5761 section 5.1.3).
const (
	RTP  = 1
	RTCP = 2
)

// Candidate is the value of the candidate attribute for our only address of a
// component. It is of type host, also where a NAT stands before us that maps
// addresses one to one: a server-reflexive candidate would name the inside
// address, and peers would try both.
func Candidate(component int, at netip.AddrPort) string {
	// RFC 8445 section 5.1.2.1; a host with one address prefers it fully.
	priority := 126<<24 | 65535<<8 | (256 - component)
	return fmt.Sprintf("1 %d udp %d %s %d typ host", component, priority, at.Addr().Unmap().WithZone(""), at.Port())
}
