package quality

import "encoding/binary"

// Packet types (RFC 3550 section 12.1, RFC 4585 section 6.1, RFC 3611 section 2).
const (
	typeSR, typeRR, typeSDES, typeBYE, typeAPP = 200, 201, 202, 203, 204
	typeFeedback, typePayloadFeedback, typeXR  = 205, 206, 207
)

const (
	cnameItem = 1
	blockSize = 24
	infoSize  = 20
)

// Packet is one packet of a compound: type, count or format, and what follows
// its first word. It points into the compound.
type Packet struct {
	Type  uint8
	Count uint8
	Body  []byte
}

// Valid checks a compound as RFC 3550 appendix A.2 asks: whole packets that
// fill it exactly, with padding in the last one only. It need not begin with a
// report (RFC 5506).
func Valid(p []byte) bool {
	if len(p) < 8 {
		return false
	}
	for len(p) > 0 {
		if len(p) < 4 || p[0]>>6 != 2 || p[1] < 192 || p[1] > 223 {
			return false
		}
		n := 4*int(binary.BigEndian.Uint16(p[2:])) + 4
		if n > len(p) {
			return false
		}
		if p[0]&0x20 != 0 {
			padding := int(p[n-1])
			if n != len(p) || padding == 0 || padding%4 != 0 || padding > n-4 {
				return false
			}
		}
		p = p[n:]
	}
	return true
}

// Next takes the first packet off a compound that is Valid.
func Next(p []byte) (Packet, []byte) {
	n := 4*int(binary.BigEndian.Uint16(p[2:])) + 4
	body := p[4:n]
	if p[0]&0x20 != 0 {
		body = body[:len(body)-int(p[n-1])]
	}
	return Packet{Type: p[1], Count: p[0] & 0x1f, Body: body}, p[n:]
}

// SSRC is who sent a packet other than a source description.
func (p Packet) SSRC() (uint32, bool) {
	if len(p.Body) < 4 || p.Type == typeSDES {
		return 0, false
	}
	return binary.BigEndian.Uint32(p.Body), true
}

// SenderInfo is what a sender reports about itself (RFC 3550 section 6.4.1).
type SenderInfo struct {
	NTP             uint64 // when, by the sender's clock; 0 is unknown
	RTP             uint32 // the same moment as a timestamp of its packets
	Packets, Octets uint32
}

// SenderInfo is that of a sender report.
func (p Packet) SenderInfo() (SenderInfo, bool) {
	if p.Type != typeSR || len(p.Body) < 4+infoSize {
		return SenderInfo{}, false
	}
	b := p.Body[4:]
	return SenderInfo{
		NTP: binary.BigEndian.Uint64(b), RTP: binary.BigEndian.Uint32(b[8:]),
		Packets: binary.BigEndian.Uint32(b[12:]), Octets: binary.BigEndian.Uint32(b[16:]),
	}, true
}

// Block is what a receiver reports about a source (RFC 3550 section 6.4.1).
type Block struct {
	SSRC     uint32
	Fraction uint8 // lost since the report before, of 256
	Lost     int32 // since the beginning; negative with duplicates
	Highest  uint32
	Jitter   uint32 // in units of the timestamp
	LSR      uint32 // middle of the NTP time of the last sender report
	DLSR     uint32 // since it came, in 1/65536 s
}

// Block finds the report about a source in a sender or receiver report.
func (p Packet) Block(ssrc uint32) (Block, bool) {
	at := 4
	switch p.Type {
	case typeSR:
		at += infoSize
	case typeRR:
	default:
		return Block{}, false
	}
	for range p.Count {
		if at+blockSize > len(p.Body) {
			break
		}
		b := p.Body[at:]
		if binary.BigEndian.Uint32(b) == ssrc {
			return Block{
				SSRC: ssrc, Fraction: b[4],
				Lost:    int32(uint32(b[5])<<24|uint32(b[6])<<16|uint32(b[7])<<8) >> 8,
				Highest: binary.BigEndian.Uint32(b[8:]), Jitter: binary.BigEndian.Uint32(b[12:]),
				LSR: binary.BigEndian.Uint32(b[16:]), DLSR: binary.BigEndian.Uint32(b[20:]),
			}, true
		}
		at += blockSize
	}
	return Block{}, false
}

// AppendSR appends a sender report about ssrc with the blocks, at most 31.
func AppendSR(p []byte, ssrc uint32, i SenderInfo, blocks ...Block) []byte {
	p = appendHead(p, typeSR, len(blocks), 1+infoSize/4+len(blocks)*blockSize/4, ssrc)
	p = binary.BigEndian.AppendUint64(p, i.NTP)
	p = binary.BigEndian.AppendUint32(p, i.RTP)
	p = binary.BigEndian.AppendUint32(p, i.Packets)
	p = binary.BigEndian.AppendUint32(p, i.Octets)
	return appendBlocks(p, blocks)
}

// AppendRR appends a receiver report of ssrc with the blocks, at most 31.
func AppendRR(p []byte, ssrc uint32, blocks ...Block) []byte {
	p = appendHead(p, typeRR, len(blocks), 1+len(blocks)*blockSize/4, ssrc)
	return appendBlocks(p, blocks)
}

// AppendSDES appends a source description: nothing but the CNAME, of at most
// 255 bytes.
func AppendSDES(p []byte, ssrc uint32, cname string) []byte {
	item := 2 + len(cname)
	zeros := 4 - item%4 // at least one ends the list
	p = appendHead(p, typeSDES, 1, 1+(item+zeros)/4, ssrc)
	p = append(p, cnameItem, byte(len(cname)))
	p = append(p, cname...)
	for range zeros {
		p = append(p, 0)
	}
	return p
}

// AppendBYE appends that ssrc sends no more.
func AppendBYE(p []byte, ssrc uint32) []byte { return appendHead(p, typeBYE, 1, 1, ssrc) }

// appendHead appends the first two words; words counts those after the first.
func appendHead(p []byte, kind uint8, count, words int, ssrc uint32) []byte {
	p = append(p, 0x80|uint8(count), kind, byte(words>>8), byte(words))
	return binary.BigEndian.AppendUint32(p, ssrc)
}

func appendBlocks(p []byte, blocks []Block) []byte {
	for _, b := range blocks {
		p = binary.BigEndian.AppendUint32(p, b.SSRC)
		p = append(p, b.Fraction, byte(b.Lost>>16), byte(b.Lost>>8), byte(b.Lost))
		for _, v := range [...]uint32{b.Highest, b.Jitter, b.LSR, b.DLSR} {
			p = binary.BigEndian.AppendUint32(p, v)
		}
	}
	return p
}
