package media

// restart is the gap in sequence numbers that is taken for a new start of the
// sender and not for loss (MAX_DROPOUT of RFC 3550 appendix A.1).
const restart = 3000

// header is what the relay reads of an RTP packet (RFC 3550 section 5.1).
type header struct {
	payloadType uint8
	sequence    uint16
	timestamp   uint32
	ssrc        uint32
	length      int // bytes, with CSRCs and extension
}

// isRTCP tells reports from media that share a port (RFC 5761 section 4).
func isRTCP(p []byte) bool { return len(p) >= 2 && p[0]>>6 == 2 && p[1] >= 192 && p[1] <= 223 }

// readHeader checks the header of an RTP packet as RFC 3550 appendix A.1 asks,
// but for the padding, which SRTP encrypts.
func readHeader(p []byte) (header, bool) {
	if len(p) < 12 || p[0]>>6 != 2 || isRTCP(p) {
		return header{}, false
	}
	end := 12 + 4*int(p[0]&0x0f)
	if p[0]&0x10 != 0 {
		if len(p) < end+4 {
			return header{}, false
		}
		end += 4 + 4*(int(p[end+2])<<8|int(p[end+3]))
	}
	if end > len(p) {
		return header{}, false
	}
	return header{
		payloadType: p[1] & 0x7f,
		sequence:    uint16(p[2])<<8 | uint16(p[3]),
		timestamp:   uint32(p[4])<<24 | uint32(p[5])<<16 | uint32(p[6])<<8 | uint32(p[7]),
		ssrc:        uint32(p[8])<<24 | uint32(p[9])<<16 | uint32(p[10])<<8 | uint32(p[11]),
		length:      end,
	}, true
}

// paddingFits checks the padding of an RTP packet whose header was read.
func paddingFits(p []byte, h header) bool {
	if p[0]&0x20 == 0 {
		return true
	}
	padding := int(p[len(p)-1])
	return padding != 0 && h.length+padding <= len(p)
}

// payloadOf is what a packet carries, without its padding.
func payloadOf(p []byte, h header) []byte {
	end := len(p)
	if p[0]&0x20 != 0 {
		end -= int(p[end-1])
	}
	return p[h.length:max(end, h.length)]
}
