package media

import (
	"sync"
	"sync/atomic"
	"time"

	"ringfence/internal/media/quality"
	"ringfence/internal/telephony"
)

// stream is one medium of a leg: what is sent and received over its transport,
// and what was measured on it.
//
// The path of a packet allocates nothing: receive and accept of its transport,
// measure, then relay of the stream on the other leg.
type stream struct {
	kind      kind
	transport *transport
	origin    time.Time // of arrival times
	desk      *desk

	partner atomic.Pointer[stream]       // who hears this stream's peer
	table   atomic.Pointer[payloadTable] // what its packets mean
	accepts atomic.Pointer[payloadTable] // what the peer listed
	wanted  atomic.Bool                  // by the peer
	sender  sender                       // guarded by transport.sending

	converter atomic.Pointer[converter] // of what the peer cannot decode
	player    atomic.Pointer[player]    // what it hears in place of others
	dialler   atomic.Pointer[dialler]   // of digits, before all others
	takes     atomic.Uint32             // the form in which it gets digits
	listens   atomic.Bool               // its speech may hold digits
	hush      atomic.Int64              // until when that is passed on otherwise
	toneEar   *toneEar                  // of the reader of the socket
	seat      atomic.Pointer[Seat]      // in a conference
	recording atomic.Pointer[Recording] // of what it says and hears

	mu            sync.Mutex
	theirs, ours  []payload              // signalled by the peer, and to it
	flow, granted direction              // of the peer, and of what we told it
	described     bool                   // the peer's description holds
	announced     bool                   // it was told ours
	links         [maxLines]quality.Link // what is measured, by sources of the peer
	linked        int
	gauge         gauge
	codec         string    // of the last packet with speech
	spoke         time.Time // last RTP packet of the peer
	heard         time.Time // last packet of the peer
	expecting     time.Time // since when the peer should send; zero is not
	ptime         int       // what the peer wants a packet to last, in ms; 0 is no matter
	keypad        keypad
	over          bool // closed
}

func newStream(k kind, t *transport, d *desk, mode telephony.DTMF) *stream {
	s := &stream{kind: k, transport: t, origin: time.Now(), desk: d, keypad: keypad{mode: mode}}
	s.sender.single = k == audio
	t.streams[k].Store(s)
	return s
}

// measure notes a packet of the peer.
func (s *stream) measure(h header, now time.Time) (c codec, known bool) {
	c, known = s.table.Load().lookup(h.payloadType)
	s.mu.Lock()
	defer s.mu.Unlock()
	clock := uint32(0) // the time of digits stands still while they last
	if known && c.speech() {
		s.codec, clock = c.name, c.clock
	}
	s.heard, s.spoke = now, now
	s.link(h.ssrc).In.Packet(quality.Header{SSRC: h.ssrc, Sequence: h.sequence, Timestamp: h.timestamp}, clock, now.Sub(s.origin))
	return c, known
}

// noteHeard notes a packet of the peer that is not RTP.
func (s *stream) noteHeard(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard, s.spoke = now, now
}

// relay sends a packet of another stream's peer to this one's. It is called
// from the reader of the other leg's socket. A codec the peer did not list is
// not sent to it.
func (s *stream) relay(feed *stream, p []byte, h header, c codec, known bool, now time.Time) {
	if s.occupied() {
		return
	}
	if known {
		if !c.speech() && s.beside(feed, p, h, c, now) {
			return
		}
		pt, ok := s.accepts.Load().number(h.payloadType, c)
		if ok && c.speech() {
			s.bypassConverter()
		}
		if !ok {
			if pt, ok = s.convert(feed, p, h, c, now); !ok {
				return
			}
			c, _ = s.accepts.Load().lookup(pt)
		}
		p[1] = p[1]&0x80 | pt
	}
	t := s.transport
	t.sending.Lock()
	defer t.sending.Unlock()
	if t.out.Load() != nil && s.wanted.Load() && s.sender.write(p, feed, h, c, now) {
		t.sendRTP(p)
	}
}

// describe takes what the peer said about this stream; nil ends it.
func (s *stream) describe(m *mediaLine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.described = m != nil
	s.flow = direction{}
	if m != nil {
		s.flow, s.theirs, s.ptime = m.flow(), m.payloads, m.ptime()
		s.accepts.Store(s.dials(m))
		s.table.Store(newPayloadTable(s.theirs, s.ours))
	}
	s.wanted.Store(s.flow.recv)
	s.expect()
}

// announce takes what we told the peer about this stream; nil is nothing.
func (s *stream) announce(g *grant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.announced = g != nil
	if g != nil {
		s.ours, s.granted = g.payloads, g.direction
	}
	s.table.Store(newPayloadTable(s.theirs, s.ours))
	if s.heard.IsZero() {
		s.expecting = time.Time{} // 200 after 183: a peer speaks when it has answered
	}
	s.expect()
}

// expect notes since when silence of the peer means trouble.
func (s *stream) expect() {
	if !s.described || !s.announced || !s.flow.send || !s.granted.recv {
		s.expecting = time.Time{}
	} else if s.expecting.IsZero() {
		s.expecting = time.Now()
	}
}

// silentSince is when the peer was last heard, zero while it need not be.
func (s *stream) silentSince() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.expecting.IsZero() || s.heard.Before(s.expecting) {
		return s.expecting
	}
	return s.heard
}
