package sip

import (
	"bytes"
	"encoding/binary"
	"net/netip"
)

// Of STUN only the binding request is known here, which phones on UDP use as
// keep-alive (RFC 5626 section 4.4.2, RFC 8489).
const (
	stunHeader  = 20
	stunMax     = 128
	stunRequest = 0x0001
	stunSuccess = 0x0101
	stunCookie  = 0x2112a442
	xorMapped   = 0x0020
)

// keepAlive recognises what phones send to keep a NAT open: blank lines, zero
// bytes, nothing, STUN binding requests.
func keepAlive(b []byte) bool {
	if bindingRequest(b) {
		return true
	}
	if len(b) > 8 {
		return false
	}
	for _, c := range b {
		if c != '\r' && c != '\n' && c != 0 && c != ' ' {
			return false
		}
	}
	return true
}

func bindingRequest(b []byte) bool {
	return len(b) >= stunHeader && len(b) <= stunMax && binary.BigEndian.Uint16(b) == stunRequest &&
		int(binary.BigEndian.Uint16(b[2:])) == len(b)-stunHeader && binary.BigEndian.Uint32(b[4:]) == stunCookie
}

// pong answers a keep-alive on UDP, so that the NAT sees traffic both ways and
// the phone learns when its address changed: a line break for two (RFC 5626
// section 4.4.1 has that for connections, whose transport answers itself), and
// STUN. An answer of at most 44 bytes is no more than twice the question:
// little is to be gained by forging its source.
func (e *Endpoint) pong(f Flow, b []byte) {
	switch {
	case f.Token != "" || f.transport == nil:
	case bindingRequest(b):
		_ = f.transport.Send(f, bindingSuccess(b, f.Remote))
	case bytes.Equal(b, []byte("\r\n\r\n")):
		_ = f.transport.Send(f, b[:2])
	}
}

// bindingSuccess tells the peer where it is seen (RFC 8489 sections 6.3.1 and
// 14.2).
func bindingSuccess(request []byte, seen netip.AddrPort) []byte {
	addr, family := seen.Addr().Unmap(), byte(1)
	if addr.Is6() {
		family = 2
	}
	ip := addr.AsSlice()
	out := make([]byte, 0, stunHeader+8+len(ip))
	out = binary.BigEndian.AppendUint16(out, stunSuccess)
	out = binary.BigEndian.AppendUint16(out, uint16(8+len(ip)))
	out = append(out, request[4:stunHeader]...) // cookie and transaction
	out = binary.BigEndian.AppendUint16(out, xorMapped)
	out = binary.BigEndian.AppendUint16(out, uint16(4+len(ip)))
	out = append(out, 0, family)
	out = binary.BigEndian.AppendUint16(out, seen.Port()^stunCookie>>16)
	for i, c := range ip {
		out = append(out, c^request[4+i])
	}
	return out
}
