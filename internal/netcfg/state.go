package netcfg

import (
	"net/netip"
	"time"
)

// State is an interface as it is now.
type State struct {
	Name    string `json:"name"`
	MAC     string `json:"mac,omitempty"`
	VLAN    int    `json:"vlan,omitempty"` // its id, on top of Link
	Link    string `json:"link,omitempty"`
	Up      bool   `json:"up"`
	Carrier bool   `json:"carrier"`
	MTU     int    `json:"mtu"`
	// Managed says that a configuration entry holds for it.
	Managed   bool           `json:"managed"`
	Addresses []netip.Prefix `json:"addresses,omitempty"` // with host part
	// Zone and Limit are those of that entry.
	Zone  Zone `json:"zone,omitempty"`
	Limit int  `json:"limit,omitempty"`
	// Gateways are the next hops of the default routes.
	Gateways []netip.Addr `json:"gateways,omitempty"`
	Lease    *Lease       `json:"lease,omitempty"`
	Lease6   *Lease       `json:"lease6,omitempty"` // by DHCPv6; its address may be missing
	Error    string       `json:"error,omitempty"`
}

// Lease is what a DHCP server granted.
type Lease struct {
	Address     netip.Prefix `json:"address"`
	Server      netip.Addr   `json:"server"`
	Obtained    time.Time    `json:"obtained"`
	Expires     time.Time    `json:"expires"`
	Routes      []Route      `json:"routes,omitempty"`
	Nameservers []netip.Addr `json:"nameservers,omitempty"`
	Search      []string     `json:"search,omitempty"`
	NTP         []netip.Addr `json:"ntp,omitempty"` // time servers
	MTU         int          `json:"mtu,omitempty"`
}
