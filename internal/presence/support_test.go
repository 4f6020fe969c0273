package presence

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/events"
	"ringfence/internal/ports"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

func hexMD5(s string) string { x := md5.Sum([]byte(s)); return hex.EncodeToString(x[:]) }

// settings has two tenants; the password of every extension is "pw" + number.
func settings(numbers ...string) *telephony.Snapshot {
	tenants := []telephony.Tenant{{ID: 1, Domain: "a.test"}, {ID: 2, Domain: "b.test"}}
	var ext []telephony.Extension
	for _, t := range tenants {
		for _, number := range append(numbers, "101", "102", "103") {
			ext = append(ext, telephony.Extension{
				Tenant: t.ID, Number: number, HA1: hexMD5(number + ":" + t.Domain + ":pw" + number),
			})
		}
	}
	return telephony.NewSnapshot(1, telephony.DefaultSettings(), tenants, ext)
}

// world is a notifier on a network in memory, with calls and registrations of
// the test's own.
type world struct {
	t    testing.TB
	ep   *sip.Endpoint
	svc  *Service
	bus  events.Bus
	flow sip.Flow

	mu       sync.Mutex
	snap     *telephony.Snapshot
	calls    map[telephony.CallID]telephony.LiveCall
	bindings map[telephony.AOR][]telephony.Binding
	phones   map[netip.AddrPort]chan string
	sent     int
}

var server = netip.MustParseAddrPort("192.0.2.1:5060")

func newWorld(t testing.TB, change func(*Config)) *world {
	t.Helper()
	w := &world{
		t: t, snap: settings(), calls: map[telephony.CallID]telephony.LiveCall{},
		bindings: map[telephony.AOR][]telephony.Binding{}, phones: map[netip.AddrPort]chan string{},
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	w.ep = sip.New(sip.Config{Logger: log, Product: "Ringfence", Workers: 1})
	c := Config{
		Endpoint: w.ep, Auth: sip.NewAuthenticator(sip.AuthConfig{}), Calls: w, Registrations: w, Bus: &w.bus, Logger: log,
		Snapshot: func() *telephony.Snapshot { w.mu.Lock(); defer w.mu.Unlock(); return w.snap },
	}
	if change != nil {
		change(&c)
	}
	w.svc = New(c)
	w.ep.Handle(sip.SUBSCRIBE, w.svc)
	w.ep.Handle(sip.PUBLISH, w.svc)
	var err error
	if w.flow, err = w.ep.Attach(ports.SIPUDP, ports.Core, server, w); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	return w
}

func (w *world) close() { w.svc.Close(); w.ep.Close() }

func (w *world) Send(f sip.Flow, b []byte) error {
	w.mu.Lock()
	c := w.phones[f.Remote]
	if strings.HasPrefix(string(b), "NOTIFY") {
		w.sent++
	}
	w.mu.Unlock()
	if c != nil {
		select {
		case c <- string(b):
		default:
		}
	}
	return nil
}

func (w *world) Protocol() string { return "UDP" }
func (w *world) Reliable() bool   { return false }

func (w *world) Calls(telephony.TenantID) []telephony.LiveCall {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []telephony.LiveCall
	for _, c := range w.calls {
		out = append(out, c)
	}
	return out
}

func (w *world) Call(id telephony.CallID) (telephony.LiveCall, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, ok := w.calls[id]
	return c, ok
}

func (w *world) Bindings(a telephony.AOR) []telephony.Binding {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bindings[a]
}

// set makes a call what it is now, and says so unless the event is to be lost.
func (w *world) set(c telephony.LiveCall, tell bool) {
	w.mu.Lock()
	w.calls[c.ID] = c
	w.mu.Unlock()
	if tell {
		w.bus.Publish(events.CallChanged{Call: c})
	}
}

func (w *world) end(c telephony.LiveCall, tell bool) {
	w.mu.Lock()
	delete(w.calls, c.ID)
	w.mu.Unlock()
	if tell {
		w.bus.Publish(events.CallEnded{Record: telephony.CallRecord{ID: c.ID}})
	}
}

func (w *world) register(number string, list ...telephony.Binding) {
	aor := telephony.AOR{User: number, Domain: "a.test"}
	w.mu.Lock()
	w.bindings[aor] = list
	w.mu.Unlock()
	w.bus.Publish(events.RegistrationChanged{AOR: aor, Bindings: len(list)})
}

// callOf is a call from 101 to 102 of tenant 1.
func callOf(id string, state telephony.CallState) telephony.LiveCall {
	return telephony.LiveCall{
		ID: telephony.CallID(id), Tenant: 1, State: state,
		Caller: telephony.Party{Number: "101", Name: "Anna"}, Callee: telephony.Party{Number: "102", Name: "Bert"},
		Legs: []telephony.LiveLeg{
			{Number: "101", Name: "Anna", Placed: true, State: state, Dialog: telephony.DialogID{CallID: id + "-a", LocalTag: id + "ours-a", RemoteTag: id + "theirs-a"}},
			{Number: "102", Name: "Bert", State: state, Dialog: telephony.DialogID{CallID: id + "-b", LocalTag: id + "ours-b", RemoteTag: id + "theirs-b"}},
		},
	}
}

// phone is a scripted subscriber.
type phone struct {
	t      testing.TB
	w      *world
	user   string
	domain string
	addr   netip.AddrPort
	in     chan string
	seq    int
	count  int
}

func (w *world) phone(user string, port uint16) *phone {
	p := &phone{t: w.t, w: w, user: user, domain: "a.test", addr: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.50"), port), in: make(chan string, 2000)}
	w.mu.Lock()
	w.phones[p.addr] = p.in
	w.mu.Unlock()
	return p
}

func (p *phone) send(raw string) {
	f := p.w.flow
	f.Remote = p.addr
	p.w.ep.Receive(f, []byte(raw))
}

// next returns the next message, whose first line must begin so.
func (p *phone) next(start string) string {
	p.t.Helper()
	select {
	case m := <-p.in:
		if !strings.HasPrefix(m, start) {
			p.t.Fatalf("%s: got %q, want %s", p.user, m, start)
		}
		return m
	case <-time.After(10 * time.Second):
		p.t.Fatalf("%s: nothing came, want %s", p.user, start)
		return ""
	}
}

func (p *phone) quiet(d time.Duration) {
	p.t.Helper()
	select {
	case m := <-p.in:
		p.t.Errorf("%s: unexpected %q", p.user, m)
	case <-time.After(d):
	}
}

func header(raw, name string) string {
	for l := range strings.SplitSeq(raw, "\r\n") {
		if l == "" {
			break
		}
		if k, v, ok := strings.Cut(l, ":"); ok && strings.EqualFold(k, name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func headers(raw, name string) []string {
	var out []string
	for l := range strings.SplitSeq(raw, "\r\n") {
		if l == "" {
			break
		}
		if k, v, ok := strings.Cut(l, ":"); ok && strings.EqualFold(k, name) {
			out = append(out, strings.TrimSpace(v))
		}
	}
	return out
}

func body(raw string) string { _, b, _ := strings.Cut(raw, "\r\n\r\n"); return b }

func tagOf(value string) string {
	_, v, _ := strings.Cut(value, ";tag=")
	v, _, _ = strings.Cut(v, ";")
	return v
}

// reply answers a NOTIFY.
func (p *phone) reply(notify string, code int, extra ...string) {
	lines := []string{fmt.Sprintf("SIP/2.0 %d Whatever", code)}
	for _, n := range []string{"Via", "From", "To", "Call-ID", "CSeq"} {
		lines = append(lines, n+": "+header(notify, n))
	}
	lines = append(lines, extra...)
	p.send(strings.Join(lines, "\r\n") + "\r\nContent-Length: 0\r\n\r\n")
}

// ask is a request that is sent with credentials.
type ask struct {
	p       *phone
	method  string
	uri     string
	id      string // Call-ID
	display string // of To
	toTag   string
	fromTag string
	headers []string
	body    string
}

func (p *phone) ask(method, number string, headers ...string) *ask {
	p.count++
	return &ask{
		p: p, method: method, uri: "sip:" + number + "@" + p.domain, id: fmt.Sprintf("%s-%d-%d", p.user, p.addr.Port(), p.count),
		fromTag: fmt.Sprintf("f%s%d", p.user, p.count), headers: headers,
	}
}

func (a *ask) once(auth string) string {
	a.p.t.Helper()
	a.p.seq++
	to := a.display + "<" + a.uri + ">"
	if a.toTag != "" {
		to += ";tag=" + a.toTag
	}
	lines := append([]string{
		a.method + " " + a.uri + " SIP/2.0",
		fmt.Sprintf("Via: SIP/2.0/UDP %s;rport;branch=z9hG4bK%s.%d", a.p.addr, a.id, a.p.seq),
		"Max-Forwards: 70", fmt.Sprintf("From: <sip:%s@%s>;tag=%s", a.p.user, a.p.domain, a.fromTag), "To: " + to,
		"Call-ID: " + a.id, fmt.Sprintf("CSeq: %d %s", a.p.seq, a.method), fmt.Sprintf("Contact: <sip:%s@%s>", a.p.user, a.p.addr),
	}, a.headers...)
	if auth != "" {
		lines = append(lines, auth)
	}
	a.p.send(strings.Join(lines, "\r\n") + fmt.Sprintf("\r\nContent-Length: %d\r\n\r\n%s", len(a.body), a.body))
	return a.p.next("SIP/2.0 ")
}

// do sends the request, answers the challenge and returns the final response.
func (a *ask) do() string {
	a.p.t.Helper()
	challenge := a.once("")
	if !strings.HasPrefix(challenge, "SIP/2.0 401") {
		return challenge
	}
	nonce := between(header(challenge, "WWW-Authenticate"), `nonce="`, `"`)
	ha1, ha2 := hexMD5(a.p.user+":"+a.p.domain+":pw"+a.p.user), hexMD5(a.method+":"+a.uri)
	return a.once(fmt.Sprintf(`Authorization: Digest username="%s", realm="%s", nonce="%s", uri="%s", qop=auth, nc=00000001, cnonce="c", response="%s"`,
		a.p.user, a.p.domain, nonce, a.uri, hexMD5(ha1+":"+nonce+":00000001:c:auth:"+ha2)))
}

func between(s, from, to string) string {
	_, s, _ = strings.Cut(s, from)
	s, _, _ = strings.Cut(s, to)
	return s
}

// subscribe subscribes and answers the first NOTIFY, which it returns.
func (p *phone) subscribe(event, number string, extra ...string) (*ask, string) {
	p.t.Helper()
	a := p.ask(sip.SUBSCRIBE, number, append([]string{"Event: " + event}, extra...)...)
	ok := a.do()
	if !strings.HasPrefix(ok, "SIP/2.0 200") {
		p.t.Fatalf("subscribing: %s", ok)
	}
	a.toTag = tagOf(header(ok, "To"))
	n := p.next("NOTIFY ")
	p.reply(n, 200)
	return a, n
}

// notified answers the next NOTIFY and returns it.
func (p *phone) notified() string {
	p.t.Helper()
	n := p.next("NOTIFY ")
	p.reply(n, 200)
	return n
}

// dialogInfo is what a lamp reads.
type dialogInfo struct {
	XMLName xml.Name `xml:"urn:ietf:params:xml:ns:dialog-info dialog-info"`
	Version int      `xml:"version,attr"`
	State   string   `xml:"state,attr"`
	Entity  string   `xml:"entity,attr"`
	Dialogs []struct {
		ID        string `xml:"id,attr"`
		CallID    string `xml:"call-id,attr"`
		LocalTag  string `xml:"local-tag,attr"`
		RemoteTag string `xml:"remote-tag,attr"`
		Direction string `xml:"direction,attr"`
		State     string `xml:"state"`
		Remote    *struct {
			Identity struct {
				Display string `xml:"display,attr"`
				URI     string `xml:",chardata"`
			} `xml:"identity"`
		} `xml:"remote"`
	} `xml:"dialog"`
}

func lamp(t testing.TB, notify string) dialogInfo {
	t.Helper()
	var d dialogInfo
	if err := xml.Unmarshal([]byte(body(notify)), &d); err != nil {
		t.Fatalf("%v in %s", err, notify)
	}
	if d.State != "full" {
		t.Errorf("state %q", d.State)
	}
	return d
}

// lit is the state of the only dialog, or "" if there is none.
func lit(t testing.TB, notify string) string {
	t.Helper()
	var states []string
	for _, d := range lamp(t, notify).Dialogs {
		states = append(states, d.State)
	}
	return strings.Join(states, " ")
}

// inTime runs a test in a bubble with its own time.
func inTime(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, f)
}

func (w *world) publications() int {
	w.svc.mu.Lock()
	defer w.svc.mu.Unlock()
	return w.svc.nPublish
}

func (w *world) status(number string) status {
	w.svc.mu.Lock()
	defer w.svc.mu.Unlock()
	return w.svc.compose(extension{1, number})
}

// notifies is how many NOTIFYs were sent.
func (w *world) notifies() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent
}

// checkEmpty checks that nothing is kept of subscriptions that are over.
func (w *world) checkEmpty() {
	w.t.Helper()
	w.svc.mu.Lock()
	defer w.svc.mu.Unlock()
	if s := w.svc; len(s.byTag) != 0 || len(s.resources) != 0 || len(s.owners) != 0 || s.waiting != 0 || s.inFlight != 0 || len(s.ready) != 0 {
		w.t.Errorf("left behind: %d subscriptions, %d resources, %d owners, %d waiting, %d in flight, %d ready",
			len(s.byTag), len(s.resources), len(s.owners), s.waiting, s.inFlight, len(s.ready))
	}
}
