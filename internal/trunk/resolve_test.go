package trunk

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"ringfence/internal/telephony"
)

func located(t *testing.T, n *names, host string, port uint16, tr telephony.TrunkTransport) string {
	t.Helper()
	list, ttl, err := locate(t.Context(), n, host, port, tr)
	if err != nil {
		return "error: " + err.Error()
	}
	var out []string
	for _, x := range list {
		out = append(out, fmt.Sprintf("%s=%s", x.name, x.addr))
	}
	return strings.Join(out, " ") + " " + ttl.String()
}

func TestServersAreLocated(t *testing.T) {
	t.Parallel()
	n := &names{ttl: 5 * time.Minute, srv: map[string][]SRV{
		"_sip._udp.p.test":  {{"b.p.test", 5070, 20, 0}, {"a.p.test", 5060, 10, 0}, {"gone.p.test", 5060, 5, 0}},
		"_sip._tcp.p.test":  {{"a.p.test", 5080, 10, 0}},
		"_sips._tcp.p.test": {{"a.p.test", 5061, 10, 0}},
		"_sip._udp.no.test": {{".", 0, 0, 0}},
	}, addrs: map[string][]netip.Addr{
		"a.p.test": {netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("2001:db8::1")}, "b.p.test": {netip.MustParseAddr("198.51.100.2")},
		"p.test": {netip.MustParseAddr("198.51.100.9")}, "plain.test": {netip.MustParseAddr("::ffff:198.51.100.8")},
	}}
	for _, c := range []struct {
		host string
		port uint16
		tr   telephony.TrunkTransport
		want string
	}{
		{"p.test", 0, telephony.TrunkUDP, "a.p.test=198.51.100.1:5060 a.p.test=[2001:db8::1]:5060 b.p.test=198.51.100.2:5070 5m0s"},
		{"p.test", 0, telephony.TrunkTCP, "a.p.test=198.51.100.1:5080 a.p.test=[2001:db8::1]:5080 5m0s"},
		{"p.test", 0, telephony.TrunkTLS, "a.p.test=198.51.100.1:5061 a.p.test=[2001:db8::1]:5061 5m0s"},
		{"p.test", 5999, telephony.TrunkUDP, "p.test=198.51.100.9:5999 5m0s"}, // a port: no SRV
		{"plain.test", 0, telephony.TrunkUDP, "plain.test=198.51.100.8:5060 5m0s"},
		{"plain.test", 0, telephony.TrunkTCP, "plain.test=198.51.100.8:5060 5m0s"},
		{"plain.test", 0, telephony.TrunkTLS, "plain.test=198.51.100.8:5061 5m0s"},
		{"198.51.100.7", 0, telephony.TrunkTLS, "198.51.100.7=198.51.100.7:5061 1h0m0s"},
		{"2001:db8::7", 5099, telephony.TrunkUDP, "2001:db8::7=[2001:db8::7]:5099 1h0m0s"},
		{"no.test", 0, telephony.TrunkUDP, "error: the service is not offered"},
		{"nobody.test", 0, telephony.TrunkUDP, "error: resolving nobody.test: there is no such DNS record"},
		{"", 0, telephony.TrunkUDP, `error: resolving "": no host name`},
	} {
		if got := located(t, n, c.host, c.port, c.tr); got != c.want {
			t.Errorf("%s:%d %s: %s, want %s", c.host, c.port, c.tr, got, c.want)
		}
	}
	for in, want := range map[string]string{
		"proxy.test": "proxy.test 0", "proxy.test:5070": "proxy.test 5070", "[2001:db8::1]:5070": "2001:db8::1 5070", "[2001:db8::1]": "2001:db8::1 0", "2001:db8::1": "2001:db8::1 0",
	} {
		host, port, err := hop(telephony.Trunk{Host: "x.test", OutboundProxy: in})
		if got := fmt.Sprint(host, " ", port); err != nil || got != want {
			t.Errorf("%s: %s %v", in, got, err)
		}
	}
	if _, _, err := splitHop("proxy.test:sip"); err == nil {
		t.Error("a port that is no number")
	}
}

func TestServersAreDrawnByWeight(t *testing.T) {
	t.Parallel()
	first := map[string]int{}
	for range 4000 {
		list := ordered([]SRV{{"light", 1, 1, 10}, {"heavy", 1, 1, 30}, {"zero", 1, 1, 0}, {"later", 1, 2, 65535}})
		first[list[0].Target]++
		if len(list) != 4 || list[3].Target != "later" {
			t.Fatalf("%v", list)
		}
	}
	if h, l, z := first["heavy"], first["light"], first["zero"]; h < 2600 || h > 3300 || l < 700 || l > 1250 || z == 0 || z > 300 {
		t.Errorf("drawn %v", first)
	}
}

func TestHostileAnswersAreBounded(t *testing.T) {
	t.Parallel()
	n := &names{ttl: 0, srv: map[string][]SRV{}, addrs: map[string][]netip.Addr{}}
	for i := range 5000 {
		host := fmt.Sprintf("h%d.test", i)
		n.srv["_sip._udp.p.test"] = append(n.srv["_sip._udp.p.test"], SRV{host, 5060, 1, 65535})
		for j := range 50 {
			n.addrs[host] = append(n.addrs[host], netip.AddrFrom4([4]byte{198, 18, byte(i), byte(j)}))
		}
	}
	n.srv["_sip._udp.long.test"] = []SRV{{strings.Repeat("x", 300), 5060, 1, 1}, {"h1.test", 0, 1, 1}}
	list, ttl, err := locate(t.Context(), n, "p.test", 0, telephony.TrunkUDP)
	if err != nil || len(list) != maxServers || ttl != minTTL || n.asked > maxRecords+1 {
		t.Errorf("%d servers, %s, %d questions, %v", len(list), ttl, n.asked, err)
	}
	if _, _, err := locate(t.Context(), n, "long.test", 0, telephony.TrunkUDP); err == nil {
		t.Error("a name that is too long, and port 0")
	}
}

// TestDNSOverTheWire asks a name server of the test's own.
func TestDNSOverTheWire(t *testing.T) {
	t.Parallel()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := pc.LocalAddr().(*net.UDPAddr).Port
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Skip("the port is taken for TCP")
	}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		add := func(s string) {
			rr, err := dns.NewRR(s)
			if err != nil {
				t.Error(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		_, udp := w.RemoteAddr().(*net.UDPAddr)
		switch x := q.Question[0]; {
		case x.Name == "_sip._udp.p.test." && x.Qtype == dns.TypeSRV && udp:
			m.Truncated = true
		case x.Name == "_sip._udp.p.test." && x.Qtype == dns.TypeSRV:
			add("_sip._udp.p.test. 120 IN SRV 10 5 5070 a.p.test.")
		case x.Name == "a.p.test." && x.Qtype == dns.TypeA:
			add("a.p.test. 60 IN CNAME b.p.test.")
			add("b.p.test. 300 IN A 198.51.100.1")
		case x.Name == "a.p.test." && x.Qtype == dns.TypeAAAA:
			add("a.p.test. 300 IN AAAA 2001:db8::1")
		case x.Name == "broken.test.":
			m.Rcode = dns.RcodeServerFailure
		default:
			m.Rcode = dns.RcodeNameError
		}
		_ = w.WriteMsg(m)
	})
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: handler}, {Listener: ln, Handler: handler}} {
		ready := make(chan struct{})
		s.NotifyStartedFunc = func() { close(ready) }
		go s.ActivateAndServe()
		<-ready
		t.Cleanup(func() { s.Shutdown() })
	}
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte("nameserver 127.0.0.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := DNS{Config: file, port: fmt.Sprint(port)}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	srv, ttl, err := d.SRV(ctx, "_sip._udp.p.test")
	if err != nil || ttl != 2*time.Minute || !slices.Equal(srv, []SRV{{"a.p.test", 5070, 10, 5}}) {
		t.Errorf("%v %s %v", srv, ttl, err)
	}
	addrs, ttl, err := d.Addrs(ctx, "a.p.test")
	if err != nil || ttl != time.Minute || len(addrs) != 2 || addrs[0].String() != "198.51.100.1" {
		t.Errorf("%v %s %v", addrs, ttl, err)
	}
	if _, _, err := d.Addrs(ctx, "nobody.test"); !errors.Is(err, ErrNoRecord) {
		t.Errorf("a name that is not: %v", err)
	}
	if _, _, err := d.SRV(ctx, "broken.test"); err == nil || errors.Is(err, ErrNoRecord) {
		t.Errorf("a name server that fails: %v", err)
	}
}
