package pbx

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"ringfence/firewall"
	"ringfence/internal/api"
	"ringfence/internal/netcfg"
)

// networkDelay is the time between the answer to a change and the change: the
// answer leaves by the old address.
const networkDelay = time.Second

// networkFence is what network asks of fenced.
type networkFence interface {
	Network(context.Context) (firewall.NetworkStatus, error)
	Interfaces(context.Context) ([]netcfg.State, error)
	SetAddresses(context.Context, netcfg.Config, time.Duration) error
	ConfirmAddresses(context.Context, uint64) error
	RevertAddresses(context.Context, uint64) error
}

// network changes the machine's network by way of fenced, which keeps it: the
// configuration belongs to the machine, must be there before the database is
// open, and must not come back with another machine's backup.
type network struct {
	fence networkFence
	log   *slog.Logger
	ctx   context.Context // ends the waiting for a change
	wg    sync.WaitGroup

	mu     sync.Mutex
	change *networkChange // the last one
}

// networkChange is a change on its way, or in effect and not confirmed.
type networkChange struct {
	id      string // whoever knows it was told by us, or by the administrator
	rev     uint64
	by      string
	confirm time.Duration
	made    time.Time
	applied bool
	since   time.Time // when it came into effect
	err     error
}

func newNetwork(ctx context.Context, f networkFence, log *slog.Logger) *network {
	return &network{fence: f, log: log, ctx: ctx}
}

// State is the network as it is, with the change that waits.
func (n *network) State(ctx context.Context) (api.NetworkState, error) {
	ctx, cancel := context.WithTimeout(ctx, fenceWait)
	defer cancel()
	s, err := n.fence.Network(ctx)
	if err != nil || !s.Managed {
		return api.NetworkState{}, err
	}
	out := api.NetworkState{Managed: true, Standard: s.Standard, Config: s.Config, Error: s.Error}
	if out.Interfaces, err = n.fence.Interfaces(ctx); err != nil {
		return out, err
	}
	if s.Reverted != nil {
		out.Reverted = &api.NetworkReverted{Reason: s.Reverted.Reason, At: s.Reverted.At}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch c := n.change; {
	case c != nil && !c.applied && c.err == nil:
		out.Pending = &api.NetworkPending{ID: c.id, Left: networkDelay + c.confirm - time.Since(c.made)}
	case !s.ConfirmUntil.IsZero():
		out.Pending = &api.NetworkPending{ID: n.waiting(s).id, Left: time.Until(s.ConfirmUntil)}
	case c != nil && c.err != nil:
		out.Error = c.err.Error()
	}
	return out, nil
}

// waiting is the change that fenced waits for. One that an earlier process of
// ours made gets a new id. The caller holds mu.
func (n *network) waiting(s firewall.NetworkStatus) *networkChange {
	if c := n.change; c == nil || c.rev != s.Config.Rev {
		n.change = &networkChange{id: rand.Text(), rev: s.Config.Rev, by: "unknown", applied: true}
	}
	return n.change
}

// Change puts c into effect after networkDelay, and for good once it is
// confirmed.
func (n *network) Change(ctx context.Context, c netcfg.Config, confirm time.Duration, by string) (api.NetworkPending, error) {
	ctx, cancel := context.WithTimeout(ctx, fenceWait)
	defer cancel()
	s, err := n.fence.Network(ctx)
	if err != nil {
		return api.NetworkPending{}, err
	}
	if !s.Managed {
		return api.NetworkPending{}, api.ErrNetworkNotManaged
	}
	c.Hostname = s.Config.Hostname
	n.mu.Lock()
	defer n.mu.Unlock()
	c.Rev = max(s.Config.Rev, s.Confirmed.Rev) + 1
	if n.change != nil {
		c.Rev = max(c.Rev, n.change.rev+1)
	}
	if err := c.Validate(); err != nil {
		return api.NetworkPending{}, err
	}
	change := &networkChange{id: rand.Text(), rev: c.Rev, by: by, confirm: confirm, made: time.Now()}
	n.change = change
	n.wg.Go(func() { n.apply(change, c) })
	return api.NetworkPending{ID: change.id, Left: networkDelay + confirm}, nil
}

func (n *network) apply(change *networkChange, c netcfg.Config) {
	select {
	case <-time.After(networkDelay):
	case <-n.ctx.Done():
		return
	}
	n.mu.Lock()
	replaced := n.change != change
	n.mu.Unlock()
	if replaced {
		return
	}
	ctx, cancel := context.WithTimeout(n.ctx, firewall.CallWait)
	defer cancel()
	err := n.fence.SetAddresses(ctx, c, change.confirm)
	if err != nil {
		n.log.Error("changing the network", "rev", c.Rev, "err", err)
		err = fmt.Errorf("the network was not changed: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if change.err = err; err == nil {
		change.applied, change.since = true, time.Now()
	}
}

// Confirm keeps the change with an id, if the request that says so shows that
// the machine can be reached as it is now: by a connection that was made after
// the change, to an address that the new configuration gives. A connection
// from before could live on where no new one gets through.
func (n *network) Confirm(ctx context.Context, id string, path api.NetworkPath) (by string, err error) {
	ctx, cancel := context.WithTimeout(ctx, fenceWait)
	defer cancel()
	s, err := n.fence.Network(ctx)
	if err != nil {
		return "", err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if s.ConfirmUntil.IsZero() {
		return "", api.ErrNoChange
	}
	c := n.waiting(s)
	if err := (proof{c.id, c.applied, c.since}).check(id, path); err != nil {
		return "", err
	}
	states, err := n.fence.Interfaces(ctx)
	if err != nil {
		return "", err
	}
	if !gives(s.Config, states, path.Local) {
		return "", api.ErrOldPath
	}
	return c.by, n.fence.ConfirmAddresses(ctx, c.rev)
}

// gives reports whether a configuration gives the machine an address, rather
// than an earlier one or somebody else.
func gives(c netcfg.Config, states []netcfg.State, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	static := func(i netcfg.Interface) bool {
		return slices.ContainsFunc(i.Addresses, func(p netip.Prefix) bool { return p.Addr() == a })
	}
	return slices.ContainsFunc(states, func(s netcfg.State) bool {
		if !s.Managed || !slices.ContainsFunc(s.Addresses, func(p netip.Prefix) bool { return p.Addr() == a }) {
			return false
		}
		leased := s.Lease != nil && s.Lease.Address.Addr() == a
		// IPv6 addresses that are neither are the kernel's, from router
		// advertisements and for the link: an earlier configuration's are gone.
		return leased || a.Is6() || slices.ContainsFunc(c.Interfaces, static)
	})
}

// ConfirmHere keeps the change that waits, on the word of an operator at the
// machine itself.
func (n *network) ConfirmHere(ctx context.Context) error {
	return n.decide(ctx, n.fence.ConfirmAddresses)
}

// Revert takes the change that waits back now.
func (n *network) Revert(ctx context.Context) error { return n.decide(ctx, n.fence.RevertAddresses) }

func (n *network) decide(ctx context.Context, how func(context.Context, uint64) error) error {
	ctx, cancel := context.WithTimeout(ctx, fenceWait)
	defer cancel()
	s, err := n.fence.Network(ctx)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if c := n.change; c != nil && !c.applied && c.err == nil {
		c.err = errors.New("the change was given up")
		n.change = &networkChange{rev: c.rev, err: c.err}
		return nil
	}
	if s.ConfirmUntil.IsZero() {
		return api.ErrNoChange
	}
	return how(ctx, s.Config.Rev)
}
