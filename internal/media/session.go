package media

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"

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
	if l.port == 0 {
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
	if l.mux {
		b.WriteString("a=rtcp-mux\r\n")
	}
	if l.kind != fax { // pages have no direction, and old gateways no patience
		b.WriteString("a=" + l.direction.String() + "\r\n")
	}
}
