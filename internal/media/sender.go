package media

import (
	"encoding/binary"
	"math/rand/v2"
	"time"
)

const (
	// maxLines bounds the sources of a video stream: pictures, and what repairs
	// them.
	maxLines = 4
	// reordered is how far a late packet may be behind the newest.
	reordered = 64
)

// sender is the outgoing half of a stream. It keeps one line of sequence
// numbers and timestamps for the peer, whoever is heard: the other party, then
// a player, then a third party. Old phones lose digits and speech where a line
// jumps, and SRTP must never protect two packets under one index.
//
// The first source of a line keeps its numbers; the packets of every later one
// are counted on from there. It is guarded by transport.sending.
type sender struct {
	single bool // audio: all sources are one line, one after the other
	lines  [maxLines]line
	n      int
	sent   uint64 // packets of all lines
	codec  string // of the last with speech
}

// line is what the peer sees as one source.
type line struct {
	feed   *stream // whose packets it carries; nil are our own
	source uint32  // their SSRC as it came

	ssrc   uint32 // ours
	seqBy  uint16 // what is added to theirs
	timeBy uint32

	last    uint16 // newest sequence number sent
	seen    uint64 // bit i: last-i was sent
	stamp   uint32 // timestamp of the newest
	at      time.Time
	clock   uint32 // of its timestamps
	packets uint32 // sent under this SSRC, and the octets of their payloads
	octets  uint32
	jumped  bool // the last packet was far off
	expects uint16
	event   uint32 // timestamp of the last digit
	dialled bool   // there was one
}

// renew makes the peer see new sources: with another key of ours it could not
// tell whether the rollover counts of the old ones go on.
func (s *sender) renew() {
	for i := range s.lines[:s.n] {
		s.lines[i].ssrc, s.lines[i].packets, s.lines[i].octets = rand.Uint32(), 0, 0
	}
}

// write puts our numbers into a packet. It reports false for one that must not
// be sent: a duplicate, or far off the line.
func (s *sender) write(p []byte, feed *stream, h header, c codec, now time.Time) bool {
	l, fresh := s.line(feed, h.ssrc)
	if !fresh && (l.feed != feed || l.source != h.ssrc) {
		l.follow(feed, h, c.clock, now)
		p[1] |= 0x80 // a new talkspurt (RFC 3551 section 4.1)
	}
	if fresh {
		l.begin(feed, h)
	}
	seq := h.sequence + l.seqBy
	step := int16(seq - l.last)
	if step > restart || step <= -reordered {
		// The source begins its numbers again, or a packet strayed: the next
		// one tells (RFC 3550 appendix A.1).
		if !l.jumped || h.sequence != l.expects {
			l.jumped, l.expects = true, h.sequence+1
			return false
		}
		l.follow(feed, h, c.clock, now)
		seq, step = h.sequence+l.seqBy, 1
	}
	l.jumped = false
	if !l.once(step) {
		return false
	}
	stamp := h.timestamp + l.timeBy
	if step > 0 {
		l.last, l.stamp, l.at = seq, stamp, now
	}
	s.count(l, c, len(p)-h.length)
	if c.name == digits {
		l.mark(p, stamp)
	}
	binary.BigEndian.PutUint16(p[2:], seq)
	binary.BigEndian.PutUint32(p[4:], stamp)
	binary.BigEndian.PutUint32(p[8:], l.ssrc)
	return true
}

// mark leaves the marker to the first packet of a digit (RFC 4733 section
// 2.5.1.1). Chromium sets it in all three that tell of the end, and there are
// phones that take each for another digit.
func (l *line) mark(p []byte, stamp uint32) {
	if l.dialled && stamp == l.event {
		p[1] &^= 0x80
	}
	l.event, l.dialled = stamp, true
}

// count notes a packet for our reports.
func (s *sender) count(l *line, c codec, octets int) {
	s.sent++
	l.packets++
	l.octets += uint32(octets)
	if c.speech() && c.clock > 0 {
		l.clock, s.codec = c.clock, c.name
	}
}

// line finds the line of a source. A fresh one has no source yet.
func (s *sender) line(feed *stream, ssrc uint32) (l *line, fresh bool) {
	for i := range s.lines[:s.n] {
		if l := &s.lines[i]; s.single || l.feed == feed && l.source == ssrc {
			return l, false
		}
	}
	if s.n < maxLines {
		s.n++
		l = &s.lines[s.n-1]
		l.ssrc = ssrc
		for i := range s.lines[:s.n-1] {
			if s.lines[i].ssrc == ssrc {
				l.ssrc = rand.Uint32()
			}
		}
		return l, true
	}
	oldest := &s.lines[0]
	for i := range s.lines {
		if s.lines[i].at.Before(oldest.at) {
			oldest = &s.lines[i]
		}
	}
	return oldest, false
}

// begin is the first packet of a line: it keeps its numbers.
func (l *line) begin(feed *stream, h header) {
	l.feed, l.source = feed, h.ssrc
	l.last, l.seen = h.sequence-1, 0
}

// follow counts a source on from where the last one ended, by the time that
// passed since.
func (l *line) follow(feed *stream, h header, clock uint32, now time.Time) {
	passed := min(max(now.Sub(l.at), 0), time.Hour)
	l.feed, l.source = feed, h.ssrc
	l.seqBy = l.last + 1 - h.sequence
	l.timeBy = l.stamp + uint32(uint64(passed)*uint64(clock)/uint64(time.Second)) - h.timestamp
}

// once reports whether the packet so many steps from the newest, fewer than
// reordered behind it, is sent for the first time, and notes that.
func (l *line) once(step int16) bool {
	if step > 0 {
		l.seen = l.seen<<min(step, 64) | 1
		return true
	}
	bit := uint64(1) << -step
	first := l.seen&bit == 0
	l.seen |= bit
	return first
}
