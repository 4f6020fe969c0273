package media

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"ringfence/internal/media/dtls"
	"ringfence/internal/media/ice"
	"ringfence/internal/media/srtp"
)

// session is what we told a leg's peer: the o= line's identity and the m=
// lines in their order, which no later description may change
// (RFC 3264 section 8).
type session struct {
	id      uint64
	version uint64
	body    string // after the o= line, as last sent
	slots   []slot
}

// slot is one m= line of the session.
type slot struct {
	kind    kind // kinds: refused for good
	media   string
	proto   string
	formats []string
	mid     string // RFC 5888; empty for none
}

// newSession picks the session id. It fits 31 bits: some phones keep no more.
func newSession() session { return session{id: uint64(1_000_000_000 + rand.Uint32N(1_000_000_000))} }

// ourLine is an m= section of ours.
type ourLine struct {
	slot
	port       uint16 // 0 refuses the stream
	payloads   []payload
	bandwidths []string
	attributes []attribute
	direction  direction
	cryptos    []srtp.Crypto
	mux        bool
	protection protection // that an answer agreed on

	setup       dtls.Setup // empty is no DTLS
	fingerprint dtls.Fingerprint
	ice         ice.Credentials // zero is no ICE
	candidate   netip.AddrPort
	bundle      bool // shares the transport of the group
	bundleOnly  bool // and has no port of its own
}

// used reports whether the line carries media.
func (l *ourLine) used() bool { return l.port != 0 || l.bundleOnly }

// freshMid is an identification for the i-th line that no other has.
func (s *session) freshMid(i int) string {
	for n := i; ; n++ {
		mid := strconv.Itoa(n)
		if !slices.ContainsFunc(s.slots, func(o slot) bool { return o.mid == mid }) {
			return mid
		}
	}
}

// writeShared writes what is said once for all lines: which share a transport
// (RFC 9143 section 7.3), and that our ICE is lite (RFC 8839 section 5.3).
func writeShared(b *strings.Builder, lines []ourLine) {
	var mids []string
	lite := false
	for i := range lines {
		if l := &lines[i]; l.used() {
			lite = lite || l.ice != ice.Credentials{}
			if l.bundle {
				mids = append(mids, l.mid)
			}
		}
	}
	if len(mids) > 0 {
		b.WriteString("a=group:BUNDLE " + strings.Join(mids, " ") + "\r\n")
	}
	if lite {
		b.WriteString("a=ice-lite\r\n")
	}
}

// render writes the session description. The version grows by one when, and
// only when, it says something else than the last one (RFC 3264 section 8).
func (s *session) render(advertised netip.Addr, lines []ourLine) []byte {
	family := "IP6"
	if advertised.Is4() {
		family = "IP4"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "s=-\r\nc=IN %s %s\r\nt=0 0\r\n", family, advertised)
	writeShared(&b, lines)
	s.slots = s.slots[:0:0]
	for i := range lines {
		lines[i].write(&b)
		s.slots = append(s.slots, lines[i].slot)
	}
	if body := b.String(); body != s.body {
		s.version++
		s.body = body
	}
	return fmt.Appendf(nil, "v=0\r\no=- %d %d IN %s %s\r\n%s", s.id, s.version, family, advertised, s.body)
}

func (l *ourLine) write(b *strings.Builder) {
	fmt.Fprintf(b, "m=%s %d %s", l.media, l.port, l.proto)
	if len(l.formats) == 0 {
		b.WriteString(" 0") // the grammar wants one
	}
	for _, f := range l.formats {
		b.WriteString(" " + f)
	}
	b.WriteString("\r\n")
	if l.mid != "" {
		b.WriteString("a=mid:" + l.mid + "\r\n")
	}
	if !l.used() {
		return
	}
	for _, w := range l.bandwidths {
		b.WriteString("b=" + w + "\r\n")
	}
	for _, a := range l.attributes {
		b.WriteString("a=" + a.String() + "\r\n")
	}
	for _, c := range l.cryptos {
		b.WriteString("a=crypto:" + c.String() + "\r\n")
	}
	l.writeTransport(b)
	if l.mux {
		b.WriteString("a=rtcp-mux\r\n")
	}
	if l.kind != fax { // pages have no direction, and old gateways no patience
		b.WriteString("a=" + l.direction.String() + "\r\n")
	}
}

// writeTransport writes the attributes of DTLS and ICE.
func (l *ourLine) writeTransport(b *strings.Builder) {
	if l.bundleOnly {
		b.WriteString("a=bundle-only\r\n")
	}
	if l.setup != "" {
		fmt.Fprintf(b, "a=fingerprint:%s\r\na=setup:%s\r\n", l.fingerprint, l.setup)
	}
	if (l.ice != ice.Credentials{}) {
		fmt.Fprintf(b, "a=ice-ufrag:%s\r\na=ice-pwd:%s\r\n", l.ice.Ufrag, l.ice.Pwd)
		fmt.Fprintf(b, "a=candidate:%s\r\na=end-of-candidates\r\n", ice.Candidate(ice.RTP, l.candidate))
	}
}
