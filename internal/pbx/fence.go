package pbx

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"ringfence/firewall"
	"ringfence/internal/bans"
	"ringfence/internal/events"
	"ringfence/internal/media"
	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

const (
	fenceSocket = "fenced.sock"
	// knownFor and knownEvery: sources with a live registration are exempt
	// from the bans a forged flood could bring upon them.
	knownFor    = 3 * time.Minute
	knownEvery  = time.Minute
	knownSoon   = 2 * time.Second // for those that have just registered
	fenceWait   = 5 * time.Second
	hostsAtOnce = 4096
	statusFresh = 2 * time.Second
)

// fence speaks to fenced for the rest of the PBX. A nil *fence is a machine
// without a packet filter of ours.
type fence struct {
	client *firewall.Client
	log    *slog.Logger
	policy func() (p firewall.Policy, confirm time.Duration, err error)
	known  func() []netip.Prefix
	banned func() []firewall.Ban
	told   func(rev uint64, err error)
	caught func(telephony.Ban)
	book   *bans.Book
	limits func() telephony.PacketLimits
	begin  chan struct{} // closed once everything above is there to be asked

	learning sync.Mutex // guards what follows
	verdicts firewall.Verdicts

	knowing sync.Mutex
	since   map[netip.Prefix]time.Time // when a known source was last told

	mu    sync.Mutex // guards what follows
	asked time.Time
	state firewall.Status
	err   error
}

// newFence connects in the background; once begin is closed everything is sent
// at each connection, since fenced may have been restarted.
func newFence(runDir string, log *slog.Logger, policy func() (firewall.Policy, time.Duration, error), told func(uint64, error)) *fence {
	f := &fence{log: log, policy: policy, told: told, begin: make(chan struct{})}
	f.client = firewall.Dial(filepath.Join(runDir, fenceSocket), firewall.ClientOptions{
		Logger:    log,
		OnConnect: func(ctx context.Context, _ *firewall.Client) error { return f.resume(ctx) },
	})
	return f
}

// resume tells a fence that was just reached all it should know.
func (f *fence) resume(ctx context.Context) error {
	select {
	case <-f.begin: // the fence may answer before the PBX is built
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := f.apply(ctx); err != nil {
		return err
	}
	f.refreshKnown(ctx)
	list := f.banned()
	for len(list) > 0 {
		n := min(len(list), hostsAtOnce)
		ctx, cancel := context.WithTimeout(ctx, fenceWait)
		err := f.client.Ban(ctx, list[:n]...)
		if errors.Is(err, firewall.ErrRefused) {
			// An address that is ours by now is among them.
			err = f.banEach(ctx, list[:n])
		}
		cancel()
		if err != nil {
			return fmt.Errorf("repeating bans: %w", err)
		}
		list = list[n:]
	}
	return nil
}

// banEach repeats bans one by one, and leaves out what the fence refuses.
func (f *fence) banEach(ctx context.Context, list []firewall.Ban) error {
	for _, b := range list {
		err := f.client.Ban(ctx, b)
		if errors.Is(err, firewall.ErrRefused) {
			f.log.Warn("packet filter refused a ban", "source", b.Prefix.String(), "scope", string(b.Scope), "err", err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// apply sends the policy of the present settings and reports the outcome.
func (f *fence) apply(ctx context.Context) error {
	if f == nil {
		return nil
	}
	p, confirm, err := f.policy()
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, fenceWait)
		defer cancel()
		err = f.client.Apply(ctx, p, confirm)
	}
	f.told(p.Rev, err)
	return err
}

// policyOf is what the packet filter is to do under a snapshot.
// What was switched on in a cloud does not hold on a disk that was carried out of
// it, nor what was switched off.
func policyOf(s *telephony.Snapshot, on []ports.Service, cloud bool) firewall.Policy {
	p := firewall.DefaultPolicy()
	switch {
	case cloud && s.Settings.FilterOff:
		p.Mode = firewall.ModeOff
	case cloud && s.Settings.CloudMode:
		p.Mode = firewall.ModeCloud
	}
	p.Rev = s.Rev
	p.Services = on
	l := s.Settings.Limits
	p.Limits.L1, p.Limits.L1Block = uint32(l.L1), l.L1Ban
	p.Limits.L2, p.Limits.L2Block = uint32(l.L2), l.L2Ban
	now := time.Now()
	for _, r := range s.Rules {
		switch {
		case r.Ends(now):
		case r.Allow:
			p.Allow = append(p.Allow, r.Prefix)
		default:
			p.Block = append(p.Block, r.Prefix)
		}
	}
	return p
}

// media is the fence as the media engine sees it: nil when there is none.
func (f *fence) media() media.Fence {
	if f == nil {
		return nil
	}
	return f.client
}

// run carries bans to the kernel and keeps registered sources known, until
// ctx ends.
func (f *fence) run(ctx context.Context, bus *events.Subscription) {
	tick := time.NewTicker(knownSoon)
	defer tick.Stop()
	ask, sweep := time.NewTicker(verdictsEvery), time.NewTicker(sweepEvery)
	defer ask.Stop()
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-bus.C:
			if b, ok := e.(events.AddressBanned); ok && b.Level == 0 {
				f.ban(ctx, b)
			}
		case <-ask.C:
			f.learn(ctx, false)
		case <-sweep.C:
			f.learn(ctx, true)
		case <-tick.C:
			f.refreshKnown(ctx)
		}
	}
}

func (f *fence) ban(ctx context.Context, b events.AddressBanned) {
	ctx, cancel := context.WithTimeout(ctx, fenceWait)
	defer cancel()
	source := netip.PrefixFrom(b.Addr, b.Addr.BitLen())
	if b.Proven {
		// Known sources are looked up before bans.
		f.forgetKnown(source)
		if err := f.client.Forget(ctx, source); err != nil {
			f.log.Error("packet filter did not forget a known source", "source", b.Addr.String(), "err", err)
		}
	}
	err := f.client.Ban(ctx, firewall.Ban{Prefix: source, Scope: b.Scope, Until: b.Until, Reason: b.Reason})
	if err != nil {
		f.log.Error("packet filter did not take a ban", "source", b.Addr.String(), "scope", string(b.Scope), "err", err)
	}
}

// refreshKnown tells the sources that are new, and again those whose time runs
// out: an office whose phones have all just registered is not to be banned for
// the calls of its first minute.
func (f *fence) refreshKnown(ctx context.Context) {
	f.knowing.Lock()
	defer f.knowing.Unlock()
	now, still := time.Now(), make(map[netip.Prefix]time.Time)
	var due []netip.Prefix
	for _, p := range f.known() {
		if at, told := f.since[p]; told && now.Sub(at) < knownEvery {
			still[p] = at
		} else {
			due = append(due, p)
		}
	}
	f.since = still
	for part := range slices.Chunk(due, hostsAtOnce) {
		ctx, cancel := context.WithTimeout(ctx, fenceWait)
		err := f.client.Known(ctx, knownFor, part...)
		cancel()
		if err != nil {
			f.log.Warn("packet filter did not take known sources", "sources", len(part), "err", err)
			return
		}
		for _, p := range part {
			f.since[p] = now
		}
	}
}

// forgetKnown has sources told again, or all of them.
func (f *fence) forgetKnown(sources ...netip.Prefix) {
	f.knowing.Lock()
	defer f.knowing.Unlock()
	if len(sources) == 0 {
		f.since = nil
	}
	for _, p := range sources {
		delete(f.since, p)
	}
}

// status is whether packets are filtered, and if not, why. The answer is up to
// statusFresh old: every open dashboard asks.
func (f *fence) status(ctx context.Context) (firewall.Status, error) {
	if f == nil {
		return firewall.Status{}, errNoFence
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.asked) < statusFresh {
		return f.state, f.err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	f.state, f.err = f.client.Status(ctx)
	if f.err != nil {
		f.err = fmt.Errorf("asking the packet filter for its state: %w", f.err)
	}
	f.asked = time.Now()
	return f.state, f.err
}

// challengeRow is the row of ACME's challenges, if its window is open: no policy
// has it.
func (f *fence) challengeRow(ctx context.Context) (ports.Service, bool) {
	s, err := f.status(ctx)
	row, _ := ports.Lookup(ports.Table(), ports.ACME)
	return row, err == nil && time.Now().Before(s.ChallengeUntil)
}

// counters are zero without a packet filter.
func (f *fence) counters(ctx context.Context) map[ports.ID]firewall.Counter {
	if f == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := f.client.Counters(ctx)
	if err != nil {
		return nil
	}
	return c.Ports
}

var errNoFence = errors.New("no packet filter is active on this machine")

func (f *fence) close() error {
	if f == nil {
		return nil
	}
	return f.client.Close()
}
