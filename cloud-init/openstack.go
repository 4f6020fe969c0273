package cloudinit

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"slices"
)

// Names of the documents of a config drive, below openstack/latest.
const (
	openStackMeta    = "meta_data.json"
	openStackUser    = "user_data"
	openStackNetwork = "network_data.json"
)

// parseJSON reads one JSON document, which YAML contains but for its white
// space.
func (d *document) parseJSON(data []byte) (node, bool) {
	if len(data) > MaxDocument {
		d.add(0, "", false, "is larger than %d bytes", MaxDocument)
		return node{}, false
	}
	var flat bytes.Buffer
	if err := json.Compact(&flat, data); err != nil {
		d.add(0, "", false, "is not JSON: %s", printable(err.Error()))
		return node{}, false
	}
	return d.parse(flat.Bytes())
}

// readOpenStackMeta reads meta_data.json. It holds more than is of use here,
// secrets among it, and more with every release.
func readOpenStackMeta(d *document, data []byte) (m metaData) {
	root, ok := d.parseJSON(data)
	if !ok {
		return m
	}
	root.each(func(key string, value node) {
		switch {
		case value.empty():
		case key == "uuid":
			m.instanceID = value.text(128)
		case key == "hostname":
			m.hostname = value.hostname()
		case key == "public_keys":
			m.keys = value.sshKeys()
		}
	})
	return m
}

// readOpenStackNetwork reads network_data.json; nil means that there is
// nothing to configure.
func readOpenStackNetwork(d *document, data []byte) *Network {
	root, ok := d.parseJSON(data)
	if !ok {
		return nil
	}
	w := &Network{}
	var networks, services node
	root.fields(map[string]func(node){
		"links": func(n node) {
			for _, item := range n.list(maxInterfaces) {
				i := item.openStackLink()
				w.add(item, i.ID, i)
			}
		},
		"networks": func(n node) { networks = n },
		"services": func(n node) { services = n },
	}, true)
	if networks.yaml != nil {
		for _, item := range networks.list(maxInterfaces * maxAddresses) {
			w.openStackNetwork(item)
		}
	}
	if services.yaml != nil && len(w.Interfaces) > 0 {
		first := &w.Interfaces[0]
		first.Nameservers = append(first.Nameservers, services.openStackServers()...)
	}
	if w.check(root); len(w.Interfaces) == 0 {
		return nil
	}
	return w
}

// openStackLink reads one of "links": a port of a virtual switch, of whatever
// kind, or a VLAN on top of one.
func (n node) openStackLink() Interface {
	var i Interface
	kind := ""
	n.fields(map[string]func(node){
		"id":                   func(n node) { i.ID = n.text(64) },
		"type":                 func(n node) { kind = n.text(32) },
		"ethernet_mac_address": func(n node) { i.MAC = n.mac() },
		"mtu":                  func(n node) { i.MTU = n.integer(minMTU, maxMTU) },
		"vlan_id":              func(n node) { i.VLAN = n.integer(1, 4094) },
		"vlan_link":            func(n node) { i.Link = n.text(64) },
	}, true)
	switch {
	case i.ID == "":
		n.refuse("needs an id")
	case kind == "bond":
		n.refuse("bonds are not supported")
	case kind == "vlan" && (i.VLAN == 0 || i.Link == ""):
		n.refuse("needs vlan_id and vlan_link")
	case kind != "vlan" && i.MAC == "":
		n.refuse("needs ethernet_mac_address")
	}
	return i
}

// openStackNetwork reads one of "networks": an address on a link, or how it
// gets one.
func (w *Network) openStackNetwork(n node) {
	var link, kind string
	var address, netmask, gateway, routes, services node
	n.fields(map[string]func(node){
		"id": func(node) {}, "network_id": func(node) {},
		"link":       func(n node) { link = n.text(64) },
		"type":       func(n node) { kind = n.text(32) },
		"ip_address": func(n node) { address = n },
		"netmask":    func(n node) { netmask = n },
		"gateway":    func(n node) { gateway = n },
		"routes":     func(n node) { routes = n },
		"services":   func(n node) { services = n },
	}, true)
	at := slices.IndexFunc(w.Interfaces, func(i Interface) bool { return i.ID == link })
	if at < 0 {
		n.refuse("its link is none of this document")
		return
	}
	i := &w.Interfaces[at]
	yes := true
	switch kind {
	case "ipv4_dhcp":
		i.DHCP4 = true
	case "ipv6_dhcp", "ipv6_dhcpv6-stateful":
		i.DHCP6 = true
	case "ipv6_slaac", "ipv6_dhcpv6-stateless":
		i.AcceptRA = &yes
	case "ipv4", "ipv6":
		if address.yaml == nil {
			n.refuse("needs ip_address")
			return
		}
		i.Addresses = append(i.Addresses, address.withNetmask(netmask))
	default:
		n.refuse("type must be ipv4, ipv4_dhcp, ipv6, ipv6_dhcp, ipv6_slaac or one of ipv6_dhcpv6")
	}
	if gateway.yaml != nil {
		i.gateway(gateway)
	}
	if routes.yaml != nil {
		i.openStackRoutes(routes)
	}
	if services.yaml != nil {
		i.Nameservers = append(i.Nameservers, services.openStackServers()...)
	}
}

func (i *Interface) openStackRoutes(n node) {
	for _, item := range n.list(maxRoutes) {
		var network, netmask node
		var via netip.Addr
		item.fields(map[string]func(node){
			"network":  func(n node) { network = n },
			"netmask":  func(n node) { netmask = n },
			"gateway":  func(n node) { via = n.addr() },
			"services": func(node) {},
		}, true)
		if network.yaml == nil || netmask.yaml == nil || !via.IsValid() {
			item.refuse("needs network, netmask and gateway")
			continue
		}
		to := network.masked(netmask)
		if to.Addr().Is4() != via.Is4() {
			item.refuse("mixes IPv4 and IPv6")
		}
		if len(i.Routes) < maxRoutes {
			i.Routes = append(i.Routes, Route{To: to, Via: via})
		}
	}
}

// openStackServers reads the name servers of a list of services.
func (n node) openStackServers() (servers []netip.Addr) {
	for _, item := range n.list(4 * maxServers) {
		kind := ""
		var address node
		item.fields(map[string]func(node){
			"type":    func(n node) { kind = n.text(32) },
			"address": func(n node) { address = n },
		}, true)
		if kind == "dns" && address.yaml != nil {
			if a := address.addr(); !slices.Contains(servers, a) {
				servers = append(servers, a)
			}
		}
	}
	return servers
}
