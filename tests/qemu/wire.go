package qemu

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// tap20 is where frames of VLAN 20 come out, without their tag.
const (
	tap20  = "tap20"
	vlanID = 20
)

// wire is a switch port between the guest and the laboratory: untagged frames
// go to and from tap, those of VLAN 20 to and from tap20. It needs no VLANs in
// our own kernel.
type wire struct {
	guest  *net.UnixConn // one frame a datagram
	remote *net.UnixAddr
	taps   map[string]*os.File
	wg     sync.WaitGroup
}

// tagged puts the guest behind a wire; tap20 gets the given addresses.
func tagged(t *testing.T, addrs ...string) Option {
	return Before(func(vm *VM) {
		if err := vm.NS.Tap(tap20, addrs...); err != nil {
			t.Fatal(err)
		}
		ours, theirs := filepath.Join(vm.dir, "wire-t"), filepath.Join(vm.dir, "wire-g")
		w := &wire{remote: &net.UnixAddr{Name: theirs, Net: "unixgram"}, taps: map[string]*os.File{}}
		var err error
		if w.guest, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: ours, Net: "unixgram"}); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{tap, tap20} {
			if err := vm.NS.Do(func() (err error) { w.taps[name], err = openTap(name); return err }); err != nil {
				t.Fatal(err)
			}
		}
		w.wg.Go(w.fromGuest)
		w.wg.Go(func() { w.toGuest(w.taps[tap], nil) })
		w.wg.Go(func() { w.toGuest(w.taps[tap20], []byte{0x81, 0, 0, vlanID}) })
		t.Cleanup(func() {
			_ = w.guest.Close()
			for _, f := range w.taps {
				_ = f.Close()
			}
			w.wg.Wait()
		})
		vm.options.net = []string{
			"-netdev", fmt.Sprintf("dgram,id=net0,local.type=unix,local.path=%s,remote.type=unix,remote.path=%s", theirs, ours),
			"-device", "virtio-net-pci,netdev=net0,mac=" + guestMAC,
		}
	})
}

// openTap opens a tap device that exists, in the namespace of this thread.
func openTap(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("opening %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

const (
	addresses = 12 // two MAC addresses stand before the tag
	tagLen    = 4
)

func (w *wire) fromGuest() {
	for buf := make([]byte, 64<<10); ; {
		n, err := w.guest.Read(buf)
		if err != nil {
			return
		}
		frame := buf[:n]
		if n < addresses+tagLen {
			continue
		}
		out := w.taps[tap]
		if binary.BigEndian.Uint16(frame[addresses:]) == 0x8100 { // IEEE 802.1Q
			if binary.BigEndian.Uint16(frame[addresses+2:])&0xfff != vlanID {
				continue
			}
			frame = append(frame[:addresses:addresses], frame[addresses+tagLen:]...)
			out = w.taps[tap20]
		}
		_, _ = out.Write(frame)
	}
}

// toGuest sends what comes out of a tap, with a tag. While the guest is off
// nobody listens.
func (w *wire) toGuest(from *os.File, tag []byte) {
	for buf := make([]byte, 64<<10); ; {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if n < addresses {
			continue
		}
		frame := append(append(buf[:addresses:addresses], tag...), buf[addresses:n]...)
		_, _ = w.guest.WriteToUnix(frame, w.remote)
	}
}
