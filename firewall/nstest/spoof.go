package nstest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Spoofer sends datagrams, or the first segments of TCP connections, with
// sources of the caller's choice. It is for one goroutine.
type Spoofer struct {
	fd     int
	target netip.AddrPort
	tcp    bool
	packet []byte
	ip     int // length of the IP header
	sent   uint16
}

const (
	ip4Header = 20
	ip6Header = 40
	udpHeader = 8
	tcpHeader = 20
)

// NewSpoofer opens a raw socket for UDP. It must be called inside Do; the other
// methods need not.
func NewSpoofer(target netip.AddrPort, payload []byte) (*Spoofer, error) {
	s, err := newSpoofer(target, unix.IPPROTO_UDP, udpHeader+len(payload))
	if err != nil {
		return nil, err
	}
	udp := s.packet[s.ip:]
	binary.BigEndian.PutUint16(udp, scanPort)
	binary.BigEndian.PutUint16(udp[2:], target.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(udpHeader+len(payload)))
	copy(udp[udpHeader:], payload)
	return s, nil
}

// NewDialer is NewSpoofer for TCP: each Send is a SYN from another port.
func NewDialer(target netip.AddrPort) (*Spoofer, error) {
	s, err := newSpoofer(target, unix.IPPROTO_TCP, tcpHeader)
	if err != nil {
		return nil, err
	}
	s.tcp = true
	tcp := s.packet[s.ip:]
	binary.BigEndian.PutUint16(tcp[2:], target.Port())
	tcp[12], tcp[13] = tcpHeader/4<<4, 0x02 // RFC 9293 section 3.1: length, SYN
	binary.BigEndian.PutUint16(tcp[14:], 1024)
	return s, nil
}

func newSpoofer(target netip.AddrPort, proto, length int) (*Spoofer, error) {
	domain, header := unix.AF_INET, ip4Header
	if target.Addr().Is6() {
		domain, header = unix.AF_INET6, ip6Header
	}
	fd, err := unix.Socket(domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return nil, fmt.Errorf("opening a raw socket: %w", err)
	}
	p := make([]byte, header+length)
	if header == ip4Header {
		p[0], p[8], p[9] = 0x45, 64, byte(proto) // RFC 791 section 3.1
		copy(p[16:], target.Addr().AsSlice())
	} else {
		p[0], p[6], p[7] = 0x60, byte(proto), 64 // RFC 8200 section 3
		binary.BigEndian.PutUint16(p[4:], uint16(length))
		copy(p[24:], target.Addr().AsSlice())
	}
	return &Spoofer{fd: fd, target: target, packet: p, ip: header}, nil
}

// Payload replaces what the datagrams carry; it must be as long as before.
func (s *Spoofer) Payload(b []byte) { copy(s.packet[s.ip+udpHeader:], b) }

// Send sends one packet from source.
func (s *Spoofer) Send(source netip.Addr) error {
	s.sent++
	var to unix.Sockaddr
	if s.ip == ip4Header {
		copy(s.packet[12:], source.AsSlice())
		to = &unix.SockaddrInet4{Addr: s.target.Addr().As4()}
	} else {
		copy(s.packet[8:], source.AsSlice())
		to = &unix.SockaddrInet6{Addr: s.target.Addr().As16()}
	}
	s.seal()
	for try := 0; ; try++ {
		err := unix.Sendto(s.fd, s.packet, 0, to)
		if !errors.Is(err, unix.ENOBUFS) || try == 100 {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// seal writes the checksum where one is needed: UDP over IPv4 does without (RFC
// 768).
func (s *Spoofer) seal() {
	body, at, proto := s.packet[s.ip:], 6, uint32(unix.IPPROTO_UDP)
	if s.tcp {
		at, proto = 16, unix.IPPROTO_TCP
		binary.BigEndian.PutUint16(body, 1024+s.sent%60000)
		binary.BigEndian.PutUint32(body[4:], uint32(s.sent)<<8)
	} else if s.ip == ip4Header {
		return
	}
	body[at], body[at+1] = 0, 0
	addresses := s.packet[s.ip-2*s.target.Addr().BitLen()/8 : s.ip]
	sum := proto + uint32(len(body))
	for _, part := range [][]byte{addresses, body} {
		for i := 0; i+1 < len(part); i += 2 {
			sum += uint32(part[i])<<8 | uint32(part[i+1])
		}
		if len(part)%2 == 1 {
			sum += uint32(part[len(part)-1]) << 8
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(body[at:], ^uint16(sum))
}

// Close closes the socket.
func (s *Spoofer) Close() error { return unix.Close(s.fd) }
