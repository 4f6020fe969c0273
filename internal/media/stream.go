package media

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// stream is one medium of a leg: its sockets, where its peer is, and what was
// measured on what the peer sends.
//
// The path of a packet allocates nothing: receive, accept, then send of the
// stream on the other leg.
type stream struct {
	kind   kind
	pair   *pair
	origin time.Time // of arrival times
	veil   *veil

	partner atomic.Pointer[stream]         // who hears this stream's peer
	out     atomic.Pointer[netip.AddrPort] // where the peer's media goes; nil is nowhere
	outRTCP atomic.Pointer[netip.AddrPort]

	mu            sync.Mutex
	rtp, rtcp     latch
	table         *payloadTable
	theirs, ours  []payload // signalled by the peer, and to it
	flow, granted direction // of the peer, and of what we told it
	described     bool      // the peer's description holds
	announced     bool      // it was told ours
	meter         meter
	codec         string // of the last packet with speech
	strangers     uint64 // packets of sources that were not admitted
	malformed     uint64
	heard         time.Time // last packet of the peer
	expecting     time.Time // since when the peer should send; zero is not
}

// receiveRTP relays one packet.
func (s *stream) receiveRTP(p []byte, from netip.AddrPort) {
	h, ok := parseHeader(p)
	if !s.accept(h, ok, from, time.Now()) {
		return
	}
	if partner := s.partner.Load(); partner != nil {
		partner.sendRTP(p)
	}
}

// accept decides whether a packet is from this stream's peer, and measures it.
func (s *stream) accept(h header, ok bool, from netip.AddrPort, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !ok {
		s.malformed++
		return false
	}
	c, known := s.table.lookup(h.payloadType)
	source := s.rtp.source
	if !s.described {
		return false // nobody said yet who may send here
	}
	if !known && from != source || !s.rtp.admit(from, h.ssrc, h.sequence) {
		s.strangers++
		return false
	}
	if s.rtp.source != source {
		s.aim()
	}
	if known && c.speech() {
		s.codec = c.name
	}
	s.heard = now
	s.meter.packet(h, c, now.Sub(s.origin))
	return true
}

// receiveRTCP relays one compound of reports.
func (s *stream) receiveRTCP(p []byte, from netip.AddrPort) {
	if !s.acceptRTCP(p, from, time.Now()) {
		return
	}
	if partner := s.partner.Load(); partner != nil {
		partner.sendRTCP(s.veil.compound(p))
	}
}

func (s *stream) acceptRTCP(p []byte, from netip.AddrPort, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !validRTCP(p) {
		s.malformed++
		return false
	}
	source := s.rtcp.source
	if !s.described {
		return false
	}
	if !s.rtcp.admitRTCP(from, &s.rtp) {
		s.strangers++
		return false
	}
	if s.rtcp.source != source {
		s.aim()
	}
	s.heard = now
	return true
}

// sendRTP sends a packet to this stream's peer. It is called from the reader
// of the other leg's socket.
func (s *stream) sendRTP(p []byte) {
	if to := s.out.Load(); to != nil {
		// A packet that the kernel refuses is lost, as on any network.
		_, _ = s.pair.rtp.WriteToUDPAddrPort(p, *to)
	}
}

func (s *stream) sendRTCP(p []byte) {
	if to := s.outRTCP.Load(); to != nil {
		_, _ = s.pair.rtcp.WriteToUDPAddrPort(p, *to)
	}
}

// describe takes what the peer said about this stream; nil ends it. peer is
// where its signalling comes from.
func (s *stream) describe(m *mediaLine, peer netip.Addr, zone string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.described = m != nil
	s.flow = direction{}
	if m != nil {
		s.flow, s.theirs = m.flow(), m.payloads
		s.table = newPayloadTable(s.theirs, s.ours)
		s.signal(m, peer, zone)
	}
	s.aim()
	s.expect()
}

// signal opens the latches when the peer moved. The null address of an old
// hold is no move.
func (s *stream) signal(m *mediaLine, peer netip.Addr, zone string) {
	if m.held() && s.rtp.reach != unknown {
		return
	}
	rtp, rtcp := m.rtpAddr(), m.rtcpAddr()
	if rtp.Addr().Is6() && rtp.Addr().IsLinkLocalUnicast() {
		addr := rtp.Addr().WithZone(zone)
		rtp, rtcp = netip.AddrPortFrom(addr, rtp.Port()), netip.AddrPortFrom(addr, rtcp.Port())
	}
	moved := s.rtp.signal(rtp, peer)
	if s.rtcp.signal(rtcp, peer) || moved {
		s.rtcp.source, s.rtcp.exact = netip.AddrPort{}, false
	}
}

// reopen lets the next description open the latches, also if it says the same.
func (s *stream) reopen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rtp.reach, s.rtcp.reach = unknown, unknown
}

// announce takes what we told the peer about this stream; nil is nothing.
func (s *stream) announce(g *grant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.announced = g != nil
	if g != nil {
		s.ours, s.granted = g.payloads, g.direction
	}
	s.table = newPayloadTable(s.theirs, s.ours)
	if s.heard.IsZero() {
		s.expecting = time.Time{} // 200 after 183: a peer speaks when it has answered
	}
	s.expect()
}

// aim sets where the peer's media goes: nowhere while it does not want any.
// Reports go on during a hold (RFC 3264 section 8.4).
func (s *stream) aim() {
	point := func(p *atomic.Pointer[netip.AddrPort], to netip.AddrPort, open bool) {
		if !open || !to.IsValid() || to.Port() == 0 {
			p.Store(nil)
			return
		}
		p.Store(&to)
	}
	point(&s.out, s.rtp.target(), s.described && s.flow.recv)
	point(&s.outRTCP, s.rtcp.target(), s.described)
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
