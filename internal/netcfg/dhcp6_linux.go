package netcfg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/dhcpv6/nclient6"
	"github.com/insomniacslk/dhcp/iana"

	"ringfence/internal/ports"
)

// leastRefresh bounds how often name servers are asked for anew (RFC 8415
// section 21.23: IRT_MINIMUM).
const leastRefresh = 10 * time.Minute

// dhcp6Client keeps a DHCPv6 lease on one link: an address, or name servers
// alone where the server grants none (RFC 8415 section 6).
type dhcp6Client struct {
	name    string
	mac     net.HardwareAddr
	log     *slog.Logger
	carrier func() bool
	set     func(*Lease)
}

func (d *dhcp6Client) run(ctx context.Context) {
	pause, told := firstPause, false
	for ctx.Err() == nil {
		wait := jitter(pause)
		if d.carrier() {
			reply, err := d.ask(ctx, d.acquire)
			if err == nil {
				pause, told = firstPause, false
				wait = d.hold(ctx, reply)
			} else if !told && ctx.Err() == nil {
				d.log.Warn("no DHCPv6 lease yet", "err", err)
				told = true
			}
		}
		pause = min(2*pause, lastPause)
		sleep(ctx, wait)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// hold uses what a reply grants for as long as it lasts, and says after what
// pause to begin anew.
func (d *dhcp6Client) hold(ctx context.Context, reply *dhcpv6.Message) time.Duration {
	for {
		lease, renew, err := readLease6(reply, time.Now())
		if err != nil {
			d.log.Warn("DHCPv6", "err", err)
			d.set(nil)
			return jitter(leastRetry)
		}
		d.set(&lease)
		d.log.Info("DHCPv6 lease", "address", lease.Address, "nameservers", len(lease.Nameservers), "seconds", int(time.Until(lease.Expires).Seconds()))
		if !lease.Address.IsValid() {
			return renew
		}
		next := d.prolong(ctx, reply, lease, renew)
		if ctx.Err() != nil {
			return 0
		}
		if next == nil {
			d.log.Warn("DHCPv6 lease lost", "address", lease.Address)
			d.set(nil)
			return 0
		}
		reply = next
	}
}

// prolong asks for more time until it gets some, or the lease has run out.
func (d *dhcp6Client) prolong(ctx context.Context, reply *dhcpv6.Message, lease Lease, wait time.Duration) *dhcpv6.Message {
	for {
		sleep(ctx, min(wait, time.Until(lease.Expires)))
		if ctx.Err() != nil || !time.Now().Before(lease.Expires) {
			return nil
		}
		next, err := d.ask(ctx, func(ctx context.Context, c *nclient6.Client) (*dhcpv6.Message, error) {
			renew, err := dhcpv6.NewMessage(append(d.modifiers(), dhcpv6.WithServerID(reply.Options.ServerID()), dhcpv6.WithOption(reply.Options.OneIANA()))...)
			if err != nil {
				return nil, err
			}
			renew.MessageType = dhcpv6.MessageTypeRenew
			return c.SendAndRead(ctx, nclient6.AllDHCPRelayAgentsAndServers, renew, nclient6.IsMessageType(dhcpv6.MessageTypeReply))
		})
		if err == nil {
			if l, _, rerr := readLease6(next, time.Now()); rerr == nil && l.Address.IsValid() {
				return next
			}
		}
		wait = max(time.Until(lease.Expires)/2, leastRetry)
	}
}

// acquire asks for an address, and without success for name servers.
func (d *dhcp6Client) acquire(ctx context.Context, c *nclient6.Client) (*dhcpv6.Message, error) {
	reply, err := c.RapidSolicit(ctx, d.modifiers()...)
	if err == nil {
		if l, _, rerr := readLease6(reply, time.Now()); rerr == nil && l.Address.IsValid() {
			return reply, nil
		}
	}
	ask, merr := dhcpv6.NewMessage(d.modifiers()...)
	if merr != nil {
		return nil, errors.Join(err, merr)
	}
	ask.MessageType = dhcpv6.MessageTypeInformationRequest
	information, ierr := c.SendAndRead(ctx, nclient6.AllDHCPRelayAgentsAndServers, ask, nclient6.IsMessageType(dhcpv6.MessageTypeReply))
	if ierr != nil {
		return nil, errors.Join(err, ierr)
	}
	return information, nil
}

// modifiers are what every message of ours says: an identifier that stays the
// same, unlike one made of the time.
func (d *dhcp6Client) modifiers() []dhcpv6.Modifier {
	return []dhcpv6.Modifier{
		dhcpv6.WithClientID(&dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: d.mac}),
		dhcpv6.WithRequestedOptions(dhcpv6.OptionDNSRecursiveNameServer, dhcpv6.OptionDomainSearchList, dhcpv6.OptionInformationRefreshTime),
	}
}

// ask runs one exchange on a socket of its own, bound to the link-local
// address, which may not be there yet.
func (d *dhcp6Client) ask(ctx context.Context, exchange func(context.Context, *nclient6.Client) (*dhcpv6.Message, error)) (*dhcpv6.Message, error) {
	conn, err := nclient6.NewIPv6UDPConn(d.name, int(ports.DHCPv6Client))
	if err != nil {
		return nil, fmt.Errorf("opening a DHCPv6 socket on %s: %w", d.name, err)
	}
	c, err := nclient6.NewWithConn(conn, d.mac, nclient6.WithTimeout(answerWait), nclient6.WithRetry(answerTries))
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	defer c.Close()
	return exchange(ctx, c)
}

// readLease6 takes from a reply what we use, and when to ask again.
func readLease6(m *dhcpv6.Message, now time.Time) (l Lease, renew time.Duration, err error) {
	l.Obtained = now
	for _, ip := range m.Options.DNS() {
		if a, ok := netip.AddrFromSlice(ip); ok && a.Is6() && !a.Is4In6() && isHost(a) && len(l.Nameservers) < MaxServers {
			l.Nameservers = append(l.Nameservers, a)
		}
	}
	if list := m.Options.DomainSearchList(); list != nil {
		for _, n := range list.Labels {
			if isHostname(n) && len(l.Search) < MaxServers {
				l.Search = append(l.Search, n)
			}
		}
	}
	ia := m.Options.OneIANA()
	if ia == nil || ia.Options.OneAddress() == nil {
		renew = max(m.Options.InformationRefreshTime(24*time.Hour), leastRefresh)
		l.Expires = now.Add(renew)
		return l, renew, nil
	}
	granted := ia.Options.OneAddress()
	a, ok := netip.AddrFromSlice(granted.IPv6Addr)
	if !ok || a.Is4In6() || !isHost(a) || a.IsLinkLocalUnicast() {
		return l, 0, fmt.Errorf("DHCPv6 server grants the address %s", granted.IPv6Addr)
	}
	const longest = 366 * 24 * time.Hour // more is "for ever" on the wire, and too much for us
	lasts := min(granted.ValidLifetime, longest)
	if lasts <= 0 {
		return l, 0, errors.New("DHCPv6 server takes the address back")
	}
	lasts = max(lasts, shortestLease)
	if renew = ia.T1; renew <= 0 || renew >= lasts {
		renew = lasts / 2
	}
	l.Address, l.Expires = netip.PrefixFrom(a, 128), now.Add(lasts)
	return l, renew, nil
}
