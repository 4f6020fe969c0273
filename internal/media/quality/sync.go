package quality

// maxExtrapolation bounds how far from its last report a sender's clock is
// believed, in NTP units: a minute.
const maxExtrapolation = 60 << 32

// Wall compares the clock of a peer with ours. All streams of the peer share
// one, so that what its reports say about audio and video stays true of each
// other when reports of ours take their place: lips move with the words.
type Wall struct {
	ahead int64 // theirs minus ours, in NTP units
	known bool
}

// Timeline is what a sender reported about the time of one stream.
type Timeline struct {
	ssrc  uint32
	ntp   uint64 // by the sender's clock
	rtp   uint32
	known bool
}

// Take notes a sender report that came when our clock said now. A sender without a
// clock says 0 (RFC 3550 section 6.4.1).
func (t *Timeline) Take(w *Wall, ssrc uint32, i SenderInfo, now uint64) {
	if i.NTP == 0 {
		t.known = false
		return
	}
	*t = Timeline{ssrc: ssrc, ntp: i.NTP, rtp: i.RTP, known: true}
	// The first report tells the difference, whatever the network took. Later
	// ones do not move it for a jitter or two; a clock that was set does.
	if d := int64(i.NTP - now); !w.known || d-w.ahead > maxExtrapolation/30 || w.ahead-d > maxExtrapolation/30 {
		w.ahead, w.known = d, true
	}
}

// At is the timestamp of the stream at a moment of our clock; false if its
// sender reported nothing about ssrc that can be used.
func (t *Timeline) At(w *Wall, ssrc, clock uint32, now uint64) (uint32, bool) {
	if !t.known || !w.known || t.ssrc != ssrc {
		return 0, false
	}
	since := int64(now + uint64(w.ahead) - t.ntp)
	if since > maxExtrapolation || since < -maxExtrapolation {
		return 0, false
	}
	whole, part := since>>32, since&(1<<32-1)
	return t.rtp + uint32(whole*int64(clock)) + uint32(part*int64(clock)>>32), true
}
