package dtls

import "encoding/binary"

// Content types of records (RFC 6347 section 4.3.1, RFC 5246 section 6.2.1).
const (
	changeCipherSpec = 20
	alert            = 21
	handshake        = 22
	applicationData  = 23

	recordHeader = 13
	maxRecord    = 1 << 14
	fatal        = 2
)

// sift keeps of a datagram the records that may do good. What comes in the
// clear can be forged by anyone who writes the peer's address on a packet, and
// a handshake must not end by it: RFC 6347 section 4.1.2.7 lets us discard
// such records in silence. The result shares the memory of the datagram. It
// reports whether a fatal alert in the clear was among the records.
func sift(datagram []byte) (kept []byte, alerted bool) {
	kept = datagram[:0]
	for rest := datagram; len(rest) > 0; {
		if len(rest) <= recordHeader {
			return kept, alerted
		}
		n := recordHeader + int(binary.BigEndian.Uint16(rest[11:]))
		if n > len(rest) {
			return kept, alerted
		}
		record := rest[:n]
		rest = rest[n:]
		if wanted(record) {
			kept = append(kept, record...)
		} else if isFatal(record) {
			alerted = true
		}
	}
	return kept, alerted
}

func wanted(record []byte) bool {
	version := binary.BigEndian.Uint16(record[1:])
	if version != 0xfeff && version != 0xfefd || len(record) == recordHeader {
		return false // neither 1.0, as in a ClientHello, nor 1.2; or empty
	}
	clear := binary.BigEndian.Uint16(record[3:]) == 0
	switch record[0] {
	case changeCipherSpec:
		return len(record) == recordHeader+1 && record[recordHeader] == 1
	case handshake:
		return len(record) >= recordHeader+12
	case alert, applicationData:
		return !clear
	}
	return false
}

func isFatal(record []byte) bool {
	return record[0] == alert && len(record) == recordHeader+2 && record[recordHeader] == fatal
}
