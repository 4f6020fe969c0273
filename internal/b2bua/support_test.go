package b2bua

import (
	"cmp"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/events"
	"ringfence/internal/location"
	"ringfence/internal/media"
	"ringfence/internal/media/quality"
	"ringfence/internal/ports"
	"ringfence/internal/registrar"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

func hexMD5(s string) string { x := md5.Sum([]byte(s)); return hex.EncodeToString(x[:]) }

// settings has two tenants; the password of every extension is "pw" + number.
func settings() *telephony.Snapshot {
	tenants := []telephony.Tenant{{ID: 1, Domain: "a.test"}, {ID: 2, Domain: "b.test"}}
	names := map[string]string{"101": `Anna "A" Berg`, "102": "Bert", "103": "", "104": "Dora", "105": "", "106": "", "107": "", "108": ""}
	var ext []telephony.Extension
	for _, t := range tenants {
		for number, name := range names {
			ext = append(ext, telephony.Extension{
				Tenant: t.ID, Number: number, DisplayName: name, NoAnswer: 20 * time.Second,
				HA1: hexMD5(number + ":" + t.Domain + ":pw" + number),
			})
		}
	}
	return telephony.NewSnapshot(1, telephony.DefaultSettings(), tenants, ext)
}

// handle changes what becomes of calls to extensions of tenant 1, before the
// first call.
func (s *stack) handle(change map[string]telephony.CallHandling) {
	s.set(func(*telephony.Tenant) {}, func(e *telephony.Extension) {
		if h, ok := change[e.Number]; ok {
			e.Handling = h
		}
	})
}

// protect says how the media of extensions of tenant 1 must be protected.
func (s *stack) protect(as map[string]telephony.MediaSecurity) {
	s.set(func(*telephony.Tenant) {}, func(e *telephony.Extension) { e.Media = as[e.Number] })
}

// rules changes the rules of calls of tenant 1.
func (s *stack) rules(change func(*telephony.CallRules)) {
	s.set(func(t *telephony.Tenant) { change(&t.Calls) }, func(*telephony.Extension) {})
}

// set changes tenant 1 and its extensions.
func (s *stack) set(tenant func(*telephony.Tenant), extension func(*telephony.Extension)) {
	old := s.snap.Load()
	tenants := slices.Clone(old.Tenants())
	var all []telephony.Extension
	for i, t := range tenants {
		if t.ID == 1 {
			tenant(&tenants[i])
		}
		for _, e := range old.Extensions(t.ID) {
			if t.ID == 1 {
				extension(&e)
			}
			all = append(all, e)
		}
	}
	s.snap.Store(telephony.NewSnapshot(old.Rev+1, old.Settings, tenants, all))
}

// stack is everything that answers SIP, on a network in memory or on a real
// socket.
type stack struct {
	t       testing.TB
	ep      *sip.Endpoint
	loc     *location.Memory
	svc     *Service
	media   *fakeMedia
	bus     events.Bus
	events  *events.Subscription
	records chan telephony.CallRecord
	snap    atomic.Pointer[telephony.Snapshot]

	flow   sip.Flow // in memory
	rows   []sip.Bind
	mu     sync.Mutex
	phones map[netip.AddrPort]chan string
}

var server = netip.MustParseAddrPort("192.0.2.1:5060")

func newStack(t testing.TB, change func(*Config)) *stack {
	t.Helper()
	return newStackWith(t, sip.Config{}, change)
}

func newStackWith(t testing.TB, sc sip.Config, change func(*Config)) *stack {
	t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	s := &stack{t: t, phones: make(map[netip.AddrPort]chan string), records: make(chan telephony.CallRecord, 5000), media: &fakeMedia{}}
	s.snap.Store(settings())
	snapshot := s.snap.Load
	s.events = s.bus.Subscribe(10000)
	sc.Logger, sc.Product = log, "Ringfence"
	s.ep = sip.New(sc)
	s.loc = location.NewMemory(location.Config{})
	auth := sip.NewAuthenticator(sip.AuthConfig{})
	c := Config{
		Endpoint: s.ep, Snapshot: snapshot, Location: s.loc, Auth: auth, Media: s.media, Bus: &s.bus, Logger: log,
		Record: func(r telephony.CallRecord) { s.records <- r },
	}
	if change != nil {
		change(&c)
	}
	s.svc = New(c)
	reg := registrar.New(registrar.Config{Snapshot: snapshot, Location: s.loc, Auth: auth, Endpoint: s.ep, Moved: s.svc.Registered, Logger: log})
	s.ep.Handle(sip.REGISTER, reg)
	s.ep.Handle("", s.svc)
	var err error
	if s.flow, err = s.ep.Attach(ports.SIPUDP, ports.Core, server, s); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

func (s *stack) close() {
	s.svc.Close()
	s.ep.Close()
	s.loc.Close()
	s.events.Close()
}

// Send delivers to the phone at the flow's remote address.
func (s *stack) Send(f sip.Flow, b []byte) error {
	s.mu.Lock()
	c := s.phones[f.Remote]
	s.mu.Unlock()
	if c != nil {
		select {
		case c <- string(b):
		default:
		}
	}
	return nil
}

func (s *stack) Protocol() string { return "UDP" }
func (s *stack) Reliable() bool   { return false }

// record returns the record of the one call that ended, and checks that there
// was no other.
func (s *stack) record() telephony.CallRecord {
	s.t.Helper()
	synctest.Wait()
	select {
	case r := <-s.records:
		if n := len(s.records); n != 0 {
			s.t.Errorf("%d more records", n)
		}
		if live := s.svc.Calls(telephony.System); len(live) != 0 {
			s.t.Errorf("still live: %+v", live)
		}
		return r
	default:
		s.t.Fatal("no record")
		return telephony.CallRecord{}
	}
}

func (s *stack) ended(reason telephony.EndReason, code int) telephony.CallRecord {
	s.t.Helper()
	r := s.record()
	if r.Reason != reason || r.StatusCode != code {
		s.t.Errorf("ended as %s %d, want %s %d", r.Reason, r.StatusCode, reason, code)
	}
	if open := s.media.open.Load(); open != 0 {
		s.t.Errorf("%d media legs left open", open)
	}
	return r
}

// phone is a scripted peer: it sends text and reads text.
type phone struct {
	t      testing.TB
	user   string
	domain string
	addr   netip.AddrPort
	in     chan string
	send   func(string)
	via    string // transport in its Via; UDP if empty
	count  int
}

// phone adds a phone of tenant 1 to the network in memory.
func (s *stack) phone(user string, port uint16) *phone {
	p := &phone{t: s.t, user: user, domain: "a.test", addr: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.50"), port), in: make(chan string, 2000)}
	s.mu.Lock()
	s.phones[p.addr] = p.in
	s.mu.Unlock()
	p.send = func(raw string) {
		f := s.flow
		f.Remote = p.addr
		s.ep.Receive(f, []byte(raw))
	}
	return p
}

// next returns the next message; it fails after 5 s.
func (p *phone) next() string {
	p.t.Helper()
	return p.nextWithin(5 * time.Second)
}

func (p *phone) nextWithin(d time.Duration) string {
	p.t.Helper()
	select {
	case m := <-p.in:
		return m
	case <-time.After(d):
		p.t.Fatalf("%s: nothing came", p.user)
		return ""
	}
}

// want returns the next message, whose first line must begin so. "180" stands
// for "SIP/2.0 180".
func (p *phone) want(start string) string {
	p.t.Helper()
	if start[0] >= '1' && start[0] <= '9' {
		start = "SIP/2.0 " + start
	}
	m := p.next()
	if !strings.HasPrefix(m, start) {
		p.t.Fatalf("%s: got %q, want %s", p.user, line(m), start)
	}
	return m
}

// quiet checks that nothing comes for d.
func (p *phone) quiet(d time.Duration) {
	p.t.Helper()
	select {
	case m := <-p.in:
		p.t.Errorf("%s: unexpected %q", p.user, line(m))
	case <-time.After(d):
	}
}

func line(m string) string { l, _, _ := strings.Cut(m, "\r\n"); return l }

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

func body(raw string) string { _, b, _ := strings.Cut(raw, "\r\n\r\n"); return b }

func tag(value string) string {
	_, v, _ := strings.Cut(value, ";tag=")
	v, _, _ = strings.Cut(v, ";")
	return v
}

// dialogue is a phone's end of a dialog, or a request outside of any.
type dialogue struct {
	p           *phone
	id          string
	local       string // From of its requests, with tag
	remote      string // To of its requests, with tag once known
	target      string
	seq         int
	inviteSeq   int
	branch      string // of the last INVITE
	inviteURI   string
	auth        string
	lastRequest string
}

// call prepares a call to a number.
func (p *phone) call(number string) *dialogue {
	p.count++
	return &dialogue{
		p: p, id: fmt.Sprintf("%s-%d-%d", p.user, p.addr.Port(), p.count),
		local:  fmt.Sprintf("<sip:%s@%s>;tag=%s%d", p.user, p.domain, p.user, p.count),
		remote: "<sip:" + number + "@" + p.domain + ">", target: "sip:" + number + "@" + p.domain,
	}
}

func text(start string, headers []string, sdp string) string {
	if sdp != "" {
		headers = append(headers, "Content-Type: application/sdp")
	}
	return start + "\r\n" + strings.Join(headers, "\r\n") + fmt.Sprintf("\r\nContent-Length: %d\r\n\r\n%s", len(sdp), sdp)
}

// request sends a request of the dialog.
func (d *dialogue) request(method, sdp string, extra ...string) {
	d.seq++
	seq := d.seq
	branch := fmt.Sprintf("z9hG4bK%s.%d", d.id, d.seq)
	switch method {
	case sip.INVITE:
		d.inviteSeq, d.branch, d.inviteURI = seq, branch, d.target
	case sip.ACK:
		d.seq--
		seq = d.inviteSeq
	case sip.CANCEL:
		d.seq--
		seq, branch = d.inviteSeq, d.branch
	}
	h := []string{
		"Via: SIP/2.0/" + cmp.Or(d.p.via, "UDP") + " " + d.p.addr.String() + ";rport;branch=" + branch,
		"From: " + d.local, "To: " + d.remote, "Call-ID: " + d.id,
		fmt.Sprintf("CSeq: %d %s", seq, method), "Max-Forwards: 70",
		fmt.Sprintf("Contact: <sip:%s@%s>", d.p.user, d.p.addr),
	}
	d.lastRequest = text(method+" "+d.target+" SIP/2.0", append(h, extra...), sdp)
	d.p.send(d.lastRequest)
}

// refuseAck acknowledges a refusal, in the INVITE's transaction.
func (d *dialogue) refuseAck(refusal string) {
	d.p.send(text("ACK "+d.inviteURI+" SIP/2.0", []string{
		"Via: SIP/2.0/" + cmp.Or(d.p.via, "UDP") + " " + d.p.addr.String() + ";rport;branch=" + d.branch,
		"From: " + d.local, "To: " + header(refusal, "To"), "Call-ID: " + d.id,
		fmt.Sprintf("CSeq: %d ACK", d.inviteSeq), "Max-Forwards: 70",
	}, ""))
}

// authorize answers a challenge for the phone's own password.
func (p *phone) authorize(challenge, method, uri, password string) string {
	name, value := "Proxy-Authorization", header(challenge, "Proxy-Authenticate")
	if value == "" {
		name, value = "Authorization", header(challenge, "WWW-Authenticate")
	}
	get := func(key string) string {
		_, v, _ := strings.Cut(value, key+`="`)
		v, _, _ = strings.Cut(v, `"`)
		return v
	}
	realm, nonce := get("realm"), get("nonce")
	resp := hexMD5(hexMD5(p.user+":"+realm+":"+password) + ":" + nonce + ":00000001:c:auth:" + hexMD5(method+":"+uri))
	return fmt.Sprintf(`%s: Digest username="%s", realm="%s", nonce="%s", uri="%s", response="%s", cnonce="c", qop=auth, nc=00000001, algorithm=MD5`,
		name, p.user, realm, nonce, uri, resp)
}

// dial sends an INVITE and answers its challenge; the call is then trying.
func (p *phone) dial(number, sdp string, extra ...string) *dialogue {
	p.t.Helper()
	d := p.call(number)
	d.request(sip.INVITE, sdp, extra...)
	challenge := p.want("407")
	d.refuseAck(challenge)
	d.request(sip.INVITE, sdp, append(extra, p.authorize(challenge, sip.INVITE, d.target, "pw"+p.user))...)
	p.want("100")
	return d
}

// learn takes tag and target from a response to the dialog's first INVITE.
func (d *dialogue) learn(response string) {
	d.remote = header(response, "To")
	d.target = strings.Trim(header(response, "Contact"), "<>")
}

// register binds the phone.
func (p *phone) register(extra ...string) string {
	p.t.Helper()
	d := p.call(p.user)
	d.target = "sip:" + p.domain
	d.request(sip.REGISTER, "", append([]string{"Expires: 3600"}, extra...)...)
	challenge := p.want("401")
	d.request(sip.REGISTER, "", append([]string{"Expires: 3600", p.authorize(challenge, sip.REGISTER, d.target, "pw"+p.user)}, extra...)...)
	return p.want("200")
}

// reply answers a received request; localTag is used if it has no To tag.
func (p *phone) reply(req string, code int, localTag, sdp string, extra ...string) {
	to := header(req, "To")
	if tag(to) == "" && localTag != "" {
		to += ";tag=" + localTag
	}
	h := []string{
		"Via: " + header(req, "Via"), "From: " + header(req, "From"), "To: " + to,
		"Call-ID: " + header(req, "Call-ID"), "CSeq: " + header(req, "CSeq"),
		fmt.Sprintf("Contact: <sip:%s@%s>", p.user, p.addr),
	}
	p.send(text(fmt.Sprintf("SIP/2.0 %d X", code), append(h, extra...), sdp))
}

// dialogueOf is the phone's end of a dialog it was called in.
func (p *phone) dialogueOf(invite, localTag string) *dialogue {
	return &dialogue{
		p: p, id: header(invite, "Call-ID"), local: header(invite, "To") + ";tag=" + localTag,
		remote: header(invite, "From"), target: strings.Trim(header(invite, "Contact"), "<>"),
	}
}

// talking sets a call from a to b up and returns both ends.
func talking(a, b *phone) (da, db *dialogue) {
	a.t.Helper()
	da = a.dial("102", "v=0 offer-a")
	invite := b.want("INVITE")
	b.reply(invite, 180, "b1", "")
	a.want("180")
	b.reply(invite, 200, "b1", "v=0 answer-b")
	b.want("ACK")
	da.learn(a.want("200"))
	da.request(sip.ACK, "")
	return da, b.dialogueOf(invite, "b1")
}

// pair is a stack with 101 and 102 registered.
func pair(t testing.TB, change func(*Config)) (*stack, *phone, *phone) {
	t.Helper()
	s := newStack(t, change)
	a, b := s.phone("101", 5101), s.phone("102", 5102)
	a.register()
	b.register()
	return s, a, b
}

// inTime runs a test in fake time.
func inTime(t *testing.T, f func(t *testing.T)) {
	t.Parallel()
	synctest.Test(t, f)
}

// fakeMedia stands for the media engine: descriptions are texts that say whose
// description they were made of.
type fakeMedia struct {
	open   atomic.Int64
	fail   error        // of NewLeg
	silent atomic.Int64 // since when no media comes, in ns; 0: it comes

	expectsNothing atomic.Bool // as on hold

	look    atomic.Pointer[[2]quality.Side] // of the caller's leg and the callee's
	unkeyed atomic.Pointer[[2]error]        // why these have no keys

	mu     sync.Mutex
	params []media.LegParams // of all legs
	tunes  []string          // what legs were played
}

// played is what legs were played, in order.
func (m *fakeMedia) played() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Sprint(m.tunes)
}

type fakeCall struct {
	m      *fakeMedia
	mu     sync.Mutex
	legs   []*fakeLeg
	bridge string
}

type fakeLeg struct {
	c *fakeCall
	n int
	// security refuses descriptions that say "plain".
	security telephony.MediaSecurity
	at       netip.AddrPort // where its peer's SIP comes from
	remote   string
	before   string
	closed   bool
}

var errBadSDP = errors.New("bad description")

func (m *fakeMedia) NewCall(telephony.CallID) MediaCall { return &fakeCall{m: m} }

func (c *fakeCall) NewLeg(_ context.Context, p media.LegParams) (MediaLeg, error) {
	if c.m.fail != nil {
		return nil, c.m.fail
	}
	c.m.open.Add(1)
	c.m.mu.Lock()
	c.m.params = append(c.m.params, p)
	c.m.mu.Unlock()
	l := &fakeLeg{c: c, n: len(c.legs), security: p.Security}
	c.legs = append(c.legs, l)
	return l, nil
}

func (c *fakeCall) Bridge(a, b MediaLeg) {
	c.bridge = fmt.Sprint(a.(*fakeLeg).n, b.(*fakeLeg).n)
}

func (c *fakeCall) Close() {
	for _, l := range c.legs {
		l.Close()
	}
}

func (l *fakeLeg) PeerAt(at netip.AddrPort) { l.at = at }
func (l *fakeLeg) SetRemote(sdp []byte) error {
	if strings.Contains(string(sdp), "bad") {
		return errBadSDP
	}
	if l.security.Required() && strings.Contains(string(sdp), "plain") {
		return fmt.Errorf("plain: %w", media.ErrInsecure)
	}
	l.before, l.remote = l.remote, strings.TrimPrefix(string(sdp), "v=0 ")
	return nil
}
func (l *fakeLeg) Insist() bool { return false }
func (l *fakeLeg) Spare()       {}
func (l *fakeLeg) Spared() bool { return false }
func (l *fakeLeg) Holds() bool {
	return strings.Contains(l.remote, "a=sendonly") || strings.Contains(l.remote, "a=inactive")
}
func (l *fakeLeg) Hum(t media.Tune, _ string) error {
	l.c.m.mu.Lock()
	defer l.c.m.mu.Unlock()
	l.c.m.tunes = append(l.c.m.tunes, fmt.Sprint(l.n, " ", t))
	return nil
}
func (l *fakeLeg) Rollback() { l.remote = l.before }
func (l *fakeLeg) Offer(from MediaLeg) ([]byte, error) {
	if from == nil {
		return []byte("v=0 pbx"), nil
	}
	return []byte("v=0 via-pbx(" + from.(*fakeLeg).remote + ")"), nil
}
func (l *fakeLeg) Answer(from MediaLeg) ([]byte, error) { return l.Offer(from) }
func (l *fakeLeg) Quality() telephony.LegQuality {
	return telephony.LegQuality{Codec: l.remote, Packets: 7}
}
func (l *fakeLeg) Look() quality.Side {
	if look := l.c.m.look.Load(); look != nil {
		return look[l.n%2]
	}
	return quality.Side{}
}
func (l *fakeLeg) Unkeyed(time.Time) error {
	if u := l.c.m.unkeyed.Load(); u != nil {
		return u[l.n%2]
	}
	return nil
}
func (l *fakeLeg) SilentSince() time.Time {
	if l.c.m.expectsNothing.Load() {
		return time.Time{}
	}
	if n := l.c.m.silent.Load(); n != 0 {
		return time.Unix(0, n)
	}
	return time.Now()
}
func (l *fakeLeg) Close() {
	if !l.closed {
		l.closed = true
		l.c.m.open.Add(-1)
	}
}
