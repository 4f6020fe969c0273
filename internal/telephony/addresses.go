package telephony

import (
	"net/netip"
	"slices"

	"ringfence/internal/ports"
)

// Limits of the addresses of the box.
const (
	MaxPublicAddresses = 16
	MaxInsideNetworks  = 64
)

// PublicAddress is what peers outside are told instead of one of our own
// addresses.
type PublicAddress struct {
	Local  netip.Addr `json:"local"`
	Public netip.Addr `json:"public"`
}

// PrivateNetworks are those that no peer outside has: RFC 1918, the carriers'
// shared space (RFC 6598) and unique local IPv6 (RFC 4193).
func PrivateNetworks() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
		netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("fc00::/7"),
	}
}

// Inside reports whether a peer is on our side of the router: this machine, its
// link, or one of InsideNetworks.
func (s Settings) Inside(peer netip.Addr) bool {
	peer = peer.Unmap().WithZone("")
	return !peer.IsGlobalUnicast() || slices.ContainsFunc(s.InsideNetworks, func(n netip.Prefix) bool { return n.Contains(peer) })
}

// Advertised is what a peer is told in place of local, the address of ours that
// it is reached from.
func (s Settings) Advertised(local, peer netip.Addr) netip.Addr {
	if !s.AdvertiseAlways && s.Inside(peer) {
		return local
	}
	for _, p := range s.PublicAddresses {
		if p.Local == local {
			return p.Public
		}
	}
	if s.PublicAddress.IsValid() && s.PublicAddress.Is4() == local.Is4() {
		return s.PublicAddress
	}
	return local
}

func (s Settings) checkAddresses() error {
	if !s.PublicAddress.IsValid() && len(s.PublicAddresses) == 0 && s.AdvertiseAlways {
		return refuse("public_address", "is needed when it is to be advertised to everybody")
	}
	if s.PublicAddress.IsValid() {
		if err := checkReachable("public_address", s.PublicAddress); err != nil {
			return err
		}
	}
	if err := s.checkPublicAddresses(); err != nil {
		return err
	}
	if len(s.InsideNetworks) > MaxInsideNetworks {
		return refuse("inside_networks", "are more than %d", MaxInsideNetworks)
	}
	for i, n := range s.InsideNetworks {
		switch {
		case !n.IsValid() || n.Addr().Zone() != "" || n.Addr().Is4In6():
			return refuse("inside_networks", "entry %d is not a network such as 192.168.0.0/16", i+1)
		case n != n.Masked():
			return refuse("inside_networks", "entry %d has address bits beyond its length; the network is %s", i+1, n.Masked())
		case n.Bits() == 0:
			return refuse("inside_networks", "entry %d is the whole internet", i+1)
		case slices.Contains(s.InsideNetworks[:i], n):
			return refuse("inside_networks", "entry %d stands there twice", i+1)
		}
	}
	return nil
}

func (s Settings) checkPublicAddresses() error {
	if len(s.PublicAddresses) > MaxPublicAddresses {
		return refuse("public_addresses", "are more than %d", MaxPublicAddresses)
	}
	for i, p := range s.PublicAddresses {
		local, public := entry("public_addresses", i, "local"), entry("public_addresses", i, "public")
		if err := checkReachable(local, p.Local); err != nil {
			return err
		}
		if err := checkReachable(public, p.Public); err != nil {
			return err
		}
		if p.Local.Is4() != p.Public.Is4() {
			return refuse(public, "must be of the same IP version as the address it stands for")
		}
		if slices.ContainsFunc(s.PublicAddresses[:i], func(o PublicAddress) bool { return o.Local == p.Local }) {
			return refuse(local, "has a public address already")
		}
	}
	return nil
}

// checkReachable accepts addresses that peers can send to. Loopback is one: that of
// a host which forwards ports to a guest.
func checkReachable(field string, a netip.Addr) error {
	switch {
	case !a.IsValid():
		return refuse(field, "must be an IP address")
	case a.Is4In6():
		return refuse(field, "must be written as an IPv4 address")
	case a.Zone() != "" || a.IsUnspecified() || a.IsMulticast():
		return refuse(field, "must be an address peers can reach")
	}
	return nil
}

// checkDigests accepts digest modes of SIP listeners.
func (s Settings) checkDigests() error {
	for id, d := range s.ListenerDigests {
		row, ok := ports.Lookup(ports.Table(), id)
		switch {
		case !ok || !row.IsSignalling():
			return refuse("listener_digests", "name a service that is no SIP transport")
		case !d.known():
			return refuse("listener_digests", "are none of md5, both, sha256")
		}
	}
	return nil
}
