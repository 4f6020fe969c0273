package media

import (
	"context"
	"iter"
	"net/netip"

	"ringfence/internal/media/dtls"
	"ringfence/internal/media/srtp"
)

// transports are those of a leg, each once, with the stream that speaks for it.
func (l *Leg) transports() iter.Seq2[kind, *transport] {
	return func(yield func(kind, *transport) bool) {
		for k := range kinds {
			if s := l.streams[k].Load(); s != nil && (k == audio || !l.sharing(s)) && !yield(k, s.transport) {
				return
			}
		}
	}
}

// sharing reports whether a stream goes over the transport of audio.
func (l *Leg) sharing(s *stream) bool { return s.transport == l.streams[audio].Load().transport }

// transportFor finds a transport for a stream that is new: that of audio where
// both are bundled, a new one else.
func (l *Leg) transportFor(k kind) (*transport, error) {
	a := l.remote.stream(audio)
	if l.remote.bundled(k) || l.params.Browser && (a == nil || l.remote.grouped(a.mid)) {
		return l.streams[audio].Load().transport, nil
	}
	return l.call.newTransport(context.Background(), l.params, k)
}

// offerProtection writes into a line of an offer how its media may be protected,
// or are already.
func (l *Leg) offerProtection(line *ourLine) {
	if line.kind == fax { // there is no SRTP in it
		return
	}
	k, s := line.kind, l.streams[line.kind].Load()
	fresh := l.remote == nil || l.remote.stream(k) == nil
	_, suites, shake := l.wares(false)
	if !fresh {
		shake = l.protected[k].handshake != nil
	}
	if overDTLS(line.proto) {
		l.offerTransport(line, s, fresh)
	} else {
		line.cryptos = l.offerKeys(k, fresh, suites)
	}
	if shake || overDTLS(line.proto) {
		// Also within a session: the peer keeps its role (RFC 8842 section 5.4).
		line.setup, line.fingerprint = dtls.Actpass, l.call.certificate.Fingerprint()
	}
}

// offerTransport offers what belongs to WebRTC: ICE, one port for everything.
func (l *Leg) offerTransport(line *ourLine, s *stream, fresh bool) {
	t := s.transport
	line.mux = t.mux.Load() || fresh && l.params.Browser
	if t.agent.Load() != nil || fresh && l.params.Browser {
		line.ice = t.checked().Local()
		line.candidate = netip.AddrPortFrom(l.params.Advertised, t.pair.port)
	}
	line.bundle = line.mid != "" && (l.remote == nil || l.remote.grouped(line.mid))
	if line.kind != audio && l.sharing(s) {
		line.bundle = true
		if fresh {
			line.port, line.bundleOnly = 0, true
		}
	}
}

// answerProtection writes into a line of an answer what of the offer is taken;
// SetRemote looked at what cannot be.
func (l *Leg) answerProtection(line *ourLine, offer *mediaLine) {
	if line.kind == fax {
		return
	}
	theirs, shake, _ := l.choose(offer)
	line.mux = offer.rtcpMux
	switch {
	case shake:
		l.answerHandshake(line, offer)
	case theirs.Key.Suite != srtp.None:
		ours := srtp.Crypto{Tag: theirs.Tag, Key: l.key(offer.kind, theirs.Key.Suite)}
		line.cryptos = []srtp.Crypto{ours}
		line.protection = protection{theirs: theirs.Key, ours: ours.Key}
	}
}

func (l *Leg) answerHandshake(line *ourLine, offer *mediaLine) {
	s := l.streams[offer.kind].Load()
	t := s.transport
	if offer.speaksICE() {
		agent := t.checked()
		agent.Offered(offer.ice)
		line.ice = agent.Local()
		line.candidate = netip.AddrPortFrom(l.params.Advertised, t.pair.port)
	} else if t.agent.Load() != nil {
		t.unchecked()
		l.describe(s, offer)
	}
	line.setup = t.answers(offer.offeredSetup())
	line.fingerprint = l.call.certificate.Fingerprint()
	line.protection.handshake = l.handshake(offer, line.setup.Role())
	line.bundle = overDTLS(offer.proto) && l.remote.grouped(offer.mid) && (offer.kind == audio || l.sharing(s))
}

// answered takes from an answer how its transports are used, before its keys.
func (l *Leg) answered(d *description) {
	for k, t := range l.transports() {
		m := d.stream(k)
		if m == nil {
			continue
		}
		t.setMux(m.rtcpMux && l.offeredMux[k])
		agent := t.agent.Load()
		switch {
		case agent == nil:
		case m.speaksICE():
			agent.Answered(m.ice)
			t.nominated(agent)
		default:
			t.unchecked()
		}
	}
}
