package media

import (
	"strconv"
	"strings"
)

// codec is an encoding as rtpmap names it (RFC 8866 section 6.6): two
// payload types mean the same when their codecs are equal.
type codec struct {
	name     string // upper case
	clock    uint32 // Hz
	channels int
}

// speech reports whether the codec carries the medium itself, and not digits
// or comfort noise beside it.
func (c codec) speech() bool { return c.name != digits && c.name != "CN" }

// digits is the name of telephone-events (RFC 4733).
const digits = "TELEPHONE-EVENT"

// payload is one payload type of a media description.
type payload struct {
	pt    uint8
	codec codec
}

// staticCodec is the codec that RFC 3551 table 4 and 5 give to a payload type
// without rtpmap. The clock of G.722 is 8000 by an old mistake
// (RFC 3551 section 4.5.2).
func staticCodec(pt uint8) (codec, bool) {
	switch pt {
	case 0:
		return codec{"PCMU", 8000, 1}, true
	case 3:
		return codec{"GSM", 8000, 1}, true
	case 4:
		return codec{"G723", 8000, 1}, true
	case 5:
		return codec{"DVI4", 8000, 1}, true
	case 6:
		return codec{"DVI4", 16000, 1}, true
	case 7:
		return codec{"LPC", 8000, 1}, true
	case 8:
		return codec{"PCMA", 8000, 1}, true
	case 9:
		return codec{"G722", 8000, 1}, true
	case 10:
		return codec{"L16", 44100, 2}, true
	case 11:
		return codec{"L16", 44100, 1}, true
	case 12:
		return codec{"QCELP", 8000, 1}, true
	case 13:
		return codec{"CN", 8000, 1}, true
	case 15:
		return codec{"G728", 8000, 1}, true
	case 18:
		return codec{"G729", 8000, 1}, true
	case 26:
		return codec{"JPEG", 90000, 1}, true
	case 31:
		return codec{"H261", 90000, 1}, true
	case 32:
		return codec{"MPV", 90000, 1}, true
	case 34:
		return codec{"H263", 90000, 1}, true
	}
	return codec{}, false
}

// parseRTPMap reads the value of an rtpmap attribute, "101 telephone-event/8000".
func parseRTPMap(value string) (uint8, codec, bool) {
	number, encoding, ok := strings.Cut(value, " ")
	pt, err := strconv.ParseUint(number, 10, 7)
	if !ok || err != nil {
		return 0, codec{}, false
	}
	parts := strings.Split(strings.TrimSpace(encoding), "/")
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" {
		return 0, codec{}, false
	}
	clock, err := strconv.ParseUint(parts[1], 10, 32)
	if err != nil || clock == 0 {
		return 0, codec{}, false
	}
	c := codec{name: strings.ToUpper(parts[0]), clock: uint32(clock), channels: 1}
	if len(parts) == 3 {
		if c.channels, err = strconv.Atoi(parts[2]); err != nil || c.channels < 1 {
			return 0, codec{}, false
		}
	}
	return uint8(pt), c, true
}

// payloadTable answers, for every packet, what its payload type means. It is
// immutable.
type payloadTable struct {
	index   [128]uint8 // 1 + index into codecs; 0 is not signalled
	codecs  []codec
	numbers []uint8 // payload type by index into codecs

	speaks  bool // there is a codec that we can encode
	say     codec
	sayType uint8
}

// newPayloadTable joins what both sides of a leg signalled: RFC 3264 section
// 5.1 lets each choose its numbers, and phones send either. The first list
// wins where they differ.
func newPayloadTable(lists ...[]payload) *payloadTable {
	t := &payloadTable{}
	for _, list := range lists {
		for _, p := range list {
			if t.index[p.pt] == 0 && len(t.codecs) < 255 {
				t.codecs = append(t.codecs, p.codec)
				t.numbers = append(t.numbers, p.pt)
				t.index[p.pt] = uint8(len(t.codecs))
			}
			if _, ok := transcodable(p.codec); ok && !t.speaks {
				t.speaks, t.say, t.sayType = true, p.codec, p.pt
			}
		}
	}
	return t
}

// lookup finds the codec of a payload type.
func (t *payloadTable) lookup(pt uint8) (codec, bool) {
	if t == nil || t.index[pt&0x7f] == 0 {
		return codec{}, false
	}
	return t.codecs[t.index[pt&0x7f]-1], true
}

// number is the payload type for a codec: the given one if it means that codec,
// else the first that does.
func (t *payloadTable) number(pt uint8, c codec) (uint8, bool) {
	if have, ok := t.lookup(pt); ok && have == c {
		return pt, true
	}
	if t == nil {
		return 0, false
	}
	for i, have := range t.codecs {
		if have == c {
			return t.numbers[i], true
		}
	}
	return 0, false
}
