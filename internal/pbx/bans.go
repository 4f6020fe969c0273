package pbx

import (
	"context"
	"net/netip"
	"time"

	"ringfence/firewall"
	"ringfence/internal/netcfg"
	"ringfence/internal/ports"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
	"ringfence/internal/tries"
)

// Bans are those of the book, after a look at what the packet filter has, and how
// many packets each dropped.
func (l live) Bans(ctx context.Context) (all []telephony.Ban, more int) {
	all = l.p.warden.book.List(time.Now())
	if l.p.fence == nil {
		return all, 0
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	held := l.p.fence.learn(ctx, true)
	all = l.p.warden.book.List(time.Now())
	type key struct {
		source netip.Addr
		scope  telephony.BanScope
	}
	dropped := make(map[key]uint64, len(held))
	for _, b := range held {
		dropped[key{b.Prefix.Addr(), b.Scope}] = b.Packets
	}
	for i, b := range all {
		all[i].Dropped = dropped[key{b.Source, b.Scope}]
	}
	return all, 0
}

// Unban takes a ban back everywhere.
func (l live) Unban(ctx context.Context, a netip.Addr, scope telephony.BanScope) error {
	a = tries.Source(a)
	found := l.p.warden.book.Remove(a, scope)
	switch scope {
	case telephony.BanSIP:
		l.p.warden.guard.Pardon(a)
	case telephony.BanWeb:
		found = l.p.logins.Unblock(a) || found
	case telephony.BanProv:
		l.p.provision.Forgive(a)
	}
	if l.p.fence != nil {
		if err := l.p.fence.unban(ctx, a, scope); err != nil {
			return err
		}
		found = true // the packet filter does not say whether it had it
	}
	if !found {
		return store.ErrNotFound
	}
	return nil
}

// Known reports whether a phone is registered from there.
func (l live) Known(a netip.Addr) bool {
	for _, p := range l.p.known() {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// interfaces are those that the packet filter's process sees; false without one.
func (l live) interfaces(ctx context.Context) ([]netcfg.State, bool) {
	if l.p.fence == nil {
		return nil, false
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	states, err := l.p.fence.client.Interfaces(ctx)
	if err != nil {
		l.p.log.Warn("interfaces not listed", "err", err)
	}
	return states, err == nil
}

// ZonesOf follows the packet filter.
func (l live) ZonesOf(ctx context.Context, from, local netip.Addr) []ports.Zone {
	states, ok := l.interfaces(ctx)
	if !ok {
		return nil
	}
	return firewall.ZonesOf(states, from, local)
}

// Neighbours are the gateways, as the packet filter's process sees them.
func (l live) Neighbours(ctx context.Context) map[string][]netip.Addr {
	near := map[string][]netip.Addr{"trunk peer": l.p.telephone.trunks.Hosts()}
	states, ok := l.interfaces(ctx)
	if !ok {
		return near
	}
	for _, s := range states {
		near["gateway"] = append(near["gateway"], s.Gateways...)
		if s.Lease != nil {
			near["name server"] = append(near["name server"], s.Lease.Nameservers...)
		}
	}
	return near
}
