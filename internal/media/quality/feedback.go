package quality

import "encoding/binary"

// Formats of feedback that is passed on (RFC 4585 sections 6.2.1 and 6.3.1,
// RFC 5104 section 4.3.1; REMB is an application layer feedback).
const (
	formatNACK = 1
	formatPLI  = 1
	formatFIR  = 4
	formatAFB  = 15
	remb       = 0x52454d42
)

// maxEntries bounds the entries of one feedback that are passed on.
const maxEntries = 64

// Mapping is how the stream that a peer got from us relates to the one we got
// from its source.
type Mapping struct {
	Sender   uint32 // who we are to the source
	Ours     uint32 // SSRC that the peer got
	Source   uint32 // SSRC that we got
	Sequence uint16 // what was added to its sequence numbers
}

// AppendFeedback appends what a peer asks of the source of its media, in the
// source's own numbers, to a compound for it: lost packets (NACK), a new
// picture (PLI, FIR), less (REMB). Anything else, and what is about another
// stream, is not passed on.
func (m Mapping) AppendFeedback(p []byte, f Packet) []byte {
	if len(f.Body) < 8 {
		return p
	}
	about, entries := binary.BigEndian.Uint32(f.Body[4:]), f.Body[8:]
	switch {
	case f.Type == typeFeedback && f.Count == formatNACK && about == m.Ours:
		return m.nack(p, entries)
	case f.Type == typePayloadFeedback && f.Count == formatPLI && about == m.Ours:
		return m.head(p, typePayloadFeedback, formatPLI, m.Source, 0)
	case f.Type == typePayloadFeedback && f.Count == formatFIR:
		return m.fir(p, entries)
	case f.Type == typePayloadFeedback && f.Count == formatAFB:
		return m.bitrate(p, entries)
	}
	return p
}

func (m Mapping) head(p []byte, kind uint8, format int, about uint32, words int) []byte {
	p = appendHead(p, kind, format, 2+words, m.Sender)
	return binary.BigEndian.AppendUint32(p, about)
}

func (m Mapping) nack(p, entries []byte) []byte {
	n := min(len(entries)/4, maxEntries)
	if n == 0 {
		return p
	}
	p = m.head(p, typeFeedback, formatNACK, m.Source, n)
	for i := range n {
		e := entries[4*i:]
		p = binary.BigEndian.AppendUint16(p, binary.BigEndian.Uint16(e)-m.Sequence)
		p = append(p, e[2], e[3])
	}
	return p
}

// fir takes the entry about our stream; the SSRC in the head is not used.
func (m Mapping) fir(p, entries []byte) []byte {
	for n := 0; len(entries) >= 8 && n < maxEntries; n++ {
		if binary.BigEndian.Uint32(entries) == m.Ours {
			p = m.head(p, typePayloadFeedback, formatFIR, 0, 2)
			p = binary.BigEndian.AppendUint32(p, m.Source)
			return append(p, entries[4], 0, 0, 0)
		}
		entries = entries[8:]
	}
	return p
}

// bitrate passes the estimate of a receiver on if it is about our stream:
// "REMB", how many SSRCs, exponent and mantissa, the SSRCs.
func (m Mapping) bitrate(p, b []byte) []byte {
	if len(b) < 8 || binary.BigEndian.Uint32(b) != remb {
		return p
	}
	for i := range min(int(b[4]), len(b)/4-2, maxEntries) {
		if binary.BigEndian.Uint32(b[8+4*i:]) == m.Ours {
			p = m.head(p, typePayloadFeedback, formatAFB, 0, 3)
			p = append(p, 'R', 'E', 'M', 'B', 1, b[5], b[6], b[7])
			return binary.BigEndian.AppendUint32(p, m.Source)
		}
	}
	return p
}
