package telephony

import (
	"net/netip"
	"testing"
)

func TestWhoIsToldThePublicAddress(t *testing.T) {
	t.Parallel()
	base := DefaultSettings()
	base.PublicAddress = netip.MustParseAddr("203.0.113.7")
	base.PublicAddresses = pairs("10.2.0.5 203.0.113.8", "fd00::5 2001:db8::5")
	always := base
	always.AdvertiseAlways = true
	office := base
	office.InsideNetworks = append(networks("198.51.100.0/24"), PrivateNetworks()...)
	open := base
	open.InsideNetworks = nil
	for what, x := range map[string]struct {
		s                 Settings
		local, peer, want string
	}{
		"outside":                    {base, "10.1.0.5", "198.51.100.9", "203.0.113.7"},
		"private":                    {base, "10.1.0.5", "192.168.4.4", "10.1.0.5"},
		"shared space":               {base, "10.1.0.5", "100.64.3.3", "10.1.0.5"},
		"link":                       {base, "10.1.0.5", "169.254.3.3", "10.1.0.5"},
		"unique local":               {base, "fd00::5", "fd00::9", "fd00::5"},
		"mapped":                     {base, "10.1.0.5", "::ffff:192.168.4.4", "10.1.0.5"},
		"of another interface":       {base, "10.2.0.5", "198.51.100.9", "203.0.113.8"},
		"IPv6 of an interface":       {base, "fd00::5", "2001:db8:9::1", "2001:db8::5"},
		"IPv6 without":               {base, "2001:db8::77", "2001:db8:9::1", "2001:db8::77"},
		"always":                     {always, "10.2.0.5", "127.0.0.1", "203.0.113.8"},
		"a public network of ours":   {office, "10.1.0.5", "198.51.100.9", "10.1.0.5"},
		"private, and none inside":   {open, "10.1.0.5", "192.168.4.4", "203.0.113.7"},
		"ourselves, and none inside": {open, "127.0.0.1", "127.0.0.1", "127.0.0.1"},
	} {
		if got := x.s.Advertised(netip.MustParseAddr(x.local), netip.MustParseAddr(x.peer)); got.String() != x.want {
			t.Errorf("%s: %s, want %s", what, got, x.want)
		}
	}
}
