package sip

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"ringfence/internal/ports"
	"ringfence/internal/tries"
)

// unheard is how long what we sent on a connection of our own making may stay
// without an acknowledgement of TCP, before the connection counts as dead: time
// for four of its retransmissions, and short enough that a call takes another
// way within 4 seconds.
const unheard = 3 * time.Second

// Connecting is a connection to be made.
type Connecting struct {
	// Service is the row whose kind the connection is: ports.SIPTCP or
	// ports.SIPTLS. Nothing needs to listen there.
	Service ports.ID
	Remote  netip.AddrPort
	// Dial makes the connection; it is where addresses are checked.
	Dial func(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error)
	// ServerName is the SIP domain or address that the peer's certificate must
	// name (RFC 5922 section 7.1).
	ServerName string
	// Roots are the authorities that are believed; nil is those of the system.
	Roots *x509.CertPool
	// Gone is called once, in a goroutine of its own, when the connection has
	// ended, whoever ended it.
	Gone func()
}

// newDialled makes the owners of outgoing connections.
func newDialled(e *Endpoint) map[ports.ID]*streamListener {
	all := make(map[ports.ID]*streamListener)
	for id, protocol := range map[ports.ID]string{ports.SIPTCP: "TCP", ports.SIPTLS: "TLS"} {
		all[id] = &streamListener{e: e, id: id, side: ports.Core, protocol: protocol, stop: make(chan struct{})}
	}
	return all
}

// Connect makes a connection to a peer (RFC 3261 section 18.1.1) and returns its
// flow: for requests to the peer, and for those of the peer, which come in like
// all others. It counts as authenticated. Close the flow, or the endpoint.
func (e *Endpoint) Connect(ctx context.Context, c Connecting) (Flow, error) {
	l, ok := e.dialled[c.Service]
	if !ok {
		return Flow{}, fmt.Errorf("connecting to %s: %q is no stream transport", c.Remote, c.Service)
	}
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Streams.Handshake)
	defer cancel()
	raw, err := c.Dial(ctx, "tcp", c.Remote)
	if err != nil {
		return Flow{}, err
	}
	limitSilence(raw)
	socket := raw
	if l.protocol == "TLS" {
		t := tls.Client(raw, c.tls(e.cfg.TLS))
		if err := t.HandshakeContext(ctx); err != nil {
			return Flow{}, errors.Join(fmt.Errorf("TLS with %s: %w", c.Remote, err), raw.Close())
		}
		socket = t
	}
	conn := &conn{e: e, l: l, raw: raw, source: tries.Source(c.Remote.Addr()), protocol: l.protocol, done: make(chan struct{})}
	conn.flow = Flow{Listener: l.id, Side: l.side, Local: addrOf(raw.LocalAddr()), Remote: c.Remote, Token: rand.Text(), transport: conn}
	if !e.adopt(l, conn, socket, c.Gone) {
		return Flow{}, errors.Join(fmt.Errorf("connecting to %s: too many connections, or closing", c.Remote), raw.Close())
	}
	return conn.flow, nil
}

// adopt takes a connection that stands into the books and reads from it.
func (e *Endpoint) adopt(l *streamListener, c *conn, socket net.Conn, gone func()) bool {
	e.mu.RLock() // Close waits for what is adopted before it, and then nothing is
	defer e.mu.RUnlock()
	if e.closed || !e.conns.add(c) {
		return false
	}
	e.conns.trust(c)
	if gone != nil {
		c.gone = func() { go gone() }
	}
	l.open(c, socket)
	l.wg.Go(func() {
		defer e.gone(c)
		l.talk(c, socket)
	})
	return true
}

// Close ends the connection of a flow that Connect made, once what is queued has
// been written. Flows of listeners stay.
func (f Flow) Close() {
	if c, ok := f.transport.(*conn); ok && c.l.ln == nil {
		_ = c.raw.SetWriteDeadline(within(partTime))
		c.part()
	}
}

// Live reports whether a flow can still be sent on, as far as is known here.
func (f Flow) Live() bool {
	c, ok := f.transport.(*conn)
	if !ok {
		return f.Valid()
	}
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// Ping sends the keep-alive of a connection (RFC 5626 section 3.5.1), which
// keeps NATs open and finds out whether the other end is there: if it does not
// even acknowledge it, the connection ends.
func (f Flow) Ping() error {
	c, ok := f.transport.(*conn)
	if !ok {
		return nil
	}
	return c.Send(f, []byte("\r\n\r\n"))
}

// limitSilence has the kernel give up a connection whose peer acknowledges
// nothing (RFC 5482); without it that takes 15 minutes.
func limitSilence(raw net.Conn) {
	t, ok := raw.(*net.TCPConn)
	if !ok {
		return
	}
	if s, err := t.SyscallConn(); err == nil {
		_ = s.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unheard/time.Millisecond))
		})
	}
}

// tls verifies the peer's chain, and that its certificate is for the SIP domain:
// by a URI of it, or by its name (RFC 5922 section 7.1, steps 1 and 2).
func (c *Connecting) tls(ours TLS) *tls.Config {
	name := strings.Trim(c.ServerName, "[]")
	verify := func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return errors.New("peer shows no certificate")
		}
		o := x509.VerifyOptions{Roots: c.Roots, Intermediates: x509.NewCertPool()}
		for _, x := range s.PeerCertificates[1:] {
			o.Intermediates.AddCert(x)
		}
		leaf := s.PeerCertificates[0]
		if _, err := leaf.Verify(o); err != nil {
			return fmt.Errorf("certificate of %s: %w", name, err)
		}
		for _, u := range leaf.URIs {
			if strings.EqualFold(u.Scheme, "sip") && strings.EqualFold(u.Opaque, name) {
				return nil
			}
		}
		if err := leaf.VerifyHostname(name); err != nil {
			return fmt.Errorf("certificate of %s: %w", name, err)
		}
		return nil
	}
	// The check of the standard library knows no SIP URIs: verify does all of it.
	return &tls.Config{MinVersion: tls.VersionTLS12, ServerName: name, InsecureSkipVerify: true, VerifyConnection: verify, GetClientCertificate: ours.show}
}

// show is our certificate for peers that ask for one: the same that they see
// when they connect to us.
func (t TLS) show(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	if t.GetCertificate != nil {
		if c, err := t.GetCertificate(&tls.ClientHelloInfo{}); err == nil && c != nil {
			return c, nil
		}
	}
	return &tls.Certificate{}, nil
}
