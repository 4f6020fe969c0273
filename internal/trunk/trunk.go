// Package trunk keeps the ways to the outside world: it finds a trunk's servers,
// registers with them or lets gateways register with us, watches whether they
// are there, counts the calls on each trunk, and says which trunk a request
// comes from.
package trunk

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ringfence/internal/b2bua"
	"ringfence/internal/dialout"
	"ringfence/internal/events"
	"ringfence/internal/location"
	"ringfence/internal/ports"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// Config is what the service needs.
type Config struct {
	Endpoint  *sip.Endpoint
	Snapshot  func() *telephony.Snapshot
	Location  location.Store             // of the gateways that register with us
	Auth      *sip.Authenticator         // challenges gateways
	Addresses sip.Addresses              // nil: the kernel's choice
	Bus       *events.Bus                // may be nil
	Resolver  Resolver                   // nil: DNS of the system
	Dial      dialout.Dialer             // checks and connects
	Roots     *x509.CertPool             // of TLS servers; nil: the system's
	Interface func(string) (Link, error) // nil: the system's
	Logger    *slog.Logger
}

// Service is all trunks of this node. It implements b2bua.Trunks.
type Service struct {
	c      Config
	counts counts
	ctx    context.Context
	stop   context.CancelFunc
	wg     sync.WaitGroup

	reconciling sync.Mutex
	mu          sync.Mutex // guards what follows
	lines       map[key]*line
	gateways    map[key]telephony.TrunkState // of accept trunks, as last told

	all   atomic.Pointer[[]*line] // the lines, for readers
	known atomic.Pointer[sources]
}

// New returns a service without trunks; Reconcile brings them. Close it.
func New(c Config) *Service {
	if c.Resolver == nil {
		c.Resolver = DNS{}
	}
	if c.Interface == nil {
		c.Interface = systemLink
	}
	s := &Service{c: c, counts: newCounts(), lines: make(map[key]*line), gateways: make(map[key]telephony.TrunkState)}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.all.Store(new([]*line))
	s.known.Store(&sources{})
	s.wg.Go(s.watchGateways)
	return s
}

// Close un-registers, and ends all connections to trunks.
func (s *Service) Close() {
	s.stop()
	for _, l := range *s.all.Load() {
		<-l.ended
	}
	s.wg.Wait()
}

// Reconcile brings the trunks to the present settings. One whose way has not
// changed keeps its registration and connections.
func (s *Service) Reconcile(snap *telephony.Snapshot) {
	s.reconciling.Lock()
	defer s.reconciling.Unlock()
	if s.ctx.Err() != nil {
		return
	}
	want := make(map[key]telephony.Trunk)
	for _, t := range snap.Tenants() {
		for _, x := range snap.Trunks(t.ID) {
			if x.Enabled && x.Kind != telephony.TrunkAccept {
				want[key{x.Tenant, x.ID}] = x
			}
		}
	}
	s.mu.Lock()
	var gone []*line
	for k, l := range s.lines {
		if x, ok := want[k]; !ok || !sameWay(l.settings(), x) {
			gone = append(gone, l)
			delete(s.lines, k)
		}
	}
	s.mu.Unlock()
	for _, l := range gone {
		l.stop()
	}
	for _, l := range gone {
		<-l.ended
	}
	s.mu.Lock()
	for k, x := range want {
		if l := s.lines[k]; l != nil {
			l.post(func() { l.t = x })
			l.asked.Store(&x)
			continue
		}
		l := newLine(s, x)
		s.lines[k] = l
		l.start(s.ctx)
	}
	list := make([]*line, 0, len(s.lines))
	for _, l := range s.lines {
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b *line) int {
		return compareKeys(a.key, b.key)
	})
	s.mu.Unlock()
	s.all.Store(&list)
	s.learn()
	s.lookAtGateways()
}

// sameWay reports whether two versions of a trunk reach the same servers in the
// same manner.
func sameWay(a, b telephony.Trunk) bool {
	strip := func(t telephony.Trunk) telephony.Trunk {
		return telephony.Trunk{
			Kind: t.Kind, Host: t.Host, Port: t.Port, Transport: t.Transport, OutboundProxy: t.OutboundProxy, Interface: t.Interface,
			User: t.User, AuthUser: t.AuthUser, Password: t.Password, RegisterInterval: t.RegisterInterval, OptionsInterval: t.OptionsInterval,
		}
	}
	return reflect.DeepEqual(strip(a), strip(b))
}

func (s *Service) line(k key) *line {
	list := *s.all.Load()
	if i, ok := slices.BinarySearchFunc(list, k, func(l *line, k key) int { return compareKeys(l.key, k) }); ok {
		return list[i]
	}
	return nil
}

// Take counts a call; see b2bua.Trunks. A trunk that just sent us a request is
// there, whatever it says to ours.
func (s *Service) Take(tenant telephony.TenantID, id telephony.TrunkID, emergency bool) (release func(), err error) {
	snap := s.c.Snapshot()
	t, ok := snap.Trunk(tenant, id)
	if !ok || !t.Enabled {
		return nil, fmt.Errorf("%w: it is switched off", ErrDown)
	}
	if !emergency && !s.justHeard(key{tenant, id}) {
		if st := s.State(t); st.Condition != telephony.TrunkUp {
			return nil, fmt.Errorf("%w: %s: %s", ErrDown, st.Condition, st.Reason)
		}
	}
	return s.counts.take(key{tenant, id}, t.MaxCalls, snap.Routing(tenant).MaxCalls, emergency)
}

const justNow = 5 * time.Second

func (s *Service) justHeard(k key) bool {
	l := s.line(k)
	return l != nil && time.Now().UnixNano()-l.heard.Load() < int64(justNow)
}

// Down reports whether a trunk cannot carry calls now.
func (s *Service) Down(tenant telephony.TenantID, id telephony.TrunkID) bool {
	t, ok := s.c.Snapshot().Trunk(tenant, id)
	return !ok || s.State(t).Condition != telephony.TrunkUp
}

// Ways are where INVITEs can go now, the best first.
func (s *Service) Ways(tenant telephony.TenantID, id telephony.TrunkID) []b2bua.Way {
	t, ok := s.c.Snapshot().Trunk(tenant, id)
	switch {
	case !ok || !t.Enabled:
		return nil
	case t.Kind == telephony.TrunkAccept:
		return s.gatewayWays(t)
	}
	if l := s.line(key{tenant, id}); l != nil {
		return l.view.Load().ways
	}
	return nil
}

// Answered tells what became of an INVITE on a way.
func (s *Service) Answered(w b2bua.Way, code int) {
	l := s.line(key{w.Tenant, w.Trunk})
	addr, err := netip.ParseAddrPort(w.Key)
	if l == nil || err != nil {
		return // a gateway: its registration tells
	}
	l.offer(func() {
		if x := l.server(addr); x != nil {
			l.answered(x, code)
		}
	})
}

// State is what is known of a trunk now.
func (s *Service) State(t telephony.Trunk) telephony.TrunkState {
	k := key{t.Tenant, t.ID}
	st := telephony.TrunkState{Tenant: t.Tenant, Trunk: t.ID, Condition: telephony.TrunkOff}
	switch l := s.line(k); {
	case !t.Enabled:
	case t.Kind == telephony.TrunkAccept:
		st = s.gatewayState(t)
	case l != nil:
		st = l.view.Load().state
	default:
		st.Condition = telephony.TrunkStarting
	}
	st.Name, st.MaxCalls, st.Calls = t.Name, t.MaxCalls, s.counts.calls(k)
	if st.Condition == telephony.TrunkUp && !st.Registered.IsZero() && time.Now().After(st.Registered) {
		st.Condition, st.Reason = telephony.TrunkDown, "registration has run out"
	}
	return st
}

// States are those of a tenant's trunks, by ID.
func (s *Service) States(tenant telephony.TenantID) []telephony.TrunkState {
	var all []telephony.TrunkState
	for _, t := range s.c.Snapshot().Trunks(tenant) {
		all = append(all, s.State(t))
	}
	return all
}

// changed tells of a trunk whose state is another one.
func (s *Service) changed(st telephony.TrunkState) {
	s.c.Logger.Info("trunk changed", "tenant", int64(st.Tenant), "trunk", st.Name, "condition", string(st.Condition), "reason", st.Reason, "server", st.Target)
	if s.c.Bus != nil {
		s.c.Bus.Publish(events.TrunkChanged{State: st})
	}
}

// Link is a network interface that packets of a trunk leave by.
type Link struct {
	Index int
	Addrs []netip.Addr
}

func systemLink(name string) (Link, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return Link{}, fmt.Errorf("interface %s: %w", name, err)
	}
	addrs, err := i.Addrs()
	if err != nil {
		return Link{}, fmt.Errorf("addresses of interface %s: %w", name, err)
	}
	l := Link{Index: i.Index}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if x, ok := netip.AddrFromSlice(n.IP); ok && !x.IsLinkLocalUnicast() {
				l.Addrs = append(l.Addrs, x.Unmap())
			}
		}
	}
	return l, nil
}

// source is the address of a trunk's interface towards a peer (N03).
func (s *Service) source(t telephony.Trunk, peer netip.Addr) (netip.Addr, int, error) {
	if t.Interface == "" {
		if s.c.Addresses == nil {
			return netip.Addr{}, 0, nil
		}
		return s.c.Addresses.Local(peer), 0, nil
	}
	l, err := s.c.Interface(t.Interface)
	if err != nil {
		return netip.Addr{}, 0, err
	}
	for _, a := range l.Addrs {
		if a.Is4() == peer.Is4() {
			return a, l.Index, nil
		}
	}
	return netip.Addr{}, 0, fmt.Errorf("interface %s has no address of the family of %s", t.Interface, peer)
}

// towards is the flow of datagrams to a server.
func (s *Service) towards(t telephony.Trunk, to netip.AddrPort) (sip.Flow, error) {
	local, device, err := s.source(t, to.Addr())
	if err != nil {
		return sip.Flow{}, err
	}
	f, err := s.c.Endpoint.Towards(ports.SIPUDP, local, to, device)
	if err != nil {
		return sip.Flow{}, errors.New("SIP over UDP is not switched on")
	}
	return f, nil
}

// dial connects to servers of a trunk, by its interface if it names one.
func (s *Service) dial(t telephony.Trunk) func(context.Context, string, netip.AddrPort) (net.Conn, error) {
	return func(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
		d := s.c.Dial
		d.Timeout = patience
		if t.Interface != "" {
			local, _, err := s.source(t, to.Addr())
			if err != nil {
				return nil, err
			}
			d.Local, d.Device = local, t.Interface
		}
		return d.Dial(ctx, network, to)
	}
}
