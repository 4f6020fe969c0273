package firewall

import (
	"cmp"
	"net/netip"
	"slices"
)

// Range is an inclusive range of addresses of one family.
type Range struct{ First, Last netip.Addr }

// owner says which list decides about a range of addresses.
type owner int

const (
	nobody owner = iota
	blocked
	allowed
)

type claim struct {
	prefix netip.Prefix
	owner  owner
}

// resolveLists cuts the manual lists into disjoint ranges: the most specific
// prefix decides about an address, and allow wins a tie. Interval sets of the
// kernel refuse overlaps, and they know no longest match, so both are settled
// here.
func resolveLists(allow, block []netip.Prefix) (allowRanges, blockRanges []Range) {
	claims := make([]claim, 0, len(allow)+len(block))
	for _, p := range allow {
		claims = append(claims, claim{normalise(p), allowed})
	}
	for _, p := range block {
		claims = append(claims, claim{normalise(p), blocked})
	}
	// Outer prefixes come before the ones they hold; of equal ones the one that
	// wins comes last, as the innermost.
	slices.SortFunc(claims, func(a, b claim) int {
		return cmp.Or(a.prefix.Addr().Compare(b.prefix.Addr()), cmp.Compare(a.prefix.Bits(), b.prefix.Bits()), cmp.Compare(a.owner, b.owner))
	})
	s := sweep{out: map[owner][]Range{}}
	for _, c := range claims {
		s.enter(c)
	}
	for len(s.open) > 0 {
		s.leave()
	}
	return s.out[allowed], s.out[blocked]
}

// mergePrefixes cuts one list into disjoint, non-adjacent ranges.
func mergePrefixes(list []netip.Prefix) []Range {
	ranges, _ := resolveLists(list, nil)
	return ranges
}

// normalise strips host bits and turns IPv4-mapped IPv6 into IPv4, because
// that is how such packets arrive.
func normalise(p netip.Prefix) netip.Prefix {
	const mapped = 96 // ::ffff:0:0/96, RFC 4291 section 2.5.5.2
	if p.Addr().Is4In6() && p.Bits() >= mapped {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapped)
	}
	return p.Masked()
}

// sweep walks nested prefixes in address order and hands out each stretch to
// the innermost one.
type sweep struct {
	open []claim
	next netip.Addr // first address not handed out yet
	out  map[owner][]Range
}

func (s *sweep) enter(c claim) {
	for len(s.open) > 0 && !s.open[len(s.open)-1].prefix.Contains(c.prefix.Addr()) {
		s.leave()
	}
	if n := len(s.open); n > 0 && s.next.Less(c.prefix.Addr()) {
		s.give(s.open[n-1].owner, Range{s.next, c.prefix.Addr().Prev()})
	}
	s.open = append(s.open, c)
	s.next = c.prefix.Addr()
}

func (s *sweep) leave() {
	n := len(s.open) - 1
	c := s.open[n]
	s.open = s.open[:n]
	end := lastAddr(c.prefix)
	if s.next.IsValid() && s.next.Compare(end) <= 0 {
		s.give(c.owner, Range{s.next, end})
	}
	s.next = end.Next() // invalid after the last address: nothing can follow
}

// give appends r, joined with its neighbour when they touch.
func (s *sweep) give(o owner, r Range) {
	list := s.out[o]
	if n := len(list); n > 0 && list[n-1].Last.Next() == r.First {
		list[n-1].Last = r.Last
		return
	}
	s.out[o] = append(list, r)
}

func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := range b {
		switch host := (i+1)*8 - p.Bits(); {
		case host >= 8:
			b[i] = 0xff
		case host > 0:
			b[i] |= 1<<host - 1
		}
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// split separates ranges by family.
func split(ranges []Range) (v4, v6 []Range) {
	for _, r := range ranges {
		if r.First.Is4() {
			v4 = append(v4, r)
		} else {
			v6 = append(v6, r)
		}
	}
	return v4, v6
}

// splitHosts separates single addresses from networks: the kernel keeps an
// address in a hash, in half the memory that an interval of its tree takes.
func splitHosts(ranges []Range) (hosts, networks []Range) {
	for _, r := range ranges {
		if r.First == r.Last {
			hosts = append(hosts, r)
		} else {
			networks = append(networks, r)
		}
	}
	return hosts, networks
}

// difference compares two lists of disjoint ranges in ascending order.
func difference(before, after []Range) (gone, added []Range) {
	for len(before) > 0 && len(after) > 0 {
		switch c := before[0].compare(after[0]); {
		case c < 0:
			gone, before = append(gone, before[0]), before[1:]
		case c > 0:
			added, after = append(added, after[0]), after[1:]
		default:
			before, after = before[1:], after[1:]
		}
	}
	return append(gone, before...), append(added, after...)
}

func (r Range) compare(o Range) int {
	return cmp.Or(r.First.Compare(o.First), r.Last.Compare(o.Last))
}
