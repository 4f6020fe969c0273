package quality

import "time"

// Bounds of steps in sequence numbers that belong to one run of a sender
// (RFC 3550 appendix A.1).
const (
	maxDropout  = 3000
	maxMisorder = 100
)

// Header is what a Meter looks at in an RTP packet (RFC 3550 section 5.1).
type Header struct {
	SSRC      uint32
	Sequence  uint16
	Timestamp uint32
}

// Meter measures loss and jitter of a received stream (RFC 3550 appendices A.1,
// A.3 and A.8). Sequences of several SSRCs one after the other are summed up.
// The zero Meter is ready to use.
type Meter struct {
	packets uint64
	started bool
	ssrc    uint32
	base    uint16 // first sequence number
	highest uint32 // highest sequence number since base, wraps included
	got     uint64 // packets since base
	bad     uint32 // the number that would confirm a new start; above 16 bits is none
	runs    runs

	earlierExpected, earlierLost uint64 // of earlier sequences

	reportedExpected, reportedGot uint64 // at the last Block

	timed   bool
	transit time.Duration // of the last timed packet, against an arbitrary origin
	jitter  time.Duration
	clock   uint32
	stamp   uint32        // RTP timestamp of the last timed packet
	media   time.Duration // unrolled RTP time
}

// noBad says that no jump waits for its confirmation.
const noBad = 1 << 16

// Packet counts a packet that arrived at the given time since any origin. The
// clock is that of its payload; 0 leaves its time alone, as for digits, whose
// timestamps stand still.
func (m *Meter) Packet(h Header, clock uint32, arrival time.Duration) {
	m.packets++
	if m.count(h) && clock > 0 {
		m.time(h.Timestamp, clock, arrival)
	}
}

// count reports whether the packet belongs to a sequence.
func (m *Meter) count(h Header) bool {
	if !m.started || h.SSRC != m.ssrc {
		m.start(h)
		return true
	}
	step := int16(h.Sequence - uint16(uint32(m.base)+m.highest))
	switch {
	case step > 0 && step < maxDropout:
		m.highest += uint32(step)
		m.runs.advance(uint32(step))
	case step <= 0 && step > -maxMisorder:
		m.runs.late(uint32(-int32(step)))
	case uint32(h.Sequence) != m.bad:
		m.bad = uint32(h.Sequence + 1) // one packet with a far number starts nothing
		return false
	default:
		m.start(h)
		return true
	}
	m.got++
	return true
}

// start begins a sequence; what is known of the one before is kept.
func (m *Meter) start(h Header) {
	if m.started {
		m.earlierLost = m.Lost()
		m.earlierExpected += uint64(m.highest) + 1
	}
	m.runs.restart()
	m.started, m.ssrc, m.base, m.highest, m.got, m.bad = true, h.SSRC, h.Sequence, 0, 1, noBad
	m.reportedExpected, m.reportedGot = 0, 0
	m.timed = false
}

func (m *Meter) time(stamp, clock uint32, arrival time.Duration) {
	if !m.timed || clock != m.clock {
		m.timed, m.clock, m.stamp, m.media = true, clock, stamp, 0
		m.transit = arrival
		return
	}
	step := int32(stamp - m.stamp)
	m.stamp = stamp
	m.media += time.Duration(int64(step) * int64(time.Second) / int64(clock))
	transit := arrival - m.media
	d := transit - m.transit
	m.transit = transit
	if d < 0 {
		d = -d
	}
	if d > 10*time.Second {
		return // a jump of the sender's clock, not of the network
	}
	m.jitter += (d - m.jitter) / 16
}

// Packets is how many came, of whatever sequence.
func (m *Meter) Packets() uint64 { return m.packets }

// Jitter is the interarrival jitter.
func (m *Meter) Jitter() time.Duration { return m.jitter }

// SSRC is the source that is received; false before the first packet.
func (m *Meter) SSRC() (uint32, bool) { return m.ssrc, m.started }

// Lost is how many packets never came.
func (m *Meter) Lost() uint64 {
	if expected := uint64(m.highest) + 1; m.started && expected > m.got {
		return m.earlierLost + expected - m.got
	}
	return m.earlierLost
}

func (m *Meter) expected() uint64 {
	if !m.started {
		return 0
	}
	return m.earlierExpected + uint64(m.highest) + 1
}

// Total is the reception since the beginning.
func (m *Meter) Total() Reception { return m.Since(&Mark{}) }

// Mark is a moment in the life of a Meter; the zero Mark is its beginning.
type Mark struct{ expected, lost, runLost, runs uint64 }

// Since is the reception since the mark, which moves on to now. Packets that
// come late may make up for losses told before: the loss is never negative.
func (m *Meter) Since(k *Mark) Reception {
	now := Mark{expected: m.expected(), lost: m.Lost()}
	now.runLost, now.runs = m.runs.count()
	r := Reception{Expected: now.expected - k.expected, Burst: 1, Jitter: m.jitter}
	if now.lost > k.lost {
		r.Lost = min(now.lost-k.lost, r.Expected)
	}
	// A run is counted when it ends: a mark in a reordered packet's gap may be
	// ahead of what settles later.
	if now.runs > k.runs && now.runLost > k.runLost {
		r.Burst = burstRatio(now.runLost-k.runLost, now.runs-k.runs, r.Loss())
	}
	*k = now
	return r
}

// Block is the report about this stream (RFC 3550 section 6.4.1); its fraction
// lost is since the Block before. False before the first packet. LSR and DLSR
// are the caller's.
func (m *Meter) Block() (Block, bool) {
	if !m.started {
		return Block{}, false
	}
	expected := uint64(m.highest) + 1
	b := Block{
		SSRC: m.ssrc, Highest: uint32(m.base) + m.highest,
		Lost:   int32(min(max(int64(expected)-int64(m.got), -1<<23), 1<<23-1)),
		Jitter: uint32(int64(m.jitter) * int64(m.clock) / int64(time.Second)),
	}
	due, got := expected-m.reportedExpected, m.got-m.reportedGot
	if due > got { // appendix A.3
		b.Fraction = uint8(min((due-got)<<8/due, 255))
	}
	m.reportedExpected, m.reportedGot = expected, m.got
	return b, true
}
