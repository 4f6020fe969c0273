package netcfg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// port is one interface in our care.
type port struct {
	m        *Manager
	log      *slog.Logger
	index    int
	name     string
	hostname string
	entry    Interface
	cancel   context.CancelFunc
	up       chan struct{} // one slot: carrier came back
	// standardMTU holds unless a lease has another.
	standardMTU int

	mu      sync.Mutex
	stopped bool // nothing of ours may touch the interface any more
	carrier bool
	lease   *Lease
	leased  bool // there was a lease, perhaps lost since
	lease6  *Lease
	leased6 bool
	fault   error
}

func newPort(m *Manager, l netlink.Link, entry Interface) *port {
	a := l.Attrs()
	mtu := m.mtu(l)
	if entry.MTU != 0 {
		mtu = entry.MTU
	}
	return &port{standardMTU: mtu, m: m, log: m.log.With("interface", a.Name), index: a.Index, name: a.Name, hostname: m.config.Hostname,
		entry: entry, carrier: hasCarrier(l), up: make(chan struct{}, 1), cancel: func() {}}
}

// same reports whether the port is what a new one would be.
func (p *port) same(name, hostname string, o Interface) bool {
	return p.name == name && p.hostname == hostname && reflect.DeepEqual(p.entry, o)
}

// start sets the interface up. Protective settings come before the link does.
func (p *port) start(l netlink.Link) error {
	err := p.m.o.Sysctls.Set(append(perInterface(p.name), autoconf(p.name, p.entry)...)...)
	err = errors.Join(err, setMTU(l, p.standardMTU))
	if !p.entry.AcceptsRA() {
		err = errors.Join(err, dropAutoconf(l))
	}
	if uerr := netlink.LinkSetUp(l); uerr != nil {
		err = errors.Join(err, fmt.Errorf("bringing the link up: %w", uerr))
	}
	p.mu.Lock()
	err = errors.Join(err, p.apply(l))
	p.mu.Unlock()
	p.log.Info("interface configured", "mac", l.Attrs().HardwareAddr.String(), "dhcp4", p.entry.DHCP4, "accept_ra", p.entry.AcceptsRA(), "addresses", len(p.entry.Addresses))
	if p.entry.DHCP4 {
		ctx, cancel := context.WithCancel(context.Background())
		p.cancel = cancel
		client := &dhcpClient{wire: link4{p.name, l.Attrs().HardwareAddr, p.hostname}, log: p.log, up: p.up, carrier: p.hasCarrier, set: p.setLease}
		p.m.running.Go(func() { client.run(ctx) })
	}
	if p.entry.DHCP6 {
		ctx, cancel := context.WithCancel(context.Background())
		before := p.cancel
		p.cancel = func() { before(); cancel() }
		client := &dhcp6Client{name: p.name, mac: l.Attrs().HardwareAddr, log: p.log, carrier: p.hasCarrier, set: p.setLease6}
		p.m.running.Go(func() { client.run(ctx) })
	}
	return err
}

// setMTU sets the MTU, unless it is 0 or the link has it.
func setMTU(l netlink.Link, mtu int) error {
	if mtu == 0 || mtu == l.Attrs().MTU {
		return nil
	}
	if err := netlink.LinkSetMTU(l, mtu); err != nil {
		return fmt.Errorf("setting the MTU to %d: %w", mtu, err)
	}
	return nil
}

// stop ends the care. It does not wait for the DHCP client, which may want the
// manager's lock that our caller holds; but the client can change nothing any
// more.
func (p *port) stop() {
	p.cancel()
	p.mu.Lock()
	p.stopped = true
	p.mu.Unlock()
}

// noteCarrier tells the DHCP client when the link came back.
func (p *port) noteCarrier(now bool) {
	p.mu.Lock()
	before := p.carrier
	p.carrier = now
	p.mu.Unlock()
	if now && !before {
		select {
		case p.up <- struct{}{}:
		default:
		}
	}
}

func (p *port) hasCarrier() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.carrier
}

// setLease takes a new lease, or nil when it was lost.
func (p *port) setLease(l *Lease) {
	if p.takeLease(l) {
		p.m.resolversChanged()
	}
}

// setLease6 is setLease for DHCPv6.
func (p *port) setLease6(l *Lease) {
	if p.change(func() { p.lease6, p.leased6 = l, true }) {
		p.m.resolversChanged()
	}
}

func (p *port) takeLease(l *Lease) bool {
	return p.change(func() { p.lease, p.leased = l, true })
}

// change puts a new lease into effect, unless the port is not ours any more.
func (p *port) change(note func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return false
	}
	note()
	link, err := netlink.LinkByIndex(p.index)
	if err == nil {
		err = p.apply(link)
	}
	if err != nil && !errors.Is(err, unix.ENODEV) {
		p.log.Error("applying the lease", "err", err)
	}
	return true
}

// apply gives the link what configuration and lease say. The caller holds mu.
func (p *port) apply(link netlink.Link) error {
	var addresses []wantedAddress
	for _, a := range p.entry.Addresses {
		addresses = append(addresses, wantedAddress{prefix: a})
	}
	var routes []wantedRoute
	for _, r := range p.entry.Routes {
		routes = append(routes, wantedRoute{r, false})
	}
	var err error
	if l := p.lease; l != nil {
		addresses = append(addresses, wantedAddress{l.Address, l.Expires})
		for _, r := range l.Routes {
			if r.To.Bits() == 0 && p.entry.WithoutDefaultRoute() {
				continue
			}
			routes = append(routes, wantedRoute{r, true})
		}
		if p.entry.MTU == 0 {
			err = setMTU(link, l.MTU)
		}
	}
	if l := p.lease6; l != nil && l.Address.IsValid() {
		addresses = append(addresses, wantedAddress{l.Address, l.Expires})
	}
	drop6 := !p.entry.DHCP6 || p.leased6
	for n := range routes {
		if routes[n].Metric == 0 {
			routes[n].Metric = p.entry.Metric
		}
	}
	if p.entry.DHCP4 && !p.leased {
		// Until there is a lease, the address and routes that the last process
		// got stay: calls go on while the fence restarts.
		p.fault = errors.Join(err, setAddresses(link, addresses, false, drop6), addRoutes(link, routes, addresses))
	} else {
		p.fault = errors.Join(err, setAddresses(link, addresses, true, drop6), setRoutes(link, routes, addresses))
	}
	return p.fault
}

// servers are the name and time servers it knows.
func (p *port) servers() (r resolver, ntp []netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r = resolver{servers: slices.Clone(p.entry.Nameservers), search: slices.Clone(p.entry.Search)}
	if p.lease != nil {
		r.servers = append(r.servers, p.lease.Nameservers...)
		r.search = append(r.search, p.lease.Search...)
		ntp = slices.Clone(p.lease.NTP)
	}
	if p.lease6 != nil {
		r.servers = append(r.servers, p.lease6.Nameservers...)
		r.search = append(r.search, p.lease6.Search...)
	}
	return r, ntp
}

// describe adds to s what the kernel does not know.
func (p *port) describe(s *State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Managed, s.Zone, s.Limit = true, p.entry.Zone, p.entry.Limit
	if p.lease != nil {
		l := *p.lease
		s.Lease = &l
	}
	if p.lease6 != nil {
		l := *p.lease6
		s.Lease6 = &l
	}
	if p.fault != nil {
		s.Error = p.fault.Error()
	}
}
