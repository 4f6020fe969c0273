package firewall

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"ringfence/internal/netcfg"
	"ringfence/internal/ports"
)

// MaxLinks bounds the interfaces that a policy knows.
const MaxLinks = 1024

// Link is what the packet filter has to know about an interface.
type Link struct {
	Name string `json:"name"`
	// Zone is that of all packets which arrive on it; empty goes by their
	// source.
	Zone ports.Zone `json:"zone,omitempty"`
	// PerSecond is how many packets may arrive on it; 0 is no limit.
	PerSecond uint32 `json:"per_second,omitempty"`
}

// HostOf is what the fence has to know of a machine with such interfaces.
func HostOf(states []netcfg.State) Host {
	var h Host
	for _, s := range states {
		h.Addresses = append(h.Addresses, s.Addresses...)
		h.Gateways = append(h.Gateways, s.Gateways...)
		if s.Zone != netcfg.ZoneAny || s.Limit > 0 {
			h.Links = append(h.Links, Link{Name: s.Name, Zone: zoneOf(s.Zone), PerSecond: uint32(max(s.Limit, 0))})
		}
	}
	return h
}

// zoneOf is the zone of the port table for that of an interface. One that is not
// known is the narrowest.
func zoneOf(z netcfg.Zone) ports.Zone {
	switch z {
	case netcfg.ZoneAny:
		return ""
	case netcfg.ZoneVoice:
		return ports.Voice
	case netcfg.ZoneManagement:
		return ports.Management
	}
	return ports.Trunk
}

// ZonesOf are the zones of a packet from an address to one of the machine, as
// Compile has them where the connected networks are local.
func ZonesOf(states []netcfg.State, from, to netip.Addr) []ports.Zone {
	var all []netip.Prefix
	for _, s := range states {
		has := slices.ContainsFunc(s.Addresses, func(p netip.Prefix) bool { return p.Addr() == to })
		if has && s.Zone != netcfg.ZoneAny {
			return []ports.Zone{zoneOf(s.Zone)}
		}
		all = append(all, s.Addresses...)
	}
	if slices.ContainsFunc(privateNetworks(all), func(p netip.Prefix) bool { return p.Contains(from) }) {
		return []ports.Zone{ports.Voice, ports.Management}
	}
	return []ports.Zone{ports.WAN}
}

func validateLinks(links []Link) error {
	if len(links) > MaxLinks {
		return fmt.Errorf("%d interfaces, at most %d are possible", len(links), MaxLinks)
	}
	for i, l := range links {
		switch {
		case l.Name == "" || len(l.Name) > maxLinkName || strings.ContainsAny(l.Name, "\"\\*\x00\n"):
			return fmt.Errorf("interface %d: %q is no name of one", i+1, l.Name)
		case l.Zone != "" && l.Zone != ports.Voice && l.Zone != ports.Management && l.Zone != ports.Trunk:
			return fmt.Errorf("interface %s: cannot be of the zone %q", l.Name, l.Zone)
		case slices.ContainsFunc(links[:i], func(o Link) bool { return o.Name == l.Name }):
			return fmt.Errorf("interface %s appears twice", l.Name)
		}
	}
	return nil
}

// maxLinkName is the longest name of an interface (IFNAMSIZ less the final
// zero).
const maxLinkName = 15

// linkZones lists the zones that interfaces have of their own.
func linkZones() []ports.Zone { return []ports.Zone{ports.Voice, ports.Management, ports.Trunk} }

// linksOf names the interfaces of a zone, ascending.
func linksOf(p Policy, z ports.Zone) []string {
	var out []string
	for _, l := range p.Links {
		if l.Zone == z {
			out = append(out, l.Name)
		}
	}
	slices.Sort(out)
	return out
}

func linkSet(z ports.Zone) string   { return "links_" + string(z) }
func zoneChain(z ports.Zone) string { return "zone_" + string(z) }
func rowSources(id ports.ID) string { return "from_" + string(id) }

// linkSets are the names of interfaces by zone, where there are any.
func linkSets(p Policy) []Set {
	var out []Set
	for _, z := range linkZones() {
		if names := linksOf(p, z); len(names) > 0 {
			out = append(out, Set{Name: linkSet(z), Key: LinkKey, Content: true, Links: names})
		}
	}
	return out
}

// sourceSets are the only sources of rows that have such.
func sourceSets(p Policy) []Set {
	var out []Set
	for _, s := range p.Services {
		if len(s.Sources) == 0 {
			continue
		}
		v4, v6 := split(mergePrefixes(s.Sources))
		out = append(out,
			Set{Name: setName(rowSources(s.ID), V4), Key: IPv4Key, Content: true, Ranges: v4},
			Set{Name: setName(rowSources(s.ID), V6), Key: IPv6Key, Content: true, Ranges: v6})
	}
	return out
}

// limitRules cap what arrives on interfaces, calls too, before anything costs
// more.
func limitRules(p Policy) []Rule {
	var rules []Rule
	for _, l := range p.Links {
		if l.PerSecond > 0 {
			rules = append(rules, Rule{OnLink{l.Name}, Limit{PerSecond: l.PerSecond, Burst: l.PerSecond, Over: true}, Count{countLink}, Drop{}})
		}
	}
	return rules
}

// zoneRules send packets of interfaces with a zone to its rows.
func zoneRules(p Policy) []Rule {
	var rules []Rule
	for _, z := range linkZones() {
		if len(linksOf(p, z)) > 0 {
			rules = append(rules, Rule{LinkIn{linkSet(z)}, Goto{zoneChain(z)}})
		}
	}
	return rules
}

// zoneChains hold the rows of each zone that an interface has: whoever sends
// there belongs to it.
func zoneChains(p Policy) []Chain {
	var out []Chain
	if p.Mode != ModeFilter {
		return nil
	}
	for _, z := range linkZones() {
		if len(linksOf(p, z)) == 0 {
			continue
		}
		c := Chain{Name: zoneChain(z)}
		for _, s := range p.Services {
			if slices.Contains(s.Zones, z) {
				c.Rules = append(c.Rules, rowRules(s, nil)...)
			}
		}
		c.Rules = append(c.Rules, Rule{Count{countRest}, Drop{}})
		out = append(out, c)
	}
	return out
}

// serviceRules open one row on interfaces without a zone: to everybody, or to
// the sources of its zones.
func serviceRules(s ports.Service) []Rule {
	local := slices.Contains(s.Zones, ports.Voice) || slices.Contains(s.Zones, ports.Management)
	wan := slices.Contains(s.Zones, ports.WAN)
	switch {
	case local && wan:
		return rowRules(s, nil)
	case local || wan:
		return rowRules(s, func(f Family) Statement { return SourceIn{Family: f, Set: setName(setLocal, f), Not: wan} })
	}
	return nil // for interfaces of providers only
}

// rowRules open one row to its sources, and to those that match.
func rowRules(s ports.Service, match func(Family) Statement) []Rule {
	row := []Statement{portRange(s, false)}
	if s.Wrap == ports.RTP {
		row = append(row, PortIn{Proto: string(s.Proto), Set: setMedia})
	}
	row = append(row, Count{portCounter + string(s.ID)}, Accept{})
	if match == nil && len(s.Sources) == 0 {
		return []Rule{row}
	}
	v4, v6 := split(mergePrefixes(s.Sources))
	has := map[Family]bool{V4: len(v4) > 0, V6: len(v6) > 0}
	var rules []Rule
	for f := range families() {
		var r Rule
		if match != nil {
			r = append(r, match(f))
		}
		if len(s.Sources) > 0 {
			if !has[f] {
				continue
			}
			r = append(r, SourceIn{Family: f, Set: setName(rowSources(s.ID), f)})
		}
		rules = append(rules, append(r, row...))
	}
	return rules
}
