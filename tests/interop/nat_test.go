package interop

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/siptest"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
	"ringfence/tests/netlab"
	"ringfence/tests/pbxproc"
)

// rules loads a ruleset into the packet filter of a namespace.
func rules(t *testing.T, ns *netlab.Namespace, text string) {
	t.Helper()
	cmd := ns.Command(t.Context(), "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
}

func sysctl(t *testing.T, ns *netlab.Namespace, settings ...string) {
	t.Helper()
	if out, err := ns.Command(t.Context(), "sysctl", append([]string{"-qw"}, settings...)...).CombinedOutput(); err != nil {
		t.Fatalf("sysctl: %v: %s", err, out)
	}
}

// joined joins namespaces with a cable each.
func joined(t *testing.T, a *netlab.Namespace, aAddr string, b *netlab.Namespace, bAddr, name string) {
	t.Helper()
	if err := netlab.Join(a, name, []string{aAddr}, b, name, []string{bAddr}); err != nil {
		t.Fatal(err)
	}
}

// phoneIn starts a phone in a namespace as an extension; it is not registered.
func phoneIn(t *testing.T, p *pbxproc.Process, ns *netlab.Namespace, addr string, server netip.AddrPort, over ports.ID, number string, tone float64, more ...func(*siptest.Config)) *siptest.Phone {
	t.Helper()
	e := p.Extension(number)
	proto := strings.ToUpper(transport(over))
	if over == ports.EdgeWSS {
		proto = "WSS"
	}
	c := siptest.Config{
		Transport: proto, Dial: from(ns, addr), Server: server, User: e.SIPUser, Password: e.SIPPassword, Domain: e.Domain, Tone: tone,
		Listen: netip.AddrPortFrom(netip.MustParseAddr(addr), 0), ListenUDP: ns.ListenUDP, ViaServer: true,
	}
	for _, f := range more {
		f(&c)
	}
	return siptest.NewPhone(t, c)
}

func registered(t *testing.T, phones ...*siptest.Phone) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	for _, p := range phones {
		if err := p.Register(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// converse has a call b; both must hear each other.
func converse(t *testing.T, a, b *siptest.Phone, number string, toneA, toneB float64) (out, in *siptest.Call) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out, in = connect(ctx, t, a, b, number)
	hear(ctx, t, out, toneB)
	hear(ctx, t, in, toneA)
	if err := out.HangUp(); err != nil {
		t.Fatal(err)
	}
	if err := in.Wait(ctx, siptest.Ended); err != nil {
		t.Fatal(err)
	}
	return out, in
}

// hear waits until a phone has heard a tone for a while.
func hear(ctx context.Context, t *testing.T, c *siptest.Call, tone float64) {
	t.Helper()
	h, err := c.Hear(ctx, 800*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if h.Share(tone) < 0.8 {
		t.Errorf("heard %s, want %.0f Hz", h, tone)
	}
}

// home is a PBX on the Internet and a home behind a NAT that keeps mappings for
// 18 s and changes the port of each.
type home struct {
	pbx              *pbxproc.Process
	host, nat, inner *netlab.Namespace
}

func newHome(t *testing.T) *home {
	t.Helper()
	need(t, "nft")
	h := &home{host: netlab.New(t, "far-pbx"), nat: netlab.New(t, "far-nat"), inner: netlab.New(t, "far-home")}
	joined(t, h.host, "198.51.100.1/24", h.nat, "198.51.100.2/24", "wan")
	joined(t, h.nat, "192.168.77.1/24", h.inner, "192.168.77.10/24", "lan")
	if err := h.inner.IP("addr", "add", "192.168.77.11/24", "dev", "lan"); err != nil {
		t.Fatal(err)
	}
	for _, ns := range []struct {
		ns  *netlab.Namespace
		via string
	}{{h.inner, "192.168.77.1"}, {h.host, "198.51.100.2"}} {
		if err := ns.ns.IP("route", "add", "default", "via", ns.via); err != nil {
			t.Fatal(err)
		}
	}
	rules(t, h.nat, `table ip nat { chain post { type nat hook postrouting priority srcnat
		oifname "wan" meta l4proto { tcp, udp } masquerade to :20000-29999 random; }; }
		table ip filter { chain forward { type filter hook forward priority filter; policy drop
		ct state established,related accept
		iifname "lan" accept; }; }`)
	sysctl(t, h.nat, "net.ipv4.ip_forward=1", "net.netfilter.nf_conntrack_udp_timeout=18", "net.netfilter.nf_conntrack_udp_timeout_stream=18")
	rules(t, h.host, `table ip dns { counter asked { };
		chain out { type filter hook output priority filter
		udp dport 53 counter name asked
		tcp dport 53 counter name asked; }; }`)
	h.pbx = pbxproc.Start(t, h.host, "198.51.100.1")
	return h
}

// phone starts a phone at home and registers it.
func (h *home) phone(t *testing.T, over ports.ID, addr, number string, tone float64, more ...func(*siptest.Config)) *siptest.Phone {
	t.Helper()
	p := phoneIn(t, h.pbx, h.inner, addr, h.pbx.Addr(over), over, number, tone, more...)
	registered(t, p)
	return p
}

// flush makes the NAT forget its mappings: its line was down for a moment.
func (h *home) flush(t *testing.T) {
	t.Helper()
	for _, state := range []string{"down", "up"} {
		if err := h.nat.IP("link", "set", "wan", state); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(300 * time.Millisecond)
}

// sources lists where the PBX sees the phones of an extension.
func (h *home) sources(t *testing.T, number string) (found []string) {
	t.Helper()
	var list struct {
		Items []struct{ Number, Source string }
	}
	if err := h.pbx.Admin(t).Do(t.Context(), "GET", "/registrations", nil, &list); err != nil {
		t.Fatal(err)
	}
	for _, r := range list.Items {
		if r.Number == number {
			found = append(found, r.Source)
		}
	}
	if len(found) == 0 {
		t.Fatalf("%s is not in %v", number, list)
	}
	return found
}

// Phones behind a NAT, whose Contact, Via and SDP name private addresses, call
// and are called over the edge with audio both ways, also with each other; the
// PBX keeps their mappings open, and follows them to new ones.
func TestPhonesBehindNAT(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	outside := phoneIn(t, h.pbx, h.host, "198.51.100.1", h.pbx.Addr(ports.SIPUDP), ports.SIPUDP, "101", 440)
	registered(t, outside)
	udp := h.phone(t, ports.EdgeUDP, "192.168.77.10", "102", 660)
	tcp := h.phone(t, ports.EdgeTCP, "192.168.77.11", "103", 880)
	if s := h.sources(t, "102"); len(s) != 1 || !strings.HasPrefix(s[0], "198.51.100.2:2") {
		t.Fatalf("102 is seen at %v: that is no NAT", s)
	}
	converse(t, udp, outside, "101", 660, 440)
	converse(t, outside, udp, "102", 440, 660)
	converse(t, tcp, outside, "101", 880, 440)
	converse(t, outside, tcp, "103", 440, 880)
	converse(t, udp, tcp, "103", 660, 880)
	converse(t, tcp, udp, "102", 880, 660)

	if err := h.pbx.Admin(t).Do(t.Context(), "PUT", "/tenant", map[string]any{
		"name": "Dev", "digest": "md5", "tls_only": false, "max_contacts": 10, "qualify_seconds": 15, "qualify_failures": 3,
	}, nil); err != nil {
		t.Fatal(err)
	}
	time.Sleep(34 * time.Second) // the mapping would be gone after 18
	converse(t, outside, udp, "102", 440, 660)
	converse(t, outside, tcp, "103", 440, 880)

	before := h.sources(t, "102")
	h.flush(t)
	registered(t, udp)
	if after := h.sources(t, "102"); len(after) != 1 || after[0] == before[0] {
		t.Errorf("seen at %v, then at %v", before, after)
	}
	converse(t, outside, udp, "102", 440, 660)
	converse(t, udp, outside, "101", 660, 440)

	// In a call, its next offer is what the PBX hears of it from there.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out, in := connect(ctx, t, udp, outside, "101")
	hear(ctx, t, out, 440)
	hear(ctx, t, in, 660)
	h.flush(t)
	if err := out.ReInvite(ctx, siptest.Offer{}); err != nil {
		t.Fatal(err)
	}
	out.Forget()
	in.Forget()
	hear(ctx, t, out, 440)
	hear(ctx, t, in, 660)
	if err := in.HangUp(); err != nil {
		t.Fatal(err)
	}
}

// A phone on WebSocket names a host that does not exist in Via and Contact, as
// browsers do, whose names end in .invalid (RFC 7118 section
// 5): calls reach it on its WebSocket, and nobody is asked for the name.
func TestBrowserPhoneOfNoAddress(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	outside := phoneIn(t, h.pbx, h.host, "198.51.100.1", h.pbx.Addr(ports.SIPUDP), ports.SIPUDP, "101", 440)
	registered(t, outside)
	browser := h.phone(t, ports.EdgeWSS, "192.168.77.10", "102", 660, func(c *siptest.Config) { c.Host = "k3v9r2m1.example" })
	converse(t, outside, browser, "102", 440, 660)
	converse(t, browser, outside, "101", 660, 440)
	other := h.phone(t, ports.EdgeUDP, "192.168.77.11", "103", 880, func(c *siptest.Config) { c.Host = "phone.example" })
	converse(t, browser, other, "103", 660, 880)
	converse(t, other, browser, "102", 880, 660)
	invited := 0
	for _, m := range browser.Trace() {
		if !m.Out && strings.HasPrefix(m.Text, "INVITE ") {
			invited++
			if !strings.HasPrefix(m.Text, "INVITE sip:102@k3v9r2m1.example;transport=ws SIP/2.0\r\n") {
				t.Errorf("the Request-URI is not the Contact:\n%s", m.Text)
			}
		}
	}
	if n := h.asked(t); n != 0 || invited != 2 {
		t.Errorf("%d questions to name servers, %d INVITEs", n, invited)
	}
	c, err := h.host.DialContext(t.Context(), "udp", "198.51.100.2:53")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("?")); err != nil {
		t.Fatal(err)
	}
	if h.asked(t) != 1 {
		t.Error("questions are not counted")
	}
}

// asked is how often something in the PBX's namespace asked a name server.
func (h *home) asked(t *testing.T) (n int) {
	t.Helper()
	out, err := h.host.Command(t.Context(), "nft", "list", "counter", "ip", "dns", "asked").CombinedOutput()
	if err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	_, text, _ := strings.Cut(string(out), "packets ")
	if _, err := fmt.Sscan(text, &n); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return n
}

// C02: behind a 1:1 NAT, as in a cloud, the PBX tells phones outside its public
// address and phones inside its own, in Contact and SDP; they talk.
func TestPublicAddressBehindNAT(t *testing.T) {
	t.Parallel()
	need(t, "nft")
	const public, private = "203.0.113.7", "10.50.0.10"
	host, router, wan, lan := netlab.New(t, "c02-pbx"), netlab.New(t, "c02-nat"), netlab.New(t, "c02-wan"), netlab.New(t, "c02-lan")
	joined(t, host, private+"/24", router, "10.50.0.1/24", "dmz")
	joined(t, wan, "203.0.113.20/24", router, "203.0.113.1/24", "wan")
	joined(t, lan, "10.51.0.20/24", router, "10.51.0.1/24", "lan")
	if err := router.IP("addr", "add", public+"/24", "dev", "wan"); err != nil {
		t.Fatal(err)
	}
	for _, ns := range []struct {
		ns  *netlab.Namespace
		via string
	}{{host, "10.50.0.1"}, {lan, "10.51.0.1"}} {
		if err := ns.ns.IP("route", "add", "default", "via", ns.via); err != nil {
			t.Fatal(err)
		}
	}
	sysctl(t, router, "net.ipv4.ip_forward=1")
	rules(t, router, `table ip nat {
		chain pre { type nat hook prerouting priority dstnat; ip daddr `+public+` dnat to `+private+`; };
		chain post { type nat hook postrouting priority srcnat; oifname "wan" ip saddr `+private+` snat to `+public+`; }; }`)
	p := pbxproc.Start(t, host, private)
	p.Stop(syscall.SIGTERM)
	publish(t, p.Dir, public)
	p.Restart(t)
	edge := p.Addr(ports.EdgeUDP).Port()
	outside := phoneIn(t, p, wan, "203.0.113.20", netip.AddrPortFrom(netip.MustParseAddr(public), edge), ports.EdgeUDP, "101", 440)
	inside := phoneIn(t, p, lan, "10.51.0.20", p.Addr(ports.SIPUDP), ports.SIPUDP, "102", 660)
	registered(t, outside, inside)
	for _, call := range []struct {
		a, b         *siptest.Phone
		number       string
		toneA, toneB float64
	}{
		{outside, inside, "102", 440, 660}, {inside, outside, "101", 660, 440},
		{outside, inside, "102@" + public, 440, 660}, {inside, outside, "101@" + private, 660, 440},
	} {
		out, in := converse(t, call.a, call.b, call.number, call.toneA, call.toneB)
		if call.a == inside {
			out, in = in, out
		}
		if a, b := out.Remote().Addr.Addr().String(), in.Remote().Addr.Addr().String(); a != public || b != private {
			t.Errorf("calling %s: the phone outside was told media at %s, the one inside at %s", call.number, a, b)
		}
	}
	knows(t, outside, public, private)
	knows(t, inside, private, public)
}

// publish sets the public address, as the wizard does.
func publish(t *testing.T, dir, public string) {
	t.Helper()
	s, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = s.System().Update(t.Context(), telephony.Actor{Kind: telephony.ActorSystem, Name: "test"}, func(tx *store.Tx) error {
		settings, err := tx.Settings()
		if err != nil {
			return err
		}
		settings.PublicAddress = netip.MustParseAddr(public)
		return tx.PutSettings(settings)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// knows checks that a phone was told one of our addresses, in Contacts and Via,
// and never the other.
func knows(t *testing.T, p *siptest.Phone, ours, other string) {
	t.Helper()
	contacts := 0
	for _, m := range p.Trace() {
		if m.Out {
			continue
		}
		for line := range strings.Lines(m.Text) {
			if strings.HasPrefix(line, "Contact: ") && strings.Contains(line, "@"+ours+":") {
				contacts++
			}
			// What it dialled itself comes back in To.
			if strings.Contains(line, other) && !strings.HasPrefix(line, "To: ") && !strings.HasPrefix(line, "From: ") {
				t.Errorf("%s is told to a phone that is to know %s: %s\n%s", other, ours, line, m.Text)
			}
		}
	}
	if contacts == 0 {
		t.Errorf("no Contact names %s", ours)
	}
}
