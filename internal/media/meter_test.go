package media

import (
	"math"
	"testing"
	"time"
)

var pcmu = codec{"PCMU", 8000, 1}

func TestMeterCountsLoss(t *testing.T) {
	t.Parallel()
	type run struct {
		ssrc        uint32
		first, last int // sequence numbers, wrapping
		drop        map[int]bool
	}
	for _, c := range []struct {
		name string
		runs []run
		lost uint64
	}{
		{"none", []run{{1, 0, 99, nil}}, 0},
		{"three of a hundred", []run{{1, 0, 99, map[int]bool{5: true, 6: true, 50: true}}}, 3},
		{"over the wrap", []run{{1, 65500, 65600, map[int]bool{65535: true, 65536: true}}}, 2},
		{"two wraps", []run{{1, 10, 140_000, map[int]bool{70_000: true}}}, 1},
		{"new sender", []run{{1, 0, 9, map[int]bool{4: true}}, {2, 30_000, 30_009, map[int]bool{30_003: true}}}, 2},
		{"sender starts again", []run{{1, 100, 109, nil}, {1, 20_000, 20_009, nil}}, 0},
	} {
		var m meter
		packets := uint64(0)
		for _, r := range c.runs {
			for i := r.first; i <= r.last; i++ {
				if !r.drop[i] {
					m.packet(header{sequence: uint16(i), ssrc: r.ssrc, timestamp: uint32(i) * 160}, pcmu, time.Duration(i)*20*time.Millisecond)
					packets++
				}
			}
		}
		if m.missing() != c.lost || m.packets != packets {
			t.Errorf("%s: %d lost, %d packets; want %d and %d", c.name, m.missing(), m.packets, c.lost, packets)
		}
	}
}

func TestMeterReorderAndDuplicatesAreNoLoss(t *testing.T) {
	t.Parallel()
	var m meter
	for _, s := range []uint16{10, 12, 11, 13, 13, 15, 14, 9, 16} {
		m.packet(header{sequence: s, ssrc: 1}, pcmu, 0)
	}
	if m.missing() != 0 {
		t.Errorf("%d lost", m.missing())
	}
}

// RFC 3550 section 6.4.1: a constant alternation of d converges to d.
func TestMeterJitter(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		late  func(i int) time.Duration
		codec codec
		want  float64 // ms
	}{
		{"steady", func(int) time.Duration { return 0 }, pcmu, 0},
		{"alternating 8 ms", func(i int) time.Duration { return time.Duration(i%2) * 8 * time.Millisecond }, pcmu, 8},
		{"wide band", func(i int) time.Duration { return time.Duration(i%2) * 8 * time.Millisecond }, codec{"OPUS", 48000, 2}, 8},
		{"digits are not timed", func(i int) time.Duration { return time.Duration(i) * time.Second }, codec{"TELEPHONE-EVENT", 8000, 1}, 0},
	} {
		var m meter
		for i := range 2000 {
			m.packet(header{sequence: uint16(i), ssrc: 1, timestamp: uint32(4294960000) + uint32(i)*c.codec.clock/50}, c.codec,
				time.Duration(i)*20*time.Millisecond+c.late(i))
		}
		if got := m.jitter.Seconds() * 1000; math.Abs(got-c.want) > 0.01*c.want+0.001 {
			t.Errorf("%s: %.3f ms, want %.3f", c.name, got, c.want)
		}
	}
}

func TestMeterIgnoresJumpsOfTheSender(t *testing.T) {
	t.Parallel()
	var m meter
	for i := range 100 {
		stamp := uint32(i) * 160
		if i > 50 {
			stamp += 3_000_000_000
		}
		m.packet(header{sequence: uint16(i), ssrc: 1, timestamp: stamp}, pcmu, time.Duration(i)*20*time.Millisecond)
	}
	if m.jitter > time.Millisecond {
		t.Errorf("jitter %s", m.jitter)
	}
}

func TestParseHeader(t *testing.T) {
	t.Parallel()
	good := func(change ...func(p []byte) []byte) []byte {
		p := make([]byte, 32)
		p[0], p[1], p[3] = 0x80, 0x88, 5
		for _, f := range change {
			p = f(p)
		}
		return p
	}
	set := func(i int, b byte) func([]byte) []byte {
		return func(p []byte) []byte { p[i] = b; return p }
	}
	cut := func(n int) func([]byte) []byte { return func(p []byte) []byte { return p[:n] } }
	for _, c := range []struct {
		name string
		p    []byte
		ok   bool
	}{
		{"plain", good(), true},
		{"header only", good(cut(12)), true},
		{"short", good(cut(11)), false},
		{"empty", nil, false},
		{"STUN", good(set(0, 0x00)), false},
		{"DTLS", good(set(0, 22)), false},
		{"version 1", good(set(0, 0x40)), false},
		{"RTCP sender report", good(set(1, 200)), false},
		{"RTCP feedback", good(set(1, 206)), false},
		{"5 CSRCs fit", good(set(0, 0x85)), true},
		{"6 CSRCs do not", good(set(0, 0x86)), false},
		{"extension fits", good(set(0, 0x90), set(15, 4)), true},
		{"extension too long", good(set(0, 0x90), set(15, 5)), false},
		{"extension cut", good(set(0, 0x90), cut(14)), false},
		{"padding fits", good(set(0, 0xa0), set(31, 20)), true},
		{"padding too long", good(set(0, 0xa0), set(31, 21)), false},
		{"padding of nothing", good(set(0, 0xa0), set(31, 0)), false},
	} {
		h, ok := readHeader(c.p)
		ok = ok && paddingFits(c.p, h)
		if ok != c.ok {
			t.Errorf("%s: %v", c.name, ok)
		}
		if ok && h.payloadType != 8 {
			t.Errorf("%s: payload type %d", c.name, h.payloadType)
		}
	}
}
