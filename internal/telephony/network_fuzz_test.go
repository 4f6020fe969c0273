package telephony

import (
	"net/netip"
	"testing"
)

// FuzzParseNetwork: a network that is taken holds the address it was written
// with, has no bits behind its mask, and is read the same once printed.
func FuzzParseNetwork(f *testing.F) {
	for _, s := range []string{"192.0.2.7", "41.202.0.0/255.255.0.0", "41.202.0.0 255.255.0.0", "2001:db8::1/64", "::ffff:192.0.2.1", "::ffff:192.0.2.0/120", "10.0.0.0/255.0.255.0", "0.0.0.0/0", "1.2.3.4/+8", "fe80::1%eth0", "1.2.3.4//8"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParseNetwork("network", text)
		if err != nil {
			return
		}
		if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() || p.Addr().Zone() != "" {
			t.Fatalf("%q became %v", text, p)
		}
		if again, err := ParseNetwork("network", p.String()); err != nil || again != p {
			t.Fatalf("%v became %v: %v", p, again, err)
		}
		if a, err := netip.ParseAddr(text); err == nil && (!p.Contains(a.Unmap()) || !p.IsSingleIP()) {
			t.Fatalf("%q became %v", text, p)
		}
		if std, err := netip.ParsePrefix(text); err == nil && !std.Addr().Is4In6() && std.Masked() != p {
			t.Fatalf("%q became %v", text, p)
		}
	})
}
