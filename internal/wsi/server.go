package wsi

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"ringfence/internal/events"
	"ringfence/internal/httpd"
	"ringfence/internal/login"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
	"ringfence/internal/tries"
)

// Bounds of the interface.
const (
	maxClients       = 256 // in all, those that do not say who they are included
	maxStrangers     = 64  // that do not say who they are
	maxPerSource     = 8   // of those
	maxPerSession    = 6
	maxPerTenant     = 64
	maxSubscriptions = 32 // of a client
	maxResyncs       = 3  // of a client in a minute
	burst            = 40 // requests of a client
	perSecond        = 2
	byeTimeout       = 2 * time.Second
)

// limits are what tests make smaller.
type limits struct {
	queue             int           // messages that wait for a client
	auth, write       time.Duration // for the first request; for one message, or an answer to a ping
	look, ping, fresh time.Duration // how often the session, the client, and figures are looked at
}

// Live is what runs now; pbx implements it.
type Live interface {
	Calls(telephony.TenantID) []telephony.LiveCall
	// Bindings are those of one AOR.
	Bindings(telephony.AOR) []telephony.Binding
}

// Views show things as the REST API does.
type Views struct {
	Call   func(telephony.LiveCall) any
	Record func(telephony.CallRecord) any
	Attack func(events.AddressBanned) any
}

// Config is what the interface stands on.
type Config struct {
	Store   *store.Store
	Login   *login.Service
	Tickets *login.Tickets
	Live    Live
	Views   Views
	Bus     *events.Bus
	Logger  *slog.Logger
	// CookieName is that of web sessions.
	CookieName string
	// OwnPort reports whether pages from a port of this machine are ours; nil
	// is any port that was asked.
	OwnPort func(port string) bool
}

// Server is the handler of the interface. It expects to stand behind package
// httpd, which checks the Host and bounds connections.
type Server struct {
	cfg    Config
	hub    *hub
	feed   *feed
	limits limits

	stop context.CancelFunc
	ctx  context.Context
	wg   sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	clients   map[*client]struct{}
	strangers int
	sources   map[netip.Addr]int // of strangers
	sessions  map[login.Pass]int
	tenants   map[telephony.TenantID]int
}

// New starts to follow what happens. Close ends it.
func New(c Config) *Server {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		cfg: c, hub: newHub(),
		limits:  limits{queue: 4096, auth: 10 * time.Second, write: 10 * time.Second, look: 10 * time.Second, ping: 20 * time.Second, fresh: 15 * time.Second},
		clients: map[*client]struct{}{}, sources: map[netip.Addr]int{}, sessions: map[login.Pass]int{}, tenants: map[telephony.TenantID]int{},
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.feed = newFeed(s)
	s.wg.Go(func() { s.feed.run(s.ctx) })
	return s
}

// Close ends all connections.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.wg.Wait()
}

// recheck lets every client's session be looked at again.
func (s *Server) recheck() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.clients {
		select {
		case c.nudge <- struct{}{}:
		default:
		}
	}
}

// ServeHTTP upgrades a request and serves the connection until it ends.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, why string) {
		w.Header().Set("Connection", "close")
		http.Error(w, why, status)
	}
	switch {
	case r.Method != http.MethodGet || !strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
		w.Header().Set("Upgrade", "websocket")
		refuse(http.StatusUpgradeRequired, "WebSocket only")
		return
	case !s.cfg.Store.Snapshot().Settings.SetupDone:
		refuse(http.StatusNotFound, "not found")
		return
	case !s.originAllowed(r):
		refuse(http.StatusForbidden, "origin not allowed")
		return
	}
	addr := source(r)
	if !s.enter(addr) {
		w.Header().Set("Retry-After", "10")
		refuse(http.StatusTooManyRequests, "too many connections")
		return
	}
	defer s.wg.Done()
	known := sync.OnceFunc(func() { s.known(addr) })
	defer known()
	// The Origin is checked above. Compression would tell lengths of secrets, and
	// costs memory for each client.
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return
	}
	defer ws.CloseNow()
	ws.SetReadLimit(maxRequest)
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	// net/http forgets connections that were upgraded.
	defer context.AfterFunc(httpd.Retired(r.Context()), cancel)()
	c := &client{s: s, ws: ws, subs: map[int64]*subscription{}, wake: make(chan struct{}, 1), nudge: make(chan struct{}, 1)}
	if s.authenticate(ctx, c, r) && s.admit(c) {
		known()
		s.serve(ctx, c)
	}
}

// serve runs an authenticated connection.
func (s *Server) serve(ctx context.Context, c *client) {
	defer s.dismiss(c)
	s.cfg.Logger.Info("WebSocket interface opened", "user", c.id.user.Name, "tenant", int64(c.id.user.Tenant))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() { cancel(c.write(ctx)) })
	wg.Go(func() { cancel(c.watch(ctx)) })
	// The library closes the connection when the context of a read ends, so that
	// no good-bye could be said: reading ends with the connection instead.
	wg.Go(func() { cancel(c.read(context.Background())) })
	<-ctx.Done()
	why := context.Cause(ctx)
	c.end()
	c.goodbye(why)
	_ = c.ws.CloseNow()
	wg.Wait()
	s.cfg.Logger.Info("WebSocket interface closed", "user", c.id.user.Name, "tenant", int64(c.id.user.Tenant), "why", why)
}

// authenticate reads the first request, which says who the client is.
func (s *Server) authenticate(ctx context.Context, c *client, r *http.Request) bool {
	ctx, cancel := context.WithTimeout(ctx, s.limits.auth)
	defer cancel()
	_, raw, err := c.ws.Read(ctx)
	if err != nil {
		return false
	}
	req, err := decode(raw)
	if err == nil && req.Type != reqAuth {
		err = errors.New("the first message must be auth")
	}
	if err == nil {
		c.id, err = s.whoIs(ctx, req, r)
	}
	if err != nil {
		text := err.Error()
		switch {
		case errors.Is(err, login.ErrNoToken):
			text = "the API token is unknown, too old, or not good from this address"
		case errors.Is(err, login.ErrNoSession):
			text = "no session that may be worked with: log in first, or get a ticket"
		}
		raw, _ := json.Marshal(Message{Type: msgError, ID: req.ID, Code: codeAuth, Text: text})
		if c.ws.Write(ctx, websocket.MessageText, raw) == nil {
			_ = c.ws.Close(websocket.StatusPolicyViolation, codeAuth)
		}
		return false
	}
	u := c.id.user
	c.send(outgoing{Message: Message{Type: msgWelcome, ID: req.ID, User: u.Name, Role: string(u.Role), Topics: c.id.topics()}})
	return true
}

// whoIs finds whom the first request, or what came with the upgrade, names.
func (s *Server) whoIs(ctx context.Context, req Request, r *http.Request) (identity, error) {
	secret := req.Token
	if scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " "); secret == "" && req.Ticket == "" && strings.EqualFold(scheme, "Bearer") {
		secret = strings.TrimSpace(given) // RFC 6750 section 2.1
	}
	if secret != "" {
		addr, _ := netip.ParseAddrPort(r.RemoteAddr)
		return s.identifyToken(ctx, addr.Addr().Unmap(), secret)
	}
	pass, err := s.passOf(ctx, req, r)
	if err != nil {
		return identity{}, err
	}
	return s.identify(ctx, pass)
}

// passOf is the session that the ticket, or else the cookie, stands for.
func (s *Server) passOf(ctx context.Context, req Request, r *http.Request) (login.Pass, error) {
	if req.Ticket != "" {
		if p, ok := s.cfg.Tickets.Redeem(req.Ticket); ok {
			return p, nil
		}
		return login.Pass{}, errors.New("the ticket is unknown, used or too old")
	}
	cookie, err := r.Cookie(s.cfg.CookieName)
	if err != nil {
		return login.Pass{}, login.ErrNoSession
	}
	if _, err := s.cfg.Login.Session(ctx, cookie.Value); err != nil {
		return login.Pass{}, err
	}
	return login.PassOf(cookie.Value), nil
}

// originAllowed reports whether the page that opens the connection is one of
// this machine: of the host that was asked, and of a port of ours. A browser
// always says whose page it is; other clients do not.
func (s *Server) originAllowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "https" || u.User != nil {
		return false
	}
	asked := &url.URL{Host: r.Host}
	if !strings.EqualFold(u.Hostname(), asked.Hostname()) {
		return false
	}
	return u.Port() == asked.Port() || s.cfg.OwnPort != nil && s.cfg.OwnPort(u.Port())
}

// enter counts a connection that did not say yet who it is.
func (s *Server) enter(addr netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.strangers >= maxStrangers || s.sources[addr] >= maxPerSource || len(s.clients)+s.strangers >= maxClients {
		return false
	}
	s.strangers++
	s.sources[addr]++
	s.wg.Add(1)
	return true
}

// known ends that count.
func (s *Server) known(addr netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.strangers--
	if s.sources[addr]--; s.sources[addr] <= 0 {
		delete(s.sources, addr)
	}
}

// admit counts a client.
func (s *Server) admit(c *client) bool {
	s.mu.Lock()
	full := s.sessions[c.id.pass] >= maxPerSession || s.tenants[c.id.user.Tenant] >= maxPerTenant
	if !full {
		s.clients[c] = struct{}{}
		s.sessions[c.id.pass]++
		s.tenants[c.id.user.Tenant]++
	}
	s.mu.Unlock()
	if full {
		c.goodbye(errFull)
	}
	return !full
}

func (s *Server) dismiss(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, c)
	if s.sessions[c.id.pass]--; s.sessions[c.id.pass] <= 0 {
		delete(s.sessions, c.id.pass)
	}
	if s.tenants[c.id.user.Tenant]--; s.tenants[c.id.user.Tenant] <= 0 {
		delete(s.tenants, c.id.user.Tenant)
	}
}

// source is who connects, as bans and bounds count: an address, or a network of
// IPv6.
func source(r *http.Request) netip.Addr {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	a, _ := netip.ParseAddr(host)
	return tries.Source(a.Unmap())
}
