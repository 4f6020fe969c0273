package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// logged is a ban that a meter set, as the kernel's packet log tells it.
type logged struct {
	source netip.Addr
	scope  telephony.BanScope
	level  int
	proto  ports.Proto
	port   uint16
}

var errLogged = errors.New("log entry is none of ours")

// parseLogged reads a prefix that verdictChains wrote and the beginning of the
// packet. The packet is a stranger's.
func parseLogged(prefix string, packet []byte) (l logged, err error) {
	word, scope, _ := strings.Cut(strings.TrimRight(prefix, "\x00"), "_")
	switch word {
	case "level1":
		l.level = 1
	case "level2":
		l.level = 2
	default:
		return l, fmt.Errorf("%w: prefix %q", errLogged, prefix)
	}
	l.scope = telephony.BanScope(scope)
	if _, err := banSet(l.scope); err != nil {
		return l, fmt.Errorf("%w: %w", errLogged, err)
	}
	if len(packet) == 0 {
		return l, fmt.Errorf("%w: no packet", errLogged)
	}
	var rest []byte
	switch packet[0] >> 4 {
	case 4:
		rest, err = l.header4(packet)
	case 6:
		rest, err = l.header6(packet)
	default:
		err = fmt.Errorf("%w: no IP packet", errLogged)
	}
	if err != nil {
		return l, err
	}
	if len(rest) >= 4 {
		l.port = binary.BigEndian.Uint16(rest[2:])
	}
	return l, nil
}

// Numbers of protocols and of IPv6 extension headers (RFC 8200 section 4).
const (
	protoHopByHop = 0
	protoTCP      = 6
	protoUDP      = 17
	protoRouting  = 43
	protoFragment = 44
	protoOptions  = 60
)

// header4 reads an IPv4 header (RFC 791 section 3.1) and returns what follows.
func (l *logged) header4(p []byte) ([]byte, error) {
	const least = 20
	if len(p) < least {
		return nil, fmt.Errorf("%w: %d bytes of an IPv4 header", errLogged, len(p))
	}
	l.source = netip.AddrFrom4([4]byte(p[12:16]))
	l.setProto(p[9])
	return p[min(len(p), int(p[0]&0x0f)*4):], nil
}

// header6 reads an IPv6 header and those that extend it.
func (l *logged) header6(p []byte) ([]byte, error) {
	const size, most = 40, 8
	if len(p) < size {
		return nil, fmt.Errorf("%w: %d bytes of an IPv6 header", errLogged, len(p))
	}
	l.source = netip.AddrFrom16([16]byte(p[8:24]))
	next, p := p[6], p[size:]
	for range most {
		switch {
		case next != protoHopByHop && next != protoRouting && next != protoOptions && next != protoFragment:
			l.setProto(next)
			return p, nil
		case len(p) < 8:
			return nil, nil
		}
		length := 8
		if next != protoFragment {
			length += int(p[1]) * 8
		}
		next, p = p[0], p[min(len(p), length):]
	}
	return nil, nil
}

func (l *logged) setProto(number byte) {
	switch number {
	case protoTCP:
		l.proto = ports.TCP
	case protoUDP:
		l.proto = ports.UDP
	}
}
