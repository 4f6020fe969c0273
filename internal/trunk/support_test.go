package trunk

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/dialout"
	"ringfence/internal/events"
	"ringfence/internal/ports"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

var ours = netip.MustParseAddrPort("192.0.2.1:5060")

// names is a DNS of the test's own.
type names struct {
	mu    sync.Mutex
	srv   map[string][]SRV
	addrs map[string][]netip.Addr
	ttl   time.Duration
	fail  error
	asked int
}

func (n *names) SRV(_ context.Context, name string) ([]SRV, time.Duration, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	if n.fail != nil {
		return nil, 0, n.fail
	}
	if list, ok := n.srv[name]; ok {
		return list, n.ttl, nil
	}
	return nil, 0, ErrNoRecord
}

func (n *names) Addrs(_ context.Context, host string) ([]netip.Addr, time.Duration, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	if n.fail != nil {
		return nil, 0, n.fail
	}
	if list, ok := n.addrs[host]; ok {
		return list, n.ttl, nil
	}
	return nil, 0, ErrNoRecord
}

// answer is what a server says to a request; code 0 is nothing.
type answer struct {
	code    int
	headers []string
}

// network is a transport to servers that are functions.
type network struct {
	mu      sync.Mutex
	e       *sip.Endpoint
	flow    sip.Flow
	servers map[string]func(request) answer
	log     []request
	public  netip.Addr
}

// request is what a server got.
type request struct {
	at     time.Time
	to     string
	method string
	raw    string
}

func (r request) header(name string) string {
	for line := range strings.SplitSeq(r.raw, "\r\n") {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(k, name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func (n *network) Protocol() string { return "UDP" }
func (n *network) Reliable() bool   { return false }

func (n *network) Send(f sip.Flow, b []byte) error {
	raw := string(b)
	method, _, _ := strings.Cut(raw, " ")
	if len(raw) < 10 || strings.HasPrefix(raw, "SIP/2.0") {
		return nil
	}
	r := request{time.Now(), f.Remote.String(), method, raw}
	n.mu.Lock()
	defer n.mu.Unlock()
	branch := func(s string) string { _, s, _ = strings.Cut(s, "branch="); s, _, _ = strings.Cut(s, "\r\n"); return s }
	if !slices.ContainsFunc(n.log, func(o request) bool { return branch(o.raw) == branch(raw) && o.method == method }) {
		n.log = append(n.log, r)
	}
	serve := n.servers[r.to]
	if serve == nil {
		return nil
	}
	go func() {
		a := serve(r)
		if a.code == 0 {
			return
		}
		text := fmt.Sprintf("SIP/2.0 %d %s\r\n", a.code, sip.Reason(a.code))
		for line := range strings.SplitSeq(raw, "\r\n") {
			k, _, _ := strings.Cut(line, ":")
			switch strings.ToLower(k) {
			case "via", "from", "call-id", "cseq":
				text += line + "\r\n"
			case "to":
				text += line + ";tag=far\r\n"
			}
		}
		for _, h := range a.headers {
			text += h + "\r\n"
		}
		back := n.flow
		back.Remote = f.Remote
		n.e.Receive(back, []byte(text+"Content-Length: 0\r\n\r\n"))
	}()
	return nil
}

// serve puts a server in place; nil takes it away.
func (n *network) serve(addr string, f func(request) answer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.servers[addr] = f
}

func (n *network) got(method string) (out []request) {
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.log {
		if r.method == method {
			out = append(out, r)
		}
	}
	return out
}

func (n *network) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.log = nil
}

// Local and Advertised make network the sip.Addresses as well.
func (n *network) Local(netip.Addr) netip.Addr { return ours.Addr() }
func (n *network) Advertised(netip.Addr) netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.public
}

// lab is a service on a network of functions, in a bubble of synctest.
type lab struct {
	*Service
	*network
	t     *testing.T
	dns   *names
	bus   *events.Bus
	mu    sync.Mutex
	snap  *telephony.Snapshot
	close func()
}

var tenants = []telephony.Tenant{{ID: 1, Name: "A", Domain: "a.test"}, {ID: 2, Name: "B", Domain: "b.test"}}

func newLab(t *testing.T, trunks ...telephony.Trunk) *lab {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	n := &network{servers: map[string]func(request) answer{}, public: ours.Addr()}
	n.e = sip.New(sip.Config{Logger: logger, Workers: 1, Addresses: n})
	var err error
	if n.flow, err = n.e.Attach(ports.SIPUDP, ports.Core, ours, n); err != nil {
		t.Fatal(err)
	}
	l := &lab{network: n, t: t, bus: &events.Bus{}, dns: &names{srv: map[string][]SRV{}, addrs: map[string][]netip.Addr{}, ttl: time.Hour}}
	l.set(trunks...)
	l.Service = New(Config{
		Endpoint: n.e, Snapshot: l.snapshot, Addresses: n, Bus: l.bus, Resolver: l.dns, Dial: dialout.Dialer{}, Logger: logger,
	})
	l.close = sync.OnceFunc(func() { l.Service.Close(); n.e.Close() })
	return l
}

func (l *lab) snapshot() *telephony.Snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.snap
}

// set replaces the settings.
func (l *lab) set(trunks ...telephony.Trunk) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.snap = telephony.NewSnapshot(1, telephony.Settings{}, tenants, nil).WithRouting(trunks, map[telephony.TenantID]telephony.Routing{1: {MaxCalls: 0}})
}

func (l *lab) reconcile() {
	l.Reconcile(l.snapshot())
	synctest.Wait()
}

func (l *lab) is(want telephony.TrunkCondition) telephony.TrunkState {
	l.t.Helper()
	synctest.Wait()
	st := l.States(1)[0]
	if st.Condition != want {
		l.t.Errorf("trunk is %q (%s), want %q", st.Condition, st.Reason, want)
	}
	return st
}

// provider is a trunk that registers.
func provider() telephony.Trunk {
	return telephony.Trunk{
		Tenant: 1, ID: 7, Name: "Provider", Kind: telephony.TrunkRegister, Enabled: true, Host: "provider.test", Transport: telephony.TrunkUDP,
		User: "4930123", Password: "secret", RegisterInterval: 10 * time.Minute, OptionsInterval: 30 * time.Second,
	}
}

// twoServers gives provider.test a preferred and a second server.
func (l *lab) twoServers() (first, second string) {
	l.dns.srv["_sip._udp.provider.test"] = []SRV{{"one.provider.test", 5060, 10, 0}, {"two.provider.test", 5070, 20, 0}}
	l.dns.addrs["one.provider.test"] = []netip.Addr{netip.MustParseAddr("198.51.100.1")}
	l.dns.addrs["two.provider.test"] = []netip.Addr{netip.MustParseAddr("198.51.100.2")}
	return "198.51.100.1:5060", "198.51.100.2:5070"
}

// registering answers like one that challenges with a nonce that stays good.
func registering(expires int) func(request) answer {
	return func(r request) answer {
		if r.method != "REGISTER" {
			return answer{code: 200}
		}
		if r.header("Authorization") == "" {
			return answer{401, []string{`WWW-Authenticate: Digest realm="provider.test", nonce="n1", qop="auth", algorithm=MD5`}}
		}
		contact, _, _ := strings.Cut(r.header("Contact"), ";")
		return answer{200, []string{fmt.Sprintf("Contact: %s;expires=%d", contact, expires)}}
	}
}

// within sleeps in small steps until f holds, and returns how long that took.
func within(t *testing.T, limit time.Duration, f func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for !f() {
		if time.Since(start) > limit {
			t.Fatalf("not within %s", limit)
		}
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
	}
	return time.Since(start)
}
