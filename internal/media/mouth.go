package media

import (
	"encoding/binary"
	"math/rand/v2"
	"strconv"
	"time"

	sound "ringfence/internal/audio"
	"ringfence/internal/audio/dtmf"
)

// mouth turns samples into packets for the peer of a stream, in a codec that it
// listed. It is used by one goroutine at a time.
type mouth struct {
	to      *stream
	table   *payloadTable // what the peer listed when the codec was chosen
	codec   codec
	rate    int
	encoder sound.Encoder
	frame   int    // samples of a packet
	step    uint32 // and RTP units
	pending []int16
	packet  []byte
	next    header
	marker  bool // the next packet begins a talkspurt

	event   uint8 // payload type for digits
	eventAt codec // its codec; the clock is 0 when the peer takes none
	began   uint32
	ends    int       // packets of its end
	silent  time.Time // until then a digit is being sent, and speech stays out
}

// digitSilence is how long speech waits for the next packet of a digit.
const digitSilence = 60 * time.Millisecond

// newMouth chooses the first codec of the peer that we can encode. Samples come
// at the given rate. It is nil where there is no such codec.
func newMouth(to *stream, rate int) *mouth {
	m := &mouth{to: to, table: to.accepts.Load(), marker: true, rate: rate}
	if m.table == nil || !m.table.speaks {
		return nil
	}
	target := m.table.say
	known, _ := transcodable(target)
	var err error
	if m.encoder, err = known.NewEncoder(m.rate); err != nil {
		return nil
	}
	m.codec = target
	packetTime := to.packetTime(target)
	m.frame = sound.Samples(packetTime, m.rate)
	m.step = uint32(sound.Samples(packetTime, int(target.clock)))
	m.pending = make([]int16, 0, m.frame+sound.Samples(sound.MaxPacket, m.rate))
	m.packet = make([]byte, 12, maxDatagram)
	m.next = header{payloadType: m.table.sayType, sequence: uint16(rand.Uint32()), timestamp: rand.Uint32(), ssrc: rand.Uint32()}
	m.event, m.eventAt = m.table.events(target.clock)
	return m
}

// suits reports whether what it sends is what a list asks for.
func (m *mouth) suits(t *payloadTable) bool {
	if m.table == t {
		return true
	}
	if t == nil {
		return false
	}
	event, at := t.events(t.say.clock)
	return t.speaks && t.say == m.codec && t.sayType == m.next.payloadType && event == m.event && at == m.eventAt
}

// speak sends samples, as far as they fill packets.
func (m *mouth) speak(pcm []int16, now time.Time) {
	m.pending = append(m.pending, pcm...)
	for len(m.pending) >= m.frame {
		if !now.Before(m.silent) && m.to.wanted.Load() {
			m.send(m.pending[:m.frame], now)
		} else {
			m.marker = true
		}
		m.next.timestamp += m.step
		m.pending = m.pending[:copy(m.pending, m.pending[m.frame:])]
	}
}

// pause lets time pass without a packet.
func (m *mouth) pause(samples int) {
	m.next.timestamp += uint32(uint64(samples) * uint64(m.codec.clock) / uint64(m.rate))
	m.marker = true
}

func (m *mouth) send(pcm []int16, now time.Time) {
	p, err := m.encoder.Encode(m.packet[:12], pcm)
	if err != nil || len(p) == 12 {
		return
	}
	m.emit(p, m.next.payloadType, m.codec, m.next.timestamp, now)
	m.marker = false
}

func (m *mouth) emit(p []byte, pt uint8, c codec, stamp uint32, now time.Time) {
	h := m.next
	h.payloadType, h.timestamp, h.length = pt, stamp, 12
	p[0], p[1] = 0x80, pt
	if m.marker {
		p[1] |= 0x80
	}
	binary.BigEndian.PutUint16(p[2:], h.sequence)
	m.next.sequence++
	c.clock = m.codec.clock // that of the line
	m.to.emit(p, h, c, now)
}

// tell sends a packet of a digit, whose first one has the marker. All of its
// packets bear the time of its beginning, on the same line as the speech
// (RFC 4733 section 2.5.1.1). Durations are in units of the clock that the
// event came with.
func (m *mouth) tell(e dtmf.Event, first bool, clock int, now time.Time) {
	if m.eventAt.clock == 0 {
		return
	}
	if first {
		m.began, m.ends = m.next.timestamp, 0
	}
	switch m.silent = now.Add(digitSilence); {
	case e.End && m.ends >= 2: // the last (section 2.5.1.4)
		m.silent = now
		fallthrough
	case e.End:
		m.ends++
	}
	e.Duration = dtmf.Scale(e.Duration, clock, int(m.eventAt.clock))
	m.marker = first
	m.emit(e.Append(m.packet[:12]), m.event, m.eventAt, m.began, now)
	m.marker = true // of the speech that follows
}

// emit sends a packet of ours. Its numbers are counted on from what the peer
// got last.
func (s *stream) emit(p []byte, h header, c codec, now time.Time) {
	t := s.transport
	t.sending.Lock()
	defer t.sending.Unlock()
	if t.out.Load() != nil && s.wanted.Load() && s.sender.write(p, nil, h, c, now) {
		t.sendRTP(p)
	}
}

// events is the payload type for digits beside speech of a clock, or that of
// another clock when there is no such.
func (t *payloadTable) events(clock uint32) (pt uint8, c codec) {
	if t == nil {
		return 0, codec{}
	}
	for i, have := range t.codecs {
		if have.name == digits && (c.clock == 0 || have.clock == clock && c.clock != clock) {
			pt, c = t.numbers[i], have
		}
	}
	return pt, c
}

// packetTime is what the peer wants a packet to last (RFC 8866 section 6.4).
func (s *stream) packetTime(c codec) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.ptime {
	case 10, 40, 60:
		return time.Duration(s.ptime) * time.Millisecond
	case 30:
		if c.clock == 8000 {
			return 30 * time.Millisecond
		}
	}
	return frameTime
}

// ptime reads the attribute of that name, 0 when there is none.
func (m *mediaLine) ptime() int {
	for _, a := range m.attributes {
		if a.name == "ptime" {
			n, _ := strconv.Atoi(a.value)
			return n
		}
	}
	return 0
}
