package api

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"ringfence/internal/netcfg"
)

// machine is a network for tests.
type machine struct {
	config  netcfg.Config
	confirm time.Duration
	by      string
	path    NetworkPath
	err     error
}

func (m *machine) State(context.Context) (NetworkState, error) {
	return NetworkState{
		Managed: true, Config: m.config, Pending: &NetworkPending{ID: "abc", Left: 41500 * time.Millisecond},
		Interfaces: []netcfg.State{{
			Name: "eth0", MAC: "52:54:00:12:34:56", Up: true, Carrier: true, MTU: 1460, Managed: true,
			Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.10/24")}, Gateways: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
			Lease: &netcfg.Lease{Address: netip.MustParsePrefix("192.0.2.10/24"), Server: netip.MustParseAddr("192.0.2.1"), Expires: time.Unix(2_000_000_000, 0)},
		}},
	}, nil
}

func (m *machine) Change(_ context.Context, c netcfg.Config, confirm time.Duration, by string) (NetworkPending, error) {
	m.config, m.confirm, m.by = c, confirm, by
	return NetworkPending{ID: "abc", Left: confirm}, m.err
}

func (m *machine) Confirm(_ context.Context, id string, path NetworkPath) (string, error) {
	m.path = path
	if id != "abc" {
		return "", ErrNoChange
	}
	return m.by, m.err
}

func (m *machine) ConfirmHere(context.Context) error { return m.err }
func (m *machine) Revert(context.Context) error      { return m.err }

// plainInterface is one by DHCP.
func plainInterface() NetworkInterface {
	return NetworkInterface{Name: "eth0", DHCP4: true, AcceptRA: true, Addresses: []string{}, Routes: []NetworkRoute{}, Nameservers: []string{}, Search: []string{}}
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	m := &machine{}
	b.cfg.Network = m
	boss := b.setUp()
	up := NetworkUpdate{Interfaces: []NetworkInterface{plainInterface(), {
		VLAN: 20, Link: "eth0", Zone: "voice", Limit: 20_000, Addresses: []string{" 10.88.0.1/24 "}, Routes: []NetworkRoute{{To: "10.0.0.0/8", Via: "10.88.0.2", Metric: 5}},
		Nameservers: []string{"10.88.0.53"}, Search: []string{"voice.example"}, MTU: 1400,
	}}, NTP: []string{" ntp.example", "192.0.2.123"}}
	var change NetworkChange
	a := boss.must(http.StatusOK, "PUT", "/network", up, &change)
	if change.ID != "abc" || change.SecondsLeft != 60 || m.confirm != time.Minute || m.by != "boss" || a.Header().Get("Connection") != "close" {
		t.Errorf("%+v, %+v, %v", change, m, a.Header())
	}
	if v := m.config.Interfaces[1]; v.VLAN != 20 || v.Link != "eth0" || v.Limit != 20_000 || v.Zone != "voice" || v.Addresses[0].String() != "10.88.0.1/24" || v.Routes[0].Metric != 5 || v.AcceptsRA() {
		t.Errorf("taken as %+v", v)
	}
	var n Network
	boss.must(http.StatusOK, "GET", "/network", nil, &n)
	if !slices.Equal(n.NTP, []string{"ntp.example", "192.0.2.123"}) || !slices.Equal(m.config.NTP, n.NTP) {
		t.Errorf("time servers %q of %q", n.NTP, m.config.NTP)
	}
	if !n.Managed || n.Pending == nil || n.Pending.SecondsLeft != 42 || n.Interfaces[0].Lease.Server != "192.0.2.1" || n.Settings[1].Nameservers[0] != "10.88.0.53" || !n.Settings[0].AcceptRA {
		t.Errorf("%+v", n)
	}
	var log AuditList
	boss.must(http.StatusOK, "GET", "/audit", nil, &log)
	if len(log.Items) == 0 || log.Items[0].Action != "network.change" {
		t.Errorf("audit log: %+v", log.Items)
	}
}

func TestNetworkRefusesWithTheField(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	m := &machine{}
	b.cfg.Network = m
	boss := b.setUp()
	for what, x := range map[string]struct {
		change func(*NetworkInterface)
		field  string
	}{
		"no address":  {func(i *NetworkInterface) { i.Addresses = []string{"192.0.2.10/24", "192.0.2.11"} }, "body.interfaces[1].addresses[1]"},
		"broadcast":   {func(i *NetworkInterface) { i.Addresses = []string{"192.0.2.255/24"} }, "body.interfaces[1].addresses[0]"},
		"route":       {func(i *NetworkInterface) { i.Routes = []NetworkRoute{{To: "10.0.0.0", Via: "192.0.2.1"}} }, "body.interfaces[1].routes[0].to"},
		"router":      {func(i *NetworkInterface) { i.Routes = []NetworkRoute{{To: "10.0.0.0/8", Via: "me"}} }, "body.interfaces[1].routes[0].via"},
		"name server": {func(i *NetworkInterface) { i.Nameservers = []string{"dns.example"} }, "body.interfaces[1].nameservers[0]"},
		"domain":      {func(i *NetworkInterface) { i.Search = []string{"a b"} }, "body.interfaces[1].search[0]"},
		"small MTU":   {func(i *NetworkInterface) { i.MTU = 100 }, "body.interfaces[1].mtu"},
		"low limit":   {func(i *NetworkInterface) { i.Limit = 99 }, "body.interfaces[1].limit"},
		"same again":  {func(i *NetworkInterface) { i.Name = "eth0" }, "body.interfaces[1].name"},
		"VLAN of air": {func(i *NetworkInterface) { i.VLAN = 7 }, "body.interfaces[1].link"},
		"trunk's way": {func(i *NetworkInterface) { i.Zone, i.Routes = "trunk", []NetworkRoute{{To: "::/0", Via: "fe80::1"}} }, "body.interfaces[1].routes[0].to"},
		"MAC":         {func(i *NetworkInterface) { i.MAC = "52-54" }, "body.interfaces[1].mac"},
	} {
		bad := plainInterface()
		bad.Name = "eth1"
		x.change(&bad)
		a := boss.do("PUT", "/network", NetworkUpdate{Interfaces: []NetworkInterface{plainInterface(), bad}}, nil)
		if a.Code != http.StatusUnprocessableEntity || len(a.Problem.Errors) != 1 || a.Problem.Errors[0].Location != x.field {
			t.Errorf("%s: %d %s", what, a.Code, a.Body)
		}
	}
	bad := boss.do("PUT", "/network", NetworkUpdate{Interfaces: []NetworkInterface{plainInterface()}, NTP: []string{"ntp.example", "192.0.2.1:123"}}, nil)
	if bad.Code != http.StatusUnprocessableEntity || len(bad.Problem.Errors) != 1 || bad.Problem.Errors[0].Location != "body.ntp[1]" {
		t.Errorf("time server: %d %s", bad.Code, bad.Body)
	}
	if m.config.Interfaces != nil {
		t.Errorf("a refused change was made: %+v", m.config)
	}
	boss.must(http.StatusUnprocessableEntity, "PUT", "/network", NetworkUpdate{Interfaces: []NetworkInterface{plainInterface()}, ConfirmSeconds: 9}, nil)
}

// Who cannot log in at the new address yet confirms by the id alone, and the
// handler learns which way the request came.
func TestNetworkIsConfirmedWithoutASession(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	m := &machine{by: "boss"}
	b.cfg.Network = m
	boss := b.setUp()
	confirm := func(id string) *answer {
		a := &answer{ResponseRecorder: httptest.NewRecorder()}
		r := b.client().request("POST", "/network/confirm", NetworkConfirm{id})
		ctx := context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.ParseIP("10.88.0.1"), Port: 8887})
		b.ServeHTTP(a, r.WithContext(ctx))
		return a
	}
	if a := confirm("guess"); a.Code != http.StatusConflict {
		t.Errorf("a guess: %d", a.Code)
	}
	m.err = ErrOldPath
	if a := confirm("abc"); a.Code != http.StatusConflict || a.Header().Get("Connection") != "close" || !strings.Contains(a.Body.String(), "connect anew") {
		t.Errorf("by the old path: %d %v %s", a.Code, a.Header(), a.Body)
	}
	m.err = nil
	if a := confirm("abc"); a.Code != http.StatusNoContent || m.path.Local.String() != "10.88.0.1" {
		t.Errorf("%d %s, by %+v", a.Code, a.Body, m.path)
	}
	var log AuditList
	boss.must(http.StatusOK, "GET", "/audit", nil, &log)
	if e := log.Items[0]; e.Action != "network.confirm" {
		t.Errorf("audit log: %+v", e)
	}
	m.err = ErrNoChange
	boss.must(http.StatusConflict, "POST", "/network/revert", nil, nil)
	b.cfg.Network = nil
	var n Network
	boss.must(http.StatusOK, "GET", "/network", nil, &n)
	if n.Managed {
		t.Errorf("%+v", n)
	}
	boss.must(http.StatusConflict, "PUT", "/network", NetworkUpdate{Interfaces: []NetworkInterface{plainInterface()}}, nil)
}
