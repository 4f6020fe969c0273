package firewall

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// TableName is the one nftables table (family inet) that belongs to us. No
// other table is ever written to.
const TableName = "ringfence"

// Ruleset is what the kernel is told, as plain data in the order of nft(8).
type Ruleset struct {
	Counters []string
	Sets     []Set
	Chains   []Chain
}

// KeyType is the type of a set's elements.
type KeyType string

// The key types, in nft's words.
const (
	IPv4Key KeyType = "ipv4_addr"
	IPv6Key KeyType = "ipv6_addr"
	PortKey KeyType = "inet_service"
	LinkKey KeyType = "ifname"
)

// Set is a named set. A set with Content is replaced by every Apply; the
// others belong to run time and keep their elements.
type Set struct {
	Name    string
	Key     KeyType
	Size    uint32 // 0: no bound
	Timeout bool   // elements carry timeouts
	Dynamic bool   // rules add elements
	Content bool   // replaced by Apply with Ranges, Ports or Links
	Single  bool   // Ranges are single addresses: a hash instead of a tree
	Ranges  []Range
	Ports   []uint16
	Links   []string
}

// HookType is where a base chain hangs.
type HookType string

// The hooks in use.
const (
	HookPrerouting HookType = "prerouting"
	HookInput      HookType = "input"
	HookForward    HookType = "forward"
	HookOutput     HookType = "output"
)

// Hook binds a base chain.
type Hook struct {
	Type HookType
	Raw  bool // before connection tracking; else priority filter
	Drop bool // policy drop; else accept
}

// Chain is a list of rules; without a Hook it is only jumped to.
type Chain struct {
	Name  string
	Hook  *Hook
	Rules []Rule
}

// Rule is a list of matches followed by actions.
type Rule []Statement

// Statement is one match or action of a rule. Its String is what nft(8)
// prints for it.
type Statement interface {
	fmt.Stringer
	statement()
}

// Family is an IP version.
type Family int

// The two versions.
const (
	V4 Family = 4
	V6 Family = 6
)

func (f Family) source() string {
	if f == V4 {
		return "ip saddr"
	}
	return "ip6 saddr"
}

// host is the source as bans and meters know it: an IPv6 subscriber owns a
// /64 (RFC 4291 section 2.5.1) and may change its address at will.
func (f Family) host() string {
	if f == V4 {
		return "ip saddr"
	}
	return "ip6 saddr & ffff:ffff:ffff:ffff::"
}

// hostIs joins host and what it is compared with: nft(8) writes the operator
// after a mask.
func (f Family) hostIs() string {
	if f == V4 {
		return " "
	}
	return " == "
}

// The matches.
type (
	// Loopback matches packets that came in, or go out, over lo.
	Loopback struct{ Out bool }
	// OnLink matches packets that came in over an interface.
	OnLink struct{ Name string }
	// LinkIn matches packets that came in over an interface whose name is in a
	// set.
	LinkIn struct{ Set string }
	// SourceIn matches packets whose source address is in a set, or with Not is
	// in none of it; Host compares IPv6 by /64.
	SourceIn struct {
		Family Family
		Set    string
		Host   bool
		Not    bool
	}
	// LinkLocalSource matches IPv6 sources of the own link (RFC 4291 section
	// 2.5.6).
	LinkLocalSource struct{}
	// SentBy matches packets of sockets that a user opened.
	SentBy struct{ UID uint32 }
	// To matches one destination address.
	To struct{ Addr netip.Addr }
	// PortRange matches the destination port, or with Source the source port.
	PortRange struct {
		Proto       string
		Source      bool
		First, Last uint16
	}
	// PortIn matches a port in a set.
	PortIn struct {
		Proto  string
		Source bool
		Set    string
	}
	// NewTCP matches the first segment of a TCP connection: before connection
	// tracking the flags are all there is.
	NewTCP struct{}
	// Established matches packets of tracked connections and their errors.
	Established struct{}
	// Invalid matches packets that connection tracking cannot place.
	Invalid struct{}
	// Protocol matches the layer 4 protocol: "icmp" or "ipv6-icmp".
	Protocol struct{ Name string }
	// ICMPType matches an ICMP or ICMPv6 message type by nft's name.
	ICMPType struct {
		Family Family
		Name   string
	}
	// HopLimit255 matches packets that no router forwarded (RFC 4861 section
	// 3.1 relies on it).
	HopLimit255 struct{}
	// Limit matches while a shared rate is kept, or with Over once exceeded.
	Limit struct {
		PerSecond uint32
		Burst     uint32
		Over      bool
	}
	// Meter matches when the packet's source exceeds its own rate; the set
	// holds one bucket per source.
	Meter struct {
		Family    Family
		Set       string
		PerSecond uint32
		Forget    time.Duration
	}
)

// The actions.
type (
	// BanSource puts the packet's source into a set for a time; what it sends
	// from then on is counted there.
	BanSource struct {
		Family Family
		Set    string
		For    time.Duration
	}
	// Log tells whoever listens to the group about the packet, with the
	// beginning of it.
	Log struct {
		Group   uint16
		Prefix  string
		Snaplen uint32
	}
	// Count adds to a named counter.
	Count struct{ Name string }
	// Notrack keeps the packet out of connection tracking.
	Notrack struct{}
	// Accept, Drop end the packet's way through the hook.
	Accept struct{}
	// Drop discards the packet silently.
	Drop struct{}
	// Goto continues in another chain and does not come back.
	Goto struct{ Chain string }
	// Jump continues in another chain and comes back when nothing matched.
	Jump struct{ Chain string }
)

func (Loopback) statement()        {}
func (OnLink) statement()          {}
func (LinkIn) statement()          {}
func (SourceIn) statement()        {}
func (LinkLocalSource) statement() {}
func (SentBy) statement()          {}
func (To) statement()              {}
func (PortRange) statement()       {}
func (PortIn) statement()          {}
func (NewTCP) statement()          {}
func (Established) statement()     {}
func (Invalid) statement()         {}
func (Protocol) statement()        {}
func (ICMPType) statement()        {}
func (HopLimit255) statement()     {}
func (Limit) statement()           {}
func (Meter) statement()           {}
func (BanSource) statement()       {}
func (Log) statement()             {}
func (Count) statement()           {}
func (Notrack) statement()         {}
func (Accept) statement()          {}
func (Drop) statement()            {}
func (Goto) statement()            {}
func (Jump) statement()            {}

func (s Loopback) String() string {
	if s.Out {
		return `oif "lo"`
	}
	return `iif "lo"`
}

func (s OnLink) String() string { return fmt.Sprintf("iifname %q", s.Name) }
func (s LinkIn) String() string { return "iifname @" + s.Set }

func (s SourceIn) String() string {
	if s.Not {
		return s.Family.source() + " != @" + s.Set
	}
	if s.Host {
		return s.Family.host() + s.Family.hostIs() + "@" + s.Set
	}
	return s.Family.source() + " @" + s.Set
}

func (LinkLocalSource) String() string { return "ip6 saddr fe80::/10" }

func (s SentBy) String() string { return fmt.Sprintf("meta skuid %d", s.UID) }

func (s To) String() string {
	if s.Addr.Is4() {
		return "ip daddr " + s.Addr.String()
	}
	return "ip6 daddr " + s.Addr.String()
}

func side(source bool) string {
	if source {
		return "sport"
	}
	return "dport"
}

func (s PortRange) String() string {
	if s.First == s.Last {
		return fmt.Sprintf("%s %s %d", s.Proto, side(s.Source), s.First)
	}
	return fmt.Sprintf("%s %s %d-%d", s.Proto, side(s.Source), s.First, s.Last)
}

func (s PortIn) String() string {
	return fmt.Sprintf("%s %s @%s", s.Proto, side(s.Source), s.Set)
}

func (NewTCP) String() string      { return "tcp flags syn / fin,syn,rst,ack" }
func (Established) String() string { return "ct state established,related" }
func (Invalid) String() string     { return "ct state invalid" }
func (s Protocol) String() string  { return "meta l4proto " + s.Name }
func (HopLimit255) String() string { return "ip6 hoplimit 255" }

func (s ICMPType) String() string {
	if s.Family == V4 {
		return "icmp type " + s.Name
	}
	return "icmpv6 type " + s.Name
}

func (s Limit) String() string {
	over := ""
	if s.Over {
		over = "over "
	}
	return fmt.Sprintf("limit rate %s%d/second burst %d packets", over, s.PerSecond, s.Burst)
}

func (s Meter) String() string {
	over := Limit{PerSecond: s.PerSecond, Burst: s.PerSecond, Over: true}
	return fmt.Sprintf("update @%s { %s timeout %s %s }", s.Set, s.Family.host(), nftTime(s.Forget), over)
}

func (s BanSource) String() string {
	return fmt.Sprintf("update @%s { %s timeout %s counter }", s.Set, s.Family.host(), nftTime(s.For))
}

func (s Log) String() string {
	return fmt.Sprintf("log prefix %q group %d snaplen %d", s.Prefix, s.Group, s.Snaplen)
}

func (s Count) String() string { return fmt.Sprintf("counter name %q", s.Name) }
func (Notrack) String() string { return "notrack" }
func (Accept) String() string  { return "accept" }
func (Drop) String() string    { return "drop" }
func (s Goto) String() string  { return "goto " + s.Chain }
func (s Jump) String() string  { return "jump " + s.Chain }

// nftTime prints d as nft does: 1h30s.
func nftTime(d time.Duration) string {
	units := []struct {
		name string
		size time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}}
	var b strings.Builder
	for _, u := range units {
		if n := d / u.size; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			d -= n * u.size
		}
	}
	return b.String()
}

// String prints the ruleset as nft(8) lists it, and as nft -f reads it.
func (r Ruleset) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table inet %s {\n", TableName)
	for _, name := range r.Counters {
		fmt.Fprintf(&b, "\tcounter %s {\n\t\tpackets 0 bytes 0\n\t}\n\n", name)
	}
	for _, s := range r.Sets {
		s.print(&b)
	}
	for i, c := range r.Chains {
		if i > 0 {
			b.WriteByte('\n')
		}
		c.print(&b)
	}
	b.WriteString("}\n")
	return b.String()
}

func (s Set) print(b *strings.Builder) {
	fmt.Fprintf(b, "\tset %s {\n\t\ttype %s\n", s.Name, s.Key)
	if s.Size > 0 {
		fmt.Fprintf(b, "\t\tsize %d\n", s.Size)
	}
	if flags := s.flags(); len(flags) > 0 {
		fmt.Fprintf(b, "\t\tflags %s\n", strings.Join(flags, ","))
	}
	if elements := s.elements(); len(elements) > 0 {
		fmt.Fprintf(b, "\t\telements = { %s }\n", strings.Join(elements, ", "))
	}
	b.WriteString("\t}\n\n")
}

func (s Set) interval() bool {
	return s.Content && !s.Single && (s.Key == IPv4Key || s.Key == IPv6Key)
}

func (s Set) flags() []string {
	var flags []string
	if s.Dynamic {
		flags = append(flags, "dynamic")
	}
	if s.interval() {
		flags = append(flags, "interval")
	}
	if s.Timeout {
		flags = append(flags, "timeout")
	}
	return flags
}

func (s Set) elements() []string {
	var out []string
	for _, r := range s.Ranges {
		out = append(out, r.String())
	}
	for _, p := range s.Ports {
		out = append(out, fmt.Sprint(p))
	}
	for _, l := range s.Links {
		out = append(out, fmt.Sprintf("%q", l))
	}
	return out
}

// String prints r as an address, a prefix, or a range, whichever is shortest.
func (r Range) String() string {
	if r.First == r.Last {
		return r.First.String()
	}
	for bits := range r.First.BitLen() {
		if p, err := r.First.Prefix(bits); err == nil && p.Addr() == r.First && lastAddr(p) == r.Last {
			return p.String()
		}
	}
	return r.First.String() + "-" + r.Last.String()
}

func (c Chain) print(b *strings.Builder) {
	fmt.Fprintf(b, "\tchain %s {\n", c.Name)
	if h := c.Hook; h != nil {
		priority, policy := "filter", "accept"
		if h.Raw {
			priority = "raw"
		}
		if h.Drop {
			policy = "drop"
		}
		fmt.Fprintf(b, "\t\ttype filter hook %s priority %s; policy %s;\n", h.Type, priority, policy)
	}
	for _, rule := range c.Rules {
		words := make([]string, len(rule))
		for i, s := range rule {
			words[i] = s.String()
		}
		fmt.Fprintf(b, "\t\t%s\n", strings.Join(words, " "))
	}
	b.WriteString("\t}\n")
}
