package pbx

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/siptest"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// outside is a PBX with trunks to providers on loopback addresses of their own.
type outside struct {
	*PBX
	t      *testing.T
	tenant telephony.TenantID
	ids    map[string]telephony.TrunkID
}

func newOutside(t *testing.T, o Options) *outside {
	t.Helper()
	o.DataDir, o.Extensions, o.Dev, o.Ephemeral, o.Listen = t.TempDir(), 4, true, true, netip.MustParseAddr("127.0.0.1")
	o.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	p, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return &outside{PBX: p, t: t, tenant: p.store.Snapshot().Tenants()[0].ID, ids: map[string]telephony.TrunkID{}}
}

func (p *outside) change(f func(tx *store.Tx) error) {
	p.t.Helper()
	if _, err := p.store.ForTenant(p.tenant).Update(p.t.Context(), telephony.Actor{Kind: telephony.ActorSystem, Name: "test"}, f); err != nil {
		p.t.Fatal(err)
	}
}

// route makes trunks, in this order the way out of the tenant for every number,
// and 101 the answer to every call that comes in.
func (p *outside) route(trunks ...telephony.Trunk) {
	p.t.Helper()
	users, err := p.store.ForTenant(p.tenant).Users(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	tenant, _ := p.store.Snapshot().Tenant(p.tenant)
	tenant.Country = "DE"
	p.change(func(tx *store.Tx) error {
		if err := tx.PutTenant(tenant); err != nil {
			return err
		}
		for _, u := range users {
			u.Role = telephony.RoleInternational
			if err := tx.PutUser(u); err != nil {
				return err
			}
		}
		out := telephony.OutboundRule{Name: "All", Enabled: true, Priority: 1, Order: telephony.OrderListed}
		in := telephony.InboundRule{Name: "All", Enabled: true, Priority: 1, Open: telephony.Destination{Kind: telephony.ToExtension, Number: "101"}}
		plan := telephony.Routing{Plan: telephony.NumberingPlan{Country: "DE", AreaCode: "30", Outside: "0"}, TimeZone: "UTC", Currency: "EUR", Night: telephony.NightAuto}
		if err := tx.PutRoutingSettings(plan); err != nil {
			return err
		}
		for _, t := range trunks {
			t, err := tx.CreateTrunk(t)
			if err != nil {
				return err
			}
			p.ids[t.Name] = t.ID
			out.Routes = append(out.Routes, telephony.Route{Trunk: t.ID})
		}
		if _, err := tx.CreateOutboundRule(out); err != nil {
			return err
		}
		_, err := tx.CreateInboundRule(in)
		return err
	})
}

// up waits until a trunk is.
func (p *outside) up(name string) {
	p.t.Helper()
	p.is(name, telephony.TrunkUp)
}

func (p *outside) is(name string, want telephony.TrunkCondition) {
	p.t.Helper()
	var last telephony.TrunkState
	for limit := time.Now().Add(20 * time.Second); time.Now().Before(limit); time.Sleep(10 * time.Millisecond) {
		for _, st := range p.telephone.trunks.States(p.tenant) {
			if st.Trunk == p.ids[name] {
				if last = st; st.Condition == want {
					return
				}
			}
		}
	}
	p.t.Fatalf("trunk %s is %q (%s), want %q", name, last.Condition, last.Reason, want)
}

func (p *outside) phone(number string, tone float64) *siptest.Phone {
	p.t.Helper()
	facts := p.Facts()
	i := slices.IndexFunc(facts.Extensions, func(e PhoneFacts) bool { return e.Number == number })
	e := facts.Extensions[i]
	phone := siptest.NewPhone(p.t, siptest.Config{Server: p.port(ports.SIPUDP), User: e.SIPUser, Password: e.SIPPassword, Domain: e.Domain, Tone: tone})
	if err := phone.Register(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	return phone
}

func (p *outside) port(id ports.ID) netip.AddrPort {
	for _, l := range p.Facts().Listeners {
		if l.ID == id {
			return netip.AddrPortFrom(l.Addr, l.Port)
		}
	}
	p.t.Fatalf("%s does not listen", id)
	return netip.AddrPort{}
}

// talk has a call answered by who it should ring, and both hear each other.
func talk(t *testing.T, ctx context.Context, out *siptest.Call, err error, callee *siptest.Phone, tone, other float64) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	in, err := callee.WaitCall(ctx)
	if err != nil {
		t.Fatalf("nobody rings: %v; the caller got %d", err, out.Status())
	}
	if err := in.Answer(); err != nil {
		t.Fatal(err)
	}
	if err := out.Wait(ctx, siptest.Answered); err != nil {
		t.Fatal(err)
	}
	for c, hears := range map[*siptest.Call]float64{in: tone, out: other} {
		h, err := c.Hear(ctx, time.Second)
		if err == nil {
			err = h.Middle(500*time.Millisecond).Only(hears, tone+other-hears)
		}
		if err != nil {
			t.Error(err)
		}
	}
	if err := out.HangUp(); err != nil {
		t.Fatal(err)
	}
	if err := in.Wait(ctx, siptest.Ended); err != nil {
		t.Fatal(err)
	}
}

func trunkTo(p *siptest.Provider, name string, kind telephony.TrunkKind, tr telephony.TrunkTransport) telephony.Trunk {
	return telephony.Trunk{
		Name: name, Kind: kind, Enabled: true, Host: p.Addr().Addr().String(), Port: p.Addr().Port(), Transport: tr, User: "4930123", Password: "secretOfTheProvider",
		RegisterInterval: 10 * time.Minute, OptionsInterval: 10 * time.Second, Format: telephony.FormatPlus, Identity: telephony.IdentityPAI, DialledIn: "to",
		CallerID: "+4930123", DIDs: []telephony.NumberRange{{First: "+49301230", Last: "+49301239"}}, Media: telephony.SecurityOff,
	}
}

func providerOn(t *testing.T, addr, transport string, change func(*siptest.ProviderConfig)) *siptest.Provider {
	c := siptest.ProviderConfig{Config: siptest.Config{
		Listen: netip.AddrPortFrom(netip.MustParseAddr(addr), 0), Transport: transport, User: "4930123", Password: "secretOfTheProvider", Tone: 660,
	}}
	if change != nil {
		change(&c)
	}
	return siptest.NewProvider(t, c)
}

func TestCallsGoOutAndComeInOverARegisteredTrunk(t *testing.T) {
	t.Parallel()
	for i, transport := range []string{"UDP", "TCP", "TLS"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			far := providerOn(t, []string{"127.0.1.1", "127.0.1.2", "127.0.1.3"}[i], transport, func(c *siptest.ProviderConfig) {
				if c.Proxy = true; transport == "TLS" { // media are protected too, or refused
					c.Suites, c.Insists = []string{"AES_CM_128_HMAC_SHA1_80"}, true
				}
			})
			p := newOutside(t, Options{Roots: far.Roots})
			x := trunkTo(far, "Provider", telephony.TrunkRegister, telephony.TrunkTransport(strings.ToLower(transport)))
			if transport == "TLS" {
				x.Media = telephony.SecurityRequire
			}
			p.route(x)
			p.up("Provider")
			phone := p.phone("101", 440)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			out, err := phone.Call(ctx, "0030555000")
			talk(t, ctx, out, err, far.Phone, 440, 660)
			in, err := far.CallIn(ctx, "+49301235", false, siptest.CallOptions{})
			talk(t, ctx, in, err, phone, 660, 440)
			for _, st := range p.telephone.trunks.States(p.tenant) {
				if st.Calls != 0 {
					t.Errorf("%d calls are counted after the end", st.Calls)
				}
			}
			if n := len(far.Registered()); n != 1 {
				t.Errorf("%d registrations", n)
			}
		})
	}
}

func TestCallsOfPeersAreNotChallenged(t *testing.T) {
	t.Parallel()
	far := providerOn(t, "127.0.1.4", "UDP", func(c *siptest.ProviderConfig) { c.Open = true })
	p := newOutside(t, Options{})
	x := trunkTo(far, "Peer", telephony.TrunkPeer, telephony.TrunkUDP)
	x.User, x.Password = "", ""
	p.route(x)
	p.up("Peer")
	phone := p.phone("101", 440)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err := phone.Call(ctx, "0030555000")
	talk(t, ctx, out, err, far.Phone, 440, 660)
	us := p.port(ports.SIPUDP)
	to := siptest.CallOptions{Target: us}
	in, err := far.CallWith(ctx, "sip:+49301235@"+us.String(), to)
	talk(t, ctx, in, err, phone, 660, 440)
	// Not its number, and the same from somebody else.
	wrong, err := far.CallWith(ctx, "sip:+49309999@"+us.String(), to)
	if err != nil {
		t.Fatal(err)
	}
	_ = wrong.Wait(ctx, siptest.Ended)
	stranger := providerOn(t, "127.0.1.5", "UDP", nil)
	forged, err := stranger.CallWith(ctx, "sip:+49301235@"+us.String(), to)
	if err != nil {
		t.Fatal(err)
	}
	_ = forged.Wait(ctx, siptest.Ended)
	challenged := slices.ContainsFunc(stranger.Trace(), func(m siptest.Message) bool { return strings.HasPrefix(m.Text, "SIP/2.0 407") })
	if wrong.Status() != 404 || forged.Status() == 200 || !challenged {
		t.Errorf("a number of nobody's: %d; a stranger: %d, challenged %v", wrong.Status(), forged.Status(), challenged)
	}
}

func TestGatewaysRegisterWithUs(t *testing.T) {
	t.Parallel()
	p := newOutside(t, Options{})
	x := telephony.Trunk{
		Name: "Gateway", Kind: telephony.TrunkAccept, Enabled: true, Transport: telephony.TrunkUDP, User: "branch", Password: "secretOfTheGateway",
		RegisterInterval: time.Hour, Format: telephony.FormatPlus, Identity: telephony.IdentityFrom, DialledIn: "uri", CallerID: "+4930123",
		DIDs: []telephony.NumberRange{{First: "+49301230", Last: "+49301239"}}, Media: telephony.SecurityOff,
	}
	p.route(x)
	p.is("Gateway", telephony.TrunkDown)
	phone := p.phone("101", 440)
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	domain := p.store.Snapshot().Tenants()[0].Domain
	for _, id := range []ports.ID{ports.SIPUDP, ports.SIPTCP} {
		transport := map[ports.ID]string{ports.SIPUDP: "UDP", ports.SIPTCP: "TCP"}[id]
		// It says that it is somewhere else: behind NAT.
		far := siptest.NewPhone(t, siptest.Config{
			Server: p.port(id), Transport: transport, User: "branch", Password: "secretOfTheGateway", Domain: domain, Tone: 660, AnyUser: true,
			Listen: netip.MustParseAddrPort("127.0.1.6:0"), Advertise: netip.MustParseAddr("10.9.9.9"), ViaServer: true,
		})
		from := siptest.CallOptions{From: "sip:+4940555@" + domain}
		early, err := far.CallWith(ctx, "+49301235", from)
		if err != nil {
			t.Fatal(err)
		}
		_ = early.Wait(ctx, siptest.Ended)
		if early.Status() != 403 {
			t.Errorf("%s: a gateway that is not registered got %d", transport, early.Status())
		}
		if err := far.Register(ctx); err != nil {
			t.Fatal(err)
		}
		p.up("Gateway")
		out, err := phone.Call(ctx, "0030555000")
		talk(t, ctx, out, err, far, 440, 660)
		in, err := far.CallWith(ctx, "+49301235", from)
		talk(t, ctx, in, err, phone, 660, 440)
		if err := far.Unregister(ctx); err != nil {
			t.Fatal(err)
		}
		p.is("Gateway", telephony.TrunkDown)
	}
	thief := siptest.NewPhone(t, siptest.Config{Server: p.port(ports.SIPUDP), User: "branch", Password: "guessed", Domain: domain, Listen: netip.MustParseAddrPort("127.0.1.7:0")})
	if err := thief.Register(ctx); err == nil {
		t.Error("registered with a wrong password")
	}
}

// TestCallsTakeAnotherTrunkWithin4SecondsWhenOneIsCut cuts the first provider
// without a word.
func TestCallsTakeAnotherTrunkWithin4SecondsWhenOneIsCut(t *testing.T) {
	t.Parallel()
	one, two := providerOn(t, "127.0.1.8", "UDP", nil), providerOn(t, "127.0.1.9", "UDP", nil)
	p := newOutside(t, Options{})
	second := trunkTo(two, "Two", telephony.TrunkRegister, telephony.TrunkUDP)
	second.DIDs = nil
	p.route(trunkTo(one, "One", telephony.TrunkRegister, telephony.TrunkUDP), second)
	p.up("One")
	p.up("Two")
	phone := p.phone("101", 440)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	one.Cut(true)
	began := time.Now()
	out, err := phone.Call(ctx, "0030555000")
	if err != nil {
		t.Fatal(err)
	}
	in, err := two.WaitCall(ctx)
	if err != nil {
		t.Fatalf("%v; the caller got %d", err, out.Status())
	}
	took := time.Since(began)
	if t.Logf("rings with the second provider after %s", took); took > 4*time.Second {
		t.Errorf("took %s", took)
	}
	_ = in.Reject(486)
	p.is("One", telephony.TrunkDown)
}
