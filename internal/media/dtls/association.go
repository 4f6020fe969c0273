// Package dtls makes the keys of SRTP with a peer: a DTLS association
// (RFC 5764) over a packet pipe, in which the peer proves to hold the
// certificate its description named (RFC 5763).
package dtls

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/logging"
)

const (
	// Timeout is how long a handshake may take.
	Timeout = 20 * time.Second
	// flightInterval is the first wait for the answer to a flight. RFC 6347
	// section 4.2.4.1 suggests a second; here somebody waits for a voice, and
	// browsers are at 50 ms.
	flightInterval = 250 * time.Millisecond
	// grace is how long a handshake may go on after an alert in the clear,
	// which may be forged.
	grace = 2 * time.Second
)

// Errors of a handshake. They come wrapped.
var (
	// ErrTimeout says that the peer did not finish the handshake in time.
	ErrTimeout = errors.New("handshake took too long")
	// ErrAlert says that the peer ended the handshake.
	ErrAlert = errors.New("peer ended the handshake with an alert")
	// ErrClosed says that the association was closed before.
	ErrClosed = errors.New("association is closed")
)

// Config is what an Association is made from.
type Config struct {
	Certificate *Certificate
	Role        Role
	// Remote are the fingerprints the peer's description named; the
	// certificate must match one of those with the strongest hash function.
	Remote []Fingerprint
	// Only256 refuses every profile but SRTP_AEAD_AES_256_GCM.
	Only256 bool
	// Verified says that the peer proved to be where it is, as by ICE: its
	// ClientHello needs no cookie (RFC 6347 section 4.2.1).
	Verified bool
	// Timeout is how long the handshake may take; 0 means Timeout.
	Timeout time.Duration
	// Send sends a datagram to the peer. It must not keep it, nor block.
	Send func(datagram []byte)
	// Done is called once, with the keys or with why there are none. The
	// association must not be waited for in it.
	Done func(Keys, error)
}

// Association is one DTLS association with a peer (RFC 8842 section 3).
type Association struct {
	config Config
	pipe   *pipe
	cancel context.CancelCauseFunc // of everything
	giveUp context.CancelCauseFunc // of the handshake
	ended  chan struct{}

	alerted atomic.Bool
}

// Start begins a handshake in a goroutine of its own. The caller must Close the
// association.
func Start(ctx context.Context, c Config) (*Association, error) {
	c.Remote = Strongest(c.Remote)
	if len(c.Remote) == 0 {
		return nil, fmt.Errorf("starting DTLS: %w: the peer described none", ErrFingerprint)
	}
	if c.Timeout <= 0 {
		c.Timeout = Timeout
	}
	a := &Association{config: c, pipe: newPipe(c.Send), ended: make(chan struct{})}
	conn, err := a.connection()
	if err != nil {
		return nil, fmt.Errorf("starting DTLS: %w", err)
	}
	ctx, a.cancel = context.WithCancelCause(ctx)
	shaking, giveUp := context.WithCancelCause(ctx)
	a.giveUp = giveUp
	go a.run(ctx, shaking, conn)
	return a, nil
}

// Deliver takes a datagram of the peer, whose first byte is 20 to 63
// (RFC 7983), and may write over it. Only datagrams from where the peer was
// proven to be, as by ICE, may be delivered.
func (a *Association) Deliver(datagram []byte) {
	kept, alerted := sift(datagram)
	if len(kept) > 0 {
		_, _ = a.pipe.in.Write(kept, nil) // full or closed: the datagram is lost
	}
	if alerted && a.alerted.CompareAndSwap(false, true) {
		time.AfterFunc(grace, func() { a.giveUp(ErrAlert) }) // too late when it has succeeded
	}
}

// Close ends the association: the peer gets a close_notify, and Done an error
// if it was not called yet. It does not wait; see Ended.
func (a *Association) Close() { a.cancel(ErrClosed) }

// Ended is closed when the last goroutine of the association has ended.
func (a *Association) Ended() <-chan struct{} { return a.ended }

// connection makes the connection of our role.
func (a *Association) connection() (*dtls.Conn, error) {
	silent := &logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled}
	options := []dtls.Option{
		dtls.WithCertificates(a.config.Certificate.tls),
		dtls.WithCipherSuites(
			dtls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, dtls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, dtls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		),
		dtls.WithSRTPProtectionProfiles(profiles(a.config.Only256)...),
		dtls.WithFlightInterval(flightInterval),
		dtls.WithLoggerFactory(silent),
		// Nobody signs the certificates of peers: the fingerprint in the
		// description is what counts (RFC 5763 section 5).
		dtls.WithInsecureSkipVerify(true),
		dtls.WithVerifyPeerCertificate(a.verify),
	}
	if a.config.Role == Client {
		list := make([]dtls.ClientOption, len(options))
		for i, o := range options {
			list[i] = o
		}
		return dtls.ClientWithOptions(a.pipe, nowhere{}, list...)
	}
	list := []dtls.ServerOption{dtls.WithClientAuth(dtls.RequireAnyClientCert), dtls.WithInsecureSkipVerifyHello(a.config.Verified)}
	for _, o := range options {
		list = append(list, o)
	}
	return dtls.ServerWithOptions(a.pipe, nowhere{}, list...)
}

// run makes the handshake, hands over the keys, and then keeps the association,
// so that the peer gets our last flight again if it was lost, until either side
// closes it.
func (a *Association) run(ctx, shaking context.Context, conn *dtls.Conn) {
	defer close(a.ended)
	defer a.cancel(nil)
	keys, err := a.shake(shaking, conn)
	a.giveUp(nil)
	a.config.Done(keys, err)
	if err != nil {
		_ = conn.Close() // the peer got an alert, if there was a reason for one
		return
	}
	left := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(left)
		_ = conn.Close()
	})
	b := make([]byte, maxRecord)
	for {
		// Data of an application is nobody's here (RFC 5764 section 3).
		if _, err := conn.Read(b); err != nil {
			break
		}
	}
	if !stop() {
		<-left
	}
	_ = conn.Close()
}

// shake makes the handshake within its time.
func (a *Association) shake(ctx context.Context, conn *dtls.Conn) (Keys, error) {
	ctx, stop := context.WithTimeoutCause(ctx, a.config.Timeout, ErrTimeout)
	defer stop()
	if err := conn.HandshakeContext(ctx); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return Keys{}, fmt.Errorf("DTLS handshake: %w", err)
	}
	keys, err := keysOf(conn, a.config.Role)
	if err != nil {
		return Keys{}, fmt.Errorf("DTLS handshake: %w", err)
	}
	return keys, nil
}

// verify is called with the certificate the peer proved to hold. An error ends
// the handshake with the alert bad_certificate.
func (a *Association) verify(chain [][]byte, _ [][]*x509.Certificate) error {
	if len(chain) == 0 {
		return fmt.Errorf("%w: the peer has no certificate", ErrFingerprint)
	}
	return verify(a.config.Remote, chain[0])
}
