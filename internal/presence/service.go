// Package presence is the notifier of event subscriptions (RFC 6665): lamps
// that follow an extension's calls (dialog, RFC 4235), presence (RFC 3856) with
// PUBLISH (RFC 3903), waiting messages (RFC 3842) and registrations (RFC 3680).
//
// What a document says is read from the live state when it is sent; events only
// tell what to look at, and a sweep looks at everything again, so that a lost
// event cannot leave a lamp wrong. A subscription has at most one NOTIFY in
// flight; what changes meanwhile goes into the next one.
package presence

import (
	"log/slog"
	"sync"
	"time"

	"ringfence/internal/events"
	"ringfence/internal/registrar"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// Calls shows the live calls.
type Calls interface {
	Calls(telephony.TenantID) []telephony.LiveCall // System: of all tenants
	Call(telephony.CallID) (telephony.LiveCall, bool)
}

// Registrations shows the bindings of an AOR.
type Registrations interface {
	Bindings(telephony.AOR) []telephony.Binding
}

// Mailboxes shows the messages that wait for an extension.
type Mailboxes interface {
	Messages(tenant telephony.TenantID, number string) Messages
}

// Messages are counts of voice messages (RFC 3842 section 5.2).
type Messages struct{ New, Old, UrgentNew, UrgentOld int }

// Config is what the service needs. Zero durations and limits take the
// defaults.
type Config struct {
	Endpoint      *sip.Endpoint
	Snapshot      func() *telephony.Snapshot
	Auth          *sip.Authenticator
	Calls         Calls
	Registrations Registrations
	Mailboxes     Mailboxes // nil: nobody has messages
	Bus           *events.Bus
	// Dialogs handles SUBSCRIBE within dialogs that are not of this package
	// (the implicit subscription of REFER); nil answers 481.
	Dialogs sip.Handler
	// Alias is a dialog's stand-in for subscribers on the edge; nil hides
	// nothing. It must not block.
	Alias  func(telephony.DialogID) (telephony.DialogID, bool)
	Logger *slog.Logger

	MinExpires     time.Duration // shorter ones get 423; 60 s
	MaxExpires     time.Duration // longer ones are shortened; 1 h
	PerSubscriber  int           // subscriptions of one extension; 200, the oldest give way
	Subscriptions  int           // of all; 20,000, more are refused with 503
	Publications   int           // published documents; 10,000
	InFlight       int           // NOTIFYs without an answer; 2,000
	Burst          int           // NOTIFYs of a subscription at once; 3
	Interval       time.Duration // and then one per interval; 1 s (RFC 4235 section 3.10)
	Sweep          time.Duration // how often everything is looked at again; 2 s
	Gather         time.Duration // how long changes are gathered; 20 ms
	KeepAtShutdown bool          // subscriptions over UDP are stored: they do not end with Close
}

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	count := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	set(&c.MinExpires, time.Minute)
	set(&c.MaxExpires, time.Hour)
	set(&c.Interval, time.Second)
	set(&c.Sweep, 2*time.Second)
	set(&c.Gather, 20*time.Millisecond)
	count(&c.PerSubscriber, 200)
	count(&c.Subscriptions, 20_000)
	count(&c.Publications, 10_000)
	count(&c.InFlight, 2_000)
	count(&c.Burst, 3)
	if c.Bus == nil {
		c.Bus = &events.Bus{}
	}
	return c
}

// extension names an extension of a tenant: a presentity, a lamp.
type extension struct {
	tenant telephony.TenantID
	number string
}

// Service is the notifier of this node.
type Service struct {
	c   Config
	bus *events.Subscription

	mu        sync.Mutex
	closing   bool
	byTag     map[string]*subscription // live ones, by our tag
	resources map[resourceKey]*resource
	owners    map[extension]map[*subscription]struct{}
	published map[extension][]publication
	nPublish  int
	model     model
	ready     []*subscription // have something to send
	waiting   int             // of ready or delayed, that are not in byTag any more
	inFlight  int
	changed   map[string]change // not stored yet, by our tag
	// changedPublished are publications that are not stored yet, or not removed
	// there, by entity-tag.
	changedPublished map[string]publishedChange

	stop chan struct{}
	wg   sync.WaitGroup
}

// New returns a service without subscriptions. Close it.
func New(c Config) *Service {
	c = c.withDefaults()
	s := &Service{
		c:         c,
		byTag:     make(map[string]*subscription),
		resources: make(map[resourceKey]*resource),
		owners:    make(map[extension]map[*subscription]struct{}),
		published: make(map[extension][]publication),
		model:     newModel(),
		changed:   make(map[string]change),

		changedPublished: make(map[string]publishedChange),
		stop:             make(chan struct{}),
	}
	const buffer = 4096 // a lost event costs one look at everything
	s.bus = c.Bus.Subscribe(buffer)
	s.wg.Go(s.run)
	return s
}

// Len is how many subscriptions there are.
func (s *Service) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byTag)
}

// ServeSIP handles SUBSCRIBE and PUBLISH. It runs on a worker of the endpoint.
func (s *Service) ServeSIP(tx *sip.ServerTx) {
	r := tx.Request()
	if r.Method == sip.SUBSCRIBE && s.c.Dialogs != nil && r.To.Tag() != "" && eventName(r) == "refer" {
		s.c.Dialogs.ServeSIP(tx)
		return
	}
	who, tenant, ok := s.authenticate(tx)
	if !ok {
		return
	}
	switch {
	case r.Method == sip.PUBLISH && r.To.Tag() == "":
		s.publish(tx, tenant, who)
	case r.Method == sip.SUBSCRIBE && r.To.Tag() == "":
		s.subscribe(tx, tenant, who)
	case r.Method == sip.SUBSCRIBE:
		s.refresh(tx, tenant, who)
	default:
		tx.Reply(sip.Reply{Code: 481})
	}
}

// authenticate finds out who asks, as for a call. Nothing is told to strangers:
// the challenge comes before any look at what is asked for. Extensions of the
// same tenant, who can dial any number, may learn which ones exist.
func (s *Service) authenticate(tx *sip.ServerTx) (who telephony.Extension, tenant telephony.Tenant, ok bool) {
	user, domain := sip.AOR(tx.Request().From.URI)
	snap := s.c.Snapshot()
	tenant, _ = snap.TenantByDomain(domain)
	name, ok := s.c.Auth.Require(tx, sip.ChallengeUser, domain, registrar.Secrets(snap, tenant))
	if !ok {
		return who, tenant, false
	}
	who, ok = snap.Extension(tenant.ID, name)
	if !ok || name != user {
		tx.Reply(sip.Reply{Code: 403})
		return who, tenant, false
	}
	return who, tenant, true
}

// target finds the extension a request is about; a refusal was sent if it
// returns false.
func (s *Service) target(tx *sip.ServerTx, tenant telephony.Tenant) (extension, bool) {
	user, domain := sip.AOR(tx.Request().URI)
	if domain != tenant.Domain && !s.c.Endpoint.Ours(tx.Flow(), domain) {
		tx.Reply(sip.Reply{Code: 404}) // another tenant's domain is as unknown as any
		return extension{}, false
	}
	e, ok := s.c.Snapshot().Extension(tenant.ID, user)
	if !ok {
		tx.Reply(sip.Reply{Code: 404})
		return extension{}, false
	}
	return extension{tenant.ID, e.Number}, true
}

// MessagesChanged says that the messages of an extension changed.
func (s *Service) MessagesChanged(tenant telephony.TenantID, number string) {
	s.lookAt(resourceKey{extension{tenant, number}, messageSummary})
}

// Reconcile ends what belongs to extensions that no longer exist, or that moved
// to another domain.
func (s *Service) Reconcile(snap *telephony.Snapshot) {
	gone := func(e extension) bool { _, ok := snap.Extension(e.tenant, e.number); return !ok }
	s.mu.Lock()
	for _, sub := range s.byTag {
		switch {
		case gone(sub.owner()):
			s.end(sub, "rejected")
		case gone(sub.key.extension):
			s.end(sub, "noresource")
		}
	}
	for e := range s.published {
		if gone(e) {
			s.nPublish -= len(s.published[e])
			for _, p := range s.published[e] {
				s.notePublished(e, p, true)
			}
			delete(s.published, e)
		}
	}
	s.mu.Unlock()
	s.pump()
}

// closeTimeout is how long Close waits for answers to the last NOTIFYs.
const closeTimeout = 2 * time.Second

// Close ends the subscriptions whose phones will not hear from the next start,
// and waits shortly for the answers.
func (s *Service) Close() {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return
	}
	s.closing = true
	s.mu.Unlock()
	close(s.stop)
	s.bus.Close()
	s.wg.Wait()
	s.audit() // what just ended is told too
	s.mu.Lock()
	for _, sub := range s.byTag {
		if !s.c.KeepAtShutdown || !sub.storable() {
			s.end(sub, "deactivated") // RFC 6665 section 4.1.3: subscribe again at once
		}
	}
	s.mu.Unlock()
	s.pump()
	for deadline := time.Now().Add(closeTimeout); time.Now().Before(deadline) && s.busy(); {
		time.Sleep(10 * time.Millisecond)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range s.byTag {
		sub.stopTimer()
	}
	s.ready = nil
}

func (s *Service) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inFlight > 0 || len(s.ready) > 0
}
