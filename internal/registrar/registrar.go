// Package registrar answers REGISTER (RFC 3261 section 10.3).
package registrar

import (
	"log/slog"
	"time"

	"ringfence/internal/events"
	"ringfence/internal/location"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// Config is what the registrar needs. Durations of zero take the defaults.
type Config struct {
	Snapshot func() *telephony.Snapshot
	Location location.Store
	Auth     *sip.Authenticator
	Endpoint *sip.Endpoint
	Bus      *events.Bus // may be nil
	Logger   *slog.Logger

	MinExpires     time.Duration // shorter ones get 423; 60 s
	MaxExpires     time.Duration // longer ones are shortened; 1 h
	DefaultExpires time.Duration // when the phone names none; 1 h
	MaxContacts    int           // bindings of one AOR; 10, the oldest give way
}

// Service is the registrar of this node.
type Service struct{ c Config }

// New returns a registrar.
func New(c Config) *Service { return &Service{c} }

// ServeSIP answers one REGISTER.
func (s *Service) ServeSIP(tx *sip.ServerTx) {}
