package media

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"ringfence/internal/media/ice"
	"ringfence/internal/media/quality"
	"ringfence/internal/media/srtp"
)

// transport is our end of an address pair with a peer: the sockets, where the
// peer is, and the protection of what goes over them.
//
// What arrives is told apart by its first octet (RFC 7983 section 7); nothing of
// it is believed before its source and, with SRTP, its authentication fit.
type transport struct {
	pair    *pair
	streams [kinds]atomic.Pointer[stream] // what goes over it, both when bundled

	out     atomic.Pointer[netip.AddrPort] // where the peer's media goes; nil is nowhere
	outRTCP atomic.Pointer[netip.AddrPort]
	mux     atomic.Bool // reports go beside the media (RFC 5761)

	mu        sync.Mutex
	rtp, rtcp latch
	secured   bool          // nothing is accepted or sent in the clear
	in        *srtp.Inbound // nil while the peer's key is not known
	described bool          // the peer's description holds
	flows     bool          // it wants media
	refused   refusals
	keyer     keyer

	agent atomic.Pointer[ice.Agent] // nil without ICE
	reply [256]byte                 // of checks; of the reader of the RTP socket

	sending  sync.Mutex // with the senders of the streams
	outbound *srtp.Outbound
	sealed   bool                               // nothing may go out before there are keys
	ours     [srtp.AES256GCM + 1]*srtp.Outbound // each of our keys ever used, and where it stands
	buf      [maxDatagram + headroom]byte
}

// refusals counts packets that were dropped.
type refusals struct {
	strangers uint64 // of sources that were not admitted
	malformed uint64
	forged    uint64 // not authentic under the peer's key, or not protected at all
	replayed  uint64
}

// receive takes a datagram from the RTP socket. It is called by one goroutine.
func (t *transport) receive(p []byte, from netip.AddrPort) {
	now := time.Now()
	if s := t.streams[fax].Load(); s != nil {
		t.receiveFax(s, p, from, now)
		return
	}
	switch first := firstOctet(p); {
	case first <= stunLast:
		t.receiveCheck(p, from)
		return
	case first >= dtlsFirst && first <= dtlsLast:
		t.receiveHandshake(p, from)
		return
	case t.mux.Load() && isRTCP(p):
		t.receiveReports(p, from, &t.rtp)
		return
	}
	s, h, p := t.accept(p, from)
	if s == nil {
		return
	}
	c, known := s.measure(h, now)
	ours := s.hear(p, h, c, known, now)
	s.tap(p, h, c, known, now)
	switch partner := s.partner.Load(); {
	case partner == nil:
	case ours:
		partner.skip(s, h, now)
	default:
		partner.relay(s, p, h, c, known, now)
	}
}

// accept decides whether a packet is from the peer, and of which stream. It
// returns it without protection.
func (t *transport) accept(p []byte, from netip.AddrPort) (*stream, header, []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h, ok := readHeader(p)
	if !ok || !t.secured && !paddingFits(p, h) {
		t.refused.malformed++
		return nil, h, nil
	}
	if !t.described {
		return nil, h, nil // nobody said yet who may send here
	}
	s, known := t.streamOf(h.payloadType)
	before := t.rtp
	if !known && from != before.source || !t.rtp.admit(from, h.ssrc, h.sequence) {
		t.refused.strangers++
		return nil, h, nil
	}
	if t.secured {
		if p, ok = t.unprotect(p); ok {
			ok = paddingFits(p, h)
		}
		if !ok {
			t.rtp = before // a source is learned from authentic packets only
			return nil, h, nil
		}
	}
	if t.rtp.source != before.source {
		t.aim()
	}
	return s, h, p
}

// receiveFax relays a UDPTL packet as it is; its first two octets count
// (ITU-T T.38 section 9.1.1).
func (t *transport) receiveFax(s *stream, p []byte, from netip.AddrPort, now time.Time) {
	t.mu.Lock()
	before := t.rtp.source
	switch {
	case len(p) < 3:
		t.refused.malformed++
		p = nil
	case !t.described:
		p = nil
	case !t.rtp.admit(from, 0, uint16(p[0])<<8|uint16(p[1])):
		t.refused.strangers++
		p = nil
	case t.rtp.source != before:
		t.aim()
	}
	t.mu.Unlock()
	if p == nil {
		return
	}
	s.noteHeard(now)
	if partner := s.partner.Load(); partner != nil {
		partner.transport.sending.Lock()
		partner.transport.sendRTP(p)
		partner.transport.sending.Unlock()
	}
}

// unprotect counts what it refuses.
func (t *transport) unprotect(p []byte) ([]byte, bool) {
	if t.in == nil {
		t.refused.forged++
		return nil, false
	}
	p, err := t.in.RTP(p)
	t.refused.note(err)
	return p, err == nil
}

func (r *refusals) note(err error) {
	switch {
	case errors.Is(err, srtp.ErrReplayed):
		r.replayed++
	case err != nil:
		r.forged++
	}
}

// streamOf finds the stream of a payload type; bundled ones have no number in
// common (RFC 9143 section 9.2). A number nobody signalled belongs to audio.
func (t *transport) streamOf(pt uint8) (s *stream, known bool) {
	for k := range t.streams {
		one := t.streams[k].Load()
		if one == nil {
			continue
		}
		if _, known := one.table.Load().lookup(pt); known {
			return one, true
		}
		if s == nil {
			s = one
		}
	}
	return s, false
}

// receiveRTCP takes a datagram from the RTCP socket.
func (t *transport) receiveRTCP(p []byte, from netip.AddrPort) { t.receiveReports(p, from, &t.rtcp) }

// receiveReports takes one compound of reports. at is the latch of the socket
// it came by.
func (t *transport) receiveReports(p []byte, from netip.AddrPort, at *latch) {
	p, ok := t.acceptReports(p, from, at)
	if !ok {
		return
	}
	now := time.Now()
	for k := range t.streams {
		if s := t.streams[k].Load(); s != nil {
			s.takeReports(p, now)
		}
	}
}

func (t *transport) acceptReports(p []byte, from netip.AddrPort, at *latch) ([]byte, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !quality.Valid(p) && !t.secured || !isRTCP(p) {
		t.refused.malformed++
		return nil, false
	}
	if !t.described {
		return nil, false
	}
	before := *at
	if at == &t.rtp && from != t.rtp.source || at == &t.rtcp && (t.keyer.agreed != nil || !at.admitRTCP(from, &t.rtp)) {
		t.refused.strangers++
		return nil, false
	}
	if t.secured {
		var err error
		if t.in == nil {
			err = srtp.ErrForged
		} else {
			p, err = t.in.RTCP(p)
		}
		if t.refused.note(err); err != nil || !quality.Valid(p) {
			*at = before
			return nil, false
		}
	}
	if at.source != before.source {
		t.aim()
	}
	return p, true
}

// sendRTP protects and sends a packet; the caller holds t.sending. A packet that
// the kernel refuses is lost, as on any network.
func (t *transport) sendRTP(p []byte) {
	to := t.out.Load()
	if to == nil || t.sealed {
		return
	}
	if t.outbound != nil {
		var err error
		if p, err = t.outbound.RTP(t.buf[:0], p); err != nil {
			return // the key is used up, after 2^48 packets
		}
	}
	_, _ = t.pair.rtp.WriteToUDPAddrPort(p, *to)
}

// sendRTCP protects and sends a compound of reports.
func (t *transport) sendRTCP(p []byte) {
	t.sending.Lock()
	defer t.sending.Unlock()
	to, conn := t.outRTCP.Load(), t.pair.rtcp
	if t.mux.Load() {
		conn = t.pair.rtp
	}
	if to == nil || len(p) == 0 || t.sealed {
		return
	}
	if t.outbound != nil {
		var err error
		if p, err = t.outbound.RTCP(t.buf[:0], p); err != nil {
			return
		}
	}
	_, _ = conn.WriteToUDPAddrPort(p, *to)
}

// describe takes where the peer said it is; nil ends that. wanted is whether it
// wants media of any stream, and peer where its signalling comes from. A new
// place opens the latches; the null address of an old hold is none.
func (t *transport) describe(m *mediaLine, wanted bool, peer netip.Addr, zone string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.described, t.flows = m != nil, wanted
	if m != nil {
		if t.agent.Load() == nil && (!m.held() || t.rtp.reach == unknown) {
			t.signal(m, peer, zone)
		}
	}
	t.aim()
	t.call()
}

func (t *transport) signal(m *mediaLine, peer netip.Addr, zone string) {
	rtp, rtcp := m.rtpAddr(), m.rtcpAddr()
	if rtp.Addr().Is6() && rtp.Addr().IsLinkLocalUnicast() {
		addr := rtp.Addr().WithZone(zone)
		rtp, rtcp = netip.AddrPortFrom(addr, rtp.Port()), netip.AddrPortFrom(addr, rtcp.Port())
	}
	known := t.rtp.reach != unknown
	moved := t.rtp.signal(rtp, peer)
	if moved && known && t.in != nil {
		// A phone that moved may have begun its sources again, with the key it had.
		if in, err := t.in.Restart(); err == nil {
			t.in = in
		}
		if t.keyer.agreed != nil {
			t.keyer.end() // another transport is another association (RFC 8842 section 4)
		}
	}
	if t.rtcp.signal(rtcp, peer) || moved {
		t.rtcp.source, t.rtcp.exact = netip.AddrPort{}, false
	}
}

// reopen lets the next description open the latches, also if it says the same.
func (t *transport) reopen() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.agent.Load() == nil { // ICE finds the peer by itself
		t.rtp.reach, t.rtcp.reach = unknown, unknown
	}
}

// aim sets where the peer's media goes: nowhere while it does not want any.
// Reports go on during a hold (RFC 3264 section 8.4).
func (t *transport) aim() {
	point := func(p *atomic.Pointer[netip.AddrPort], to netip.AddrPort, open bool) {
		if !open || !to.IsValid() || to.Port() == 0 {
			p.Store(nil)
			return
		}
		p.Store(&to)
	}
	point(&t.out, t.rtp.target(), t.described && t.flows)
	reports := t.rtcp.target()
	if t.mux.Load() {
		reports = t.rtp.target()
	}
	// Without rtcp-mux, reports would take an association of their own (RFC 5764
	// section 4.1): there are none then.
	point(&t.outRTCP, reports, t.described && (t.keyer.agreed == nil || t.mux.Load()))
}

// setMux says whether reports go beside the media.
func (t *transport) setMux(on bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mux.Store(on)
	t.aim()
}

// protect sets the keys of both directions, or none, or has them made.
func (t *transport) protect(p protection) error {
	if t.agree(p.handshake); p.handshake != nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.apply(p)
}

// apply puts keys to use. What the same key of ours protected before goes on
// where it stood. The caller holds t.mu.
func (t *transport) apply(p protection) error {
	if err := t.protectInbound(p.theirs); err != nil {
		return err
	}
	t.secured = p.theirs.Suite != srtp.None
	t.sending.Lock()
	defer t.sending.Unlock()
	t.sealed = false
	outbound := t.ours[p.ours.Suite]
	if p.ours.Suite != srtp.None && (outbound == nil || !outbound.Key().Equal(p.ours)) {
		var err error
		if outbound, err = srtp.NewOutbound(p.ours); err != nil {
			return err
		}
		t.ours[p.ours.Suite] = outbound
	}
	if outbound != t.outbound {
		t.outbound = outbound
		for k := range t.streams {
			if s := t.streams[k].Load(); s != nil {
				s.sender.renew()
			}
		}
	}
	return nil
}

func (t *transport) protectInbound(k srtp.Key) (err error) {
	switch {
	case k.Suite == srtp.None:
		t.in = nil
	case t.in == nil:
		t.in, err = srtp.NewInbound(k)
	case !t.in.Key().Equal(k):
		t.in, err = t.in.Renew(k)
	}
	return err
}
