// Package firewall turns the wanted reachability of this host (Policy) into a
// packet filter ruleset (Ruleset), loads it into the kernel, and speaks the
// protocol of the fence process that alone has the right to do so.
package firewall

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"ringfence/internal/ports"
)

// Mode says whether the port rows filter.
type Mode string

// The modes.
const (
	// ModeFilter drops everything but the rows of the policy.
	ModeFilter Mode = "filter"
	// ModeCloud leaves port filtering to the cloud's security groups; block
	// lists, bans, meters and limits of interfaces stay.
	ModeCloud Mode = "cloud"
	// ModeOff drops nothing at all: not even who is blocked or banned.
	ModeOff Mode = "off"
)

// MaxPrefixes bounds each address list of a policy.
const MaxPrefixes = 100_000

// Policy is what the packet filter shall do, as plain data. It says nothing
// about bans and open media ports: those are run-time state of the kernel and
// survive a change of policy.
type Policy struct {
	// Rev is the settings revision the policy was made from.
	Rev  uint64 `json:"rev"`
	Mode Mode   `json:"mode"`
	// Services are the rows to open, as ports.Effective returns them.
	Services []ports.Service `json:"services"`
	// Links are the interfaces with a zone or a limit. The fence fills them in
	// from its own network configuration, whatever a client says.
	Links []Link `json:"links,omitempty"`
	// LocalPrefixes are the sources that count as voice and management on
	// interfaces without a zone; every other source is wan there.
	LocalPrefixes []netip.Prefix `json:"local_prefixes,omitempty"`
	// ConnectedLocal adds the directly connected private networks to
	// LocalPrefixes; the fence keeps them current. Off in a cloud.
	ConnectedLocal bool `json:"connected_local,omitempty"`
	// Block and Allow are the manual lists. The most specific prefix that
	// holds a source decides; Allow wins a tie. An allowed source skips bans
	// and meters and still meets the port rows.
	Block []netip.Prefix `json:"block,omitempty"`
	Allow []netip.Prefix `json:"allow,omitempty"`
	// Limits are the meters.
	Limits Limits `json:"limits"`
}

// Limits are the meters of signalling and web ports, per source address (IPv6:
// per /64). UDP counts packets, TCP counts new connections. A bucket holds one
// second's worth.
type Limits struct {
	// L1 and L2 are packets per second; L1 < L2.
	L1 uint32 `json:"l1"`
	L2 uint32 `json:"l2"`
	// L1Block and L2Block are how long a source over the limit is banned.
	L1Block time.Duration `json:"l1_block"`
	L2Block time.Duration `json:"l2_block"`
	// Known is the limit of a known source, whose excess is dropped but which
	// is never banned. It is high because the source of a UDP flood can be
	// forged: a low limit would starve the trunk whose address was taken.
	Known uint32 `json:"known"`
	// Total and TotalConnections bound all unknown sources together (packets
	// and new connections per second), for floods whose forged sources are
	// more than a meter can hold. TotalConnections times the 20 s that a half
	// open connection is tracked stays below the size of the connection table.
	Total            uint32 `json:"total"`
	TotalConnections uint32 `json:"total_connections"`
}

// DefaultLimits are the limits of a fresh system.
func DefaultLimits() Limits {
	return Limits{
		L1: 500, L1Block: 30 * time.Second,
		L2: 2000, L2Block: time.Hour,
		Known: 20_000, Total: 50_000, TotalConnections: 2_000,
	}
}

// DefaultPolicy is in force before anything was configured: the portal for
// the first-boot wizard, and nothing else.
func DefaultPolicy() Policy {
	services, err := ports.Effective(nil, ports.BeforeSetup)
	if err != nil {
		// The table without overrides is always valid (tested); failing closed
		// is still better than a panic in the process that guards the host.
		services = nil
	}
	return Policy{Mode: ModeFilter, Services: services, ConnectedLocal: true, Limits: DefaultLimits()}
}

// Validate reports the first reason why p cannot be compiled.
func (p Policy) Validate() error {
	if p.Mode != ModeFilter && p.Mode != ModeCloud && p.Mode != ModeOff {
		return fmt.Errorf("policy mode %q is none of %q, %q and %q", p.Mode, ModeFilter, ModeCloud, ModeOff)
	}
	if err := validateLinks(p.Links); err != nil {
		return err
	}
	for i, s := range p.Services {
		if err := validateService(s, p.Services[:i]); err != nil {
			return err
		}
	}
	lists := map[string][]netip.Prefix{"local": p.LocalPrefixes, "block": p.Block, "allow": p.Allow}
	for name, list := range lists {
		if err := validatePrefixes(list); err != nil {
			return fmt.Errorf("%s list: %w", name, err)
		}
	}
	return p.Limits.validate()
}

func validateService(s ports.Service, before []ports.Service) error {
	if _, ok := ports.Lookup(ports.Table(), s.ID); !ok {
		return fmt.Errorf("service %q is not in the port table", s.ID)
	}
	row, _ := ports.Lookup(ports.Table(), s.ID)
	switch {
	case s.Proto != ports.UDP && s.Proto != ports.TCP:
		return fmt.Errorf("service %s: protocol %q is neither udp nor tcp", s.ID, s.Proto)
	case s.First < firstPort || s.Last < s.First:
		return fmt.Errorf("service %s: ports %d-%d are outside %d-65535", s.ID, s.First, s.Last, firstPort)
	case row.Window:
		return fmt.Errorf("service %s opens for a challenge, never by a policy", s.ID)
	}
	for _, err := range []error{ports.CheckZones(s.ID, s.Zones), ports.CheckSources(s.Sources)} {
		if err != nil {
			return fmt.Errorf("service %s: %w", s.ID, err)
		}
	}
	for _, b := range before {
		if b.ID == s.ID {
			return fmt.Errorf("service %s appears twice", s.ID)
		}
		if b.Proto == s.Proto && s.First <= b.Last && b.First <= s.Last {
			return fmt.Errorf("services %s and %s overlap", b.ID, s.ID)
		}
	}
	return nil
}

// firstPort is the lowest port a row may open: nothing of the product listens
// on a privileged port, so no caller can open one by mistake or by malice.
const firstPort = 1024

func validatePrefixes(list []netip.Prefix) error {
	if len(list) > MaxPrefixes {
		return fmt.Errorf("%d entries, at most %d are possible", len(list), MaxPrefixes)
	}
	for _, p := range list {
		if !p.IsValid() {
			return fmt.Errorf("holds an entry that is no address prefix")
		}
		if p.Addr().Zone() != "" {
			return fmt.Errorf("prefix %s: an interface zone is not possible", p)
		}
	}
	return nil
}

func (l Limits) validate() error {
	const longest = 366 * 24 * time.Hour
	switch {
	case slices.Contains([]uint32{l.L1, l.L2, l.Known, l.Total, l.TotalConnections}, 0):
		return fmt.Errorf("limits: a rate of zero would shut every source out")
	case l.L1 >= l.L2:
		return fmt.Errorf("limits: level 1 (%d/s) is not below level 2 (%d/s)", l.L1, l.L2)
	case l.L1Block < time.Second || l.L2Block > longest:
		return fmt.Errorf("limits: block times are not within 1 s and %s", longest)
	case l.L1Block >= l.L2Block:
		return fmt.Errorf("limits: block time of level 1 (%s) is not below that of level 2 (%s)", l.L1Block, l.L2Block)
	}
	return nil
}
