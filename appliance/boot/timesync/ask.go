package timesync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/beevik/ntp"
)

// Limits of asking.
const (
	// samples of each server, gap apart: the one that took the shortest time
	// is the best (RFC 5905 section 10).
	samples = 3
	gap     = 2 * time.Second
	timeout = 2 * time.Second
	// maxServers of one group are asked, maxPerName of one name.
	maxServers, maxPerName = 8, 4
	// maxDistance bounds the error of a server against the true time (root
	// distance, RFC 5905 section 11.2.1). MAXDIST is 1 s there; servers of
	// offices say some seconds, and are right all the same.
	maxDistance = 5 * time.Second
	// agreement is how far servers may be apart that say the same.
	agreement = 500 * time.Millisecond
)

// Asker asks time servers.
type Asker struct {
	// Lookup resolves a name.
	Lookup func(ctx context.Context, name string) ([]netip.Addr, error)
	// Denied are not asked.
	Denied []netip.Addr
	// Port is 0 for the standard one; Gap and Timeout are 0 for the standard.
	Port         uint16
	Gap, Timeout time.Duration
}

// Ask asks group after group until one agrees on the time.
func (a Asker) Ask(ctx context.Context, groups []Group) Answer {
	out := Answer{NoSource: true}
	var problems []string
	for _, g := range groups {
		if len(g.Servers) == 0 {
			continue
		}
		out.NoSource = false
		best, err := a.group(ctx, g, &out)
		if err == nil {
			out.Offset, out.Distance, out.Server, out.Origin, out.Problem = best.offset, best.distance, best.server, g.Origin, ""
			return out
		}
		problems = append(problems, fmt.Sprintf("%s: %v", g.Origin, err))
	}
	out.Problem = strings.Join(problems, "; ")
	out.Problem = out.Problem[:min(len(out.Problem), maxProblem)]
	return out
}

// reading is what one server says.
type reading struct {
	server                netip.Addr
	offset, distance, rtt time.Duration
	kiss                  string // it wants not to be asked (RFC 5905 section 7.4)
	err                   error
}

func (a Asker) group(ctx context.Context, g Group, out *Answer) (reading, error) {
	addrs, err := a.resolve(ctx, g.Servers)
	if len(addrs) == 0 {
		return reading{}, err
	}
	all := make([]reading, len(addrs))
	var tasks sync.WaitGroup
	for n, addr := range addrs {
		tasks.Go(func() { all[n] = a.read(ctx, addr) })
	}
	tasks.Wait()
	var good []reading
	var failed error
	for _, r := range all {
		switch {
		case r.kiss == "RATE":
			out.Slower = true
		case r.kiss == "DENY" || r.kiss == "RSTR":
			out.Denied = append(out.Denied, r.server)
		}
		if r.err == nil {
			good = append(good, r)
		} else if failed == nil {
			failed = r.err
		}
	}
	if len(good) == 0 {
		return reading{}, failed
	}
	return agree(good)
}

// resolve finds the addresses of servers, without those that refused.
func (a Asker) resolve(ctx context.Context, servers []string) (addrs []netip.Addr, err error) {
	add := func(list []netip.Addr) {
		for _, addr := range list {
			if addr = addr.Unmap(); len(addrs) < maxServers && !slices.Contains(addrs, addr) && !slices.Contains(a.Denied, addr) {
				addrs = append(addrs, addr)
			}
		}
	}
	for _, s := range servers {
		if addr, perr := netip.ParseAddr(s); perr == nil {
			add([]netip.Addr{addr})
			continue
		}
		limited, cancel := context.WithTimeout(ctx, 2*gap)
		list, lerr := a.Lookup(limited, s)
		cancel()
		if lerr != nil && err == nil {
			err = fmt.Errorf("the name %s is not found", s)
		}
		add(list[:min(len(list), maxPerName)])
	}
	if err == nil {
		err = errors.New("the servers do not want to be asked")
	}
	return addrs, err
}

// read takes several samples and returns the best.
func (a Asker) read(ctx context.Context, server netip.Addr) reading {
	best := reading{server: server, err: fmt.Errorf("%s does not answer", server)}
	for n := range samples {
		if n > 0 && !pause(ctx, a.gap()) {
			break
		}
		r := a.sample(server)
		if r.kiss != "" {
			return r
		}
		var silent net.Error
		if r.err == nil && (best.err != nil || r.rtt < best.rtt) || best.err != nil && r.err != nil && !errors.As(r.err, &silent) {
			best = r
		}
	}
	return best
}

func (a Asker) gap() time.Duration {
	if a.Gap > 0 {
		return a.Gap
	}
	return gap
}

// sample is one exchange. The socket is connected, so that only datagrams from
// the server's own address and port arrive, and the answer has to repeat a
// random number of 64 bits.
func (a Asker) sample(server netip.Addr) reading {
	r := reading{server: server}
	o := ntp.QueryOptions{Timeout: timeout}
	if a.Timeout > 0 {
		o.Timeout = a.Timeout
	}
	host := "[" + server.String() + "]"
	if a.Port != 0 {
		host += ":" + strconv.Itoa(int(a.Port))
	}
	said, err := ntp.QueryWithOptions(host, o)
	if err != nil {
		r.err = fmt.Errorf("asking %s: %w", server, err)
		return r
	}
	if said.IsKissOfDeath() {
		r.kiss, r.err = said.KissCode, fmt.Errorf("%s does not want to be asked", server)
		if r.kiss == "" {
			r.kiss = "none"
		}
		return r
	}
	if err := said.Validate(); err != nil {
		r.err = fmt.Errorf("%s: %w", server, err)
		return r
	}
	if said.RootDistance > maxDistance {
		r.err = fmt.Errorf("%s may be wrong by %s", server, said.RootDistance.Round(time.Millisecond))
		return r
	}
	r.offset, r.distance, r.rtt = said.ClockOffset, said.RootDistance, said.RTT
	return r
}

// agree returns the median, if more than half of the servers say about the
// same.
func agree(list []reading) (reading, error) {
	slices.SortFunc(list, func(a, b reading) int { return cmp.Compare(a.offset, b.offset) })
	median := list[(len(list)-1)/2]
	same := 0
	for _, r := range list {
		if (r.offset - median.offset).Abs() <= agreement {
			same++
		}
	}
	if 2*same <= len(list) {
		return reading{}, fmt.Errorf("the servers do not agree: from %s to %s", list[0].offset.Round(time.Millisecond), list[len(list)-1].offset.Round(time.Millisecond))
	}
	return median, nil
}

// pause reports whether it lasted its time.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
