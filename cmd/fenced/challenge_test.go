package main

import (
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"ringfence/firewall/nstest"
)

// get asks the host's port 80 from outside.
func (f *fenced) get(host string) string {
	var c net.Conn
	var err error
	f.peer.Do(func() {
		c, err = net.DialTimeout("tcp", netip.AddrPortFrom(netip.MustParseAddr(host), 80).String(), 2*time.Second)
	})
	if err != nil {
		return ""
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	b, _ := io.ReadAll(c)
	return string(b)
}

// W03, W04: 80 is open in the window and at no other time, and 443 never. The
// fence is the real program, confined, and hands its socket to this process.
func TestPort80IsOpenInTheWindowOnly(t *testing.T) {
	t.Parallel()
	f := pair(t)
	c := f.start()
	must(t, c.Apply(t.Context(), inService(t, 1), 0))
	closed := f.scan()
	if slices.Contains(closed, 80) || slices.Contains(closed, 443) {
		t.Fatalf("open before the window: %v", closed)
	}
	w, err := c.OpenChallenge(t.Context(), time.Minute)
	must(t, err)
	go func() {
		for {
			in, err := w.Accept()
			if err != nil {
				return
			}
			_, _ = in.Write([]byte("token"))
			_ = in.Close()
		}
	}()
	if got, want := f.scan(), append([]uint16{80}, closed...); !slices.Equal(got, want) {
		t.Errorf("open in the window: %v, want %v", got, want)
	}
	for _, host := range []string{nstest.Host4, nstest.Host6} {
		if got := f.get(host); got != "token" {
			t.Errorf("%s answers %q", host, got)
		}
	}
	// A change of settings in the middle leaves it open.
	must(t, c.Apply(t.Context(), inService(t, 2), 0))
	if got := f.get(nstest.Host4); got != "token" {
		t.Errorf("after a change of settings the window answers %q", got)
	}
	must(t, w.Close())
	eventually(t, "the window closed", func() bool {
		st, err := c.Status(t.Context())
		return err == nil && st.ChallengeUntil.IsZero()
	})
	if got := f.scan(); !slices.Equal(got, closed) {
		t.Errorf("open after the window: %v, want %v", got, closed)
	}
}

// The kernel closes the port when the time is up, though the fence was killed
// and whoever has the socket holds on to it.
func TestPort80ClosesWithoutTheFence(t *testing.T) {
	t.Parallel()
	f := pair(t)
	c := f.start()
	const window = 3 * time.Second
	opened := time.Now()
	w, err := c.OpenChallenge(t.Context(), window)
	must(t, err)
	defer w.Close()
	kept, err := w.Listener.(*net.TCPListener).File()
	must(t, err)
	defer kept.Close()
	if !slices.Contains(f.scan(), 80) {
		t.Error("80 is closed in the window")
	}
	f.kill()
	time.Sleep(time.Until(opened.Add(window + 500*time.Millisecond)))
	if got := f.scan(); slices.Contains(got, 80) {
		t.Errorf("open after the time was up: %v", got)
	}
	// What would be left over is closed by the next fence.
	again := f.start()
	st, err := again.Status(t.Context())
	must(t, err)
	if !st.ChallengeUntil.IsZero() || slices.Contains(f.scan(), 80) {
		t.Errorf("the next fence: %+v", st)
	}
}
