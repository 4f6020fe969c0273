package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ringfence/internal/certs"
	"ringfence/internal/events"
	"ringfence/internal/login"
	"ringfence/internal/ports"
	"ringfence/internal/setup"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
	"ringfence/internal/trace"
)

// Passwords of the tests. They follow the policy.
const (
	adminPassword = "Wolkig mit 9 Zitronen"
	otherPassword = "Heiter bis 7 Gurken"
)

// live is what runs, for tests.
type live struct {
	attacks []telephony.Attack
	filter  store.AttackFilter
	fates   map[PacketQuestion]PacketFate
	packets map[time.Duration][]telephony.PacketSlot

	mu       sync.Mutex
	bindings map[telephony.TenantID][]telephony.Binding
	calls    map[telephony.TenantID][]telephony.LiveCall
	traces   map[telephony.TenantID]map[telephony.CallID]trace.Trace
	hungUp   []telephony.CallID
	ports    []PortState
	settings func() telephony.Settings
	bans     []telephony.Ban
	cloud    string
	zones    []ports.Zone
	asked    int // for the neighbours
}

// trials keeps and takes back without looking at paths or at the clock.
type trials struct{ s *store.Store }

func (t trials) State() (time.Duration, *NetworkReverted) {
	if now := t.s.Snapshot().Trial; now != nil {
		return now.Window, nil
	}
	return 0, nil
}

func (t trials) Confirm(ctx context.Context, id string, _ NetworkPath, _ netip.Addr) (string, error) {
	return "boss", t.end(ctx, telephony.Actor{Kind: telephony.ActorUser, Name: "boss"}, func(tx *store.Tx) error { return tx.KeepTrial(id) })
}

func (t trials) ConfirmHere(ctx context.Context, by telephony.Actor) error {
	return t.end(ctx, by, func(tx *store.Tx) error { return tx.KeepTrial(t.s.Snapshot().Trial.ID) })
}

func (t trials) Revert(ctx context.Context, by telephony.Actor, reason string) error {
	return t.end(ctx, by, func(tx *store.Tx) error { return tx.TakeBackTrial("", reason) })
}

func (t trials) end(ctx context.Context, by telephony.Actor, how func(*store.Tx) error) error {
	_, err := t.s.System().Update(ctx, by, how)
	if errors.Is(err, store.ErrNoTrial) {
		return ErrNoChange
	}
	return err
}

// busyPort belongs to another program.
const busyPort = 7777

func (l *live) Registrations(t telephony.TenantID) []telephony.Binding {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bindings[t]
}

func (l *live) Calls(t telephony.TenantID) []telephony.LiveCall {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls[t]
}

func (l *live) Trace(t telephony.TenantID, id telephony.CallID) (trace.Trace, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found, ok := l.traces[t][id]
	return found, ok
}

func (l *live) HangUp(_ context.Context, t telephony.TenantID, id telephony.CallID) error {
	for _, c := range l.Calls(t) {
		if c.ID == id {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.hungUp = append(l.hungUp, id)
			return nil
		}
	}
	return store.ErrNotFound
}

func (l *live) Ports() []PortState { return l.ports }

func (l *live) Bans(context.Context) ([]telephony.Ban, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.bans), 0
}

func (l *live) Unban(_ context.Context, a netip.Addr, scope telephony.BanScope) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := len(l.bans)
	l.bans = slices.DeleteFunc(l.bans, func(b telephony.Ban) bool { return b.Source == a && b.Scope == scope })
	if len(l.bans) == before {
		return store.ErrNotFound
	}
	return nil
}

func (l *live) Attacks(_ context.Context, f store.AttackFilter) ([]telephony.Attack, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.filter = f
	return slices.Clone(l.attacks), nil
}

func (l *live) AttacksSince(context.Context, time.Time) (int, error) { return len(l.attacks), nil }

func (l *live) Packets(_ context.Context, step time.Duration) []telephony.PacketSlot {
	return l.packets[step]
}

func (l *live) Explain(_ context.Context, q PacketQuestion) (PacketFate, error) {
	f, ok := l.fates[q]
	if !ok {
		return f, errors.New("no packet filter")
	}
	return f, nil
}

func (l *live) Known(a netip.Addr) bool { return a == netip.MustParseAddr("198.51.100.7") }

func (l *live) ZonesOf(context.Context, netip.Addr, netip.Addr) []ports.Zone { return l.zones }

func (l *live) Neighbours(context.Context) map[string][]netip.Addr {
	l.mu.Lock()
	l.asked++
	l.mu.Unlock()
	return map[string][]netip.Addr{"gateway": {netip.MustParseAddr("192.0.2.1")}, "name server": {netip.MustParseAddr("9.9.9.9")}}
}

// Transports are those of the store's settings, all listening.
func (l *live) Transports() []PortState {
	if l.settings == nil {
		return nil
	}
	on, err := ports.Effective(l.settings().Ports, ports.InService)
	if err != nil {
		panic(err)
	}
	var out []PortState
	for _, s := range on {
		if s.IsSignalling() {
			out = append(out, PortState{Service: s})
		}
	}
	return out
}

func (l *live) PortFree(s ports.Service) error {
	if s.First == busyPort {
		return fmt.Errorf("%s port %d is in use by another program", s.Proto, s.First)
	}
	return nil
}

func (l *live) Addresses() []LocalAddress {
	return []LocalAddress{{netip.MustParseAddr("10.0.0.5"), "eth0", true}, {netip.MustParseAddr("2001:db8::5"), "eth0", false}}
}

func (l *live) Health() Health {
	return Health{Fence: FenceStatus{Error: "no packet filter here"}, Applied: []Applied{{Subsystem: "sip", Rev: 3}},
		Cloud: l.cloud, Clock: &Clock{Server: "192.0.2.1", Origin: "DHCP"}, Notices: []string{"user-data was wrong"}, Public: []telephony.PublicAddress{{Public: netip.MustParseAddr("203.0.113.9")}}}
}

// box is a whole API over a real store.
type box struct {
	*Server
	t      testing.TB
	store  *store.Store
	login  *login.Service
	wizard *setup.Wizard
	live   *live
	bus    *events.Bus
	log    *syncBuffer
	bans   []string

	webPhones *webPhones
}

// webPhones remembers what was asked of it.
type webPhones struct {
	mu  sync.Mutex
	log []string
}

func (w *webPhones) Issue(aor telephony.AOR, session []byte) (string, string, time.Time) {
	w.note("issue " + aor.String() + " " + string(session))
	return "web." + aor.User, "made-up", time.Unix(2_000_000_000, 0)
}
func (w *webPhones) Revoke(session []byte)       { w.note("revoke " + string(session)) }
func (w *webPhones) RevokeAll(aor telephony.AOR) { w.note("revoke all " + aor.String()) }

func (w *webPhones) note(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, s)
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// newBox is a box before set-up.
func newBox(t testing.TB) *box { return openBox(t, t.TempDir(), nil) }

func openBox(t testing.TB, dir string, seed *setup.Seed) *box {
	t.Helper()
	b := &box{t: t, live: &live{cloud: "AWS", bindings: map[telephony.TenantID][]telephony.Binding{}, calls: map[telephony.TenantID][]telephony.LiveCall{}}, bus: &events.Bus{}, log: &syncBuffer{}, webPhones: &webPhones{}}
	logger := slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if b.store, err = store.Open(t.Context(), dir, store.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.store.Close() })
	b.live.settings = func() telephony.Settings { return b.store.Snapshot().Settings }
	b.store.AddVerifier("ports", func(next *telephony.Snapshot) error {
		if _, err := ports.Effective(next.Settings.Ports, ports.InService); err != nil {
			return &telephony.FieldError{Field: "ports", Reason: err.Error()}
		}
		return nil
	})
	if b.login, err = login.New(t.Context(), login.Config{Store: b.store, Bus: b.bus, Logger: logger}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.login.Close() })
	b.wizard, err = setup.New(setup.Config{
		Store: b.store, Passwords: b.login, Hostname: "box", Seed: seed, Logger: logger,
		Ban: func(a netip.Addr, _ time.Time, reason string) { b.bans = append(b.bans, a.String()+" "+reason) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if open, err := ports.Effective(nil, ports.InService); err == nil {
		for _, s := range open {
			b.live.ports = append(b.live.ports, PortState{Service: s})
		}
	}
	certificates, err := certs.Open(certs.Config{Dir: dir, Names: []string{"box"}, Chosen: func() string { return b.store.Snapshot().Settings.Certificate }})
	if err != nil {
		t.Fatal(err)
	}
	b.Server = New(Config{
		Certificates: certificates,
		Store:        b.store, Login: b.login, Wizard: b.wizard, Live: b.live, Bus: b.bus, Logger: logger,
		Trials: trials{b.store}, WebPhones: b.webPhones, Version: "1.2.3", Hostname: "box", Fingerprint: func() string { return "ab" },
	})
	t.Cleanup(b.Server.Close)
	return b
}

// shut ends a box as a restart does.
func (b *box) shut() {
	b.t.Helper()
	b.Server.Close()
	if err := b.login.Close(); err != nil {
		b.t.Fatal(err)
	}
	if err := b.store.Close(); err != nil {
		b.t.Fatal(err)
	}
}

// client is one browser.
type client struct {
	b                   *box
	addr                string
	cookie, csrf, token string
	header              map[string]string // more headers, or others
}

func (b *box) client() *client { return &client{b: b, addr: "192.0.2.10"} }

// answer is a response with its problem, if it is one.
type answer struct {
	*httptest.ResponseRecorder
	Problem struct {
		Status int
		Detail string
		Errors []struct{ Location, Message, Value string }
	}
}

func (c *client) request(method, path string, in any) *http.Request {
	var data []byte
	switch in := in.(type) {
	case nil:
	case string:
		data = []byte(in)
	default:
		var err error
		if data, err = json.Marshal(in); err != nil {
			c.b.t.Fatal(err)
		}
	}
	r := httptest.NewRequest(method, "https://192.0.2.1:8887"+Base+path, bytes.NewReader(data))
	r.RemoteAddr = c.addr + ":50000"
	if data != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Origin", "https://192.0.2.1:8887")
	if c.cookie != "" {
		r.AddCookie(&http.Cookie{Name: CookieName, Value: c.cookie})
	}
	if c.csrf != "" {
		r.Header.Set(csrfHeader, c.csrf)
	}
	if c.token != "" {
		r.Header.Set(tokenHeader, c.token)
	}
	for k, v := range c.header {
		if v == "" {
			r.Header.Del(k)
			continue
		}
		r.Header.Set(k, v)
	}
	return r
}

// do sends a request; out (nil to ignore it) takes the answer's body.
func (c *client) do(method, path string, in, out any) *answer {
	c.b.t.Helper()
	a := &answer{ResponseRecorder: httptest.NewRecorder()}
	// An event stream that a test opens by mistake must not hang it.
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c.b.ServeHTTP(a, c.request(method, path, in).WithContext(ctx))
	for _, k := range a.Result().Cookies() {
		if k.Name == CookieName {
			c.cookie = k.Value
		}
	}
	if strings.HasPrefix(a.Header().Get("Content-Type"), "application/problem+json") {
		if err := json.Unmarshal(a.Body.Bytes(), &a.Problem); err != nil {
			c.b.t.Errorf("%s %s: %v", method, path, err)
		}
		return a
	}
	if out != nil && a.Code < 300 {
		if err := json.Unmarshal(a.Body.Bytes(), out); err != nil {
			c.b.t.Errorf("%s %s: %v in %q", method, path, err, a.Body)
		}
	}
	return a
}

// must is do with a status that must come.
func (c *client) must(status int, method, path string, in, out any) *answer {
	c.b.t.Helper()
	a := c.do(method, path, in, out)
	if a.Code != status {
		c.b.t.Fatalf("%s %s: %d, want %d: %s", method, path, a.Code, status, a.Body)
	}
	return a
}

func (c *client) login(name, password string) *client {
	c.b.t.Helper()
	var s Session
	c.must(http.StatusOK, "POST", "/login", Login{name, password}, &s)
	c.csrf = s.CSRFToken
	return c
}

// setUp walks the wizard and returns the administrator.
func (b *box) setUp() *client {
	b.t.Helper()
	c := b.client()
	c.token = b.wizard.Token()
	c.must(http.StatusOK, "PUT", "/setup/administrator", SetupAdministrator{Name: "boss", Password: adminPassword}, nil)
	c.must(http.StatusOK, "PUT", "/setup/tenant", SetupTenant{Name: "Acme", Domain: "pbx.example", ExtensionFirst: "101", ExtensionLast: "199"}, nil)
	c.must(http.StatusOK, "POST", "/setup/extensions", SetupExtensions{Count: 3}, nil)
	c.must(http.StatusNoContent, "POST", "/setup/finish", nil, nil)
	c.token = ""
	var s Session
	c.must(http.StatusOK, "GET", "/session", nil, &s)
	c.csrf = s.CSRFToken
	return c
}

// user creates a user of a tenant and logs in.
func (b *box) user(tenant telephony.TenantID, name string, role telephony.Role, extension string) *client {
	b.t.Helper()
	hash, err := b.login.Hash(b.t.Context(), otherPassword)
	if err != nil {
		b.t.Fatal(err)
	}
	_, err = b.store.ForTenant(tenant).Update(b.t.Context(), telephony.Actor{Kind: telephony.ActorSystem}, func(tx *store.Tx) error {
		_, err := tx.CreateUser(telephony.User{Tenant: tenant, Name: name, Role: role, Extension: extension}, hash)
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return b.client().login(name, otherPassword)
}
