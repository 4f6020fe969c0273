// Package nstest gives tests network namespaces of their own, joined by a
// cable, and takes them away afterwards.
package nstest

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netns"
)

// Addresses of a Pair.
const (
	Host4 = "10.77.0.1"
	Host6 = "fd77::1"
	Peer4 = "10.77.0.2"
	Peer6 = "fd77::2"
	// HostLink and PeerLink are the two ends of the cable.
	HostLink = "eth0"
	PeerLink = "eth0"
)

// NS is a network namespace.
type NS struct {
	Name string
	t    testing.TB
	fd   netns.NsHandle
}

// New makes an empty namespace with lo up. It skips the test without root.
func New(t testing.TB) *NS {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	n := &NS{Name: fmt.Sprintf("rf%d%s", os.Getpid(), strings.ToLower(rand.Text()[:8])), t: t}
	run(t, "ip", "netns", "add", n.Name)
	t.Cleanup(func() {
		_ = n.fd.Close()
		run(t, "ip", "netns", "del", n.Name)
	})
	fd, err := netns.GetFromName(n.Name)
	if err != nil {
		t.Fatalf("opening namespace %s: %v", n.Name, err)
	}
	n.fd = fd
	n.Run("ip", "link", "set", "lo", "up")
	return n
}

// Pair makes two namespaces joined by a veth cable, with the addresses above.
func Pair(t testing.TB) (host, peer *NS) {
	t.Helper()
	host, peer = Cable(t)
	for _, end := range []struct {
		ns             *NS
		link, a4, a6   string
		other4, other6 string
	}{{host, HostLink, Host4, Host6, Peer4, Peer6}, {peer, PeerLink, Peer4, Peer6, Host4, Host6}} {
		end.ns.Run("ip", "addr", "add", end.a4+"/24", "dev", end.link)
		end.ns.Run("ip", "addr", "add", end.a6+"/64", "dev", end.link, "nodad")
		end.ns.Run("ip", "link", "set", end.link, "up")
		end.ns.Run("ip", "route", "add", "default", "via", end.other4)
		end.ns.Run("ip", "-6", "route", "add", "default", "via", end.other6)
	}
	return host, peer
}

// Cable makes two namespaces joined by a veth cable that is down and has no
// addresses.
func Cable(t testing.TB) (host, peer *NS) {
	t.Helper()
	host, peer = New(t), New(t)
	host.Run("ip", "link", "add", HostLink, "type", "veth", "peer", "name", PeerLink, "netns", peer.Name)
	return host, peer
}

// FD is a file descriptor of the namespace, valid during the test.
func (n *NS) FD() int { return int(n.fd) }

// Do calls f in the namespace. Sockets opened by f itself stay there; f must
// not leave socket calls to other goroutines.
func (n *NS) Do(f func()) {
	n.t.Helper()
	runtime.LockOSThread()
	old, err := netns.Get()
	if err != nil {
		n.t.Fatalf("reading the own namespace: %v", err)
	}
	defer old.Close()
	if err := netns.Set(n.fd); err != nil {
		n.t.Fatalf("entering %s: %v", n.Name, err)
	}
	defer func() {
		// A thread that cannot go back stays locked and dies with its goroutine.
		if netns.Set(old) == nil {
			runtime.UnlockOSThread()
		}
	}()
	f()
}

// Run runs a command in the namespace and returns its output.
func (n *NS) Run(args ...string) string {
	n.t.Helper()
	return run(n.t, append([]string{"ip", "netns", "exec", n.Name}, args...)...)
}

// Command prepares a command that runs in the namespace.
func (n *NS) Command(args ...string) *exec.Cmd {
	args = append([]string{"netns", "exec", n.Name}, args...)
	return exec.Command("ip", args...)
}

func run(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
