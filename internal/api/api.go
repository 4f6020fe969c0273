package api

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"ringfence/internal/certs"
	"ringfence/internal/dialplan"
	"ringfence/internal/events"
	"ringfence/internal/fraud"
	"ringfence/internal/login"
	"ringfence/internal/setup"
	"ringfence/internal/sip"
	"ringfence/internal/sso"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// Config is what the API stands on.
type Config struct {
	Store *store.Store
	Login *login.Service
	// Tickets are those of the WebSocket Interface; nil keeps them to the API.
	Tickets *login.Tickets
	Wizard  *setup.Wizard
	Live    Live
	// Network is that of the machine; nil where it is not ours to change.
	Network MachineNetwork
	// Trials are the changes of settings that wait to be confirmed.
	Trials Trials
	Bus    *events.Bus
	Logger *slog.Logger

	// FraudAlarms are those of a tenant, newest first; nil: there are none.
	FraudAlarms func(telephony.TenantID) []fraud.Alarm

	Version, Hostname string
	// Invited is told of every one-time link, to send it; nil tells nobody.
	Invited func(ctx context.Context, u telephony.User, url string, until time.Time)
	// RequestsPerMinute bounds each session and token; 0 is 5,000.
	RequestsPerMinute int
	// WebPhones hands out credentials for browsers; nil hands out none.
	WebPhones WebPhones
	// Preview is what an INVITE to a trunk would say: its Request-URI, and its
	// headers about who calls; nil shows none.
	Preview func(t telephony.Trunk, a dialplan.Attempt, hidden bool) (uri string, headers []sip.Header)
	// TrunkDown reports whether a trunk cannot carry calls now; nil is none.
	TrunkDown func(telephony.TenantID, telephony.TrunkID) bool
	// TrunkStates tells of trunks; nil knows nothing of any.
	TrunkStates TrunkStates
	// LoopbackTrunks lets trunks lead to the machine itself, for tests.
	LoopbackTrunks bool
	// Fingerprint of the certificate in force.
	Fingerprint func() string
	// Certificates are those of the TLS listeners.
	Certificates *certs.Store
	// ACME asks for one; nil where that is not possible.
	ACME CertificateAgent
}

// Server is the REST interface: an http.Handler for everything under Base. It
// expects to stand behind package httpd, which bounds connections and bodies.
type Server struct {
	cfg     Config
	routes  *router
	huma    huma.API
	origin  *http.CrossOriginProtection
	started time.Time

	beat     time.Duration // of event streams
	closing  chan struct{}
	closeOne sync.Once

	shell shell
	rates *rates
	sso   *sso.Client

	mu         sync.Mutex
	streams    map[[32]byte]int // event streams, by session
	streamsAll int
}

// New returns the API.
func New(cfg Config) *Server {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Tickets == nil {
		cfg.Tickets = &login.Tickets{}
	}
	s := &Server{
		cfg: cfg, origin: http.NewCrossOriginProtection(), started: time.Now(), beat: streamBeat,
		closing: make(chan struct{}), streams: make(map[[32]byte]int),
		sso:   sso.New(sso.Options{}),
		rates: newRates(cmp.Or(cfg.RequestsPerMinute, requestsPerMinute)),
	}
	s.routes = newRouter(s.gate, s.writeProblem)
	s.huma = humago.New(s.routes, humaConfig())
	s.register()
	fixDocument(s.huma.OpenAPI())
	return s
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.routes.ServeHTTP(w, r) }

// Close ends the event streams, so that the listeners can end in order.
func (s *Server) Close() {
	s.closeOne.Do(func() {
		close(s.closing)
		s.sso.Close()
	})
}

// register adds every operation. The order is the order of the document's
// readers: set-up, log-in, settings, live data, the box.
func (s *Server) register() {
	s.registerSetup()
	s.registerSession()
	s.registerFactor()
	s.registerSessions()
	s.registerTokens()
	s.registerInvites()
	s.registerTenants()
	s.registerTenant()
	s.registerUsers()
	s.registerRoles()
	s.registerGroups()
	s.registerPeople()
	s.registerOwn()
	s.registerSignIn()
	s.registerSSO()
	s.registerExtensions()
	s.registerTrunks()
	s.registerRoutes()
	s.registerDialplan()
	s.registerProvisioning()
	s.registerLive()
	s.registerWebPhone()
	s.registerRecords()
	s.registerBox()
	s.registerTransports()
	s.registerClientCertificates()
	s.registerCertificates()
	s.registerACME()
	s.registerAddresses()
	s.registerNetwork()
	s.registerTrial()
	s.registerSecurity()
	s.registerSSH()
	s.registerFraud()
	s.registerConfiguration()
	s.registerEvents()
	s.registerWSI()
}
