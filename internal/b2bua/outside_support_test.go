package b2bua

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// fakeTrunks are trunks whose servers are scripted phones.
type fakeTrunks struct {
	s *stack

	mu       sync.Mutex
	ways     map[telephony.TrunkID][]Way
	peers    map[netip.AddrPort]telephony.Trunk
	calls    map[telephony.TrunkID]int
	most     map[telephony.TrunkID]int // that there ever were
	answered []string
	down     []telephony.TrunkID
}

var errFull = errors.New("full")

func (f *fakeTrunks) Take(_ telephony.TenantID, id telephony.TrunkID, emergency bool) (func(), error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, ok := f.s.snap.Load().Trunk(1, id)
	all := 0
	for _, n := range f.calls {
		all += n
	}
	most := f.s.snap.Load().Routing(1).MaxCalls
	if !ok || !t.Enabled || !emergency && (t.MaxCalls > 0 && f.calls[id] >= t.MaxCalls || most > 0 && all >= most || slices.Contains(f.down, id)) {
		return nil, errFull
	}
	f.calls[id]++
	f.most[id] = max(f.most[id], f.calls[id])
	return sync.OnceFunc(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.calls[id]--
	}), nil
}

func (f *fakeTrunks) Down(_ telephony.TenantID, id telephony.TrunkID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Contains(f.down, id)
}

func (f *fakeTrunks) Ways(_ telephony.TenantID, id telephony.TrunkID) []Way {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.ways[id])
}

func (f *fakeTrunks) Answered(w Way, code int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answered = append(f.answered, fmt.Sprint(w.Key, " ", code))
}

func (f *fakeTrunks) Identify(tx *sip.ServerTx) (telephony.Trunk, bool, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, ok := f.peers[tx.Flow().Remote]
	return t, ok, false
}

// live is how many calls a trunk carries.
func (f *fakeTrunks) live(id telephony.TrunkID) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[id]
}

// route gives tenant 1 trunks and routing. Its extensions may dial everything.
func (s *stack) route(trunks []telephony.Trunk, change func(*telephony.Routing)) {
	r := telephony.Routing{Plan: telephony.NumberingPlan{
		Country: "DE", AreaCode: "30", Outside: "0", Allowed: []string{"43"},
		Emergency: []telephony.EmergencyNumber{{Number: "112", Name: "rescue"}},
	}}
	rule := telephony.OutboundRule{Tenant: 1, ID: 1, Name: "all", Enabled: true, Priority: 1}
	for i := range trunks {
		trunks[i].Tenant, trunks[i].Enabled = 1, true
		rule.Routes = append(rule.Routes, telephony.Route{Trunk: trunks[i].ID})
	}
	r.Outbound = []telephony.OutboundRule{rule}
	if change != nil {
		change(&r)
	}
	s.set(func(*telephony.Tenant) {}, func(e *telephony.Extension) { e.Role = telephony.RoleInternational })
	s.snap.Store(s.snap.Load().WithRouting(trunks, map[telephony.TenantID]telephony.Routing{1: r}))
}

// provider is one server of a trunk.
func (s *stack) provider(f *fakeTrunks, t telephony.Trunk, port uint16, auth *sip.ClientAuth) *phone {
	p := s.phone("provider", port)
	p.domain = "provider.test"
	flow := s.flow
	flow.Remote = p.addr
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ways[t.ID] = append(f.ways[t.ID], Way{
		Tenant: 1, Trunk: t.ID, Flow: flow, Host: p.addr.String(), Domain: "provider.test", Auth: auth, Key: fmt.Sprint(port),
	})
	f.peers[p.addr] = t
	return p
}

// trunk is what most tests have one or two of.
func trunk(id telephony.TrunkID) telephony.Trunk {
	return telephony.Trunk{
		Tenant: 1, ID: id, Name: fmt.Sprint("trunk ", id), Kind: telephony.TrunkPeer, Host: "provider.test", Enabled: true,
		Format: telephony.FormatPlus, CallerID: "+493022220", Identity: telephony.IdentityPAI, TrustIdentity: true,
		DIDs: []telephony.NumberRange{{First: "+4930222200", Last: "+4930222299"}},
	}
}

// outer is a stack with trunks, and 101 and 102 registered.
func outer(t testing.TB, trunks []telephony.Trunk, change func(*Config), routing func(*telephony.Routing)) (s *stack, f *fakeTrunks, a, b *phone) {
	t.Helper()
	f = &fakeTrunks{ways: map[telephony.TrunkID][]Way{}, peers: map[netip.AddrPort]telephony.Trunk{}, calls: map[telephony.TrunkID]int{}, most: map[telephony.TrunkID]int{}}
	s, a, b = pair(t, func(c *Config) {
		c.Trunks = f
		if change != nil {
			change(c)
		}
	})
	f.s = s
	s.route(trunks, routing)
	return s, f, a, b
}

// idle checks that all trunks are free again.
func (f *fakeTrunks) idle(t testing.TB) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, n := range f.calls {
		if n != 0 {
			t.Errorf("trunk %d still counts %d calls", id, n)
		}
	}
}

// idleBut is how many calls there are besides one on each of some trunks.
func (f *fakeTrunks) idleBut(busy []telephony.TrunkID) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := -len(busy)
	for _, calls := range f.calls {
		n += calls
	}
	return n
}

func requestURI(raw string) string {
	_, rest, _ := strings.Cut(line(raw), " ")
	uri, _, _ := strings.Cut(rest, " ")
	return uri
}

// leaks reports what a provider must not see.
func leaks(t testing.TB, raw string, words ...string) {
	t.Helper()
	for _, w := range append(words, "a.test", "Anna") {
		if strings.Contains(raw, w) {
			t.Errorf("the provider sees %q:\n%s", w, raw)
		}
	}
}

func atoi(s string) (n int) {
	for _, c := range s {
		n = 10*n + int(c-'0')
	}
	return n
}
