package wsi

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"ringfence/internal/events"
	"ringfence/internal/login"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

const cookieName = "session"

// box is the interface over a real store, with two tenants of extensions 101 to
// 103.
type box struct {
	*Server
	t       testing.TB
	http    *httptest.Server
	store   *store.Store
	login   *login.Service
	tickets *login.Tickets
	bus     *events.Bus
	hash    string

	mu       sync.Mutex
	calls    map[telephony.CallID]telephony.LiveCall
	bindings map[telephony.AOR][]telephony.Binding
}

func (b *box) Calls(t telephony.TenantID) (all []telephony.LiveCall) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.calls {
		if c.Tenant == t {
			all = append(all, c)
		}
	}
	return all
}

func (b *box) Bindings(a telephony.AOR) []telephony.Binding {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]telephony.Binding(nil), b.bindings[a]...)
}

var tester = telephony.Actor{Kind: telephony.ActorSystem, Name: "test"}

func newBox(t testing.TB, change ...func(*box)) *box {
	t.Helper()
	b := &box{t: t, tickets: &login.Tickets{}, bus: &events.Bus{}, calls: map[telephony.CallID]telephony.LiveCall{}, bindings: map[telephony.AOR][]telephony.Binding{}}
	var err error
	if b.store, err = store.Open(t.Context(), t.TempDir(), store.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.store.Close() })
	if b.login, err = login.New(t.Context(), login.Config{Store: b.store, Bus: b.bus}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.login.Close() })
	b.update(telephony.System, func(tx *store.Tx) error {
		settings, err := tx.Settings()
		if err != nil {
			return err
		}
		settings.SetupDone = true
		return tx.PutSettings(settings)
	})
	for i := range 2 {
		b.update(telephony.System, func(tx *store.Tx) error {
			id, err := tx.CreateTenant(telephony.Tenant{Name: fmt.Sprint("T", i+1), Domain: fmt.Sprintf("t%d.example", i+1), ExtensionFirst: "101", ExtensionLast: "199"})
			if err != nil {
				return err
			}
			scoped, err := tx.ForTenant(id)
			for n := 101; err == nil && n <= 103; n++ {
				_, err = scoped.CreateExtension(telephony.Extension{Number: fmt.Sprint(n), DisplayName: "Phone"}, "Wolkig-9-Zitronen-Kx")
			}
			return err
		})
	}
	for _, f := range change {
		f(b)
	}
	b.start()
	return b
}

// start begins the interface; the box may have calls then.
func (b *box) start() {
	b.Server = New(Config{
		Store: b.store, Login: b.login, Tickets: b.tickets, Live: b, Bus: b.bus, CookieName: cookieName,
		Logger: slog.New(slog.NewTextHandler(b.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
		Views: Views{
			Call:   func(c telephony.LiveCall) any { return c },
			Record: func(r telephony.CallRecord) any { return r },
			Attack: func(e events.AddressBanned) any { return e },
		},
		OwnPort: func(port string) bool { return port == "8887" },
	})
	b.t.Cleanup(b.Server.Close)
	b.http = httptest.NewServer(b.Server)
	b.t.Cleanup(b.http.Close)
}

func (b *box) update(scope telephony.TenantID, f func(*store.Tx) error) {
	b.t.Helper()
	s := b.store.System()
	if scope != telephony.System {
		s = b.store.ForTenant(scope)
	}
	if _, err := s.Update(b.t.Context(), tester, f); err != nil {
		b.t.Fatal(err)
	}
}

// session is the cookie of a new user.
func (b *box) session(tenant telephony.TenantID, name string, role telephony.Role, extension string) (cookie string, u telephony.User) {
	b.t.Helper()
	b.update(tenant, func(tx *store.Tx) (err error) {
		u, err = tx.CreateUser(telephony.User{Name: name, FirstName: "A", LastName: "B", Role: role, Extension: extension}, "$argon2id$v=19$m=65536,t=3,p=1$c29tZXNhbHQ$c29tZWhhc2g")
		return err
	})
	v, err := b.login.Start(b.t.Context(), netip.MustParseAddr("192.0.2.7"), u)
	if err != nil {
		b.t.Fatal(err)
	}
	return v.Cookie, u
}

// publish brings a call to a state, as b2bua does: what runs first, then the
// event.
func (b *box) call(c telephony.LiveCall, first bool) {
	b.mu.Lock()
	b.calls[c.ID] = c
	b.mu.Unlock()
	if first {
		b.bus.Publish(events.CallStarted{Call: c})
	} else {
		b.bus.Publish(events.CallChanged{Call: c})
	}
}

func (b *box) hangUp(c telephony.LiveCall) {
	b.mu.Lock()
	delete(b.calls, c.ID)
	b.mu.Unlock()
	b.bus.Publish(events.CallEnded{Record: telephony.CallRecord{ID: c.ID, Tenant: c.Tenant, Caller: c.Caller, Callee: c.Callee}})
}

// conn is a client under test.
type conn struct {
	t  testing.TB
	ws *websocket.Conn
}

func (b *box) dial(header http.Header) (*conn, int) {
	b.t.Helper()
	ws, res, err := websocket.Dial(b.t.Context(), b.http.URL+"/wsi", &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		if res == nil {
			b.t.Fatal(err)
		}
		return nil, res.StatusCode
	}
	ws.SetReadLimit(8 << 20)
	b.t.Cleanup(func() { _ = ws.CloseNow() })
	return &conn{b.t, ws}, res.StatusCode
}

// open is a connection that is authenticated by the cookie.
func (b *box) open(cookie string) *conn {
	b.t.Helper()
	c, status := b.dial(http.Header{"Cookie": {cookieName + "=" + cookie}})
	if c == nil {
		b.t.Fatalf("dialling: %d", status)
	}
	c.say(Request{Type: "auth"})
	if m := c.hear(); m.Type != "welcome" {
		b.t.Fatalf("instead of a welcome: %+v", m)
	}
	return c
}

func (c *conn) say(r Request) {
	c.t.Helper()
	raw, _ := json.Marshal(r)
	c.raw(string(raw))
}

func (c *conn) raw(text string) {
	c.t.Helper()
	if err := c.ws.Write(c.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

// hear is the next message; one of type "" is the end.
func (c *conn) hear() (m Message) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	_, raw, err := c.ws.Read(ctx)
	if ctx.Err() != nil {
		c.t.Fatal("no message came")
	}
	if err != nil {
		return Message{}
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		c.t.Fatal(err)
	}
	return m
}

// subscribe returns the first snapshot, which must be of one part.
func (c *conn) subscribe(topic Topic, tenant string) Message {
	c.t.Helper()
	c.say(Request{Type: "subscribe", Topic: topic, Tenant: tenant})
	if m := c.hear(); m.Type != "ok" || m.Subscription == 0 {
		c.t.Fatalf("instead of ok: %+v", m)
	}
	m := c.hear()
	if m.Type != "snapshot" || m.Seq != 1 || m.Reason != "subscribed" || m.Topic != topic {
		c.t.Fatalf("instead of a snapshot: %+v", m)
	}
	return m
}

func liveCall(tenant telephony.TenantID, id, from, to string) telephony.LiveCall {
	addr := func(n string) netip.AddrPort { return netip.MustParseAddrPort("192.0.2." + n[len(n)-1:] + ":5060") }
	return telephony.LiveCall{
		ID: telephony.CallID(id), Tenant: tenant, State: telephony.CallRinging,
		Caller: telephony.Party{Number: from, Addr: addr(from)}, Callee: telephony.Party{Number: to, Addr: addr(to)},
		Legs: []telephony.LiveLeg{{Number: from, Placed: true, State: telephony.CallRinging}, {Number: to, State: telephony.CallRinging}},
	}
}
