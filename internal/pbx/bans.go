package pbx

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"ringfence/firewall"
	"ringfence/internal/ports"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
	"ringfence/internal/tries"
)

// tooManyPackets is why the packet filter itself banned a source.
const tooManyPackets = "more packets than allowed"

// Bans are those of the book, and those that only the packet filter knows.
func (l live) Bans(ctx context.Context) (all []telephony.Ban, more int) {
	all = l.p.warden.book.List(time.Now())
	if l.p.fence == nil {
		return all, 0
	}
	type key struct {
		source netip.Addr
		scope  telephony.BanScope
	}
	seen := make(map[key]bool, len(all))
	for _, b := range all {
		seen[key{b.Source, b.Scope}] = true
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	held, err := l.p.fence.client.Bans(ctx)
	if err != nil {
		l.p.log.Warn("bans of the packet filter not listed", "err", err)
	}
	for _, b := range held {
		if source := b.Prefix.Addr(); !seen[key{source, b.Scope}] {
			all = append(all, telephony.Ban{Source: source, Scope: b.Scope, Reason: tooManyPackets, Until: b.Until})
		}
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
		ctx, cancel := context.WithTimeout(ctx, fenceWait)
		defer cancel()
		if err := l.p.fence.client.Unban(ctx, scope, netip.PrefixFrom(a, a.BitLen())); err != nil {
			return fmt.Errorf("taking a ban out of the packet filter: %w", err)
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

// ZonesOf follows the packet filter.
func (l live) ZonesOf(ctx context.Context, from, local netip.Addr) []ports.Zone {
	if l.p.fence == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	states, err := l.p.fence.client.Interfaces(ctx)
	if err != nil {
		l.p.log.Warn("interfaces not listed", "err", err)
		return nil
	}
	return firewall.ZonesOf(states, from, local)
}

// Neighbours are the gateways, as the packet filter's process sees them.
func (l live) Neighbours(ctx context.Context) map[string][]netip.Addr {
	if l.p.fence == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	states, err := l.p.fence.client.Interfaces(ctx)
	if err != nil {
		l.p.log.Warn("interfaces not listed", "err", err)
		return nil
	}
	near := make(map[string][]netip.Addr)
	for _, s := range states {
		near["gateway"] = append(near["gateway"], s.Gateways...)
		if s.Lease != nil {
			near["name server"] = append(near["name server"], s.Lease.Nameservers...)
		}
	}
	return near
}
