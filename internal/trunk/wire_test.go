package trunk

import (
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ringfence/internal/dialout"
	"ringfence/internal/ports"
	"ringfence/internal/sip"
	"ringfence/internal/siptest"
	"ringfence/internal/telephony"
)

// real is a service with real sockets and one trunk to a provider of siptest.
func real(t *testing.T, p *siptest.Provider, x telephony.Trunk) *Service {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	e := sip.New(sip.Config{Logger: logger})
	t.Cleanup(func() { e.Close() })
	row, _ := ports.Lookup(ports.Table(), ports.SIPUDP)
	row.First, row.Last = 0, 0
	if err := e.Reconcile([]sip.Bind{{Service: row, Addr: netip.MustParseAddr("127.0.0.1")}}); err != nil {
		t.Fatal(err)
	}
	snap := telephony.NewSnapshot(1, telephony.Settings{}, tenants, nil).WithRouting([]telephony.Trunk{x}, nil)
	s := New(Config{
		Endpoint: e, Snapshot: func() *telephony.Snapshot { return snap }, Dial: dialout.Dialer{AllowLoopback: true}, Roots: p.Roots, Logger: logger,
		Resolver: &names{addrs: map[string][]netip.Addr{"provider.test": {netip.MustParseAddr("127.0.0.1")}, "other.test": {netip.MustParseAddr("127.0.0.1")}}, ttl: time.Hour},
	})
	t.Cleanup(s.Close)
	s.Reconcile(snap)
	return s
}

func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for limit := time.Now().Add(20 * time.Second); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("%s: not in time", what)
		}
	}
}

func account(p *siptest.Provider, tr telephony.TrunkTransport) telephony.Trunk {
	x := provider()
	x.Transport, x.Port = tr, p.Addr().Port()
	return x
}

func newProvider(t *testing.T, tr telephony.TrunkTransport, change func(*siptest.ProviderConfig)) *siptest.Provider {
	c := siptest.ProviderConfig{
		Config: siptest.Config{Listen: netip.MustParseAddrPort("127.0.0.1:0"), Transport: strings.ToUpper(string(tr)), User: "4930123", Password: "secret"},
		Capabilities: "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 0 RTP/AVP 8 0 96 101\r\n" +
			"a=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n",
	}
	if change != nil {
		change(&c)
	}
	return siptest.NewProvider(t, c)
}

func TestTrunkOverEachTransport(t *testing.T) {
	t.Parallel()
	for _, tr := range []telephony.TrunkTransport{telephony.TrunkUDP, telephony.TrunkTCP, telephony.TrunkTLS} {
		t.Run(string(tr), func(t *testing.T) {
			t.Parallel()
			p := newProvider(t, tr, func(c *siptest.ProviderConfig) { c.Algorithms = []string{"MD5", "SHA-256"} })
			s := real(t, p, account(p, tr))
			until(t, "registration", func() bool { return !s.Down(1, 7) && len(p.Registered()) == 1 })
			w := s.Ways(1, 7)
			if len(w) != 1 || w[0].Flow.Protocol() != strings.ToUpper(string(tr)) || w[0].Domain != "provider.test" {
				t.Errorf("%+v", w)
			}
			contact := p.Registered()[0]
			if port := w[0].Flow.Local.Port(); !strings.Contains(contact.URI, w[0].Contact+"@127.0.0.1:") || port == 0 || contact.From.Port() != port {
				t.Errorf("registered %s from %s", contact.URI, contact.From)
			}
			if last := p.Requests("REGISTER"); !strings.Contains(last[len(last)-1].GetHeader("Authorization").Value(), "SHA-256") {
				t.Error("not the strongest algorithm")
			}
			if tr == telephony.TrunkUDP {
				return
			}
			// The connection breaks: a new one is made, and registered on.
			p.HangUp()
			until(t, "registration on a new connection", func() bool {
				list := p.Registered()
				return len(list) > 0 && list[len(list)-1].From != contact.From && !s.Down(1, 7)
			})
			s.Close()
			for _, c := range p.Registered() {
				if c.From != contact.From { // what the dead connection had runs out
					t.Errorf("still registered from %s", c.From)
				}
			}
		})
	}
}

func TestTrunkDoesNotTrustAnotherCertificate(t *testing.T) {
	t.Parallel()
	p := newProvider(t, telephony.TrunkTLS, nil)
	x := account(p, telephony.TrunkTLS)
	x.Host = "other.test"
	s := real(t, p, x)
	until(t, "refusal", func() bool { return s.States(1)[0].Condition == telephony.TrunkDown })
	if r := s.States(1)[0].Reason; !strings.Contains(r, "certificate of other.test") || len(p.Requests("")) != 0 {
		t.Errorf("%s; %d requests", r, len(p.Requests("")))
	}
}

func steps(x telephony.TrunkTest) (text string) {
	for _, s := range x.Steps {
		state := "failed"
		if s.Skipped {
			state = "skipped"
		} else if s.OK {
			state = "ok"
		}
		text += s.Name + "=" + state + " "
	}
	return strings.TrimSpace(text)
}

func TestSelfTestTellsWhatIsWrong(t *testing.T) {
	t.Parallel()
	good := newProvider(t, telephony.TrunkTLS, nil)
	udp := newProvider(t, telephony.TrunkUDP, nil)
	silent := newProvider(t, telephony.TrunkUDP, nil)
	silent.Cut(true)
	for _, c := range []struct {
		name   string
		p      *siptest.Provider
		change func(*telephony.Trunk)
		want   string
	}{
		{"good over TLS", good, nil, "dns=ok connect=ok tls=ok options=ok register=ok codecs=ok nat=ok"},
		{"good over UDP", udp, func(x *telephony.Trunk) { x.Transport = telephony.TrunkUDP }, "dns=ok connect=ok options=ok register=ok codecs=ok nat=ok"},
		{"wrong password", udp, func(x *telephony.Trunk) { x.Transport, x.Password = telephony.TrunkUDP, "no" }, "dns=ok connect=ok options=ok register=failed codecs=ok nat=ok"},
		{"peer", udp, func(x *telephony.Trunk) { x.Transport, x.Kind = telephony.TrunkUDP, telephony.TrunkPeer }, "dns=ok connect=ok options=ok register=skipped codecs=ok nat=ok"},
		{"switched off", udp, func(x *telephony.Trunk) { x.Transport, x.Enabled = telephony.TrunkUDP, false }, "dns=ok connect=ok options=ok register=ok codecs=ok nat=ok"},
		{"unknown name", good, func(x *telephony.Trunk) { x.Host = "nobody.test" }, "dns=failed"},
		{"another certificate", good, func(x *telephony.Trunk) { x.Host = "other.test" }, "dns=ok connect=ok tls=failed"},
		{"nobody listens", good, func(x *telephony.Trunk) { x.Port = 1 }, "dns=ok connect=failed"},
		{"silent", silent, func(x *telephony.Trunk) { x.Transport = telephony.TrunkUDP }, "dns=ok connect=ok options=failed register=failed codecs=skipped nat=skipped"},
		{"metadata", good, func(x *telephony.Trunk) { x.Host = "169.254.169.254" }, "dns=failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x := account(c.p, telephony.TrunkTLS)
			if c.change != nil {
				c.change(&x)
			}
			s := real(t, c.p, x)
			got, err := s.Test(t.Context(), 1, 7)
			if err != nil || steps(got) != c.want || got.OK != !strings.Contains(c.want, "failed") {
				t.Errorf("%s (%v, %v), want %s: %+v", steps(got), got.OK, err, c.want, got.Steps)
			}
			if strings.Contains(c.want, "codecs=ok") && strings.Join(got.Codecs, " ") != "PCMA PCMU opus telephone-event" {
				t.Errorf("codecs %v", got.Codecs)
			}
			if strings.Contains(c.want, "nat=ok") && (got.Seen != got.Ours || !got.Seen.IsValid()) {
				t.Errorf("seen at %s, sent from %s", got.Seen, got.Ours)
			}
			for _, st := range got.Steps {
				if strings.Contains(st.Detail, "secret") {
					t.Error("the password shows")
				}
			}
		})
	}
	if _, err := (&Service{c: Config{Snapshot: func() *telephony.Snapshot { return telephony.NewSnapshot(1, telephony.Settings{}, nil, nil) }}}).Test(t.Context(), 1, 1); err == nil {
		t.Error("a trunk that is not was tested")
	}
}
