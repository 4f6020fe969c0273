package media

import (
	"errors"
	"fmt"
	"strings"

	"ringfence/internal/media/dtls"
	"ringfence/internal/media/srtp"
	"ringfence/internal/telephony"
)

// maxCryptos bounds the a=crypto lines of an m= section.
const maxCryptos = 16

// ErrInsecure says that a peer does not protect its media as its policy
// demands, or only in ways we do not have; 488 with a Warning that says so.
var ErrInsecure = fmt.Errorf("media are not protected as required: %w", ErrNotAcceptable)

// protection is the keys of a stream's two directions, or the handshake that is
// to make them. The zero value is media in the clear.
type protection struct {
	theirs, ours srtp.Key
	handshake    *handshake
}

// secureRTP reports whether a transport protocol demands SRTP by a=crypto
// (RFC 4568 section 3.1).
func secureRTP(proto string) bool { return proto == "RTP/SAVP" || proto == "RTP/SAVPF" }

// withFeedback reports whether a protocol is a profile with early feedback
// (RFC 4585, RFC 5124).
func withFeedback(proto string) bool { return strings.HasSuffix(proto, "AVPF") }

// leastBits is the key length a policy demands.
func leastBits(policy telephony.MediaSecurity) int {
	switch policy {
	case telephony.SecurityRequire256:
		return 256
	case telephony.SecurityRequire:
		return 128
	}
	return 0
}

// choose picks what to take of a line the peer offered: a crypto line, a
// handshake, or neither for media in the clear. Lines of RTP/AVP may carry
// crypto lines and fingerprints as well (RFC 8643).
func (l *Leg) choose(m *mediaLine) (c srtp.Crypto, shake bool, err error) {
	policy := l.policy()
	if policy != telephony.SecurityOff && !overDTLS(m.proto) {
		if c, ok := srtp.Choose(m.cryptos, leastBits(policy)); ok {
			return c, false, nil
		}
	}
	shake = policy != telephony.SecurityOff && l.handshakes(m)
	switch {
	case m.kind == fax && policy.Required():
		err = fmt.Errorf("fax over %s has no protection: %w", m.proto, ErrInsecure)
	case shake:
		return srtp.Crypto{}, true, nil
	case policy == telephony.SecurityOff && (secureRTP(m.proto) || overDTLS(m.proto)):
		err = fmt.Errorf("%s offered, media security is off: %w", m.proto, ErrInsecure)
	case overDTLS(m.proto):
		err = fmt.Errorf("%s offered with no fingerprint we take: %w", m.proto, ErrInsecure)
	case secureRTP(m.proto), policy.Required():
		err = fmt.Errorf("%s offered with %s: %w", m.proto, suitesOf(m.cryptos), ErrInsecure)
	}
	return srtp.Crypto{}, false, err
}

// policy is the leg's; a browser knows no media in the clear.
func (l *Leg) policy() telephony.MediaSecurity {
	if l.params.Browser && l.params.Security == telephony.SecurityOff {
		return telephony.SecurityOffer
	}
	return l.params.Security
}

// handshakes reports whether keys can be made with the peer by DTLS.
func (l *Leg) handshakes(m *mediaLine) bool {
	return m.kind != fax && len(m.fingerprints) > 0 && l.call.certificate != nil
}

// handshake is what was agreed on with a peer's description, in our role.
func (l *Leg) handshake(m *mediaLine, role dtls.Role) *handshake {
	return &handshake{role: role, remote: dtls.Strongest(m.fingerprints), only256: l.policy() == telephony.SecurityRequire256}
}

func suitesOf(cryptos []srtp.Crypto) string {
	if len(cryptos) == 0 {
		return "no suite we know"
	}
	var names []string
	for _, c := range cryptos {
		names = append(names, c.Key.Suite.String())
	}
	return strings.Join(names, ", ")
}

// wares is what a leg offers on a stream that is new: the protocol by policy,
// the suites, and whether keys may be made by DTLS.
func (l *Leg) wares(feedback bool) (proto string, suites []srtp.Suite, shake bool) {
	shake = l.call.certificate != nil
	policy := l.policy()
	if l.params.Browser && shake { // RFC 8827 section 6.5
		return "UDP/TLS/RTP/SAVPF", nil, true
	}
	proto = "RTP/AVP"
	if l.insists || policy.Required() {
		proto = "RTP/SAVP"
	}
	if feedback {
		proto += "F"
	}
	if policy == telephony.SecurityOff {
		return proto, nil, false
	}
	for _, s := range srtp.Offered() {
		if s.Bits() >= leastBits(policy) {
			suites = append(suites, s)
		}
	}
	return proto, suites, shake && !secureRTP(proto) // RFC 8643 has both beside RTP/AVP only
}

// Insist makes the first offer of a leg one of RTP/SAVP where policy would offer
// RTP/AVP: there are phones that refuse media which need not be protected instead
// of protecting them (RFC 8643 section 4). It reports whether that is stricter.
func (l *Leg) Insist() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.insists = !l.params.Browser && !l.policy().Required() && l.policy() != telephony.SecurityOff
	return l.insists
}

// key is ours for a suite: the same as long as the stream lives, so that no
// re-INVITE makes a peer change contexts.
func (l *Leg) key(k kind, s srtp.Suite) srtp.Key {
	if l.keys[k] == nil {
		l.keys[k] = make(map[srtp.Suite]srtp.Key)
	}
	key, ok := l.keys[k][s]
	if !ok {
		key = srtp.NewKey(s)
		l.keys[k][s] = key
	}
	return key
}

// offerKeys are the crypto lines of an offer: what is in use already, or all
// that a new stream may have.
func (l *Leg) offerKeys(k kind, fresh bool, suites []srtp.Suite) []srtp.Crypto {
	if k == fax {
		return nil
	}
	if !fresh {
		suites = nil
		if s := l.protected[k].ours.Suite; s != srtp.None {
			suites = []srtp.Suite{s}
		}
	}
	var list []srtp.Crypto
	for i, s := range suites {
		list = append(list, srtp.Crypto{Tag: i + 1, Key: l.key(k, s)})
	}
	return list
}

// agreed reads the peer's answer to our crypto lines (RFC 4568 section 5.1.3)
// or our fingerprint (RFC 5763 section 5).
func (l *Leg) agreed(k kind, m *mediaLine) (protection, error) {
	offered := l.offeredKeys[k]
	for _, c := range m.cryptos {
		for _, o := range offered {
			if o.Tag == c.Tag && o.Key.Suite == c.Key.Suite {
				return protection{theirs: c.Key, ours: o.Key}, nil
			}
		}
	}
	if l.offeredShake[k] && l.handshakes(m) {
		return protection{handshake: l.handshake(m, m.role())}, nil
	}
	if secureRTP(m.proto) || overDTLS(m.proto) || l.policy().Required() {
		return protection{}, fmt.Errorf("%s answered with %s: %w", m.proto, suitesOf(m.cryptos), ErrInsecure)
	}
	return protection{}, nil
}

// examine checks what a description says about protection before anything of
// it is taken. Video that does not fit is refused, the call goes on.
func (l *Leg) examine(d *description) ([kinds]protection, error) {
	var all [kinds]protection
	for k := range kinds {
		m := d.stream(k)
		if m == nil {
			continue
		}
		var err error
		switch {
		case l.exchange == offered:
			all[k], err = l.agreed(k, m)
		case l.offerer && (len(m.cryptos) == 1 || m.setup == dtls.Active || m.setup == dtls.Passive):
			// Another answer to the same offer, of another phone that the INVITE
			// was forked to (RFC 3261 section 13.2.2.4); or an offer.
			if all[k], err = l.agreed(k, m); err == nil && (all[k].theirs.Suite != srtp.None || all[k].handshake != nil) {
				break
			}
			fallthrough
		default:
			all[k] = l.protected[k]
			_, _, err = l.choose(m)
		}
		switch {
		case err != nil && (k == audio || d.by[audio] < 0):
			return all, err
		case err != nil:
			d.by[k] = -1
		}
	}
	return all, nil
}

// protect applies keys to the streams.
func (l *Leg) protect(all [kinds]protection) error {
	var errs []error
	for k, t := range l.transports() {
		errs = append(errs, t.protect(all[k]))
	}
	l.protected = all
	return errors.Join(errs...)
}
