package media

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	// maxDatagram is more than an Ethernet frame carries; longer datagrams are
	// dropped. The room above it is for what SRTP appends.
	maxDatagram = 1600
	headroom    = 64

	// Traffic classes: expedited forwarding for speech (RFC 3246), AF41 for
	// video (RFC 4594 section 4.3), shifted into the TOS octet.
	classVoice = 46 << 2
	classVideo = 34 << 2
)

// pair is the two sockets of a transport. One goroutine reads each.
type pair struct {
	port      uint16
	rtp, rtcp *net.UDPConn
	pool      *pool
}

// buffer takes a datagram and what SRTP appends.
type buffer [maxDatagram + headroom]byte

// bind opens both sockets of a port pair.
func bind(ctx context.Context, local netip.Addr, port uint16, class int) (*pair, error) {
	rtp, err := listen(ctx, netip.AddrPortFrom(local, port), class)
	if err != nil {
		return nil, err
	}
	rtcp, err := listen(ctx, netip.AddrPortFrom(local, port+1), class)
	if err != nil {
		rtp.Close()
		return nil, err
	}
	return &pair{port: port, rtp: rtp, rtcp: rtcp}, nil
}

func listen(ctx context.Context, local netip.AddrPort, class int) (*net.UDPConn, error) {
	network := "udp6"
	if local.Addr().Is4() {
		network = "udp4"
	}
	config := net.ListenConfig{Control: func(network, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) {
			// Marking is a courtesy to the network: a kernel that refuses it
			// still relays.
			if network == "udp4" {
				_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_TOS, class)
			} else {
				_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, syscall.IPV6_TCLASS, class)
			}
		})
	}}
	address := net.JoinHostPort(local.Addr().String(), strconv.Itoa(int(local.Port())))
	conn, err := config.ListenPacket(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("binding media port: %w", err)
	}
	return conn.(*net.UDPConn), nil
}

// serve starts the readers.
func (p *pair) serve(t *transport, wg *sync.WaitGroup) {
	wg.Go(func() { p.read(p.rtp, t.receive) })
	wg.Go(func() { p.read(p.rtcp, t.receiveRTCP) })
}

// read hands over every datagram until the socket is closed.
func (p *pair) read(conn *net.UDPConn, receive func([]byte, netip.AddrPort)) {
	buf := p.pool.buffers.Get().(*buffer)
	defer p.pool.buffers.Put(buf)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf[:maxDatagram])
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(time.Millisecond) // out of kernel memory, or an ICMP error: packets are lost, the port is not
			continue
		}
		if n < maxDatagram {
			receive(buf[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
		}
	}
}

// release closes the sockets and lets the port rest.
func (p *pair) release() {
	p.close()
	p.pool.lay(p.port)
}

// abandon frees a pair that was never served.
func (p *pair) abandon() {
	p.close()
	p.pool.giveBack(p.port)
}

func (p *pair) close() {
	p.rtp.Close()
	p.rtcp.Close()
}
