package pbx

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/firewall"
	"ringfence/internal/api"
	"ringfence/internal/netcfg"
)

// machineFence keeps a network as fenced does.
type machineFence struct {
	mu        sync.Mutex
	status    firewall.NetworkStatus
	states    []netcfg.State
	refuse    error
	confirmed uint64
}

func (f *machineFence) Network(context.Context) (firewall.NetworkStatus, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.status.ConfirmUntil.IsZero() && !time.Now().Before(f.status.ConfirmUntil) {
		f.status.Config, f.status.ConfirmUntil = f.status.Confirmed, time.Time{}
		f.status.Reverted = &firewall.Reverted{Reason: "not confirmed in time"}
	}
	return f.status, nil
}

func (f *machineFence) Interfaces(context.Context) ([]netcfg.State, error) { return f.states, nil }

func (f *machineFence) SetAddresses(_ context.Context, c netcfg.Config, confirm time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		return f.refuse
	}
	f.status.Config, f.status.ConfirmUntil = c, time.Now().Add(confirm)
	return nil
}

func (f *machineFence) ConfirmAddresses(_ context.Context, rev uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.confirmed, f.status.Confirmed, f.status.ConfirmUntil = rev, f.status.Config, time.Time{}
	return nil
}

func (f *machineFence) RevertAddresses(context.Context, uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status.Config, f.status.ConfirmUntil = f.status.Confirmed, time.Time{}
	return nil
}

func (f *machineFence) rev() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status.Config.Rev
}

// newMachine is a box at 10.0.0.1 that is to move to 10.0.0.2.
func newMachine() (*machineFence, netcfg.Config) {
	one := netcfg.Config{Rev: 7, Hostname: "pbx", Interfaces: []netcfg.Interface{{Name: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}}}}
	two := netcfg.Config{Interfaces: []netcfg.Interface{{Name: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")}}, {Name: "eth1", DHCP4: true}}}
	lease := netip.MustParsePrefix("10.9.0.9/24")
	return &machineFence{
		status: firewall.NetworkStatus{Managed: true, Config: one, Confirmed: one},
		states: []netcfg.State{
			{Name: "eth0", Managed: true, Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24"), netip.MustParsePrefix("10.0.0.2/24"), netip.MustParsePrefix("fe80::1/64")}},
			{Name: "eth1", Managed: true, Addresses: []netip.Prefix{lease, netip.MustParsePrefix("10.9.0.10/24")}, Lease: &netcfg.Lease{Address: lease}},
			{Name: "docker0", Addresses: []netip.Prefix{netip.MustParsePrefix("172.17.0.1/16")}},
		},
	}, two
}

func TestNetworkIsConfirmedByTheNewPathOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, two := newMachine()
		n := newNetwork(t.Context(), f, slog.New(slog.DiscardHandler))
		p, err := n.Change(t.Context(), two, time.Minute, "boss")
		if err != nil || f.rev() != 7 {
			t.Fatalf("%v; the change did not wait for its answer: %d", err, f.rev())
		}
		if s, err := n.State(t.Context()); err != nil || s.Pending == nil || s.Pending.ID != p.ID {
			t.Errorf("before it is in effect: %+v, %v", s.Pending, err)
		}
		before := time.Now()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if s, _ := n.State(t.Context()); f.rev() != 8 || s.Config.Hostname != "pbx" || s.Pending == nil || s.Pending.Left > time.Minute {
			t.Fatalf("in effect: %+v", s)
		}
		after := time.Now()
		for what, x := range map[string]struct {
			id     string
			local  string
			opened time.Time
			want   error
		}{
			"another id":             {"guess", "10.0.0.2", after, api.ErrNoChange},
			"no id":                  {"", "10.0.0.2", after, api.ErrNoChange},
			"an old connection":      {p.ID, "10.0.0.2", before, api.ErrOldPath},
			"a connection of no age": {p.ID, "10.0.0.2", time.Time{}, api.ErrOldPath},
			"the old address":        {p.ID, "10.0.0.1", after, api.ErrOldPath},
			"loopback":               {p.ID, "127.0.0.1", after, api.ErrOldPath},
			"IPv6 loopback":          {p.ID, "::1", after, api.ErrOldPath},
			"not ours to set":        {p.ID, "172.17.0.1", after, api.ErrOldPath},
			"beside the lease":       {p.ID, "10.9.0.10", after, api.ErrOldPath},
		} {
			path := api.NetworkPath{Local: netip.MustParseAddr(x.local), Opened: x.opened}
			if _, err := n.Confirm(t.Context(), x.id, path); !errors.Is(err, x.want) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if f.confirmed != 0 {
			t.Fatal("confirmed")
		}
		for what, local := range map[string]string{"static": "::ffff:10.0.0.2", "leased": "10.9.0.9", "link-local": "fe80::1%eth0"} {
			if !gives(f.status.Config, f.states, netip.MustParseAddr(local)) {
				t.Errorf("the %s address is not one of the new path", what)
			}
		}
		by, err := n.Confirm(t.Context(), p.ID, api.NetworkPath{Local: netip.MustParseAddr("10.0.0.2"), Opened: after})
		if err != nil || by != "boss" || f.confirmed != 8 {
			t.Errorf("%q, %v, confirmed %d", by, err, f.confirmed)
		}
		if _, err := n.Confirm(t.Context(), p.ID, api.NetworkPath{Local: netip.MustParseAddr("10.0.0.2"), Opened: after}); !errors.Is(err, api.ErrNoChange) {
			t.Errorf("confirmed twice: %v", err)
		}
	})
}

// A pbxd that was restarted in the window can still confirm, with an id of its
// own; the old one is worth nothing.
func TestNetworkChangeOutlivesItsMaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, two := newMachine()
		first := newNetwork(t.Context(), f, slog.New(slog.DiscardHandler))
		p, err := first.Change(t.Context(), two, time.Minute, "boss")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		second := newNetwork(t.Context(), f, slog.New(slog.DiscardHandler))
		path := api.NetworkPath{Local: netip.MustParseAddr("10.0.0.2"), Opened: time.Now()}
		if _, err := second.Confirm(t.Context(), p.ID, path); !errors.Is(err, api.ErrNoChange) {
			t.Errorf("%v", err)
		}
		s, err := second.State(t.Context())
		if err != nil || s.Pending == nil || s.Pending.ID == p.ID {
			t.Fatalf("%+v, %v", s, err)
		}
		if _, err := second.Confirm(t.Context(), s.Pending.ID, path); err != nil || f.confirmed != 8 {
			t.Errorf("%v, %d", err, f.confirmed)
		}
	})
}

func TestNetworkIsGivenUpOrTakenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, two := newMachine()
		n := newNetwork(t.Context(), f, slog.New(slog.DiscardHandler))
		change := func() api.NetworkPending {
			p, err := n.Change(t.Context(), two, time.Minute, "boss")
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		change()
		if err := n.Revert(t.Context()); err != nil { // within the second before it
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if f.rev() != 7 {
			t.Errorf("a change that was given up is in effect: %d", f.rev())
		}
		change()
		time.Sleep(5 * time.Second)
		if err := n.Revert(t.Context()); err != nil || f.rev() != 7 {
			t.Errorf("%v, revision %d", err, f.rev())
		}
		if err := n.Revert(t.Context()); !errors.Is(err, api.ErrNoChange) {
			t.Errorf("twice: %v", err)
		}
		// Two in a row: the first never comes.
		change()
		two.Interfaces = two.Interfaces[:1]
		p := change()
		time.Sleep(5 * time.Second)
		if s, _ := n.State(t.Context()); len(s.Config.Interfaces) != 1 || s.Pending == nil || s.Pending.ID != p.ID {
			t.Errorf("%+v", s)
		}
		if err := n.ConfirmHere(t.Context()); err != nil || f.confirmed != f.rev() {
			t.Errorf("%v, %d", err, f.confirmed)
		}
		f.refuse = firewall.ErrUnavailable
		change()
		time.Sleep(5 * time.Second)
		if s, _ := n.State(t.Context()); s.Error == "" || s.Pending != nil {
			t.Errorf("a change that failed: %+v", s)
		}
	})
}

func TestNetworkOfOthersIsLeftAlone(t *testing.T) {
	t.Parallel()
	n := newNetwork(t.Context(), &machineFence{}, slog.New(slog.DiscardHandler))
	if _, err := n.Change(t.Context(), netcfg.Standard(), time.Minute, "boss"); !errors.Is(err, api.ErrNetworkNotManaged) {
		t.Error(err)
	}
	if s, err := n.State(t.Context()); err != nil || s.Managed {
		t.Errorf("%+v, %v", s, err)
	}
}
