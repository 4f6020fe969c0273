package firewall

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
)

func TestResolveLists(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, allow, block, wantAllow, wantBlock string }{
		{"nothing", "", "", "", ""},
		{"one inside another merges", "", "41.202.0.0/16 41.202.160.2/32", "", "41.202.0.0/16"},
		{"neighbours join", "", "10.0.0.0/25 10.0.0.128/25", "", "10.0.0.0/24"},
		{"not a prefix any more", "", "10.0.0.0/24 10.0.1.0/24 10.0.2.0/24", "", "10.0.0.0-10.0.2.255"},
		{"a hole for the more specific", "41.202.191.5/32", "41.202.0.0/16", "41.202.191.5", "41.202.0.0-41.202.191.4 41.202.191.6-41.202.255.255"},
		{"block inside allow", "10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/16 10.2.0.0-10.255.255.255", "10.1.0.0/16"},
		{"three deep", "10.0.0.0/8 10.1.1.0/24", "10.1.0.0/16", "10.0.0.0/16 10.1.1.0/24 10.2.0.0-10.255.255.255", "10.1.0.0/24 10.1.2.0-10.1.255.255"},
		{"a tie is allowed", "10.0.0.0/8", "10.0.0.0/8", "10.0.0.0/8", ""},
		{"host bits do not count", "", "192.0.2.77/24", "", "192.0.2.0/24"},
		{"mapped addresses are IPv4", "", "::ffff:192.0.2.0/120 192.0.2.9/32", "", "192.0.2.0/24"},
		{"until the last address", "255.255.255.255/32", "224.0.0.0/3", "255.255.255.255", "224.0.0.0-255.255.255.254"},
		{"everything, both families", "", "0.0.0.0/0 ::/0", "", "0.0.0.0/0 ::/0"},
		{"families do not touch", "", "255.255.255.255/32 ::/128", "", "255.255.255.255 ::"},
		{"IPv6 until the end", "ffff:ffff::/32", "ff00::/8", "ffff:ffff::/32", "ff00::-ffff:fffe:ffff:ffff:ffff:ffff:ffff:ffff"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			allow, block := resolveLists(prefixes(strings.Fields(c.allow)...), prefixes(strings.Fields(c.block)...))
			if got := text(allow); got != c.wantAllow {
				t.Errorf("allowed: %s, want %s", got, c.wantAllow)
			}
			if got := text(block); got != c.wantBlock {
				t.Errorf("blocked: %s, want %s", got, c.wantBlock)
			}
		})
	}
}

func text(ranges []Range) string {
	words := make([]string, len(ranges))
	for i, r := range ranges {
		words[i] = r.String()
	}
	return strings.Join(words, " ")
}

// A search in the lists themselves decides the same as the ranges do, and the
// ranges are sorted, disjoint and not adjacent: what the kernel demands.
func TestResolveListsAgainstLongestMatch(t *testing.T) {
	t.Parallel()
	const seed = 20261
	rnd := rand.New(rand.NewPCG(seed, seed))
	for round := range 300 {
		var allow, block []netip.Prefix
		for range rnd.IntN(20) {
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(rnd.IntN(2) * 255), byte(rnd.IntN(2) * 255), 0, byte(rnd.IntN(256))}), rnd.IntN(33))
			if rnd.IntN(2) == 0 {
				allow = append(allow, p)
			} else {
				block = append(block, p)
			}
		}
		gotAllow, gotBlock := resolveLists(allow, block)
		disjoint(t, gotAllow)
		disjoint(t, gotBlock)
		for range 200 {
			a := netip.AddrFrom4([4]byte{byte(rnd.IntN(2) * 255), byte(rnd.IntN(2) * 255), byte(rnd.IntN(2)), byte(rnd.IntN(256))})
			want := longest(a, allow, block)
			if got := [2]bool{holds(gotAllow, a), holds(gotBlock, a)}; got != want {
				t.Fatalf("seed %d round %d: %s is (allowed, blocked) %v, want %v\nallow %v\nblock %v", seed, round, a, got, want, allow, block)
			}
		}
	}
}

func longest(a netip.Addr, allow, block []netip.Prefix) [2]bool {
	best := func(list []netip.Prefix) int {
		bits := -1
		for _, p := range list {
			if p.Masked().Contains(a) {
				bits = max(bits, p.Bits())
			}
		}
		return bits
	}
	ba, bb := best(allow), best(block)
	return [2]bool{ba >= 0 && ba >= bb, bb > ba}
}

func holds(ranges []Range, a netip.Addr) bool {
	for _, r := range ranges {
		if r.First.Compare(a) <= 0 && a.Compare(r.Last) <= 0 {
			return true
		}
	}
	return false
}

func disjoint(t *testing.T, ranges []Range) {
	t.Helper()
	for i, r := range ranges {
		if r.Last.Less(r.First) {
			t.Fatalf("range %s ends before it begins", r)
		}
		if i > 0 && !ranges[i-1].Last.Next().Less(r.First) {
			t.Fatalf("ranges %s and %s touch", ranges[i-1], r)
		}
	}
}

func TestHostPrefix(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, want string }{
		{"192.0.2.7/32", "192.0.2.7/32"},
		{"::ffff:192.0.2.7/128", "192.0.2.7/32"},
		{"2001:db8:1:2:3:4:5:6/128", "2001:db8:1:2::/64"},
		{"2001:db8:1:2::/64", "2001:db8:1:2::/64"},
		{"192.0.2.0/24", ""},
		{"2001:db8::/48", ""},
		{"127.0.0.1/32", ""},
		{"::1/128", ""},
		{"0.0.0.0/32", ""},
		{"224.0.0.1/32", ""},
	} {
		got, err := hostPrefix(netip.MustParsePrefix(c.in))
		if (err != nil) != (c.want == "") || err == nil && got.String() != c.want {
			t.Errorf("%s: %v, %v; want %q", c.in, got, err, c.want)
		}
	}
	if _, err := hostPrefix(netip.Prefix{}); err == nil {
		t.Error("an invalid prefix passed")
	}
}

func ExampleRange() {
	fmt.Println(Range{netip.MustParseAddr("10.0.0.0"), netip.MustParseAddr("10.0.1.255")})
	fmt.Println(Range{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")})
	// Output:
	// 10.0.0.0/23
	// 10.0.0.1-10.0.0.2
}
