package siptest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// accepting is the wire of one that listens: connections come to it, and what
// it sends goes out by the one from that address.
type accepting struct {
	ln   net.Listener
	came chan arrived
	stop chan struct{}
	wg   sync.WaitGroup

	mu    sync.Mutex
	conns map[netip.AddrPort]*stream
}

type arrived struct {
	message []byte
	from    netip.AddrPort
}

func accept(c *Config) (wire, error) {
	ln, err := net.Listen("tcp", c.Listen.String())
	if err != nil {
		return nil, err
	}
	if c.Transport == "TLS" {
		if c.TLS == nil {
			return nil, errors.Join(errors.New("a TLS listener has no certificate"), ln.Close())
		}
		ln = tls.NewListener(ln, c.TLS)
	}
	a := &accepting{ln: ln, came: make(chan arrived, 64), stop: make(chan struct{}), conns: map[netip.AddrPort]*stream{}}
	a.wg.Go(a.serve)
	return a, nil
}

func (a *accepting) serve() {
	for {
		conn, err := a.ln.Accept()
		if err != nil {
			return
		}
		from := plain(conn.RemoteAddr().(*net.TCPAddr).AddrPort())
		s := &stream{conn: conn, server: from, r: bufio.NewReader(conn)}
		a.mu.Lock()
		a.conns[from] = s
		a.mu.Unlock()
		a.wg.Go(func() { a.read(s, from) })
	}
}

func (a *accepting) read(s *stream, from netip.AddrPort) {
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.conns, from)
		s.close()
	}()
	for {
		m, _, err := s.receive()
		if err != nil {
			return
		}
		if string(m) == "\r\n" {
			continue
		}
		select {
		case a.came <- arrived{m, from}:
		case <-a.stop:
			return
		}
	}
}

func (a *accepting) send(to netip.AddrPort, b []byte) error {
	a.mu.Lock()
	s := a.conns[to]
	a.mu.Unlock()
	if s == nil {
		return fmt.Errorf("there is no connection from %s", to)
	}
	return s.send(to, b)
}

func (a *accepting) receive() ([]byte, netip.AddrPort, error) {
	select {
	case m := <-a.came:
		return m.message, m.from, nil
	case <-a.stop:
		return nil, netip.AddrPort{}, io.EOF
	}
}

func (a *accepting) addr() netip.AddrPort {
	return plain(a.ln.Addr().(*net.TCPAddr).AddrPort())
}

// hangUp ends all connections.
func (a *accepting) hangUp() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.conns {
		_ = s.conn.SetDeadline(time.Now())
		s.conn.Close()
	}
}

func (a *accepting) close() {
	close(a.stop)
	a.ln.Close()
	a.hangUp()
	a.wg.Wait()
}
