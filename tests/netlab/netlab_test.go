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

// A capture sees what comes to its address, and nothing else.
func TestCaptureSeesWhatComes(t *testing.T) {
	t.Parallel()
	a, b := New(t, "capa"), New(t, "capb")
	if err := Join(a, "b0", []string{"10.9.0.1/24"}, b, "a0", []string{"10.9.0.2/24", "10.9.0.3/24"}); err != nil {
		t.Fatal(err)
	}
	c := b.Capture(t, "a0", netip.MustParseAddr("10.9.0.3"))
	from, err := a.ListenUDP(netip.MustParseAddrPort("10.9.0.1:4000"))
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	for _, to := range []string{"10.9.0.2:5000", "10.9.0.3:5000"} {
		if _, err := from.WriteToUDPAddrPort([]byte("to "+to), netip.MustParseAddrPort(to)); err != nil {
			t.Fatal(err)
		}
	}
	var got []Datagram
	for deadline := time.Now().Add(5 * time.Second); len(got) == 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		got = c.Take()
	}
	if len(got) != 1 || string(got[0].Data) != "to 10.9.0.3:5000" || got[0].From != netip.MustParseAddrPort("10.9.0.1:4000") {
		t.Errorf("captured %v", got)
	}
}
