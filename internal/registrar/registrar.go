// Package registrar answers REGISTER (RFC 3261 section 10.3).
package registrar

import (
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"ringfence/internal/location"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// Config is what the registrar needs. Zero durations and limits take the
// defaults.
type Config struct {
	Snapshot func() *telephony.Snapshot
	Location location.Store
	Auth     *sip.Authenticator
	Endpoint *sip.Endpoint
	Logger   *slog.Logger

	MinExpires     time.Duration // shorter ones get 423; 60 s
	MaxExpires     time.Duration // longer ones are shortened; 1 h
	DefaultExpires time.Duration // when the phone names none; 1 h
	MaxContacts    int           // bindings of one AOR; 10, the oldest give way
}

// Service is the registrar of this node.
type Service struct{ c Config }

// New returns a registrar.
func New(c Config) *Service {
	if c.MinExpires == 0 {
		c.MinExpires = time.Minute
	}
	if c.MaxExpires == 0 {
		c.MaxExpires = time.Hour
	}
	if c.DefaultExpires == 0 {
		c.DefaultExpires = time.Hour
	}
	if c.MaxContacts == 0 {
		c.MaxContacts = 10
	}
	return &Service{c}
}

// ServeSIP answers one REGISTER. It never begins a transaction: a
// retransmission is recognised by its Call-ID and CSeq and gets the same
// answer (RFC 3261 section 8.2.7), and an unauthenticated one costs no memory.
func (s *Service) ServeSIP(tx *sip.ServerTx) {
	r := tx.Request()
	user, domain := sip.AOR(r.To.URI)
	if user == "" || !isSIP(r.To.URI) {
		tx.Reply(sip.Reply{Code: 400, Reason: "No Address of Record"})
		return
	}
	snap := s.c.Snapshot()
	tenant, _ := snap.TenantByDomain(domain)
	who, ok := s.c.Auth.Require(tx, sip.ChallengeUser, domain, Secrets(snap, tenant))
	if !ok {
		return
	}
	fromUser, fromDomain := sip.AOR(r.From.URI)
	if who != user || fromUser != user || fromDomain != domain {
		tx.Reply(sip.Reply{Code: 403}) // nobody registers for others
		return
	}
	aor := telephony.AOR{User: user, Domain: domain}
	req, refusal := s.read(tx, tenant.ID, aor)
	if refusal != nil {
		tx.Reply(*refusal)
		return
	}
	live, err := s.c.Location.Update(aor, req.apply)
	if err != nil {
		// The only error: an older request overtaken by a newer one.
		tx.Reply(sip.Reply{Code: 500, Reason: "Out of Order", Headers: []sip.Header{{Name: "Retry-After", Value: "1"}}})
		return
	}
	tx.Reply(s.accepted(live))
}

// Secrets looks up the digest secrets of a tenant's extensions. The zero tenant
// has none.
func Secrets(snap *telephony.Snapshot, tenant telephony.Tenant) func(string) (sip.Secret, bool) {
	return func(user string) (sip.Secret, bool) {
		if tenant.ID == telephony.System {
			return sip.Secret{}, false
		}
		e, ok := snap.Extension(tenant.ID, user)
		return sip.Secret{MD5: e.HA1, SHA256: e.HA1SHA256}, ok
	}
}

// Reconcile removes the bindings of extensions that no longer exist.
func (s *Service) Reconcile(snap *telephony.Snapshot) {
	for _, b := range s.c.Location.All(telephony.System) {
		t, ok := snap.TenantByDomain(b.AOR.Domain)
		if ok && t.ID == b.Tenant {
			if _, ok = snap.Extension(t.ID, b.AOR.User); ok {
				continue
			}
		}
		_, _ = s.c.Location.Update(b.AOR, func([]telephony.Binding) ([]telephony.Binding, error) { return nil, nil })
	}
}

// accepted lists all bindings with what is left of their time (RFC 3261
// section 10.3, step 8).
func (s *Service) accepted(live []telephony.Binding) sip.Reply {
	now := time.Now()
	headers := make([]sip.Header, 0, len(live)+1)
	for _, b := range live {
		v := make([]byte, 0, 128)
		v = append(append(append(v, '<'), b.Contact...), ">;expires="...)
		v = strconv.AppendInt(v, int64((b.Expires.Sub(now)+time.Second-1)/time.Second), 10)
		if b.Q != defaultQ {
			v = strconv.AppendFloat(append(v, ";q="...), b.Q, 'f', -1, 64)
		}
		if b.Instance != "" {
			v = append(append(v, ";+sip.instance="...), sip.Quote(b.Instance)...)
		}
		headers = append(headers, sip.Header{Name: "Contact", Value: string(v)})
	}
	headers = append(headers, sip.Header{Name: "Date", Value: now.UTC().Format(http.TimeFormat)})
	return sip.Reply{Code: 200, Headers: headers}
}

func isSIP(u sip.URI) bool { return u.Scheme == "sip" || u.Scheme == "sips" }
