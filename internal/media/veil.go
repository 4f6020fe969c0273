package media

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
)

// RTCP packet types (RFC 3550 section 12.1) and items of a source description
// (section 12.2).
const (
	rtcpSDES, rtcpBYE, rtcpAPP = 202, 203, 204
	sdesCNAME, sdesNOTE        = 1, 7
)

// veil hides what the reports of one peer say in words before the other gets
// them: a CNAME is user@host as a rule (RFC 3550 section 6.5.1), which tells
// inner addresses. The same words become the same stand-in, so that streams of
// one source stay recognisable.
type veil struct{ key [sha256.Size]byte }

func newVeil() *veil {
	v := &veil{}
	rand.Read(v.key[:])
	return v
}

// compound hides the words in a compound of reports, in place, and returns it
// without what follows the last whole packet.
func (v *veil) compound(p []byte) []byte {
	rest := p
	for len(rest) >= 4 && rest[0]>>6 == 2 {
		n := 4*int(binary.BigEndian.Uint16(rest[2:])) + 4
		if n > len(rest) {
			break
		}
		v.packet(rest[:n])
		rest = rest[n:]
	}
	return p[:len(p)-len(rest)]
}

func (v *veil) packet(p []byte) {
	count := int(p[0] & 0x1f)
	switch p[1] {
	case rtcpSDES:
		rest := p[4:]
		for range count {
			rest = v.chunk(rest)
		}
	case rtcpBYE:
		if at := 4 + 4*count; at < len(p) && at+1+int(p[at]) <= len(p) {
			v.words(p[at+1 : at+1+int(p[at])])
		}
	case rtcpAPP:
		if end := len(p) - 4; end > 12 { // the last word may count padding
			clear(p[12:end])
		}
	}
}

// chunk hides the items of one source and returns the chunks after it.
func (v *veil) chunk(p []byte) []byte {
	at := 4 // its SSRC
	for at+1 < len(p) && p[at] != 0 {
		end := at + 2 + int(p[at+1])
		if end > len(p) {
			clear(p[at:])
			return nil
		}
		if p[at] != sdesCNAME {
			p[at] = sdesNOTE // a PRIV has a form of its own
		}
		v.words(p[at+2 : end])
		at = end
	}
	return p[min((at+4)&^3, len(p)):] // the items end with at least one zero
}

// words puts a stand-in of the same length in the place of b.
func (v *veil) words(b []byte) {
	var in [sha256.Size + 255]byte
	copy(in[:], v.key[:])
	sum := sha256.Sum256(in[:sha256.Size+copy(in[sha256.Size:], b)])
	for i := range b {
		b[i] = "abcdefghijklmnopqrstuvwxyz234567"[sum[i%len(sum)]&31]
	}
}
