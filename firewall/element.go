package firewall

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

// element is one entry of a run-time set: a port or an address.
type element struct {
	set     string
	key     string // the key's bytes, comparable
	timeout time.Duration
	gone    bool // to be removed; timeout does not matter
}

func portElement(port uint16, ttl time.Duration, gone bool) element {
	return element{set: setMedia, key: string(binary.BigEndian.AppendUint16(nil, port)), timeout: ttl, gone: gone}
}

// hostElement is the element that stands for p in the set named base. Bans and
// known sources are single IPv4 addresses or IPv6 /64 networks: that is what
// one subscriber holds, and what the rules look up.
func hostElement(base string, p netip.Prefix, timeout time.Duration, gone bool) (element, error) {
	h, err := hostPrefix(p)
	if err != nil {
		return element{}, err
	}
	f := V6
	if h.Addr().Is4() {
		f = V4
	}
	return element{set: setName(base, f), key: string(h.Addr().AsSlice()), timeout: timeout, gone: gone}, nil
}

// hostPrefix is the subscriber that p lies in: the IPv4 address, or the IPv6
// /64.
func hostPrefix(p netip.Prefix) (netip.Prefix, error) {
	const site = 64
	if !p.IsValid() {
		return netip.Prefix{}, fmt.Errorf("no address given")
	}
	h := normalise(p)
	a := h.Addr()
	switch {
	case a.IsLoopback() || a.IsUnspecified() || a.IsMulticast():
		return netip.Prefix{}, fmt.Errorf("%s is no remote address", p)
	case a.Is4() && h.IsSingleIP():
		return h, nil
	case a.Is6() && h.Bits() >= site:
		return a.WithZone("").Prefix(site)
	}
	return netip.Prefix{}, fmt.Errorf("%s is wider than one host: use the block list for ranges", p)
}

// hostFromKey is the reverse of hostElement.
func hostFromKey(key []byte) (netip.Prefix, error) {
	a, ok := netip.AddrFromSlice(key)
	if !ok {
		return netip.Prefix{}, fmt.Errorf("set element of %d bytes is no address", len(key))
	}
	return hostPrefix(netip.PrefixFrom(a, a.BitLen()))
}
