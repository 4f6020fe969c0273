// Package sip is the SIP transport and transaction layer (RFC 3261 sections 17
// and 18): listeners, the receive gate, parsing, validation, server and client
// transactions, digest authentication and the message trace.
//
// A datagram passes the gate, is put in the queue of the worker that its
// Call-ID picks, and is parsed, validated and handled there, so that the
// messages of one Call-ID are handled one at a time in the order they came.
// Handlers therefore must not block: what waits belongs into a mailbox.
package sip

import (
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// Addresses tells which of our addresses a peer shall see.
type Addresses interface {
	// Local is the address to send from (and to bind media to).
	Local(peer netip.Addr) netip.Addr
	// Advertised is the address for Via, Contact and SDP; behind NAT it may
	// be none of ours.
	Advertised(peer netip.Addr) netip.Addr
}

// Gate decides on a message before anything is parsed; false drops it.
type Gate func(f Flow, raw []byte) bool

// Handler handles the requests of one method. It runs on a worker and must not
// block. Each request is to be answered once by tx.Reply, or tx.Begin is to be
// called before returning and the answer given later. An ACK is passed without
// a transaction to answer.
type Handler interface {
	ServeSIP(tx *ServerTx)
}

// HandlerFunc is a function as a Handler.
type HandlerFunc func(tx *ServerTx)

// ServeSIP calls f.
func (f HandlerFunc) ServeSIP(tx *ServerTx) { f(tx) }

// Config is what an Endpoint needs. Only Logger is required.
type Config struct {
	Logger    *slog.Logger
	Node      telephony.NodeID
	Epoch     uint64 // boot epoch of this node
	Addresses Addresses
	Gate      Gate
	// Screen, if set, sees each request that begins something, before anything is
	// answered and before its form is checked; false drops it without an answer.
	// It must not block.
	Screen func(*Request) bool
	// Refused, if set, is told of requests that were refused for their form or
	// are no messages at all. It must not block.
	Refused func(f Flow, userAgent string)
	// Answers reports whether a REGISTER, not parsed yet, answers a challenge
	// of ours: those go first in a crowd. Nil knows of none.
	Answers func(f Flow, raw []byte) bool
	Product string // value of Server and User-Agent; empty sends none
	Workers int    // 0: one per processor
	Limits  Limits
	Timers  Timers
	Streams StreamTimes
	TLS     TLS
	// OriginAllowed says whether a page of that host may open a WebSocket; nil
	// allows all. Clients that are no browsers send no Origin and are let in.
	OriginAllowed func(host string) bool
	// OnFlowGone is told when a connection ended whose peer had authenticated
	// (RFC 5626 section 4.2: its bindings are of no use any more). It runs in
	// the connection's goroutine, after Endpoint.Flow answers ErrFlowGone for
	// the flow; it must not block or call Reconcile. A REGISTER that was read
	// from the connection just before may be answered only after it.
	OnFlowGone func(Flow)
}

// Limits bound the memory of the layer; zero fields take the defaults.
type Limits struct {
	Transactions int // pending server and client transactions; 10,000
	Completed    int // answered ones kept for retransmissions; 8,192
	Queue        int // messages waiting for one worker; 2,048
	// Connections of stream transports at once, in all and from one source (an
	// IPv4 address or an IPv6 /64); 8,192 and 512.
	Connections, ConnectionsPerSource int
	// Strangers are those of them whose peer has not authenticated: 2,048. One
	// takes 15 KB with TLS, and up to 64 KB more while it sends a message.
	Strangers int
}

func (l Limits) withDefaults() Limits {
	if l.Transactions == 0 {
		l.Transactions = 10_000
	}
	if l.Completed == 0 {
		l.Completed = 8_192
	}
	if l.Queue == 0 {
		l.Queue = 2_048
	}
	if l.Connections == 0 {
		l.Connections = 8_192
	}
	if l.ConnectionsPerSource == 0 {
		l.ConnectionsPerSource = 512
	}
	if l.Strangers == 0 {
		l.Strangers = 2_048
	}
	return l
}

// Timers are the base timers of RFC 3261 appendix A; zero fields take its
// values.
type Timers struct {
	T1 time.Duration // round-trip estimate, 500 ms
	T2 time.Duration // longest retransmission interval, 4 s
	T4 time.Duration // longest life of a message in the network, 5 s
}

func (t Timers) withDefaults() Timers {
	if t.T1 == 0 {
		t.T1 = 500 * time.Millisecond
	}
	if t.T2 == 0 {
		t.T2 = 4 * time.Second
	}
	if t.T4 == 0 {
		t.T4 = 5 * time.Second
	}
	return t
}

// Timeout is 64*T1: timers B, F, H, J, L, M.
func (t Timers) Timeout() time.Duration { return 64 * t.T1 }

// Endpoint owns the listeners, workers and transactions of this node.
type Endpoint struct {
	cfg      Config
	log      *slog.Logger
	handlers map[string]Handler
	fallback Handler
	stats    counters
	trace    atomic.Pointer[func(Trace)]
	secret   tagSecret

	defaultPort uint16 // SIP's registered port, where sent-by names none

	mu        sync.RWMutex // guards listeners, failed and closed
	listeners []*listener
	failed    map[ports.ID]error
	closed    bool

	workers []*worker
	stop    chan struct{}
	seed    maphash.Seed
	packets sync.Pool // of *packet
	buffers sync.Pool // of *[]byte
	wg      sync.WaitGroup
	txs     *txTable
	conns   *conns
	dialled map[ports.ID]*streamListener // of the connections that we make
	junk    seldom
	foreign seldom // WebSockets of foreign pages
}

// listener is one bound transport.
type listener struct {
	id        ports.ID
	side      ports.Side
	bind      netip.AddrPort // as asked for
	addr      netip.AddrPort // as bound
	transport Transport
	close     func() error
}

// New returns an endpoint without listeners. Close it.
func New(cfg Config) *Endpoint {
	cfg.Limits = cfg.Limits.withDefaults()
	cfg.Timers = cfg.Timers.withDefaults()
	cfg.Streams = cfg.Streams.withDefaults()
	e := &Endpoint{
		cfg:      cfg,
		log:      cfg.Logger,
		handlers: make(map[string]Handler),
		secret:   newTagSecret(),
	}
	if row, ok := ports.Lookup(ports.Table(), ports.SIPUDP); ok {
		e.defaultPort = row.First
	}
	e.txs = newTxTable(e)
	e.conns = newConns(cfg.Limits)
	e.dialled = newDialled(e)
	e.startWorkers()
	return e
}

// Handle sets the handler of a method; "" sets the one of all other methods.
// Call it before the first listener is opened.
func (e *Endpoint) Handle(method string, h Handler) {
	if method == "" {
		e.fallback = h
		return
	}
	e.handlers[method] = h
}

// Timers returns the timers in use.
func (e *Endpoint) Timers() Timers { return e.cfg.Timers }

// Product returns the value of Server and User-Agent.
func (e *Endpoint) Product() string { return e.cfg.Product }

// Ours reports whether a host part names this PBX to the peer of f: by the
// address it sent to, or by the one it is told of.
func (e *Endpoint) Ours(f Flow, host string) bool {
	addr, ok := ParseHost(host)
	return ok && (addr == f.Local.Addr() || addr == e.Advertised(f).Addr())
}

// Contact is our Contact towards the peer of f, with a user part or without.
func (e *Endpoint) Contact(f Flow, user string) Header {
	uri := "<sip:"
	if user != "" {
		uri += user + "@"
	}
	uri += e.Advertised(f).String()
	switch p := f.Protocol(); p {
	case "UDP":
	case "WSS":
		uri += ";transport=ws" // RFC 7118 section 5.2.3 has one for both
	default:
		uri += ";transport=" + strings.ToLower(p)
	}
	return Header{Name: "Contact", Value: uri + ">"}
}

// Advertised returns the address and port to put in Via and Contact of
// messages that leave on f.
func (e *Endpoint) Advertised(f Flow) netip.AddrPort {
	addr := f.Local.Addr()
	if e.cfg.Addresses != nil {
		if a := e.cfg.Addresses.Advertised(f.Remote.Addr()); a.IsValid() {
			addr = a
		}
	}
	return netip.AddrPortFrom(addr.Unmap(), f.Local.Port())
}

// Bind asks for one listener: a signalling row of the port table on an
// address. The zero Addr binds all addresses of both families, each with its
// own socket; the unspecified ones all of their family.
type Bind struct {
	Service ports.Service
	Addr    netip.Addr
}

// Reconcile opens the listeners of binds that are not open and closes those
// that are not wanted any more. It goes on after an error and returns all of
// them joined; call it again to retry.
func (e *Endpoint) Reconcile(binds []Bind) error {
	want := make(map[listenKey]Bind)
	for _, b := range binds {
		for _, k := range keysOf(b) {
			want[k] = b
		}
	}
	var errs []error
	for _, l := range e.takeUnwanted(want) {
		errs = append(errs, l.close())
	}
	e.mu.RLock()
	for _, l := range e.listeners {
		delete(want, listenKey{l.id, l.bind})
	}
	e.mu.RUnlock()
	failed := make(map[ports.ID]error)
	for k, b := range want {
		err := e.open(k, b.Service)
		if err != nil && !b.Addr.IsValid() && k.bind.Addr().Is6() && errors.Is(err, syscall.EAFNOSUPPORT) {
			continue // a kernel without IPv6
		}
		if err != nil {
			failed[k.id] = err
		}
		errs = append(errs, err)
	}
	e.mu.Lock()
	e.failed = failed
	e.mu.Unlock()
	return errors.Join(errs...)
}

// Failed is why a service that should listen does not, or nil.
func (e *Endpoint) Failed(id ports.ID) error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.failed[id]
}

type listenKey struct {
	id   ports.ID
	bind netip.AddrPort
}

// keysOf lists the sockets of one Bind: a wildcard takes one per family.
func keysOf(b Bind) []listenKey {
	port := b.Service.First
	switch {
	case !b.Addr.IsValid():
		return []listenKey{
			{b.Service.ID, netip.AddrPortFrom(netip.IPv4Unspecified(), port)},
			{b.Service.ID, netip.AddrPortFrom(netip.IPv6Unspecified(), port)},
		}
	default:
		return []listenKey{{b.Service.ID, netip.AddrPortFrom(b.Addr.Unmap(), port)}}
	}
}

func (e *Endpoint) takeUnwanted(want map[listenKey]Bind) []*listener {
	e.mu.Lock()
	defer e.mu.Unlock()
	var gone, kept []*listener
	for _, l := range e.listeners {
		if _, ok := want[listenKey{l.id, l.bind}]; ok {
			kept = append(kept, l)
		} else {
			gone = append(gone, l)
		}
	}
	e.listeners = kept
	return gone
}

func (e *Endpoint) open(k listenKey, svc ports.Service) error {
	var l *listener
	var err error
	switch {
	case !svc.IsSignalling():
		err = fmt.Errorf("%s is no SIP", svc.Wrap)
	case svc.Proto == ports.UDP:
		l, err = e.openUDP(k, svc.Side)
	default:
		l, err = e.openStream(k, svc)
	}
	if err != nil {
		return fmt.Errorf("opening listener %s: %w", svc.ID, err)
	}
	return e.add(l)
}

func (e *Endpoint) add(l *listener) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return errors.Join(ErrClosed, l.close())
	}
	e.listeners = append(e.listeners, l)
	return nil
}

// ErrClosed says that the endpoint was closed.
var ErrClosed = errors.New("SIP endpoint is closed")

// Listening is one open listener.
type Listening struct {
	ID   ports.ID
	Addr netip.AddrPort
}

// Listening lists the open listeners.
func (e *Endpoint) Listening() []Listening {
	e.mu.RLock()
	defer e.mu.RUnlock()
	out := make([]Listening, len(e.listeners))
	for i, l := range e.listeners {
		out[i] = Listening{l.id, l.addr}
	}
	return out
}

// listenerFor finds the listener of a service that serves a local address.
func (e *Endpoint) listenerFor(id ports.ID, local netip.AddrPort) (*listener, bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	var any *listener
	for _, l := range e.listeners {
		if l.id != id || l.addr.Addr().Is4() != local.Addr().Is4() {
			continue
		}
		if l.addr.Addr() == local.Addr() || l.addr.Addr().IsUnspecified() {
			return l, true
		}
		any = l
	}
	return any, any != nil
}

// Attach adds a transport that somebody else runs (a stream front end, a test)
// under a service of the port table. Its messages come in through Receive.
func (e *Endpoint) Attach(id ports.ID, side ports.Side, addr netip.AddrPort, t Transport) (Flow, error) {
	l := &listener{id: id, side: side, bind: addr, addr: addr, transport: t, close: func() error { return nil }}
	return Flow{Listener: id, Side: side, Local: addr, transport: t}, e.add(l)
}

// Close closes the listeners, waits for the workers and forgets all
// transactions. Their users hear nothing more: end calls first.
func (e *Endpoint) Close() error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	listeners := e.listeners
	e.listeners = nil
	e.mu.Unlock()
	var errs []error
	for _, l := range listeners {
		errs = append(errs, l.close())
	}
	for _, l := range e.dialled {
		errs = append(errs, l.close())
	}
	e.stopWorkers()
	e.wg.Wait()
	e.txs.close()
	return errors.Join(errs...)
}
