package netlab

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// captureBound is how many datagrams a Capture keeps.
const captureBound = 20_000

// Datagram is one that passed a link.
type Datagram struct {
	From, To netip.AddrPort
	Data     []byte
}

// Capture notes the UDP datagrams to one IPv4 address that come in on a link:
// what a program was sent that does not tell it itself.
type Capture struct {
	file *os.File
	to   netip.Addr
	wg   sync.WaitGroup

	mu   sync.Mutex
	list []Datagram
}

// Capture starts one, until the test ends.
func (ns *Namespace) Capture(t testing.TB, link string, to netip.Addr) *Capture {
	t.Helper()
	c := &Capture{to: to}
	err := ns.Do(func() error {
		dev, err := net.InterfaceByName(link)
		if err != nil {
			return err
		}
		protocol := binary.NativeEndian.Uint16([]byte{unix.ETH_P_IP >> 8, unix.ETH_P_IP & 0xff})
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, int(protocol))
		if err != nil {
			return fmt.Errorf("opening a packet socket: %w", err)
		}
		c.file = os.NewFile(uintptr(fd), "capture")
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: dev.Index})
	})
	if err != nil {
		t.Fatal(err)
	}
	c.wg.Go(c.read)
	t.Cleanup(func() {
		c.file.Close()
		c.wg.Wait()
	})
	return c
}

func (c *Capture) read() {
	buf := make([]byte, 1<<16)
	for {
		n, err := c.file.Read(buf)
		if err != nil {
			return
		}
		d, ok := datagram(buf[:n])
		if !ok || d.To.Addr() != c.to {
			continue
		}
		d.Data = slices.Clone(d.Data)
		c.mu.Lock()
		if len(c.list) < captureBound {
			c.list = append(c.list, d)
		}
		c.mu.Unlock()
	}
}

// datagram takes an IPv4 packet apart (RFC 791, RFC 768); fragments are none.
func datagram(p []byte) (Datagram, bool) {
	if len(p) < 20 || p[0]>>4 != 4 || p[9] != unix.IPPROTO_UDP || binary.BigEndian.Uint16(p[6:])&0x3fff != 0 {
		return Datagram{}, false
	}
	header, total := 4*int(p[0]&15), int(binary.BigEndian.Uint16(p[2:]))
	if header < 20 || total > len(p) || header+8 > total {
		return Datagram{}, false
	}
	u := p[header:total]
	return Datagram{
		From: netip.AddrPortFrom(netip.AddrFrom4([4]byte(p[12:16])), binary.BigEndian.Uint16(u)),
		To:   netip.AddrPortFrom(netip.AddrFrom4([4]byte(p[16:20])), binary.BigEndian.Uint16(u[2:])),
		Data: u[8:],
	}, true
}

// Take returns what came since the last Take.
func (c *Capture) Take() []Datagram {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.list
	c.list = nil
	return list
}
