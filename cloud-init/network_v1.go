package cloudinit

import (
	"net/netip"
	"strings"
)

// version1 reads what Proxmox VE and older tools write: a list of physical
// interfaces, VLANs and name servers.
func (w *Network) version1(root node) {
	var servers []netip.Addr
	var search []string
	root.fields(map[string]func(node){
		"version": func(node) {},
		"config": func(n node) {
			for _, item := range n.list(2 * maxInterfaces) {
				switch kind := item.child("type"); kind {
				case "physical", "vlan":
					i := item.interface1(kind == "vlan")
					w.add(item, i.ID, i)
				case "nameserver":
					s, d := item.nameserver1()
					servers, search = append(servers, s...), append(search, d...)
				default:
					item.refuse("type must be physical, vlan or nameserver")
				}
			}
		},
	}, false)
	// Version 1 knows name servers of the machine; ours belong to interfaces.
	if len(w.Interfaces) > 0 {
		first := &w.Interfaces[0]
		first.Nameservers = append(first.Nameservers, servers...)
		first.Search = append(first.Search, search...)
	}
}

// child returns the text of one key without judging the others.
func (n node) child(key string) (text string) {
	n.each(func(k string, value node) {
		if k == key {
			text = value.text(64)
		}
	})
	return text
}

func (n node) interface1(vlan bool) Interface {
	var i Interface
	known := map[string]func(node){
		"type":      func(node) {},
		"name":      func(n node) { i.ID = n.text(32) },
		"mtu":       func(n node) { i.MTU = n.integer(minMTU, maxMTU) },
		"accept-ra": func(n node) { b := n.boolean(); i.AcceptRA = &b },
		"subnets": func(n node) {
			for _, s := range n.list(maxAddresses) {
				i.subnet1(s)
			}
		},
	}
	if vlan {
		known["vlan_id"] = func(n node) { i.VLAN = n.integer(1, 4094) }
		known["vlan_link"] = func(n node) { i.Link = n.text(32) }
	} else {
		known["mac_address"] = func(n node) { i.MAC = n.mac() }
	}
	n.fields(known, false)
	switch {
	case i.ID == "":
		n.refuse("needs a name")
	case vlan && (i.VLAN == 0 || i.Link == ""):
		n.refuse("needs vlan_id and vlan_link")
	}
	return i
}

func (i *Interface) subnet1(n node) {
	var address, netmask, gateway node
	kind := ""
	n.fields(map[string]func(node){
		"type":            func(n node) { kind = n.text(32) },
		"address":         func(n node) { address = n },
		"netmask":         func(n node) { netmask = n },
		"gateway":         func(n node) { gateway = n },
		"dns_nameservers": func(n node) { i.Nameservers = append(i.Nameservers, n.addrs1()...) },
		"dns_search":      func(n node) { i.Search = append(i.Search, n.domains()...) },
	}, false)
	switch kind {
	case "dhcp", "dhcp4":
		i.DHCP4 = true
	case "dhcp6", "ipv6_dhcpv6-stateful":
		i.DHCP6 = true
	case "ipv6_slaac":
		yes := true
		i.AcceptRA = &yes
	case "manual":
	case "static", "static6":
		if address.yaml == nil {
			n.refuse("needs an address")
			return
		}
		i.Addresses = append(i.Addresses, address.withNetmask(netmask))
		if gateway.yaml != nil {
			i.gateway(gateway)
		}
	default:
		n.refuse("type must be static, dhcp, dhcp6, ipv6_slaac or manual")
	}
}

// withNetmask reads "address/length", or an address and a netmask beside it.
func (n node) withNetmask(mask node) netip.Prefix {
	if mask.yaml == nil || strings.Contains(n.yaml.Value, "/") {
		return n.hostPrefix()
	}
	return n.prefixOf(mask)
}

// masked reads a network and its netmask.
func (n node) masked(mask node) netip.Prefix { return n.prefixOf(mask).Masked() }

func (n node) prefixOf(mask node) netip.Prefix {
	addr, m := n.addr(), mask.addr()
	bits := 0
	for _, b := range m.AsSlice() {
		for ; b&0x80 != 0; b <<= 1 {
			bits++
		}
	}
	p := netip.PrefixFrom(addr, bits)
	// A mask with a gap differs from the one its length makes.
	if !m.IsValid() || !p.IsValid() || netip.PrefixFrom(allOnes(m), bits).Masked().Addr() != m {
		mask.refuse("must be a netmask such as 255.255.255.0")
	}
	return p
}

// allOnes is the address of m's family with every bit set.
func allOnes(m netip.Addr) netip.Addr {
	b := m.AsSlice()
	for i := range b {
		b[i] = 0xff
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// addrs1 accepts one address or a list.
func (n node) addrs1() []netip.Addr {
	if n.yaml.Value != "" {
		return []netip.Addr{n.addr()}
	}
	return n.addrs()
}

func (n node) nameserver1() (servers []netip.Addr, search []string) {
	n.fields(map[string]func(node){
		"type":    func(node) {},
		"address": func(n node) { servers = n.addrs1() },
		"search":  func(n node) { search = n.domains() },
	}, false)
	return servers, search
}
