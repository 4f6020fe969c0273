package media

import "time"

// hear takes what of a packet is for us: the digits of who dials.
func (s *stream) hear(p []byte, h header, c codec, known bool) {
	if known && c.name == digits {
		s.hearDigit(h, payloadOf(p, h))
	}
}

// tap gives a packet of the peer to its conference, and to the recordings of
// this stream and of who hears it.
func (s *stream) tap(p []byte, h header, c codec, known bool, now time.Time) {
	if !known {
		return
	}
	seat := s.seat.Load()
	if seat != nil {
		seat.ear.put(h, payloadOf(p, h), c, now)
	}
	if r := s.recording.Load(); r != nil && (seat == nil || !seat.Muted()) {
		r.put(own, s, h, payloadOf(p, h), c, now)
	}
	if partner := s.partner.Load(); partner != nil {
		if r := partner.recording.Load(); r != nil {
			r.put(others, s, h, payloadOf(p, h), c, now)
		}
	}
}

// silence ends everything that speaks and listens: the stream is over.
func (s *stream) silence() {
	s.mu.Lock()
	s.over = true
	s.onDigit = nil
	s.mu.Unlock()
	s.replaceConverter(nil)
	s.replacePlayer(nil)
	if r := s.recording.Load(); r != nil {
		r.Stop()
	}
}
