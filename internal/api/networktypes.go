package api

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"ringfence/internal/netcfg"
	"ringfence/internal/telephony"
)

// Network is the machine's network: as it is, and as it is set.
type Network struct {
	Managed    bool               `json:"managed" doc:"The network is set here. On a machine with an operating system of its own it is set there."`
	Standard   bool               `json:"standard" doc:"Nobody changed it: it is as first-boot data or the image say."`
	Interfaces []NetworkPort      `json:"interfaces" nullable:"false" doc:"Interfaces as they are now."`
	Settings   []NetworkInterface `json:"settings" nullable:"false" doc:"How they are set; the first entry that fits an interface holds."`
	NTP        []string           `json:"ntp" nullable:"false" doc:"Time servers that are set; none: those of DHCP, then the cloud's."`
	Pending    *NetworkChange     `json:"pending,omitempty" doc:"A change that waits to be confirmed."`
	Reverted   *NetworkTakenBack  `json:"reverted,omitempty" doc:"The last change that was taken back."`
	Error      string             `json:"error"`
}

// NetworkPort is an interface as it is now.
type NetworkPort struct {
	Name      string        `json:"name"`
	MAC       string        `json:"mac"`
	VLAN      int           `json:"vlan" doc:"Its id, or 0."`
	Link      string        `json:"link" doc:"The interface below a VLAN."`
	Up        bool          `json:"up"`
	Carrier   bool          `json:"carrier" doc:"The cable is in and the other end is on."`
	MTU       int           `json:"mtu"`
	Managed   bool          `json:"managed" doc:"An entry of the settings holds for it."`
	Addresses []string      `json:"addresses" nullable:"false"`
	Gateways  []string      `json:"gateways" nullable:"false" doc:"Routers of its default routes."`
	Lease     *NetworkLease `json:"lease,omitempty" doc:"By DHCP."`
	Lease6    *NetworkLease `json:"lease6,omitempty" doc:"By DHCPv6."`
	Error     string        `json:"error"`
}

// NetworkLease is what a DHCP server granted.
type NetworkLease struct {
	Address     string    `json:"address" doc:"Empty if only name servers were granted."`
	Server      string    `json:"server"`
	ExpiresAt   time.Time `json:"expires_at"`
	Nameservers []string  `json:"nameservers" nullable:"false"`
}

// NetworkInterface is how an interface, or a VLAN, is set.
type NetworkInterface struct {
	Name           string         `json:"name" maxLength:"16" doc:"Its name, which may end in *. Of a VLAN how it is called; empty: LINK.VLAN. Name and MAC empty fit every Ethernet interface."`
	MAC            string         `json:"mac" maxLength:"17" doc:"Its MAC address, or empty."`
	VLAN           int            `json:"vlan" minimum:"0" maximum:"4094" doc:"Id of an 802.1Q VLAN, or 0."`
	Link           string         `json:"link" maxLength:"17" doc:"Name or MAC address of the interface below a VLAN."`
	Zone           string         `json:"zone" enum:",voice,management,trunk" doc:"Whom it leads to: phones, administrators, a provider (never a default route), or anybody."`
	Limit          int            `json:"limit,omitempty" minimum:"0" maximum:"10000000" doc:"Packets per second that may arrive on it, at least 100; the rest is dropped, calls too. 0 is no limit."`
	DHCP4          bool           `json:"dhcp4"`
	DHCP6          bool           `json:"dhcp6" doc:"An address by DHCPv6, or name servers alone if there is none to have."`
	AcceptRA       bool           `json:"accept_ra" doc:"IPv6 addresses and routers by router advertisements."`
	NoDefaultRoute bool           `json:"no_default_route" doc:"Default routes of DHCP and router advertisements do not count."`
	Metric         int            `json:"metric" minimum:"0" maximum:"1048576" doc:"Of its routes; the smallest wins. 0 prefers interfaces in their order."`
	Addresses      []string       `json:"addresses" nullable:"false" maxItems:"32" doc:"Static addresses such as 192.0.2.10/24."`
	Routes         []NetworkRoute `json:"routes" nullable:"false" maxItems:"64"`
	Nameservers    []string       `json:"nameservers" nullable:"false" maxItems:"8" doc:"Asked before those of DHCP."`
	Search         []string       `json:"search" nullable:"false" maxItems:"8" doc:"Domains that short names are looked up in."`
	MTU            int            `json:"mtu" minimum:"0" maximum:"9216" doc:"0 is what DHCP or router say, or the standard."`
}

// NetworkRoute is a static route; the default route is to 0.0.0.0/0 or ::/0.
type NetworkRoute struct {
	To     string `json:"to" maxLength:"43"`
	Via    string `json:"via" maxLength:"39" doc:"The router."`
	Metric int    `json:"metric" minimum:"0" maximum:"1048576"`
}

// NetworkUpdate replaces how the network is set.
type NetworkUpdate struct {
	Interfaces     []NetworkInterface `json:"interfaces" nullable:"false" minItems:"1" maxItems:"32"`
	NTP            []string           `json:"ntp,omitempty" maxItems:"8" doc:"Time servers, addresses or names, asked instead of those of DHCP and cloud."`
	ConfirmSeconds int                `json:"confirm_seconds,omitempty" minimum:"10" maximum:"300" default:"60" doc:"How long the change waits to be confirmed before it is taken back."`
}

// NetworkChange is a change that waits to be confirmed.
type NetworkChange struct {
	ID          string `json:"id" doc:"What the confirmation has to say."`
	SecondsLeft int    `json:"seconds_left"`
}

// NetworkTakenBack is a change that was taken back.
type NetworkTakenBack struct {
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// NetworkConfirm names the change to keep.
type NetworkConfirm struct {
	ID string `json:"id" minLength:"1" maxLength:"64"`
}

func networkPortOf(s netcfg.State) NetworkPort {
	p := NetworkPort{
		Name: s.Name, MAC: s.MAC, VLAN: s.VLAN, Link: s.Link, Up: s.Up, Carrier: s.Carrier, MTU: s.MTU, Managed: s.Managed,
		Addresses: texts(s.Addresses), Gateways: texts(s.Gateways), Error: s.Error,
	}
	p.Lease, p.Lease6 = networkLeaseOf(s.Lease), networkLeaseOf(s.Lease6)
	return p
}

func networkLeaseOf(l *netcfg.Lease) *NetworkLease {
	if l == nil {
		return nil
	}
	out := NetworkLease{ExpiresAt: l.Expires.UTC(), Nameservers: texts(l.Nameservers)}
	if l.Address.IsValid() {
		out.Address = l.Address.String()
	}
	if l.Server.IsValid() {
		out.Server = l.Server.String()
	}
	return &out
}

func networkInterfaceOf(i netcfg.Interface) NetworkInterface {
	out := NetworkInterface{
		Name: i.Name, MAC: i.MAC, VLAN: i.VLAN, Link: i.Link, Zone: string(i.Zone), Limit: i.Limit,
		DHCP4: i.DHCP4, DHCP6: i.DHCP6, AcceptRA: i.AcceptsRA(), NoDefaultRoute: i.NoDefaultRoute, Metric: i.Metric, MTU: i.MTU,
		Addresses: texts(i.Addresses), Routes: []NetworkRoute{}, Nameservers: texts(i.Nameservers), Search: append([]string{}, i.Search...),
	}
	for _, r := range i.Routes {
		out.Routes = append(out.Routes, NetworkRoute{To: r.To.String(), Via: r.Via.String(), Metric: r.Metric})
	}
	return out
}

func texts[T fmt.Stringer](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = v.String()
	}
	return out
}

// config reads the update; the whole is checked by netcfg, whose fields have
// the same names.
func (u NetworkUpdate) config() (c netcfg.Config, err error) {
	for n, i := range u.Interfaces {
		entry, err := i.config(fmt.Sprintf("interfaces[%d]", n))
		if err != nil {
			return c, err
		}
		c.Interfaces = append(c.Interfaces, entry)
	}
	for _, text := range u.NTP {
		c.NTP = append(c.NTP, strings.TrimSpace(text))
	}
	if err := c.Validate(); err != nil {
		return c, err
	}
	return c, c.CheckReach()
}

func (i NetworkInterface) config(at string) (netcfg.Interface, error) {
	ra := i.AcceptRA
	out := netcfg.Interface{
		Name: strings.TrimSpace(i.Name), MAC: strings.ToLower(strings.TrimSpace(i.MAC)), VLAN: i.VLAN, Link: strings.TrimSpace(i.Link), Zone: netcfg.Zone(i.Zone), Limit: i.Limit,
		DHCP4: i.DHCP4, DHCP6: i.DHCP6, AcceptRA: &ra, NoDefaultRoute: i.NoDefaultRoute, Metric: i.Metric, MTU: i.MTU,
	}
	refuse := func(field, reason string) error {
		return &telephony.FieldError{Field: at + "." + field, Reason: reason}
	}
	for n, text := range i.Addresses {
		p, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			return out, refuse(fmt.Sprintf("addresses[%d]", n), "must be an address with its prefix length, such as 192.0.2.10/24")
		}
		out.Addresses = append(out.Addresses, p)
	}
	for n, r := range i.Routes {
		to, err := netip.ParsePrefix(strings.TrimSpace(r.To))
		if err != nil {
			return out, refuse(fmt.Sprintf("routes[%d].to", n), "must be a network such as 198.51.100.0/24")
		}
		via, err := netip.ParseAddr(strings.TrimSpace(r.Via))
		if err != nil {
			return out, refuse(fmt.Sprintf("routes[%d].via", n), "must be the address of a router")
		}
		out.Routes = append(out.Routes, netcfg.Route{To: to, Via: via, Metric: r.Metric})
	}
	for n, text := range i.Nameservers {
		a, err := netip.ParseAddr(strings.TrimSpace(text))
		if err != nil {
			return out, refuse(fmt.Sprintf("nameservers[%d]", n), "must be an IP address such as 192.0.2.53")
		}
		out.Nameservers = append(out.Nameservers, a)
	}
	for _, text := range i.Search {
		out.Search = append(out.Search, strings.TrimSpace(text))
	}
	return out, nil
}
