package media

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"ringfence/internal/media/dtls"
	"ringfence/internal/media/ice"
	"ringfence/internal/media/srtp"
)

// handshake is what offer and answer agreed on for a DTLS association (RFC 8842
// section 4): as long as it stays the same, so does the association.
type handshake struct {
	role    dtls.Role
	remote  []dtls.Fingerprint
	only256 bool
}

func (h *handshake) equal(o *handshake) bool {
	return h == o || h != nil && o != nil && h.role == o.role && h.only256 == o.only256 && slices.Equal(h.remote, o.remote)
}

// maxFailures bounds the handshakes that may fail until signalling agrees on
// something else: each costs a signature and a line of the log.
const maxFailures = 5

// keyer makes the keys of a transport by DTLS, between the two sides that ICE
// found, or signalling where the peer knows no ICE. All but ice is guarded by
// transport.mu.
type keyer struct {
	certificate *dtls.Certificate
	log         *slog.Logger
	running     *sync.WaitGroup

	agreed      *handshake // nil is no DTLS
	association *dtls.Association
	number      int            // counts associations: a late result of an old one is none
	failures    int            // of what was agreed on
	made        bool           // its keys are there
	failure     error          // of the last association that made none
	since       time.Time      // when it was agreed on
	from        netip.AddrPort // without ICE, the only source of the association
	closed      bool
	early       []earlyHello
}

// earlyHello is a ClientHello from before signalling told of the association.
// Who made an offer must be ready for one before the answer (RFC 5763 section 5),
// which has the longer way: a peer that has to send it again does so after a
// second (RFC 6347 section 4.2.4.1), in which nobody is heard.
type earlyHello struct {
	from     netip.AddrPort
	datagram []byte
}

// Strangers can send such as well.
const (
	maxEarly     = 4
	maxEarlySize = 1500
)

// keep keeps a datagram if it is a ClientHello (RFC 6347 section 4.3.1) and
// reports whether it did. One more from the same place takes the place of the
// last.
func (k *keyer) keep(p []byte, from netip.AddrPort) bool {
	const record, message = 22, 1 // handshake, client_hello
	if k.agreed != nil || k.closed || k.certificate == nil || len(p) < 14 || len(p) > maxEarlySize || p[0] != record || p[13] != message {
		return false
	}
	i := slices.IndexFunc(k.early, func(e earlyHello) bool { return e.from == from })
	switch {
	case i >= 0:
		k.early[i].datagram = append(k.early[i].datagram[:0], p...)
	case len(k.early) < maxEarly:
		k.early = append(k.early, earlyHello{from, slices.Clone(p)})
	default:
		return false
	}
	return true
}

// recall takes the hello that the peer sent too early, once it is known where the
// peer is.
func (t *transport) recall() {
	k := &t.keyer
	if len(k.early) == 0 || k.agreed == nil || k.agreed.role != dtls.Server || t.rtp.reach == unknown && !t.rtp.source.IsValid() {
		return
	}
	early := k.early
	k.early = nil
	for _, e := range early {
		if !t.fromPeer(e.from) {
			t.refused.strangers++
			continue
		}
		if t.begin(); k.association != nil {
			k.association.Deliver(e.datagram)
		}
	}
}

// checked puts ICE in the place of the latch; the agent is told to the peer.
func (t *transport) checked() *ice.Agent {
	if a := t.agent.Load(); a != nil {
		return a
	}
	a := ice.NewAgent()
	t.agent.Store(a)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rtp, t.rtcp = latch{}, latch{}
	t.aim()
	return a
}

// unchecked goes on without ICE, which the peer did not answer.
func (t *transport) unchecked() {
	t.agent.Store(nil)
}

// receiveCheck answers a connectivity check. It is called by the reader of the
// RTP socket.
func (t *transport) receiveCheck(p []byte, from netip.AddrPort) {
	a := t.agent.Load()
	if a == nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.refused.strangers++
		return
	}
	reply, nominated := a.Handle(p, from, t.reply[:0])
	if len(reply) > 0 {
		_, _ = t.pair.rtp.WriteToUDPAddrPort(reply, from)
	}
	if nominated {
		t.nominated(a)
	}
}

// nominated follows the pair that the peer chose. What is not from there is not
// from the peer, and media go nowhere else.
func (t *transport) nominated(a *ice.Agent) {
	at := a.Selected()
	if !at.IsValid() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rtp = latch{signalled: at, reach: direct, source: at, exact: true}
	t.aim()
	t.begin()
}

// receiveHandshake takes a datagram of DTLS, from the one place the peer may be.
func (t *transport) receiveHandshake(p []byte, from netip.AddrPort) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.keyer.keep(p, from) {
		return
	}
	if t.keyer.agreed == nil || !t.fromPeer(from) {
		t.refused.strangers++
		return
	}
	if t.begin(); t.keyer.association != nil {
		t.keyer.association.Deliver(p)
	}
}

// fromPeer reports whether a handshake may come from a source: the pair ICE
// selected; without ICE the source of the media once it is known, before that
// one that fits what was signalled, and then no other.
func (t *transport) fromPeer(from netip.AddrPort) bool {
	k := &t.keyer
	switch {
	case t.agent.Load() != nil, t.rtp.source.IsValid():
		return from == t.rtp.source
	case k.from.IsValid():
		return from == k.from
	case t.rtp.reach != natted && from == t.rtp.signalled,
		(t.rtp.reach == natted || t.rtp.reach == ambiguous) && from.Addr() == t.rtp.peer:
		k.from = from
		return true
	}
	return false
}

// agree applies what offer and answer say about DTLS. Until the keys are there
// nothing goes out or in; those of an association that is replaced serve until
// then.
func (t *transport) agree(h *handshake) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := &t.keyer
	if k.closed || k.agreed.equal(h) {
		return
	}
	k.end()
	if k.agreed == nil && h != nil { // media in the clear or under a=crypto until now
		t.in, t.secured = nil, true
		t.sending.Lock()
		t.outbound, t.sealed = nil, true
		t.sending.Unlock()
	}
	k.agreed, k.failures = h, 0
	if h == nil {
		k.early = nil
	}
	t.aim()
	t.call()
}

// retry begins an association that is ours to begin again, if the last one failed.
func (t *transport) retry() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.call()
}

// call begins an association that is ours to begin: as the client, or as soon as
// ICE says where the peer is.
func (t *transport) call() {
	if h := t.keyer.agreed; h != nil && (h.role == dtls.Client || t.agent.Load() != nil) {
		t.begin()
	}
	t.recall()
}

// answers is our setup in an answer: what the association has, if the peer leaves
// that to us.
func (t *transport) answers(offer dtls.Setup) dtls.Setup {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h := t.keyer.agreed; offer == dtls.Actpass && h != nil {
		return h.role.Setup()
	}
	return offer.Answer()
}

// begin starts the association when it is known where the peer is.
func (t *transport) begin() {
	k := &t.keyer
	if k.agreed == nil || k.association != nil || k.failures >= maxFailures || k.closed || k.certificate == nil || !t.place().IsValid() {
		return
	}
	k.number++
	n := k.number
	a, err := dtls.Start(context.Background(), dtls.Config{
		Certificate: k.certificate, Role: k.agreed.role, Remote: k.agreed.remote, Only256: k.agreed.only256,
		Verified: t.agent.Load() != nil, Send: t.sendHandshake,
		Done: func(keys dtls.Keys, err error) { t.established(n, keys, err) },
	})
	if err != nil {
		k.log.Warn("DTLS could not be started", "error", err)
		return
	}
	k.association = a
	k.running.Go(func() { <-a.Ended() })
}

// place is where handshakes go.
func (t *transport) place() netip.AddrPort {
	if t.keyer.from.IsValid() && t.agent.Load() == nil {
		return t.keyer.from
	}
	to := t.rtp.target()
	if to.Port() == 0 || to.Addr().IsUnspecified() {
		return netip.AddrPort{}
	}
	return to
}

// sendHandshake is called by the goroutines of an association.
func (t *transport) sendHandshake(p []byte) {
	t.mu.Lock()
	to := t.place()
	t.mu.Unlock()
	if to.IsValid() {
		_, _ = t.pair.rtp.WriteToUDPAddrPort(p, to)
	}
}

// established takes the keys of the n-th association.
func (t *transport) established(n int, keys dtls.Keys, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := &t.keyer
	if n != k.number || k.closed || k.agreed == nil {
		return
	}
	if err != nil {
		// A peer that tries again is heard again, if it is the client, a few times.
		k.failures++
		k.failure = err
		k.association, k.from = nil, netip.AddrPort{}
		k.log.Warn("media stay silent: no keys were made with the peer", "error", err)
		return
	}
	if k.from.IsValid() && t.agent.Load() == nil && !t.rtp.source.IsValid() {
		t.rtp.take(k.from) // it proved to be the peer
		t.aim()
	}
	suite, _ := srtp.ProfileSuite(uint16(keys.Profile))
	err = t.apply(protection{
		theirs: srtp.Key{Suite: suite, Master: keys.RemoteKey, Salt: keys.RemoteSalt},
		ours:   srtp.Key{Suite: suite, Master: keys.LocalKey, Salt: keys.LocalSalt},
	})
	if err != nil {
		k.log.Warn("keys made with the peer cannot be used", "error", err)
		return
	}
	k.made, k.failure = true, nil
	k.log.Debug("keys made with the peer", "profile", keys.Profile.String())
}

// end gives up the association, if there is one.
func (k *keyer) end() {
	if k.association != nil {
		k.association.Close()
	}
	k.association, k.from = nil, netip.AddrPort{}
	k.made, k.failure, k.since = false, nil, time.Now()
	k.number++
}

// unkeyed is why there are no keys with a peer that agreed on DTLS; nil while they
// are there or may still come. No peer is expected to be ready before a moment.
func (t *transport) unkeyed(ready time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := &t.keyer
	if ready.Before(k.since) {
		ready = k.since
	}
	switch {
	case k.agreed == nil || k.made || k.closed:
		return nil
	case k.failure != nil && k.association == nil: // or it tries again
		return k.failure
	case t.described && t.flows && time.Since(ready) > dtls.Timeout:
		return fmt.Errorf("peer made no handshake: %w", dtls.ErrTimeout)
	}
	return nil
}

// Unkeyed is why the audio of this leg cannot be protected: a DTLS handshake with
// its peer failed, or came to no end in its time, counted from ready. It is nil
// otherwise.
func (l *Leg) Unkeyed(ready time.Time) error { return l.streams[audio].Load().transport.unkeyed(ready) }

// shut ends what runs beside the readers.
func (t *transport) shut() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keyer.end()
	t.keyer.closed, t.keyer.early = true, nil
}
