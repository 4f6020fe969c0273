package sip

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/tries"
)

// StreamTimes bound how long a connection may take; zero fields take the
// defaults.
type StreamTimes struct {
	Handshake time.Duration // TLS and the WebSocket upgrade; 10 s
	Message   time.Duration // from the first byte of a message to its last; 10 s
	Write     time.Duration // one message to a slow reader; 10 s
	// Idle is how long a peer that has not authenticated may say nothing, 30 s;
	// Registered the same for one that has, 2 h: longer than a registration
	// lasts. Dead peers are found by the keep-alives of TCP and WebSocket.
	Idle, Registered time.Duration
	Ping             time.Duration // between two Pings of a WebSocket; 30 s
}

func (t StreamTimes) withDefaults() StreamTimes {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&t.Handshake, 10*time.Second)
	def(&t.Message, 10*time.Second)
	def(&t.Write, 10*time.Second)
	def(&t.Idle, 30*time.Second)
	def(&t.Registered, 2*time.Hour)
	def(&t.Ping, 30*time.Second)
	return t
}

// idle is how long the peer of c may say nothing.
func (t StreamTimes) idle(c *conn) time.Duration {
	if c.trusted.Load() {
		return t.Registered
	}
	return t.Idle
}

// TLS is what the encrypted listeners need.
type TLS struct {
	// GetCertificate answers each handshake, so a new certificate is in force
	// for the next one.
	GetCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Clients returns the authorities that client certificates are verified
	// with when presented, and whether one must be; nil, and a nil pool, ask
	// for none. It is called for each handshake of a SIP over TLS listener.
	Clients func() (pool *x509.CertPool, required bool)
}

// config is the tls.Config of a listener.
func (t TLS) config(clients bool) *tls.Config {
	base := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: t.GetCertificate}
	if !clients || t.Clients == nil {
		return base
	}
	base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		pool, required := t.Clients()
		if pool == nil {
			return nil, nil
		}
		c := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: t.GetCertificate, ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven}
		if required {
			c.ClientAuth = tls.RequireAndVerifyClientCert
		}
		return c, nil
	}
	return base
}

// streamListener is one listening TCP socket and its connections; without a
// socket, all connections of one kind that we made.
type streamListener struct {
	e        *Endpoint
	id       ports.ID
	side     ports.Side
	ln       net.Listener // nil: we connect
	protocol string
	tls      *tls.Config // nil for TCP
	wg       sync.WaitGroup
	stop     chan struct{}
}

// Send is for flows whose connection is not known any more.
func (l *streamListener) Send(Flow, []byte) error { return ErrFlowGone }
func (l *streamListener) Protocol() string        { return l.protocol }
func (l *streamListener) Reliable() bool          { return true }

// Resolve finds the connection of a stored flow.
func (l *streamListener) Resolve(f Flow) (Flow, error) {
	if c := l.e.conns.find(f.Token); c != nil && c.l.id == f.Listener {
		return c.flow, nil
	}
	return Flow{}, ErrFlowGone
}

func (e *Endpoint) openStream(k listenKey, svc ports.Service) (*listener, error) {
	l := &streamListener{e: e, id: svc.ID, side: svc.Side, stop: make(chan struct{})}
	serve := l.accept
	switch svc.Wrap {
	case ports.SIP:
		l.protocol = "TCP"
	case ports.SIPS:
		l.protocol, l.tls = "TLS", e.cfg.TLS.config(true)
	case ports.SIPWSS:
		l.protocol, l.tls = "WSS", e.cfg.TLS.config(false)
		serve = l.serveWebSocket
	}
	if l.tls != nil && e.cfg.TLS.GetCertificate == nil {
		return nil, errors.New("there is no certificate")
	}
	network := "tcp4"
	if k.bind.Addr().Is6() {
		network = "tcp6" // without IPv4: that is its own socket
	}
	lc := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 4}}
	// Landlock's port rules do not see MPTCP sockets, which Go would open.
	lc.SetMultipathTCP(false)
	var err error
	if l.ln, err = lc.Listen(context.Background(), network, k.bind.String()); err != nil {
		return nil, fmt.Errorf("binding %s %s: %w", network, k.bind, err)
	}
	l.wg.Go(serve)
	return &listener{id: k.id, side: svc.Side, bind: k.bind, addr: addrOf(l.ln.Addr()), transport: l, close: l.close}, nil
}

func addrOf(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	p := t.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap().WithZone(""), p.Port())
}

// partTime is how long connections of a closing listener get to write what is
// queued, such as the BYE of a shutdown.
const partTime = 500 * time.Millisecond

// graceTime is how long answers may take after the peer lost the thread.
const graceTime = 200 * time.Millisecond

// close frees the port, then ends the connections. It returns when all their
// goroutines have ended.
func (l *streamListener) close() error {
	close(l.stop)
	var err error
	if l.ln != nil {
		err = l.ln.Close()
	}
	all := l.e.conns.of(l)
	for _, c := range all {
		_ = c.raw.SetWriteDeadline(within(partTime))
		c.part()
	}
	late := time.AfterFunc(partTime, func() {
		for _, c := range l.e.conns.of(l) {
			c.kill()
		}
	})
	defer late.Stop()
	l.wg.Wait()
	return err
}

// admit makes a connection of an accepted socket; nil means it was refused.
func (l *streamListener) admit(raw net.Conn) *conn {
	remote := addrOf(raw.RemoteAddr())
	c := &conn{e: l.e, l: l, raw: raw, source: tries.Source(remote.Addr()), protocol: l.protocol, done: make(chan struct{})}
	c.flow = Flow{Listener: l.id, Side: l.side, Local: addrOf(raw.LocalAddr()), Remote: remote, Token: rand.Text(), transport: c}
	if !l.e.conns.add(c) {
		l.e.stats.refused.Add(1)
		_ = raw.Close()
		return nil
	}
	return c
}

// accept serves each connection in a goroutine of its own, the handshake too.
func (l *streamListener) accept() {
	for {
		raw, err := l.ln.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			l.e.stats.readErrors.Add(1)
			time.Sleep(5 * time.Millisecond) // out of descriptors: never a busy loop
			continue
		}
		if c := l.admit(raw); c != nil {
			l.wg.Go(func() {
				defer l.e.gone(c)
				l.serve(c)
			})
		}
	}
}

func (l *streamListener) serve(c *conn) {
	times := l.e.cfg.Streams
	socket := c.raw
	if l.tls != nil {
		t := tls.Server(c.raw, l.tls)
		_ = t.SetDeadline(within(times.Handshake))
		if err := t.Handshake(); err != nil {
			l.e.log.Debug("TLS handshake failed", slog.String("peer", c.flow.Remote.String()), slog.Any("error", err))
			return
		}
		_ = t.SetDeadline(time.Time{})
		socket = t
	}
	l.open(c, socket)
	select {
	case <-l.stop: // closed meanwhile
		return
	default:
	}
	l.talk(c, socket)
}

// open lets messages out by a connection.
func (l *streamListener) open(c *conn, socket net.Conn) {
	times := l.e.cfg.Streams
	half, _ := socket.(interface{ CloseWrite() error })
	c.ready(func(b []byte) error {
		_ = c.raw.SetWriteDeadline(within(times.Write))
		_, err := socket.Write(b)
		return err
	}, func() {
		_ = half.CloseWrite()
		_ = c.raw.SetReadDeadline(within(partTime))
	})
}

// talk takes messages until the connection ends.
func (l *streamListener) talk(c *conn, socket net.Conn) {
	if !l.read(c, socket) {
		return
	}
	// The answers to earlier messages are still on their way to the queue.
	select {
	case <-c.done:
	case <-l.stop:
	case <-time.After(graceTime):
	}
	c.part()
	// Reading on keeps the kernel from resetting the connection before the peer
	// has read the answers.
	_ = c.raw.SetReadDeadline(within(partTime))
	_, _ = io.CopyN(io.Discard, socket, maxMessage)
}

// read takes messages until the connection ends. It reports whether that was
// for a message whose end cannot be found, and there are answers to deliver.
func (l *streamListener) read(c *conn, socket net.Conn) (lost bool) {
	e, times := l.e, l.e.cfg.Streams
	stranger := true // as far as the deadline in force goes
	wait := func() {
		stranger = !c.trusted.Load()
		_ = c.raw.SetReadDeadline(within(times.idle(c)))
	}
	f := framer{
		r: bufio.NewReader(socket),
		began: func() {
			stranger = false
			_ = c.raw.SetReadDeadline(within(times.Message))
		},
		ping: func() {
			if c.trusted.Load() {
				wait()
			}
			_ = c.Send(c.flow, []byte("\r\n"))
		},
	}
	spoke := false
	for {
		wait()
		buf := e.buffers.Get().(*[]byte)
		raw, err := f.next((*buf)[:0])
		*buf = raw
		switch {
		case err == nil:
			spoke = true
			e.conns.spoke(c)
			e.receive(c.flow, raw, c.done)
		case errors.Is(err, errTooLarge):
			lost = e.refuse(c.flow, raw, Reply{Code: 513}) || spoke
		case errors.Is(err, errBadLength):
			lost = e.refuse(c.flow, raw, Reply{Code: 400, Reason: "Missing or Malformed Content-Length"}) || spoke
		case errors.Is(err, errNoStartLine):
			e.junked(c.flow)
			lost = spoke
		case stranger && c.trusted.Load() && errors.Is(err, os.ErrDeadlineExceeded):
			err = nil // its last message has proven who it is since
		}
		e.recycle(buf)
		if err != nil {
			return lost
		}
		select {
		case <-c.done:
			return false
		default:
		}
	}
}

// refuse answers a request whose end cannot be found, if so much as its head
// can be read, and reports whether it did.
func (e *Endpoint) refuse(f Flow, head []byte, p Reply) bool {
	e.stats.malformed.Add(1)
	if e.cfg.Gate != nil && !e.cfg.Gate(f, head) {
		return false
	}
	e.traced(false, f, head)
	m, err := parse(head, f)
	if err != nil || m.req == nil || m.req.Method == ACK || !m.req.Has("Via") {
		e.junked(f)
		return false
	}
	tx := &ServerTx{e: e, req: m.req, came: time.Now()}
	tx.Reply(p)
	return true
}
