package media

import (
	"errors"
	"fmt"
	"strings"

	"ringfence/internal/media/srtp"
	"ringfence/internal/telephony"
)

// maxCryptos bounds the a=crypto lines of an m= section.
const maxCryptos = 16

// ErrInsecure says that a peer does not protect its media as its policy
// demands, or only in ways we do not have; 488 with a Warning that says so.
var ErrInsecure = fmt.Errorf("media are not protected as required: %w", ErrNotAcceptable)

// protection is the keys of a stream's two directions. The zero value is media
// in the clear.
type protection struct{ theirs, ours srtp.Key }

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

// choose picks what to take of a line the peer offered: a crypto line, or none
// for media in the clear. Lines of RTP/AVP may carry crypto lines as well
// (RFC 8643).
func choose(m *mediaLine, policy telephony.MediaSecurity) (srtp.Crypto, error) {
	if policy != telephony.SecurityOff {
		if c, ok := srtp.Choose(m.cryptos, leastBits(policy)); ok {
			return c, nil
		}
	}
	switch {
	case m.kind == fax && policy.Required():
		return srtp.Crypto{}, fmt.Errorf("fax over %s has no protection: %w", m.proto, ErrInsecure)
	case policy == telephony.SecurityOff && secureRTP(m.proto):
		return srtp.Crypto{}, fmt.Errorf("%s offered, media security is off: %w", m.proto, ErrInsecure)
	case secureRTP(m.proto), policy.Required():
		return srtp.Crypto{}, fmt.Errorf("%s offered with %s: %w", m.proto, suitesOf(m.cryptos), ErrInsecure)
	}
	return srtp.Crypto{}, nil
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
// and the suites.
func (l *Leg) wares(feedback bool) (proto string, suites []srtp.Suite) {
	proto = "RTP/AVP"
	if l.params.Security.Required() {
		proto = "RTP/SAVP"
	}
	if feedback {
		proto += "F"
	}
	if l.params.Security == telephony.SecurityOff {
		return proto, nil
	}
	for _, s := range srtp.Offered() {
		if s.Bits() >= leastBits(l.params.Security) {
			suites = append(suites, s)
		}
	}
	return proto, suites
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

// agreed reads the peer's answer to our crypto lines (RFC 4568 section 5.1.3).
func (l *Leg) agreed(k kind, m *mediaLine) (protection, error) {
	offered := l.offeredKeys[k]
	for _, c := range m.cryptos {
		for _, o := range offered {
			if o.Tag == c.Tag && o.Key.Suite == c.Key.Suite {
				return protection{theirs: c.Key, ours: o.Key}, nil
			}
		}
	}
	if secureRTP(m.proto) || l.params.Security.Required() {
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
		case l.offerer && len(m.cryptos) == 1:
			// Another answer to the same offer, of another phone that the INVITE
			// was forked to (RFC 3261 section 13.2.2.4); or an offer.
			if all[k], err = l.agreed(k, m); err == nil && all[k].theirs.Suite != srtp.None {
				break
			}
			fallthrough
		default:
			all[k] = l.protected[k]
			_, err = choose(m, l.params.Security)
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
	for k := range kinds {
		if s := l.streams[k].Load(); s != nil {
			errs = append(errs, s.transport.protect(all[k]))
		}
	}
	l.protected = all
	return errors.Join(errs...)
}
