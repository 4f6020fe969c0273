package nstest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Spoofer sends IPv4 UDP datagrams with sources of the caller's choice.
type Spoofer struct {
	fd     int
	target netip.AddrPort
	packet []byte
}

const (
	ipHeader  = 20
	udpHeader = 8
)

// NewSpoofer opens a raw socket. It must be called inside Do; the other methods
// need not.
func NewSpoofer(target netip.AddrPort, payload []byte) (*Spoofer, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return nil, fmt.Errorf("opening a raw socket: %w", err)
	}
	p := make([]byte, ipHeader+udpHeader, ipHeader+udpHeader+len(payload))
	p = append(p, payload...)
	p[0], p[8], p[9] = 0x45, 64, unix.IPPROTO_UDP // RFC 791 section 3.1
	copy(p[16:], target.Addr().AsSlice())
	binary.BigEndian.PutUint16(p[ipHeader:], scanPort)
	binary.BigEndian.PutUint16(p[ipHeader+2:], target.Port())
	binary.BigEndian.PutUint16(p[ipHeader+4:], uint16(udpHeader+len(payload)))
	return &Spoofer{fd, target, p}, nil
}

// Send sends one datagram from source; the UDP checksum is left out (RFC 768).
func (s *Spoofer) Send(source netip.Addr) error {
	copy(s.packet[12:], source.AsSlice())
	to := &unix.SockaddrInet4{Addr: s.target.Addr().As4()}
	for try := 0; ; try++ {
		err := unix.Sendto(s.fd, s.packet, 0, to)
		if !errors.Is(err, unix.ENOBUFS) || try == 100 {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// Close closes the socket.
func (s *Spoofer) Close() error { return unix.Close(s.fd) }
