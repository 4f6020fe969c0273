package media

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"ringfence/internal/media/dtls"
	"ringfence/internal/media/srtp"
)

// manyStrangers packets from elsewhere are worth an administrator's attention.
const manyStrangers = 100

// Leg is our end of the media session with one peer.
type Leg struct {
	call    *Call
	params  LegParams
	streams [kinds]atomic.Pointer[stream] // video only once it is negotiated
	desk    *desk

	partner *Leg      // guarded by Engine.bridges
	gone    bool      // guarded by Engine.bridges
	errands [2]errand // guarded by clerk.mu

	mu                         sync.Mutex
	closed                     bool
	peerAt                     netip.AddrPort
	session                    session
	exchange                   exchange
	raw                        []byte       // remote as received
	remote                     *description // what the peer said last
	before                     *description // what it said before an exchange that is under way
	wishes                     [kinds]direction
	told                       grants                         // by our last offer or answer
	toldThen                   grants                         // by the one before an offer that is under way
	keys                       [kinds]map[srtp.Suite]srtp.Key // of ours, by suite
	offeredKeys                [kinds][]srtp.Crypto           // by our last offer
	offeredShake, offeredMux   [kinds]bool                    // it named our certificate, and rtcp-mux
	protected, protectedBefore [kinds]protection
	offerer                    bool // the last offer was ours
	insists                    bool // see Insist
	sparing, spared            bool // see Spare
	asked                      *Leg // whose peer was offered what this leg's peer said last
}

// grant is what we told a peer about a stream.
type grant struct {
	payloads  []payload
	direction direction
}

type grants [kinds]*grant

// RTP is the address that this leg advertises for audio.
func (l *Leg) RTP() netip.AddrPort {
	return netip.AddrPortFrom(l.params.Advertised, l.streams[audio].Load().transport.pair.port)
}

// SetRemote takes what this leg's peer said, offer or answer. A changed
// address or port opens the learning of the peer's source again. On an error,
// which wraps ErrNotAcceptable or ErrClosed, the leg stays as it was.
func (l *Leg) SetRemote(sdp []byte) error {
	d, err := parseDescription(sdp)
	if err != nil {
		return err
	}
	if !d.usable() {
		return l.nothing()
	}
	for k := range kinds {
		if m := d.stream(k); m != nil && !m.speaksICE() {
			if err := l.checkTarget(m); err != nil {
				return err
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	keys, err := l.examine(d)
	if err != nil {
		return err
	}
	if l.exchange == offered || l.offerer && keys[audio].handshake != nil && d.stream(audio).setup != dtls.Actpass {
		l.answered(d)
	}
	protected := l.protected
	if err := l.protect(keys); err != nil {
		return fmt.Errorf("%w: %w", ErrNotAcceptable, err)
	}
	l.protectedBefore = protected
	l.take(d, sdp)
	return nil
}

// nothing is why a description without a stream we know cannot be used. One that
// refuses all of our first offer (port 0), which was of protected media only, is
// how some phones without a suite of ours say so.
func (l *Leg) nothing() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.exchange == offered && l.remote == nil && l.policy().Required() {
		return fmt.Errorf("all protected streams are refused: %w", ErrInsecure)
	}
	return fmt.Errorf("neither audio over RTP nor fax over UDPTL: %w", ErrNotAcceptable)
}

// PeerAt says where the peer's SIP comes from, at the start and again with each
// of its offers. When that is another place than before, it went elsewhere or its
// NAT forgot it, and its media come from another place as well, whatever address
// it describes: the source is learned again.
func (l *Leg) PeerAt(addr netip.AddrPort) {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.peerAt
	l.peerAt = addr
	if l.closed || !was.IsValid() || was == addr {
		return
	}
	l.params.PeerSignalling = addr.Addr().Unmap()
	for _, t := range l.transports() {
		t.reopen()
	}
	if l.remote != nil {
		l.apply()
	}
}

// checkTarget refuses addresses nobody may make us send to.
func (l *Leg) checkTarget(m *mediaLine) error {
	to := m.rtpAddr()
	switch addr := to.Addr(); {
	case addr.IsMulticast(), addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("media to %s: %w", addr, ErrNotAcceptable)
	case l.call.engine.owns(to, l.params), l.call.engine.owns(m.rtcpAddr(), l.params):
		return fmt.Errorf("media to our own port %d: %w", to.Port(), ErrNotAcceptable)
	}
	return nil
}

// take moves the exchange on. A description that repeats the last one, as 200
// after 183 does, changes nothing.
func (l *Leg) take(d *description, sdp []byte) {
	answer := l.exchange == offered
	switch {
	case answer:
		l.exchange, l.before = stable, nil
	case l.exchange == stable && l.remote != nil && bytes.Equal(sdp, l.raw):
		for _, t := range l.transports() {
			t.retry() // some phones begin with 200 what they described in 183
		}
		return
	case l.exchange == stable:
		l.exchange, l.before = answering, l.remote
	}
	l.remote, l.raw, l.asked = d, bytes.Clone(sdp), nil
	l.wishes = [kinds]direction{}
	for k := range kinds {
		m, told := d.stream(k), l.told[k]
		switch {
		case m == nil:
		case answer && told != nil:
			l.wishes[k] = wish(m, told.direction)
		default:
			l.wishes[k] = m.flow()
		}
	}
	l.apply()
}

// apply tells the streams what the peer said.
func (l *Leg) apply() {
	for k := range kinds {
		if s := l.streams[k].Load(); s != nil {
			l.describe(s, l.remote.stream(k))
		}
	}
}

func (l *Leg) describe(s *stream, m *mediaLine) {
	s.describe(m)
	if s.kind != audio && l.sharing(s) {
		return // what is said about the transport is said with audio
	}
	wanted := m != nil && m.flow().recv
	for k := range kinds {
		if o := l.streams[k].Load(); o != nil && o.transport == s.transport {
			if m := l.remote.stream(k); m != nil && m.flow().recv {
				wanted = true
			}
		}
	}
	s.transport.describe(m, wanted, l.params.PeerSignalling, l.params.Local.Zone())
}

// Rollback forgets the exchange under way, which failed: the session stays as
// it was (RFC 3264 section 8). It undoes SetRemote of an offer that was not
// answered, together with the Offer to the other leg that was made of it, or
// this leg's own Offer.
func (l *Leg) Rollback() {
	l.mu.Lock()
	asked := l.asked
	l.asked = nil
	l.rollback()
	l.mu.Unlock()
	if asked != nil && asked != l {
		asked.mu.Lock()
		defer asked.mu.Unlock()
		if asked.exchange == offered {
			asked.rollback()
		}
	}
}

func (l *Leg) rollback() {
	switch {
	case l.closed:
	case l.exchange == answering && l.before != nil:
		l.remote, l.raw, l.before = l.before, nil, nil
		for k := range kinds {
			l.wishes[k] = direction{}
			if m := l.remote.stream(k); m != nil {
				l.wishes[k] = m.flow()
			}
		}
		l.apply()
		_ = l.protect(l.protectedBefore) // contexts that were made before
	case l.exchange == offered:
		l.grant(l.toldThen)
	}
	l.exchange = stable
}

// grant lets the streams know what we told the peer.
func (l *Leg) grant(g grants) {
	l.told = g
	for k := range kinds {
		if s := l.streams[k].Load(); s != nil {
			s.announce(g[k])
		}
	}
}

// HasRemote reports whether this leg's peer has described its media.
func (l *Leg) HasRemote() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.remote != nil
}

// described returns what the peer said last and what it wants. to is the leg
// whose peer is going to be offered that, or nil.
func (l *Leg) described(to *Leg) (*description, [kinds]direction) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if to != nil {
		l.asked = to
	}
	return l.remote, l.wishes
}

// SilentSince is when this leg's peer was last heard (RTP or RTCP), or since
// when it should have been. It is zero while nothing is expected from it:
// before offer and answer are complete, and while it or we hold.
func (l *Leg) SilentSince() time.Time { return l.streams[audio].Load().silentSince() }

// Close gives the ports back. It may be called again.
func (l *Leg) Close() {
	l.mu.Lock()
	closed := l.closed
	l.closed = true
	l.mu.Unlock()
	if closed {
		return
	}
	l.report(make([]byte, 0, reportSize), time.Now(), true)
	e := l.call.engine
	e.clerk.dismiss(l)
	e.bridges.Lock()
	l.part()
	l.gone = true
	e.bridges.Unlock()
	for k := range kinds {
		if s := l.streams[k].Load(); s != nil {
			s.silence()
		}
	}
	for _, t := range l.transports() {
		e.freeTransport(t)
	}
	l.call.drop(l)
	q := l.Quality()
	level := slog.LevelDebug
	if q.Dropped >= manyStrangers {
		level = slog.LevelWarn // somebody scans, or a peer's media comes from where it did not say
	}
	l.call.log.Log(context.Background(), level, "media leg closed", "port", l.RTP().Port(), "codec", q.Codec, "packets", q.Packets, "lost", q.LostRTP, "mos", q.MOS, "to_mos", q.ToMOS, "strangers", q.Dropped)
}

// part ends the bridge of this leg, or its seat in a conference. The caller holds Engine.bridges.
func (l *Leg) part() {
	if s := l.streams[audio].Load().seat.Load(); s != nil {
		s.stand()
	}
	if l.partner == nil {
		return
	}
	for _, leg := range []*Leg{l, l.partner} {
		for k := range kinds {
			if s := leg.streams[k].Load(); s != nil {
				s.partner.Store(nil)
				s.replaceConverter(nil)
			}
		}
	}
	l.partner.partner, l.partner = nil, nil
}

// link joins the streams of this leg with its partner's, kind by kind. The
// caller holds Engine.bridges.
func (l *Leg) link() {
	if l.partner == nil {
		return
	}
	for k := range kinds {
		a, b := l.streams[k].Load(), l.partner.streams[k].Load()
		if a != nil && b != nil {
			a.partner.Store(b)
			b.partner.Store(a)
		}
	}
}

// ensure returns the stream of a kind and allots it if need be; the caller
// holds l.mu. Video that finds no port is refused, the call goes on.
func (l *Leg) ensure(k kind) *stream {
	if s := l.streams[k].Load(); s != nil || l.closed {
		return s
	}
	t, err := l.transportFor(k)
	if err != nil {
		l.call.log.Warn("stream is refused", "kind", k.String(), "error", err)
		return nil
	}
	s := newStream(k, t, l.desk, l.params.DTMF)
	if m := l.remote.stream(k); m != nil {
		l.describe(s, m)
	}
	e := l.call.engine
	e.bridges.Lock()
	defer e.bridges.Unlock()
	l.streams[k].Store(s)
	l.link()
	return s
}
