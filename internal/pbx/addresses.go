package pbx

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"ringfence/internal/telephony"
)

// routeFresh is how long the kernel's answer about a route is believed.
const routeFresh = 15 * time.Second

// maxRoutes bounds the cache of routes.
const maxRoutes = 4096

// addresses answers which of our addresses a peer is to be told.
type addresses struct {
	// fixed is the one address everything listens on, or invalid.
	fixed    netip.Addr
	settings func() telephony.Settings

	mu     sync.Mutex
	routes map[netip.Addr]route
}

type route struct {
	local netip.Addr
	until time.Time
}

func newAddresses(fixed netip.Addr, settings func() telephony.Settings) *addresses {
	return &addresses{fixed: fixed, settings: settings, routes: make(map[netip.Addr]route)}
}

// Local is the address of this host that packets to peer leave from.
func (a *addresses) Local(peer netip.Addr) netip.Addr {
	peer = peer.Unmap()
	if a.fixed.IsValid() && !a.fixed.IsUnspecified() {
		return a.fixed
	}
	now := time.Now()
	a.mu.Lock()
	r, ok := a.routes[peer]
	a.mu.Unlock()
	if ok && now.Before(r.until) {
		return r.local
	}
	local := lookUp(peer)
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.routes) >= maxRoutes {
		clear(a.routes)
	}
	a.routes[peer] = route{local, now.Add(routeFresh)}
	return local
}

// lookUp asks the kernel for the source address of a route by connecting a
// UDP socket, which sends nothing.
func lookUp(peer netip.Addr) netip.Addr {
	const discard = 9
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(peer, discard)))
	if err != nil {
		if peer.Is6() {
			return netip.IPv6Loopback()
		}
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
}

// Advertised is the address for Via, Contact and SDP towards peer: the public one
// towards peers outside, our own towards peers inside (C02).
func (a *addresses) Advertised(peer netip.Addr) netip.Addr {
	return a.settings().Advertised(a.Local(peer), peer)
}
