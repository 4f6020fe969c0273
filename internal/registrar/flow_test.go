package registrar

import (
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

var phone101 = telephony.AOR{User: "101", Domain: "a.test"}

func hasLine(answer, line string) bool { return strings.Contains(answer, "\r\n"+line+"\r\n") }

// TestPath: RFC 3327 section 5.3.
func TestPath(t *testing.T) {
	inTime(t, func(t *testing.T) {
		r := newRig(t, Config{})
		const c = "Contact: <sip:101@192.0.2.50:5062>"
		code, answer := r.register(ask{cseq: 1, lines: []string{c, "Supported: path", "Path: <sip:p1.test;lr>, \"a, b\" <sip:p2.test;lr;ob>;x=y"}})
		if code != "200 OK" || !hasLine(answer, "Path: <sip:p1.test;lr>, <sip:p2.test;lr;ob>") {
			t.Error(answer)
		}
		if b := r.loc.Bindings(phone101); len(b) != 1 || b[0].Path != "<sip:p1.test;lr>, <sip:p2.test;lr;ob>" {
			t.Errorf("%+v", b)
		}
		code, answer = r.register(ask{cseq: 2, lines: []string{c}})
		if b := r.loc.Bindings(phone101); code != "200 OK" || len(b) != 1 || b[0].Path != "" {
			t.Errorf("a refresh without Path keeps the old one: %+v", b)
		}
		for i, x := range []struct{ want, also, path, line string }{
			{"421 Extension Required", "Require: path", "<sip:p1.test;lr>", "Supported: gruu"},
			{"200 OK", "Path: <sip:p1.test;lr>", "<sip:p1.test;lr>", "Require: path"},
			{"420 Bad Extension", "Unsupported: gruu", "<sip:p1.test;lr>", "Require: path, gruu"},
			{"400 Malformed Path", "", "<tel:+49>", "Supported: path"},
			{"400 Malformed Path", "", "<sip:", "Supported: path"},
			{"400 Malformed Path", "", strings.Repeat("<sip:p.test>,", 8) + "<sip:p.test>", "Supported: path"},
			{"400 Path Too Long", "", "<sip:" + strings.Repeat("p", 600) + "@h>", "Supported: path"},
		} {
			code, answer := r.register(ask{cseq: 3, callID: fmt.Sprint("p", i), lines: []string{c, "Path: " + x.path, x.line}})
			if code != x.want || x.also != "" && !hasLine(answer, x.also) {
				t.Errorf("%s with %s: %s", x.path, x.line, answer)
			}
		}
	})
}

// TestSeveralFlows: RFC 5626 section 6.
func TestSeveralFlows(t *testing.T) {
	inTime(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.stream(ports.SIPTLS, "TLS", "c1")
		contact := func(port, id int, more string) []string {
			return []string{fmt.Sprintf(`Contact: <sip:101@192.0.2.50:%d>;+sip.instance="<urn:uuid:1>";reg-id=%d%s`, port, id, more), "Supported: outbound, path"}
		}
		_, answer := r.register(ask{cseq: 1, lines: contact(1000, 1, "")})
		if !hasLine(answer, "Require: outbound") || !hasLine(answer, "Flow-Timer: 90") ||
			fmt.Sprint(contacts(answer)) != `[<sip:101@192.0.2.50:1000>;expires=3600;+sip.instance="<urn:uuid:1>";reg-id=1]` {
			t.Error(answer)
		}
		r.register(ask{cseq: 1, callID: "2", lines: contact(1000, 2, "")}) // the same Contact on another flow
		if n := len(r.loc.Bindings(phone101)); n != 2 {
			t.Errorf("%d flows", n)
		}
		if c := r.loc.Take(); len(c.Put) != 2 {
			t.Errorf("%d of 2 flows would be stored", len(c.Put))
		}
		r.register(ask{cseq: 2, lines: contact(3000, 1, "")}) // the flow moved
		_, answer = r.register(ask{cseq: 3})
		if got := fmt.Sprint(contacts(answer)); strings.Count(got, "reg-id") != 2 || !strings.Contains(got, ":3000>") || strings.Count(got, ":1000>") != 1 || hasLine(answer, "Require: outbound") {
			t.Error(got)
		}
		_, answer = r.register(ask{cseq: 4, lines: contact(3000, 1, ";expires=0")})
		if got := fmt.Sprint(contacts(answer)); strings.Count(got, "reg-id") != 1 || !strings.Contains(got, "reg-id=2") {
			t.Error(got)
		}
		for _, x := range []struct {
			want  string
			lines []string
		}{
			{"400 Malformed reg-id", contact(1, 0, "")},
			{"400 Malformed reg-id", []string{`Contact: <sip:101@h>;+sip.instance="<urn:uuid:1>";reg-id=3000000000`, "Supported: outbound"}},
			{"400 More Than One reg-id", []string{contact(1, 5, "")[0], contact(2, 6, "")[0], "Supported: outbound"}},
			{"439 First Hop Lacks Outbound Support", append(contact(1, 7, ""), "Via: SIP/2.0/UDP 192.0.2.77;branch=z9hG4bKx")},
			{"439 First Hop Lacks Outbound Support", append(contact(1, 7, ""), "Via: SIP/2.0/UDP 192.0.2.77;branch=z9hG4bKx", "Path: <sip:edge.test;lr>")},
			{"200 OK", append(contact(1, 7, ""), "Via: SIP/2.0/UDP 192.0.2.77;branch=z9hG4bKx", "Path: <sip:p.test;lr>, <sip:edge.test;lr;ob>")},
		} {
			if code, answer := r.register(ask{cseq: 1, callID: x.want + fmt.Sprint(len(x.lines)), lines: x.lines}); code != x.want {
				t.Errorf("%v: %s", x.lines, answer)
			}
		}
		// A phone that does not ask for it has one flow, reg-id or not.
		_, answer = r.register(ask{cseq: 1, callID: "plain", lines: []string{`Contact: <sip:101@h>;+sip.instance="<urn:uuid:9>";reg-id=1`}})
		if hasLine(answer, "Require: outbound") || !strings.Contains(answer, `+sip.instance="<urn:uuid:9>"`+"\r\n") {
			t.Error(answer)
		}
	})
}

// TestConnectionEndsItsBindings: at once, and only those.
func TestConnectionEndsItsBindings(t *testing.T) {
	inTime(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.register(ask{cseq: 1, lines: []string{"Contact: <sip:udp@192.0.2.50:5062>"}})
		r.stream(ports.SIPTCP, "TCP", "c1")
		r.register(ask{cseq: 1, callID: "2", lines: []string{"Contact: <sip:tcp@192.0.2.50:5062>"}})
		r.loc.FlowGone("c2")
		if n := len(r.loc.Bindings(phone101)); n != 2 {
			t.Fatalf("%d bindings", n)
		}
		r.loc.Take()
		r.loc.FlowGone("c1")
		if b := r.loc.Bindings(phone101); len(b) != 1 || !strings.Contains(b[0].Contact, "udp@") {
			t.Errorf("%+v", b)
		}
		if c := r.loc.Take(); len(c.Removed) != 1 || c.Removed[0].Flow.Token != "c1" {
			t.Errorf("%+v", c)
		}
		// A connection that ended before its registration was done leaves nothing.
		r.conns.open["c1"] = false
		r.register(ask{cseq: 2, callID: "2", lines: []string{"Contact: <sip:tcp@192.0.2.50:5062>"}})
		if n := r.loc.Len(); n != 1 {
			t.Errorf("%d bindings", n)
		}
	})
}

// TestRestartedConnectionsWait: bindings on connections are shown after a
// restart, not rung, and give way to the phone that comes back.
func TestRestartedConnectionsWait(t *testing.T) {
	inTime(t, func(t *testing.T) {
		r := newRig(t, Config{})
		old := telephony.Binding{Tenant: 1, AOR: phone101, Contact: "sip:101@192.0.2.50:40000;transport=tcp", CallID: "reg", CSeq: 7, Q: 1,
			Flow: telephony.Flow{Token: "c1"}, Registered: time.Now(), Expires: time.Now().Add(time.Hour)}
		udp := old
		udp.Contact, udp.Flow.Token, udp.CallID = "sip:101@192.0.2.50:5062", "", "u"
		r.loc.Restore([]telephony.Binding{old, udp})
		if b := r.loc.Bindings(phone101); len(b) != 1 || b[0].CallID != "u" {
			t.Errorf("to ring: %+v", b)
		}
		if all := r.loc.All(1); len(all) != 2 || all[0].Reach+all[1].Reach != telephony.Waiting {
			t.Errorf("to show: %+v", all)
		}
		r.loc.FlowGone("c1") // a connection of this run, by chance of the same name
		if r.loc.Len() != 2 {
			t.Error("a waiting binding ended with the connection of another run")
		}
		r.stream(ports.SIPTCP, "TCP", "c9")
		_, answer := r.register(ask{cseq: 8, lines: []string{"Contact: <sip:101@192.0.2.50:40001;transport=tcp>"}})
		if got := fmt.Sprint(contacts(answer)); strings.Contains(got, "40000") || !strings.Contains(got, "40001") || !strings.Contains(got, "5062") {
			t.Error(got)
		}
		if n := len(r.loc.Bindings(phone101)); n != 2 {
			t.Errorf("%d to ring", n)
		}
	})
}

func TestNATShortensLifeOnUDPOnly(t *testing.T) {
	inTime(t, func(t *testing.T) {
		for _, c := range []struct {
			contact, protocol string
			nat               bool
			life              string
		}{
			{"sip:101@10.0.0.7:5060", "UDP", true, "120"},
			{"sip:101@192.0.2.50:9", "UDP", false, "3600"},
			{"sip:101@phone.invalid", "UDP", false, "3600"},
			{"sip:101@10.0.0.7:5060", "TCP", true, "3600"},
		} {
			r := newRig(t, Config{})
			if c.protocol != "UDP" {
				r.stream(ports.SIPTCP, c.protocol, "c1")
			}
			_, answer := r.register(ask{cseq: 1, lines: []string{"Contact: <" + c.contact + ">"}})
			if got := fmt.Sprint(contacts(answer)); !strings.Contains(got, "expires="+c.life) || r.loc.All(1)[0].NAT != c.nat {
				t.Errorf("%+v: %s %+v", c, got, r.loc.All(1))
			}
			if !c.nat || c.protocol != "UDP" {
				continue
			}
			if code, _ := r.register(ask{cseq: 2, lines: []string{"Contact: <" + c.contact + ">;expires=30"}}); code[:3] != "423" {
				t.Errorf("%+v: %s", c, code)
			}
		}
	})
}

// TestPushHints: RFC 8599 section 4; kept, and not to be seen in logs.
func TestPushHints(t *testing.T) {
	inTime(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.register(ask{cseq: 1, lines: []string{"Contact: <sip:101@192.0.2.50;pn-provider=apns;pn-param=TEAM.app;PN-PRID=secret00fc>"}})
		b := r.loc.Bindings(phone101)
		if want := (telephony.Push{Provider: "apns", PRID: "secret00fc", Param: "TEAM.app"}); len(b) != 1 || b[0].Push != want {
			t.Fatalf("%+v", b)
		}
		var text strings.Builder
		slog.New(slog.NewTextHandler(&text, nil)).Info("x", "binding", b[0], "push", b[0].Push)
		if strings.Contains(text.String(), "secret00fc") || !strings.Contains(text.String(), "apns") || strings.Contains(b[0].ShownContact(), "secret00fc") {
			t.Error(text.String(), b[0].ShownContact())
		}
	})
}

// TestLostPhonesGiveWayFirst: a phone that cannot be reached goes before one
// that can, whoever came first.
func TestLostPhonesGiveWayFirst(t *testing.T) {
	inTime(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.tenant(telephony.Registration{MaxContacts: 2})
		for i := range 2 {
			r.register(ask{cseq: 1, callID: fmt.Sprint(i), lines: []string{fmt.Sprintf("Contact: <sip:%d@h>", i)}})
			time.Sleep(time.Second)
		}
		for _, b := range r.loc.All(1) {
			if b.Contact == "sip:1@h" && !r.loc.Mark(&b, telephony.Unreachable, 0) {
				t.Fatal("not marked")
			}
		}
		_, answer := r.register(ask{cseq: 1, callID: "2", lines: []string{"Contact: <sip:2@h>"}})
		if got := fmt.Sprint(contacts(answer)); strings.Contains(got, "sip:1@h") || !strings.Contains(got, "sip:0@h") {
			t.Error(got)
		}
		if code, _ := r.register(ask{cseq: 1, callID: "3", lines: []string{"Contact: <sip:a@h>, <sip:b@h>, <sip:c@h>"}}); code != "403 Too Many Contacts" {
			t.Error(code)
		}
	})
}

// TestTLSOnly: the switch of a tenant.
func TestTLSOnly(t *testing.T) {
	inTime(t, func(t *testing.T) {
		c := []string{"Contact: <sip:101@192.0.2.50>"}
		for _, x := range []struct {
			id       ports.ID
			protocol string
			want     string
		}{{ports.SIPUDP, "UDP", "403 TLS Required"}, {ports.SIPTCP, "TCP", "403 TLS Required"}, {ports.SIPTLS, "TLS", "200 OK"}, {ports.EdgeWSS, "WSS", "200 OK"}} {
			r := newRig(t, Config{})
			if x.protocol != "UDP" {
				r.stream(x.id, x.protocol, "c")
			}
			if code, _ := r.register(ask{cseq: 1, lines: c}); code != "200 OK" {
				t.Fatalf("%s before: %s", x.protocol, code)
			}
			r.tenant(telephony.Registration{TLSOnly: true})
			r.reg.Reconcile(r.snap.Load())
			if n := r.loc.Len(); (n == 1) != (x.want == "200 OK") {
				t.Errorf("%s: %d bindings stay", x.protocol, n)
			}
			if code, _ := r.register(ask{cseq: 2, lines: c}); code != x.want {
				t.Errorf("%s: %s", x.protocol, code)
			}
		}
	})
}

// TestQualify: phones behind NAT are asked; those that stay silent are not rung
// until they answer or register again.
func TestQualify(t *testing.T) {
	inTime(t, func(t *testing.T) {
		r := newRig(t, Config{NATExpires: time.Hour})
		q := NewQualifier(QualifyConfig{Snapshot: r.snap.Load, Location: r.loc, Endpoint: r.ep, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
		defer q.Close()
		r.register(ask{cseq: 1, lines: []string{"Contact: <sip:101@192.0.2.50:5062>"}}) // no NAT
		time.Sleep(time.Minute)
		if len(r.out) != 0 {
			t.Error("a phone without NAT is asked: " + <-r.out)
		}
		if code, _ := r.register(ask{cseq: 3, lines: []string{"Contact: <sip:nat@10.0.0.7:5062>"}}); code != "200 OK" {
			t.Fatal(code)
		}
		for range 3 { // it answers
			select {
			case m := <-r.out:
				if !strings.HasPrefix(m, "OPTIONS sip:nat@10.0.0.7:5062 SIP/2.0\r\n") {
					t.Fatal(m)
				}
				time.Sleep(40 * time.Millisecond)
				r.ep.Receive(r.flow, []byte(answerTo(m, "404 Not Found")))
			case <-time.After(31 * time.Second):
				t.Fatal("not asked")
			}
			synctest.Wait()
		}
		if b := r.loc.Bindings(phone101); len(b) != 2 || b[0].RTT+b[1].RTT != 40*time.Millisecond {
			t.Errorf("%+v", b)
		}
		r.loc.Take()
		time.Sleep(4 * time.Minute) // it does not
		if b := r.loc.Bindings(phone101); len(b) != 1 || b[0].NAT {
			t.Errorf("to ring: %+v", b)
		}
		if all := r.loc.All(1); len(all) != 2 || !r.loc.Take().Empty() {
			t.Errorf("to show: %+v, and nothing to store", all)
		}
		for len(r.out) > 0 {
			<-r.out
		}
		r.register(ask{cseq: 4, lines: []string{"Contact: <sip:nat@10.0.0.7:5062>"}})
		time.Sleep(time.Minute)
		if n := len(r.loc.Bindings(phone101)); n != 2 {
			t.Errorf("%d to ring after it registered again", n)
		}
	})
}

// answerTo is a response to a request of ours.
func answerTo(m, status string) string {
	out := "SIP/2.0 " + status + "\r\n"
	for _, l := range strings.Split(m, "\r\n")[1:] {
		for _, n := range []string{"Via: ", "From: ", "To: ", "Call-ID: ", "CSeq: "} {
			if strings.HasPrefix(l, n) {
				out += l + "\r\n"
			}
		}
	}
	return out + "Content-Length: 0\r\n\r\n"
}

// TestQuestionsAreSpread: the turns of many phones are even, not one burst.
func TestQuestionsAreSpread(t *testing.T) {
	inTime(t, func(t *testing.T) {
		r := newRig(t, Config{})
		for i := range 600 {
			aor := telephony.AOR{User: fmt.Sprint(i), Domain: "a.test"}
			r.loc.Restore([]telephony.Binding{{Tenant: 1, AOR: aor, Contact: "sip:x@h", NAT: true, Expires: time.Now().Add(time.Hour)}})
		}
		q := &Qualifier{c: QualifyConfig{Snapshot: r.snap.Load, Location: r.loc}}
		q.seed = maphash.MakeSeed()
		now := time.Now()
		most, all := 0, 0
		for range 60 { // 30 s, the interval
			n := len(q.due(now, now.Add(qualifyTick)))
			most, all = max(most, n), all+n
			now = now.Add(qualifyTick)
		}
		if all != 600 || most > 30 {
			t.Errorf("%d of 600 had a turn, up to %d at once (10 on average)", all, most)
		}
	})
}

type webCredentials struct{ Name, Password string }

func issue(w *WebPhones, session []byte) (c webCredentials) {
	c.Name, c.Password, _ = w.Issue(phone101, session)
	return c
}

func TestWebPhoneCredentials(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := NewWebPhones()
		r := newRig(t, Config{})
		r.stream(ports.EdgeWSS, "WSS", "c1")
		wss := r.flow
		c := issue(w, []byte("session"))
		user, s, ok := w.Find(wss, "a.test", c.Name)
		if !ok || user != "101" || s.MD5 != hexMD5(c.Name+":a.test:"+c.Password) || s.SHA256 == "" {
			t.Fatal(user, s, ok)
		}
		if d := issue(w, []byte("session")); d.Name == c.Name || d.Password == c.Password {
			t.Error("two alike")
		}
		no := func(what string, f sip.Flow, realm, name string) {
			t.Helper()
			if _, s2, ok := w.Find(f, realm, name); ok && s2 == s {
				t.Error(what)
			}
		}
		r2 := newRig(t, Config{})
		no("over UDP", r2.flow, "a.test", c.Name)
		no("in another domain", wss, "b.test", c.Name)
		no("as another extension", wss, "a.test", strings.Replace(c.Name, "101", "102", 1))
		no("an extension's own name", wss, "a.test", "101")
		time.Sleep(WebPhoneLife - 2*time.Second)
		if _, _, ok := w.Find(wss, "a.test", c.Name); !ok {
			t.Error("ended too early")
		}
		time.Sleep(2 * time.Second)
		no("after its life", wss, "a.test", c.Name)

		c = issue(w, []byte("one"))
		_, s, _ = w.Find(wss, "a.test", c.Name)
		w.Revoke([]byte("other"))
		if _, _, ok := w.Find(wss, "a.test", c.Name); !ok {
			t.Error("another session's end")
		}
		w.Revoke([]byte("one"))
		no("after the session", wss, "a.test", c.Name)
		c = issue(w, []byte("two"))
		_, s, _ = w.Find(wss, "a.test", c.Name)
		w.RevokeAll(phone101)
		no("after all were revoked", wss, "a.test", c.Name)
		time.Sleep(2 * time.Second)
		c = issue(w, []byte("three"))
		if _, _, ok := w.Find(wss, "a.test", c.Name); !ok {
			t.Error("new ones do not work")
		}
	})
}

// TestDigestModes: what a domain offers, by its setting and by the transport's
// own, which comes first.
func TestDigestModes(t *testing.T) {
	inTime(t, func(t *testing.T) {
		for _, x := range []struct {
			mode     telephony.Digest
			protocol string
			listener telephony.Digest // of the transport, or empty
			want     string
		}{
			{"", "UDP", "", "MD5"}, {telephony.DigestMD5, "WSS", "", "MD5"},
			{telephony.DigestBoth, "UDP", "", "SHA-256 MD5"}, {telephony.DigestBoth, "WSS", "", "MD5"},
			{telephony.DigestSHA256, "TLS", "", "SHA-256"}, {telephony.DigestSHA256, "WSS", "", "MD5"},
			{telephony.DigestMD5, "UDP", telephony.DigestBoth, "SHA-256 MD5"}, {telephony.DigestMD5, "TLS", telephony.DigestSHA256, "SHA-256"},
			{telephony.DigestSHA256, "UDP", telephony.DigestMD5, "MD5"}, {telephony.DigestBoth, "WSS", telephony.DigestSHA256, "MD5"},
		} {
			offered := x.mode
			settings := telephony.DefaultSettings()
			if x.listener != "" {
				offered = x.listener
				id := ports.SIPUDP
				if x.protocol != "UDP" {
					id = ports.SIPTLS
				}
				settings.ListenerDigests = map[ports.ID]telephony.Digest{id: x.listener}
			}
			var snap = telephony.NewSnapshot(1, settings, []telephony.Tenant{{ID: 1, Domain: "a.test", Registration: telephony.Registration{Digest: x.mode}}},
				[]telephony.Extension{{Tenant: 1, Number: "101", HA1: hexMD5("101:a.test:pw"), HA1SHA256: "x"}})
			get := func() *telephony.Snapshot { return snap }
			r := newRig(t, Config{})
			w := NewWebPhones()
			r.reg.c.Snapshot = get
			r.reg.c.Auth = sip.NewAuthenticator(sip.AuthConfig{Algorithms: Algorithms(get), Admit: Admit(get), Temporary: w.Find})
			if x.protocol != "UDP" {
				r.stream(ports.SIPTLS, x.protocol, "c")
			}
			challenge := r.send(ask{to: "sip:101@a.test", from: "sip:101@a.test", callID: "1", cseq: 1}, "")
			got := ""
			for l := range strings.SplitSeq(challenge, "\r\n") {
				if _, v, ok := strings.Cut(l, "algorithm="); ok && strings.HasPrefix(l, "WWW-Authenticate: ") {
					alg, _, _ := strings.Cut(v, ",")
					got += " " + alg
				}
			}
			if strings.TrimSpace(got) != x.want {
				t.Errorf("%s over %s: %s", x.mode, x.protocol, challenge)
			}
			code, _ := r.register(ask{cseq: 2, lines: []string{"Contact: <sip:101@h>"}}) // MD5 with the extension's password
			if (code == "200 OK") != (offered != telephony.DigestSHA256) {
				t.Errorf("%s over %s: %s", x.mode, x.protocol, code)
			}
			c := issue(w, nil)
			r.password = c.Password
			code, _ = r.register(ask{user: c.Name, to: "sip:101@a.test", cseq: 3, lines: []string{"Contact: <sip:101@h>"}})
			if (code == "200 OK") != (x.protocol == "WSS") {
				t.Errorf("temporary credentials, %s over %s: %s", x.mode, x.protocol, code)
			}
			if code, _ = r.register(ask{user: c.Name, to: "sip:102@a.test", cseq: 3}); code == "200 OK" {
				t.Error("temporary credentials of 101 are good for 102")
			}
		}
	})
}
