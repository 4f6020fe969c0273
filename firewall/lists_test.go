package firewall

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"ringfence/firewall/nstest"
)

// A change of the lists is made by what is gone and what is new. Whatever the
// changes were, the kernel then holds what it would after a fresh load.
func TestChangedListsEqualFreshOnes(t *testing.T) {
	t.Parallel()
	changed, fresh := nstest.New(t), nstest.New(t)
	k := NewKernel(changed.FD())
	rnd := rand.New(rand.NewPCG(6, 4))
	random := func(n int) (out []netip.Prefix) {
		for range n { // few addresses and many lengths: overlaps, neighbours, ties
			bits := []int{32, 32, 31, 30, 28, 24}[rnd.IntN(6)]
			a := netip.AddrFrom4([4]byte{11, 0, byte(rnd.IntN(2)), byte(rnd.IntN(256))})
			p := netip.PrefixFrom(a, bits)
			if rnd.IntN(3) == 0 {
				b := netip.MustParseAddr("2001:db8::").As16()
				b[7], b[15] = byte(rnd.IntN(8)), byte(rnd.IntN(8))
				p = netip.PrefixFrom(netip.AddrFrom16(b), []int{128, 128, 127, 64, 62}[rnd.IntN(5)])
			}
			out = append(out, p.Masked())
		}
		return out
	}
	sorted := func(n *nstest.NS) []string {
		lines := strings.Split(n.Run("nft", "list", "table", "inet", TableName), "\n")
		slices.Sort(lines)
		return lines
	}
	p := inService(t)
	p.Block, p.Allow = append(random(60), prefixes("255.255.255.255/32", "255.255.0.0/16")...), random(20)
	must(t, k.Apply(mustCompile(t, p)))
	for round := range 30 {
		switch round % 5 {
		case 3:
			p.Block, p.Allow = nil, nil
		case 4:
			p.Block, p.Allow = append(random(60), prefixes("224.0.0.0/3")...), random(20)
		default:
			for range 5 {
				if len(p.Block) > 0 {
					i := rnd.IntN(len(p.Block))
					p.Block = slices.Delete(slices.Clone(p.Block), i, i+1)
				}
			}
			p.Block, p.Allow = append(slices.Clone(p.Block), random(8)...), random(20)
		}
		r := mustCompile(t, p)
		// Not by Apply, which would load the sets as a whole after an error.
		must(t, k.rules.do(func(c *nftables.Conn) error {
			must(t, k.apply(c, r, false))
			return k.readBack(c, r)
		}))
		other := NewKernel(fresh.FD())
		must(t, other.Apply(r))
		if got, want := sorted(changed), sorted(fresh); !slices.Equal(got, want) {
			t.Fatalf("round %d: the kernel holds\n%s\nwant\n%s", round, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	// Somebody else took an entry out: the lists are loaded as a whole.
	p.Block = prefixes("192.0.2.1/32", "192.0.2.9/32")
	must(t, k.Apply(mustCompile(t, p)))
	changed.Run("nft", "delete", "element", "inet", TableName, "block_host_4", "{ 192.0.2.1 }")
	p.Block = prefixes("192.0.2.9/32")
	must(t, k.Apply(mustCompile(t, p)))
	if got := fmt.Sprint(k.elements("block_host_4")); !strings.Contains(got, "192 0 2 9") {
		t.Errorf("after an entry was missing the set holds %s", got)
	}
}

// longList is a block list as it may be at most: of ten entries nine are single
// addresses, every twentieth of them IPv6, and one is a network.
func longList() (list []netip.Prefix) {
	for i := range MaxPrefixes {
		switch {
		case i%10 == 9:
			list = append(list, netip.PrefixFrom(netip.AddrFrom4([4]byte{12, byte(i / 10 >> 7), byte(i / 10 << 1), 0}), 24))
		case i%20 == 8:
			a := [16]byte{0x20, 0x01, 0x0d, 0xb8, 15: 7}
			binary.BigEndian.PutUint32(a[4:], uint32(i))
			list = append(list, netip.PrefixFrom(netip.AddrFrom16(a), 128))
		default:
			list = append(list, netip.PrefixFrom(netip.AddrFrom4([4]byte{11, byte(i >> 15), byte(i >> 7), byte(i << 1)}), 32))
		}
	}
	return list
}

// unreclaimable is the kernel's memory that it cannot give back, in KiB; sets
// live there.
func unreclaimable(t testing.TB) int {
	t.Helper()
	text, err := os.ReadFile("/proc/meminfo")
	must(t, err)
	n := 0
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); f[0] == "SUnreclaim:" || f[0] == "VmallocUsed:" {
			kb, err := strconv.Atoi(f[1])
			must(t, err)
			n += kb
		}
	}
	return n
}

// spent is what the process has used of the processors, its time in the kernel
// included: what a change costs, whatever else the machine does.
func spent(t testing.TB) time.Duration {
	t.Helper()
	var u unix.Rusage
	must(t, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// 100,000 entries are loaded in half a second and take 10 MB of the kernel's
// memory; to change one of them costs little. The load is the wall's time, or the
// processors' if that is less: others hold it up on a busy machine, and garbage is
// collected beside it on a quiet one.
func TestLongestList(t *testing.T) {
	if os.Getenv("RINGFENCE_DRILL") == "" {
		t.Skip("a drill: set RINGFENCE_DRILL")
	}
	k := NewKernel(nstest.New(t).FD())
	p := inService(t)
	must(t, k.Apply(mustCompile(t, p)))
	p.Block = longList()
	full := mustCompile(t, p)
	runtime.GC()
	var loads []time.Duration
	var grown []int
	for range 5 {
		memory, cpu, began := unreclaimable(t), spent(t), time.Now()
		must(t, k.Apply(full))
		took, worked := time.Since(began), spent(t)-cpu
		loads = append(loads, min(took, worked))
		time.Sleep(2 * time.Second) // tables of hashes grow behind
		grown = append(grown, unreclaimable(t)-memory)
		t.Logf("loaded in %v, %v of processor time; %d KiB more", took, worked, grown[len(grown)-1])
		p.Block = longList()[1:]
		less := mustCompile(t, p)
		cpu, began = spent(t), time.Now()
		must(t, k.Apply(less))
		t.Logf("one entry less in %v, %v of processor time", time.Since(began), spent(t)-cpu)
		must(t, k.Apply(mustCompile(t, inService(t))))
		time.Sleep(2 * time.Second)
	}
	slices.Sort(loads)
	slices.Sort(grown)
	if load := loads[len(loads)/2]; load > 500*time.Millisecond {
		t.Errorf("loading took %v, more than half a second", load)
	}
	if grown := grown[len(grown)/2]; grown > 10<<20>>10 {
		t.Errorf("the list takes %d KiB, more than 10 MiB", grown)
	}
}
