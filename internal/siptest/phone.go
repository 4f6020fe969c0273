// Package siptest is a scriptable phone for tests, load tools and drills: it
// speaks SIP over UDP, TCP, TLS and WebSocket with its own transactions, sends
// a tone as RTP in real time and tells which tones it hears. It shares no code
// with the PBX.
package siptest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// Config describes a phone.
type Config struct {
	Server   netip.AddrPort // where requests go
	User     string         // SIP user name
	AuthUser string         // user name of the digest; empty means User
	Password string
	Domain   string // SIP domain; empty means the server's address
	// Transport is UDP (also if empty), TCP, TLS, WS or WSS. All but UDP use
	// one connection to Server, for everything.
	Transport string
	// TLS is for TLS and WSS; nil takes any certificate.
	TLS *tls.Config
	// Accepts listens for connections on Listen instead of making one to Server,
	// with TCP or TLS, whose certificate TLS has.
	Accepts bool
	// AnyUser takes calls to every user part: a provider, a gateway.
	AnyUser bool
	// Origin is what a browser would send with the upgrade to WebSocket.
	Origin string
	// Tone in whole Hz is sent in every call; 0 sends silence.
	Tone float64
	// Listen is the address the phone binds; port 0 picks one. Zero means
	// the local address that reaches Server.
	Listen netip.AddrPort
	// Advertise replaces the address in Contact, Via and SDP: a phone behind
	// NAT.
	Advertise netip.Addr
	// Host replaces address and port in Contact and Via: what a browser has,
	// that knows neither ("x7f2.invalid", RFC 7118 section 5).
	Host string
	// Suites are those of SRTP in order of preference, as the phone spells
	// them; empty is media in the clear. Opportunistic offers them with RTP/AVP
	// (RFC 8643). One that insists refuses calls that offer anything but
	// RTP/SAVP.
	Suites        []string
	Opportunistic bool
	Insists       bool
	// DTLS makes keys in the media's path (RFC 5764), over UDP/TLS/RTP/SAVP or,
	// Opportunistic, RTP/AVP. NoMux has reports on a port of their own.
	DTLS, NoMux bool
	// WrongFingerprint describes another certificate than the phone's;
	// MuteDTLS agrees on DTLS and says nothing.
	WrongFingerprint, MuteDTLS bool
	// FirstSequence is that of the first RTP packet; 0 picks one.
	FirstSequence uint16
	// Codecs in order of preference: "PCMU", "PCMA", "opus". Empty means
	// the first two.
	Codecs []string
	// ViaServer sends requests inside a dialog to Server too, and not to the
	// peer's Contact.
	ViaServer bool
	// AutoAnswer rings and answers every call at once.
	AutoAnswer bool
	// Keep is how much received audio a call keeps for analysis; 0 means the
	// last 10 s, negative none.
	Keep time.Duration
	// T1 is the round-trip estimate of RFC 3261 section 17; 0 means 500 ms.
	T1 time.Duration
	// Expires is the registration interval asked for; 0 means 600 s.
	Expires time.Duration
	// ListenUDP opens sockets, in a network namespace for example; nil means
	// net.ListenUDP.
	ListenUDP func(netip.AddrPort) (*net.UDPConn, error)
	// Dial connects to Server, from a network namespace for example; nil means
	// from the address Listen.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Log receives one line per message and event; nil logs nothing.
	Log func(format string, args ...any)
}

// TB is what NewPhone needs of *testing.T.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// ErrClosed says that the phone was closed.
var ErrClosed = errors.New("phone is closed")

// ErrTimeout says that nobody answered a request (timers B and F of RFC 3261).
var ErrTimeout = errors.New("no response in time")

// StatusError is a final response that was not a success.
type StatusError struct {
	Code   int
	Reason string
}

func (e *StatusError) Error() string { return fmt.Sprintf("%d %s", e.Code, e.Reason) }

// Filter sees every datagram before it is sent (out) or handled, and returns
// what goes on instead: nil loses it, two duplicate it. peer is the other end.
type Filter func(out bool, peer netip.AddrPort, datagram []byte) [][]byte

// Handler sees a request before the phone does; true means it was dealt with.
type Handler func(req *sip.Request, from netip.AddrPort) bool

// Message is one entry of a phone's trace.
type Message struct {
	Time time.Time
	Out  bool
	Peer netip.AddrPort
	Text string
}

// traceLimit bounds the trace; the oldest messages go first.
const traceLimit = 2000

// Phone is one user agent with one socket for signalling.
type Phone struct {
	config Config
	wire   wire
	bound  netip.AddrPort
	tones  toneCache

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	wg   sync.WaitGroup

	incoming chan *Call
	lost     chan struct{} // closed when nothing more can come

	mu      sync.Mutex
	closed  bool
	filter  Filter
	handler Handler
	trace   []Message
	clients map[string]*clientTx // by branch and method
	servers map[string]*serverTx // by branch, sent-by and method
	calls   map[callKey]*Call
	subs    map[string]*Subscription // by Call-ID
	contact []string                 // of the last registration's response
	regID   string
	regSeq  uint32
}

type callKey struct{ id, localTag string }

// NewPhone starts a phone for a test: errors are fatal, and the phone is closed
// when the test ends.
func NewPhone(t TB, c Config) *Phone {
	t.Helper()
	p, err := Start(c)
	if err != nil {
		t.Fatalf("starting phone %s: %v", c.User, err)
	}
	t.Cleanup(p.Close)
	return p
}

// Start starts a phone. The caller must Close it.
func Start(c Config) (*Phone, error) {
	if !c.Listen.IsValid() {
		local, err := localFor(c.Server)
		if err != nil {
			return nil, err
		}
		c.Listen = netip.AddrPortFrom(local, 0)
	}
	if c.ListenUDP == nil {
		c.ListenUDP = listenUDP
	}
	if c.Transport == "" {
		c.Transport = "UDP"
	}
	w, err := openWire(&c)
	if err != nil {
		return nil, fmt.Errorf("binding phone %s: %w", c.User, err)
	}
	if c.Domain == "" {
		c.Domain = host(c.Server.Addr())
	}
	if len(c.Codecs) == 0 {
		c.Codecs = []string{"PCMU", "PCMA"}
	}
	if c.Keep == 0 {
		c.Keep = 10 * time.Second
	}
	if c.T1 == 0 {
		c.T1 = 500 * time.Millisecond
	}
	if c.Expires == 0 {
		c.Expires = 10 * time.Minute
	}
	p := &Phone{
		config: c, wire: w, bound: w.addr(),
		incoming: make(chan *Call, 64), lost: make(chan struct{}),
		clients: map[string]*clientTx{}, servers: map[string]*serverTx{}, calls: map[callKey]*Call{},
		regID: token("reg"),
	}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.wg.Go(p.read)
	return p, nil
}

// localFor asks the kernel for the source address towards a server.
func localFor(server netip.AddrPort) (netip.Addr, error) {
	if !server.IsValid() {
		return netip.MustParseAddr("127.0.0.1"), nil
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(server))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("finding the local address towards %s: %w", server, err)
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), nil
}

// Close ends all calls without signalling, and frees the sockets.
func (p *Phone) Close() {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.closed = true
	calls := make([]*Call, 0, len(p.calls))
	for _, c := range p.calls {
		calls = append(calls, c)
	}
	p.mu.Unlock()
	p.stop()
	p.wire.close()
	for _, c := range calls {
		c.end(ErrClosed)
	}
	p.wg.Wait()
}

// start runs f in a goroutine that Close waits for.
func (p *Phone) start(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.wg.Go(f)
	return true
}

// Lost is closed when the phone's connection has ended, or the phone itself.
func (p *Phone) Lost() <-chan struct{} { return p.lost }

// Addr is the phone's own SIP address.
func (p *Phone) Addr() netip.AddrPort { return p.bound }

// URI is the phone's address of record.
func (p *Phone) URI() string { return "sip:" + p.config.User + "@" + p.config.Domain }

// contactURI is where the phone is reached.
func (p *Phone) contactURI() string {
	uri := fmt.Sprintf("sip:%s@%s", p.config.User, p.sentBy())
	switch p.config.Transport {
	case "UDP":
		return uri
	case "WSS":
		return uri + ";transport=ws"
	}
	return uri + ";transport=" + strings.ToLower(p.config.Transport)
}

// reliable says that the transport retransmits by itself.
func (p *Phone) reliable() bool { return p.config.Transport != "UDP" }

// advertised is the phone's address as it tells others.
func (p *Phone) advertised() netip.AddrPort {
	if p.config.Advertise.IsValid() {
		return netip.AddrPortFrom(p.config.Advertise, p.bound.Port())
	}
	return p.bound
}

// sentBy is where the phone says it is.
func (p *Phone) sentBy() string {
	if p.config.Host != "" {
		return p.config.Host
	}
	return p.advertised().String()
}

// SetFilter installs a filter; nil removes it.
func (p *Phone) SetFilter(f Filter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.filter = f
}

// OnRequest installs a handler of incoming requests; nil removes it. It runs
// in the phone's reader and must not block.
func (p *Phone) OnRequest(h Handler) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handler = h
}

// Trace lists the messages sent and received, oldest first.
func (p *Phone) Trace() []Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.trace)
}

// Send sends bytes to the server as they are.
func (p *Phone) Send(datagram []byte) error { return p.SendTo(p.config.Server, datagram) }

// SendTo sends bytes as they are.
func (p *Phone) SendTo(to netip.AddrPort, datagram []byte) error {
	if err := p.wire.send(to, datagram); err != nil {
		return fmt.Errorf("sending to %s: %w", to, err)
	}
	return nil
}

// transmit sends a message of the phone's own, by way of filter and trace.
func (p *Phone) transmit(to netip.AddrPort, datagram []byte) error {
	for _, d := range p.pass(true, to, datagram) {
		if err := p.SendTo(to, d); err != nil {
			return err
		}
	}
	return nil
}

// pass applies the filter and keeps the trace.
func (p *Phone) pass(out bool, peer netip.AddrPort, datagram []byte) [][]byte {
	p.mu.Lock()
	f := p.filter
	p.trace = append(p.trace, Message{time.Now(), out, peer, string(datagram)})
	if len(p.trace) > traceLimit {
		p.trace = slices.Delete(p.trace, 0, traceLimit/10)
	}
	p.mu.Unlock()
	if p.config.Log != nil {
		arrow := "<-"
		if out {
			arrow = "->"
		}
		p.config.Log("%s %s %s %s", p.config.User, arrow, peer, firstLine(datagram))
	}
	if f == nil {
		return [][]byte{datagram}
	}
	return f(out, peer, datagram)
}

func (p *Phone) logf(format string, args ...any) {
	if p.config.Log != nil {
		p.config.Log(format, args...)
	}
}

// read handles everything that arrives, in order.
func (p *Phone) read() {
	for {
		datagram, from, err := p.wire.receive()
		if err != nil {
			if p.ctx.Err() != nil || p.reliable() {
				close(p.lost)
				return
			}
			time.Sleep(time.Millisecond)
			continue
		}
		for _, d := range p.pass(false, from, datagram) {
			p.handle(d, from)
		}
	}
}

func (p *Phone) handle(datagram []byte, from netip.AddrPort) {
	m, err := sip.ParseMessage(datagram)
	if err != nil {
		if len(datagram) > 4 { // shorter ones are keep-alives
			p.logf("%s cannot read a message from %s: %v", p.config.User, from, err)
		}
		return
	}
	switch m := m.(type) {
	case *sip.Request:
		if m.Via() == nil || m.CSeq() == nil || m.CallID() == nil || m.From() == nil || m.To() == nil {
			p.logf("%s got a request without a mandatory header", p.config.User)
			return
		}
		p.handleRequest(m, from)
	case *sip.Response:
		if m.Via() == nil || m.CSeq() == nil || m.CallID() == nil || m.From() == nil || m.To() == nil {
			p.logf("%s got a response without a mandatory header", p.config.User)
			return
		}
		p.handleResponse(m)
	}
}

func listenUDP(addr netip.AddrPort) (*net.UDPConn, error) {
	return net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
}
