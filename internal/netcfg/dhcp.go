package netcfg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

const (
	// shortestLease keeps a server from making the client spin.
	shortestLease = 30 * time.Second
	// firstPause and lastPause bound the wait between attempts to get a lease
	// (RFC 2131 section 4.1: from 4 s to 64 s; we begin sooner, because a switch
	// port often forwards only seconds after its link came up).
	firstPause = time.Second
	lastPause  = 64 * time.Second
	// leastRetry is the shortest pause between two renewals (RFC 2131 section
	// 4.4.5).
	leastRetry = time.Minute
	// verifyTries and verifyPause: how often the lease is checked after the link
	// came back.
	verifyTries = 3
	verifyPause = 2 * time.Second
	// leastMTU is the smallest MTU taken from a server: IPv6 needs it (RFC 8200
	// section 5), and a hostile server could starve us with less.
	leastMTU = 1280
)

// errNak says that the server refuses the address: it is lost at once.
var errNak = errors.New("the DHCP server refuses our address")

// wire exchanges DHCP messages on one link.
type wire interface {
	// acquire goes through DISCOVER, OFFER, REQUEST, ACK once.
	acquire(ctx context.Context) (*dhcpv4.DHCPv4, error)
	// renew asks to prolong what ack granted: the server that did, or with
	// anybody every server (RFC 2131 section 4.4.5). It returns errNak if
	// refused.
	renew(ctx context.Context, ack *dhcpv4.DHCPv4, anybody bool) (*dhcpv4.DHCPv4, error)
}

// dhcpClient keeps a lease on one link.
type dhcpClient struct {
	wire wire
	log  *slog.Logger
	// up is closed by its reader's turn: it yields when the link gained
	// carrier, one slot.
	up <-chan struct{}
	// carrier reports whether the link has one.
	carrier func() bool
	// set makes the lease take effect, or with nil takes it away.
	set func(*Lease)
}

// run keeps a lease until ctx ends. The address then stays in place: the
// kernel takes it away when its time is over.
func (d *dhcpClient) run(ctx context.Context) {
	for ctx.Err() == nil {
		ack, ok := d.obtain(ctx)
		if !ok {
			return
		}
		if err := d.hold(ctx, ack); err != nil {
			d.log.Warn("lease lost", "err", err)
			d.set(nil)
		}
	}
}

// obtain tries until a server grants a usable lease.
func (d *dhcpClient) obtain(ctx context.Context) (*dhcpv4.DHCPv4, bool) {
	pause := firstPause
	told := false
	for {
		if d.carrier() {
			ack, err := d.wire.acquire(ctx)
			if err == nil {
				if _, err = readLease(ack, time.Now()); err == nil {
					return ack, true
				}
			}
			if ctx.Err() != nil {
				return nil, false
			}
			if !told {
				d.log.Warn("no lease yet", "err", err)
				told = true
			}
		}
		select {
		case <-ctx.Done():
			return nil, false
		case <-d.up:
			pause = firstPause
		case <-time.After(jitter(pause)):
			pause = min(2*pause, lastPause)
		}
	}
}

// jitter spreads the retries of many hosts after a power cut (RFC 2131 section
// 4.1).
func jitter(d time.Duration) time.Duration {
	return d - d/8 + rand.N(d/4+1)
}

// hold keeps the lease of ack, renewing it, until it is lost, which is the
// error, or ctx ends.
func (d *dhcpClient) hold(ctx context.Context, ack *dhcpv4.DHCPv4) error {
	for {
		lease, err := readLease(ack, time.Now())
		if err != nil {
			return err
		}
		d.set(&lease)
		d.log.Info("lease", "address", lease.Address, "server", lease.Server, "seconds", int(time.Until(lease.Expires).Seconds()))
		next, err := d.prolong(ctx, ack, lease)
		if next == nil {
			return err
		}
		ack = next
	}
}

// prolong waits for the lease's times and asks for more. It returns nil and
// the reason when the lease is lost, nil and nil when ctx ended.
func (d *dhcpClient) prolong(ctx context.Context, ack *dhcpv4.DHCPv4, lease Lease) (*dhcpv4.DHCPv4, error) {
	renewAt, rebindAt := times(ack, lease)
	for at := renewAt; ; {
		wait := time.NewTimer(time.Until(at))
		select {
		case <-ctx.Done():
			wait.Stop()
			return nil, nil
		case <-d.up:
			wait.Stop()
			if next, err := d.verify(ctx, ack); next != nil || err != nil {
				return next, err
			}
			continue
		case <-wait.C:
		}
		now := time.Now()
		if !now.Before(lease.Expires) {
			return nil, fmt.Errorf("nobody prolonged %s before it ran out", lease.Address)
		}
		next, err := d.wire.renew(ctx, ack, !now.Before(rebindAt))
		if err == nil {
			return next, nil
		}
		if errors.Is(err, errNak) {
			return nil, err
		}
		d.log.Warn("lease not prolonged yet", "err", err)
		// Half of what is left until the next stage (RFC 2131 section 4.4.5).
		stage := rebindAt
		if !now.Before(rebindAt) {
			stage = lease.Expires
		}
		at = now.Add(max(time.Until(stage)/2, leastRetry))
		if at.After(stage) {
			at = stage
		}
	}
}

// verify asks every server whether the lease still holds, after the link was
// away: the cable may lead to another network now. Without an answer the lease
// stays (RFC 2131 section 3.7).
func (d *dhcpClient) verify(ctx context.Context, ack *dhcpv4.DHCPv4) (*dhcpv4.DHCPv4, error) {
	for range verifyTries {
		next, err := d.wire.renew(ctx, ack, true)
		if err == nil {
			return next, nil
		}
		if errors.Is(err, errNak) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(verifyPause):
		}
	}
	return nil, nil
}

// times are T1 and T2 of RFC 2131 section 4.4.5: the server's, when they make
// sense, or one half and seven eighths.
func times(ack *dhcpv4.DHCPv4, lease Lease) (renewAt, rebindAt time.Time) {
	whole := lease.Expires.Sub(lease.Obtained)
	t1, t2 := ack.IPAddressRenewalTime(whole/2), ack.IPAddressRebindingTime(whole/8*7)
	if t1 <= 0 || t1 >= t2 || t2 >= whole {
		t1, t2 = whole/2, whole/8*7
	}
	return lease.Obtained.Add(t1), lease.Obtained.Add(t2)
}

// readLease takes from a server's ACK what we use, and nothing that could not
// be true: the server is whoever answered first.
func readLease(ack *dhcpv4.DHCPv4, now time.Time) (Lease, error) {
	l := Lease{Obtained: now}
	addr, ok := netip.AddrFromSlice(ack.YourIPAddr.To4())
	if !ok || !isHost(addr) {
		return l, fmt.Errorf("DHCP server grants the address %s", ack.YourIPAddr)
	}
	bits := netmask(ack, addr)
	l.Address = netip.PrefixFrom(addr, bits)
	if bits < 31 && (addr == l.Address.Masked().Addr() || addr == broadcast(l.Address)) {
		return l, fmt.Errorf("DHCP server grants the network's own address %s", l.Address)
	}
	l.Server, _ = netip.AddrFromSlice(ack.ServerIdentifier().To4())
	seconds := ack.IPAddressLeaseTime(0)
	if seconds <= 0 {
		return l, errors.New("DHCP server names no lease time")
	}
	l.Expires = now.Add(max(seconds, shortestLease))
	l.Routes = leaseRoutes(ack)
	l.Nameservers = hosts(ack.DNS(), MaxServers)
	l.Search = searchList(ack)
	l.NTP = hosts(ack.NTPServers(), MaxServers)
	if mtu, err := dhcpv4.GetUint16(dhcpv4.OptionInterfaceMTU, ack.Options); err == nil && mtu >= leastMTU && mtu <= MaxMTU {
		l.MTU = int(mtu)
	}
	return l, nil
}

// isHost reports whether a may be the address of a host.
func isHost(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// netmask is the prefix length the server names, or the old class's.
func netmask(ack *dhcpv4.DHCPv4, a netip.Addr) int {
	const shortest = 8
	if ones, size := ack.SubnetMask().Size(); size == 32 && ones >= shortest {
		return ones
	}
	ones, _ := net.IP(a.AsSlice()).DefaultMask().Size()
	return max(ones, shortest)
}

// leaseRoutes are the classless routes, which replace the router option when
// present (RFC 3442).
func leaseRoutes(ack *dhcpv4.DHCPv4) []Route {
	var out []Route
	classless := ack.ClasslessStaticRoute()
	for _, r := range classless[:min(len(classless), MaxRoutes)] {
		if r == nil || r.Dest == nil {
			continue
		}
		dest, ok1 := netip.AddrFromSlice(r.Dest.IP.To4())
		via, ok2 := netip.AddrFromSlice(r.Router.To4())
		ones, size := r.Dest.Mask.Size()
		if !ok1 || !ok2 || size != 32 || !isHost(via) && !via.IsUnspecified() {
			continue
		}
		out = append(out, Route{To: netip.PrefixFrom(dest, ones).Masked(), Via: via})
	}
	if len(out) > 0 {
		return out
	}
	for _, via := range hosts(ack.Router(), 1) {
		out = append(out, Route{To: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Via: via})
	}
	return out
}

func hosts(list []net.IP, most int) []netip.Addr {
	var out []netip.Addr
	for _, ip := range list {
		if a, ok := netip.AddrFromSlice(ip.To4()); ok && isHost(a) && !slices.Contains(out, a) && len(out) < most {
			out = append(out, a)
		}
	}
	return out
}

// searchList is the domain search option (RFC 3397), or the domain name. The
// names end up in a file: only host names pass.
func searchList(ack *dhcpv4.DHCPv4) []string {
	var names []string
	if l := ack.DomainSearch(); l != nil {
		names = l.Labels
	}
	if len(names) == 0 && ack.DomainName() != "" {
		names = []string{ack.DomainName()}
	}
	var out []string
	for _, n := range names {
		if isHostname(n) && len(out) < MaxServers {
			out = append(out, n)
		}
	}
	return out
}
