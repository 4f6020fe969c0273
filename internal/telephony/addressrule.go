package telephony

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// AddressRule is a line of the list of addresses that are always or never let in.
// The most specific one that holds an address decides; Allow wins a tie.
type AddressRule struct {
	Prefix netip.Prefix // masked
	// Allow leaves the address unchecked: no limits of packets, no bans. It still
	// needs a password, and reaches open ports only. Else every packet is dropped.
	Allow   bool
	Note    string    // for people; at most MaxNoteLen characters
	Expires time.Time // zero is never
	Created time.Time
	By      string // who made it
}

// Limits of the list.
const (
	MaxNoteLen      = 200
	MaxAddressRules = 100_000
)

// Ends reports whether the rule has run out at now.
func (r AddressRule) Ends(now time.Time) bool { return !r.Expires.IsZero() && !now.Before(r.Expires) }

// Validate reports the first field that is not usable.
func (r AddressRule) Validate() error {
	switch p := r.Prefix; {
	case !p.IsValid() || p != p.Masked() || p.Addr().Zone() != "":
		return refuse("network", "is not a network")
	case p.Bits() == 0:
		return refuse("network", "holds every address there is")
	case !r.Allow && (p.Addr().IsLoopback() || p.Addr().IsUnspecified()):
		return refuse("network", "is this machine itself")
	}
	return checkName("note", r.Note, 0, MaxNoteLen)
}

// ParseNetwork reads an address, or a network with its length or its mask:
// 192.0.2.7, 192.0.2.0/24, 192.0.2.0/255.255.255.0, or the mask after a space.
// Bits behind the mask are cleared.
func ParseNetwork(field, text string) (netip.Prefix, error) {
	text = strings.Join(strings.Fields(strings.ReplaceAll(text, "/", " ")), "/")
	addrText, lengthText, ranged := strings.Cut(text, "/")
	addr, err := netip.ParseAddr(addrText)
	if err != nil || addr.Zone() != "" {
		return netip.Prefix{}, refuse(field, "must begin with an IP address such as 203.0.113.7; names are not looked up")
	}
	if addr.Is4In6() {
		addr = addr.Unmap()
	}
	bits := addr.BitLen()
	if ranged {
		if bits, err = prefixLength(addr, lengthText); err != nil {
			return netip.Prefix{}, refuse(field, "must end in a length (/24) or a mask (/255.255.255.0) that fits the address")
		}
	}
	return netip.PrefixFrom(addr, bits).Masked(), nil
}

// prefixLength reads a length, or an IPv4 mask.
func prefixLength(addr netip.Addr, text string) (int, error) {
	if !strings.Contains(text, ".") {
		p, err := netip.ParsePrefix(addr.String() + "/" + text)
		return p.Bits(), err
	}
	mask, err := netip.ParseAddr(text)
	if err != nil || !mask.Is4() || !addr.Is4() {
		return 0, refuse("mask", "is none")
	}
	b := mask.As4()
	n := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	for bits := range 33 {
		if n == ^uint32(0)<<(32-bits) {
			return bits, nil
		}
	}
	return 0, refuse("mask", "is not ones followed by zeros")
}

// Span is the first and the last address of a network.
func Span(p netip.Prefix) (first, last netip.Addr) {
	p = p.Masked()
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ = netip.AddrFromSlice(b)
	return p.Addr(), last
}

// AddressIndex finds the rule that decides about an address. It is immutable.
type AddressIndex struct {
	rules   map[netip.Prefix]AddressRule
	lengths [2][]int // of IPv4 and IPv6 networks, the longest first
}

// NewAddressIndex indexes rules.
func NewAddressIndex(rules []AddressRule) *AddressIndex {
	x := &AddressIndex{rules: make(map[netip.Prefix]AddressRule, len(rules))}
	for _, r := range rules {
		if old, ok := x.rules[r.Prefix]; ok && old.Allow {
			continue // of two for one network, Allow wins
		}
		x.rules[r.Prefix] = r
		if l := &x.lengths[family(r.Prefix.Addr())]; !slices.Contains(*l, r.Prefix.Bits()) {
			*l = append(*l, r.Prefix.Bits())
		}
	}
	for f := range x.lengths {
		slices.Sort(x.lengths[f])
		slices.Reverse(x.lengths[f])
	}
	return x
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// Decide is the rule that decides about an address at now, if there is one.
func (x *AddressIndex) Decide(a netip.Addr, now time.Time) (AddressRule, bool) {
	a = a.Unmap().WithZone("")
	for _, bits := range x.lengths[family(a)] {
		if r, ok := x.rules[netip.PrefixFrom(a, bits).Masked()]; ok && !r.Ends(now) {
			return r, true
		}
	}
	return AddressRule{}, false
}

// Ban is a source that gets no answer on the ports of a scope until a time.
type Ban struct {
	Source   netip.Addr // an IPv4 address, or the first of an IPv6 /64
	Scope    BanScope
	Reason   string
	Evidence Evidence
	Since    time.Time
	Until    time.Time
	// Level is the meter of the packet filter that set it, 1 or 2; 0 is a verdict
	// of guard, log-in or provisioning.
	Level int
	// Port is what the meter's packet asked for: "udp 5060".
	Port string
	// Dropped is how many packets of the source the packet filter dropped since; 0
	// where it does not count. It is not stored.
	Dropped uint64
}

// Attack is an entry of the journal: somebody was banned.
type Attack struct {
	ID int64 // grows
	Ban
}

// SortBans puts the latest first.
func SortBans(bans []Ban) {
	slices.SortFunc(bans, func(a, b Ban) int {
		if c := b.Since.Compare(a.Since); c != 0 {
			return c
		}
		return a.Source.Compare(b.Source)
	})
}
