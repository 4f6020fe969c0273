// Package jitter orders the packets of a stream and says when each is to be
// played, with a delay that follows the network and stays bounded.
package jitter

import "time"

// Bounds of the delay, unless asked for otherwise.
const (
	MinDelay = 20 * time.Millisecond
	MaxDelay = 120 * time.Millisecond
)

const (
	slots    = 64   // packets held at most
	restart  = 3000 // a jump of sequence numbers that is a new start (RFC 3550 appendix A.1)
	window   = 4 * time.Second
	decay    = 256                   // packets in which jitter is forgotten, about
	maxEmpty = 50                    // frames with nothing to play until the buffer starts anew
	presumed = 25 * time.Millisecond // jitter until it is known
)

// Kind says what Next found for the next frame.
type Kind uint8

// What there is to play.
const (
	Wait   Kind = iota // nothing yet: the stream has not begun, or has ended
	Packet             // the payload of a packet
	Lost               // a packet is missing; Payload is the one after it, if it is there
	Pause              // the peer sends nothing on purpose (DTX, or an event)
)

// Frame is what to play next.
type Frame struct {
	Kind    Kind
	Payload []byte // valid until the next call
	Type    uint8  // the payload type of a Packet
	Skip    bool   // the buffer is too full: leave the frame out if it is quiet
}

// slot holds a packet until it is played. Its memory is used again.
type slot struct {
	used      bool
	silent    bool // counts in the sequence, but is not audio
	seq       uint16
	timestamp uint32
	kind      uint8
	payload   []byte
}

// Buffer is that of one stream. Its time is any monotonic duration.
type Buffer struct {
	clock    int // RTP units a second
	min, max time.Duration

	ring    [slots]slot
	started bool   // packets are there
	playing bool   // frames have been given
	next    uint16 // sequence number to play next
	highest uint16
	ssrc    uint32
	at      uint32 // timestamp to play next
	frame   uint32 // length of the last packet in RTP units
	empty   int    // frames in a row with nothing there
	dtx     bool   // the peer announced a pause
	first   time.Duration

	delays  meter
	Dropped uint64 // packets that came too late, or twice
	Missing uint64 // packets that were played as Lost
}

// New makes a buffer for a stream of a clock rate.
func New(clock int, lowest, highest time.Duration) *Buffer {
	b := &Buffer{clock: clock, min: lowest, max: max(lowest, highest)}
	b.delays.peak = presumed
	b.reset()
	return b
}

func (b *Buffer) reset() {
	for i := range b.ring {
		b.ring[i].used = false
	}
	b.started, b.playing, b.empty, b.dtx = false, false, 0, false
	b.delays.reset()
	if b.frame == 0 {
		b.frame = uint32(b.clock / 50)
	}
}

func (b *Buffer) units(d time.Duration) int64 { return int64(d) * int64(b.clock) / int64(time.Second) }

func (b *Buffer) duration(units int64) time.Duration {
	return time.Duration(units * int64(time.Second) / int64(b.clock))
}

// Header is what the buffer reads of an RTP header.
type Header struct {
	Sequence  uint16
	Timestamp uint32
	SSRC      uint32
	Type      uint8
}

// Put takes a packet of audio that came at a time.
func (b *Buffer) Put(h Header, payload []byte, now time.Duration) {
	if !b.accept(h, now) {
		return
	}
	b.delays.packet(h.Timestamp, b.clock, now)
	s := b.store(h)
	s.silent = false
	s.payload = append(s.payload[:0], payload...)
}

// Mark takes note of a packet of the same sequence that is no audio: a
// telephone-event. Its number is not a loss then.
func (b *Buffer) Mark(h Header, now time.Duration) {
	if b.started && b.accept(h, now) {
		b.store(h).silent = true
	}
}

// accept finds out whether a packet is new and not too late.
func (b *Buffer) accept(h Header, now time.Duration) bool {
	step := int16(h.Sequence - b.highest)
	if b.started && (h.SSRC != b.ssrc || step > restart || step < -restart) {
		b.reset()
	}
	if !b.started {
		b.started, b.ssrc, b.first = true, h.SSRC, now
		b.next, b.highest = h.Sequence, h.Sequence
		return true
	}
	if int16(h.Sequence-b.next) < 0 {
		if b.playing || int16(b.highest-h.Sequence) >= slots {
			b.Dropped++ // too late, or twice
			b.delays.late(h.Timestamp, b.clock, now)
			return false
		}
		b.next = h.Sequence // the first two came in the wrong order
	}
	if int16(h.Sequence-b.next) >= slots {
		b.overflow(h.Sequence)
	}
	if s := &b.ring[h.Sequence%slots]; s.used && s.seq == h.Sequence {
		b.Dropped++
		return false
	}
	if int16(h.Sequence-b.highest) > 0 {
		b.highest = h.Sequence
	}
	return true
}

// overflow makes room for a packet far ahead: what is older is not played.
func (b *Buffer) overflow(seq uint16) {
	for int16(seq-b.next) >= slots {
		b.ring[b.next%slots].used = false
		b.next++
	}
	b.playing = false
}

func (b *Buffer) store(h Header) *slot {
	s := &b.ring[h.Sequence%slots]
	s.used, s.seq, s.timestamp, s.kind = true, h.Sequence, h.Timestamp, h.Type
	return s
}

// Announce says that what was played last begins a pause of the peer (CN,
// RFC 3389): until its next packet nothing is lost.
func (b *Buffer) Announce() { b.dtx = true }

// Played says how long the last packet turned out to be.
func (b *Buffer) Played(d time.Duration) {
	if u := b.units(d); u > 0 {
		b.at += uint32(u) - b.frame
		b.frame = uint32(u)
	}
}

// Delay is how much later than the quickest packets the next frame is played.
func (b *Buffer) Delay(now time.Duration) time.Duration {
	if !b.playing {
		return 0
	}
	return b.delays.since(b.at, b.clock, now)
}

// Target is the delay aimed at: what most packets need.
func (b *Buffer) Target() time.Duration {
	return max(b.min, min(b.max, b.delays.peak+b.duration(int64(b.frame))/4))
}
