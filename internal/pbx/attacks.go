package pbx

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ringfence/firewall"
	"ringfence/internal/api"
	"ringfence/internal/events"
	"ringfence/internal/store"
	"ringfence/internal/tally"
	"ringfence/internal/telephony"
)

const (
	// verdictsEvery is how soon a ban that the packet filter set is known, and
	// sweepEvery how soon one that it did not tell of.
	verdictsEvery = time.Second
	sweepEvery    = 30 * time.Second
	// sampleAgain is the shortest time between two readings of the counters,
	// saveTallyEvery how much of them a crash may cost.
	sampleAgain    = time.Second
	saveTallyEvery = 5 * time.Minute
	// maxUnsaved bounds the journal's entries that are not stored yet.
	maxUnsaved = 1024
)

// journal holds entries until they are stored.
type journal struct {
	save func(context.Context, []telephony.Attack) error
	log  *slog.Logger

	storing sync.Mutex
	mu      sync.Mutex
	pending []telephony.Attack
}

// note adds an entry.
func (j *journal) note(b telephony.Ban) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.pending) < maxUnsaved {
		j.pending = append(j.pending, telephony.Attack{Ban: b})
	}
}

// store writes what is not stored yet.
func (j *journal) store(ctx context.Context) {
	j.storing.Lock()
	defer j.storing.Unlock()
	j.mu.Lock()
	list := j.pending
	j.pending = nil
	j.mu.Unlock()
	if err := j.save(ctx, list); err != nil {
		j.log.Error("journal of attacks not stored", "err", err)
		j.mu.Lock()
		j.pending = append(list, j.pending...)[:min(maxUnsaved, len(list)+len(j.pending))]
		j.mu.Unlock()
	}
}

// caught enters a ban that the packet filter set by itself.
func (w *warden) caught(b telephony.Ban) {
	if w.spared(b.Source) {
		return // it may have been put on the list since
	}
	old, held := w.book.Get(b.Source, b.Scope, time.Now())
	if held && (old.Level == 0 || old.Level >= b.Level) {
		b.Since = old.Since
		if b.Port == "" {
			b.Port = old.Port
		}
		w.book.Put(b) // it goes on
		if old.Level >= b.Level {
			return
		}
	}
	w.book.Put(b)
	w.log.Warn("source banned by the packet filter", "source", b.Source.String(), "scope", string(b.Scope), "level", b.Level, "port", b.Port, "until", b.Until)
	w.bus.Publish(events.AddressBanned{Addr: b.Source, Scope: b.Scope, Reason: b.Reason, Until: b.Until, Evidence: b.Evidence, Level: b.Level, Port: b.Port})
}

// levelReason says what a meter measured.
func levelReason(level int, rate uint32, stream bool) string {
	what := "packets"
	if stream {
		what = "new connections"
	}
	if rate == 0 {
		return fmt.Sprintf("level %d: more %s than allowed", level, what)
	}
	return fmt.Sprintf("level %d: more than %d %s per second", level, rate, what)
}

// learn asks the packet filter for the bans it set, and with sweep also looks at
// its sets, and returns what they hold: it tells of a few a second only, and of
// none while nobody asks.
func (f *fence) learn(ctx context.Context, sweep bool) []firewall.Ban {
	f.learning.Lock()
	defer f.learning.Unlock()
	return f.learnNow(ctx, sweep)
}

func (f *fence) learnNow(ctx context.Context, sweep bool) []firewall.Ban {
	ctx, cancel := context.WithTimeout(ctx, fenceWait)
	defer cancel()
	got, err := f.client.Verdicts(ctx, f.verdicts)
	if err != nil {
		return nil // it is away; the connection's own log says so
	}
	f.verdicts = firewall.Verdicts{Run: got.Run, Next: got.Next}
	for _, v := range got.List {
		if v.Until.Before(time.Now()) {
			continue
		}
		f.caught(telephony.Ban{
			Source: v.Prefix.Addr(), Scope: v.Scope, Reason: levelReason(v.Level, v.Rate, v.Proto == "tcp"),
			Evidence: telephony.Evidence{Count: int(v.Rate)}, Since: v.At, Until: v.Until, Level: v.Level,
			Port: fmt.Sprintf("%s %d", v.Proto, v.Port),
		})
	}
	if !sweep && got.Lost == 0 {
		return nil
	}
	held, err := f.client.Bans(ctx)
	if err != nil {
		f.log.Warn("bans of the packet filter not read", "err", err)
		return nil
	}
	for _, b := range held {
		f.found(b)
	}
	return held
}

// found enters a ban that stands in the packet filter's sets, unless it is known.
func (f *fence) found(b firewall.Ban) {
	const slack = 2 * time.Second
	now, source := time.Now(), b.Prefix.Addr()
	old, held := f.book.Get(source, b.Scope, now)
	if b.Scope == telephony.BanAll || held && !b.Until.After(old.Until.Add(slack)) {
		return
	}
	l := f.limits()
	level, rate := 1, l.L1
	if b.Until.Sub(now) > l.L1Ban+slack {
		level, rate = 2, l.L2
	}
	f.caught(telephony.Ban{Source: source, Scope: b.Scope, Reason: levelReason(level, uint32(rate), false),
		Evidence: telephony.Evidence{Count: rate}, Since: now, Until: b.Until, Level: level})
}

// screened counts what SIP drops without an answer; numbers, not an entry for
// each packet.
type screened struct{ tools, strangers, banned atomic.Uint64 }

// totals are all counters that only grow, by the names of telephony.PacketSlot;
// nil if the packet filter cannot be asked.
func (p *PBX) totals(ctx context.Context) map[string]uint64 {
	if p.fence == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := p.fence.client.Counters(ctx)
	if err != nil {
		return nil
	}
	out := map[string]uint64{
		"drop/tool": p.warden.screened.tools.Load(), "drop/stranger": p.warden.screened.strangers.Load(),
		"drop/sip_banned": p.warden.screened.banned.Load(),
	}
	for cause, n := range c.Drops {
		out["drop/"+cause] = n.Packets
	}
	for id, n := range c.Ports {
		out["port/"+string(id)] = n.Packets
	}
	return out
}

// sampler reads the counters into the tally.
type sampler struct {
	*tally.Tally

	mu   sync.Mutex
	last time.Time
}

func (p *PBX) sample(ctx context.Context) {
	s := &p.sampler
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.last) < sampleAgain {
		return
	}
	totals := p.totals(ctx)
	s.last = time.Now()
	s.Add(s.last, totals)
}

// count keeps the tally until ctx ends.
func (p *PBX) count(ctx context.Context) {
	tick := time.NewTicker(tally.Fine)
	defer tick.Stop()
	defer p.saveTally(context.Background())
	saved := time.Now()
	for {
		p.sample(ctx)
		if time.Since(saved) >= saveTallyEvery {
			saved = time.Now()
			p.saveTally(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (p *PBX) saveTally(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	if err := p.store.SavePackets(ctx, p.sampler.Take(), tally.Keep(time.Now())); err != nil {
		p.log.Error("packet counts not stored", "err", err)
	}
}

// Attacks are entries of the journal, also those of this moment.
func (l live) Attacks(ctx context.Context, f store.AttackFilter) ([]telephony.Attack, error) {
	l.p.warden.journal.store(ctx)
	return l.p.store.Attacks(ctx, f)
}

// AttacksSince counts them.
func (l live) AttacksSince(ctx context.Context, t time.Time) (int, error) {
	l.p.warden.journal.store(ctx)
	return l.p.store.AttacksSince(ctx, t)
}

// Packets are counts over time, until now.
func (l live) Packets(ctx context.Context, step time.Duration) []telephony.PacketSlot {
	l.p.sample(ctx)
	return l.p.sampler.Series(step, time.Now())
}

// Explain asks the packet filter what it does with a packet.
func (l live) Explain(ctx context.Context, q api.PacketQuestion) (api.PacketFate, error) {
	if l.p.fence == nil {
		return api.PacketFate{}, errNoFence
	}
	ctx, cancel := context.WithTimeout(ctx, fenceWait)
	defer cancel()
	e, err := l.p.fence.client.Explain(ctx, firewall.Packet{Source: q.Source, Interface: q.Interface, Proto: q.Proto, Port: q.Port})
	if err != nil {
		return api.PacketFate{}, err
	}
	out := api.PacketFate{Accepted: e.Accepted, Left: e.Left, Cause: e.Cause}
	for _, kind := range []string{"drop", "port"} {
		if name, ok := strings.CutPrefix(e.Cause, kind+"_"); ok {
			out.Cause = kind + "/" + name
		}
	}
	for _, s := range e.Steps {
		out.Steps = append(out.Steps, s.Chain+": "+s.Rule)
	}
	return out, nil
}

// unban takes a ban out of the packet filter and of the book, so that nothing
// that is on its way enters it again.
func (f *fence) unban(ctx context.Context, a netip.Addr, scope telephony.BanScope) error {
	f.learning.Lock()
	defer f.learning.Unlock()
	f.learnNow(ctx, false)
	ctx, cancel := context.WithTimeout(ctx, fenceWait)
	defer cancel()
	if err := f.client.Unban(ctx, scope, netip.PrefixFrom(a, a.BitLen())); err != nil {
		return fmt.Errorf("taking a ban out of the packet filter: %w", err)
	}
	f.learnNow(ctx, false) // what came in between
	f.book.Remove(a, scope)
	return nil
}
