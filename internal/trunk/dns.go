package trunk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// dnsTime is how long one name server has to answer.
const dnsTime = 2 * time.Second

// maxNameServers is how many of the system's are asked.
const maxNameServers = 3

// DNS asks the name servers of the system, which it reads anew each time: DHCP
// may have changed them. The resolver of the standard library does not tell how
// long an answer holds.
type DNS struct {
	// Config is the file that names them; empty is /etc/resolv.conf.
	Config string
	port   string // of the name servers; empty is DNS's own
}

// SRV looks up SRV records.
func (d DNS) SRV(ctx context.Context, name string) ([]SRV, time.Duration, error) {
	answer, err := d.ask(ctx, name, dns.TypeSRV)
	if err != nil {
		return nil, 0, err
	}
	var list []SRV
	ttl := maxTTL
	for _, rr := range answer[:min(len(answer), maxRecords)] {
		if s, ok := rr.(*dns.SRV); ok {
			list = append(list, SRV{strings.TrimSuffix(s.Target, "."), s.Port, s.Priority, s.Weight})
			ttl = min(ttl, time.Duration(s.Hdr.Ttl)*time.Second)
		}
	}
	if len(list) == 0 {
		return nil, 0, ErrNoRecord
	}
	return list, ttl, nil
}

// Addrs looks up A and AAAA records, IPv4 first. Names that only this machine
// knows are asked of the system.
func (d DNS) Addrs(ctx context.Context, host string) ([]netip.Addr, time.Duration, error) {
	if !strings.Contains(host, ".") {
		list, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		return list, minTTL, err
	}
	var list []netip.Addr
	ttl := maxTTL
	var errs []error
	for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
		answer, err := d.ask(ctx, host, kind)
		errs = append(errs, err)
		for _, rr := range answer[:min(len(answer), maxRecords)] {
			var ip net.IP
			switch x := rr.(type) {
			case *dns.A:
				ip = x.A
			case *dns.AAAA:
				ip = x.AAAA
			default: // a CNAME on the way: it bounds the time as well
			}
			ttl = min(ttl, time.Duration(rr.Header().Ttl)*time.Second)
			if a, ok := netip.AddrFromSlice(ip); ok {
				list = append(list, a.Unmap())
			}
		}
	}
	if len(list) > 0 {
		return list, ttl, nil
	}
	for _, err := range errs {
		if err != nil && !errors.Is(err, ErrNoRecord) {
			return nil, 0, err
		}
	}
	return nil, 0, ErrNoRecord
}

// ask asks one name server after the other, over TCP if the answer was cut.
func (d DNS) ask(ctx context.Context, name string, kind uint16) ([]dns.RR, error) {
	file := d.Config
	if file == "" {
		file = "/etc/resolv.conf"
	}
	c, err := dns.ClientConfigFromFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the name servers: %w", err)
	}
	if len(c.Servers) == 0 {
		return nil, errors.New("no name server is known")
	}
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), kind)
	q.SetEdns0(1232, false)
	var last error
	for _, s := range c.Servers[:min(len(c.Servers), maxNameServers)] {
		r, err := exchange(ctx, q, net.JoinHostPort(s, cmp.Or(d.port, c.Port)))
		switch {
		case err != nil:
			last = err
		case r.Rcode == dns.RcodeNameError, r.Rcode == dns.RcodeSuccess && len(r.Answer) == 0:
			return nil, ErrNoRecord
		case r.Rcode == dns.RcodeSuccess:
			return r.Answer, nil
		default:
			last = fmt.Errorf("name server %s answers %s", s, dns.RcodeToString[r.Rcode])
		}
	}
	return nil, last
}

func exchange(ctx context.Context, q *dns.Msg, server string) (*dns.Msg, error) {
	r, _, err := (&dns.Client{Timeout: dnsTime}).ExchangeContext(ctx, q, server)
	if err == nil && r.Truncated {
		r, _, err = (&dns.Client{Net: "tcp", Timeout: dnsTime}).ExchangeContext(ctx, q, server)
	}
	if err != nil {
		return nil, fmt.Errorf("asking name server %s: %w", server, err)
	}
	return r, nil
}
