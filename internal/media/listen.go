package media

import "time"

// hear takes what of a packet is for us: the digits of who dials. It reports true
// when the other party is not to get the packet.
func (s *stream) hear(p []byte, h header, c codec, known bool, now time.Time) (ours bool) {
	switch {
	case !known || s.kind != audio:
		return false
	case c.name == digits:
		return s.hearDigit(h, payloadOf(p, h), now)
	}
	return c.speech() && s.detect(p, h, c, now)
}

// skip is called in place of relay for a packet that this stream's peer does not
// get: a converter must not take it for lost.
func (s *stream) skip(feed *stream, h header, now time.Time) {
	if w := s.converter.Load(); w != nil && w.feed == feed && !w.bypassed.Load() {
		w.ear.put(h, nil, codec{name: digits}, now)
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
	s.keypad.onDigit, s.keypad.onSignal = nil, nil
	d := s.dialler.Swap(nil)
	s.mu.Unlock()
	if d != nil {
		d.stop()
	}
	s.replaceConverter(nil)
	s.replacePlayer(nil)
	if r := s.recording.Load(); r != nil {
		r.Stop()
	}
}
