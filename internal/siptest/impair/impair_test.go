package impair

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"
)

const packets = 20_000

// run sends packets, one every 20 ms, and returns what arrives in the order of
// its arrival, and the most a packet was late.
func run(p Profile, seed uint64) (order []int, late time.Duration, l *Line) {
	type arrival struct {
		n  int
		at time.Time
	}
	var all []arrival
	l = NewLine(p, seed)
	start := time.Unix(0, 0)
	for n := range packets {
		now := start.Add(time.Duration(n) * 20 * time.Millisecond)
		for _, at := range l.Send(now) {
			all = append(all, arrival{n, at})
			late = max(late, at.Sub(now))
		}
	}
	slices.SortStableFunc(all, func(a, b arrival) int { return a.at.Compare(b.at) })
	for _, a := range all {
		order = append(order, a.n)
	}
	return order, late, l
}

func TestSameSeedSameFate(t *testing.T) {
	t.Parallel()
	p := Profile{Loss: 0.05, Duplicate: 0.02, Reorder: 0.03, Jitter: 100 * time.Millisecond}
	a, _, _ := run(p, 7)
	b, _, _ := run(p, 7)
	c, _, _ := run(p, 8)
	if !slices.Equal(a, b) || slices.Equal(a, c) {
		t.Error("fates do not follow the seed")
	}
}

func TestLossIsTheShareAskedFor(t *testing.T) {
	t.Parallel()
	for _, share := range []float64{0, 0.01, 0.05, 0.2} {
		order, _, l := run(Profile{Loss: share}, 1)
		if got := 1 - float64(len(order))/packets; math.Abs(got-share) > 0.005 {
			t.Errorf("lost %.4f, want %.2f", got, share)
		}
		if l.Lost != packets-len(order) || l.Sent != packets {
			t.Errorf("counted %+v", l.Counts)
		}
	}
}

func TestJitterKeepsTheOrder(t *testing.T) {
	t.Parallel()
	order, late, _ := run(Profile{Delay: 10 * time.Millisecond, Jitter: 100 * time.Millisecond}, 1)
	if !slices.IsSorted(order) {
		t.Error("packets overtake each other in a queue")
	}
	if late < 100*time.Millisecond || late > 110*time.Millisecond {
		t.Errorf("packets are up to %s late", late)
	}
}

func TestReorderAndDuplicate(t *testing.T) {
	t.Parallel()
	order, _, l := run(Profile{Reorder: 0.05, Duplicate: 0.02}, 1)
	overtaken, highest := 0, -1
	seen := map[int]int{}
	for _, n := range order {
		if seen[n]++; seen[n] == 1 && n < highest {
			overtaken++
		}
		highest = max(highest, n)
	}
	if len(seen) != packets || overtaken < packets/25 || overtaken > l.Reordered {
		t.Errorf("%d of %d arrived, %d overtaken, %d held back", len(seen), packets, overtaken, l.Reordered)
	}
	if d := len(order) - packets; d != l.Doubled || d < packets/60 {
		t.Errorf("%d doubled, %d said to be", d, l.Doubled)
	}
}

// What the proxy passes is what its counts say, both ways.
func TestProxyPassesBothWays(t *testing.T) {
	t.Parallel()
	local := netip.MustParseAddr("127.0.0.1")
	near, far := socket(t), socket(t)
	x, err := NewProxy(local, netip.AddrPort{}, far.LocalAddr().(*net.UDPAddr).AddrPort(), Profile{Loss: 0.2, Jitter: 5 * time.Millisecond}, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	const n = 200
	for _, way := range []struct {
		from, to *net.UDPConn
		at       netip.AddrPort
	}{{near, far, x.Near()}, {far, near, x.Far()}} {
		for i := range n {
			if _, err := way.from.WriteToUDPAddrPort(fmt.Append(nil, i), way.at); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Microsecond)
		}
		got, buf := 0, make([]byte, 100)
		for {
			_ = way.to.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
			if _, _, err := way.to.ReadFromUDPAddrPort(buf); err != nil {
				break
			}
			got++
		}
		toNear, toFar := x.Counts()
		c := toFar
		if way.to == near {
			c = toNear
		}
		if c.Sent != n || got != n-c.Lost || c.Lost < n/10 {
			t.Errorf("%d arrived; %+v", got, c)
		}
	}
}

func socket(t *testing.T) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}
