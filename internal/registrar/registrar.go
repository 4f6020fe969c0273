// Package registrar answers REGISTER (RFC 3261 section 10.3).
package registrar

import (
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"ringfence/internal/location"
	"ringfence/internal/ports"
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
	// Moved, if set, is told when a Contact is registered at another flow than
	// before; was is the flow of the binding that the same phone had, if any. It
	// must not block.
	Moved func(tenant telephony.TenantID, number, contact string, was telephony.Flow, now sip.Flow)

	MinExpires     time.Duration // shorter ones get 423; 60 s
	MaxExpires     time.Duration // longer ones are shortened; 1 h
	NATExpires     time.Duration // the same for UDP through NAT; 2 min
	DefaultExpires time.Duration // when the phone names none; 1 h
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
	if c.NATExpires == 0 {
		c.NATExpires = 2 * time.Minute
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
	who, ok := s.c.Auth.Require(tx, sip.ChallengeUser, domain, accounts(snap, tenant))
	if !ok {
		return
	}
	fromUser, fromDomain := sip.AOR(r.From.URI)
	if who != user || fromUser != user || fromDomain != domain {
		tx.Reply(sip.Reply{Code: 403}) // nobody registers for others
		return
	}
	if t, ok := Gateway(snap, tenant, user); ok && t.Transport == telephony.TrunkTLS && !Secure(tx.Flow()) {
		tx.Reply(sip.Reply{Code: 403, Reason: "TLS Required"})
		return
	}
	// Copies: a binding is kept, and must not hold the whole message.
	aor := telephony.AOR{User: strings.Clone(user), Domain: strings.Clone(domain)}
	req, refusal := s.read(tx, tenant, aor)
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
	s.checkFlow(req)
	for _, m := range req.moved {
		if m.other.IsValid() {
			s.c.Logger.Info("a Contact was registered from another place", "aor", aor.String(), "contact", m.contact,
				"before", m.other.String(), "source", tx.Flow().Remote.String())
		}
		if s.c.Moved != nil {
			s.c.Moved(tenant.ID, aor.User, m.contact, m.was, tx.Flow())
		}
	}
	tx.Reply(s.accepted(req, live))
}

// checkFlow catches a connection that ended between the request and its
// binding, after everybody was told.
func (s *Service) checkFlow(q *request) {
	if q.flow.Token == "" {
		return
	}
	if _, err := s.c.Endpoint.Flow(q.flow); err != nil {
		s.c.Location.FlowGone(q.flow.Token)
	}
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

// Reconcile removes the bindings of extensions and gateways that no longer exist,
// and of phones that may no longer register the way they did.
func (s *Service) Reconcile(snap *telephony.Snapshot) {
	for _, b := range s.c.Location.All(telephony.System) {
		t, ok := snap.TenantByDomain(b.AOR.Domain)
		if ok && t.ID == b.Tenant && may(snap, t, &b) {
			continue
		}
		_, _ = s.c.Location.Update(b.AOR, func(list []telephony.Binding) ([]telephony.Binding, error) {
			return slices.DeleteFunc(list, func(x telephony.Binding) bool { return x.Contact == b.Contact && x.Flow == b.Flow }), nil
		})
	}
}

// encrypted reports whether a listener takes TLS only.
func encrypted(id ports.ID) bool {
	svc, ok := ports.Lookup(ports.Table(), id)
	return ok && (svc.Wrap == ports.SIPS || svc.Wrap == ports.SIPWSS || svc.Wrap == ports.HTTPS)
}

// flowTimer is how often a phone with several flows is to send keep-alives on a
// connection, in seconds (RFC 5626 section 4.4.1).
const flowTimer = "90"

// accepted lists all bindings with what is left of their time (RFC 3261
// section 10.3, step 8). A phone on the edge is not told of those inside, whose
// Contacts are addresses behind it.
func (s *Service) accepted(q *request, live []telephony.Binding) sip.Reply {
	now := time.Now()
	headers := make([]sip.Header, 0, len(live)+4)
	for i := range live {
		if q.flow.Listener.OnEdge() && !live[i].Flow.Listener.OnEdge() {
			continue
		}
		headers = append(headers, sip.Header{Name: "Contact", Value: contactValue(&live[i], now)})
	}
	if q.path != "" {
		headers = append(headers, sip.Header{Name: "Path", Value: q.path}) // RFC 3327 section 5.3
	}
	if q.outbound {
		headers = append(headers, sip.Header{Name: "Require", Value: "outbound"}) // RFC 5626 section 6
		if q.flow.Token != "" {
			headers = append(headers, sip.Header{Name: "Flow-Timer", Value: flowTimer})
		}
	}
	headers = append(headers, sip.Header{Name: "Date", Value: now.UTC().Format(http.TimeFormat)})
	return sip.Reply{Code: 200, Headers: headers}
}

func contactValue(b *telephony.Binding, now time.Time) string {
	v := make([]byte, 0, 160)
	v = append(append(append(v, '<'), b.Contact...), ">;expires="...)
	v = strconv.AppendInt(v, int64((b.Expires.Sub(now)+time.Second-1)/time.Second), 10)
	if b.Q != defaultQ {
		v = strconv.AppendFloat(append(v, ";q="...), b.Q, 'f', -1, 64)
	}
	if b.Instance != "" {
		v = append(append(v, ";+sip.instance="...), sip.Quote(b.Instance)...)
	}
	if b.Outbound {
		v = strconv.AppendInt(append(v, ";reg-id="...), int64(b.RegID), 10)
	}
	return string(v)
}

func isSIP(u sip.URI) bool { return u.Scheme == "sip" || u.Scheme == "sips" }
