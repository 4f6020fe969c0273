package media

import (
	"net/netip"
)

const (
	// probation is how many packets in a row a source needs that has the
	// signalled address but another port than signalled.
	probation = 5
	// farewell is how many packets the old source may send after new
	// signalling until it is taken for the new one as well.
	farewell = 100
)

// reach says what signalling lets us believe about where a peer's media
// comes from.
type reach int

const (
	unknown   reach = iota // nothing signalled: nothing is accepted
	direct                 // the signalled address is routable: only it
	ambiguous              // the peer is near, its media may be elsewhere: either
	natted                 // the signalled address is not routable: the signalling peer's
)

// latch admits packets of one source and no other: the first valid one that
// fits what was signalled, until signalling says something new. It is how a
// relay sends media to peers behind NAT without handing it to whoever sends
// first ("RTP bleed").
type latch struct {
	signalled netip.AddrPort // from SDP; the port alone may be valid
	peer      netip.Addr     // where the peer's SIP comes from
	reach     reach

	source netip.AddrPort // the only source admitted, once it is known
	exact  bool           // source is the signalled address, to the port

	previous netip.AddrPort // source before new signalling
	parting  int            // packets from it since

	candidate netip.AddrPort // source on probation
	ssrc      uint32
	seq       uint16
	count     int
}

// signal takes the address from a session description. It reports whether it
// is another one than before, which opens the latch.
func (l *latch) signal(signalled netip.AddrPort, peer netip.Addr) bool {
	if l.reach != unknown && l.signalled == signalled && l.peer == peer {
		return false
	}
	previous := l.source
	if !previous.IsValid() {
		previous = l.previous
	}
	*l = latch{signalled: signalled, peer: peer, reach: reachOf(signalled.Addr(), peer), previous: previous}
	return true
}

// reachOf weighs a signalled address against the address the peer's
// signalling came from.
func reachOf(signalled, peer netip.Addr) reach {
	usable := signalled.IsValid() && !signalled.IsUnspecified()
	switch {
	case !usable && !peer.IsValid():
		return unknown
	case !usable:
		return natted
	case !peer.IsValid(), signalled == peer:
		return direct
	case signalled.Is4() != peer.Is4(), signalled.IsLoopback() && !peer.IsLoopback():
		return natted
	case private(peer):
		return ambiguous // a phone may name its public address on our own network
	case private(signalled):
		return natted
	}
	return direct
}

var sharedSpace = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598

// private reports whether an address means different hosts in different
// networks.
func private(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.Is4() && sharedSpace.Contains(a)
}

// admit decides about an RTP packet and latches to its source when it is time.
func (l *latch) admit(from netip.AddrPort, ssrc uint32, seq uint16) bool {
	if from == l.source {
		return true
	}
	if l.source.IsValid() {
		// The signalled address itself overrules a guess, nothing else does.
		if l.exact || l.reach != direct || from != l.signalled {
			return false
		}
		l.take(from)
		return true
	}
	switch addr := from.Addr(); {
	case from == l.previous:
		if l.parting++; l.parting > farewell || from == l.signalled {
			l.take(from)
		}
		return true
	case l.reach == direct || l.reach == ambiguous:
		if from == l.signalled || l.reach == ambiguous && addr == l.peer {
			l.take(from)
			return true
		}
		return addr == l.signalled.Addr() && l.prove(from, ssrc, seq)
	case l.reach == natted && addr == l.peer:
		l.take(from)
		return true
	}
	return false
}

// prove counts packets of a source whose address was signalled with another
// port (RFC 4961 is not kept by all). A scan that throws packets at every port
// does not get through, nor does it when it interleaves with the real source.
func (l *latch) prove(from netip.AddrPort, ssrc uint32, seq uint16) bool {
	if from != l.candidate || ssrc != l.ssrc || seq-l.seq == 0 || seq-l.seq > 8 {
		l.count = 0
	}
	l.candidate, l.ssrc, l.seq = from, ssrc, seq
	if l.count++; l.count < probation {
		return false
	}
	l.take(from)
	return true
}

func (l *latch) take(from netip.AddrPort) {
	l.source, l.exact = from, from == l.signalled
	l.previous, l.candidate = netip.AddrPort{}, netip.AddrPort{}
}

// admitRTCP decides about an RTCP packet. Reports are rare, so there is no
// probation: a source must be the signalled one, or, where RTP does not come
// from the signalled one either, live at the address RTP was latched to.
func (l *latch) admitRTCP(from netip.AddrPort, rtp *latch) bool {
	switch {
	case from == l.source:
		return true
	case l.source.IsValid():
		return false
	case from == l.signalled && l.reach != natted,
		rtp.source.IsValid() && !rtp.exact && from.Addr() == rtp.source.Addr():
		l.take(from)
		return true
	}
	return false
}

// target is where packets to the peer go: its source once it is known, before
// that what it signalled, unless that is behind NAT. Invalid means nowhere.
func (l *latch) target() netip.AddrPort {
	switch {
	case l.source.IsValid():
		return l.source
	case l.reach == direct || l.reach == ambiguous:
		return l.signalled
	case l.previous.IsValid():
		return l.previous
	}
	return netip.AddrPort{}
}
