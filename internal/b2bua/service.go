// Package b2bua joins two dialogs, one per leg, into a call (RFC 7092): it
// authenticates the caller, finds the callee's phones, rings them, relays
// session descriptions and requests between the two sides, and writes down how
// each call ended.
package b2bua

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"ringfence/internal/dialog"
	"ringfence/internal/dialplan"
	"ringfence/internal/events"
	"ringfence/internal/location"
	"ringfence/internal/registrar"
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
	// Leg, if set, is told the Call-ID of each leg of a call. It must not block.
	Leg func(tenant telephony.TenantID, call telephony.CallID, callID string)
	// Admit, if set, may refuse a call that an extension begins to a number, as it
	// was dialled. It is not asked about emergency calls. It must not block.
	Admit func(tenant telephony.TenantID, caller, number string) *sip.Reply
	// Trunks are the ways to the outside; nil is none.
	Trunks Trunks
	// Route and RouteIn decide where calls go; nil is dialplan's Resolve and
	// ResolveInbound.
	Route   func(*telephony.Snapshot, dialplan.Request) dialplan.Plan
	RouteIn func(*telephony.Snapshot, dialplan.InboundRequest) dialplan.Plan
	// Spend, if set, may refuse a call before its INVITE goes to a trunk. It is
	// asked for each trunk that is tried, and must not block. The meter may be nil.
	Spend  func(Outside) (Meter, *sip.Reply)
	Node   telephony.NodeID
	Logger *slog.Logger

	MaxCalls int           // 2,000; more are refused with 503
	NoAnswer time.Duration // for extensions that set none; 60 s
}

// maxWait is how long a new INVITE may have waited to be looked at. On a system
// that is further behind, calls in progress come first and new ones are told to
// come back (RFC 3261 section 21.5.4).
const maxWait = time.Second

// closeTimeout is how long Close waits for the far ends.
const closeTimeout = 5 * time.Second

// Service holds the calls of this node.
type Service struct {
	c        Config
	dialogs  *dialog.Layer
	messages limiter

	mu       sync.Mutex
	calls    map[telephony.CallID]*call
	draining bool

	stop chan struct{}
	wg   sync.WaitGroup
}

// New returns a service without calls. Close it.
func New(c Config) *Service {
	if c.MaxCalls == 0 {
		c.MaxCalls = 2_000
	}
	if c.NoAnswer == 0 {
		c.NoAnswer = time.Minute
	}
	if c.Route == nil {
		c.Route = dialplan.Resolve
	}
	if c.RouteIn == nil {
		c.RouteIn = dialplan.ResolveInbound
	}
	s := &Service{
		c:       c,
		dialogs: dialog.NewLayer(c.Endpoint, c.Logger),
		calls:   make(map[telephony.CallID]*call),
		stop:    make(chan struct{}),
	}
	s.dialogs.Owned = s.owned
	s.wg.Go(s.watch)
	return s
}

// ServeSIP handles every method but REGISTER. It runs on a worker of the
// endpoint.
func (s *Service) ServeSIP(tx *sip.ServerTx) {
	r := tx.Request()
	switch {
	case r.To.Tag() != "", r.Method == sip.ACK:
		s.dialogs.ServeSIP(tx)
	case r.Method == sip.INVITE:
		s.invite(tx)
	case r.Method == sip.MESSAGE:
		s.message(tx)
	case r.Method == sip.REFER:
		tx.Reply(sip.Reply{Code: 403}) // nobody but the two in a call refers them
	case r.Method == sip.BYE, r.Method == sip.INFO:
		tx.Reply(sip.Reply{Code: 481}) // only within a dialog
	default:
		tx.Reply(sip.Unhandled(r.Method))
	}
}

// anonymous is the From domain of a caller that withholds its number (RFC 3323
// section 4.1.1.3); who it is comes from its credentials.
const anonymous = "anonymous.invalid"

// caller is who sent a request, by its credentials.
type caller struct {
	tenant telephony.Tenant
	ext    telephony.Extension
}

// authenticate finds out who sends a request that begins something. Nothing is
// kept of one who is not known; it has been answered then.
func (s *Service) authenticate(tx *sip.ServerTx) (caller, bool) {
	r := tx.Request()
	snap := s.c.Snapshot()
	user, domain := sip.AOR(r.From.URI)
	if tx.Waited() > maxWait && !s.urgent(tx, user, domain) {
		tx.Reply(*sip.Busy())
		return caller{}, false
	}
	nameless := domain == anonymous
	if nameless {
		_, domain = sip.AOR(r.URI)
	}
	tenant, _ := snap.TenantByDomain(domain)
	who, ok := s.c.Auth.Require(tx, sip.ChallengeProxy, domain, registrar.Secrets(snap, tenant))
	if !ok {
		return caller{}, false
	}
	e, known := snap.Extension(tenant.ID, who)
	if !known || !nameless && user != who {
		tx.Reply(sip.Reply{Code: 403}) // the password of one extension is not the identity of another
		return caller{}, false
	}
	return caller{tenant, e}, true
}

// urgent reports whether a request says that it is an emergency call. Whoever
// sends it must prove to be an extension nevertheless.
func (s *Service) urgent(tx *sip.ServerTx, user, domain string) bool {
	r, snap := tx.Request(), s.c.Snapshot()
	tenant, ok := snap.TenantByDomain(domain)
	if !ok || r.Method != sip.INVITE || r.Has("Replaces") {
		return false
	}
	e, ok := snap.Extension(tenant.ID, user)
	number, ours := s.dialled(r.URI, tenant, tx.Flow())
	return ok && ours && s.plan(tenant.ID, e, number, "").Emergency
}

// invite begins a call.
func (s *Service) invite(tx *sip.ServerTx) {
	if s.ofTrunk(tx) {
		return
	}
	from, ok := s.authenticate(tx)
	if !ok {
		return
	}
	r := tx.Request()
	var plan dialplan.Plan
	if number, ok := s.dialled(r.URI, from.tenant, tx.Flow()); ok && !r.Has("Replaces") {
		plan = s.plan(from.tenant.ID, from.ext, number, "")
	}
	if s.c.Admit != nil && !plan.Emergency {
		if refusal := s.c.Admit(from.tenant.ID, from.ext.Number, r.URI.User); refusal != nil {
			tx.Reply(*refusal)
			return
		}
	}
	dialled, _ := sip.AOR(r.URI)
	who := telephony.Party{Number: from.ext.Number, Name: from.ext.DisplayName, Addr: tx.Flow().Remote}
	c := newCall(s, from.tenant, who, withheld(r), dialled)
	c.caller.security, c.caller.dtmf, c.account, c.first = from.ext.Media, from.ext.DTMF, from.ext, plan
	if !s.add(c, plan.Emergency) {
		tx.Reply(*sip.Busy())
		return
	}
	in, err := s.dialogs.Accept(tx, c.params(c.record.Callee.Number))
	if err != nil {
		s.remove(c)
		return
	}
	c.box.Post(func() { c.start(in) })
}

// reserved is how many emergency calls there may be beyond MaxCalls.
const reserved = 50

func (s *Service) add(c *call, emergency bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	most := s.c.MaxCalls
	if emergency {
		most += reserved
	}
	if s.draining || len(s.calls) >= most {
		return false
	}
	s.calls[c.id] = c
	return true
}

func (s *Service) remove(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.calls, c.id)
}

func (s *Service) all() []*call {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*call, 0, len(s.calls))
	for _, c := range s.calls {
		out = append(out, c)
	}
	return out
}

// ErrNoCall says that there is no such call (any more) in the tenant.
var ErrNoCall = errors.New("no such call")

// Calls lists the live calls of a tenant, oldest first; telephony.System lists
// those of all tenants.
func (s *Service) Calls(tenant telephony.TenantID) []telephony.LiveCall {
	var out []telephony.LiveCall
	for _, c := range s.all() {
		if tenant == telephony.System || c.tenant.ID == tenant {
			out = append(out, *c.live.Load())
		}
	}
	slices.SortFunc(out, func(a, b telephony.LiveCall) int {
		return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// HangUp ends a call and returns when it has ended or ctx is done.
func (s *Service) HangUp(ctx context.Context, tenant telephony.TenantID, id telephony.CallID) error {
	s.mu.Lock()
	c := s.calls[id]
	s.mu.Unlock()
	if c == nil || tenant != telephony.System && c.tenant.ID != tenant {
		return ErrNoCall
	}
	c.box.Post(func() { c.end(telephony.EndAdmin, sip.Reply{Code: 480}) })
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Drain refuses new calls with 503 from now on; existing ones go on.
func (s *Service) Drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
}

// Close refuses new calls, ends all others with BYE, CANCEL or 503 and waits
// until their far ends have heard of it, at most 5 s.
func (s *Service) Close() error {
	s.Drain()
	s.mu.Lock()
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	s.mu.Unlock()
	s.wg.Wait()
	deadline := time.Now().Add(closeTimeout)
	calls := s.all()
	for _, c := range calls {
		c.box.Post(func() { c.end(telephony.EndShutdown, *sip.Busy()) })
	}
	late := time.After(closeTimeout)
	for _, c := range calls {
		select {
		case <-c.done:
		case <-late:
		}
	}
	for s.dialogs.Len() > 0 && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if n := s.dialogs.Len(); n > 0 {
		s.c.Logger.Warn("closed before all phones answered", slog.Int("legs", n))
	}
	return nil
}

func (s *Service) publish(e events.Event) {
	if s.c.Bus != nil {
		s.c.Bus.Publish(e)
	}
}
