package media

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
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

// pair is the two sockets of a transport. One goroutine reads each until the pair
// has rested.
type pair struct {
	port      uint16
	rtp, rtcp *net.UDPConn
	pool      *pool
	owner     atomic.Pointer[transport] // nil while resting: packets are drained
	readers   atomic.Int32
	freed     time.Time     // guarded by pool.mu
	closed    chan struct{} // the sockets are closed and the port is free
}

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
	return &pair{port: port, rtp: rtp, rtcp: rtcp, closed: make(chan struct{})}, nil
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

// serve starts the readers of a pair for its first owner.
func (p *pair) serve(t *transport, wg *sync.WaitGroup) {
	p.owner.Store(t)
	p.readers.Store(2)
	wg.Go(func() { p.read(p.rtp, (*transport).receive) })
	wg.Go(func() { p.read(p.rtcp, (*transport).receiveRTCP) })
}

// read hands every datagram to the owner until the rest is over. It allocates
// once, at its start.
func (p *pair) read(conn *net.UDPConn, receive func(*transport, []byte, netip.AddrPort)) {
	defer p.leave()
	buf := make([]byte, maxDatagram+headroom)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf[:maxDatagram])
		if err != nil {
			if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
				return
			}
			time.Sleep(time.Millisecond) // out of kernel memory, or an ICMP error: packets are lost, the port is not
			continue
		}
		if t := p.owner.Load(); t != nil && n < maxDatagram {
			receive(t, buf[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
		}
	}
}

// leave is called by each reader; the last one closes the sockets.
func (p *pair) leave() {
	if p.readers.Add(-1) > 0 {
		return
	}
	p.rtp.Close()
	p.rtcp.Close()
	p.pool.rise(p)
	close(p.closed)
}

// release ends the ownership: the sockets stay bound and drained for the
// pool's rest.
func (p *pair) release() {
	p.owner.Store(nil)
	p.pool.lay(p)
}

// wake ends the rest now.
func (p *pair) wake() { p.until(time.Unix(1, 0)) }

func (p *pair) until(t time.Time) {
	_ = p.rtp.SetReadDeadline(t) // fails on closed sockets only
	_ = p.rtcp.SetReadDeadline(t)
}

// abandon frees a pair that was never served.
func (p *pair) abandon() {
	p.rtp.Close()
	p.rtcp.Close()
	p.pool.giveBack(p.port)
}
