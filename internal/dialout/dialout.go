// Package dialout connects to hosts that an administrator named, and to none
// that would give away what only this machine may ask for: the metadata service
// of a cloud, or a service on loopback. Names are resolved first, each address is
// checked, and the checked address is dialled.
package dialout

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrForbidden says that an address is none to connect to.
var ErrForbidden = errors.New("address is not allowed as a destination")

// maxAddresses is how many addresses of a name are tried.
const maxAddresses = 8

// Dialer connects. The zero value will do.
type Dialer struct {
	// AllowLoopback is for tests, and for programs on the same machine.
	AllowLoopback bool
	// Local is the address to connect from; invalid leaves it to the kernel.
	Local netip.Addr
	// Device is the network interface to leave by; empty leaves it to the routes.
	// Linux allows that without privilege since 5.7.
	Device string
	// Timeout bounds each address, 10 s if zero; the context bounds the whole.
	Timeout time.Duration
	// Lookup resolves names; nil asks the resolver of the system.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
}

// Check refuses addresses as the zero Dialer does.
func Check(a netip.Addr) error { return Dialer{}.Check(a) }

// Check refuses addresses that must not be connected to.
func (d Dialer) Check(a netip.Addr) error {
	a = embedded(a)
	reason := ""
	switch {
	case !a.IsValid() || a.IsUnspecified():
		reason = "no address"
	case a.IsLinkLocalUnicast() || a == metadata6():
		reason = "link-local, or a cloud's metadata service"
	case a.IsMulticast() || a.Is4() && a.As4() == [4]byte{255, 255, 255, 255}:
		reason = "multicast or broadcast"
	case a.Is4() && a.As4()[0] == 0:
		reason = "this network"
	case a.IsLoopback() && !d.AllowLoopback:
		reason = "loopback"
	default:
		return nil
	}
	return fmt.Errorf("%w: %s (%s)", ErrForbidden, a, reason)
}

// metadata6 is the metadata service of EC2 on IPv6, which is no link-local one.
func metadata6() netip.Addr {
	return netip.AddrFrom16([16]byte{0xfd, 0, 0x0e, 0xc2, 14: 0x02, 15: 0x54})
}

// embedded is the IPv4 address within an IPv6 one: mapped, or translated by the
// well-known prefix of RFC 6052 section 2.1.
func embedded(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return a
	}
	b := a.As16()
	if [12]byte(b[:12]) == [12]byte{0, 0x64, 0xff, 0x9b} {
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return a
}

// DialContext connects to "host:port" as net.Dialer.DialContext does, to the
// addresses of the host that are allowed, one after the other.
func (d Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("dialling %q: %w", address, err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("dialling %q: port is not a number", address)
	}
	list, err := d.resolve(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("resolving %s: %w", host, err)
	}
	var errs []error
	for _, a := range list[:min(len(list), maxAddresses)] {
		if err := d.Check(a); err != nil {
			errs = append(errs, err)
			continue
		}
		c, err := d.Dial(ctx, network, netip.AddrPortFrom(a.Unmap(), uint16(port)))
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("connecting to %s: %w", host, errors.Join(errs...))
}

func (d Dialer) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	lookup := d.Lookup
	if lookup == nil {
		lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	list, err := lookup(ctx, host)
	if err == nil && len(list) == 0 {
		err = errors.New("name has no address")
	}
	return list, err
}

// Dial connects to one address, if it is allowed.
func (d Dialer) Dial(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	if err := d.Check(to.Addr()); err != nil {
		return nil, err
	}
	timeout := d.Timeout
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	n := net.Dialer{Timeout: timeout, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 4}}
	if d.Local.IsValid() {
		n.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(d.Local, 0))
		if network == "udp" {
			n.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(d.Local, 0))
		}
	}
	if d.Device != "" {
		n.Control = func(_, _ string, c syscall.RawConn) error {
			var err error
			if e := c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), d.Device) }); e != nil {
				return e
			}
			if err != nil {
				return fmt.Errorf("binding to interface %s: %w", d.Device, err)
			}
			return nil
		}
	}
	// Landlock's port rules do not see MPTCP sockets, which Go would open.
	n.SetMultipathTCP(false)
	return n.DialContext(ctx, network, to.String())
}
