package netcfg

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// metricBase is the metric of IPv4 default routes; the interface's index is
// added, so that the first interface wins where several have one.
const metricBase = 100

// wantedAddress is an address that the link shall have.
type wantedAddress struct {
	prefix netip.Prefix
	until  time.Time // zero: for ever
}

// wantedRoute is a route that the link shall have.
type wantedRoute struct {
	Route
	leased bool
}

// isEthernet reports whether we configure such links: hardware, and the cables
// of test namespaces.
func isEthernet(l netlink.Link) bool {
	a := l.Attrs()
	return a.EncapType == "ether" && a.Flags&net.FlagLoopback == 0 && (l.Type() == "device" || l.Type() == "veth")
}

func hasCarrier(l netlink.Link) bool {
	return l.Attrs().RawFlags&unix.IFF_RUNNING != 0
}

// setAddresses gives the link the wanted addresses. It takes others away:
// permanent ones, and leased ones of the families to drop. Addresses that the
// kernel made by itself (link-local, autoconfigured) stay.
func setAddresses(link netlink.Link, want []wantedAddress, dropIPv4, dropIPv6 bool) error {
	var failed []error
	for _, w := range want {
		a := &netlink.Addr{IPNet: toIPNet(w.prefix)}
		if !w.until.IsZero() {
			// The kernel takes a leased address away by itself, should we not live
			// to do it.
			left := int(min(max(time.Until(w.until).Seconds(), 1), math.MaxInt32))
			a.ValidLft, a.PreferedLft = left, left
		}
		if err := netlink.AddrReplace(link, a); err != nil {
			failed = append(failed, fmt.Errorf("adding address %s: %w", w.prefix, err))
		}
	}
	have, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return errors.Join(append(failed, fmt.Errorf("listing addresses: %w", err))...)
	}
	for _, a := range have {
		p := fromIPNet(a.IPNet)
		switch {
		case slices.ContainsFunc(want, func(w wantedAddress) bool { return w.prefix == p }):
			continue
		case p.Addr().Is4() && !dropIPv4 && a.Flags&unix.IFA_F_PERMANENT == 0:
			continue // leased; a static one belongs to an earlier configuration
		case p.Addr().Is6() && p.Bits() == 128 && a.Flags&unix.IFA_F_PERMANENT == 0 && dropIPv6:
			// By DHCPv6: autoconfigured ones have the prefix of their network.
		case p.Addr().Is6() && (p.Addr().IsLinkLocalUnicast() || a.Flags&unix.IFA_F_PERMANENT == 0):
			continue
		}
		if err := netlink.AddrDel(link, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			failed = append(failed, fmt.Errorf("removing address %s: %w", p, err))
		}
	}
	return errors.Join(failed...)
}

// dropAutoconf takes away what router advertisements brought, after they are
// not to count any more.
func dropAutoconf(link netlink.Link) error {
	var failed []error
	have, err := netlink.AddrList(link, netlink.FAMILY_V6)
	if err != nil {
		return fmt.Errorf("listing addresses: %w", err)
	}
	for _, a := range have {
		p := fromIPNet(a.IPNet)
		if p.Addr().IsLinkLocalUnicast() || p.Bits() == 128 || a.Flags&unix.IFA_F_PERMANENT != 0 {
			continue
		}
		if err := netlink.AddrDel(link, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			failed = append(failed, fmt.Errorf("removing address %s: %w", p, err))
		}
	}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V6, &netlink.Route{LinkIndex: link.Attrs().Index, Protocol: unix.RTPROT_RA},
		netlink.RT_FILTER_OIF|netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		failed = append(failed, fmt.Errorf("listing routes: %w", err))
	}
	for _, r := range routes {
		if err := netlink.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
			failed = append(failed, fmt.Errorf("removing route to %s: %w", r.Dst, err))
		}
	}
	return errors.Join(failed...)
}

// addRoutes gives the link the wanted routes.
func addRoutes(link netlink.Link, want []wantedRoute, addresses []wantedAddress) error {
	var failed []error
	for _, w := range want {
		r := kernelRoute(link, w, addresses)
		if err := netlink.RouteReplace(&r); err != nil {
			failed = append(failed, fmt.Errorf("adding route to %s via %s: %w", w.To, w.Via, err))
		}
	}
	return errors.Join(failed...)
}

// setRoutes gives the link the wanted routes and takes away those it has from
// an earlier configuration or lease.
func setRoutes(link netlink.Link, want []wantedRoute, addresses []wantedAddress) error {
	failed := []error{addRoutes(link, want, addresses)}
	var wanted []netlink.Route
	for _, w := range want {
		wanted = append(wanted, kernelRoute(link, w, addresses))
	}
	for _, protocol := range []netlink.RouteProtocol{unix.RTPROT_STATIC, unix.RTPROT_DHCP} {
		have, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{LinkIndex: link.Attrs().Index, Protocol: protocol},
			netlink.RT_FILTER_OIF|netlink.RT_FILTER_PROTOCOL)
		if err != nil {
			failed = append(failed, fmt.Errorf("listing routes: %w", err))
			continue
		}
		for _, h := range have {
			if slices.ContainsFunc(wanted, func(w netlink.Route) bool { return sameRoute(w, h) }) {
				continue
			}
			if err := netlink.RouteDel(&h); err != nil && !errors.Is(err, unix.ESRCH) {
				failed = append(failed, fmt.Errorf("removing route to %s: %w", h.Dst, err))
			}
		}
	}
	return errors.Join(failed...)
}

func kernelRoute(link netlink.Link, w wantedRoute, addresses []wantedAddress) netlink.Route {
	r := netlink.Route{LinkIndex: link.Attrs().Index, Dst: toIPNet(w.To), Protocol: unix.RTPROT_STATIC, Priority: w.Metric, Table: unix.RT_TABLE_MAIN}
	if w.leased {
		r.Protocol = unix.RTPROT_DHCP
	}
	if w.Metric == 0 && w.To.Addr().Is4() {
		r.Priority = metricBase + link.Attrs().Index
	}
	if w.Via.IsUnspecified() { // RFC 3442: the destination is on this link
		r.Scope = netlink.SCOPE_LINK
		return r
	}
	r.Gw = w.Via.AsSlice()
	if !w.Via.IsLinkLocalUnicast() && !slices.ContainsFunc(addresses, func(a wantedAddress) bool { return a.prefix.Contains(w.Via) }) {
		// Clouds lease a /32 and name a router outside of it.
		r.Flags |= int(netlink.FLAG_ONLINK)
	}
	return r
}

func sameRoute(a, b netlink.Route) bool {
	return fromIPNet(a.Dst) == fromIPNet(b.Dst) && a.Gw.Equal(b.Gw) && a.Protocol == b.Protocol && (a.Priority == b.Priority || a.Priority == 0)
}

func toIPNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func fromIPNet(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	a, _ := netip.AddrFromSlice(n.IP)
	ones, size := n.Mask.Size()
	if size == 32 {
		a = a.Unmap()
	}
	return netip.PrefixFrom(a, ones)
}

// List describes the Ethernet interfaces of the host as they are.
func List() ([]State, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("listing interfaces: %w", err)
	}
	var out []State
	for _, l := range links {
		a := l.Attrs()
		if a.Flags&net.FlagLoopback != 0 {
			continue
		}
		s := State{Name: a.Name, MAC: a.HardwareAddr.String(), Up: a.Flags&net.FlagUp != 0, Carrier: hasCarrier(l), MTU: a.MTU}
		if v, is := l.(*netlink.Vlan); is {
			s.VLAN = v.VlanId
			if below := slices.IndexFunc(links, func(l netlink.Link) bool { return l.Attrs().Index == a.ParentIndex }); below >= 0 {
				s.Link = links[below].Attrs().Name
			}
		}
		addresses, err := netlink.AddrList(l, netlink.FAMILY_ALL)
		if err != nil {
			return nil, fmt.Errorf("listing addresses of %s: %w", a.Name, err)
		}
		for _, addr := range addresses {
			s.Addresses = append(s.Addresses, fromIPNet(addr.IPNet))
		}
		routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{LinkIndex: a.Index}, netlink.RT_FILTER_OIF)
		if err != nil {
			return nil, fmt.Errorf("listing routes of %s: %w", a.Name, err)
		}
		for _, r := range routes {
			gw, ok := netip.AddrFromSlice(r.Gw)
			if isDefault(r.Dst) && ok && !slices.Contains(s.Gateways, gw.Unmap()) {
				s.Gateways = append(s.Gateways, gw.Unmap())
			}
		}
		out = append(out, s)
	}
	return out, nil
}

func isDefault(dst *net.IPNet) bool {
	if dst == nil {
		return true
	}
	ones, _ := dst.Mask.Size()
	return ones == 0 && dst.IP.IsUnspecified()
}
