package dialout

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
)

func TestAddressesThatAreNotDialled(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{
		"192.0.2.1": true, "10.0.0.1": true, "2001:db8::1": true, "fd00::1": true, "64:ff9b::192.0.2.1": true, "fd00:ec2::253": true,
		"169.254.169.254": false, "169.254.0.1": false, "fe80::1": false, "fe80::1%eth0": false, "fd00:ec2::254": false,
		"::ffff:169.254.169.254": false, "64:ff9b::169.254.169.254": false,
		"127.0.0.1": false, "127.9.9.9": false, "::1": false, "::ffff:127.0.0.1": false, "64:ff9b::127.0.0.1": false,
		"0.0.0.0": false, "::": false, "0.1.2.3": false, "224.0.0.1": false, "255.255.255.255": false, "ff02::1": false,
	} {
		if err := Check(netip.MustParseAddr(text)); (err == nil) != ok || err != nil && !errors.Is(err, ErrForbidden) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if Check(netip.Addr{}) == nil {
		t.Error("no address is allowed")
	}
	d := Dialer{AllowLoopback: true}
	for _, text := range []string{"127.0.0.1", "::1"} {
		if err := d.Check(netip.MustParseAddr(text)); err != nil {
			t.Error(err)
		}
	}
	if d.Check(netip.MustParseAddr("169.254.169.254")) == nil {
		t.Error("loopback opens the metadata service as well")
	}
}

func TestTheCheckedAddressIsDialled(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	asked := 0
	names := func(_ context.Context, host string) ([]netip.Addr, error) {
		asked++
		if host == "nobody.test" {
			return nil, nil
		}
		return []netip.Addr{netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("127.0.0.1")}, nil
	}
	d := Dialer{AllowLoopback: true, Lookup: names}
	c, err := d.DialContext(t.Context(), "tcp", "provider.test:"+port)
	if err != nil {
		t.Fatal(err)
	}
	if c.RemoteAddr().String() != l.Addr().String() || asked != 1 {
		t.Errorf("reached %s after %d questions", c.RemoteAddr(), asked)
	}
	c.Close()
	d.AllowLoopback = false
	if _, err := d.DialContext(t.Context(), "tcp", "provider.test:"+port); !errors.Is(err, ErrForbidden) {
		t.Errorf("a name for loopback and metadata: %v", err)
	}
	if _, err := d.DialContext(t.Context(), "tcp", "[::1]:"+port); !errors.Is(err, ErrForbidden) {
		t.Errorf("an address: %v", err)
	}
	for _, bad := range []string{"nobody.test:1", "x", "127.0.0.1:sip", "127.0.0.1:70000"} {
		if _, err := d.DialContext(t.Context(), "tcp", bad); err == nil {
			t.Errorf("%s was reached", bad)
		}
	}
}

func TestTheSourceAddressIsTheOneGiven(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := Dialer{AllowLoopback: true, Local: netip.MustParseAddr("127.0.0.7")}
	c, err := d.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if a := c.LocalAddr().(*net.TCPAddr).AddrPort().Addr(); a != d.Local {
		t.Errorf("from %s", a)
	}
}
