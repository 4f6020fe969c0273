package impair

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// maxPending bounds the datagrams on their way.
const maxPending = 4096

// Proxy is an impaired network between two peers, near and far, of one UDP
// flow: each sends to the proxy's address on its own side.
type Proxy struct {
	ends [2]end // near, far
	stop chan struct{}
	wg   sync.WaitGroup
}

// end is the proxy's socket towards one peer, and the line of what it sends
// there.
type end struct {
	conn *net.UDPConn

	mu      sync.Mutex
	peer    netip.AddrPort
	line    *Line
	pending int
}

// NewProxy joins two peers; an invalid address is learned from the peer's first
// datagram. Sockets are opened at local, port 0. Close the proxy.
func NewProxy(local netip.Addr, near, far netip.AddrPort, p Profile, seed uint64) (*Proxy, error) {
	x := &Proxy{stop: make(chan struct{})}
	for i, peer := range []netip.AddrPort{near, far} {
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)))
		if err != nil {
			x.Close()
			return nil, fmt.Errorf("opening an impaired line: %w", err)
		}
		x.ends[i].conn, x.ends[i].peer, x.ends[i].line = conn, peer, NewLine(p, seed+uint64(i))
	}
	for i := range x.ends {
		x.wg.Go(func() { x.read(&x.ends[i], &x.ends[1-i]) })
	}
	return x, nil
}

// Near is where the near peer sends to.
func (x *Proxy) Near() netip.AddrPort { return x.ends[0].addr() }

// Far is where the far peer sends to.
func (x *Proxy) Far() netip.AddrPort { return x.ends[1].addr() }

// SetFar says where the far peer is, once that is known.
func (x *Proxy) SetFar(peer netip.AddrPort) {
	x.ends[1].mu.Lock()
	defer x.ends[1].mu.Unlock()
	x.ends[1].peer = peer
}

// Counts is what was done to what went to the near and to the far peer.
func (x *Proxy) Counts() (toNear, toFar Counts) { return x.ends[0].counts(), x.ends[1].counts() }

// Close ends it; what is on its way is lost.
func (x *Proxy) Close() {
	close(x.stop)
	for i := range x.ends {
		if x.ends[i].conn != nil {
			x.ends[i].conn.Close()
		}
	}
	x.wg.Wait()
}

func (x *Proxy) read(from, to *end) {
	buf := make([]byte, 1<<16)
	for {
		n, addr, err := from.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			select {
			case <-x.stop:
				return
			default: // an ICMP error of an earlier datagram
				time.Sleep(time.Millisecond)
				continue
			}
		}
		from.learn(netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()))
		now := time.Now()
		for _, at := range to.arrivals(now) {
			if at.Sub(now) <= 0 {
				to.deliver(buf[:n])
				continue
			}
			d := slices.Clone(buf[:n])
			x.wg.Go(func() { // a goroutine each: there are maxPending at most
				select {
				case <-x.stop:
				case <-time.After(time.Until(at)):
				}
				to.deliver(d)
			})
		}
	}
}

func (e *end) addr() netip.AddrPort {
	a := e.conn.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

func (e *end) learn(peer netip.AddrPort) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.peer.IsValid() {
		e.peer = peer
	}
}

// arrivals asks the line; what is beyond the bound is lost as well.
func (e *end) arrivals(now time.Time) []time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := e.line.Send(now)
	if e.pending+len(at) > maxPending {
		e.line.Lost++
		return nil
	}
	e.pending += len(at)
	return at
}

func (e *end) deliver(d []byte) {
	e.mu.Lock()
	e.pending--
	peer := e.peer
	e.mu.Unlock()
	if peer.IsValid() {
		_, _ = e.conn.WriteToUDPAddrPort(d, peer)
	}
}

func (e *end) counts() Counts {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.line.Counts
}
