package media

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"ringfence/internal/media/srtp"
)

// Bounds of what a peer may send.
const (
	maxDescription = 32 << 10 // bytes
	maxLine        = 2 << 10
	maxMedia       = 16 // m= lines
	maxPayloads    = 64 // formats of an m= line
	maxBandwidths  = 8
)

// description is what a peer said about its media: a session description
// (RFC 8866), reduced to what matters to a relay. It is immutable.
//
// The parser is our own because phones break the grammar daily: lines out of
// order, missing s= or t=, no line end at the end, media types a strict parser
// refuses together with the good ones beside them.
type description struct {
	media  []mediaLine
	bundle []string   // mids of the group that shares a transport
	by     [kinds]int // index of the stream that is relayed, -1 for none
}

// mediaLine is one m= section.
type mediaLine struct {
	kind       kind
	media      string // as written, for a kind we do not know
	port       uint16
	proto      string
	formats    []string // as written
	payloads   []payload
	attributes []attribute
	bandwidths []string
	direction  direction
	connection netip.Addr // zero when absent or not an IP address
	rtcpPort   uint16
	rtcpMux    bool
	cryptos    []srtp.Crypto // those we support, in the peer's order
	keying
	iceLite    bool
	mid        string
	bundleOnly bool // RFC 9143 section 6: there is no port because there is no need
}

// rtpAddr and rtcpAddr are where the peer wants its media and its reports. A
// reports' address other than the media's (RFC 3605) is not followed.
func (m *mediaLine) rtpAddr() netip.AddrPort  { return netip.AddrPortFrom(m.connection, m.port) }
func (m *mediaLine) rtcpAddr() netip.AddrPort { return netip.AddrPortFrom(m.connection, m.rtcpPort) }

// relayed reports whether the engine can carry the stream.
func (m *mediaLine) relayed() bool {
	switch {
	case m.port == 0 && !m.bundleOnly || m.kind == kinds:
		return false
	case m.kind == fax:
		return strings.EqualFold(m.proto, "udptl") && slices.ContainsFunc(m.formats, isT38)
	}
	return len(m.payloads) > 0 && rtpProfile(m.proto)
}

// isT38 finds the only format of UDPTL (ITU-T T.38 annex D.2.3).
func isT38(format string) bool { return strings.EqualFold(format, "t38") }

// rtpProfile reports whether we speak a transport protocol.
func rtpProfile(proto string) bool {
	return proto == "RTP/AVP" || proto == "RTP/AVPF" || secureRTP(proto) || overDTLS(proto)
}

// held reports the hold of RFC 2543: c=0.0.0.0 (RFC 3264 section 8.4). With ICE
// that is how a peer says that it has no candidate yet (RFC 8840 section 4.1.1).
func (m *mediaLine) held() bool {
	return m.connection.IsValid() && m.connection.IsUnspecified() && !m.speaksICE()
}

// flow is the direction with that old hold taken into account: media must not
// be sent to the null address.
func (m *mediaLine) flow() direction {
	if m.held() {
		return direction{send: m.direction.send}
	}
	return m.direction
}

// usable reports whether a call can be made of it.
func (d *description) usable() bool { return d.by[audio] >= 0 || d.by[fax] >= 0 }

// stream finds the relayed stream of a kind, nil if there is none.
func (d *description) stream(k kind) *mediaLine {
	if d == nil || d.by[k] < 0 {
		return nil
	}
	return &d.media[d.by[k]]
}

// parseDescription reads a session description. Every error wraps
// ErrNotAcceptable.
func parseDescription(body []byte) (*description, error) {
	if len(body) > maxDescription {
		return nil, fmt.Errorf("reading session description of %d bytes: %w", len(body), ErrNotAcceptable)
	}
	p := descriptionParser{direction: direction{true, true}}
	for line := range strings.FieldsFuncSeq(string(body), func(r rune) bool { return r == '\r' || r == '\n' }) {
		if err := p.line(line); err != nil {
			return nil, fmt.Errorf("reading session description: %s: %w", err, ErrNotAcceptable)
		}
	}
	if !p.version {
		return nil, fmt.Errorf("reading session description: no v= line: %w", ErrNotAcceptable)
	}
	return p.finish(), nil
}

// descriptionParser collects session level values until they are applied to
// the media that have none of their own.
type descriptionParser struct {
	version    bool
	connection netip.Addr
	direction  direction
	keying     keying
	iceLite    bool
	bundle     []string
	media      []mediaLine
	sections   []sectionState
}

// sectionState says which values an m= section has set itself.
type sectionState struct {
	connection, direction bool
	rtpmap                map[uint8]codec
}

func (p *descriptionParser) line(line string) error {
	if len(line) < 2 || line[1] != '=' || len(line) > maxLine || !printable(line) {
		return nil // not of the grammar: nothing depends on it
	}
	value := strings.TrimSpace(line[2:])
	if line[0] != 'v' && !p.version {
		return fmt.Errorf("begins with %c=", line[0])
	}
	switch line[0] {
	case 'v':
		p.version = true
	case 'c':
		p.connectionLine(value)
	case 'm':
		return p.mediaLine(value)
	case 'b':
		if n := len(p.media); n > 0 && len(p.media[n-1].bandwidths) < maxBandwidths {
			p.media[n-1].bandwidths = append(p.media[n-1].bandwidths, value)
		}
	case 'a':
		p.attributeLine(parseAttribute(value))
	}
	return nil
}

// printable refuses control bytes: what is relayed must stay one line.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

func (p *descriptionParser) connectionLine(value string) {
	fields := strings.Fields(value)
	var addr netip.Addr
	if len(fields) >= 3 && fields[0] == "IN" {
		text, _, _ := strings.Cut(fields[2], "/")
		addr, _ = netip.ParseAddr(text) // a host name stays unknown: no DNS in the call path
		addr = addr.Unmap().WithZone("")
	}
	if n := len(p.media); n > 0 {
		p.media[n-1].connection, p.sections[n-1].connection = addr, true
		return
	}
	p.connection = addr
}

func (p *descriptionParser) mediaLine(value string) error {
	fields := strings.Fields(value)
	if len(fields) < 3 || len(p.media) == maxMedia {
		return fmt.Errorf("media line %d is malformed or one too many", len(p.media)+1)
	}
	portText, _, _ := strings.Cut(fields[1], "/")
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || !token(fields[0]) || !token(strings.ReplaceAll(fields[2], "/", "")) {
		return fmt.Errorf("media line %d is malformed", len(p.media)+1)
	}
	m := mediaLine{kind: kinds, media: fields[0], port: uint16(port), proto: fields[2]}
	switch fields[0] {
	case "audio":
		m.kind = audio
	case "video":
		m.kind = video
	case "image":
		m.kind = fax
	}
	for _, f := range fields[3:min(len(fields), 3+maxPayloads)] {
		if token(f) {
			m.formats = append(m.formats, f)
		}
	}
	p.media = append(p.media, m)
	p.sections = append(p.sections, sectionState{rtpmap: map[uint8]codec{}})
	return nil
}

// token is the token of RFC 8866 section 9, bounded.
func token(s string) bool {
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]`, r)
	})
}

func (p *descriptionParser) attributeLine(a attribute) {
	n := len(p.media) - 1
	if d, ok := parseDirection(a.name); ok && a.flag {
		if n < 0 {
			p.direction = d
		} else {
			p.media[n].direction, p.sections[n].direction = d, true
		}
		return
	}
	if n < 0 {
		p.sessionAttribute(a)
		return
	}
	m := &p.media[n]
	m.keying.attribute(a)
	switch a.name {
	case "rtpmap":
		if pt, c, ok := parseRTPMap(a.value); ok {
			p.sections[n].rtpmap[pt] = c
		}
	case "rtcp":
		m.rtcpPort = parseRTCP(a.value)
	case "rtcp-mux":
		m.rtcpMux = true
	case "mid":
		if token(a.value) {
			m.mid = a.value
		}
	case "bundle-only":
		m.bundleOnly = true
	case "crypto":
		if c, err := srtp.ParseCrypto(a.value); err == nil && len(m.cryptos) < maxCryptos {
			m.cryptos = append(m.cryptos, c)
		}
	}
	if a.relayed() {
		m.attributes = append(m.attributes, a)
	}
}

// sessionAttribute takes what is said once for all streams.
func (p *descriptionParser) sessionAttribute(a attribute) {
	switch p.keying.attribute(a); a.name {
	case "ice-lite":
		p.iceLite = true
	case "group":
		if p.bundle == nil {
			p.bundle = parseBundle(a.value)
		}
	}
}

// parseRTCP reads the port of "53020 IN IP4 126.16.64.4" (RFC 3605).
func parseRTCP(value string) uint16 {
	text, _, _ := strings.Cut(value, " ")
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0
	}
	return uint16(n)
}

// finish applies the session level and picks the streams to relay.
func (p *descriptionParser) finish() *description {
	d := &description{media: p.media, bundle: p.bundle, by: [kinds]int{-1, -1, -1}}
	for i := range d.media {
		m := &d.media[i]
		if !p.sections[i].connection {
			m.connection = p.connection
		}
		if !p.sections[i].direction {
			m.direction = p.direction
		}
		if m.rtcpPort == 0 {
			m.rtcpPort = m.port + 1
		}
		m.iceLite = p.iceLite
		m.inherit(p.keying)
		if rtpProfile(m.proto) {
			m.payloads = payloads(m.formats, p.sections[i].rtpmap)
		}
		if m.relayed() && d.by[m.kind] < 0 {
			d.by[m.kind] = i
		}
	}
	return d
}

// payloads resolves the formats of an RTP stream; one that nobody explained
// cannot be used.
func payloads(formats []string, rtpmap map[uint8]codec) []payload {
	var list []payload
	for _, f := range formats {
		n, err := strconv.ParseUint(f, 10, 7)
		if err != nil {
			continue
		}
		pt := uint8(n)
		c, ok := rtpmap[pt]
		if !ok {
			c, ok = staticCodec(pt)
		}
		if ok && !slices.ContainsFunc(list, func(p payload) bool { return p.pt == pt }) {
			list = append(list, payload{pt, c})
		}
	}
	return list
}
