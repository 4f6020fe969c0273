package jitter

import "time"

// Next says what to play now. It is called once for every frame that the
// listener needs, at the pace of the listener's clock.
func (b *Buffer) Next(now time.Duration) Frame {
	if !b.begin(now) {
		return Frame{Kind: Wait}
	}
	b.skipSilent()
	s := &b.ring[b.next%slots]
	here := s.used && s.seq == b.next
	switch {
	case here && int32(s.timestamp-b.at) > 0:
		return b.pause(s, now)
	case here:
		return b.packet(s, now)
	case int16(b.highest-b.next) >= 0:
		return b.missing(now)
	}
	return b.nothing(now)
}

// begin waits until the first packet has been held as long as it should be.
func (b *Buffer) begin(now time.Duration) bool {
	if b.playing || !b.started {
		return b.playing
	}
	b.skipSilent()
	s := &b.ring[b.next%slots]
	for i := 0; i < slots && !s.used && int16(b.highest-b.next) > 0; i++ {
		b.next++
		s = &b.ring[b.next%slots]
	}
	if !s.used || now-b.first < b.Target() {
		return false
	}
	b.playing, b.at, b.empty = true, s.timestamp, 0
	return true
}

// skipSilent passes over packets that are no audio.
func (b *Buffer) skipSilent() {
	for {
		s := &b.ring[b.next%slots]
		if !s.used || s.seq != b.next || !s.silent {
			return
		}
		s.used = false
		b.next++
		b.dtx = true // what was said in place of audio is not lost audio
	}
}

// packet gives the packet that is due.
func (b *Buffer) packet(s *slot, now time.Duration) Frame {
	delay := b.Delay(now)
	s.used = false
	b.next++
	if delay > b.max+b.duration(2*int64(b.frame)) && int16(b.highest-b.next) >= 0 {
		// Never later than the bound, whatever it costs.
		b.Dropped++
		b.at = s.timestamp + b.frame
		return b.Next(now)
	}
	if b.empty, b.dtx = 0, false; int32(s.timestamp-b.at) < 0 {
		b.at = s.timestamp // the peer's timestamps went back; believe its sequence
	}
	b.at += b.frame
	return Frame{Kind: Packet, Payload: s.payload, Type: s.kind, Skip: delay > b.Target()+b.duration(int64(b.frame))}
}

// pause gives silence until the time of a packet whose timestamp jumps though
// no packet is missing. Here the delay is put right, unheard.
func (b *Buffer) pause(s *slot, now time.Duration) Frame {
	frame := b.duration(int64(b.frame))
	b.empty = 0
	switch delay := b.Delay(now); {
	case int32(s.timestamp-b.at) > int32(10*b.clock):
		b.at = s.timestamp // no pause but another clock
		return b.packet(s, now)
	case delay > b.Target()+frame:
		b.at += min(2*b.frame, s.timestamp-b.at)
		if b.at == s.timestamp {
			return b.packet(s, now)
		}
	case delay+frame < b.Target():
		return Frame{Kind: Pause}
	default:
		b.at += min(b.frame, s.timestamp-b.at)
	}
	return Frame{Kind: Pause}
}

// missing gives a packet up that later ones have overtaken, unless there is
// time left for it.
func (b *Buffer) missing(now time.Duration) Frame {
	follower, gap := b.follower()
	if !b.dtx && b.Delay(now)+b.duration(int64(b.frame)) <= b.Target() {
		return Frame{Kind: Lost} // it may come yet
	}
	if int32(follower.timestamp-b.at) <= 0 {
		// The time of all that is missing was given to concealment already.
		b.next += gap
		b.Missing += uint64(gap)
		return b.Next(now)
	}
	b.next++
	b.Missing++
	if b.Delay(now) > b.Target()+b.duration(int64(b.frame)) { // there is too much delay
		if gap > 1 {
			b.at += b.frame
		}
		return b.Next(now)
	}
	b.at += b.frame
	b.empty = 0
	if b.dtx {
		return Frame{Kind: Pause}
	}
	if gap == 1 && !follower.silent {
		return Frame{Kind: Lost, Payload: follower.payload}
	}
	return Frame{Kind: Lost}
}

// follower is the first packet after the missing one, and how far it is ahead.
func (b *Buffer) follower() (s *slot, gap uint16) {
	for gap = 1; ; gap++ {
		s = &b.ring[(b.next+gap)%slots]
		if s.used && s.seq == b.next+gap || int16(b.highest-b.next-gap) <= 0 {
			return s, gap
		}
	}
}

// nothing is there at all: the next packet is late, or the peer is silent.
// While the delay is less than it should be, the late one is waited for.
func (b *Buffer) nothing(now time.Duration) Frame {
	if b.empty++; b.empty > maxEmpty {
		b.started, b.playing = false, false
		b.delays.reset()
		b.delays.timed = false
		return Frame{Kind: Wait}
	}
	if b.dtx {
		b.at += b.frame
		return Frame{Kind: Pause}
	}
	if b.Delay(now) > b.Target() {
		b.at += b.frame
	}
	return Frame{Kind: Lost}
}

// Depth is how much audio is held.
func (b *Buffer) Depth() time.Duration {
	n := 0
	for i := range b.ring {
		if b.ring[i].used && !b.ring[i].silent {
			n++
		}
	}
	return b.duration(int64(n) * int64(b.frame))
}
