package quality

import (
	"math"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// two ends report about each other over a path of 30 ms there and 50 ms back.
func TestRoundTripFromReports(t *testing.T) {
	t.Parallel()
	const there, back = 30 * time.Millisecond, 50 * time.Millisecond
	var a, b Link
	var wall Wall
	clockA, clockB := NewClock(noon), NewClock(noon.Add(-77*time.Minute)) // one is wrong
	skew := -77 * time.Minute
	atB := func(t time.Time) time.Time { return t.Add(skew) }
	for i := range 100 {
		a.In.Packet(Header{SSRC: 2, Sequence: uint16(i)}, 8000, 0)
		b.In.Packet(Header{SSRC: 1, Sequence: uint16(i)}, 8000, 0)
	}
	now := noon.Add(2 * time.Second)
	report := a.AppendReport(nil, Sent{SSRC: 1, Packets: 100, Octets: 16000}, clockA, now)
	p, _ := Next(report)
	now = now.Add(there)
	b.Take(p, 2, &wall, clockB, atB(now))
	now = now.Add(3 * time.Second) // b takes its time
	p, _ = Next(b.AppendReport(nil, Sent{SSRC: 2, Packets: 100}, clockB, atB(now)))
	now = now.Add(back)
	a.Take(p, 1, &wall, clockA, now)
	if d := a.RTT() - there - back; d.Abs() > time.Millisecond {
		t.Errorf("round trip of %s, want %s", a.RTT(), there+back)
	}
	if b.RTT() != 0 {
		t.Errorf("b was told nothing about its reports but knows %s", b.RTT())
	}
	if total, recent, ok := a.Far(100, 8000, now); !ok || total.Lost != 0 || total.Expected != 100 || recent.Expected == 0 {
		t.Errorf("%+v %+v", total, recent)
	}
	if _, recent, _ := a.Far(100, 8000, now.Add(time.Minute)); recent.Expected != 0 {
		t.Errorf("an old report counts for now: %+v", recent)
	}
}

// A peer may report whatever it likes about us.
func TestReportsOfAHostilePeerAreBounded(t *testing.T) {
	t.Parallel()
	var l Link
	var w Wall
	clock := NewClock(noon)
	l.AppendReport(nil, Sent{SSRC: 1, Packets: 10}, clock, noon)
	sent := middle(clock.NTP(noon))
	now := noon.Add(time.Second)
	for name, b := range map[string]Block{
		"never sent":            {SSRC: 1, LSR: sent - 5},
		"no report yet":         {SSRC: 1},
		"held longer than gone": {SSRC: 1, LSR: sent, DLSR: 5 << 16},
		"after an hour":         {SSRC: 1, LSR: sent, DLSR: 0x10000 + (1<<32 - 3600<<16)},
	} {
		p, _ := Next(AppendRR(nil, 9, b))
		l.Take(p, 1, &w, clock, now)
		if l.RTT() != 0 {
			t.Errorf("%s: believed a round trip of %s", name, l.RTT())
		}
	}
	p, _ := Next(AppendRR(nil, 9, Block{SSRC: 1, Lost: 1<<23 - 1, Fraction: 255, Jitter: math.MaxUint32}))
	l.Take(p, 1, &w, clock, now)
	total, recent, _ := l.Far(10, 8000, now)
	if total.Lost != 10 || recent.Lost > recent.Expected || total.Jitter > maxRTT {
		t.Errorf("%+v %+v", total, recent)
	}
	p, _ = Next(AppendRR(nil, 9, Block{SSRC: 1, Lost: -1 << 23}))
	l.Take(p, 1, &w, clock, now)
	if total, _, _ := l.Far(10, 0, now); total.Lost != 0 {
		t.Errorf("%+v", total)
	}
}

func TestOnlyASenderSendsSenderReports(t *testing.T) {
	t.Parallel()
	var l Link
	clock := NewClock(noon)
	kinds := ""
	for _, packets := range []uint32{0, 5, 5, 6} {
		p, _ := Next(l.AppendReport(nil, Sent{SSRC: 1, Packets: packets}, clock, noon))
		kinds += map[uint8]string{typeSR: "S", typeRR: "R"}[p.Type]
	}
	if kinds != "RSRS" {
		t.Errorf("reports %s, want RSRS", kinds)
	}
}

// Audio and video of a peer, whose clock is its own, stay together: the same
// moment of its clock is the same moment of ours in both of our reports.
func TestLipsStayWithWords(t *testing.T) {
	t.Parallel()
	clock := NewClock(noon)
	peer := NewClock(noon.Add(-3 * time.Hour))
	theirs := func(d time.Duration) uint64 { return peer.NTP(noon.Add(-3*time.Hour + d)) }
	var w Wall
	var audio, video Timeline
	// The video report is late by 80 ms on its way, and tells of another moment.
	audio.Take(&w, 1, SenderInfo{NTP: theirs(0), RTP: 1000}, clock.NTP(noon.Add(20*time.Millisecond)))
	video.Take(&w, 2, SenderInfo{NTP: theirs(500 * time.Millisecond), RTP: 4_000_000_000}, clock.NTP(noon.Add(580*time.Millisecond)))
	now := clock.NTP(noon.Add(5 * time.Second))
	a, ok1 := audio.At(&w, 1, 48000, now)
	v, ok2 := video.At(&w, 2, 90000, now)
	if !ok1 || !ok2 {
		t.Fatal("not known")
	}
	sinceAudio := float64(a-1000) / 48000
	sinceVideo := float64(v-4_000_000_000)/90000 + 0.5
	if math.Abs(sinceAudio-sinceVideo) > 0.001 || math.Abs(sinceAudio-4.98) > 0.001 {
		t.Errorf("audio is at %.4f s, video at %.4f s of the peer", sinceAudio, sinceVideo)
	}
	if _, ok := audio.At(&w, 3, 48000, now); ok {
		t.Error("the report of another source is used")
	}
	if _, ok := audio.At(&w, 1, 48000, clock.NTP(noon.Add(time.Hour))); ok {
		t.Error("a report an hour old is used")
	}
	audio.Take(&w, 1, SenderInfo{RTP: 7}, now)
	if _, ok := audio.At(&w, 1, 48000, now); ok {
		t.Error("a sender without a clock has one")
	}
	// Its clock is set by an hour: both are right again with their next reports.
	later := clock.NTP(noon.Add(10 * time.Second))
	audio.Take(&w, 1, SenderInfo{NTP: theirs(time.Hour + 10*time.Second), RTP: 481_000}, later)
	video.Take(&w, 2, SenderInfo{NTP: theirs(time.Hour + 10*time.Second), RTP: 5}, later)
	if a, _ := audio.At(&w, 1, 48000, later); a != 481_000 {
		t.Errorf("audio at %d", a)
	}
	if v, _ := video.At(&w, 2, 90000, later); v != 5 {
		t.Errorf("video at %d", v)
	}
}

func TestReportsAllocateNothing(t *testing.T) {
	var l Link
	var w Wall
	clock := NewClock(noon)
	buf := make([]byte, 0, 256)
	l.In.Packet(Header{SSRC: 2}, 8000, 0)
	n := uint32(0)
	if got := testing.AllocsPerRun(100, func() {
		n++
		p := l.AppendReport(buf[:0], Sent{SSRC: 1, Packets: n}, clock, noon)
		p = AppendSDES(p, 1, "0123456789abcdef")
		for len(p) > 0 {
			var packet Packet
			packet, p = Next(p)
			l.Take(packet, 2, &w, clock, noon)
		}
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}
