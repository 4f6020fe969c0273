package trace

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"time"
)

const (
	pcapMagic   = 0xa1b2c3d4 // microseconds
	linkTypeRaw = 101        // packets begin with their IP header
	ipHeader4   = 20
	ipHeader6   = 40
	udpHeader   = 8
	protocolUDP = 17
	maxPacket   = 1<<16 - 1
)

// WritePCAP writes a trace as a packet capture. Every message is in a UDP
// datagram between the real addresses, also those that came in TLS or a
// WebSocket: what travelled there cannot be opened any more, and this can.
func (t Trace) WritePCAP(w io.Writer) error {
	h := make([]byte, 0, 24)
	h = binary.LittleEndian.AppendUint32(h, pcapMagic)
	h = binary.LittleEndian.AppendUint16(h, 2) // version 2.4
	h = binary.LittleEndian.AppendUint16(h, 4)
	h = append(h, make([]byte, 8)...) // time zone, accuracy
	h = binary.LittleEndian.AppendUint32(h, maxPacket+1)
	h = binary.LittleEndian.AppendUint32(h, linkTypeRaw)
	if _, err := w.Write(h); err != nil {
		return fmt.Errorf("writing a packet capture: %w", err)
	}
	for i := range t.Messages {
		if _, err := w.Write(record(&t.Messages[i])); err != nil {
			return fmt.Errorf("writing a packet capture: %w", err)
		}
	}
	return nil
}

// record is one message as a packet with its record header.
func record(m *Message) []byte {
	src, dst := m.Remote, m.Local
	if m.Sent {
		src, dst = dst, src
	}
	p := packet(src, dst, m.Raw)
	us := m.Time.UnixMicro()
	b := make([]byte, 0, 16+len(p))
	b = binary.LittleEndian.AppendUint32(b, uint32(us/int64(time.Second/time.Microsecond)))
	b = binary.LittleEndian.AppendUint32(b, uint32(us%int64(time.Second/time.Microsecond)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(p)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(p)))
	return append(b, p...)
}

// packet wraps a payload in IP and UDP (RFC 791, RFC 8200, RFC 768).
func packet(src, dst netip.AddrPort, payload []byte) []byte {
	from, to := src.Addr().Unmap(), dst.Addr().Unmap()
	v4 := from.Is4() && to.Is4()
	header := ipHeader6
	if v4 {
		header = ipHeader4
	}
	payload = payload[:min(len(payload), maxPacket-ipHeader4-udpHeader)]
	size := udpHeader + len(payload)
	b := make([]byte, header, header+size)
	var pseudo []byte
	if v4 {
		b[0], b[8], b[9] = 0x45, 64, protocolUDP
		binary.BigEndian.PutUint16(b[2:], uint16(header+size))
		copy(b[12:], from.AsSlice())
		copy(b[16:], to.AsSlice())
		binary.BigEndian.PutUint16(b[10:], ^sum(0, b[:header]))
		pseudo = append(pseudo, b[12:20]...)
	} else {
		a, z := as16(from), as16(to)
		b[0], b[6], b[7] = 0x60, protocolUDP, 64
		binary.BigEndian.PutUint16(b[4:], uint16(size))
		copy(b[8:], a[:])
		copy(b[24:], z[:])
		pseudo = append(pseudo, b[8:40]...)
	}
	b = binary.BigEndian.AppendUint16(b, src.Port())
	b = binary.BigEndian.AppendUint16(b, dst.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(size))
	b = append(b, 0, 0)
	b = append(b, payload...)
	pseudo = append(pseudo, 0, protocolUDP)
	pseudo = binary.BigEndian.AppendUint16(pseudo, uint16(size))
	check := ^sum(uint32(sum(0, pseudo)), b[header:])
	if check == 0 {
		check = 0xffff // zero says that there is none
	}
	binary.BigEndian.PutUint16(b[header+6:], check)
	return b
}

// as16 is an address for an IPv6 header; an unknown one is the unspecified.
func as16(a netip.Addr) [16]byte {
	if !a.IsValid() {
		return [16]byte{}
	}
	return a.As16()
}

// sum is the ones' complement sum of RFC 1071.
func sum(start uint32, b []byte) uint16 {
	n := start
	for ; len(b) > 1; b = b[2:] {
		n += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		n += uint32(b[0]) << 8
	}
	for n > 0xffff {
		n = n>>16 + n&0xffff
	}
	return uint16(n)
}
