package trunk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

const (
	// maxServers is how many servers of a trunk are used, and maxRecords how many
	// records of an answer are looked at: DNS answers are what strangers write.
	maxServers, maxRecords = 8, 32
	// minTTL and maxTTL bound how long an answer is believed.
	minTTL, maxTTL = 30 * time.Second, time.Hour
	maxName        = 253
)

// ErrNoRecord says that DNS has no such record: neither a failure nor an answer.
var ErrNoRecord = errors.New("there is no such DNS record")

// SRV is one record of RFC 2782.
type SRV struct {
	Target           string // without the final dot
	Port             uint16
	Priority, Weight uint16
}

// Resolver asks DNS. Its answers come with the time that they hold.
type Resolver interface {
	SRV(ctx context.Context, name string) ([]SRV, time.Duration, error)
	Addrs(ctx context.Context, host string) ([]netip.Addr, time.Duration, error)
}

// target is a server of a trunk, as DNS says.
type target struct {
	name  string
	addr  netip.AddrPort
	level int // servers of a lower one are preferred
}

// defaultPort is where servers listen whose port nobody names.
func defaultPort(t telephony.TrunkTransport) uint16 {
	id := ports.SIPUDP // SIP's registered port, over TCP as well
	if t == telephony.TrunkTLS {
		id = ports.SIPTLS
	}
	row, _ := ports.Lookup(ports.Table(), id)
	return row.First
}

// service is what SRV records of a transport are asked for (RFC 3263 section
// 4.1).
func service(t telephony.TrunkTransport) string {
	switch t {
	case telephony.TrunkTLS:
		return "_sips._tcp."
	case telephony.TrunkTCP:
		return "_sip._tcp."
	}
	return "_sip._udp."
}

// hop is where requests to a trunk go first: its outbound proxy, or its host.
func hop(t telephony.Trunk) (host string, port uint16, err error) {
	if t.OutboundProxy == "" {
		return strings.Trim(t.Host, "[]"), t.Port, nil
	}
	return splitHop(t.OutboundProxy)
}

// splitHop reads "host", "host:port", "[v6]" or "[v6]:port".
func splitHop(s string) (host string, port uint16, err error) {
	host, text, err := net.SplitHostPort(s)
	if err != nil {
		return strings.Trim(s, "[]"), 0, nil // without a port
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("reading %q: port is not a number", s)
	}
	return host, uint16(n), nil
}

// locate finds the servers of a host (RFC 3263 section 4.2), the preferred ones
// first. The transport is what the trunk says, so NAPTR has nothing to choose
// and is not asked. An explicit port means that there is no SRV.
func locate(ctx context.Context, r Resolver, host string, port uint16, tr telephony.TrunkTransport) ([]target, time.Duration, error) {
	fixed := cmp.Or(port, defaultPort(tr))
	if a, err := netip.ParseAddr(host); err == nil {
		return []target{{host, netip.AddrPortFrom(a.Unmap().WithZone(""), fixed), 0}}, maxTTL, nil
	}
	if host == "" || len(host) > maxName {
		return nil, minTTL, fmt.Errorf("resolving %q: no host name", host)
	}
	if port == 0 {
		records, ttl, err := r.SRV(ctx, service(tr)+host)
		if err == nil && len(records) > 0 {
			return servers(ctx, r, records, bounded(ttl))
		}
		if err != nil && !errors.Is(err, ErrNoRecord) {
			return nil, minTTL, fmt.Errorf("asking for the servers of %s: %w", host, err)
		}
	}
	addrs, ttl, err := r.Addrs(ctx, host)
	if err != nil {
		return nil, minTTL, fmt.Errorf("resolving %s: %w", host, err)
	}
	var list []target
	for _, a := range addrs[:min(len(addrs), maxServers)] {
		list = append(list, target{host, netip.AddrPortFrom(a.Unmap().WithZone(""), fixed), 0})
	}
	if len(list) == 0 {
		return nil, minTTL, fmt.Errorf("resolving %s: %w", host, ErrNoRecord)
	}
	return list, bounded(ttl), nil
}

// servers are the addresses of SRV records in the order of RFC 2782. One that
// does not resolve is left out.
func servers(ctx context.Context, r Resolver, records []SRV, ttl time.Duration) (list []target, _ time.Duration, _ error) {
	var failed error
	for _, s := range ordered(records) {
		if s.Target == "" || s.Target == "." || s.Port == 0 || len(s.Target) > maxName {
			failed = cmp.Or(failed, errors.New("the service is not offered")) // RFC 2782: a target of "."
			continue
		}
		addrs := []netip.Addr{}
		var err error
		if a, perr := netip.ParseAddr(s.Target); perr == nil {
			addrs = append(addrs, a) // not allowed, and seen
		} else {
			var more time.Duration
			if addrs, more, err = r.Addrs(ctx, s.Target); err == nil {
				ttl = min(ttl, bounded(more))
			}
		}
		if err != nil {
			failed = fmt.Errorf("resolving %s: %w", s.Target, err)
			continue
		}
		for _, a := range addrs {
			x := target{s.Target, netip.AddrPortFrom(a.Unmap().WithZone(""), s.Port), int(s.Priority)}
			if len(list) < maxServers && !slices.ContainsFunc(list, func(y target) bool { return y.addr == x.addr }) {
				list = append(list, x)
			}
		}
	}
	if len(list) == 0 {
		return nil, minTTL, cmp.Or(failed, ErrNoRecord)
	}
	return list, ttl, nil
}

// ordered sorts by priority, and draws by weight among equals (RFC 2782).
func ordered(records []SRV) []SRV {
	left := slices.Clone(records[:min(len(records), maxRecords)])
	slices.SortStableFunc(left, func(a, b SRV) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Weight, b.Weight))
	})
	var out []SRV
	for len(left) > 0 {
		n, sum := 0, 0
		for n < len(left) && left[n].Priority == left[0].Priority {
			sum += int(left[n].Weight)
			n++
		}
		draw, i := rand.IntN(sum+1), 0
		for at := int(left[0].Weight); at < draw; at += int(left[i].Weight) {
			i++
		}
		out = append(out, left[i])
		left = slices.Delete(left, i, i+1)
	}
	return out
}

func bounded(ttl time.Duration) time.Duration { return min(max(ttl, minTTL), maxTTL) }
