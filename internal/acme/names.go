package acme

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Report is what became of looking a name up, before the authority does.
type Report struct {
	Name      string
	Addresses []netip.Addr
	// Problem keeps the authority from reaching us; Doubt may.
	Problem, Doubt string
}

// Good says that nothing is wrong with a name.
func (r Report) Good() bool { return r.Problem == "" && r.Doubt == "" }

const lookupTimeout = 10 * time.Second

// CheckNames looks every name up and compares with this machine's addresses. A
// challenge that must fail would count against the limits of the authority.
func CheckNames(ctx context.Context, names []string, lookup func(context.Context, string) ([]netip.Addr, error), own []netip.Addr) []Report {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	out := make([]Report, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() { out[i] = checkName(ctx, name, lookup, own) })
	}
	all.Wait()
	return out
}

func checkName(ctx context.Context, name string, lookup func(context.Context, string) ([]netip.Addr, error), own []netip.Addr) Report {
	r := Report{Name: name}
	found, err := lookup(ctx, name)
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound, err == nil && len(found) == 0:
		r.Problem = "the name has no address: add an A or AAAA record for it"
		return r
	case err != nil:
		r.Doubt = "the name could not be looked up from here; the name server did not answer"
		return r
	}
	for _, a := range found {
		r.Addresses = append(r.Addresses, a.Unmap().WithZone(""))
	}
	slices.SortFunc(r.Addresses, netip.Addr.Compare)
	r.Addresses = slices.Compact(r.Addresses)
	var elsewhere []string
	for _, a := range r.Addresses {
		if !slices.Contains(own, a) {
			elsewhere = append(elsewhere, a.String())
		}
	}
	switch {
	case len(elsewhere) == 0:
	case slices.ContainsFunc(own, public) || len(elsewhere) < len(r.Addresses):
		r.Problem = fmt.Sprintf("the name leads to %s, which is none of this machine's addresses (%s): the authority would ask there", strings.Join(elsewhere, ", "), list(own))
	default:
		r.Doubt = fmt.Sprintf("the name leads to %s, and this machine does not know by which address the world reaches it: its port 80 has to be forwarded here. Enter the public address under Network, and this is checked", strings.Join(elsewhere, ", "))
	}
	return r
}

// public says whether the world can reach an address.
func public(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !sharedSpace().Contains(a)
}

// sharedSpace is that of carrier-grade NAT (RFC 6598).
func sharedSpace() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, 0}), 10)
}

func list(own []netip.Addr) string {
	var out []string
	for _, a := range own {
		if !a.IsLoopback() && !a.IsLinkLocalUnicast() {
			out = append(out, a.String())
		}
	}
	if len(out) == 0 {
		return "it has none"
	}
	return strings.Join(out, ", ")
}
