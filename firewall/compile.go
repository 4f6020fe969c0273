package firewall

import (
	"fmt"
	"slices"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// Names of sets. Sets of addresses exist once per family, with the suffix of
// setName.
const (
	setAllow  = "allow"      // manual list, skips bans and meters
	setBlock  = "block"      // manual list: networks
	setHosts  = "block_host" // manual list: single addresses
	setLocal  = "local"      // sources of the zones voice and management
	setKnown  = "known"      // sources that proved themselves, with timeouts
	setBanAll = "ban_all"    // bans of every port, with timeouts
	setMedia  = "media"      // RTP ports held by calls, with timeouts
)

// Names of chains.
const (
	chainPre     = "pre"
	chainOut     = "out"
	chainIn      = "in"
	chainForward = "through"
	chainUntrack = "untrack"
	chainICMP    = "icmp_4"
	chainICMP6   = "icmp_6"
)

// Names of counters that belong to no service.
const (
	countMetadata = "drop_metadata" // to a cloud, from who has no business there
	countDHCP     = "dhcp_answers"
	countBlock    = "drop_block"
	countBanAll   = "drop_ban_all"
	countKnown    = "drop_known" // excess of known sources
	countInvalid  = "drop_invalid"
	countICMP     = "drop_icmp"
	countLink     = "drop_link" // over the limit of an interface
	countRest     = "drop_rest" // matched no row
)

const (
	// setSize bounds every set that the network can fill.
	setSize = 65536
	// meterForget is how long a silent source's bucket is kept.
	meterForget = 10 * time.Second
	// logGroup is the group of the kernel's packet log (nfnetlink_log) that the
	// fence reads; no other program is likely to have it.
	logGroup = 0x5246
	// logSnaplen holds the headers of IPv6 with some extensions, and ports.
	logSnaplen = 96
	// portCounter prefixes the counter of a service, dropCounter those of
	// discarded packets.
	portCounter = "port_"
	dropCounter = "drop_"
)

func setName(base string, f Family) string { return fmt.Sprintf("%s_%d", base, f) }

// scope is what one ban covers, with the ports of one protocol.
type scope struct {
	name telephony.BanScope
	tcp  bool
}

func (s scope) String() string {
	if s.tcp {
		return string(s.name) + "_tcp"
	}
	return string(s.name) + "_udp"
}

func (s scope) portSet() string    { return "ports_" + s.String() }
func (s scope) chain() string      { return "guard_" + s.String() }
func (s scope) autoSet() string    { return autoSet(s.name) }
func (s scope) meter(l int) string { return fmt.Sprintf("meter%d_%s", l, s.name) }

func autoSet(name telephony.BanScope) string { return "auto_" + string(name) }

// scopes lists the guarded groups of ports, in the order of the rules.
func scopes() []scope {
	return []scope{
		{telephony.BanSIP, false},
		{telephony.BanSIP, true},
		{telephony.BanWeb, true},
		{telephony.BanProv, true},
	}
}

func banScopes() []telephony.BanScope {
	return []telephony.BanScope{telephony.BanSIP, telephony.BanWeb, telephony.BanProv}
}

// scopeOf says which bans close a service. RTP belongs to none, so that a ban
// leaves calls in progress alone; nor does the operator shell, so that a
// web ban cannot lock the operator out.
func scopeOf(s ports.Service) (scope, bool) {
	tcp := s.Proto == ports.TCP
	switch {
	case s.IsSignalling():
		return scope{telephony.BanSIP, tcp}, true
	case s.Wrap == ports.HTTP: // plain HTTP serves provisioning files only
		return scope{telephony.BanProv, tcp}, tcp
	case s.Wrap == ports.HTTPS || s.Wrap == ports.WSS:
		return scope{telephony.BanWeb, tcp}, tcp
	}
	return scope{}, false
}

// Compile turns a policy into the ruleset that enforces it. The result depends
// on nothing but p.
func Compile(p Policy) (Ruleset, error) {
	if err := p.Validate(); err != nil {
		return Ruleset{}, fmt.Errorf("compiling policy %d: %w", p.Rev, err)
	}
	r := Ruleset{Counters: counters(), Sets: sets(p)}
	if p.Mode == ModeOff {
		r.Chains = openChains()
		return r, nil
	}
	r.Chains = slices.Concat(
		[]Chain{preChain(p)},
		verdictChains(),
		guardChains(p.Limits),
		[]Chain{untrackChain(p), outChain(p), inChain(p)},
		zoneChains(p),
		[]Chain{icmpChain(), icmp6Chain(), {Name: chainForward, Hook: &Hook{Type: HookForward, Drop: true}}})
	return r, nil
}

// openChains let everything pass. They stay, so that the way back is the same
// change of rules as every other.
func openChains() []Chain {
	return []Chain{
		{Name: chainPre, Hook: &Hook{Type: HookPrerouting, Raw: true}},
		{Name: chainOut, Hook: &Hook{Type: HookOutput, Raw: true}},
		{Name: chainIn, Hook: &Hook{Type: HookInput}},
		{Name: chainForward, Hook: &Hook{Type: HookForward}},
	}
}

// counters names every counter there will ever be: those of rows that are
// closed today keep their place, so that the numbers survive any change.
func counters() []string {
	var names []string
	for _, s := range ports.Table() {
		names = append(names, portCounter+string(s.ID))
	}
	names = append(names, countDHCP, countMetadata, countBlock, countBanAll, countKnown)
	for _, b := range banScopes() {
		names = append(names, banCounter(b), levelCounter(1, b), levelCounter(2, b), floodCounter(b))
	}
	return append(names, countInvalid, countICMP, countLink, countRest)
}

func banCounter(b telephony.BanScope) string { return "drop_ban_" + string(b) }
func levelCounter(level int, b telephony.BanScope) string {
	return fmt.Sprintf("drop_level%d_%s", level, b)
}
func floodCounter(b telephony.BanScope) string { return "drop_flood_" + string(b) }

func sets(p Policy) []Set {
	allow, block := resolveLists(p.Allow, p.Block)
	hosts, networks := splitHosts(block)
	var out []Set
	lists := []struct {
		name   string
		ranges []Range
	}{{setAllow, allow}, {setBlock, networks}, {setHosts, hosts}, {setLocal, mergePrefixes(p.LocalPrefixes)}}
	for _, l := range lists {
		v4, v6 := split(l.ranges)
		single := l.name == setHosts
		out = append(out,
			Set{Name: setName(l.name, V4), Key: IPv4Key, Content: true, Single: single, Ranges: v4},
			Set{Name: setName(l.name, V6), Key: IPv6Key, Content: true, Single: single, Ranges: v6})
	}
	timed := func(name string, dynamic bool) {
		for f, key := range families() {
			out = append(out, Set{Name: setName(name, f), Key: key, Size: setSize, Timeout: true, Dynamic: dynamic})
		}
	}
	timed(setKnown, false)
	timed(setBanAll, false)
	for _, b := range banScopes() {
		timed(autoSet(b), true)
		for level := range 3 {
			timed(scope{name: b}.meter(level), true)
		}
	}
	for _, s := range scopes() {
		out = append(out, Set{Name: s.portSet(), Key: PortKey, Content: true, Ports: portsOf(p, s)})
	}
	out = append(out,
		Set{Name: setMedia, Key: PortKey, Size: setSize, Timeout: true},
		Set{Name: setChallenge, Key: PortKey, Size: 16, Timeout: true})
	return slices.Concat(out, linkSets(p), sourceSets(p))
}

// families yields both IP versions in a fixed order.
func families() func(func(Family, KeyType) bool) {
	return func(yield func(Family, KeyType) bool) {
		if yield(V4, IPv4Key) {
			yield(V6, IPv6Key)
		}
	}
}

// portsOf lists the ports of a scope, ascending. Rows of a scope are single
// ports: ranges are RTP.
func portsOf(p Policy, want scope) []uint16 {
	var out []uint16
	for _, s := range p.Services {
		if got, ok := scopeOf(s); ok && got == want {
			for port := int(s.First); port <= int(s.Last); port++ {
				out = append(out, uint16(port))
			}
		}
	}
	slices.Sort(out)
	return out
}

// preChain runs before connection tracking, where refusing a packet is
// cheapest: the lists, then the meters of the port that was asked for.
func preChain(p Policy) Chain {
	rules := append([]Rule{{Loopback{}, Accept{}}}, limitRules(p)...)
	for f := range families() {
		rules = append(rules, Rule{SourceIn{Family: f, Set: setName(setAllow, f)}, Goto{chainUntrack}})
	}
	for f := range families() {
		rules = append(rules,
			Rule{SourceIn{Family: f, Set: setName(setHosts, f)}, Count{countBlock}, Drop{}},
			Rule{SourceIn{Family: f, Set: setName(setBlock, f)}, Count{countBlock}, Drop{}},
			Rule{SourceIn{Family: f, Set: setName(setBanAll, f), Host: true}, Count{countBanAll}, Drop{}})
	}
	for _, s := range scopes() {
		rules = append(rules, Rule{PortIn{Proto: proto(s.tcp), Set: s.portSet()}, Goto{s.chain()}})
	}
	rules = append(rules, Rule{Goto{chainUntrack}})
	return Chain{Name: chainPre, Hook: &Hook{Type: HookPrerouting, Raw: true}, Rules: rules}
}

func proto(tcp bool) string {
	if tcp {
		return string(ports.TCP)
	}
	return string(ports.UDP)
}

func guardChains(l Limits) []Chain {
	var out []Chain
	for _, s := range scopes() {
		out = append(out, guardChain(s, l))
	}
	return out
}

// guardChain holds the bans and meters of one scope. Level 2 is counted for
// sources that level 1 has banned already: it stands before the ban's own
// rule, else an offender of level 1 would never reach it, and forged sources
// that send one packet each cost one bucket instead of two.
func guardChain(s scope, l Limits) Chain {
	var rules []Rule
	// metered is the match that counts: every datagram, but of a stream only
	// the segment that opens it.
	metered := func(rest ...Statement) Rule {
		if s.tcp {
			return append(Rule{NewTCP{}}, rest...)
		}
		return rest
	}
	for f := range families() {
		auto := setName(s.autoSet(), f)
		meter := func(level int, rate uint32) Meter {
			return Meter{Family: f, Set: setName(s.meter(level), f), PerSecond: rate, Forget: meterForget}
		}
		known := SourceIn{Family: f, Set: setName(setKnown, f), Host: true}
		banned := SourceIn{Family: f, Set: auto, Host: true}
		rules = append(rules,
			metered(known, meter(0, l.Known), Count{countKnown}, Drop{}),
			Rule{known, Goto{chainUntrack}},
			metered(banned, meter(2, l.L2), BanSource{f, auto, l.L2Block}, Goto{verdictChain(2, s.name)}),
			Rule{banned, Count{banCounter(s.name)}, Drop{}},
			metered(meter(1, l.L1), BanSource{f, auto, l.L1Block}, Goto{verdictChain(1, s.name)}))
	}
	total := l.Total
	if s.tcp {
		total = l.TotalConnections
	}
	rules = append(rules,
		metered(Limit{PerSecond: total, Burst: total, Over: true}, Count{floodCounter(s.name)}, Drop{}),
		Rule{Goto{chainUntrack}})
	return Chain{Name: s.chain(), Rules: rules}
}

// verdictChains tell the fence of each ban that a meter set, and drop the packet.
// The limit is for level 2, which speaks for every packet above it, and for
// floods of forged sources: whom the fence was not told of, it finds in the set.
func verdictChains() []Chain {
	var out []Chain
	for _, b := range banScopes() {
		for level := 1; level <= 2; level++ {
			name := verdictChain(level, b)
			out = append(out, Chain{Name: name, Rules: []Rule{
				{Limit{PerSecond: 20, Burst: 50}, Log{Group: logGroup, Prefix: name, Snaplen: logSnaplen}},
				{Count{levelCounter(level, b)}, Drop{}},
			}})
		}
	}
	return out
}

func verdictChain(level int, b telephony.BanScope) string {
	return fmt.Sprintf("level%d_%s", level, b)
}

// untrackChain keeps SIP over UDP and RTP out of connection tracking: every
// forged source would otherwise take an entry of its table.
func untrackChain(p Policy) Chain {
	return Chain{Name: chainUntrack, Rules: untracked(p, false)}
}

// outChain does the same for what we send.
func outChain(p Policy) Chain {
	rules := append([]Rule{{Loopback{Out: true}, Accept{}}}, untracked(p, true)...)
	return Chain{Name: chainOut, Hook: &Hook{Type: HookOutput, Raw: true}, Rules: rules}
}

func untracked(p Policy, source bool) []Rule {
	rules := []Rule{{PortIn{Proto: string(ports.UDP), Source: source, Set: scope{name: telephony.BanSIP}.portSet()}, Notrack{}}}
	for _, s := range p.Services {
		if s.Wrap == ports.RTP {
			rules = append(rules, Rule{portRange(s, source), Notrack{}})
		}
	}
	return rules
}

func portRange(s ports.Service, source bool) PortRange {
	return PortRange{Proto: string(s.Proto), Source: source, First: s.First, Last: s.Last}
}

// inChain decides what reaches a socket of this host.
func inChain(p Policy) Chain {
	c := Chain{Name: chainIn, Hook: &Hook{Type: HookInput, Drop: p.Mode != ModeCloud}}
	if p.Mode == ModeCloud {
		return c
	}
	c.Rules = []Rule{
		{Loopback{}, Accept{}},
		// ICMP comes before connection tracking's verdict: errors about
		// untracked flows look invalid to it, and the second echo request of a
		// flood looks established.
		{Protocol{"icmp"}, Jump{chainICMP}},
		{Protocol{"ipv6-icmp"}, Jump{chainICMP6}},
		{Established{}, Accept{}},
		{Invalid{}, Count{countInvalid}, Drop{}},
	}
	c.Rules = append(c.Rules, dhcpRules()...)
	c.Rules = append(c.Rules, challengeRules()...)
	c.Rules = append(c.Rules, zoneRules(p)...)
	for _, s := range p.Services {
		c.Rules = append(c.Rules, serviceRules(s)...)
	}
	c.Rules = append(c.Rules, Rule{Count{countRest}, Drop{}})
	return c
}

// dhcpRules admit the answers of DHCP servers: connection tracking cannot
// match them, because requests are broadcast (RFC 2131 section 4.1) or
// multicast (RFC 8415 section 7.1).
func dhcpRules() []Rule {
	udp := string(ports.UDP)
	limit := Limit{PerSecond: 50, Burst: 50}
	return []Rule{
		{PortRange{Proto: udp, Source: true, First: ports.DHCPv4Server, Last: ports.DHCPv4Server},
			PortRange{Proto: udp, First: ports.DHCPv4Client, Last: ports.DHCPv4Client}, limit, Count{countDHCP}, Accept{}},
		{LinkLocalSource{}, PortRange{Proto: udp, Source: true, First: ports.DHCPv6Server, Last: ports.DHCPv6Server},
			PortRange{Proto: udp, First: ports.DHCPv6Client, Last: ports.DHCPv6Client}, limit, Count{countDHCP}, Accept{}},
	}
}

// icmpChain admits echo and the errors that path MTU discovery and sockets
// need (RFC 1191, RFC 1122 section 3.2.2). Each has a budget of its own, so
// that a flood of one does not silence the others. What is left over, such as
// the replies to our own echoes, is for connection tracking to judge.
func icmpChain() Chain {
	var rules []Rule
	for _, name := range []string{"destination-unreachable", "time-exceeded", "parameter-problem", echo} {
		rules = append(rules, icmpRule(V4, name))
	}
	return Chain{Name: chainICMP, Rules: append(rules, Rule{ICMPType{V4, echo}, Count{countICMP}, Drop{}})}
}

const echo = "echo-request"

// icmp6Chain admits what IPv6 cannot live without (RFC 4890 section 4.4).
func icmp6Chain() Chain {
	var rules []Rule
	for _, name := range []string{"nd-neighbor-solicit", "nd-neighbor-advert", "nd-router-advert"} {
		rules = append(rules, Rule{HopLimit255{}, ICMPType{V6, name}, Accept{}})
	}
	for _, name := range []string{"destination-unreachable", "packet-too-big", "time-exceeded", "parameter-problem", echo} {
		rules = append(rules, icmpRule(V6, name))
	}
	return Chain{Name: chainICMP6, Rules: append(rules,
		Rule{LinkLocalSource{}, ICMPType{V6, "mld-listener-query"}, icmpLimit(), Accept{}},
		Rule{ICMPType{V6, echo}, Count{countICMP}, Drop{}})}
}

func icmpRule(f Family, name string) Rule { return Rule{ICMPType{f, name}, icmpLimit(), Accept{}} }

func icmpLimit() Limit { return Limit{PerSecond: 50, Burst: 50} }
