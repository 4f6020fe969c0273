package netcfg

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
)

// Options are what a Manager needs.
type Options struct {
	// ResolvConf is the file for name servers; empty writes none.
	ResolvConf string
	// TimeServers is the file for time servers; empty writes none.
	TimeServers string
	Sysctls     Sysctls
	Logger      *slog.Logger
}

// Manager gives the host the network that its configuration asks for, and
// keeps it: DHCP leases are renewed, interfaces that appear later are
// configured too. It touches Ethernet interfaces that match only.
type Manager struct {
	o   Options
	log *slog.Logger

	running sync.WaitGroup // DHCP clients

	mu     sync.Mutex // taken before a port's
	closed bool
	config Config
	ports  map[int]*port // by interface index
	mtus   map[int]int   // by interface index, before any change of ours
}

// NewManager returns a manager that does nothing before Configure.
func NewManager(o Options) *Manager {
	return &Manager{o: o, log: o.Logger, ports: map[int]*port{}, mtus: map[int]int{}}
}

// Configure makes c the configuration. It returns when links are up and static
// settings in place; leases follow. The error joins what did not work; the
// rest is in effect all the same.
func (m *Manager) Configure(c Config) error {
	if err := c.Validate(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.config = c
	return m.reconcile()
}

// Refresh looks for interfaces that came, went, or gained carrier. Call it
// when Watch reports a change.
func (m *Manager) Refresh() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.reconcile(); err != nil {
		m.log.Error("configuring interfaces", "err", err)
	}
}

// Close stops renewing leases. Links, addresses and routes stay.
func (m *Manager) Close() error {
	m.mu.Lock()
	m.closed = true
	for index, p := range m.ports {
		p.stop()
		delete(m.ports, index)
	}
	m.mu.Unlock()
	m.running.Wait()
	return nil
}

// States describes the interfaces, with their leases.
func (m *Manager) States() ([]State, error) {
	list, err := List()
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	ports := make(map[string]*port, len(m.ports))
	for _, p := range m.ports {
		ports[p.name] = p
	}
	m.mu.Unlock()
	for i := range list {
		if p := ports[list[i].Name]; p != nil {
			p.describe(&list[i])
		}
	}
	return list, nil
}

// reconcile brings the ports in line with configuration and hardware. The
// caller holds mu.
func (m *Manager) reconcile() error {
	if m.closed {
		return nil
	}
	failed := []error{m.reconcileVLANs()}
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("listing interfaces: %w", err)
	}
	// What VLANs stand on comes up before them.
	slices.SortStableFunc(links, func(a, b netlink.Link) int { return rank(a) - rank(b) })
	seen := map[int]bool{}
	for _, l := range links {
		a := l.Attrs()
		if a.Flags&net.FlagLoopback != 0 && a.Flags&net.FlagUp == 0 {
			// Nobody else sets it up on the image, and programs that find no ::1
			// take the machine for one without IPv6.
			if err := netlink.LinkSetUp(l); err != nil {
				failed = append(failed, fmt.Errorf("interface %s: %w", a.Name, err))
			}
		}
		entry, ok := m.entry(l, links)
		if !ok {
			continue
		}
		seen[a.Index] = true
		p := m.ports[a.Index]
		if p != nil && p.same(a.Name, m.config.Hostname, entry) {
			p.noteCarrier(hasCarrier(l))
			continue
		}
		if p != nil {
			p.stop()
		}
		p = newPort(m, l, entry)
		m.ports[a.Index] = p
		if err := p.start(l); err != nil {
			failed = append(failed, fmt.Errorf("interface %s: %w", a.Name, err))
		}
	}
	for index, p := range m.ports {
		if !seen[index] {
			p.stop()
			delete(m.ports, index)
			failed = append(failed, m.leave(index))
		}
	}
	m.writeServers()
	return errors.Join(failed...)
}

// leave takes back what we did to an interface that is not ours any more, if
// it is there at all.
func (m *Manager) leave(index int) error {
	link, err := netlink.LinkByIndex(index)
	if err != nil {
		return nil
	}
	m.log.Info("interface given up", "interface", link.Attrs().Name)
	err = errors.Join(setAddresses(link, nil, true, true), setRoutes(link, nil, nil), netlink.LinkSetDown(link))
	if err != nil {
		return fmt.Errorf("giving interface %s up: %w", link.Attrs().Name, err)
	}
	return nil
}

// mtu is what an interface had before we changed it.
func (m *Manager) mtu(l netlink.Link) int {
	a := l.Attrs()
	if _, known := m.mtus[a.Index]; !known {
		m.mtus[a.Index] = a.MTU
	}
	return m.mtus[a.Index]
}

// entry finds what the configuration says about a link.
func (m *Manager) entry(l netlink.Link, all []netlink.Link) (Interface, bool) {
	if v, is := l.(*netlink.Vlan); is {
		return m.vlanEntry(v, all)
	}
	if !isEthernet(l) {
		return Interface{}, false
	}
	a := l.Attrs()
	entry, ok := m.config.find(a.Name, a.HardwareAddr.String())
	if !ok && m.config.carriesVLAN(l) {
		no := false
		return Interface{AcceptRA: &no}, true // up, and nothing more
	}
	return entry, ok
}

// resolversChanged is for ports whose lease changed.
func (m *Manager) resolversChanged() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.writeServers()
	}
}

// writeServers tells others the name and time servers. The caller holds mu.
func (m *Manager) writeServers() {
	indexes := make([]int, 0, len(m.ports))
	for i := range m.ports {
		indexes = append(indexes, i)
	}
	slices.Sort(indexes)
	var list []resolver
	times := TimeServers{Configured: m.config.NTP}
	for _, i := range indexes {
		r, ntp := m.ports[i].servers()
		list = append(list, r)
		times.learn(ntp)
	}
	if m.o.ResolvConf != "" {
		if err := writeShared(m.o.ResolvConf, resolvConf(list)); err != nil {
			m.log.Error("telling the resolver its servers", "err", err)
		}
	}
	if m.o.TimeServers != "" {
		if err := times.write(m.o.TimeServers); err != nil {
			m.log.Error("telling the time servers", "err", err)
		}
	}
}
