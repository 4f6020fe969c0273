package wsi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"ringfence/internal/events"
	"ringfence/internal/login"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

func TestWhoMayConnect(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	cookie, _ := b.session(1, "ann", telephony.RoleAdmin, "")
	host := strings.TrimPrefix(b.http.URL, "http://")
	name, _, _ := strings.Cut(host, ":")
	for _, c := range []struct {
		origin string
		want   int
	}{
		{"", 101}, {"https://" + host, 101}, {"https://" + name + ":8887", 101},
		{"https://" + name + ":3000", 403}, {"http://" + host, 403}, {"https://evil.example", 403},
		{"https://evil.example:8887", 403}, {"null", 403}, {"https://" + name + "@evil.example", 403},
	} {
		h := http.Header{"Cookie": {cookieName + "=" + cookie}}
		if c.origin != "" {
			h.Set("Origin", c.origin)
		}
		conn, status := b.dial(h)
		if status != c.want {
			t.Errorf("origin %q: %d, want %d", c.origin, status, c.want)
		}
		if conn != nil {
			_ = conn.ws.CloseNow()
		}
	}
	if res, err := http.Get(b.http.URL); err != nil || res.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("a plain request: %v %v", res, err)
	}
}

func TestWhoIsAuthenticated(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	cookie, u := b.session(1, "ann", telephony.RoleAdmin, "")
	ticket, _, _ := b.tickets.Issue(login.PassOf(cookie))
	forEnded, ended := b.session(1, "eve", telephony.RoleAdmin, "")
	late, _, _ := b.tickets.Issue(login.PassOf(forEnded))
	b.update(1, func(tx *store.Tx) error { return tx.DeleteSessions(ended.ID, nil) })
	pending, must := b.session(1, "bob", telephony.RoleAdmin, "")
	b.update(1, func(tx *store.Tx) error {
		return tx.SetUserPassword(must.ID, "$argon2id$v=19$m=65536,t=3,p=1$c29tZXNhbHQ$c29tZWhhc2g", true)
	})
	token := func(permissions []telephony.Permission, sources ...netip.Prefix) string {
		secret, _, err := b.login.CreateToken(t.Context(), tester, u, login.TokenSpec{Name: fmt.Sprint("t", len(sources), len(permissions)), Permissions: permissions, Sources: sources})
		if err != nil {
			t.Fatal(err)
		}
		return secret
	}
	for _, c := range []struct {
		name, cookie, first string
		ok                  bool
	}{
		{"token", "", `{"type":"auth","token":"` + token(nil) + `"}`, true},
		{"token of another network", "", `{"type":"auth","token":"` + token(nil, netip.MustParsePrefix("192.0.2.0/24")) + `"}`, false},
		{"made-up token beside a good cookie", cookie, `{"type":"auth","token":"x"}`, false},
		{"cookie", cookie, `{"type":"auth","id":"a"}`, true},
		{"ticket", "", `{"type":"auth","ticket":"` + ticket + `"}`, true},
		{"ticket again", "", `{"type":"auth","ticket":"` + ticket + `"}`, false},
		{"ticket of an ended session", "", `{"type":"auth","ticket":"` + late + `"}`, false},
		{"made-up ticket beside a good cookie", cookie, `{"type":"auth","ticket":"x"}`, false},
		{"made-up cookie", "x", `{"type":"auth"}`, false},
		{"nothing", "", `{"type":"auth"}`, false},
		{"password to be changed", pending, `{"type":"auth"}`, false},
		{"not auth first", cookie, `{"type":"subscribe","topic":"calls"}`, false},
		{"no JSON", cookie, `auth`, false},
		{"misspelt field", cookie, `{"type":"auth","tiket":"x"}`, false},
		{"too long", cookie, `{"type":"auth","id":"` + strings.Repeat("x", maxRequest) + `"}`, false},
	} {
		h := http.Header{}
		if c.cookie != "" {
			h.Set("Cookie", cookieName+"="+c.cookie)
		}
		conn, _ := b.dial(h)
		conn.raw(c.first)
		m := conn.hear()
		if c.ok != (m.Type == "welcome") || c.ok && m.User != u.Name {
			t.Errorf("%s: %+v", c.name, m)
		}
		if !c.ok {
			if m.Type != "" && (m.Type != "error" || m.Code != codeAuth) || conn.hear().Type != "" {
				t.Errorf("%s: %+v, and the connection stays", c.name, m)
			}
		}
		_ = conn.ws.CloseNow()
	}
}

func TestRequestsAndAnswers(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss, _ := b.session(telephony.System, "boss", telephony.RoleSystemAdmin, "")
	ann, _ := b.session(1, "ann", telephony.RoleAdmin, "")
	joe, _ := b.session(1, "joe", telephony.RoleStandard, "101")
	nobody, _ := b.session(1, "nobody", telephony.RoleStandard, "")
	for _, c := range []struct{ who, say, typ, code string }{
		{ann, `{"type":"ping","id":"7"}`, "pong", ""},
		{ann, `{"type":"subscribe","id":"7","topic":"calls"}`, "ok", ""},
		{ann, `{"type":"subscribe","id":"7","topic":"calls","tenant":"1"}`, "ok", ""},
		{ann, `{"type":"subscribe","id":"7","topic":"calls","tenant":"2"}`, "error", codeForbidden},
		{ann, `{"type":"subscribe","id":"7","topic":"calls","tenant":"99"}`, "error", codeForbidden},
		{ann, `{"type":"subscribe","id":"7","topic":"calls","tenant":"all"}`, "error", codeForbidden},
		{ann, `{"type":"subscribe","id":"7","topic":"security"}`, "error", codeForbidden},
		{ann, `{"type":"subscribe","id":"7","topic":"trunks"}`, "ok", ""},
		{ann, `{"type":"subscribe","id":"7","topic":"queues"}`, "error", codeUnavailable},
		{ann, `{"type":"subscribe","id":"7","topic":"passwords"}`, "error", codeBad},
		{ann, `{"type":"unsubscribe","id":"7","subscription":3}`, "error", codeBad},
		{ann, `{"type":"auth","id":"7"}`, "error", codeBad},
		{ann, `{"type":"hang_up","id":"7"}`, "error", codeBad},
		{boss, `{"type":"subscribe","id":"7","topic":"calls","tenant":"all"}`, "ok", ""},
		{boss, `{"type":"subscribe","id":"7","topic":"cdr","tenant":"2"}`, "ok", ""},
		{boss, `{"type":"subscribe","id":"7","topic":"security"}`, "ok", ""},
		{boss, `{"type":"subscribe","id":"7","topic":"security","tenant":"1"}`, "error", codeBad},
		{joe, `{"type":"subscribe","id":"7","topic":"calls"}`, "ok", ""},
		{joe, `{"type":"subscribe","id":"7","topic":"trunks"}`, "error", codeForbidden},
		{joe, `{"type":"subscribe","id":"7","topic":"calls","tenant":"2"}`, "error", codeForbidden},
		{nobody, `{"type":"subscribe","id":"7","topic":"extensions"}`, "error", codeForbidden},
	} {
		conn := b.open(c.who)
		conn.raw(c.say)
		if m := conn.hear(); m.Type != c.typ || m.Code != c.code || m.ID != "7" {
			t.Errorf("%s: %+v", c.say, m)
		}
		_ = conn.ws.CloseNow()
		for deadline := time.Now().Add(10 * time.Second); b.count() > 0 && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
	}
	conn := b.open(ann)
	conn.raw(`{}{}`)
	if m := conn.hear(); m.Code != codeBad {
		t.Errorf("%+v", m)
	}
	first := conn.subscribe(Calls, "")
	conn.say(Request{Type: "subscribe", Topic: Calls, Tenant: "1"})
	if m := conn.hear(); m.Code != codeBad {
		t.Errorf("twice the same: %+v", m)
	}
	conn.say(Request{Type: "unsubscribe", Subscription: first.Subscription})
	if m := conn.hear(); m.Type != "ok" {
		t.Errorf("%+v", m)
	}
	b.call(liveCall(1, "x", "101", "102"), true)
	conn.say(Request{Type: "ping"})
	if m := conn.hear(); m.Type != "pong" {
		t.Errorf("after unsubscribing: %+v", m)
	}
	for range burst + 5 {
		_ = conn.ws.Write(t.Context(), websocket.MessageText, []byte(`{"type":"ping"}`))
	}
	m := conn.hear()
	for m.Type == "pong" {
		m = conn.hear()
	}
	if m.Type != "bye" || m.Code != codeTooMany {
		t.Errorf("after too many requests: %+v", m)
	}
}

func (s *Server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.clients)
}

// A call of tenant 1 and one of tenant 2, as everybody hears of them.
func TestEverybodyHearsTheirOwn(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss, _ := b.session(telephony.System, "boss", telephony.RoleSystemAdmin, "")
	ann, _ := b.session(1, "ann", telephony.RoleAdmin, "")
	two, _ := b.session(2, "two", telephony.RoleAdmin, "")
	callee, _ := b.session(1, "callee", telephony.RoleStandard, "102")
	caller, _ := b.session(1, "caller", telephony.RoleStandard, "101")
	third, _ := b.session(1, "third", telephony.RoleStandard, "103")

	listen := func(cookie, tenant string) *conn {
		c := b.open(cookie)
		c.subscribe(Calls, tenant)
		c.subscribe(CDR, tenant)
		c.subscribe(Extensions, tenant)
		return c
	}
	conns := map[string]*conn{"boss": listen(boss, "all"), "ann": listen(ann, ""), "two": listen(two, ""), "callee": listen(callee, ""), "caller": listen(caller, ""), "third": listen(third, "")}
	one := liveCall(1, "one", "101", "102")
	one.Hidden = true
	b.call(one, true)
	b.call(liveCall(2, "two", "101", "103"), true)
	b.hangUp(one)
	got := map[string][]string{}
	texts := map[string]string{}
	note := func(who string, m Message) {
		if m.Type != "change" {
			t.Fatalf("%s: %+v", who, m)
		}
		if m.Topic != Extensions {
			got[who] = append(got[who], m.Op+" "+string(m.Topic)+" "+m.Tenant+"/"+m.Key)
			texts[who] += string(m.Item)
		}
	}
	for !slices.Contains(got["ann"], "put cdr 1/one") {
		note("ann", conns["ann"].hear())
	}
	// The end of what is listened for: somebody's extension changes in both.
	for _, tenant := range []telephony.TenantID{1, 2} {
		for _, n := range []string{"101", "102", "103"} {
			b.mu.Lock()
			b.bindings[telephony.AOR{User: n, Domain: b.domain(tenant)}] = []telephony.Binding{{Tenant: tenant, Contact: "sip:x"}}
			b.mu.Unlock()
			b.bus.Publish(events.RegistrationChanged{AOR: telephony.AOR{User: n, Domain: b.domain(tenant)}, Bindings: 1})
		}
	}
	last := map[string]string{"boss": "2/103", "ann": "1/103", "two": "2/103", "callee": "1/102", "caller": "1/101", "third": "1/103"}
	for who, c := range conns {
		for {
			m := c.hear()
			note(who, m)
			if m.Topic == Extensions && m.Tenant+"/"+m.Key == last[who] && strings.Contains(string(m.Item), `"registrations":1`) {
				break
			}
		}
	}
	first := []string{"put calls 1/one", "delete calls 1/one", "put cdr 1/one"}
	second := []string{"put calls 2/two"}
	want := map[string][]string{"ann": first, "two": second, "callee": first, "caller": first, "third": nil,
		"boss": {"put calls 1/one", "put calls 2/two", "delete calls 1/one", "put cdr 1/one"}}
	for who := range conns {
		if !slices.Equal(got[who], want[who]) {
			t.Errorf("%s heard %q, want %q", who, got[who], want[who])
		}
	}
	if strings.Contains(texts["callee"], `"101"},"`) || strings.Contains(texts["callee"], "192.0.2.1:") || !strings.Contains(texts["callee"], "anonymous") {
		t.Errorf("who is called sees a number that is withheld, or from where it calls: %s", texts["callee"])
	}
	if !strings.Contains(texts["callee"], "192.0.2.2:") || strings.Contains(texts["caller"], "192.0.2.2:") || !strings.Contains(texts["ann"], "192.0.2.1:") {
		t.Errorf("addresses: callee %s caller %s ann %s", texts["callee"], texts["caller"], texts["ann"])
	}
}

func (b *box) domain(t telephony.TenantID) string {
	tenant, _ := b.store.Snapshot().Tenant(t)
	return tenant.Domain
}

func TestStateOfAnExtension(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	ann, _ := b.session(1, "ann", telephony.RoleAdmin, "")
	c := b.open(ann)
	if m := c.subscribe(Extensions, ""); len(m.Items) != 3 || m.Items[1].Key != "102" || !strings.Contains(string(m.Items[1].Item), `"offline"`) {
		t.Fatalf("%+v", m)
	}
	aor := telephony.AOR{User: "102", Domain: "t1.example"}
	seq := uint64(1)
	expect := func(want Extension) {
		t.Helper()
		for {
			m := c.hear()
			seq++
			var e Extension
			if err := json.Unmarshal(m.Item, &e); err != nil || m.Seq != seq {
				t.Fatalf("%+v, want number %d", m, seq)
			}
			if e.Number == "102" {
				want.Number, want.DisplayName = "102", "Phone"
				if e != want {
					t.Errorf("%+v, want %+v", e, want)
				}
				return
			}
		}
	}
	b.mu.Lock()
	b.bindings[aor] = []telephony.Binding{{Tenant: 1, AOR: aor, Contact: "sip:102@192.0.2.2"}}
	b.mu.Unlock()
	b.bus.Publish(events.RegistrationChanged{AOR: aor, Bindings: 1})
	expect(Extension{State: "idle", Registrations: 1})
	call := liveCall(1, "x", "101", "102")
	b.call(call, true)
	expect(Extension{State: "ringing", Registrations: 1, Calls: 1})
	call.Legs = slices.Clone(call.Legs)
	call.Legs[1].State = telephony.CallConnected
	b.call(call, false)
	expect(Extension{State: "busy", Registrations: 1, Calls: 1})
	b.hangUp(call)
	expect(Extension{State: "idle", Registrations: 1})
	b.update(1, func(tx *store.Tx) error { return tx.DeleteExtension("102") })
	for {
		m := c.hear()
		if m.Op == "delete" && m.Key == "102" {
			break
		}
	}
}

// A token with a list of permissions hears of nothing else, and its connection
// ends with it.
func TestTokenIsCutDown(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	_, u := b.session(telephony.System, "boss", telephony.RoleSystemAdmin, "")
	secret, kept, err := b.login.CreateToken(t.Context(), tester, u, login.TokenSpec{Name: "wallboard", Permissions: []telephony.Permission{telephony.PermCalls}})
	if err != nil {
		t.Fatal(err)
	}
	c, _ := b.dial(http.Header{"Authorization": {"Bearer " + secret}})
	c.say(Request{Type: "auth"})
	if m := c.hear(); m.Type != "welcome" || !slices.Equal(m.Topics, []Topic{Extensions, Registrations, Calls}) {
		t.Fatalf("%+v", m)
	}
	for _, r := range []Request{{Topic: CDR}, {Topic: Security}, {Topic: Calls, Tenant: "all"}} {
		r.Type = "subscribe"
		c.say(r)
		if m := c.hear(); m.Code != codeForbidden {
			t.Errorf("%+v: %+v", r, m)
		}
	}
	c.subscribe(Calls, "")
	if err := b.login.DeleteToken(t.Context(), tester, u, kept.ID); err != nil {
		t.Fatal(err)
	}
	b.recheck()
	if m := c.hear(); m.Type != "bye" || m.Code != codeEnded {
		t.Errorf("%+v", m)
	}
}

func TestConnectionEndsWithItsSession(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	for name, end := range map[string]func(telephony.User, string){
		"role": func(u telephony.User, _ string) {
			u.Role = telephony.RoleStandard
			b.update(1, func(tx *store.Tx) error { return tx.PutUser(u) })
		},
		"extension": func(u telephony.User, _ string) {
			u.Extension = "101"
			b.update(1, func(tx *store.Tx) error { return tx.PutUser(u) })
		},
		"deleted": func(u telephony.User, _ string) { b.update(1, func(tx *store.Tx) error { return tx.DeleteUser(u.ID) }) },
		"ended elsewhere": func(u telephony.User, _ string) {
			b.update(1, func(tx *store.Tx) error { return tx.DeleteSessions(u.ID, nil) })
			b.recheck()
		},
		"logged out": func(_ telephony.User, cookie string) { _ = b.login.Logout(t.Context(), cookie); b.recheck() },
	} {
		cookie, u := b.session(1, strings.ReplaceAll(name, " ", ""), telephony.RoleAdmin, "")
		c := b.open(cookie)
		c.subscribe(Trunks, "")
		end(u, cookie)
		if m := c.hear(); m.Type != "bye" || m.Code != codeEnded {
			t.Errorf("%s: %+v", name, m)
		}
		if m := c.hear(); m.Type != "" {
			t.Errorf("%s: the connection stays: %+v", name, m)
		}
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	cookie, _ := b.session(1, "ann", telephony.RoleAdmin, "")
	for range maxPerSession {
		b.open(cookie)
	}
	c, _ := b.dial(http.Header{"Cookie": {cookieName + "=" + cookie}})
	c.say(Request{Type: "auth"})
	if m := c.hear(); m.Type != "bye" || m.Code != codeTooMany {
		t.Errorf("one too many of a session: %+v", m)
	}
	for i := range maxPerSource + 1 {
		if _, status := b.dial(nil); (status == 101) != (i < maxPerSource) && i < maxPerSource-1 {
			t.Errorf("stranger %d: %d", i, status)
		} else if i == maxPerSource && status != http.StatusTooManyRequests {
			t.Errorf("one stranger too many: %d", status)
		}
	}
}

func TestSecurityIsForAdministratorsOfTheBox(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss, _ := b.session(telephony.System, "boss", telephony.RoleSystemAdmin, "")
	b.bus.Publish(events.AddressBanned{Addr: netip.MustParseAddr("192.0.2.66"), Reason: "early"})
	c := b.open(boss)
	for deadline := time.Now().Add(10 * time.Second); ; {
		m := c.subscribe(Security, "")
		if len(m.Items) == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the snapshot does not hold what happened before")
		}
		c.say(Request{Type: "unsubscribe", Subscription: m.Subscription})
		c.hear()
		time.Sleep(500 * time.Millisecond)
	}
	b.bus.Publish(events.AddressBanned{Addr: netip.MustParseAddr("192.0.2.67"), Reason: "late"})
	if m := c.hear(); m.Key != "192.0.2.67" || m.Op != "put" || m.Seq != 2 {
		t.Errorf("%+v", m)
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"type":"auth","ticket":"x"}`, `{"type":"subscribe","topic":"calls","tenant":"all"}`, `{"type":"unsubscribe","subscription":-1}`, `[]`, `{"type":1}`, `{}{}`, "{\"id\":\"\xff\"}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := decode(raw)
		if err != nil {
			return
		}
		if len(r.ID) > maxID {
			t.Errorf("id of %d bytes", len(r.ID))
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decode(again); err != nil || back != r {
			t.Errorf("%q became %q: %v", raw, again, err)
		}
	})
}
