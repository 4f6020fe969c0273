package media

// hear takes what of a packet is for us: the digits of who dials.
func (s *stream) hear(p []byte, h header, c codec, known bool) {
	if known && c.name == digits {
		s.hearDigit(h, payloadOf(p, h))
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
}
