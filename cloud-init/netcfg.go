package cloudinit

import (
	"cmp"
	"strings"

	"ringfence/internal/netcfg"
)

// Config turns the document into the host's network configuration. What this
// version cannot do is a problem; the interface in question is left out, the
// others are kept. Without any interface left ok is false.
func (w *Network) Config(hostname string) (c netcfg.Config, problems []Problem, ok bool) {
	c.Hostname = hostname
	refuse := func(i Interface, warning bool, reason string) {
		problems = append(problems, Problem{Document: NetworkConfig, Key: printable(i.ID), Reason: reason, Warning: warning})
	}
	for _, i := range w.Interfaces {
		switch name := i.Name; {
		case i.Driver != "" && i.MAC == "" && i.Name == "":
			refuse(i, false, "interfaces cannot be matched by driver alone; use the MAC address or the name")
			continue
		case strings.ContainsAny(strings.TrimSuffix(name, "*"), "*?"):
			refuse(i, false, "a name may have one wildcard, * at its end")
			continue
		}
		c.Interfaces = append(c.Interfaces, w.config(i))
		if err := c.Validate(); err != nil {
			refuse(i, false, printable(err.Error()))
			c.Interfaces = c.Interfaces[:len(c.Interfaces)-1]
		}
	}
	return c, problems, len(c.Interfaces) > 0
}

func (w *Network) config(i Interface) netcfg.Interface {
	n := netcfg.Interface{
		MAC: i.MAC, Name: i.Name,
		DHCP4: i.DHCP4, DHCP6: i.DHCP6, AcceptRA: i.AcceptRA,
		Addresses: i.Addresses, Nameservers: i.Nameservers, Search: i.Search, MTU: i.MTU,
	}
	if i.VLAN != 0 {
		n.MAC, n.VLAN, n.Link = "", i.VLAN, w.below(i.Link)
	}
	if n.MAC == "" && n.Name == "" {
		n.Name = i.ID // without a match the document's name is the kernel's
	}
	if i.DHCP6 && n.AcceptRA == nil {
		yes := true
		n.AcceptRA = &yes
	}
	for _, r := range i.Routes {
		n.Routes = append(n.Routes, netcfg.Route(r))
	}
	return n
}

// below is how the host knows the interface that a VLAN stands on.
func (w *Network) below(id string) string {
	for _, i := range w.Interfaces {
		if i.ID == id {
			return cmp.Or(i.MAC, i.Name, i.ID)
		}
	}
	return id
}
