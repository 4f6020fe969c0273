package firewall

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringfence/firewall/nstest"
)

// as opens sockets as another user does: what the kernel remembers of their
// owner is the user of files.
func as(t *testing.T, uid int, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	must(t, unix.Setfsuid(uid))
	f()
	must(t, unix.Setfsuid(0))
}

// The PBX gets no packet to a cloud's metadata service, in any mode that it may
// set; whoever reads the metadata at boot does, and names are answered to all.
func TestPBXIsKeptFromMetadata(t *testing.T) {
	t.Parallel()
	const pbx, cloud = 4242, 4243
	cloudMode := inService(t)
	cloudMode.Mode = ModeCloud
	off := inService(t)
	off.Mode = ModeOff
	for name, p := range map[string]Policy{"filter": inService(t), "cloud": cloudMode, "off": off} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host, peer := nstest.Pair(t)
			for _, a := range metadataAddresses() {
				bits := "/32"
				if a.Is6() {
					bits = "/128"
				}
				peer.Run("ip", "addr", "add", a.String()+bits, "dev", nstest.PeerLink, "nodad")
				host.Run("ip", "route", "add", a.String()+bits, "dev", nstest.HostLink)
			}
			k := NewKernel(host.FD())
			t.Cleanup(func() { _ = k.Close() })
			s, err := NewServer(Options{Dir: t.TempDir(), Kernel: k, UIDs: []uint32{0, pbx}, Logger: quiet()})
			must(t, err)
			must(t, s.Start())
			t.Cleanup(s.policy.stop)
			must(t, s.policy.apply(p, 0))
			reaches := func(uid int, a netip.Addr, port uint16) (ok bool) {
				l := listenTCP(t, peer, a.String(), port)
				defer l.Close()
				host.Do(func() {
					as(t, uid, func() { ok = connects(t, netip.AddrPortFrom(a, port)) })
				})
				return ok
			}
			for _, a := range append(metadataAddresses(), netip.MustParseAddr(nstest.Peer4), netip.MustParseAddr(nstest.Peer6)) {
				other := a.String() == nstest.Peer4 || a.String() == nstest.Peer6
				for _, c := range []struct {
					uid  int
					port uint16
					want bool
				}{{pbx, 80, other}, {cloud, 80, true}, {0, 80, true}, {pbx, 53, true}} {
					if got := reaches(c.uid, a, c.port); got != c.want {
						t.Errorf("user %d reaches %s port %d: %t, want %t", c.uid, a, c.port, got, c.want)
					}
				}
			}
			n, err := k.counters()
			must(t, err)
			if n[countMetadata].Packets < uint64(len(metadataAddresses())) {
				t.Errorf("%d packets counted", n[countMetadata].Packets)
			}
		})
	}
}

// connects opens a connection on this very thread.
func connects(t *testing.T, to netip.AddrPort) bool {
	t.Helper()
	family := unix.AF_INET
	var sa unix.Sockaddr = &unix.SockaddrInet4{Port: int(to.Port()), Addr: func() [4]byte {
		if to.Addr().Is4() {
			return to.Addr().As4()
		}
		return [4]byte{}
	}()}
	if to.Addr().Is6() {
		family, sa = unix.AF_INET6, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	must(t, err)
	defer unix.Close(fd)
	wait := unix.NsecToTimeval(int64(300 * time.Millisecond))
	must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &wait))
	return unix.Connect(fd, sa) == nil
}
