package media

import "time"

// restart is the gap in sequence numbers that is taken for a new start of the
// sender and not for loss (MAX_DROPOUT of RFC 3550 appendix A.1).
const restart = 3000

// meter measures loss and jitter of a received stream (RFC 3550 appendix A.3
// and A.8). Sequences of several SSRCs one after the other are summed up.
type meter struct {
	packets uint64
	started bool
	ssrc    uint32
	base    uint16 // first sequence number
	highest uint32 // highest sequence number since base, wraps included
	got     uint64 // packets since base
	lost    uint64 // of earlier sequences

	timed   bool
	transit time.Duration // of the last timed packet, against an arbitrary origin
	jitter  time.Duration
	clock   uint32
	stamp   uint32        // RTP timestamp of the last timed packet
	media   time.Duration // unrolled RTP time
}

// header is what the relay reads of an RTP packet (RFC 3550 section 5.1).
type header struct {
	payloadType uint8
	sequence    uint16
	timestamp   uint32
	ssrc        uint32
	length      int // bytes, with CSRCs and extension
}

// isRTCP tells reports from media that share a port (RFC 5761 section 4).
func isRTCP(p []byte) bool { return len(p) >= 2 && p[0]>>6 == 2 && p[1] >= 192 && p[1] <= 223 }

// readHeader checks the header of an RTP packet as RFC 3550 appendix A.1 asks,
// but for the padding, which SRTP encrypts.
func readHeader(p []byte) (header, bool) {
	if len(p) < 12 || p[0]>>6 != 2 || isRTCP(p) {
		return header{}, false
	}
	end := 12 + 4*int(p[0]&0x0f)
	if p[0]&0x10 != 0 {
		if len(p) < end+4 {
			return header{}, false
		}
		end += 4 + 4*(int(p[end+2])<<8|int(p[end+3]))
	}
	if end > len(p) {
		return header{}, false
	}
	return header{
		payloadType: p[1] & 0x7f,
		sequence:    uint16(p[2])<<8 | uint16(p[3]),
		timestamp:   uint32(p[4])<<24 | uint32(p[5])<<16 | uint32(p[6])<<8 | uint32(p[7]),
		ssrc:        uint32(p[8])<<24 | uint32(p[9])<<16 | uint32(p[10])<<8 | uint32(p[11]),
		length:      end,
	}, true
}

// paddingFits checks the padding of an RTP packet whose header was read.
func paddingFits(p []byte, h header) bool {
	if p[0]&0x20 == 0 {
		return true
	}
	padding := int(p[len(p)-1])
	return padding != 0 && h.length+padding <= len(p)
}

// validRTCP checks the first packet of an RTCP datagram (RFC 3550 appendix A.2).
func validRTCP(p []byte) bool {
	return len(p) >= 8 && p[0]>>6 == 2 && p[1] >= 192 && p[1] <= 223 &&
		4*(int(p[2])<<8|int(p[3]))+4 <= len(p)
}

// packet counts a packet that arrived at the given time since any origin.
func (m *meter) packet(h header, c codec, arrival time.Duration) {
	m.packets++
	m.count(h)
	if c.speech() && c.clock > 0 {
		m.time(h, c.clock, arrival)
	}
}

func (m *meter) count(h header) {
	if m.started && h.ssrc == m.ssrc {
		step := int16(h.sequence - uint16(uint32(m.base)+m.highest))
		if step > -restart && step < restart {
			m.got++
			if step > 0 {
				m.highest += uint32(step)
			}
			return
		}
	}
	m.lost = m.missing()
	m.started, m.ssrc, m.base, m.highest, m.got = true, h.ssrc, h.sequence, 0, 1
	m.timed = false
}

// missing is how many packets of the sequence never came.
func (m *meter) missing() uint64 {
	if expected := uint64(m.highest) + 1; m.started && expected > m.got {
		return m.lost + expected - m.got
	}
	return m.lost
}

func (m *meter) time(h header, clock uint32, arrival time.Duration) {
	if !m.timed || clock != m.clock {
		m.timed, m.clock, m.stamp, m.media = true, clock, h.timestamp, 0
		m.transit = arrival
		return
	}
	step := int32(h.timestamp - m.stamp)
	m.stamp = h.timestamp
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
