package netlab

import (
	"context"
	"io"
	"net/netip"
	"testing"
	"time"
)

func TestSocketsLiveInTheirNamespace(t *testing.T) {
	t.Parallel()
	a, b := New(t, "a"), New(t, "b")
	if err := Join(a, "tob", []string{"10.9.8.1/24", "fd00:98::1/64"}, b, "toa", []string{"10.9.8.2/24", "fd00:98::2/64"}); err != nil {
		t.Fatal(err)
	}
	c, err := a.ListenUDP(netip.MustParseAddrPort("10.9.8.1:4000"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	out, err := b.DialContext(ctx, "udp", "10.9.8.1:4000")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := io.WriteString(out, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	n, from, err := c.ReadFromUDPAddrPort(buf)
	if err != nil || string(buf[:n]) != "hello" || from.Addr() != netip.MustParseAddr("10.9.8.2") {
		t.Fatalf("got %q from %v, %v", buf[:n], from, err)
	}
	if _, err := b.ListenUDP(netip.MustParseAddrPort("10.9.8.1:4001")); err == nil {
		t.Error("a namespace could listen on the other's address")
	}
}
