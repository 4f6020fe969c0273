package nstest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

const (
	// scanPort is the source port of scans.
	scanPort = 40001
	// scanTail is how long a scan waits for answers after its last packet.
	scanTail = 700 * time.Millisecond
	// scanBurst packets go out between pauses, so that no queue overflows.
	scanBurst = 256
)

// ScanTCP sends a SYN to each of the given ports of target, or without any to
// 1..65535, once, and returns the ports that answer at all: with SYN+ACK where
// somebody listens, with RST where the packet filter lets through and nobody
// does. It must be called inside Do.
func ScanTCP(source, target netip.Addr, some ...uint16) ([]uint16, error) {
	network := "ip4:tcp"
	if target.Is6() {
		network = "ip6:tcp"
	}
	conn, err := net.ListenPacket(network, source.String())
	if err != nil {
		return nil, fmt.Errorf("opening a raw socket: %w", err)
	}
	defer conn.Close()
	_ = conn.(*net.IPConn).SetReadBuffer(8 << 20)
	return scan(conn, some, func(port uint16) error {
		_, err := conn.WriteTo(syn(source, target, port), &net.IPAddr{IP: target.AsSlice()})
		return err
	}, func(packet []byte) (uint16, bool) {
		if len(packet) < 20 || binary.BigEndian.Uint16(packet[2:]) != scanPort {
			return 0, false
		}
		return binary.BigEndian.Uint16(packet), true
	})
}

// syn builds a TCP header (RFC 9293 section 3.1) with its checksum.
func syn(source, target netip.Addr, port uint16) []byte {
	h := make([]byte, 20)
	binary.BigEndian.PutUint16(h, scanPort)
	binary.BigEndian.PutUint16(h[2:], port)
	binary.BigEndian.PutUint32(h[4:], uint32(port)<<8)
	h[12], h[13] = 5<<4, 0x02
	binary.BigEndian.PutUint16(h[14:], 64240)
	pseudo := slices.Concat(source.AsSlice(), target.AsSlice(), []byte{0, unix.IPPROTO_TCP, 0, byte(len(h))}, h)
	binary.BigEndian.PutUint16(h[16:], Checksum(pseudo))
	return h
}

// Checksum is the Internet checksum (RFC 1071).
func Checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// ScanUDP sends a datagram to each of the given ports of target, or without any
// to 1..65535, once, and returns the ports whose datagrams reach the host: nobody must listen there, so that
// the host answers with ICMP "port unreachable". ICMPUnlimited must have been
// called on the host. ScanUDP must be called inside Do.
func ScanUDP(source, target netip.Addr, some ...uint16) ([]uint16, error) {
	network := "ip4:icmp"
	if target.Is6() {
		network = "ip6:ipv6-icmp"
	}
	answers, err := net.ListenPacket(network, source.String())
	if err != nil {
		return nil, fmt.Errorf("opening a raw socket: %w", err)
	}
	defer answers.Close()
	_ = answers.(*net.IPConn).SetReadBuffer(8 << 20)
	out, err := net.ListenUDP("udp", &net.UDPAddr{IP: source.AsSlice(), Port: scanPort})
	if err != nil {
		return nil, fmt.Errorf("opening a socket: %w", err)
	}
	defer out.Close()
	return scan(answers, some, func(port uint16) error {
		_, err := out.WriteToUDPAddrPort([]byte("?"), netip.AddrPortFrom(target, port))
		if errors.Is(err, unix.ECONNREFUSED) { // the answer to an earlier one
			_, err = out.WriteToUDPAddrPort([]byte("?"), netip.AddrPortFrom(target, port))
		}
		return err
	}, func(packet []byte) (uint16, bool) { return unreachablePort(target, packet) })
}

// unreachablePort reads the destination port of the datagram that an ICMP
// message is about.
func unreachablePort(target netip.Addr, packet []byte) (uint16, bool) {
	proto, want, header := ipv4.ICMPTypeDestinationUnreachable.Protocol(), icmp.Type(ipv4.ICMPTypeDestinationUnreachable), 20
	if target.Is6() {
		proto, want, header = ipv6.ICMPTypeDestinationUnreachable.Protocol(), ipv6.ICMPTypeDestinationUnreachable, 40
	}
	m, err := icmp.ParseMessage(proto, packet)
	if err != nil || m.Type != want {
		return 0, false
	}
	body, ok := m.Body.(*icmp.DstUnreach)
	if !ok || len(body.Data) < header+8 || binary.BigEndian.Uint16(body.Data[header:]) != scanPort {
		return 0, false
	}
	return binary.BigEndian.Uint16(body.Data[header+2:]), true
}

func scan(answers net.PacketConn, some []uint16, probe func(port uint16) error, read func([]byte) (uint16, bool)) ([]uint16, error) {
	found := make(chan []uint16, 1)
	go func() {
		seen := map[uint16]bool{}
		buf := make([]byte, 2048)
		for {
			n, _, err := answers.ReadFrom(buf)
			if err != nil {
				break
			}
			if port, ok := read(buf[:n]); ok {
				seen[port] = true
			}
		}
		var list []uint16
		for p := range seen {
			list = append(list, p)
		}
		slices.Sort(list)
		found <- list
	}()
	for n := range 65535 {
		port := uint16(n + 1)
		if len(some) > 0 {
			if n == len(some) {
				break
			}
			port = some[n]
		}
		if err := send(probe, port); err != nil {
			return nil, fmt.Errorf("probing port %d: %w", port, err)
		}
		if n%scanBurst == scanBurst-1 {
			time.Sleep(time.Millisecond)
		}
	}
	_ = answers.SetReadDeadline(time.Now().Add(scanTail))
	return <-found, nil
}

// send retries when the queue is full.
func send(probe func(uint16) error, port uint16) error {
	for try := 0; ; try++ {
		err := probe(port)
		if err == nil || !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, os.ErrDeadlineExceeded) || try == 100 {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// ICMPUnlimited makes the namespace answer every forbidden datagram, for
// ScanUDP.
func (n *NS) ICMPUnlimited() {
	n.t.Helper()
	for _, s := range []string{"net.ipv4.icmp_ratelimit=0", "net.ipv4.icmp_ratemask=0", "net.ipv6.icmp.ratelimit=0", "net.ipv6.icmp.ratemask="} {
		n.Run("sysctl", "-q", "-w", s)
	}
}
