package siptest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/srtp/v3"
	"github.com/pion/transport/v5/packetio"
)

// DTLS-SRTP without ICE (RFC 5763, RFC 5764), written apart from what it is to
// test.

// handshakeLimit bounds a handshake.
const handshakeLimit = 20 * time.Second

// certificate is what a phone shows in handshakes.
type certificate struct {
	tls         tls.Certificate
	fingerprint string // as SDP has it
}

func newCertificate() (*certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &certificate{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, fingerprintOf(der)}, nil
}

// fingerprintOf is the value of a=fingerprint (RFC 8122 section 5).
func fingerprintOf(der []byte) string {
	sum := sha256.Sum256(der)
	parts := make([]string, len(sum))
	for i, b := range sum {
		parts[i] = fmt.Sprintf("%02X", b)
	}
	return "sha-256 " + strings.Join(parts, ":")
}

// certificate is the phone's in this call; c.mu is held.
func (c *Call) certificate() *certificate {
	if c.cert == nil {
		c.cert, _ = newCertificate()
	}
	return c.cert
}

// keyed reports whether both sides mean to make keys by DTLS; c.mu is held.
func (c *Call) keyed() bool {
	return c.phone.config.DTLS && c.remote.Fingerprint != ""
}

// active reports whether we are the client: what the peer says, and what we were
// before or would rather be where it leaves that to us (RFC 5763 section 5); c.mu
// is held.
func (c *Call) active() bool {
	switch a := c.media.Load().association; {
	case c.remote.Setup == "active":
		return false
	case c.remote.Setup == "passive" || a == nil:
		return true
	default:
		return a.client
	}
}

// dtlsLines are the attributes of a description of ours; c.mu is held.
func (c *Call) dtlsLines(answer bool) string {
	setup := "actpass"
	if answer {
		if setup = "passive"; c.active() {
			setup = "active"
		}
	}
	fingerprint := c.certificate().fingerprint
	if !answer && c.newCert != nil {
		fingerprint = c.newCert.fingerprint
	}
	if c.phone.config.WrongFingerprint {
		fingerprint = fingerprintOf([]byte("somebody else's"))
	}
	lines := "a=fingerprint:" + fingerprint + "\r\na=setup:" + setup + "\r\n"
	if !c.phone.config.NoMux && (!answer || c.remote.Mux) {
		lines += "a=rtcp-mux\r\n"
	}
	return lines
}

// shake makes keys with the peer, unless it did with what both sides say now; c.mu
// is held.
func (c *Call) shake(m *media) {
	if c.sdpVersion == 0 || c.phone.config.MuteDTLS {
		return // nothing was said yet
	}
	cert := c.certificate()
	m.mu.Lock()
	defer m.mu.Unlock()
	at := c.remote.Addr
	if a := m.association; a != nil && a.cert == cert && a.theirs == c.remote.Fingerprint && (a.at == at || !at.IsValid() || at.Addr().IsUnspecified()) {
		return
	}
	client := c.active()
	if m.association != nil {
		m.association.close()
	}
	m.shield = nil
	a := &association{media: m, cert: cert, theirs: c.remote.Fingerprint, at: at, client: client, in: packetio.NewBuffer()}
	a.in.SetLimitCount(64)
	m.association, m.remote = a, at
	if !c.phone.start(a.run) {
		a.close()
	}
}

// association is a handshake and what came of it.
type association struct {
	media  *media
	cert   *certificate
	theirs string // fingerprint
	at     netip.AddrPort
	client bool
	in     *packetio.Buffer
}

func (a *association) close() { _ = a.in.Close() }

// run makes the keys and stays until the call, or another association, ends it.
func (a *association) run() {
	ctx, cancel := context.WithTimeout(a.media.phone.ctx, handshakeLimit)
	defer cancel()
	conn, err := a.connect(ctx)
	if err == nil {
		err = a.secure(conn)
	}
	if err != nil {
		a.media.phone.logf("%s: DTLS: %v", a.media.phone.config.User, err)
		a.media.mu.Lock()
		a.media.failed = err
		a.media.mu.Unlock()
	}
	if conn == nil {
		return
	}
	b := make([]byte, 2048)
	for err == nil {
		_, err = conn.Read(b)
	}
	_ = conn.Close()
}

func (a *association) connect(ctx context.Context) (*dtls.Conn, error) {
	stop := context.AfterFunc(ctx, a.close)
	defer stop()
	options := []dtls.Option{
		dtls.WithCertificates(a.cert.tls),
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80),
		dtls.WithInsecureSkipVerify(true),
		dtls.WithFlightInterval(100 * time.Millisecond),
		dtls.WithVerifyPeerCertificate(func(chain [][]byte, _ [][]*x509.Certificate) error {
			if len(chain) == 0 || fingerprintOf(chain[0]) != a.theirs {
				return fmt.Errorf("another certificate than described")
			}
			return nil
		}),
	}
	var conn *dtls.Conn
	var err error
	if a.client {
		list := make([]dtls.ClientOption, len(options))
		for i, o := range options {
			list[i] = o
		}
		conn, err = dtls.ClientWithOptions(a, nowhere{}, list...)
	} else {
		list := []dtls.ServerOption{dtls.WithClientAuth(dtls.RequireAnyClientCert)}
		for _, o := range options {
			list = append(list, o)
		}
		conn, err = dtls.ServerWithOptions(a, nowhere{}, list...)
	}
	if err != nil {
		return nil, err
	}
	return conn, conn.HandshakeContext(ctx)
}

// secure takes the keys (RFC 5764 section 4.2).
func (a *association) secure(conn *dtls.Conn) error {
	chosen, _ := conn.SelectedSRTPProtectionProfile()
	profile := srtp.ProtectionProfile(chosen)
	key, err := profile.KeyLen()
	if err != nil {
		return err
	}
	salt, err := profile.SaltLen()
	if err != nil {
		return err
	}
	state, ok := conn.ConnectionState()
	if !ok {
		return fmt.Errorf("connection without a state")
	}
	material, err := state.ExportKeyingMaterial("EXTRACTOR-dtls_srtp", nil, 2*(key+salt))
	if err != nil {
		return err
	}
	salts := material[2*key:]
	client, err := srtp.CreateContext(material[:key], salts[:salt], profile)
	if err != nil {
		return err
	}
	server, err := srtp.CreateContext(material[key:2*key], salts[salt:], profile)
	if err != nil {
		return err
	}
	s := &shield{suite: profile.String(), out: client, in: server}
	if !a.client {
		s.out, s.in = server, client
	}
	a.media.mu.Lock()
	defer a.media.mu.Unlock()
	if a.media.association == a {
		a.media.shield, a.media.failed = s, nil
	}
	return nil
}

// The packet connection under an association.

func (a *association) ReadFrom(b []byte) (int, net.Addr, error) {
	n, _, err := a.in.Read(b, nil)
	return n, nowhere{}, err
}

func (a *association) WriteTo(b []byte, _ net.Addr) (int, error) {
	a.media.mu.Lock()
	to := a.media.remote
	a.media.mu.Unlock()
	if to.IsValid() {
		_, _ = a.media.rtp.WriteToUDPAddrPort(b, to)
	}
	return len(b), nil
}

func (a *association) Close() error                      { return a.in.Close() }
func (a *association) LocalAddr() net.Addr               { return nowhere{} }
func (a *association) SetReadDeadline(t time.Time) error { return a.in.SetReadDeadline(t) }
func (a *association) SetDeadline(t time.Time) error     { return a.in.SetReadDeadline(t) }
func (*association) SetWriteDeadline(time.Time) error    { return nil }

type nowhere struct{}

func (nowhere) Network() string { return "dtls" }
func (nowhere) String() string  { return "peer" }
