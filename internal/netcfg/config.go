// Package netcfg gives the host its network: links up, addresses, routes and
// name servers, static or by DHCP and IPv6 autoconfiguration.
package netcfg

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
)

// Bounds of a configuration.
const (
	MaxInterfaces = 32
	MaxAddresses  = 32 // per interface
	MaxRoutes     = 64 // per interface
	MaxServers    = 8  // name servers, and search domains, per interface
	MinMTU        = 576
	MaxMTU        = 9216
	maxFile       = 1 << 20
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
}

// Interface configures the Ethernet interfaces that match.
type Interface struct {
	// MAC (lower case, colons) and Name select interfaces; what is set must
	// fit. Name may end in "*". Both empty fits every Ethernet interface.
	MAC  string `json:"mac,omitempty"`
	Name string `json:"name,omitempty"`

	DHCP4 bool `json:"dhcp4,omitempty"`
	// AcceptRA takes IPv6 addresses and routes from router advertisements (RFC
	// 4862). Nil means yes.
	AcceptRA *bool `json:"accept_ra,omitempty"`
	// Addresses are static, with the host part: 192.0.2.10/24.
	Addresses []netip.Prefix `json:"addresses,omitempty"`
	Routes    []Route        `json:"routes,omitempty"`
	// Nameservers and Search come before what DHCP says.
	Nameservers []netip.Addr `json:"nameservers,omitempty"`
	Search      []string     `json:"search,omitempty"`
	// MTU is 0 (DHCP's or the driver's choice) or MinMTU..MaxMTU.
	MTU int `json:"mtu,omitempty"`
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

// Validate reports the first reason why c cannot be used.
func (c Config) Validate() error {
	if c.Hostname != "" && !isHostname(c.Hostname) {
		return fmt.Errorf("hostname %q is no host name (RFC 1123 section 2.1)", c.Hostname)
	}
	if len(c.Interfaces) > MaxInterfaces {
		return fmt.Errorf("%d interfaces, at most %d are possible", len(c.Interfaces), MaxInterfaces)
	}
	for i, e := range c.Interfaces {
		if err := e.validate(); err != nil {
			return fmt.Errorf("interface %d: %w", i+1, err)
		}
	}
	return nil
}

func (i Interface) validate() error {
	if i.MAC != "" {
		if mac, err := net.ParseMAC(i.MAC); err != nil || len(mac) != 6 || mac.String() != i.MAC {
			return fmt.Errorf("mac %q is not six lower-case octets joined by colons", i.MAC)
		}
	}
	if i.Name != "" && !isPattern(i.Name) {
		return fmt.Errorf("name %q is no interface name", i.Name)
	}
	if i.MTU != 0 && (i.MTU < MinMTU || i.MTU > MaxMTU) {
		return fmt.Errorf("mtu %d is not within %d..%d", i.MTU, MinMTU, MaxMTU)
	}
	if len(i.Addresses) > MaxAddresses || len(i.Routes) > MaxRoutes || len(i.Nameservers) > MaxServers || len(i.Search) > MaxServers {
		return fmt.Errorf("too many entries: at most %d addresses, %d routes, %d name servers, %d search domains", MaxAddresses, MaxRoutes, MaxServers, MaxServers)
	}
	return errors.Join(i.validateAddresses(), i.validateRoutes(), i.validateNames())
}

func (i Interface) validateAddresses() error {
	for n, p := range i.Addresses {
		a := p.Addr()
		switch {
		case !p.IsValid() || a.Is4In6() || a.Zone() != "":
			return fmt.Errorf("address %d is no address with prefix length", n+1)
		case a.IsUnspecified() || a.IsLoopback() || a.IsMulticast():
			return fmt.Errorf("address %s cannot belong to an interface", p)
		case a.Is4() && p.Bits() < 31 && (a == p.Masked().Addr() || a == broadcast(p)):
			return fmt.Errorf("address %s is the network's own or its broadcast address", p)
		case slices.ContainsFunc(i.Addresses[:n], func(o netip.Prefix) bool { return o.Addr() == a }):
			return fmt.Errorf("address %s appears twice", a)
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

func (i Interface) validateRoutes() error {
	for n, r := range i.Routes {
		switch {
		case !r.To.IsValid() || !r.Via.IsValid() || r.To.Addr().Is4In6() || r.Via.Is4In6() || r.Via.Zone() != "":
			return fmt.Errorf("route %d lacks an address", n+1)
		case r.To.Masked() != r.To:
			return fmt.Errorf("route to %s: host bits are set", r.To)
		case r.To.Addr().Is4() != r.Via.Is4():
			return fmt.Errorf("route to %s via %s: different address families", r.To, r.Via)
		case r.Via.IsUnspecified() || r.Via.IsLoopback() || r.Via.IsMulticast():
			return fmt.Errorf("route to %s via %s: no router has that address", r.To, r.Via)
		case r.Metric < 0:
			return fmt.Errorf("route to %s: metric %d is negative", r.To, r.Metric)
		}
	}
	return nil
}

func (i Interface) validateNames() error {
	for _, a := range i.Nameservers {
		if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() {
			return fmt.Errorf("name server %s is no host address", a)
		}
	}
	for _, s := range i.Search {
		if !isHostname(s) {
			return fmt.Errorf("search domain %q is no domain name", s)
		}
	}
	return nil
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

// find returns the entry for an interface.
func (c Config) find(name, mac string) (Interface, bool) {
	n := slices.IndexFunc(c.Interfaces, func(i Interface) bool { return i.fits(name, mac) })
	if n < 0 {
		return Interface{}, false
	}
	return c.Interfaces[n], true
}

// isHostname reports whether s is made of labels of letters, digits and inner
// hyphens (RFC 1123 section 2.1), so that it is safe in resolv.conf and on the
// wire.
func isHostname(s string) bool {
	return len(s) <= 253 && regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$`).MatchString(s)
}

// isPattern reports whether s is an interface name as the kernel allows it (at
// most 15 bytes, no slash or space), with an optional star at its end.
func isPattern(s string) bool {
	return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:@-]{0,14}\*?$|^\*$`).MatchString(s)
}
