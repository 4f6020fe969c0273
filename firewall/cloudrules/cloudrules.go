// Package cloudrules writes the port table as inbound rules of the packet
// filters of clouds, which stand before ours.
package cloudrules

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"ringfence/internal/ports"
)

// Format is a cloud and a way to tell it.
type Format string

// The formats.
const (
	AWSTerraform    Format = "aws-terraform"
	AWSCLI          Format = "aws-cli"
	AzureTerraform  Format = "azure-terraform"
	AzureCLI        Format = "azure-cli"
	GoogleTerraform Format = "google-terraform"
	GoogleCLI       Format = "google-cli"
)

// Formats lists them in the order people read them.
func Formats() []Format {
	return []Format{AWSTerraform, AWSCLI, AzureTerraform, AzureCLI, GoogleTerraform, GoogleCLI}
}

// Sources are the networks that stand for zones.
type Sources struct {
	// Inside may reach what is for phones and administrators and not for the
	// world.
	Inside []netip.Prefix
	// Management may reach what is for administrators only. Nobody may, if it
	// is empty: a guess would open it to phones.
	Management []netip.Prefix
}

// DefaultSources are the private networks of RFC 1918 and RFC 4193.
func DefaultSources() Sources {
	return Sources{Inside: []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("fd00::/8"),
	}}
}

// ParseSources reads lists of networks and addresses, separated by commas. An
// empty inside is the default. The error names the list and what is wrong in it.
func ParseSources(inside, management string) (Sources, error) {
	s := DefaultSources()
	if inside != "" {
		list, err := parsePrefixes("inside", inside)
		if err != nil {
			return s, err
		}
		s.Inside = list
	}
	var err error
	s.Management, err = parsePrefixes("management", management)
	return s, err
}

const maxPrefixes = 32 // of a list: a security group of AWS takes 60 rules

func parsePrefixes(name, text string) ([]netip.Prefix, error) {
	var list []netip.Prefix
	if text == "" {
		return nil, nil
	}
	for word := range strings.SplitSeq(text, ",") {
		word = strings.TrimSpace(word)
		p, err := netip.ParsePrefix(word)
		if err != nil {
			a, err := netip.ParseAddr(word)
			if err != nil || a.Zone() != "" {
				return nil, fmt.Errorf("%s: %q is neither a network like 192.0.2.0/24 nor an address", name, word)
			}
			p = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())
		}
		if p != p.Masked() {
			return nil, fmt.Errorf("%s: %s has bits behind its prefix; the network is %s", name, p, p.Masked())
		}
		if !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	if len(list) > maxPrefixes {
		return nil, fmt.Errorf("%s: %d networks are more than %d", name, len(list), maxPrefixes)
	}
	return list, nil
}

// Rule admits some sources to the ports of a service.
type Rule struct {
	Service ports.Service
	From    []netip.Prefix
}

// Rules turns the rows that are open into rules. A row whose zones have no
// source is left out. A row for the world alone is open to the inside too: no
// cloud has a rule that lets everybody in but some.
func Rules(rows []ports.Service, s Sources) []Rule {
	var rules []Rule
	for _, row := range rows {
		from := s.of(row)
		if len(row.Sources) > 0 {
			from = within(from, row.Sources)
		}
		if len(from) > 0 {
			rules = append(rules, Rule{row, from})
		}
	}
	return rules
}

// of are the networks that stand for the zones of a row. Providers have none:
// their interfaces are no cloud's.
func (s Sources) of(row ports.Service) (from []netip.Prefix) {
	if slices.Contains(row.Zones, ports.WAN) {
		return []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	}
	if slices.Contains(row.Zones, ports.Voice) {
		from = append(from, s.Inside...)
	}
	if slices.Contains(row.Zones, ports.Management) {
		for _, m := range s.Management {
			if !slices.ContainsFunc(from, func(p netip.Prefix) bool { return holds(p, m) }) {
				from = append(from, m)
			}
		}
	}
	return from
}

func holds(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}

// within are the sources of a row that lie in networks, or the networks that lie
// in a source, each once.
func within(networks, sources []netip.Prefix) []netip.Prefix {
	var both []netip.Prefix
	for _, source := range sources {
		for _, network := range networks {
			p := source
			switch {
			case holds(source, network):
				p = network
			case !holds(network, source):
				continue
			}
			both = append(both, p)
		}
	}
	// A network inside another one says nothing more.
	var out []netip.Prefix
	for i, p := range both {
		said := func(o netip.Prefix) bool { return o == p }
		wider := func(o netip.Prefix) bool { return o != p && holds(o, p) }
		if !slices.ContainsFunc(both[:i], said) && !slices.ContainsFunc(both, wider) {
			out = append(out, p)
		}
	}
	return out
}

// Write writes rules in a format. It refuses formats that it does not know.
func Write(w io.Writer, f Format, rules []Rule) error {
	var write func(*strings.Builder, []Rule)
	switch f {
	case AWSTerraform:
		write = awsTerraform
	case AWSCLI:
		write = awsCLI
	case AzureTerraform:
		write = azureTerraform
	case AzureCLI:
		write = azureCLI
	case GoogleTerraform:
		write = googleTerraform
	case GoogleCLI:
		write = googleCLI
	default:
		return fmt.Errorf("unknown format %q: %s", f, names())
	}
	var b strings.Builder
	b.WriteString("# Inbound rules of Ringfence, written by: ringfence ports -format " + string(f) + "\n" +
		"# Media ports are open here as ranges. Ringfence itself opens each only while a call holds it.\n")
	write(&b, rules)
	_, err := io.WriteString(w, b.String())
	return err
}

func names() string {
	var all []string
	for _, f := range Formats() {
		all = append(all, string(f))
	}
	return strings.Join(all, ", ")
}

// families splits networks into IPv4 and IPv6: no cloud takes both in one rule.
func families(list []netip.Prefix) (v4, v6 []netip.Prefix) {
	for _, p := range list {
		if p.Addr().Is4() {
			v4 = append(v4, p)
		} else {
			v6 = append(v6, p)
		}
	}
	return v4, v6
}

// part is what a rule admits of one family of addresses.
type part struct {
	name   string // unique, such as sip-udp-ipv4
	family string // ipv4 or ipv6
	row    ports.Service
	from   []netip.Prefix
}

func parts(rules []Rule) (all []part) {
	for _, r := range rules {
		v4, v6 := families(r.From)
		for _, f := range []struct {
			family string
			from   []netip.Prefix
		}{{"ipv4", v4}, {"ipv6", v6}} {
			if len(f.from) > 0 {
				all = append(all, part{string(r.Service.ID) + "-" + f.family, f.family, r.Service, f.from})
			}
		}
	}
	return all
}

// quoted lists networks, each in double quotes.
func quoted(list []netip.Prefix) string {
	words := make([]string, len(list))
	for i, p := range list {
		words[i] = `"` + p.String() + `"`
	}
	return strings.Join(words, ", ")
}

func joined(list []netip.Prefix, separator string) string {
	words := make([]string, len(list))
	for i, p := range list {
		words[i] = p.String()
	}
	return strings.Join(words, separator)
}

// identifier is a name as Terraform takes it.
func identifier(name string) string { return strings.ReplaceAll(name, "-", "_") }
