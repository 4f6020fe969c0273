package sip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ringfence/internal/ports"
)

const (
	// maxDatagram is the largest UDP payload.
	maxDatagram = 65535
	// socketBuffer is asked for in both directions: a burst of re-registering
	// phones is to wait in the kernel, not to be lost. 4 MiB is a quarter of a
	// second at 20,000 datagrams a second, which the kernel counts at about
	// 800 bytes of overhead each. It is cut to net.core.rmem_max.
	socketBuffer = 4 << 20
)

// udpTransport is one bound UDP socket.
type udpTransport struct {
	conn     *net.UDPConn
	raw      syscall.RawConn
	id       ports.ID
	side     ports.Side
	addr     netip.AddrPort
	wildcard bool      // bound to all addresses: each datagram says which one
	sends    sync.Pool // of *sendmsg

	mu    sync.Mutex // held while datagrams are taken and queued: they stay in order
	batch *batch
}

func (e *Endpoint) openUDP(k listenKey, side ports.Side) (*listener, error) {
	network := "udp4"
	if k.bind.Addr().Is6() {
		network = "udp6" // does not take IPv4 as well: that is its own socket
	}
	var lc net.ListenConfig
	lc.Control = func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { prepare(int(fd), network) })
	}
	pc, err := lc.ListenPacket(context.Background(), network, k.bind.String())
	if err != nil {
		return nil, fmt.Errorf("binding %s %s: %w", network, k.bind, err)
	}
	conn := pc.(*net.UDPConn)
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reaching the socket of %s: %w", k.bind, err), conn.Close())
	}
	addr := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	t := &udpTransport{
		conn: conn, raw: raw, id: k.id, side: side,
		addr:     netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()),
		wildcard: k.bind.Addr().IsUnspecified(),
		batch:    newBatch(),
	}
	t.sends.New = newSendmsg
	l := &listener{id: k.id, side: side, bind: k.bind, addr: t.addr, transport: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.readUDP(t)
	}()
	l.close = func() error {
		err := conn.Close()
		<-done
		return err
	}
	return l, nil
}

// prepare sets the socket options; none of them is vital.
func prepare(fd int, network string) {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, socketBuffer)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, socketBuffer)
	if network == "udp4" {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		// CS3 for signalling (RFC 4594 section 3.2)
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, 0x60)
		// Fragment instead of failing on large messages.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT)
		return
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, 0x60)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DONT)
}

// readUDP feeds the workers until the socket is closed. Errors of single
// datagrams (an ICMP answer to what was sent, no memory) do not end it.
func (e *Endpoint) readUDP(t *udpTransport) {
	// Said not to be done, it is called again when something has come.
	read := func(fd uintptr) bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		return e.pull(t, fd) == batchSize
	}
	for {
		err := t.raw.Read(read)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			e.stats.readErrors.Add(1)
			time.Sleep(time.Millisecond) // never a busy loop
		}
	}
}

// poll takes datagrams that wait in the kernel, for a worker that has been busy
// for a while: on a processor of its own the reader would not get to run, and
// what is urgent would wait behind what is not.
func (e *Endpoint) poll() {
	e.mu.RLock()
	listeners := e.listeners
	e.mu.RUnlock()
	for _, l := range listeners {
		t, ok := l.transport.(*udpTransport)
		if !ok || !t.mu.TryLock() {
			continue // the reader is at it
		}
		_ = t.raw.Control(func(fd uintptr) {
			for range pollBatches {
				if e.pull(t, fd) < batchSize {
					return
				}
			}
		})
		t.mu.Unlock()
	}
}

// pull gives one batch of datagrams to the workers, and returns how many. The
// transport is locked.
func (e *Endpoint) pull(t *udpTransport, fd uintptr) int {
	n, err := t.batch.receive(fd)
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		e.stats.readErrors.Add(1)
		time.Sleep(time.Millisecond) // never a busy loop
		return batchSize
	}
	for i := range n {
		raw, oob, src := t.batch.datagram(i)
		f := Flow{Listener: t.id, Side: t.side, Local: t.addr, Remote: src, transport: t}
		if t.wildcard {
			if a, ok := destination(oob); ok {
				f.Local = netip.AddrPortFrom(a, t.addr.Port())
			}
		}
		e.Receive(f, raw)
	}
	return n
}

// destination reads the address a datagram was sent to (ip(7) IP_PKTINFO,
// RFC 3542 section 6.1). Multicast and broadcast have no use as a source.
func destination(oob []byte) (netip.Addr, bool) {
	for len(oob) >= unix.CmsgLen(0) {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return netip.Addr{}, false
		}
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= 12:
			// ifindex, the address routed to (spec_dst), the header's destination
			return netip.AddrFrom4([4]byte(data[4:8])), true
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= 20:
			a := netip.AddrFrom16([16]byte(data[:16]))
			return a, !a.IsMulticast()
		}
		oob = rest
	}
	return netip.Addr{}, false
}

// Send writes one datagram from the address the peer knows, whatever its size.
// RFC 3261 section 18.1.1 wants requests above 1,300 bytes to go over TCP; a
// peer that registered over UDP seldom listens there, and a connection to it
// seldom passes its NAT, so such a message is sent in fragments. A phone that
// wants large messages over a stream registers over one, and is then reached
// over that.
func (t *udpTransport) Send(f Flow, b []byte) error {
	var from netip.Addr
	if t.wildcard && f.Local.Addr().IsValid() && !f.Local.Addr().IsUnspecified() {
		from = f.Local.Addr()
	}
	o := t.sends.Get().(*sendmsg)
	defer t.sends.Put(o)
	err := o.address(f.Remote, from, f.device, t.addr.Addr().Is4())
	if err == nil {
		err = o.write(t.raw, b)
	}
	if err != nil && from.IsValid() && !errors.Is(err, net.ErrClosed) {
		// The address is gone (a new DHCP lease): let the kernel choose.
		if err = o.address(f.Remote, netip.Addr{}, f.device, t.addr.Addr().Is4()); err == nil {
			err = o.write(t.raw, b)
		}
	}
	if err != nil {
		return fmt.Errorf("sending to %s: %w", f.Remote, err)
	}
	return nil
}

func (t *udpTransport) Protocol() string { return "UDP" }
func (t *udpTransport) Reliable() bool   { return false }
