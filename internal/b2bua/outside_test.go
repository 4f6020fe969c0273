package b2bua

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/events"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

func one() []telephony.Trunk { return []telephony.Trunk{trunk(1)} }
func two() []telephony.Trunk { return []telephony.Trunk{trunk(1), trunk(2)} }

func TestAnExtensionCallsTheOutside(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, f, a, _ := outer(t, one(), nil, nil)
		p := s.provider(f, one()[0], 7001, nil)
		d := a.dial("00891234567", "v=0 offer-a")
		inv := p.want("INVITE")
		if u := requestURI(inv); u != "sip:+49891234567@192.0.2.50:7001" {
			t.Error(u)
		}
		if from := header(inv, "From"); !strings.HasPrefix(from, "<sip:+493022220@provider.test>") {
			t.Error(from)
		}
		if pai := header(inv, "P-Asserted-Identity"); pai != "<sip:+493022220@provider.test>" {
			t.Error(pai)
		}
		leaks(t, inv, "101")
		p.reply(inv, 183, "p1", "v=0 announcement")
		if m := a.want("183"); body(m) != "v=0 via-pbx(announcement)" {
			t.Error(body(m))
		}
		p.reply(inv, 200, "p1", "v=0 answer-p")
		p.want("ACK")
		ok := a.want("200")
		d.learn(ok)
		d.request(sip.ACK, "")
		synctest.Wait()
		if l := s.svc.Calls(1); len(l) != 1 || l[0].Direction != telephony.Outbound || l[0].Route.OutTrunk != 1 || f.live(1) != 1 {
			t.Errorf("%+v", l)
		}
		time.Sleep(5 * time.Second)
		d.request(sip.BYE, "")
		a.want("200")
		bye := p.want("BYE")
		leaks(t, bye, "101")
		p.reply(bye, 200, "", "")
		r := s.ended(telephony.EndCallerHungUp, 200)
		f.idle(t)
		want := telephony.CallRoute{Dialled: "00891234567", Sent: "+49891234567", CallerID: "+493022220", OutTrunk: 1, Class: telephony.ClassNational, Account: "101"}
		if r.Route != want || r.Direction != telephony.Outbound || r.EndedBy != telephony.SideCaller || r.Callee.Number != "+49891234567" {
			t.Errorf("%+v", r)
		}
		if len(f.answered) != 1 || f.answered[0] != "7001 183" {
			t.Error(f.answered)
		}
	})
}

// Every request within the dialog may be challenged, not only the INVITE (K02).
func TestChallengesOfAProviderAreAnswered(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, f, a, _ := outer(t, one(), nil, nil)
		p := s.provider(f, one()[0], 7001, sip.NewClientAuth("acct", "secret"))
		d := a.dial("00891234567", "v=0 offer-a")
		inv := p.want("INVITE")
		p.reply(inv, 407, "c", "", `Proxy-Authenticate: Digest realm="provider.test", nonce="n1", algorithm=MD5, qop="auth"`)
		p.want("ACK")
		again := p.want("INVITE")
		if !strings.Contains(header(again, "Proxy-Authorization"), `username="acct"`) || header(again, "CSeq") == header(inv, "CSeq") || header(again, "Call-ID") != header(inv, "Call-ID") {
			t.Error(again)
		}
		p.reply(again, 200, "p1", "v=0 answer-p")
		if ack := p.want("ACK"); header(ack, "Proxy-Authorization") != header(again, "Proxy-Authorization") {
			t.Error("the ACK does not have the INVITE's credentials:", ack)
		}
		d.learn(a.want("200"))
		d.request(sip.ACK, "")
		d.request(sip.INVITE, "v=0 hold a=sendonly")
		re := p.want("INVITE")
		if !strings.Contains(header(re, "Proxy-Authorization"), "nc=00000002") {
			t.Error("the known nonce is not used again:", re)
		}
		p.reply(re, 401, "", "", `WWW-Authenticate: Digest realm="server", nonce="n2", algorithm=SHA-256, qop="auth"`)
		p.want("ACK")
		re = p.want("INVITE")
		if header(re, "Authorization") == "" {
			t.Error(re)
		}
		p.reply(re, 200, "", "v=0 held")
		p.want("ACK")
		a.want("100")
		a.want("200")
		d.request(sip.ACK, "")
		d.request(sip.BYE, "")
		a.want("200")
		bye := p.want("BYE")
		p.reply(bye, 407, "", "", `Proxy-Authenticate: Digest realm="provider.test", nonce="n3", stale=true, algorithm=MD5, qop="auth"`)
		bye = p.want("BYE")
		if !strings.Contains(header(bye, "Proxy-Authorization"), `nonce="n3"`) {
			t.Error(bye)
		}
		p.reply(bye, 200, "", "")
		s.ended(telephony.EndCallerHungUp, 200)
		f.idle(t)
	})
}

// A phone of ours that challenges us gets nothing (digest leak).
func TestNoPhoneGetsCredentials(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, f, a, b := outer(t, one(), nil, nil)
		s.provider(f, one()[0], 7001, sip.NewClientAuth("acct", "secret"))
		a.dial("102", "v=0 offer-a")
		inv := b.want("INVITE")
		b.reply(inv, 407, "c", "", `Proxy-Authenticate: Digest realm="provider.test", nonce="n1", algorithm=MD5, qop="auth"`)
		b.want("ACK")
		a.want("480")
		b.quiet(time.Second)
	})
}

// A server that says nothing is given up in less than 4 seconds, and what it held
// is free.
func TestASilentServerIsLeftForTheNextTrunk(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, f, a, _ := outer(t, two(), nil, nil)
		p := s.provider(f, two()[0], 7001, nil)
		q := s.provider(f, two()[1], 7002, nil)
		at := time.Now()
		a.dial("00891234567", "v=0 offer-a")
		first := p.want("INVITE")
		inv := q.want("INVITE")
		if took := time.Since(at); took >= 4*time.Second {
			t.Error(took)
		}
		if header(first, "Call-ID") == header(inv, "Call-ID") {
			t.Error("one Call-ID for both")
		}
		q.reply(inv, 486, "q1", "")
		q.want("ACK")
		a.want("486")
		time.Sleep(time.Minute)
		s.ended(telephony.EndBusy, 486)
		f.idle(t)
		if got := strings.Join(f.answered, ", "); got != "7001 408, 7002 486" {
			t.Error(got)
		}
	})
}

func TestWhichAnswersOfATrunkGoOnToTheNext(t *testing.T) {
	for _, x := range []struct {
		name, answer string
		extra        []string
		next         bool
		code         string
	}{
		{"no service", "503", nil, true, ""},
		{"server error", "500", nil, true, ""},
		{"forbidden here", "403", nil, true, ""},
		{"no money", "402", nil, true, ""},
		{"timeout", "408", nil, true, ""},
		{"redirected", "302", []string{"Contact: <sip:101@a.test>"}, true, ""},
		{"credentials refused", "401", nil, true, ""},
		{"no channel", "480", []string{`Reason: Q.850;cause=34;text="No circuit"`}, true, ""},
		{"no route", "404", []string{`Reason: Q.850;cause=3`}, true, ""},
		{"busy", "486", nil, false, "486"},
		{"busy everywhere", "600", nil, false, "486"},
		{"declined", "603", nil, false, "603"},
		{"no such number", "404", nil, false, "404"},
		{"gone", "410", nil, false, "404"},
		{"absent", "480", nil, false, "480"},
		{"incomplete", "484", nil, false, "484"},
		{"a circle", "482", nil, false, "482"},
		{"busy behind a gateway", "500", []string{`Reason: Q.850;cause=17`}, false, "486"},
	} {
		t.Run(x.name, func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				s, f, a, _ := outer(t, two(), nil, nil)
				p := s.provider(f, two()[0], 7001, nil)
				q := s.provider(f, two()[1], 7002, nil)
				a.dial("00891234567", "v=0 offer-a")
				inv := p.want("INVITE")
				p.reply(inv, atoi(x.answer), "p1", "", x.extra...)
				p.want("ACK")
				if !x.next {
					a.want(x.code)
					q.quiet(5 * time.Second)
					return
				}
				inv = q.want("INVITE")
				q.reply(inv, 503, "q1", "")
				q.want("ACK")
				a.want("503")
				s.ended(telephony.EndTrunks, 503)
				f.idle(t)
			})
		})
	}
}

// Who has heard it ring must not hear it begin again.
func TestARingingCallIsNotRestartedElsewhere(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, f, a, _ := outer(t, two(), nil, nil)
		p := s.provider(f, two()[0], 7001, nil)
		q := s.provider(f, two()[1], 7002, nil)
		a.dial("00891234567", "v=0 offer-a")
		inv := p.want("INVITE")
		p.reply(inv, 180, "p1", "")
		a.want("180")
		p.reply(inv, 503, "p1", "")
		p.want("ACK")
		a.want("503")
		q.quiet(5 * time.Second)
		s.ended(telephony.EndTrunks, 503)
		f.idle(t)
	})
}

// K10: above the limit the next trunk of the rule, then 503; a call that ends
// makes room.
func TestAFullTrunkIsPassedOver(t *testing.T) {
	inTime(t, func(t *testing.T) {
		trunks := two()
		trunks[0].MaxCalls, trunks[1].MaxCalls = 1, 1
		s, f, a, b := outer(t, trunks, nil, nil)
		c := s.phone("103", 5103)
		p, q := s.provider(f, trunks[0], 7001, nil), s.provider(f, trunks[1], 7002, nil)
		first := a.dial("00891234567", "v=0 offer-a")
		inv := p.want("INVITE")
		p.reply(inv, 180, "p1", "")
		a.want("180")
		b.dial("00891234568", "v=0 offer-b")
		q.want("INVITE")
		c.dial("00891234569", "v=0 offer-c")
		c.want("503")
		first.request(sip.CANCEL, "")
		a.want("200")
		a.want("487")
		p.want("CANCEL")
		p.reply(inv, 487, "p1", "")
		p.want("ACK")
		c.dial("00891234569", "v=0 offer-c")
		p.want("INVITE")
		if f.most[1] != 1 || f.most[2] != 1 {
			t.Error(f.most)
		}
	})
}

// An emergency call goes over a full trunk, shows its number though it is
// withheld, tries every trunk whatever one says, and is told of.
func TestAnEmergencyCallGoesThrough(t *testing.T) {
	inTime(t, func(t *testing.T) {
		trunks := two()
		trunks[0].MaxCalls = 1
		admitted := 0
		s, f, a, b := outer(t, trunks, func(c *Config) {
			c.MaxCalls = 1
			c.Admit = func(telephony.TenantID, string, string) *sip.Reply { admitted++; return nil }
			c.Spend = func(o Outside) (Meter, *sip.Reply) {
				if o.Emergency {
					return nil, sip.Busy()
				}
				return nil, nil
			}
		}, nil)
		p, q := s.provider(f, trunks[0], 7001, nil), s.provider(f, trunks[1], 7002, nil)
		b.dial("00891234567", "v=0 offer-b")
		p.want("INVITE")
		a.dial("112", "v=0 offer-a", "Privacy: id")
		inv := p.want("INVITE")
		if u := requestURI(inv); !strings.HasPrefix(u, "sip:112@") || header(inv, "Privacy") != "" || !strings.Contains(header(inv, "From"), "+493022220") {
			t.Error(inv)
		}
		p.reply(inv, 404, "p1", "")
		p.want("ACK")
		inv = q.want("INVITE")
		q.reply(inv, 200, "q1", "v=0 rescue")
		q.want("ACK")
		a.want("200")
		if admitted != 1 {
			t.Errorf("asked %d times whether a call is admitted", admitted)
		}
		told := 0
		for len(s.events.C) > 0 {
			if e, ok := (<-s.events.C).(events.EmergencyCall); ok {
				told++
				if e.Name != "rescue" || e.Call.Route.Account != "101" || e.Call.Route.CallerID != "+493022220" {
					t.Errorf("%+v", e)
				}
			}
		}
		if told != 1 {
			t.Errorf("told %d times", told)
		}
	})
}

func TestAWithheldNumberStaysWithheld(t *testing.T) {
	for identity, trusted := range map[telephony.IdentityHeader]string{
		telephony.IdentityFrom: "", telephony.IdentityPAI: "P-Asserted-Identity", telephony.IdentityPPI: "P-Preferred-Identity", telephony.IdentityRPID: "Remote-Party-ID",
	} {
		t.Run(string(identity), func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				trunks := one()
				trunks[0].Identity = identity
				trunks[0].Headers = []telephony.HeaderRule{{Name: "X-Who", Value: "{caller}"}}
				s, f, a, _ := outer(t, trunks, nil, nil)
				p := s.provider(f, trunks[0], 7001, nil)
				a.dial("00891234567", "v=0 offer-a", "Privacy: id")
				inv := p.want("INVITE")
				if !strings.HasPrefix(header(inv, "From"), `"Anonymous" <sip:anonymous@anonymous.invalid>`) || header(inv, "Privacy") != "id" ||
					header(inv, "X-Who") != "anonymous" || strings.Contains(header(inv, "Contact"), "+4930") {
					t.Error(inv)
				}
				if trusted != "" && !strings.Contains(header(inv, trusted), "+493022220") {
					t.Errorf("the provider is not told in %s: %s", trusted, inv)
				}
				if trusted == "" && strings.Contains(inv, "+493022220") {
					t.Error(inv)
				}
			})
		})
	}
}

func TestTheRulesOfATrunkChangeHeaders(t *testing.T) {
	inTime(t, func(t *testing.T) {
		trunks := one()
		trunks[0].Headers = []telephony.HeaderRule{
			{Name: "From", Value: "<sip:acct@provider.test>"}, {Name: "P-Asserted-Identity", Remove: true},
			{Name: "X-Callee", Value: "{callee};by={trunk}"}, {Name: "User-Agent", Value: "box"}, {Name: "Alert-Info", Value: "<urn:x>", Inbound: true},
		}
		s, f, a, _ := outer(t, trunks, nil, nil)
		p := s.provider(f, trunks[0], 7001, nil)
		a.dial("00891234567", "v=0 offer-a")
		inv := p.want("INVITE")
		if !strings.HasPrefix(header(inv, "From"), "<sip:acct@provider.test>;tag=") || header(inv, "P-Asserted-Identity") != "" ||
			header(inv, "X-Callee") != "+49891234567;by=trunk 1" || header(inv, "User-Agent") != "box" || strings.Count(inv, "User-Agent") != 1 || header(inv, "Alert-Info") != "" {
			t.Error(inv)
		}
	})
}
