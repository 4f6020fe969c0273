// Package b2bua joins two dialogs, one per leg, into a call (RFC 7092).
package b2bua

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"ringfence/internal/events"
	"ringfence/internal/location"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// Config is what the service needs. Zero durations and limits take the
// defaults.
type Config struct {
	Endpoint  *sip.Endpoint
	Snapshot  func() *telephony.Snapshot
	Location  location.Store
	Auth      *sip.Authenticator
	Media     Media
	Addresses sip.Addresses // nil: the addresses of the flows
	Bus       *events.Bus   // may be nil
	// Record, if set, gets each call's record exactly once, besides the
	// CallEnded event, which a full bus buffer may lose. It must not block.
	Record func(telephony.CallRecord)
	Node   telephony.NodeID
	Logger *slog.Logger

	MaxCalls  int           // 2,000; more are refused with 503
	NoAnswer  time.Duration // for extensions that set none; 60 s
	DeadMedia time.Duration // no RTP from either side ends a call; 600 s
}

// Service holds the calls of this node.
type Service struct{ c Config }

// New returns a service without calls. Close it.
func New(c Config) *Service { return &Service{c: c} }

// ServeSIP handles every method but REGISTER.
func (s *Service) ServeSIP(tx *sip.ServerTx) {}

// ErrNoCall says that there is no such call (any more) in the tenant.
var ErrNoCall = errors.New("no such call")

// Calls lists the live calls of a tenant, oldest first; telephony.System lists
// those of all tenants.
func (s *Service) Calls(tenant telephony.TenantID) []telephony.LiveCall { return nil }

// HangUp ends a call and returns when it has ended or ctx is done.
func (s *Service) HangUp(ctx context.Context, tenant telephony.TenantID, id telephony.CallID) error {
	return ErrNoCall
}

// Drain refuses new calls with 503 from now on; existing ones go on.
func (s *Service) Drain() {}

// Close refuses new calls, ends all others with BYE, CANCEL or 503 and waits
// until they have ended, at most 5 s.
func (s *Service) Close() error { return nil }
