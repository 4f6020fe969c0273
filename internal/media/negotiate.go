package media

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ownPayloads are what the engine offers by itself.
func ownPayloads() []payload {
	return []payload{
		{8, codec{"PCMA", 8000, 1}},
		{0, codec{"PCMU", 8000, 1}},
		{9, codec{"G722", 8000, 1}},
		{101, codec{"TELEPHONE-EVENT", 8000, 1}},
	}
}

// ownLine is the audio stream of a description made by ourselves.
func ownLine(list []payload, d direction) *mediaLine {
	m := &mediaLine{kind: audio, media: "audio", port: 9, proto: "RTP/AVP", payloads: list, direction: d}
	for _, p := range list {
		name := p.codec.name
		if !p.codec.speech() {
			name = "telephone-event"
		}
		m.attributes = append(m.attributes, parseAttribute(fmt.Sprintf("rtpmap:%d %s/%d", p.pt, name, p.codec.clock)))
		if !p.codec.speech() {
			m.attributes = append(m.attributes, parseAttribute(fmt.Sprintf("fmtp:%d 0-16", p.pt)))
		}
	}
	return m
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
