package media

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"ringfence/internal/media/dtls"
	"ringfence/internal/media/ice"
	"ringfence/internal/media/srtp"
)

// page is a peer like a browser: ICE as the controlling side, DTLS-SRTP, one
// port for everything. Without ICE it is a phone with DTLS-SRTP.
type page struct {
	t       testing.TB
	conn    *net.UDPConn
	cert    *dtls.Certificate
	ice     ice.Credentials
	noICE   bool
	proto   string
	version int
	lose    bool // its own handshake datagrams
	keyed   chan error
	only256 bool
	patient bool // sends its first hello once

	mu       sync.Mutex
	to       netip.AddrPort // we, as described
	remote   ice.Credentials
	checked  bool // a check was answered
	assoc    *dtls.Association
	role     dtls.Role
	setup    dtls.Setup
	profile  dtls.Profile
	in       *srtp.Inbound
	out      *srtp.Outbound
	got      map[string]int // payloads
	plain    int            // packets that are not SRTP under our keys
	seq      uint16
	payload  byte
	offering bool
	shaken   int  // datagrams of handshakes it sent
	shaking  bool // one came
}

func newPage(t testing.TB, addr string) *page {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(addr), 0)))
	must(t, err)
	cert, err := dtls.NewCertificate()
	must(t, err)
	p := &page{t: t, conn: conn, cert: cert, ice: ice.NewCredentials(), proto: "UDP/TLS/RTP/SAVPF", keyed: make(chan error, 16), got: map[string]int{}}
	var wg sync.WaitGroup
	wg.Go(p.read)
	t.Cleanup(func() {
		p.mu.Lock()
		a := p.assoc
		p.mu.Unlock()
		if a != nil {
			a.Close()
			<-a.Ended()
		}
		conn.Close()
		wg.Wait()
	})
	return p
}

func (p *page) addr() netip.AddrPort {
	a := p.conn.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

func (p *page) read() {
	buf := make([]byte, 2000)
	for {
		n, _, err := p.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		b := bytes.Clone(buf[:n])
		p.mu.Lock()
		switch {
		case n > 0 && b[0] <= stunLast:
			m := &stun.Message{}
			if stun.Decode(b, m) == nil && m.Type == stun.BindingSuccess {
				p.checked = true
			}
		case n > 0 && b[0] >= dtlsFirst && b[0] <= dtlsLast:
			p.shaking = true
			if p.assoc != nil {
				p.assoc.Deliver(b)
			}
		case p.in != nil && isRTCP(b):
		case p.in != nil:
			if q, err := p.in.RTP(b); err != nil {
				p.plain++
			} else {
				p.got[string(q[12:])]++
			}
		default:
			p.plain++
		}
		p.mu.Unlock()
	}
}

// describe is its offer or its answer.
func (p *page) describe(setup dtls.Setup, more ...string) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.setup, p.offering = setup, setup == dtls.Actpass
	p.version++
	a := p.addr()
	lines := []string{"v=0", fmt.Sprintf("o=- 99 %d IN IP4 127.0.0.1", p.version), "s=-", "t=0 0", "a=group:BUNDLE a0"}
	connection := a.Addr().String()
	if !p.noICE {
		connection = "0.0.0.0" // no candidate yet, as browsers begin
	}
	lines = append(lines, fmt.Sprintf("m=audio %d %s 0", a.Port(), p.proto), "c=IN IP4 "+connection, "a=mid:a0",
		"a=fingerprint:"+p.cert.Fingerprint().String(), "a=setup:"+string(setup), "a=rtcp-mux")
	if !p.noICE {
		lines = append(lines, "a=ice-ufrag:"+p.ice.Ufrag, "a=ice-pwd:"+p.ice.Pwd, "a=candidate:1 1 udp 2122260223 6a4c.local 50000 typ host")
	}
	return []byte(strings.Join(append(lines, more...), "\r\n") + "\r\n")
}

// answer answers our offer and connects.
func (p *page) answer(offer []byte, setup dtls.Setup) []byte {
	p.t.Helper()
	answer := p.describe(setup)
	mid := regexp.MustCompile(`a=mid:(\S+)`).FindSubmatch(offer)
	if mid != nil {
		answer = bytes.ReplaceAll(answer, []byte("a0"), mid[1])
	}
	p.connect(offer)
	return answer
}

// connect takes our description, and begins its checks or its handshake.
func (p *page) connect(ours []byte) {
	p.t.Helper()
	d, err := parseDescription(ours)
	must(p.t, err)
	m := d.stream(audio)
	if m == nil || len(m.fingerprints) == 0 {
		p.t.Fatalf("no audio with a fingerprint in\n%s", ours)
	}
	role := p.setup.Role()
	if p.setup == dtls.Actpass {
		role = m.setup.Role().Peer()
	}
	p.mu.Lock()
	p.to = m.rtpAddr()
	if !p.to.Addr().IsLoopback() { // what we advertise is not where we are
		p.to = netip.AddrPortFrom(loopback, m.port)
	}
	p.remote, p.role = m.ice, role
	p.mu.Unlock()
	if p.noICE {
		p.begin(m.fingerprints)
		return
	}
	if !d.media[d.by[audio]].iceLite || m.ice.Validate() != nil {
		p.t.Fatalf("we are not an ICE-lite agent in\n%s", ours)
	}
	p.checks()
	p.begin(m.fingerprints)
}

// checks sends checks until one is answered.
func (p *page) checks() {
	p.t.Helper()
	for range 100 {
		p.check(p.conn, p.ice.Ufrag, p.remote)
		time.Sleep(10 * time.Millisecond)
		p.mu.Lock()
		done := p.checked
		p.mu.Unlock()
		if done {
			return
		}
	}
	p.t.Fatal("no check was answered")
}

func (p *page) check(conn *net.UDPConn, ufrag string, remote ice.Credentials) {
	m, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(remote.Ufrag+":"+ufrag),
		stun.RawAttribute{Type: stun.AttrPriority, Value: []byte{110, 0, 30, 255}},
		stun.RawAttribute{Type: stun.AttrICEControlling, Value: []byte("tiebreak")}, stun.RawAttribute{Type: stun.AttrUseCandidate},
		stun.MessageIntegrity(remote.Pwd), stun.Fingerprint)
	must(p.t, err)
	_, err = conn.WriteToUDPAddrPort(m.Raw, p.to)
	must(p.t, err)
}

// begin starts a new association, unless there is one.
func (p *page) begin(fingerprints []dtls.Fingerprint) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.assoc != nil {
		return
	}
	a, err := dtls.Start(context.Background(), dtls.Config{
		Certificate: p.cert, Role: p.role, Remote: fingerprints, Only256: p.only256,
		Send: p.shake,
		Done: func(k dtls.Keys, err error) {
			if err == nil {
				suite, _ := srtp.ProfileSuite(uint16(k.Profile))
				p.mu.Lock()
				p.profile = k.Profile
				p.in, err = srtp.NewInbound(srtp.Key{Suite: suite, Master: k.RemoteKey, Salt: k.RemoteSalt})
				if err == nil {
					p.out, err = srtp.NewOutbound(srtp.Key{Suite: suite, Master: k.LocalKey, Salt: k.LocalSalt})
				}
				p.mu.Unlock()
			}
			p.keyed <- err
		},
	})
	must(p.t, err)
	p.assoc = a
}

func (p *page) shake(b []byte) {
	p.mu.Lock()
	p.shaken++
	waits := p.patient && p.shaken > 1 && !p.shaking
	p.mu.Unlock()
	if !waits {
		_, _ = p.conn.WriteToUDPAddrPort(b, p.to)
	}
}

// secured waits for its handshake.
func (p *page) secured() {
	p.t.Helper()
	select {
	case err := <-p.keyed:
		must(p.t, err)
	case <-time.After(10 * time.Second):
		p.t.Fatal("no keys in 10 s")
	}
}

func (p *page) say(payload string, n int) {
	p.t.Helper()
	for range n {
		q := make([]byte, 12, 64)
		p.seq++
		q[0], q[1] = 0x80, p.payload
		binary.BigEndian.PutUint16(q[2:], p.seq)
		binary.BigEndian.PutUint32(q[4:], uint32(p.seq)*160)
		binary.BigEndian.PutUint32(q[8:], 77)
		q = append(q, payload...)
		p.mu.Lock()
		q, err := p.out.RTP(make([]byte, 0, 128), q)
		p.mu.Unlock()
		must(p.t, err)
		_, err = p.conn.WriteToUDPAddrPort(q, p.to)
		must(p.t, err)
	}
}

func (p *page) heard(payload string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.got[payload]
}
