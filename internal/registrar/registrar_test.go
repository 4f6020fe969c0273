package registrar

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/location"
	"ringfence/internal/ports"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

func hexMD5(s string) string { x := md5.Sum([]byte(s)); return hex.EncodeToString(x[:]) }

var peer = netip.MustParseAddrPort("192.0.2.50:5062")

// rig is a registrar on a transport in memory.
type rig struct {
	t     testing.TB
	ep    *sip.Endpoint
	loc   *location.Memory
	reg   *Service
	flow  sip.Flow
	out   chan string
	snap  atomic.Pointer[telephony.Snapshot]
	conns *connections

	password string // "" is pw
	nonce    string
	nc       int
}

func snapshot(numbers ...string) *telephony.Snapshot {
	var ext []telephony.Extension
	for _, n := range numbers {
		ext = append(ext, telephony.Extension{Tenant: 1, Number: n, HA1: hexMD5(n + ":a.test:pw")})
	}
	return telephony.NewSnapshot(1, telephony.DefaultSettings(), []telephony.Tenant{{ID: 1, Domain: "a.test"}}, ext)
}

// tenant changes how the tenant's phones may register.
func (r *rig) tenant(reg telephony.Registration) {
	r.snap.Store(telephony.NewSnapshot(2, telephony.DefaultSettings(), []telephony.Tenant{{ID: 1, Domain: "a.test", Registration: reg}}, r.snap.Load().Extensions(1)))
}

func newRig(t testing.TB, c Config) *rig {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	r := &rig{t: t, out: make(chan string, 1000)}
	r.snap.Store(snapshot("101", "102"))
	r.ep = sip.New(sip.Config{Logger: log, Node: "n1", Epoch: 7})
	r.loc = location.NewMemory(location.Config{})
	c.Snapshot, c.Location, c.Endpoint, c.Logger = r.snap.Load, r.loc, r.ep, log
	c.Auth = sip.NewAuthenticator(sip.AuthConfig{Lifetime: 24 * time.Hour, Algorithms: Algorithms(r.snap.Load), Admit: Admit(r.snap.Load)})
	r.reg = New(c)
	r.ep.Handle(sip.REGISTER, r.reg)
	var err error
	if r.flow, err = r.ep.Attach(ports.SIPUDP, ports.Core, netip.MustParseAddrPort("192.0.2.1:5060"), r); err != nil {
		t.Fatal(err)
	}
	r.flow.Remote = peer
	t.Cleanup(func() { r.ep.Close(); r.loc.Close() })
	return r
}

// stream puts the rig's phone on a connection of a service.
func (r *rig) stream(id ports.ID, protocol, token string) {
	r.t.Helper()
	c := &connections{rig: r, protocol: protocol, open: map[string]bool{token: true}}
	f, err := r.ep.Attach(id, ports.Core, netip.MustParseAddrPort("192.0.2.1:5061"), c)
	if err != nil {
		r.t.Fatal(err)
	}
	r.conns, r.flow = c, f
	r.flow.Remote, r.flow.Token = peer, token
}

// connections is a stream transport in memory.
type connections struct {
	*rig
	protocol string
	open     map[string]bool
}

func (c *connections) Protocol() string { return c.protocol }
func (c *connections) Reliable() bool   { return true }
func (c *connections) Resolve(f sip.Flow) (sip.Flow, error) {
	if !c.open[f.Token] {
		return f, sip.ErrFlowGone
	}
	return f, nil
}

func (r *rig) Send(_ sip.Flow, b []byte) error { r.out <- string(b); return nil }
func (r *rig) Protocol() string                { return "UDP" }
func (r *rig) Reliable() bool                  { return false }

// ask is one REGISTER, by default of 101.
type ask struct {
	user, from, to string
	callID, branch string
	cseq           int
	lines          []string
}

func (r *rig) send(a ask, auth string) string {
	r.t.Helper()
	text := "REGISTER sip:a.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.50:5062;rport;branch=z9hG4bK" + a.branch +
		"\r\nFrom: <" + a.from + ">;tag=f\r\nTo: <" + a.to + ">\r\nCall-ID: " + a.callID + fmt.Sprintf("\r\nCSeq: %d REGISTER\r\n", a.cseq)
	for _, l := range append(a.lines, auth) {
		if l != "" {
			text += l + "\r\n"
		}
	}
	r.ep.Receive(r.flow, []byte(text+"\r\n"))
	select {
	case m := <-r.out:
		return m
	case <-time.After(5 * time.Second):
		r.t.Fatal("no answer")
		return ""
	}
}

// register sends a REGISTER with credentials and returns status and answer.
func (r *rig) register(a ask) (string, string) {
	r.t.Helper()
	def := func(p *string, v string) {
		if *p == "" {
			*p = v
		}
	}
	def(&a.user, "101")
	def(&a.to, "sip:"+a.user+"@a.test")
	def(&a.from, a.to)
	def(&a.callID, "reg")
	def(&a.branch, fmt.Sprint(r.nc))
	if r.nonce == "" {
		_, v, _ := strings.Cut(r.send(a, ""), `nonce="`)
		r.nonce, _, _ = strings.Cut(v, `"`)
	}
	r.nc++
	return r.again(a)
}

func (r *rig) again(a ask) (string, string) {
	r.t.Helper()
	password := r.password
	if password == "" {
		password = "pw"
	}
	resp := hexMD5(hexMD5(a.user+":a.test:"+password) + ":" + r.nonce + fmt.Sprintf(":%08x:c:auth:", r.nc) + hexMD5("REGISTER:sip:a.test"))
	got := r.send(a, fmt.Sprintf(`Authorization: Digest username="%s", realm="a.test", nonce="%s", uri="sip:a.test", response="%s", cnonce="c", qop=auth, nc=%08x`, a.user, r.nonce, resp, r.nc))
	first, _, _ := strings.Cut(got, "\r\n")
	return strings.TrimPrefix(first, "SIP/2.0 "), got
}

func contacts(answer string) (out []string) {
	for l := range strings.SplitSeq(answer, "\r\n") {
		if v, ok := strings.CutPrefix(l, "Contact: "); ok {
			out = append(out, v)
		}
	}
	return out
}

func inTime(t *testing.T, f func(t *testing.T)) {
	t.Parallel()
	synctest.Test(t, f)
}

func TestRegisterRefreshRemove(t *testing.T) {
	inTime(t, func(t *testing.T) {
		r := newRig(t, Config{})
		const c = "Contact: <sip:101@192.0.2.50:5062;transport=udp>"
		code, answer := r.register(ask{cseq: 1, lines: []string{c + ";expires=300", "User-Agent: Phone 1.0"}})
		if code != "200 OK" || fmt.Sprint(contacts(answer)) != "[<sip:101@192.0.2.50:5062;transport=udp>;expires=300]" || !strings.Contains(answer, "\r\nDate: ") {
			t.Fatal(answer)
		}
		b := r.loc.Bindings(telephony.AOR{User: "101", Domain: "a.test"})
		want := telephony.Flow{Node: "n1", Epoch: 7, Listener: ports.SIPUDP, Local: netip.MustParseAddrPort("192.0.2.1:5060"), Remote: peer}
		if len(b) != 1 || b[0].Flow != want || b[0].UserAgent != "Phone 1.0" || b[0].Tenant != 1 || b[0].CSeq != 1 || b[0].CallID != "reg" {
			t.Fatalf("%+v", b)
		}
		if f, err := r.ep.Flow(b[0].Flow); err != nil || f.Remote != peer {
			t.Errorf("flow %+v, %v", f, err)
		}
		time.Sleep(100 * time.Second)
		_, answer = r.register(ask{cseq: 2}) // a query
		if fmt.Sprint(contacts(answer)) != "[<sip:101@192.0.2.50:5062;transport=udp>;expires=200]" {
			t.Error(contacts(answer))
		}
		_, answer = r.register(ask{cseq: 3, lines: []string{c, "Expires: 600"}}) // a refresh
		if fmt.Sprint(contacts(answer)) != "[<sip:101@192.0.2.50:5062;transport=udp>;expires=600]" {
			t.Error(contacts(answer))
		}
		time.Sleep(601 * time.Second)
		if _, answer = r.register(ask{cseq: 4}); len(contacts(answer)) != 0 {
			t.Errorf("expired, but there: %v", contacts(answer))
		}
		r.register(ask{cseq: 5, lines: []string{c}})
		_, answer = r.register(ask{cseq: 6, lines: []string{"Contact: <sip:101@192.0.2.50:5062;Transport=UDP;ob>;expires=0"}}) // an equal URI
		if len(contacts(answer)) != 0 {
			t.Errorf("removed, but there: %v", contacts(answer))
		}
	})
}

func TestSeveralContacts(t *testing.T) {
	inTime(t, func(t *testing.T) {
		r := newRig(t, Config{})
		_, answer := r.register(ask{cseq: 1, lines: []string{`m: "A" <sip:a@h>;q=0.2, <sip:b@h>;expires=120;q=0.91`, "Contact: sip:c@h;expires=180", "Expires: 240"}})
		if got := fmt.Sprint(contacts(answer)); got != "[<sip:c@h>;expires=180 <sip:b@h>;expires=120;q=0.91 <sip:a@h>;expires=240;q=0.2]" {
			t.Error(got)
		}
		_, answer = r.register(ask{cseq: 2, callID: "other", lines: []string{"Contact: *", "Expires: 0"}})
		if len(contacts(answer)) != 0 || r.loc.Len() != 0 {
			t.Error(answer)
		}
	})
}

func TestRefused(t *testing.T) {
	inTime(t, func(t *testing.T) {
		r := newRig(t, Config{})
		for _, c := range []struct {
			want string
			ask
		}{
			{"403 Forbidden", ask{to: "sip:102@a.test"}},
			{"403 Forbidden", ask{from: "sip:102@a.test"}},
			{"403 Forbidden", ask{from: "sip:101@b.test"}},
			{"400 No Address of Record", ask{to: "sip:a.test"}},
			{"400 Wildcard Without Expires 0", ask{lines: []string{"Contact: *"}}},
			{"400 Wildcard Without Expires 0", ask{lines: []string{"Contact: *", "Expires: 60"}}},
			{"400 Malformed Contact", ask{lines: []string{"Contact: *, <sip:a@h>", "Expires: 0"}}},
			{"400 Malformed Contact", ask{lines: []string{"Contact: sip:a@h?x=y"}}},
			{"400 Unusable Contact", ask{lines: []string{"Contact: <tel:+49>"}}},
			{"400 Unusable Contact", ask{lines: []string{"Contact: <sip:" + strings.Repeat("a", 1100) + "@h>"}}},
			{"400 Malformed q", ask{lines: []string{"Contact: <sip:a@h>;q=2"}}},
			{"400 Malformed q", ask{lines: []string{"Contact: <sip:a@h>;q=NaN"}}},
			{"400 Call-ID Too Long", ask{callID: strings.Repeat("a", 300)}},
			{"423 Interval Too Brief", ask{lines: []string{"Contact: <sip:a@h>;expires=59"}}},
		} {
			code, answer := r.register(c.ask)
			if code != c.want {
				t.Errorf("%+v: %s", c.ask, code)
			}
			if code[:3] == "423" && !strings.Contains(answer, "\r\nMin-Expires: 60\r\n") {
				t.Error(answer)
			}
		}
		if r.loc.Len() != 0 {
			t.Errorf("%d bindings", r.loc.Len())
		}
	})
}

func TestLifetimes(t *testing.T) {
	inTime(t, func(t *testing.T) {
		r := newRig(t, Config{})
		for i, c := range []struct{ in, want string }{
			{"Contact: <sip:a@h>", "3600"},
			{"Contact: <sip:a@h>;expires=999999", "3600"},
			{"Contact: <sip:a@h>;expires=99999999999999999999", "3600"},
			{"Contact: <sip:a@h>;expires=soon", "3600"}, // RFC 3261 section 10.2.1.1
			{"Contact: <sip:a@h>;expires=60", "60"},
		} {
			if _, answer := r.register(ask{cseq: i + 1, lines: []string{c.in}}); fmt.Sprint(contacts(answer)) != "[<sip:a@h>;expires="+c.want+"]" {
				t.Errorf("%s: %v", c.in, contacts(answer))
			}
		}
	})
}

// TestOrder: a late request does not undo a newer one, and a retransmission
// gets the answer it would have got.
func TestOrder(t *testing.T) {
	inTime(t, func(t *testing.T) {
		r := newRig(t, Config{})
		c := []string{"Contact: <sip:a@h>"}
		r.register(ask{cseq: 5, lines: c})
		if code, _ := r.register(ask{cseq: 4, lines: []string{"Contact: <sip:a@h>;expires=0"}}); code != "500 Out of Order" {
			t.Error(code)
		}
		if code, _ := r.register(ask{cseq: 4, lines: []string{"Contact: *", "Expires: 0"}}); code != "500 Out of Order" {
			t.Error(code)
		}
		// All or nothing: the new contact b must not be added either.
		if code, _ := r.register(ask{cseq: 4, lines: []string{"Contact: <sip:b@h>, <sip:a@h>"}}); code != "500 Out of Order" || r.loc.Len() != 1 {
			t.Error(code, r.loc.Len())
		}
		if code, _ := r.register(ask{cseq: 1, callID: "after reboot", lines: c}); code != "200 OK" {
			t.Error(code)
		}
		a := ask{user: "101", to: "sip:101@a.test", from: "sip:101@a.test", callID: "x", branch: "same", cseq: 1, lines: []string{"Contact: <sip:z@h>;expires=100"}}
		_, first := r.register(a)
		for range 3 {
			if code, again := r.again(a); code != "200 OK" || again != first {
				t.Errorf("retransmission: %s\n%s", code, again)
			}
		}
	})
}

func TestOldestContactGivesWay(t *testing.T) {
	inTime(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.tenant(telephony.Registration{MaxContacts: 3})
		for i := range 5 {
			r.register(ask{cseq: i + 1, callID: fmt.Sprint(i), lines: []string{fmt.Sprintf("Contact: <sip:%d@h>;expires=60", i)}})
			time.Sleep(time.Second)
		}
		_, answer := r.register(ask{cseq: 9})
		if got := fmt.Sprint(contacts(answer)); got != "[<sip:4@h>;expires=59 <sip:3@h>;expires=58 <sip:2@h>;expires=57]" {
			t.Error(got)
		}
	})
}

// TestSameInstanceReplaces: a phone that comes back with another port.
func TestSameInstanceReplaces(t *testing.T) {
	inTime(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.register(ask{cseq: 1, lines: []string{`Contact: <sip:101@h:1000>;+sip.instance="<urn:uuid:1>"`}})
		r.register(ask{cseq: 1, callID: "2", lines: []string{`Contact: <sip:101@h:2000>;+sip.instance="<urn:uuid:1>"`}})
		_, answer := r.register(ask{cseq: 1, callID: "3", lines: []string{`Contact: <sip:101@h:3000>;+sip.instance="<urn:uuid:2>"`}})
		if got := fmt.Sprint(contacts(answer)); strings.Contains(got, "1000") || !strings.Contains(got, `<sip:101@h:2000>;expires=3600;+sip.instance="<urn:uuid:1>"`) || !strings.Contains(got, "3000") {
			t.Error(got)
		}
	})
}

func TestReconcile(t *testing.T) {
	inTime(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.register(ask{cseq: 1, lines: []string{"Contact: <sip:a@h>"}})
		r.reg.Reconcile(r.snap.Load())
		if r.loc.Len() != 1 {
			t.Error("a good binding is gone")
		}
		gone := snapshot("102")
		r.snap.Store(gone)
		r.reg.Reconcile(gone)
		r.reg.Reconcile(gone)
		if r.loc.Len() != 0 || len(r.loc.Take().Removed) != 1 {
			t.Error("the binding of a deleted extension stays")
		}
		if code, _ := r.register(ask{cseq: 2}); code != "401 Unauthorized" {
			t.Error(code)
		}
	})
}

// TestBindingIsSmall: memory of a registered phone (the aim is 2 KB).
func TestBindingIsSmall(t *testing.T) {
	const n = 5000
	numbers := make([]string, n)
	for i := range numbers {
		numbers[i] = fmt.Sprint(10000 + i)
	}
	r := newRig(t, Config{})
	r.snap.Store(snapshot(numbers...))
	before := heap()
	for i, number := range numbers {
		r.nonce = ""
		if code, _ := r.register(ask{user: number, cseq: 1, callID: fmt.Sprintf("%032d", i), lines: []string{
			fmt.Sprintf(`Contact: <sip:%s@192.168.100.%d:5062;transport=udp>;+sip.instance="<urn:uuid:00000000-0000-1000-8000-%012d>"`, number, i%250, i),
			"User-Agent: Yealink SIP-T46U 108.86.0.20",
			"X-Long: " + strings.Repeat("x", 2000)}}); code != "200 OK" { // must not be kept
			t.Fatal(code)
		}
	}
	r.loc.Take()
	per := (heap() - before) / n
	t.Logf("%d bytes per phone, its nonce included", per)
	if per > 2048 {
		t.Errorf("%d bytes per phone", per)
	}
}
