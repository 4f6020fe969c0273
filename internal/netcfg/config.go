// Package netcfg gives the host its network: links up, addresses, routes and
// name servers, static or by DHCP and IPv6 autoconfiguration.
package netcfg

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// Bounds of a configuration.
const (
	MaxInterfaces = 32
	MaxAddresses  = 32 // per interface
	MaxRoutes     = 64 // per interface
	MaxServers    = 8  // name servers, and search domains, per interface; time servers
	MinMTU        = 576
	MaxMTU        = 9216
	MaxMetric     = 1 << 20
	// A lower limit than MinLimit would not leave the portal usable.
	MinLimit = 100
	MaxLimit = 10_000_000
	maxFile  = 1 << 20
)

// Config is the network configuration of the host.
type Config struct {
	// Rev tells configurations apart when one is to be confirmed.
	Rev uint64 `json:"rev,omitempty"`
	// Hostname is sent to DHCP servers; empty sends none.
	Hostname string `json:"hostname,omitempty"`
	// Interfaces are matched in order; the first that fits an interface holds.
	// One that fits none stays as it is.
	Interfaces []Interface `json:"interfaces"`
	// NTP are the time servers, addresses or names. Others are asked only if it
	// is empty.
	NTP []string `json:"ntp,omitempty"`
}

// Interface configures the Ethernet interfaces that match, or one VLAN.
type Interface struct {
	// MAC (lower case, colons) and Name select interfaces; what is set must
	// fit. Name may end in "*". Both empty fits every Ethernet interface. Of a
	// VLAN, Name is how it is called; without it that is LINK.VLAN.
	MAC  string `json:"mac,omitempty"`
	Name string `json:"name,omitempty"`

	// VLAN is the id of an 802.1Q VLAN, 1..4094, on top of the interface Link,
	// which is a name or a MAC address. 0 is no VLAN.
	VLAN int    `json:"vlan,omitempty"`
	Link string `json:"link,omitempty"`

	// Zone says whom the interface leads to.
	Zone Zone `json:"zone,omitempty"`
	// Limit is how many packets per second may arrive on it, whatever they are;
	// MinLimit..MaxLimit, or 0 for no limit.
	Limit int `json:"limit,omitempty"`

	DHCP4 bool `json:"dhcp4,omitempty"`
	// DHCP6 asks for an address by DHCPv6, and if there is none to have, for
	// name servers (RFC 8415). The router comes from router advertisements.
	DHCP6 bool `json:"dhcp6,omitempty"`
	// AcceptRA takes IPv6 addresses and routes from router advertisements (RFC
	// 4862). Nil means yes.
	AcceptRA *bool `json:"accept_ra,omitempty"`
	// NoDefaultRoute keeps default routes of DHCP and router advertisements
	// out: only networks that are named lead through this interface.
	NoDefaultRoute bool `json:"no_default_route,omitempty"`
	// Metric is that of routes without one; the smallest wins. 0 prefers the
	// interfaces in the order of the kernel.
	Metric int `json:"metric,omitempty"`
	// Addresses are static, with the host part: 192.0.2.10/24.
	Addresses []netip.Prefix `json:"addresses,omitempty"`
	Routes    []Route        `json:"routes,omitempty"`
	// Nameservers and Search come before what DHCP says.
	Nameservers []netip.Addr `json:"nameservers,omitempty"`
	Search      []string     `json:"search,omitempty"`
	// MTU is 0 (DHCP's or the driver's choice) or MinMTU..MaxMTU.
	MTU int `json:"mtu,omitempty"`
}

// Zone says whom an interface leads to.
type Zone string

// The zones. An interface without one is for everybody.
const (
	ZoneAny        Zone = ""
	ZoneVoice      Zone = "voice"
	ZoneManagement Zone = "management"
	// ZoneTrunk leads to a provider: never a default route.
	ZoneTrunk Zone = "trunk"
)

// WithoutDefaultRoute reports whether default routes stay out.
func (i Interface) WithoutDefaultRoute() bool { return i.NoDefaultRoute || i.Zone == ZoneTrunk }

// Addressless reports whether the interface is to have no address at all, as
// one that only carries VLANs.
func (i Interface) Addressless() bool {
	return !i.DHCP4 && !i.DHCP6 && !i.AcceptsRA() && len(i.Addresses) == 0
}

// Route is one static route; the default route is 0.0.0.0/0 or ::/0.
type Route struct {
	To     netip.Prefix `json:"to"`
	Via    netip.Addr   `json:"via"`
	Metric int          `json:"metric,omitempty"` // 0 is the kernel's choice
}

// Standard is the configuration of a host that was told nothing: DHCP and
// autoconfiguration on every Ethernet interface.
func Standard() Config {
	return Config{Interfaces: []Interface{{DHCP4: true}}}
}

// Read reads a configuration file. A missing file yields Standard.
func Read(path string) (Config, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return Standard(), nil
	}
	if err != nil {
		return Config{}, fmt.Errorf("opening the network configuration: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Config{}, fmt.Errorf("reading %s: %w", path, err)
	}
	c, err := Parse(raw)
	if err != nil {
		return Config{}, fmt.Errorf("reading %s: %w", path, err)
	}
	return c, nil
}

// Parse decodes and validates a configuration in JSON. Unknown fields are
// errors: a forgotten one may cut the host off.
func Parse(raw []byte) (Config, error) {
	if len(raw) > maxFile {
		return Config{}, fmt.Errorf("network configuration is larger than %d bytes", maxFile)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	var c Config
	if err := d.Decode(&c); err != nil {
		return Config{}, fmt.Errorf("network configuration: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Config{}, errors.New("network configuration: more than one value")
	}
	return c, c.Validate()
}

// AcceptsRA reports whether router advertisements count.
func (i Interface) AcceptsRA() bool { return i.AcceptRA == nil || *i.AcceptRA }

// fits reports whether i is meant for the interface with the given name and
// address.
func (i Interface) fits(name, mac string) bool {
	if i.MAC != "" && i.MAC != mac {
		return false
	}
	if stem, ok := strings.CutSuffix(i.Name, "*"); ok {
		return strings.HasPrefix(name, stem)
	}
	return i.Name == "" || i.Name == name
}

// find returns the entry for an interface that is no VLAN.
func (c Config) find(name, mac string) (Interface, bool) {
	n := slices.IndexFunc(c.Interfaces, func(i Interface) bool { return i.VLAN == 0 && i.fits(name, mac) })
	if n < 0 {
		return Interface{}, false
	}
	return c.Interfaces[n], true
}

// Foretell returns the interfaces as c will have them, as far as the packet
// filter has to know beforehand: their zones and limits, and VLANs that are not
// there yet.
func (c Config) Foretell(now []State) []State {
	out := slices.Clone(now)
	for n := range out {
		if s := &out[n]; s.VLAN == 0 {
			entry, _ := c.find(s.Name, s.MAC)
			s.Zone, s.Limit = entry.Zone, entry.Limit
		}
	}
	for _, i := range c.Interfaces {
		below := slices.IndexFunc(now, func(s State) bool { return i.VLAN != 0 && (s.Name == i.Link || s.MAC == i.Link) && s.VLAN == 0 })
		if below < 0 {
			continue
		}
		name := i.Name
		if name == "" {
			name = vlanName(now[below].Name, i.VLAN)
		}
		n := slices.IndexFunc(out, func(s State) bool { return s.Name == name })
		if n < 0 {
			n, out = len(out), append(out, State{Name: name, VLAN: i.VLAN, Link: now[below].Name})
		}
		out[n].Zone, out[n].Limit = i.Zone, i.Limit
	}
	return out
}
