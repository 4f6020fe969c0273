package quality

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

const (
	narrow = 8000
	wide   = 48000
)

func TestMeterCountsLoss(t *testing.T) {
	t.Parallel()
	type run struct {
		ssrc        uint32
		first, last int // sequence numbers, wrapping
		drop        map[int]bool
	}
	for _, c := range []struct {
		name           string
		runs           []run
		lost, expected uint64
	}{
		{"none", []run{{1, 0, 99, nil}}, 0, 100},
		{"three of a hundred", []run{{1, 0, 99, map[int]bool{5: true, 6: true, 50: true}}}, 3, 100},
		{"over the wrap", []run{{1, 65500, 65600, map[int]bool{65535: true, 65536: true}}}, 2, 101},
		{"two wraps", []run{{1, 10, 140_000, map[int]bool{70_000: true}}}, 1, 139_991},
		{"new sender", []run{{1, 0, 9, map[int]bool{4: true}}, {2, 30_000, 30_009, map[int]bool{30_003: true}}}, 2, 20},
		{"sender starts again", []run{{1, 100, 109, nil}, {1, 20_000, 20_009, nil}}, 0, 19}, // the first is not believed
		{"one stray number", []run{{1, 0, 9, nil}, {1, 40_000, 40_000, nil}, {1, 10, 19, nil}}, 0, 20},
	} {
		var m Meter
		packets := uint64(0)
		for _, r := range c.runs {
			for i := r.first; i <= r.last; i++ {
				if !r.drop[i] {
					m.Packet(Header{Sequence: uint16(i), SSRC: r.ssrc, Timestamp: uint32(i) * 160}, narrow, time.Duration(i)*20*time.Millisecond)
					packets++
				}
			}
		}
		if total := m.Total(); m.Lost() != c.lost || total.Lost != c.lost || total.Expected != c.expected || m.Packets() != packets {
			t.Errorf("%s: %d lost, %+v, %d packets; want %d of %d and %d", c.name, m.Lost(), total, m.Packets(), c.lost, c.expected, packets)
		}
	}
}

func TestMeterReorderAndDuplicatesAreNoLoss(t *testing.T) {
	t.Parallel()
	var m Meter
	for _, s := range []uint16{10, 12, 11, 13, 13, 15, 14, 9, 16} {
		m.Packet(Header{Sequence: s, SSRC: 1}, narrow, 0)
	}
	if r := m.Total(); r.Lost != 0 || r.Burst != 1 {
		t.Errorf("%+v", r)
	}
}

// RFC 3550 section 6.4.1: a constant alternation of d converges to d.
func TestMeterJitter(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		late  func(i int) time.Duration
		clock uint32 // 0 is a payload that is not timed
		want  float64
	}{
		{"steady", func(int) time.Duration { return 0 }, narrow, 0},
		{"alternating 8 ms", func(i int) time.Duration { return time.Duration(i%2) * 8 * time.Millisecond }, narrow, 8},
		{"wide band", func(i int) time.Duration { return time.Duration(i%2) * 8 * time.Millisecond }, wide, 8},
		{"digits are not timed", func(i int) time.Duration { return time.Duration(i) * time.Second }, 0, 0},
	} {
		var m Meter
		for i := range 2000 {
			m.Packet(Header{Sequence: uint16(i), SSRC: 1, Timestamp: uint32(4294960000) + uint32(i)*c.clock/50}, c.clock,
				time.Duration(i)*20*time.Millisecond+c.late(i))
		}
		if got := m.Jitter().Seconds() * 1000; math.Abs(got-c.want) > 0.01*c.want+0.001 {
			t.Errorf("%s: %.3f ms, want %.3f", c.name, got, c.want)
		}
		if b, _ := m.Block(); math.Abs(float64(b.Jitter)-c.want*float64(c.clock)/1000) > 0.01*float64(c.clock)/100+1 {
			t.Errorf("%s: %d in units of the timestamp", c.name, b.Jitter)
		}
	}
}

func TestMeterIgnoresJumpsOfTheSender(t *testing.T) {
	t.Parallel()
	var m Meter
	for i := range 100 {
		stamp := uint32(i) * 160
		if i > 50 {
			stamp += 3_000_000_000
		}
		m.Packet(Header{Sequence: uint16(i), SSRC: 1, Timestamp: stamp}, narrow, time.Duration(i)*20*time.Millisecond)
	}
	if m.Jitter() > time.Millisecond {
		t.Errorf("jitter %s", m.Jitter())
	}
}

// BurstR is 1 for random loss and the length of the runs for losses in runs.
func TestMeterTellsBurstsFromRandomLoss(t *testing.T) {
	t.Parallel()
	feed := func(m *Meter, lost func(i int) bool) {
		for i := range 50_000 {
			if !lost(i) {
				m.Packet(Header{Sequence: uint16(i), SSRC: 1}, narrow, 0)
			}
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	var thin, thick, runs, far Meter
	feed(&thin, func(int) bool { return random.Float64() < 0.02 })
	feed(&thick, func(int) bool { return random.Float64() < 0.3 })
	feed(&runs, func(i int) bool { return i%100 >= 95 })  // 5 in a row
	feed(&far, func(i int) bool { return i%1000 >= 900 }) // more than the window holds
	for _, c := range []struct {
		name        string
		m           *Meter
		loss, burst float64
	}{
		{"2 % at random", &thin, 0.02, 1}, {"30 % at random", &thick, 0.3, 1},
		{"5 in a row", &runs, 0.05, 5 * 0.95}, {"100 in a row", &far, 0.1, 8},
	} {
		if r := c.m.Total(); math.Abs(r.Loss()-c.loss) > 0.01 || math.Abs(r.Burst-c.burst) > 0.06 {
			t.Errorf("%s: loss %.3f, burst %.3f; want %.3f and %.3f", c.name, r.Loss(), r.Burst, c.loss, c.burst)
		}
	}
}

func TestMeterIntervals(t *testing.T) {
	t.Parallel()
	var m Meter
	var k Mark
	send := func(from, to int, drop ...int) {
		for i := from; i < to; i++ {
			lost := false
			for _, d := range drop {
				lost = lost || i == d
			}
			if !lost {
				m.Packet(Header{Sequence: uint16(i), SSRC: 1}, narrow, 0)
			}
		}
	}
	want := func(expected, lost uint64, fraction uint8) {
		t.Helper()
		b, ok := m.Block()
		if r := m.Since(&k); r.Expected != expected || r.Lost != lost || ok && b.Fraction != fraction {
			t.Errorf("%+v, fraction %d; want %d of %d, %d", r, b.Fraction, lost, expected, fraction)
		}
	}
	want(0, 0, 0)
	send(0, 100, 10, 20)
	want(100, 2, 5) // 2/100 of 256
	send(100, 200)
	want(100, 0, 0)
	want(0, 0, 0)
	send(200, 300, 250, 251, 252, 253)
	send(252, 253) // comes late
	want(100, 3, 7)
	send(300, 310)
	send(250, 252) // very late, but within what is believed
	want(10, 0, 0)
	if b, _ := m.Block(); b.Lost != 3 || b.Highest != 309 {
		t.Errorf("%+v", b)
	}
}

func TestMeterAllocatesNothing(t *testing.T) {
	var m Meter
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		i += 1 + i%3
		m.Packet(Header{Sequence: uint16(i), SSRC: 1, Timestamp: uint32(i) * 160}, narrow, time.Duration(i)*time.Millisecond)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkMeter(b *testing.B) {
	var m Meter
	for i := range b.N {
		m.Packet(Header{Sequence: uint16(i), SSRC: 1, Timestamp: uint32(i) * 160}, narrow, time.Duration(i)*20*time.Millisecond)
	}
}

func FuzzMeter(f *testing.F) {
	f.Add([]byte{1, 2, 3, 0xff, 0xff, 0, 0, 9, 9})
	f.Fuzz(func(t *testing.T, steps []byte) {
		var m Meter
		var k Mark
		sequence := uint16(65000)
		for i := 0; i+1 < len(steps); i += 2 {
			sequence += uint16(int8(steps[i])) * uint16(steps[i+1]>>4)
			m.Packet(Header{SSRC: uint32(steps[i+1] & 1), Sequence: sequence, Timestamp: uint32(i) * 160}, 8000, time.Duration(i)*time.Millisecond)
			if steps[i+1]&2 != 0 {
				if r := m.Since(&k); r.Lost > r.Expected || r.Burst < 1 || r.Burst > 8 {
					t.Fatalf("%+v", r)
				}
			}
		}
		if r := m.Total(); r.Lost > r.Expected || r.Loss() < 0 || r.Loss() > 1 {
			t.Fatalf("%+v", r)
		}
	})
}
