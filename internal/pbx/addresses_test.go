package pbx

import (
	"net/netip"
	"testing"

	"ringfence/internal/telephony"
)

// C02: the public address towards peers outside, the local one inside.
func TestAdvertisedAddress(t *testing.T) {
	t.Parallel()
	public := netip.MustParseAddr("203.0.113.7")
	for _, c := range []struct {
		peer   string
		always bool
		public netip.Addr
		want   netip.Addr
	}{
		{"198.51.100.9", false, public, public},
		{"127.0.0.1", false, public, netip.MustParseAddr("127.0.0.1")},
		{"127.0.0.1", true, public, public},
		{"::ffff:198.51.100.9", false, public, public},
		{"127.0.0.1", true, netip.Addr{}, netip.MustParseAddr("127.0.0.1")},
		{"::1", true, public, netip.MustParseAddr("::1")},
	} {
		a := newAddresses(netip.Addr{}, func() telephony.Settings {
			return telephony.Settings{PublicAddress: c.public, AdvertiseAlways: c.always}
		})
		if got := a.Advertised(netip.MustParseAddr(c.peer)); got != c.want {
			t.Errorf("towards %s (always %v): %s, want %s", c.peer, c.always, got, c.want)
		}
	}
}

func TestRouteCacheIsBounded(t *testing.T) {
	t.Parallel()
	a := newAddresses(netip.Addr{}, func() telephony.Settings { return telephony.Settings{} })
	addr := netip.MustParseAddr("127.0.0.1")
	for range maxRoutes + 10 {
		a.Local(addr)
		addr = addr.Next()
	}
	if len(a.routes) > maxRoutes {
		t.Errorf("cache holds %d routes", len(a.routes))
	}
}
