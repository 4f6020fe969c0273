package sip

import (
	"errors"
	"net/netip"

	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// Transport carries messages: a UDP socket, or one connection of a stream
// listener. Implementations are safe for concurrent use.
type Transport interface {
	// Send writes one whole message to f. It does not keep b.
	Send(f Flow, b []byte) error
	// Protocol is the token of the Via header: UDP, TCP, TLS, WSS.
	Protocol() string
	// Reliable reports whether the transport retransmits by itself (RFC 3261
	// section 17: timers A, E, G are then not used).
	Reliable() bool
}

// Flow is where a message came from, and therefore where its answers and all
// later requests to the same peer go (RFC 5626 section 1): never an address
// taken from a header.
type Flow struct {
	Listener ports.ID
	Side     ports.Side
	Local    netip.AddrPort // our address that the peer uses
	Remote   netip.AddrPort
	Token    string // connection token; empty for UDP

	transport Transport
	device    int // index of the interface that datagrams leave by; 0 leaves it to the routes
}

// Valid reports whether requests can be sent to f.
func (f Flow) Valid() bool { return f.transport != nil }

// Protocol is the Via token of the flow's transport.
func (f Flow) Protocol() string {
	if f.transport == nil {
		return "UDP"
	}
	return f.transport.Protocol()
}

// ErrFlowGone says that the listener or connection of a flow no longer exists.
var ErrFlowGone = errors.New("flow is gone")

// Stored turns f into the form that bindings keep.
func (e *Endpoint) Stored(f Flow) telephony.Flow {
	return telephony.Flow{
		Node: e.cfg.Node, Epoch: e.cfg.Epoch,
		Listener: f.Listener, Local: f.Local, Remote: f.Remote, Token: f.Token,
	}
}

// Flow finds the live flow behind a stored one. UDP flows survive a restart;
// flows with a connection token die with their connection (ErrFlowGone).
func (e *Endpoint) Flow(s telephony.Flow) (Flow, error) {
	if c := e.conns.find(s.Token); c != nil && c.l.ln == nil {
		return c.flow, nil // made by us: no listener has it
	}
	l, ok := e.listenerFor(s.Listener, s.Local)
	if !ok {
		return Flow{}, ErrFlowGone
	}
	f := Flow{Listener: s.Listener, Side: l.side, Local: s.Local, Remote: s.Remote, Token: s.Token, transport: l.transport}
	if s.Token != "" {
		// Stream flows resolve through their listener's own connection table.
		r, ok := l.transport.(interface{ Resolve(Flow) (Flow, error) })
		if !ok {
			return Flow{}, ErrFlowGone
		}
		return r.Resolve(f)
	}
	// The row may have moved to another port since: ours is where we listen now.
	f.Local = netip.AddrPortFrom(s.Local.Addr(), l.addr.Port())
	return f, nil
}

// Towards is a flow of datagrams to a peer that has not been heard of, from one
// of our addresses (invalid: the listener's), by a network interface (0: the
// routes').
func (e *Endpoint) Towards(id ports.ID, local netip.Addr, to netip.AddrPort, device int) (Flow, error) {
	family := local
	if !family.IsValid() {
		family = to.Addr()
	}
	l, ok := e.listenerFor(id, netip.AddrPortFrom(family, 0))
	if !local.IsValid() && ok {
		local = l.addr.Addr()
	}
	if !ok || local.Is4() != to.Addr().Is4() {
		return Flow{}, ErrFlowGone
	}
	return Flow{Listener: id, Side: l.side, Local: netip.AddrPortFrom(local, l.addr.Port()), Remote: to, transport: l.transport, device: device}, nil
}
