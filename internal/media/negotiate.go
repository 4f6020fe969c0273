package media

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ownPayloads are what the engine offers by itself, and beside what a peer
// offers: it can convert them into each other.
func ownPayloads() []payload {
	return []payload{
		{8, codec{"PCMA", 8000, 1}},
		{0, codec{"PCMU", 8000, 1}},
		{9, codec{"G722", 8000, 1}},
		{107, codec{"OPUS", 48000, 2}},
		{101, codec{digits, 8000, 1}},
		{110, codec{digits, 48000, 1}},
	}
}

// ownLine is the audio stream of a description made by ourselves.
func ownLine(list []payload, d direction) *mediaLine {
	m := &mediaLine{kind: audio, media: "audio", port: 9, proto: "RTP/AVP", payloads: list, direction: d}
	for _, p := range list {
		m.describe(p)
	}
	return m
}

// describe adds the attributes of a payload type of ours.
func (m *mediaLine) describe(p payload) {
	name, format := p.codec.name, ""
	switch p.codec.name {
	case digits:
		name, format = "telephone-event", "0-16"
	case "OPUS":
		name, format = "opus", "minptime=10;useinbandfec=1" // RFC 7587 section 6.1
	}
	mapping := fmt.Sprintf("rtpmap:%d %s/%d", p.pt, name, p.codec.clock)
	if p.codec.channels > 1 {
		mapping += fmt.Sprintf("/%d", p.codec.channels)
	}
	m.attributes = append(m.attributes, parseAttribute(mapping))
	if format != "" {
		m.attributes = append(m.attributes, parseAttribute(fmt.Sprintf("fmtp:%d %s", p.pt, format)))
	}
}

// lawOf711 reports whether a codec is one of those of which every phone knows one,
// and that are converted into each other octet for octet.
func lawOf711(p payload) bool { return p.codec.name == "PCMA" || p.codec.name == "PCMU" }

// extras are the codecs an offer names beside those of the other side, because we
// can convert them: all, or only those that cost little if the peer is spared, or
// if it listed before what needs no more than that; it might prefer another now.
// more says that there would be more.
func extras(offer []payload, known *mediaLine, spare bool) (list []codec, more bool) {
	spare = spare && known == nil
	cheap := known != nil && (audible(common(offer, known.payloads)) ||
		slices.ContainsFunc(offer, lawOf711) && slices.ContainsFunc(known.payloads, lawOf711))
	for _, own := range ownPayloads() {
		is := func(p payload) bool { return p.codec == own.codec }
		switch {
		case !own.codec.speech() || slices.ContainsFunc(offer, is):
		case cheap && !(lawOf711(own) && slices.ContainsFunc(known.payloads, is)):
		case spare && !lawOf711(own):
			more = true
		default:
			list = append(list, own.codec)
		}
	}
	return list, more
}

// widen adds to what a peer offers the codecs that we can convert its own into,
// behind them: the other side will choose one of those if it can. known is what
// that side said before, or nil. Nothing is added to what we cannot convert, and
// digits for one who takes none only if we can hear them in its speech. beside is the whole description: streams that
// share a port have no number in common (RFC 9143 section 9.2). It reports whether
// the other side was spared some.
func (m *mediaLine) widen(beside *description, known *mediaLine, spare bool) (spared bool) {
	if !newPayloadTable(m.payloads).speaks {
		return false
	}
	dials := slices.ContainsFunc(m.payloads, func(p payload) bool { return p.codec.name == digits || hearable(p.codec) })
	speech, spared := extras(m.payloads, known, spare)
	m.payloads, m.attributes = slices.Clone(m.payloads), slices.Clone(m.attributes)
	for _, own := range ownPayloads() {
		if slices.ContainsFunc(m.payloads, func(p payload) bool { return p.codec == own.codec }) {
			continue
		}
		clocked := func(p payload) bool { return p.codec.speech() && p.codec.clock == own.codec.clock }
		if own.codec.speech() && !slices.Contains(speech, own.codec) ||
			own.codec.name == digits && !(dials && slices.ContainsFunc(m.payloads, clocked)) {
			continue
		}
		if own.pt >= 96 {
			own.pt = m.free(own.pt, beside)
		}
		if own.pt != 0 || !slices.ContainsFunc(m.payloads, func(p payload) bool { return p.pt == 0 }) {
			m.payloads = append(m.payloads, own)
			m.describe(own)
		}
	}
	return spared
}

// free is a dynamic payload type that no stream uses, the given one if it can
// be.
func (m *mediaLine) free(pt uint8, beside *description) uint8 {
	is := func(n uint8) func(payload) bool { return func(p payload) bool { return p.pt == n } }
	used := func(n uint8) bool {
		return slices.ContainsFunc(m.payloads, is(n)) || slices.ContainsFunc(beside.media, func(o mediaLine) bool {
			return slices.ContainsFunc(o.payloads, is(n))
		})
	}
	for n := range uint8(32) {
		if try := 96 + (pt-96+n)%32; !used(try) {
			return try
		}
	}
	return pt
}

// converted is what an offer is answered with when its codecs and those of the
// other side have none in common: the first that we can convert, and digits.
func converted(offer, other []payload) []payload {
	t := newPayloadTable(offer)
	if !t.speaks || !newPayloadTable(other).speaks {
		return nil
	}
	list := []payload{{t.sayType, t.say}}
	if pt, c := t.events(t.say.clock); c.clock != 0 {
		list = append(list, payload{pt, c})
	}
	return list
}

// withDigits lets an answer out of m take telephone-events that were offered,
// though the other party of m has none: we pass them on in the form it takes.
func withDigits(m *mediaLine, list, offer []payload) (*mediaLine, []payload) {
	is := func(p payload) bool { return p.codec.name == digits }
	t := newPayloadTable(list)
	pt, c := newPayloadTable(offer).events(t.say.clock)
	taken := slices.ContainsFunc(m.payloads, func(p payload) bool { return p.pt == pt })
	if !t.speaks || slices.ContainsFunc(list, is) || c.clock != t.say.clock || taken {
		return m, list
	}
	line, p := *m, payload{pt, c}
	line.attributes = slices.Clone(m.attributes)
	line.describe(p)
	return &line, append(slices.Clip(list), p)
}

// relayLine turns one peer's stream into ours towards the other: its codecs in
// its order and with its numbers, at our port. It keeps the payload types of
// list.
func relayLine(m *mediaLine, s slot, list []payload, port uint16, d direction) ourLine {
	line := ourLine{slot: s, port: port, payloads: list, direction: d}
	line.formats = nil
	if m.kind == fax {
		line.formats = m.formats
	}
	for _, p := range list {
		line.formats = append(line.formats, strconv.Itoa(int(p.pt)))
	}
	for _, w := range m.bandwidths {
		if validBandwidth(w) {
			line.bandwidths = append(line.bandwidths, w)
		}
	}
	for _, a := range m.attributes {
		pt := a.payloadType()
		feedback := a.name == "rtcp-fb"
		switch {
		case feedback && m.kind == audio && !withFeedback(s.proto): // RFC 4585 section 4
		case pt == "" && !feedback, pt == "*" && feedback, slices.Contains(line.formats, pt):
			line.attributes = append(line.attributes, a)
		}
	}
	return line
}

// hide leaves out what a peer beyond the edge is not to learn of the one m is
// of: its attributes and bandwidths of its own making.
func (m *mediaLine) hide() {
	m.attributes = slices.DeleteFunc(slices.Clone(m.attributes), func(a attribute) bool { return !a.public() })
}

// validBandwidth accepts "AS:64" (RFC 8866 section 5.8) and the other types that
// are registered (RFC 3890, RFC 3556).
func validBandwidth(w string) bool {
	name, value, _ := strings.Cut(w, ":")
	_, err := strconv.ParseUint(value, 10, 32)
	return err == nil && slices.Contains([]string{"AS", "CT", "TIAS", "RS", "RR"}, name)
}

// refuse turns a stream down (RFC 3264 section 6).
func refuse(s slot) ourLine {
	s.kind = kinds
	return ourLine{slot: s}
}

// common are the payload types of list whose codec the other side knows too.
func common(list, other []payload) []payload {
	var both []payload
	for _, p := range list {
		if slices.ContainsFunc(other, func(o payload) bool { return o.codec == p.codec }) {
			both = append(both, p)
		}
	}
	return both
}

// carries reports whether a line of an answer makes a call.
func carries(line ourLine) bool {
	return line.port != 0 && (line.kind == fax || line.kind == audio && audible(line.payloads))
}

// audible reports whether a stream with these payload types carries anything
// by itself.
func audible(list []payload) bool {
	return slices.ContainsFunc(list, func(p payload) bool { return p.codec.speech() })
}

// exchange is where the offer/answer exchange with a peer stands
// (RFC 3264 section 4).
type exchange int

const (
	stable exchange = iota
	offered
	answering // the peer offered
)

// wish is what a peer that answered wants of a stream, apart from what our
// offer allowed: an offer to the other side made out of an answer to its hold
// must let the hold end.
func wish(m *mediaLine, told direction) direction {
	d := m.flow()
	d.send = d.send || !told.recv
	d.recv = d.recv || !told.send && !m.held()
	return d
}
