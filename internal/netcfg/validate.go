package netcfg

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"ringfence/internal/telephony"
)

// maxName is the longest name of an interface (IFNAMSIZ less the final zero).
const maxName = 15

// Validate reports the first reason why c cannot be used, as a
// *telephony.FieldError.
func (c Config) Validate() error {
	if c.Hostname != "" && !isHostname(c.Hostname) {
		return refuse("hostname", "is no host name (RFC 1123 section 2.1)")
	}
	if len(c.Interfaces) > MaxInterfaces {
		return refuse("interfaces", "%d interfaces, at most %d are possible", len(c.Interfaces), MaxInterfaces)
	}
	for n, i := range c.Interfaces {
		at := fmt.Sprintf("interfaces[%d]", n)
		if err := i.validate(at); err != nil {
			return err
		}
		if err := i.apart(at, c.Interfaces[:n]); err != nil {
			return err
		}
	}
	return c.validateNTP()
}

func (c Config) validateNTP() error {
	if len(c.NTP) > MaxServers {
		return refuse("ntp", "has %d entries, at most %d are possible", len(c.NTP), MaxServers)
	}
	for n, s := range c.NTP {
		field := fmt.Sprintf("ntp[%d]", n)
		switch {
		case !isTimeServer(s):
			return refuse(field, "must be the address or the name of a time server")
		case slices.Contains(c.NTP[:n], s):
			return refuse(field, "%s appears twice", s)
		}
	}
	return nil
}

// isTimeServer reports whether s is the address of a host, or a name that no
// resolver takes for an address.
func isTimeServer(s string) bool {
	if a, err := netip.ParseAddr(s); err == nil {
		return isHost(a) && a.Zone() == "" && !a.Is4In6()
	}
	last := s[strings.LastIndexByte(s, '.')+1:]
	return isHostname(s) && strings.Trim(last, "0123456789") != ""
}

// CheckReach refuses a configuration by which no administrator could reach the
// portal.
func (c Config) CheckReach() error {
	if !slices.ContainsFunc(c.Interfaces, Interface.forPeople) {
		return refuse("interfaces", "no interface is left that administrators could use")
	}
	return nil
}

// forPeople reports whether the portal can be reached through i.
func (i Interface) forPeople() bool {
	return i.Zone != ZoneTrunk && !i.Addressless()
}

func refuse(field, format string, args ...any) error {
	return &telephony.FieldError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// apart refuses what would be two entries for one interface.
func (i Interface) apart(at string, before []Interface) error {
	for _, o := range before {
		switch {
		case i.VLAN != 0 && o.VLAN == i.VLAN && o.Link == i.Link:
			return refuse(at+".vlan", "VLAN %d of this interface appears twice", i.VLAN)
		case i.VLAN != 0 && i.Name != "" && o.Name == i.Name:
			return refuse(at+".name", "another interface has this name")
		case i.VLAN == 0 && o.VLAN == 0 && o.MAC == i.MAC && o.Name == i.Name:
			return refuse(at+".name", "another entry is for the same interface")
		}
	}
	return nil
}

func (i Interface) validate(at string) error {
	if i.MAC != "" && !isMAC(i.MAC) {
		return refuse(at+".mac", "must be six lower-case octets joined by colons")
	}
	if err := i.validateName(at); err != nil {
		return err
	}
	if i.MTU != 0 && (i.MTU < MinMTU || i.MTU > MaxMTU) {
		return refuse(at+".mtu", "must be within %d..%d, or 0 for the network's choice", MinMTU, MaxMTU)
	}
	if i.Metric < 0 || i.Metric > MaxMetric {
		return refuse(at+".metric", "must be within 0..%d", MaxMetric)
	}
	if i.Limit != 0 && (i.Limit < MinLimit || i.Limit > MaxLimit) {
		return refuse(at+".limit", "must be within %d..%d packets per second, or 0 for no limit", MinLimit, MaxLimit)
	}
	switch i.Zone {
	case ZoneAny, ZoneVoice, ZoneManagement, ZoneTrunk:
	default:
		return refuse(at+".zone", "must be empty, %s, %s or %s", ZoneVoice, ZoneManagement, ZoneTrunk)
	}
	lists := []struct {
		name      string
		have, max int
	}{{"addresses", len(i.Addresses), MaxAddresses}, {"routes", len(i.Routes), MaxRoutes}, {"nameservers", len(i.Nameservers), MaxServers}, {"search", len(i.Search), MaxServers}}
	for _, l := range lists {
		if l.have > l.max {
			return refuse(at+"."+l.name, "has %d entries, at most %d are possible", l.have, l.max)
		}
	}
	for _, check := range []func(string) error{i.validateAddresses, i.validateRoutes, i.validateNames} {
		if err := check(at); err != nil {
			return err
		}
	}
	return nil
}

// validateName looks at what says which interface is meant.
func (i Interface) validateName(at string) error {
	if i.VLAN == 0 {
		switch {
		case i.Link != "":
			return refuse(at+".vlan", "must be the number of the VLAN, 1..4094")
		case i.Name != "" && !isPattern(i.Name):
			return refuse(at+".name", "is no interface name")
		}
		return nil
	}
	switch {
	case i.VLAN < 1 || i.VLAN > 4094: // IEEE 802.1Q reserves 0 and 4095
		return refuse(at+".vlan", "must be within 1..4094")
	case i.MAC != "":
		return refuse(at+".mac", "must be empty: a VLAN has the address of the interface below it")
	case !isMAC(i.Link) && !isName(i.Link):
		return refuse(at+".link", "must be the name or the MAC address of the interface below the VLAN")
	case i.Name != "" && !isName(i.Name):
		return refuse(at+".name", "is no interface name")
	case i.Name == "" && !isMAC(i.Link) && len(vlanName(i.Link, i.VLAN)) > maxName:
		return refuse(at+".name", "must be given: %s is too long", vlanName(i.Link, i.VLAN))
	}
	return nil
}

func vlanName(link string, id int) string { return fmt.Sprintf("%s.%d", link, id) }

func (i Interface) validateAddresses(at string) error {
	for n, p := range i.Addresses {
		a := p.Addr()
		field := fmt.Sprintf("%s.addresses[%d]", at, n)
		switch {
		case !p.IsValid() || a.Is4In6() || a.Zone() != "":
			return refuse(field, "must be an address with its prefix length, such as 192.0.2.10/24")
		case a.IsUnspecified() || a.IsLoopback() || a.IsMulticast():
			return refuse(field, "%s cannot belong to an interface", p)
		case a.Is4() && p.Bits() < 31 && (a == p.Masked().Addr() || a == broadcast(p)):
			return refuse(field, "%s is the network's own or its broadcast address", p)
		case slices.ContainsFunc(i.Addresses[:n], func(o netip.Prefix) bool { return o.Addr() == a }):
			return refuse(field, "%s appears twice", a)
		}
	}
	return nil
}

func broadcast(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for i := range b {
		if host := (i+1)*8 - p.Bits(); host > 0 {
			b[i] |= byte(1<<min(host, 8) - 1)
		}
	}
	return netip.AddrFrom4(b)
}

func (i Interface) validateRoutes(at string) error {
	for n, r := range i.Routes {
		field := func(name string) string { return fmt.Sprintf("%s.routes[%d].%s", at, n, name) }
		switch {
		case !r.To.IsValid() || r.To.Addr().Is4In6():
			return refuse(field("to"), "must be a network such as 198.51.100.0/24")
		case !r.Via.IsValid() || r.Via.Is4In6() || r.Via.Zone() != "":
			return refuse(field("via"), "must be the address of a router")
		case r.To.Masked() != r.To:
			return refuse(field("to"), "%s: host bits are set", r.To)
		case r.To.Bits() == 0 && i.WithoutDefaultRoute():
			return refuse(field("to"), "this interface is to have no default route")
		case r.To.Addr().Is4() != r.Via.Is4():
			return refuse(field("via"), "%s and %s: different address families", r.To, r.Via)
		case r.Via.IsUnspecified() || r.Via.IsLoopback() || r.Via.IsMulticast():
			return refuse(field("via"), "no router has the address %s", r.Via)
		case r.Metric < 0 || r.Metric > MaxMetric:
			return refuse(field("metric"), "must be within 0..%d", MaxMetric)
		}
	}
	return nil
}

func (i Interface) validateNames(at string) error {
	for n, a := range i.Nameservers {
		if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() {
			return refuse(fmt.Sprintf("%s.nameservers[%d]", at, n), "must be the address of a host")
		}
	}
	for n, s := range i.Search {
		if !isHostname(s) {
			return refuse(fmt.Sprintf("%s.search[%d]", at, n), "is no domain name")
		}
	}
	return nil
}

// isHostname reports whether s is made of labels of letters, digits and inner
// hyphens (RFC 1123 section 2.1), so that it is safe in resolv.conf and on the
// wire.
func isHostname(s string) bool {
	return len(s) <= 253 && regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$`).MatchString(s)
}

// isPattern reports whether s is an interface name with an optional star at
// its end.
func isPattern(s string) bool {
	return s == "*" || isName(strings.TrimSuffix(s, "*"))
}

// isName reports whether s is an interface name as the kernel allows it: at
// most 15 bytes, no slash or space.
func isName(s string) bool {
	return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:@-]{0,14}$`).MatchString(s)
}

func isMAC(s string) bool {
	mac, err := net.ParseMAC(s)
	return err == nil && len(mac) == 6 && mac.String() == s
}
