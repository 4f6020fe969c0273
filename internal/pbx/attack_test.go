package pbx_test

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"ringfence/internal/pbx"
	"ringfence/internal/pbxtest"
	"ringfence/internal/ports"
	"ringfence/internal/siptest"
)

// protect changes how attackers are told from phones; it is in force when the
// answer is there.
func protect(t *testing.T, p *pbxtest.PBX, change map[string]any) {
	t.Helper()
	admin := p.Admin()
	var now map[string]any
	if err := admin.Do(t.Context(), "GET", "/security/protection", nil, &now); err != nil {
		t.Fatal(err)
	}
	delete(now, "$schema")
	maps.Copy(now, change)
	if err := admin.Do(t.Context(), "PUT", "/security/protection", now, nil); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var s struct {
			Rev     uint64 `json:"rev"`
			Applied []struct {
				Subsystem string
				Rev       uint64
			}
		}
		if err := admin.Do(t.Context(), "GET", "/status", nil, &s); err != nil {
			t.Fatal(err)
		}
		behind := false
		for _, a := range s.Applied {
			behind = behind || a.Rev < s.Rev
		}
		if !behind {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not applied: %+v", s)
		}
	}
}

// dials calls a number and returns the status that ends the call.
func dials(t *testing.T, a *siptest.Phone, number string) int {
	t.Helper()
	out, err := a.Call(within(t, 15*time.Second), number)
	if err != nil {
		t.Fatal(err)
	}
	err = out.Wait(within(t, 15*time.Second), siptest.Answered)
	if status := (*siptest.StatusError)(nil); errors.As(err, &status) {
		return status.Code
	}
	_ = out.HangUp()
	return 200
}

// S16: who dials one number after another that nobody has cannot call any more,
// for as long as a ban lasts; nobody else notices.
func TestWarDiallingIsRefused(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	protect(t, p, map[string]any{"unknown_numbers": 8, "ban_seconds": 3})
	a, b := p.Phone("101", 440), p.Phone("102", 880)
	for range 20 { // somebody who mistypes, and tries again
		if got := dials(t, a, "5550"); got != 404 {
			t.Fatalf("a number that nobody has: %d", got)
		}
	}
	connect(t, a, b, "102")
	for i := range 7 {
		if got := dials(t, a, fmt.Sprint(5551+i)); got != 404 {
			t.Fatalf("number %d: %d", i, got)
		}
	}
	refused := time.Now() // not before
	for end := refused.Add(5 * time.Second); dials(t, a, "102") != 403; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("after eight numbers that nobody has it may go on")
		}
	}
	connect(t, b, p.Phone("103", 660), "103")
	if n := len(bansOf(t, p.Admin()).Items); n != 0 {
		t.Errorf("%d sources are banned for what an extension did", n)
	}
	if err := a.Register(within(t, 10*time.Second)); err != nil {
		t.Errorf("it cannot register any more: %v", err)
	}
	for ; dials(t, a, "104") == 403; time.Sleep(50 * time.Millisecond) {
		if time.Since(refused) > 8*time.Second {
			t.Fatal("it has no end")
		}
	}
	if took := time.Since(refused); took < 2900*time.Millisecond {
		t.Errorf("it ended after %v, not 3 s", took)
	}
}

// S16: an extension begins no more calls than set, and a telephone is called no
// more often, however many callers take turns.
func TestCallsOfOneAndToOneHaveLimits(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	protect(t, p, map[string]any{"calls": 10, "period_seconds": 60})
	ended := func(from *siptest.Phone, number string, n int) map[int]int {
		codes := map[int]int{}
		for range n {
			codes[dials(t, from, number)]++
		}
		return codes
	}
	a, b, c := p.Phone("101", 0), p.Phone("102", 0), p.Phone("103", 0)
	if got := fmt.Sprint(ended(a, "104", 6), ended(b, "104", 6)); got != "map[480:6] map[480:4 486:2]" {
		t.Errorf("104, whose phone is off: %s", got)
	}
	if got := fmt.Sprint(ended(a, "105", 6)); got != "map[404:4 503:2]" {
		t.Errorf("the first caller, which begins 12 calls: %s", got)
	}
	connect(t, c, b, "102")
}

// Calls that are forwarded in a circle end, and neither ban nor slow down anybody.
func TestForwardingInACircleConvictsNobody(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	admin := p.Admin()
	for number, to := range map[string]string{"102": "103", "103": "102"} {
		in := map[string]any{"display_name": "", "no_answer_seconds": 30, "call_handling": map[string]any{"forward_always": to, "forward_busy": "", "forward_no_answer": "", "forward_unregistered": "", "do_not_disturb": false, "max_calls": 0, "ring_also": []string{}}}
		if err := admin.Do(t.Context(), "PUT", "/extensions/"+number, in, nil); err != nil {
			t.Fatal(err)
		}
	}
	a, b := p.Phone("101", 440), p.Phone("104", 880)
	for i := range 50 {
		if got := dials(t, a, "102"); got < 400 || got == 403 || got == 503 {
			t.Fatalf("call %d in a circle: %d", i, got)
		}
	}
	connect(t, a, b, "104")
	if bans := bansOf(t, admin).Items; len(bans) != 0 {
		t.Errorf("%+v", bans)
	}
}

// unanswered sends a request and reports whether nothing came back.
func unanswered(t *testing.T, phone *siptest.Phone, r siptest.Request) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := phone.Do(ctx, r)
	return err != nil
}

// Calls of strangers get no answer if so set, over every transport; other
// requests do, and who goes on is banned, although it was never challenged.
func TestStrangersCallsMeetSilence(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	e := p.Extension("101")
	invite := siptest.Request{Method: "INVITE", URI: "sip:102@" + e.Domain, NoAuth: true}
	for i, id := range []ports.ID{ports.SIPUDP, ports.SIPTCP, ports.EdgeWSS} {
		protect(t, p, map[string]any{"silent_invite": false, "unanswered": 40})
		stranger := siptest.NewPhone(t, siptest.Config{
			Server: p.Addr(id), Transport: pbxtest.Transport(id), User: e.SIPUser, Password: e.SIPPassword, Domain: e.Domain,
			Listen: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, byte(80 + i)}), 0),
		})
		if unanswered(t, stranger, invite) {
			t.Errorf("%s: a call of a stranger is not challenged", id)
		}
		protect(t, p, map[string]any{"silent_invite": true})
		if !unanswered(t, stranger, invite) {
			t.Errorf("%s: a call of a stranger is answered", id)
		}
		if unanswered(t, stranger, siptest.Request{Method: "OPTIONS", URI: "sip:" + e.Domain}) {
			t.Errorf("%s: OPTIONS are not answered", id)
		}
		var calls sync.WaitGroup
		for range 45 {
			calls.Go(func() { unanswered(t, stranger, invite) })
		}
		calls.Wait()
		if !unanswered(t, stranger, siptest.Request{Method: "OPTIONS", URI: "sip:" + e.Domain}) {
			t.Errorf("%s: who called 45 times without credentials is not banned", id)
		}
	}
	bans := bansOf(t, p.Admin()).Items
	for _, b := range bans {
		if b.Scope != "sip" || b.Reason != "challenges not answered" || b.Count != 40 || b.Target != "102" {
			t.Errorf("%+v", b)
		}
	}
	if len(bans) != 3 {
		t.Errorf("%d bans of three strangers", len(bans))
	}
	connect(t, p.PhoneOn(ports.EdgeWSS, "103", 440), p.PhoneOn(ports.SIPTCP, "104", 880), "104") // who registered may call
}

// An office of 200 phones behind one address comes back after a restart of the
// PBX, all at once, with nonces of the last run: nobody is banned.
func TestOfficeComesBackWithOldNonces(t *testing.T) {
	t.Parallel()
	const phones = 200
	p := pbxtest.Open(t, pbx.Options{DataDir: t.TempDir(), Extensions: phones})
	server := p.Addr(ports.SIPUDP)
	var all sync.WaitGroup
	stale := make(chan bool, phones)
	for _, e := range p.Facts().Extensions {
		c := stranger(t, "127.0.0.90")
		all.Go(func() {
			_, answer := exchange(c, server, oldRegister(c.LocalAddr().String(), e.SIPUser, e.SIPPassword, e.Domain))
			stale <- strings.HasPrefix(answer, "SIP/2.0 401 ") && strings.Contains(answer, "stale=true")
			phone := siptest.NewPhone(t, siptest.Config{
				Server: server, User: e.SIPUser, Password: e.SIPPassword, Domain: e.Domain,
				Listen: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.90"), 0),
			})
			if err := phone.Register(within(t, 30*time.Second)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for range phones {
		if !<-stale {
			t.Fatal("an old nonce is not told to be stale, so this tests nothing")
		}
	}
	if n := p.Registered(); n != phones {
		t.Errorf("%d registered", n)
	}
	if bans := bansOf(t, p.Admin()).Items; len(bans) != 0 {
		t.Errorf("%+v", bans)
	}
}

// exchange sends a datagram and returns the answer, whole.
func exchange(c interface {
	WriteToUDPAddrPort([]byte, netip.AddrPort) (int, error)
	Read([]byte) (int, error)
	SetReadDeadline(time.Time) error
}, to netip.AddrPort, text string) (int, string) {
	buf := make([]byte, 4096)
	for range 8 { // lost in the crowd: once more, as phones do
		_, _ = c.WriteToUDPAddrPort([]byte(text), to)
		_ = c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		if n, err := c.Read(buf); err == nil {
			return n, string(buf[:n])
		}
	}
	return 0, ""
}

// oldRegister is a REGISTER with the right password and a nonce of another run.
func oldRegister(local, user, password, domain string) string {
	const nonce, cnonce = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "c0ffee"
	sum := func(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }
	uri := "sip:" + domain
	response := sum(sum(user+":"+domain+":"+password) + ":" + nonce + ":00000001:" + cnonce + ":auth:" + sum("REGISTER:"+uri))
	return fmt.Sprintf("REGISTER %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bKr%s\r\nMax-Forwards: 70\r\nFrom: <sip:%s@%s>;tag=f\r\nTo: <sip:%s@%s>\r\n"+
		"Call-ID: old-%s\r\nCSeq: 1 REGISTER\r\nContact: <sip:%s@%s>\r\nAuthorization: Digest username=\"%s\", realm=\"%s\", nonce=\"%s\", uri=\"%s\", response=\"%s\", cnonce=\"%s\", qop=auth, nc=00000001, algorithm=MD5\r\nContent-Length: 0\r\n\r\n",
		uri, local, user, user, domain, user, domain, user, user, local, user, domain, nonce, uri, response, cnonce)
}

// A browser whose credentials are over asks again and again until its page has
// new ones; sixty do after a restart. Passwords of extensions count over
// WebSockets like anywhere.
func TestBrowsersWithOldCredentialsAreNotBanned(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	e := p.Extension("101")
	tries := func(name, addr string) (answered int) {
		phone := siptest.NewPhone(t, siptest.Config{
			Server: p.Addr(ports.EdgeWSS), Transport: "WSS", User: e.SIPUser, AuthUser: name, Password: "of yesterday", Domain: e.Domain,
			Listen: netip.AddrPortFrom(netip.MustParseAddr(addr), 0), T1: 20 * time.Millisecond,
		})
		for range 60 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err := phone.Register(ctx)
			cancel()
			var status *siptest.StatusError
			if !errors.As(err, &status) {
				return answered
			}
			answered++
		}
		return answered
	}
	if n := tries("web.101.tfo8tn.c2Vzc2lvbiB0YWcgMTY.bm9uY2U4", "127.0.0.91"); n != 60 || len(bansOf(t, p.Admin()).Items) != 0 {
		t.Errorf("%d of 60 tries of browsers answered, %+v", n, bansOf(t, p.Admin()).Items)
	}
	if n := tries("101", "127.0.0.92"); n != 50 {
		t.Errorf("%d of 60 wrong passwords answered", n)
	}
}
