// Package dtmf sends and hears digits: as telephone-events (RFC 4733), as tones
// in the audio, and as what a caller dials into a menu.
package dtmf

import (
	"errors"
	"strings"
	"time"
)

// keys are the digits in the order of their events (RFC 4733 section 3.2).
const keys = "0123456789*#ABCD"

// Flash is the event of a hook flash.
const Flash = 16

// Key is the digit of an event code, or 0.
func Key(code uint8) byte {
	if int(code) < len(keys) {
		return keys[code]
	}
	return 0
}

// Code is the event of a digit.
func Code(key byte) (uint8, bool) {
	if key >= 'a' && key <= 'd' {
		key -= 'a' - 'A'
	}
	i := strings.IndexByte(keys, key)
	return uint8(max(i, 0)), i >= 0
}

// Event is the payload of a telephone-event packet (RFC 4733 section 2.3).
type Event struct {
	Code     uint8
	End      bool
	Volume   uint8  // -dBm0
	Duration uint16 // in units of the RTP clock
}

var errEvent = errors.New("telephone-event payload is too short")

// ParseEvent reads a payload. More than one event may follow (section 2.3.1 of
// RFC 2833 knew that); only the first counts.
func ParseEvent(p []byte) (Event, error) {
	if len(p) < 4 {
		return Event{}, errEvent
	}
	return Event{Code: p[0], End: p[1]&0x80 != 0, Volume: p[1] & 0x3f, Duration: uint16(p[2])<<8 | uint16(p[3])}, nil
}

// Append writes the payload.
func (e Event) Append(p []byte) []byte {
	flags := e.Volume & 0x3f
	if e.End {
		flags |= 0x80
	}
	return append(p, e.Code, flags, byte(e.Duration>>8), byte(e.Duration))
}

// Scale turns a duration into units of another clock; what does not fit stays
// at the most that does (section 2.5.1.3 has the sender begin a new segment).
func Scale(duration uint16, from, to int) uint16 {
	if from == 0 {
		return duration
	}
	return uint16(min(0xffff, (int64(duration)*int64(to)+int64(from)/2)/int64(from)))
}

// Receiver tells the digits of a stream of events. Each counts once: its
// packets are repeated, and share a timestamp (section 2.5.1.2).
type Receiver struct {
	seen      bool
	timestamp uint32
	code      uint8
	ended     bool
	segment   bool // the event goes on in a new segment
	reach     uint32
}

// Packet takes a packet and returns the digit that begins with it, or 0.
func (r *Receiver) Packet(timestamp uint32, payload []byte) byte {
	e, err := ParseEvent(payload)
	if err != nil {
		return 0
	}
	step := int32(timestamp - r.timestamp)
	switch {
	case r.seen && step <= 0 && step > -1<<20: // a repetition, or late
		if step == 0 {
			r.ended = r.ended || e.End
			r.reach = timestamp + uint32(e.Duration)
		}
		return 0
	case r.seen && !r.ended && e.Code == r.code && timestamp == r.reach:
		// Longer than 65535 units: a new segment of the same (section 2.5.1.3).
		r.timestamp, r.ended, r.reach = timestamp, e.End, timestamp+uint32(e.Duration)
		return 0
	}
	r.seen, r.timestamp, r.code, r.ended = true, timestamp, e.Code, e.End
	r.reach = timestamp + uint32(e.Duration)
	return Key(e.Code)
}

// Packet is what a sender has to send.
type Packet struct {
	Event  Event
	Marker bool // the first of its event (section 2.5.1.1)
}

const (
	update  = 20 * time.Millisecond
	repeats = 3 // of the end (section 2.5.1.4)
	volume  = 10
)

// Sender makes the packets of digits, one for each 20 ms. All packets of an
// event bear the timestamp of its beginning.
type Sender struct {
	clock  int
	code   uint8
	length time.Duration
	sent   time.Duration
	ends   int
}

// NewSender makes one for a clock rate.
func NewSender(clock int) *Sender { return &Sender{clock: clock} }

// Start begins a digit and reports whether there is such a one.
func (s *Sender) Start(key byte, length time.Duration) bool {
	code, ok := Code(key)
	if !ok {
		return false
	}
	// 40 ms are the least that is heard everywhere; what 16 bits hold at 48000
	// is the most.
	s.code, s.length, s.sent, s.ends = code, max(2*update, min(length.Round(update), time.Second)), 0, repeats
	return true
}

// Busy reports whether a digit is under way.
func (s *Sender) Busy() bool { return s.ends > 0 }

// Next is the packet of the next 20 ms. ok is false when there is none.
func (s *Sender) Next() (p Packet, ok bool) {
	if s.ends == 0 {
		return Packet{}, false
	}
	p.Marker = s.sent == 0
	s.sent = min(s.sent+update, s.length)
	p.Event = Event{Code: s.code, Volume: volume, Duration: uint16(int64(s.sent) * int64(s.clock) / int64(time.Second))}
	if s.sent == s.length {
		p.Event.End = true
		s.ends--
	}
	return p, true
}
