package firewall

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"ringfence/firewall/nstest"
	"ringfence/internal/telephony"
)

// flow is one source that sends at a steady rate, and what became of it.
type flow struct {
	name   string
	source netip.Addr // of IPv6: the first, others of its /64 take turns
	rate   float64
	length time.Duration
	then   time.Duration // for which it goes on with ten a second
	tcp    bool

	sent    nstest.Sent
	began   time.Time
	mu      sync.Mutex
	level1  time.Time // when level 1, or level 2, banned it
	level2  time.Time
	arrived []time.Time
}

func (f *flow) set() string {
	base := autoSet(telephony.BanSIP)
	if f.tcp {
		base = autoSet(telephony.BanWeb)
	}
	if f.source.Is4() {
		return setName(base, V4)
	}
	return setName(base, V6)
}

func (f *flow) run(t *testing.T, ctx context.Context, from *nstest.NS) {
	target := netip.MustParseAddr(nstest.Host4)
	if f.source.Is6() {
		target = netip.MustParseAddr(nstest.Host6)
	}
	var out *nstest.Spoofer
	var err error
	from.Do(func() {
		if f.tcp {
			out, err = nstest.NewDialer(netip.AddrPortFrom(target, 8887))
		} else {
			out, err = nstest.NewSpoofer(netip.AddrPortFrom(target, 5060), []byte("junk"))
		}
	})
	if err != nil {
		t.Error(err)
		return
	}
	defer out.Close()
	send := func(i int) error {
		a := f.source
		if a.Is6() {
			b := a.As16()
			b[15] = byte(i)
			a = netip.AddrFrom16(b)
		}
		return out.Send(a)
	}
	f.began = time.Now()
	if f.sent, err = nstest.Pace(ctx, f.rate, f.length, send); err == nil && f.then > 0 {
		_, err = nstest.Pace(ctx, 10, f.then, send)
	}
	if err != nil {
		t.Errorf("%s: %v", f.name, err)
	}
}

// look notes when a ban began: its end less its length.
func (f *flow) look(now time.Time, held []listed, l Limits) {
	for _, e := range held {
		a, ok := netip.AddrFromSlice(e.key)
		host, _ := hostPrefix(netip.PrefixFrom(f.source, f.source.BitLen()))
		if !ok || a != host.Addr() {
			continue
		}
		f.mu.Lock()
		switch {
		case e.left > l.L1Block+time.Second && f.level2.IsZero():
			f.level2 = now.Add(e.left - l.L2Block)
		case e.left <= l.L1Block && f.level1.IsZero():
			f.level1 = now.Add(e.left - l.L1Block)
		}
		f.mu.Unlock()
	}
}

// judge compares when the meters tripped with when the packets that really left
// must have made them. trips says whether level 1 and level 2 are to.
func (f *flow) judge(t *testing.T, l Limits, trips1, trips2 bool) {
	t.Helper()
	real := f.sent.Rate()
	t.Logf("%s: %d packets, %.0f/s of %.0f, %d in the poorest second", f.name, len(f.sent), real, f.rate, f.sent.Slowest())
	if real < 0.97*f.rate {
		t.Skipf("the machine sent %.0f of %.0f packets a second: this says nothing", real, f.rate)
	}
	must1, over1 := f.sent.Trip(float64(l.L1), 0)
	if over1 != trips1 {
		t.Skipf("what the machine really sent goes over level 1: %v, which was not meant", over1)
	}
	check := func(level int, at time.Time, must time.Duration, since time.Duration, want bool) {
		t.Helper()
		if !want || at.IsZero() {
			if want != !at.IsZero() {
				t.Errorf("%s: level %d tripped: %v, want %v", f.name, level, !at.IsZero(), want)
			}
			return
		}
		got := at.Sub(f.began)
		t.Logf("%s: level %d after %.2f s, by the packets %.2f s", f.name, level, got.Seconds(), must.Seconds())
		if slack := (must-since)/10 + 50*time.Millisecond; got < must-slack || got > must+slack {
			t.Errorf("%s: level %d tripped after %v, want %v", f.name, level, got, must)
		}
	}
	check(1, f.level1, must1, 0, trips1)
	must2, over2 := f.sent.Trip(float64(l.L2), must1)
	if trips1 && over2 != trips2 {
		t.Skipf("what the machine really sent goes over level 2: %v, which was not meant", over2)
	}
	check(2, f.level2, must2, must1, trips2)
}

// At the limits of the product, with IPv4, with changing addresses of one IPv6
// /64, and with connections: 0.95 of a level never trips in a minute, 1.2 of it
// trips when its bucket of a second's worth is over, level 1 leads to level 2,
// bans end when they should, allowed sources pass and blocked ones are counted.
func TestMetersAtFullRate(t *testing.T) {
	if os.Getenv("RINGFENCE_DRILL") == "" {
		t.Skip("a drill of minutes: set RINGFENCE_DRILL")
	}
	const minute = time.Minute
	p := inService(t)
	p.Block, p.Allow = prefixes("10.79.0.0/16"), prefixes("10.78.0.9/32")
	p.Limits.L2Block = 45 * time.Second // the product's hour, shortened
	v4 := func(last byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 78, 0, last}) }
	v6 := func(site byte) netip.Addr {
		return netip.AddrFrom16([16]byte{0xfd, 0x78, 7: site})
	}
	var flows []*flow
	add := func(name string, source netip.Addr, rate float64, length, then time.Duration, tcp bool) *flow {
		f := &flow{name: name, source: source, rate: rate, length: length, then: then, tcp: tcp}
		flows = append(flows, f)
		return f
	}
	type test struct {
		f      *flow
		l1, l2 bool
	}
	var tests []test
	for _, c := range []struct {
		name   string
		factor float64 // of level 1
		length time.Duration
		then   time.Duration
		l1, l2 bool
	}{
		{"0.95 of level 1", 0.95, minute, 0, false, false},
		{"1.2 of level 1", 1.2, 8 * time.Second, minute, true, false},
		{"0.95 of level 2", 3.8, minute, 0, true, false},
		{"1.2 of level 2", 4.8, 8 * time.Second, minute, true, true},
	} {
		n := byte(len(tests))
		rate := c.factor * float64(p.Limits.L1)
		tests = append(tests, test{add(c.name+", IPv4", v4(10+n), rate, c.length, c.then, false), c.l1, c.l2},
			test{add(c.name+", IPv6", v6(10+n), rate, c.length, c.then, false), c.l1, c.l2})
		if c.factor < 3 { // more connections than all strangers together may open
			tests = append(tests, test{add(c.name+", connections", v4(50+n), rate, c.length, 0, true), c.l1, c.l2})
		}
	}
	allowed := add("allowed", netip.MustParseAddr("10.78.0.9"), 3000, 10*time.Second, 0, false)
	blocked := add("blocked", netip.MustParseAddr("10.79.1.1"), 3000, 10*time.Second, 0, false)

	host, peer := nstest.Pair(t)
	k := load(t, host, p)
	listenTCP(t, host, nstest.Host4, 8887)
	// Neighbours are found before the clock runs: IPv6 looks for none until its
	// own link-local address is settled.
	peer.Run("ping", "-c1", "-w10", nstest.Host4)
	peer.Run("ping", "-c1", "-w10", nstest.Host6)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var hearing sync.WaitGroup
	for _, a := range []string{nstest.Host4, nstest.Host6} {
		s := listenUDP(t, host, a, 5060)
		hearing.Go(func() { hear(ctx, s, flows) })
	}
	var senders sync.WaitGroup
	for _, f := range flows {
		senders.Go(func() { f.run(t, ctx, peer) })
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for ctx.Err() == nil {
			for _, set := range []string{"auto_sip_4", "auto_sip_6", "auto_web_4"} {
				held, err := k.elements(set)
				if err != nil {
					t.Error(err)
				}
				now := time.Now()
				for _, f := range flows {
					if f.set() == set {
						f.look(now, held, p.Limits)
					}
				}
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	senders.Wait()
	cancel()
	<-watched
	hearing.Wait()

	for _, c := range tests {
		t.Run(c.f.name, func(t *testing.T) {
			c.f.judge(t, p.Limits, c.l1, c.l2)
			if c.f.then > 0 && !c.f.tcp {
				c.f.judgeEnd(t, p.Limits)
			}
		})
	}
	counters, err := k.counters()
	must(t, err)
	if n := counters[countBlock].Packets; n != uint64(len(blocked.sent)) || len(blocked.arrived) != 0 {
		t.Errorf("%d packets of a blocked source: %d counted, %d arrived", len(blocked.sent), n, len(blocked.arrived))
	}
	if n := len(allowed.arrived); n != len(allowed.sent) || !allowed.level1.IsZero() {
		t.Errorf("%d of %d packets of an allowed source arrived, banned at %v", n, len(allowed.sent), allowed.level1)
	}
	t.Logf("blocked: %d packets, %.0f/s; allowed: %d packets, %.0f/s", len(blocked.sent), blocked.sent.Rate(), len(allowed.sent), allowed.sent.Rate())
}

// hear notes what arrives.
func hear(ctx context.Context, s *sink, flows []*flow) {
	hosts := map[netip.Addr]*flow{}
	for _, f := range flows {
		h, _ := hostPrefix(netip.PrefixFrom(f.source, f.source.BitLen()))
		hosts[h.Addr()] = f
	}
	for buf := make([]byte, 64); ctx.Err() == nil; {
		_ = s.SetReadDeadline(time.Now().Add(time.Second))
		_, from, err := s.ReadFromUDPAddrPort(buf)
		if err != nil {
			continue
		}
		a := from.Addr().Unmap()
		h, _ := hostPrefix(netip.PrefixFrom(a, a.BitLen()))
		if f := hosts[h.Addr()]; f != nil {
			f.mu.Lock()
			f.arrived = append(f.arrived, time.Now())
			f.mu.Unlock()
		}
	}
}

// judgeEnd checks that nothing arrived during the ban, and something after it.
func (f *flow) judgeEnd(t *testing.T, l Limits) {
	t.Helper()
	// The last packet over a level sets the time, not the first.
	began, length := f.level1, l.L1Block
	if !f.level2.IsZero() {
		began, length = f.began.Add(f.sent[len(f.sent)-1]), l.L2Block
	}
	// After the ban of level 1 its bucket's rest may still have been on its way.
	i := slices.IndexFunc(f.arrived, func(at time.Time) bool { return at.Sub(began) > time.Second })
	if began.IsZero() || i < 0 {
		t.Errorf("%s: nothing arrived after the ban", f.name)
		return
	}
	lasted := f.arrived[i].Sub(began)
	t.Logf("%s: let in again after %.2f s", f.name, lasted.Seconds())
	if lasted < length-time.Second || lasted > length+time.Second {
		t.Errorf("%s: banned for %v, want %v", f.name, lasted, fmt.Sprint(length, " and a second more or less"))
	}
}
