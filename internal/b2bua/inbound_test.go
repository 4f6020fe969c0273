package b2bua

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// toExtensions sends calls of DIDs to extensions: ...01 to 101, ...02 to 102.
func toExtensions(r *telephony.Routing) {
	r.Inbound = []telephony.InboundRule{{
		Tenant: 1, ID: 1, Name: "direct", Enabled: true, Priority: 1,
		DIDs: []telephony.NumberRange{{First: "+4930222201", Last: "+4930222208"}},
		Open: telephony.Destination{Kind: telephony.ToDirect, Number: "101"},
	}}
}

// callsIn has a provider call a number of ours.
func (p *phone) callsIn(number string, extra ...string) *dialogue {
	p.t.Helper()
	d := p.call(number)
	d.local = fmt.Sprintf(`"Carla" <sip:+49301111@provider.test>;tag=in%d`, p.count)
	d.remote, d.target = "<sip:"+number+"@192.0.2.1>", "sip:"+number+"@192.0.2.1"
	for i, h := range extra {
		if from, ok := strings.CutPrefix(h, "From: "); ok {
			d.local, extra = from+fmt.Sprintf(";tag=in%d", p.count), append(extra[:i:i], extra[i+1:]...)
			break
		}
	}
	d.request(sip.INVITE, "v=0 offer-p", extra...)
	return d
}

func TestATrunkCallsAnExtension(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, f, _, b := outer(t, one(), nil, toExtensions)
		p := s.provider(f, one()[0], 7001, nil)
		d := p.callsIn("+4930222202")
		p.want("100") // and no challenge (K04)
		inv := b.want("INVITE")
		if from := header(inv, "From"); !strings.HasPrefix(from, `"Carla" <sip:+49301111@a.test>`) {
			t.Error(from)
		}
		b.reply(inv, 180, "b1", "")
		leaks(t, p.want("180"))
		b.reply(inv, 200, "b1", "v=0 answer-b")
		b.want("ACK")
		ok := p.want("200")
		leaks(t, ok, "102", "Bert")
		d.learn(ok)
		d.request(sip.ACK, "")
		synctest.Wait()
		if f.live(1) != 1 {
			t.Error("the trunk does not count it")
		}
		// Nobody outside sends people on, on our account.
		d.request(sip.REFER, "", "Refer-To: <sip:00881234@a.test>")
		p.want("403")
		// The phone of ours holds, and is transferred from: the trunk is told nothing.
		db := b.dialogueOf(inv, "b1")
		db.request(sip.INVITE, "v=0 hold a=sendonly")
		re := p.want("INVITE")
		leaks(t, re, "102", "Bert")
		p.reply(re, 200, "", "v=0 held")
		p.want("ACK")
		b.want("100")
		b.want("200")
		db.request(sip.ACK, "")
		db.request(sip.BYE, "")
		b.want("200")
		bye := p.want("BYE")
		leaks(t, bye, "102")
		p.reply(bye, 200, "", "")
		r := s.ended(telephony.EndCalleeHungUp, 200)
		want := telephony.CallRoute{Dialled: "+4930222202", CallerID: "+49301111", InTrunk: 1, DID: "+4930222202"}
		if r.Route != want || r.Direction != telephony.Inbound || r.EndedBy != telephony.SideCallee || r.Caller.Number != "+49301111" || r.Callee.Number != "102" {
			t.Errorf("%+v", r)
		}
		f.idle(t)
	})
}

func TestWhatATrunkIsAnswered(t *testing.T) {
	for _, x := range []struct {
		name, number string
		extra        []string
		trunk        func(*telephony.Trunk)
		rules        func(*telephony.Routing)
		code         string
		reason       telephony.EndReason
	}{
		{"a number of nobody", "+4930222299", nil, nil, nil, "404", telephony.EndNotFound},
		{"a number of somebody else", "+493055555", nil, nil, nil, "404", telephony.EndNotFound},
		{"an extension", "102", nil, nil, nil, "404", telephony.EndNotFound},
		{"the outside", "+881612345", nil, nil, nil, "404", telephony.EndNotFound},
		{"busy", "+4930222202", nil, nil, func(r *telephony.Routing) { r.Inbound[0].Open = telephony.Destination{Kind: telephony.ToBusy} }, "486", telephony.EndBusy},
		{"hung up", "+4930222202", nil, nil, func(r *telephony.Routing) { r.Inbound[0].Open = telephony.Destination{Kind: telephony.ToHangUp} }, "603", telephony.EndRejected},
		{"blocked", "+4930222202", nil, nil, func(r *telephony.Routing) { r.Blocked = []telephony.CallerBlock{{Caller: "+49301111"}} }, "603", telephony.EndNotAllowed},
		{"anonymous", "+4930222202", []string{"Privacy: id"}, nil, func(r *telephony.Routing) { r.RejectAnonymous = true }, "433", telephony.EndNotAllowed},
		{"a circle", "+4930222202", []string{"Diversion: <sip:+4930222201@x>;counter=6"}, nil, nil, "482", telephony.EndFailed},
		{"a takeover", "+4930222202", []string{"Replaces: x;to-tag=1;from-tag=2"}, nil, nil, "481", telephony.EndNotFound},
		{"one too many", "+4930222202", nil, func(t *telephony.Trunk) { t.MaxCalls = -1 }, nil, "503", telephony.EndTrunks},
	} {
		t.Run(x.name, func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				trunks := one()
				if x.trunk != nil {
					trunks[0].MaxCalls = 1
				}
				s, f, _, b := outer(t, trunks, nil, func(r *telephony.Routing) {
					toExtensions(r)
					if x.rules != nil {
						x.rules(r)
					}
				})
				p := s.provider(f, trunks[0], 7001, nil)
				if x.trunk != nil {
					release, _ := f.Take(1, 1, false)
					defer release()
				}
				d := p.callsIn(x.number, x.extra...)
				p.want("100")
				no := p.want(x.code)
				leaks(t, no)
				d.refuseAck(no)
				b.quiet(time.Second)
				s.ended(x.reason, atoi(x.code))
				if x.trunk == nil {
					f.idle(t)
				}
			})
		})
	}
}

// A trunk brings calls, and nothing else (K04); and a stranger is challenged as
// ever.
func TestATrunkMayOnlyCall(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, f, _, _ := outer(t, one(), nil, toExtensions)
		p := s.provider(f, one()[0], 7001, nil)
		d := p.call("102")
		d.request(sip.MESSAGE, "")
		p.want("405")
		x := s.phone("stranger", 7777)
		x.callsIn("+4930222202")
		x.want("407")
	})
}

func TestWhoCallsFromATrunk(t *testing.T) {
	for _, x := range []struct {
		name        string
		trunk       func(*telephony.Trunk)
		extra       []string
		from, alert string
	}{
		{"From", nil, nil, `"Carla" <sip:+49301111@a.test>`, ""},
		{"national", nil, []string{"From: <sip:0301111@provider.test>"}, `<sip:+49301111@a.test>`, ""},
		{"asserted", nil, []string{"P-Asserted-Identity: <sip:+49302222@provider.test>"}, `<sip:+49302222@a.test>`, ""},
		{"asserted as tel", nil, []string{"P-Asserted-Identity: <tel:+49302222;phone-context=x>"}, `<sip:+49302222@a.test>`, ""},
		{"asserted, not trusted", func(t *telephony.Trunk) { t.TrustIdentity = false }, []string{"P-Asserted-Identity: <sip:+49302222@provider.test>"}, `"Carla" <sip:+49301111@a.test>`, ""},
		{"withheld", nil, []string{"Privacy: id", "P-Asserted-Identity: <sip:+49302222@provider.test>"}, `"Anonymous" <sip:anonymous@anonymous.invalid>`, ""},
		{"anonymous", nil, []string{"From: <sip:anonymous@anonymous.invalid>"}, `"Anonymous" <sip:anonymous@anonymous.invalid>`, ""},
		{"by a rule", func(t *telephony.Trunk) {
			t.Headers = []telephony.HeaderRule{{Inbound: true, Name: "P-Asserted-Identity", Value: "<sip:+49303333@x>"}, {Inbound: true, Name: "Alert-Info", Value: "<urn:alert:{did}>"}}
		}, nil, `<sip:+49303333@a.test>`, "<urn:alert:+4930222202>"},
		{"an extension's name", nil, []string{"From: <sip:101@provider.test>"}, "", ""},
		{"hostile", nil, []string{"From: \"<script>\x01\" <sip:%0d%0aX@provider.test>"}, "", ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				trunks := one()
				if x.trunk != nil {
					x.trunk(&trunks[0])
				}
				s, f, _, b := outer(t, trunks, nil, toExtensions)
				p := s.provider(f, trunks[0], 7001, nil)
				p.callsIn("+4930222202", x.extra...)
				inv := b.want("INVITE")
				if from := header(inv, "From"); x.from != "" && !strings.HasPrefix(from, x.from+";") || strings.HasPrefix(from, "<sip:101@") {
					t.Error(from)
				}
				if header(inv, "Alert-Info") != x.alert {
					t.Error(inv)
				}
				if strings.Contains(x.name, "withheld") && strings.Contains(inv, "302222") {
					t.Error(inv)
				}
			})
		})
	}
}

// From outside and out again: on the account of who forwards, with both trunks
// counted, the media relayed, and the forwarder's number in Diversion.
func TestACallFromOutsideIsForwardedOutside(t *testing.T) {
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprint("keep ", keep), func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				trunks := two()[:1]
				trunks[0].KeepCallerID = keep
				s, f, _, _ := outer(t, trunks, nil, toExtensions)
				routing := s.snap.Load().Routing(1)
				s.handle(map[string]telephony.CallHandling{"102": {ForwardAlways: "00891234567"}})
				s.snap.Store(s.snap.Load().WithRouting(trunks, map[telephony.TenantID]telephony.Routing{1: *routing}))
				p := s.provider(f, trunks[0], 7001, nil)
				d := p.callsIn("+4930222202")
				p.want("100")
				p.want("181")
				inv := p.want("INVITE")
				shown, div := header(inv, "From"), header(inv, "Diversion")
				want := "<sip:+4930222202@provider.test>"
				if keep {
					want = "<sip:+49301111@provider.test>"
				}
				if !strings.HasPrefix(shown, want) || div != "<sip:+4930222202@provider.test>;reason=unconditional;counter=1" || !strings.Contains(header(inv, "History-Info"), "cause=302") {
					t.Error(inv)
				}
				leaks(t, inv, "102")
				if body(inv) != "v=0 via-pbx(offer-p)" {
					t.Error(body(inv))
				}
				p.reply(inv, 200, "p1", "v=0 answer-far")
				p.want("ACK")
				ok := p.want("200")
				if body(ok) != "v=0 via-pbx(answer-far)" {
					t.Error(body(ok))
				}
				d.learn(ok)
				d.request(sip.ACK, "")
				synctest.Wait()
				if f.live(1) != 2 {
					t.Errorf("the trunk counts %d", f.live(1))
				}
				d.request(sip.BYE, "")
				p.want("200")
				bye := p.want("BYE")
				p.reply(bye, 200, "", "")
				r := s.ended(telephony.EndCallerHungUp, 200)
				f.idle(t)
				if r.Direction != telephony.Inbound || r.Route.InTrunk != 1 || r.Route.OutTrunk != 1 || r.Route.Account != "102" || r.Route.Sent != "+49891234567" {
					t.Errorf("%+v", r.Route)
				}
			})
		})
	}
}

// Two numbers that forward to each other by way of a provider that tells nothing
// of it end.
func TestACircleByWayOfTheProviderEnds(t *testing.T) {
	inTime(t, func(t *testing.T) {
		trunks := one()
		s, f, _, _ := outer(t, trunks, nil, toExtensions)
		routing := s.snap.Load().Routing(1)
		s.handle(map[string]telephony.CallHandling{"102": {ForwardAlways: "00302222-03"}, "103": {ForwardAlways: "00302222-02"}})
		s.handle(map[string]telephony.CallHandling{"102": {ForwardAlways: "0030222203"}, "103": {ForwardAlways: "0030222202"}})
		s.snap.Store(s.snap.Load().WithRouting(trunks, map[telephony.TenantID]telephony.Routing{1: *routing}))
		p := s.provider(f, trunks[0], 7001, nil)
		p.callsIn("+4930222202")
		invites := 0
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
			select {
			case m := <-p.in:
				switch {
				case strings.HasPrefix(m, "INVITE"):
					if invites++; invites > 100 {
						t.Fatal("it goes on for ever")
					}
					number, _, _ := strings.Cut(strings.TrimPrefix(requestURI(m), "sip:"), "@")
					p.reply(m, 100, "", "")
					p.callsIn(number)
				case strings.HasPrefix(m, "SIP/2.0 482"):
					if invites > 4*maxForwards {
						t.Errorf("it went round %d times", invites)
					}
					return
				}
			case <-time.After(time.Second):
			}
		}
		t.Errorf("no 482 after %d times round", invites)
	})
}

// What sends a call on to the outside obeys the plan of who does: 302, blind and
// attended transfer.
func TestSendingOnObeysTheRoleOfWhoDoes(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, f, a, b := outer(t, one(), nil, toExtensions)
		routing := s.snap.Load().Routing(1)
		s.set(func(*telephony.Tenant) {}, func(e *telephony.Extension) {
			if e.Number == "102" {
				e.Role = telephony.RoleStandard
			}
		})
		s.snap.Store(s.snap.Load().WithRouting(one(), map[telephony.TenantID]telephony.Routing{1: *routing}))
		p := s.provider(f, one()[0], 7001, nil)
		// 101 may call the outside, 102 may not: its 302 is 102's doing.
		a.dial("102", "v=0 offer-a")
		inv := b.want("INVITE")
		b.reply(inv, 302, "b0", "", "Contact: <sip:00891234567@a.test>")
		b.want("ACK")
		a.want("181")
		a.want("480")
		// Neither may it transfer there.
		_, db := talking(a, b)
		db.request(sip.REFER, "", "Refer-To: <sip:00891234567@a.test>")
		b.want("202")
		n := b.want("NOTIFY")
		for !strings.Contains(body(n), "403") && !strings.Contains(body(n), "503") {
			b.reply(n, 200, "", "")
			n = b.want("NOTIFY")
		}
		p.quiet(time.Second)
	})
}

func TestABlindTransferToTheOutside(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, f, a, b := outer(t, one(), nil, toExtensions)
		p := s.provider(f, one()[0], 7001, nil)
		da, db := talking(a, b)
		da.request(sip.REFER, "", "Refer-To: <sip:00891234567@a.test>")
		a.want("202")
		a.reply(a.want("NOTIFY"), 200, "", "")
		inv := p.want("INVITE")
		leaks(t, inv, "101", "102", "Referred-By")
		p.reply(inv, 200, "p1", "v=0 far")
		p.want("ACK")
		dp := p.dialogueOf(inv, "p1")
		a.reply(a.want("NOTIFY"), 200, "", "")
		re := b.want("INVITE")
		if body(re) != "v=0 via-pbx(far)" {
			t.Error(body(re))
		}
		b.reply(re, 200, "", "v=0 b-again")
		b.want("ACK")
		bye := a.want("BYE")
		a.reply(bye, 200, "", "")
		synctest.Wait()
		<-s.records
		l := s.svc.Calls(1)
		if len(l) != 1 || l[0].Direction != telephony.Outbound || l[0].Route.Account != "101" || l[0].Route.OutTrunk != 1 {
			t.Fatalf("%+v", l)
		}
		// Now 102 sends the one outside on to 103: the line is held on.
		c := s.phone("103", 5103)
		c.register()
		db.request(sip.REFER, "", "Refer-To: <sip:103@a.test>")
		b.want("202")
		b.reply(b.want("NOTIFY"), 200, "", "")
		inv = c.want("INVITE")
		c.reply(inv, 200, "c1", "v=0 answer-c")
		c.want("ACK")
		re = p.want("INVITE")
		leaks(t, re, "102", "103")
		p.reply(re, 200, "", "v=0 far-again")
		p.want("ACK")
		synctest.Wait()
		l = s.svc.Calls(1)
		if len(l) != 1 || l[0].Direction != telephony.Outbound || l[0].Route.OutTrunk != 1 || l[0].Route.Account != "101" || f.live(1) != 1 {
			t.Fatalf("%+v, trunk carries %d", l, f.live(1))
		}
		dp.request(sip.BYE, "")
		p.want("200")
		time.Sleep(time.Minute)
		f.idle(t)
	})
}
