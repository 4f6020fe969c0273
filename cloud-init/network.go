package cloudinit

import (
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// Bounds of a network-config document.
const (
	maxInterfaces = 32
	maxAddresses  = 16
	maxRoutes     = 64
	maxServers    = 8
	minMTU        = 576
	maxMTU        = 9216
)

// Network is a network-config document: version 2 (netplan's form) or the
// part of version 1 that hypervisors write.
type Network struct {
	Interfaces []Interface `json:"interfaces"`
}

// Interface is one Ethernet interface or one VLAN on top of another interface.
type Interface struct {
	ID string `json:"id"` // the document's name for it

	// Which hardware is meant; all that are set must fit. When none is, ID is
	// the kernel's name.
	MAC    string `json:"mac,omitempty"` // lower case, colons
	Name   string `json:"name,omitempty"`
	Driver string `json:"driver,omitempty"`

	Link string `json:"link,omitempty"` // VLAN: ID of the interface below
	VLAN int    `json:"vlan,omitempty"` // 1..4094, or 0

	DHCP4    bool  `json:"dhcp4,omitempty"`
	DHCP6    bool  `json:"dhcp6,omitempty"`
	AcceptRA *bool `json:"accept_ra,omitempty"` // nil is the system's choice

	Addresses   []netip.Prefix `json:"addresses,omitempty"` // host part kept
	Routes      []Route        `json:"routes,omitempty"`
	Nameservers []netip.Addr   `json:"nameservers,omitempty"`
	Search      []string       `json:"search,omitempty"`
	MTU         int            `json:"mtu,omitempty"` // 0 is the kernel's choice
}

// Route is one static route; the default route has a zero-length prefix.
type Route struct {
	To     netip.Prefix `json:"to"`
	Via    netip.Addr   `json:"via"`
	Metric int          `json:"metric,omitempty"`
}

// readNetwork returns nil when there is nothing to configure.
func readNetwork(d *document, data []byte) *Network {
	root, ok := d.parse(data)
	if !ok {
		return nil
	}
	// Some writers put the whole document below "network", as netplan does.
	root.each(func(key string, value node) {
		if key == "network" {
			root = value
		}
	})
	version := 0
	if d.failed {
		return nil
	}
	root.each(func(key string, value node) {
		if key == "version" {
			version = value.integer(1, 2)
		}
	})
	net := &Network{}
	switch {
	case d.failed:
		return nil
	case version == 0:
		root.refuse("version is missing")
		return nil
	case version == 1:
		net.version1(root)
	default:
		net.version2(root)
	}
	net.check(root)
	return net
}

func (w *Network) version2(root node) {
	skip := func(node) {}
	root.fields(map[string]func(node){
		"version":  skip,
		"renderer": skip,
		"ethernets": func(n node) {
			n.each(func(id string, value node) { w.add(value, id, value.ethernet(id, false)) })
		},
		"vlans": func(n node) {
			n.each(func(id string, value node) { w.add(value, id, value.ethernet(id, true)) })
		},
	}, false)
}

func (w *Network) add(n node, id string, i Interface) {
	switch {
	case len(w.Interfaces) >= maxInterfaces:
		n.refuse("is more than %d interfaces", maxInterfaces)
	case slices.ContainsFunc(w.Interfaces, func(o Interface) bool { return o.ID == id }):
		n.refuse("appears twice")
	default:
		w.Interfaces = append(w.Interfaces, i)
	}
}

// ethernet reads one entry of "ethernets" or "vlans".
func (n node) ethernet(id string, vlan bool) Interface {
	i := Interface{ID: id}
	skip := func(node) {}
	known := map[string]func(node){
		"dhcp4":           func(n node) { i.DHCP4 = n.boolean() },
		"dhcp6":           func(n node) { i.DHCP6 = n.boolean() },
		"accept-ra":       func(n node) { b := n.boolean(); i.AcceptRA = &b },
		"addresses":       func(n node) { i.Addresses = n.prefixes() },
		"gateway4":        func(n node) { i.gateway(n) },
		"gateway6":        func(n node) { i.gateway(n) },
		"routes":          func(n node) { i.routes(n) },
		"nameservers":     func(n node) { i.nameservers(n) },
		"mtu":             func(n node) { i.MTU = n.integer(minMTU, maxMTU) },
		"optional":        skip, // nothing waits for the network here
		"dhcp-identifier": skip, // the MAC address is used, as for all hosts' DHCP
		"critical":        skip,
	}
	if vlan {
		known["id"] = func(n node) { i.VLAN = n.integer(1, 4094) }
		known["link"] = func(n node) { i.Link = n.text(64) }
	} else {
		known["match"] = func(n node) { i.match(n) }
		known["set-name"] = func(n node) { n.d.add(n.yaml.Line, n.path, true, "interfaces keep the kernel's names") }
		known["wakeonlan"] = skip
	}
	n.fields(known, false)
	if vlan && (i.VLAN == 0 || i.Link == "") {
		n.refuse("needs id and link")
	}
	return i
}

func (i *Interface) match(n node) {
	n.fields(map[string]func(node){
		"macaddress": func(n node) { i.MAC = n.mac() },
		"name":       func(n node) { i.Name = n.pattern() },
		"driver":     func(n node) { i.Driver = n.pattern() },
	}, false)
}

func (n node) mac() string {
	hw, err := net.ParseMAC(n.text(32))
	if err != nil || len(hw) != 6 {
		n.refuse("must be a MAC address such as 52:54:00:12:34:56")
		return ""
	}
	return hw.String()
}

// pattern reads a name that may hold * and ?, as in "en*".
func (n node) pattern() string {
	p := n.text(32)
	for _, c := range []byte(p) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_-.*?", c) >= 0) {
			n.refuse("may only hold letters, digits, _ - . and the wildcards * and ?")
			return ""
		}
	}
	return p
}

func (n node) prefixes() []netip.Prefix {
	var out []netip.Prefix
	for _, item := range n.list(maxAddresses) {
		out = append(out, item.hostPrefix())
	}
	return out
}

func (n node) hostPrefix() netip.Prefix {
	p := n.prefix()
	if a := p.Addr(); p.IsValid() && (a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || p.Bits() == 0) {
		n.refuse("is not an address a host can have")
	}
	return p
}

func (i *Interface) gateway(n node) {
	via := n.addr()
	if !via.IsValid() {
		return
	}
	i.Routes = append(i.Routes, Route{To: defaultRoute(via), Via: via})
}

func defaultRoute(via netip.Addr) netip.Prefix {
	if via.Is4() {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

func (i *Interface) routes(n node) {
	for _, item := range n.list(maxRoutes) {
		var r Route
		var to node
		item.fields(map[string]func(node){
			"to":      func(n node) { to = n },
			"via":     func(n node) { r.Via = n.addr() },
			"metric":  func(n node) { r.Metric = n.integer(0, 1<<30) },
			"on-link": func(n node) { n.boolean() },
		}, false)
		if to.yaml == nil || !r.Via.IsValid() {
			item.refuse("needs to and via")
			continue
		}
		if to.text(64) == "default" {
			r.To = defaultRoute(r.Via)
		} else if r.To = to.prefix().Masked(); r.To.Addr().Is4() != r.Via.Is4() {
			item.refuse("mixes IPv4 and IPv6")
		}
		i.Routes = append(i.Routes, r)
	}
}

func (i *Interface) nameservers(n node) {
	n.fields(map[string]func(node){
		"addresses": func(n node) { i.Nameservers = n.addrs() },
		"search":    func(n node) { i.Search = n.domains() },
	}, false)
}

func (n node) addrs() []netip.Addr {
	var out []netip.Addr
	for _, item := range n.list(maxServers) {
		out = append(out, item.addr())
	}
	return out
}

func (n node) domains() []string {
	domain := regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
	var out []string
	for _, item := range n.list(maxServers) {
		name := strings.ToLower(item.text(253))
		if !domain.MatchString(name) {
			item.refuse("must be a domain name")
		}
		out = append(out, name)
	}
	return out
}

// check looks at what only shows between interfaces.
func (w *Network) check(root node) {
	macs := make(map[string]bool)
	for _, i := range w.Interfaces {
		if i.Link != "" && !slices.ContainsFunc(w.Interfaces, func(o Interface) bool { return o.ID == i.Link && o.VLAN == 0 }) {
			root.refuse("vlan %s: its link is no Ethernet interface of this document", printable(i.ID))
		}
		if i.MAC != "" && macs[i.MAC] {
			root.refuse("%s: its MAC address belongs to another interface too", printable(i.ID))
		}
		macs[i.MAC] = true
		if len(i.Nameservers) > maxServers || len(i.Search) > maxServers || len(i.Addresses) > maxAddresses {
			root.refuse("%s: has too many name servers, search domains or addresses", printable(i.ID))
		}
		for _, r := range i.Routes {
			if r.Via.IsUnspecified() || r.Via.IsMulticast() || r.Via.IsLoopback() {
				root.refuse("%s: a gateway is not an address a host can have", printable(i.ID))
			}
		}
	}
}
