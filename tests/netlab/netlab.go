// Package netlab makes network namespaces for tests: hosts of our own on one
// machine, joined by veth pairs or holding a virtual machine's tap.
package netlab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/vishvananda/netns"
)

// Namespace is one host of the laboratory.
type Namespace struct {
	Name string
}

// serial keeps the names of one process apart.
type serial struct{ n atomic.Uint32 }

func (s *serial) next() uint32 { return s.n.Add(1) }

var names serial

// Need skips the test, saying why, where namespaces cannot be made.
func Need(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("network namespaces need iproute2's ip")
	}
}

// New makes a namespace with its loopback up, deleted when the test ends.
func New(t testing.TB, label string) *Namespace {
	t.Helper()
	Need(t)
	ns, err := Make(label)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Delete(); err != nil {
			t.Error(err)
		}
	})
	return ns
}

// Make is New for programs that are no tests; the caller deletes it.
func Make(label string) (*Namespace, error) {
	ns := &Namespace{Name: fmt.Sprintf("rf-%s-%d-%d", label, os.Getpid(), names.next())}
	if err := ip("netns", "add", ns.Name); err != nil {
		return nil, err
	}
	return ns, ns.IP("link", "set", "lo", "up")
}

// Delete removes the namespace; what runs inside keeps it until it ends.
func (ns *Namespace) Delete() error { return ip("netns", "delete", ns.Name) }

// IP runs `ip` with args inside the namespace.
func (ns *Namespace) IP(args ...string) error {
	return ip(append([]string{"-n", ns.Name}, args...)...)
}

func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// Join puts a veth pair between two namespaces, its ends named after the other
// side, with the given addresses (prefix notation).
func Join(a *Namespace, aIf string, aAddrs []string, b *Namespace, bIf string, bAddrs []string) error {
	if err := ip("link", "add", aIf, "netns", a.Name, "type", "veth", "peer", "name", bIf, "netns", b.Name); err != nil {
		return err
	}
	if err := a.Up(aIf, aAddrs...); err != nil {
		return err
	}
	return b.Up(bIf, bAddrs...)
}

// Up gives a link its addresses and sets it up. IPv6 addresses skip duplicate
// address detection, which would hold them back for a second.
func (ns *Namespace) Up(link string, addrs ...string) error {
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a)
		if err != nil {
			return err
		}
		args := []string{"addr", "add", a, "dev", link}
		if p.Addr().Is6() {
			args = append(args, "nodad")
		}
		if err := ns.IP(args...); err != nil {
			return err
		}
	}
	return ns.IP("link", "set", link, "up")
}

// Tap makes a tap device for a virtual machine that is started inside the
// namespace.
func (ns *Namespace) Tap(name string, addrs ...string) error {
	if err := ns.IP("tuntap", "add", "dev", name, "mode", "tap"); err != nil {
		return err
	}
	return ns.Up(name, addrs...)
}

// Command is exec.Command inside the namespace.
func (ns *Namespace) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", ns.Name, name}, args...)...)
}

// Do runs fn on a thread that sits in the namespace: the sockets fn opens
// itself, not in goroutines it starts, belong there for good.
func (ns *Namespace) Do(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		// The thread is not unlocked when its way back fails, so it dies with
		// this goroutine instead of carrying the namespace elsewhere.
		runtime.LockOSThread()
		done <- ns.inside(fn)
	}()
	return <-done
}

func (ns *Namespace) inside(fn func() error) error {
	home, err := netns.Get()
	if err != nil {
		return fmt.Errorf("reading this thread's namespace: %w", err)
	}
	defer home.Close()
	there, err := netns.GetFromName(ns.Name)
	if err != nil {
		return fmt.Errorf("opening namespace %s: %w", ns.Name, err)
	}
	defer there.Close()
	if err := netns.Set(there); err != nil {
		return fmt.Errorf("entering namespace %s: %w", ns.Name, err)
	}
	err = fn()
	if back := netns.Set(home); back == nil {
		runtime.UnlockOSThread()
	}
	return err
}

// ListenUDP opens a UDP socket inside the namespace.
func (ns *Namespace) ListenUDP(addr netip.AddrPort) (*net.UDPConn, error) {
	var c *net.UDPConn
	err := ns.Do(func() (err error) {
		c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
		return err
	})
	return c, err
}

// DialContext connects from inside the namespace; addr must hold an IP
// address, for names are looked up outside.
func (ns *Namespace) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	var c net.Conn
	err := ns.Do(func() (err error) {
		var d net.Dialer
		d.SetMultipathTCP(false)
		c, err = d.DialContext(ctx, network, addr)
		return err
	})
	return c, err
}
