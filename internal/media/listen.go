package media

import (
	"slices"
	"time"
)

// listen adds an ear to a list of them, or takes it away.
func (s *stream) listen(e *ear, sent, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := &s.ears
	if sent {
		list = &s.sentEars
	}
	var now []*ear
	if old := list.Load(); old != nil {
		now = slices.DeleteFunc(slices.Clone(*old), func(o *ear) bool { return o == e })
	}
	if on && !s.over {
		now = append(now, e)
	}
	if len(now) == 0 {
		list.Store(nil)
		return
	}
	list.Store(&now)
}

// hear shows a packet of the peer to who listens.
func (s *stream) hear(p []byte, h header, c codec, known bool, now time.Time) {
	if !known {
		return
	}
	if c.name == digits {
		s.hearDigit(h, payloadOf(p, h))
	}
	if ears := s.ears.Load(); ears != nil {
		for _, e := range *ears {
			e.put(h, payloadOf(p, h), c, now)
		}
	}
}

// tapSent shows a packet to the peer, as it goes out, to who listens.
func (s *stream) tapSent(p []byte, now time.Time) {
	ears := s.sentEars.Load()
	if ears == nil {
		return
	}
	h, ok := readHeader(p)
	c, known := s.accepts.Load().lookup(h.payloadType)
	if !ok || !known {
		return
	}
	for _, e := range *ears {
		e.put(h, payloadOf(p, h), c, now)
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
	s.ears.Store(nil)
	s.sentEars.Store(nil)
}
