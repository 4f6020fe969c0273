package sip

import "time"

// AuthConfig is what an Authenticator needs; the zero value will do.
type AuthConfig struct {
	// Lifetime is how long a nonce is taken; older ones get stale=true.
	// 0 means 5 min.
	Lifetime time.Duration
	// Observe, if set, hears every outcome. It must not block.
	Observe func(Flow, AuthOutcome)
}

// AuthOutcome is what came of checking a request's credentials.
type AuthOutcome int

// Authenticator checks digest credentials (RFC 8760) against stateless nonces.
type Authenticator struct{}

// NewAuthenticator returns an Authenticator with a fresh random key.
func NewAuthenticator(c AuthConfig) *Authenticator { return &Authenticator{} }
