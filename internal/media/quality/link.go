package quality

import (
	"math/rand/v2"
	"time"
)

// maxRTT bounds what is believed of a round trip.
const maxRTT = 10 * time.Second

// Link is what reports say about one stream between us and a peer, both ways.
// The zero Link is ready to use.
type Link struct {
	In Meter // what comes from the peer

	// Line is what the peer reported about the time of what it sends.
	Line Timeline

	heardSR   uint32 // middle of the peer's last sender report
	heardSRAt time.Time

	sentSR   [4]uint32 // of our last sender reports: no other is an LSR
	reports  int
	reported uint32 // packets sent, at our last report

	far   Block // what the peer said last about what we send
	farAt time.Time
	rtt   time.Duration
}

// Sent is what we sent to the peer so far.
type Sent struct {
	SSRC            uint32
	RTP             uint32 // timestamp of our stream now
	Packets, Octets uint32
}

// Take notes what a packet of a Valid compound says about this stream, of which
// ours is what we send; 0 is nothing.
func (l *Link) Take(p Packet, ours uint32, w *Wall, c Clock, now time.Time) {
	from, ok := p.SSRC()
	if !ok {
		return
	}
	if i, ok := p.SenderInfo(); ok && l.In.started && from == l.In.ssrc {
		l.heardSR, l.heardSRAt = middle(i.NTP), now
		l.Line.Take(w, from, i, c.NTP(now))
	}
	if b, ok := p.Block(ours); ok && ours != 0 {
		l.far, l.farAt = b, now
		l.roundTrip(b, middle(c.NTP(now)))
	}
}

// roundTrip is that of RFC 3550 section 6.4.1. Only times that we reported can
// come back.
func (l *Link) roundTrip(b Block, now uint32) {
	known := false
	for _, sent := range l.sentSR[:min(l.reports, len(l.sentSR))] {
		known = known || sent == b.LSR
	}
	if !known {
		return
	}
	if d := int32(now - b.LSR - b.DLSR); d >= 0 && unshort(uint32(d)) <= maxRTT {
		l.rtt = max(unshort(uint32(d)), time.Microsecond)
	} else if d < 0 && unshort(uint32(-d)) < 10*time.Millisecond {
		l.rtt = time.Microsecond // its clock counts coarser than the network is quick
	}
}

// AppendReport appends our report about the stream: a sender report if we sent
// since the one before, else a receiver report (RFC 3550 section 6.4).
func (l *Link) AppendReport(p []byte, s Sent, c Clock, now time.Time) []byte {
	var blocks [1]Block
	n := 0
	if b, ok := l.In.Block(); ok {
		if l.heardSR != 0 {
			b.LSR, b.DLSR = l.heardSR, short(now.Sub(l.heardSRAt))
		}
		blocks[0], n = b, 1
	}
	if s.Packets == l.reported {
		return AppendRR(p, s.SSRC, blocks[:n]...)
	}
	l.reported = s.Packets
	ntp := c.NTP(now)
	l.sentSR[l.reports%len(l.sentSR)] = middle(ntp)
	l.reports++
	return AppendSR(p, s.SSRC, SenderInfo{NTP: ntp, RTP: s.RTP, Packets: s.Packets, Octets: s.Octets}, blocks[:n]...)
}

// RTT is the round trip measured last; zero is unknown.
func (l *Link) RTT() time.Duration { return l.rtt }

// Far is what the peer reported about the packets we sent, whose timestamps
// count by the given clock: of all of them, and of those between its last two
// reports. The latter is of no packets when its last report is old. False if it
// never reported.
func (l *Link) Far(sent uint64, clock uint32, now time.Time) (total, recent Reception, ok bool) {
	if l.farAt.IsZero() {
		return Reception{}, Reception{}, false
	}
	jitter := time.Duration(0)
	if clock > 0 {
		jitter = min(time.Duration(uint64(l.far.Jitter)*uint64(time.Second)/uint64(clock)), maxRTT)
	}
	total = Reception{Expected: sent, Lost: min(uint64(max(l.far.Lost, 0)), sent), Burst: 1, Jitter: jitter}
	if now.Sub(l.farAt) <= 2*Interval {
		recent = Reception{Expected: 256, Lost: uint64(l.far.Fraction), Burst: 1, Jitter: jitter}
	}
	return total, recent, true
}

// NextReport is how long to wait until the next report. It varies, lest all
// peers report at once (RFC 3550 section 6.2).
func NextReport() time.Duration { return Interval/2 + rand.N(Interval) }
