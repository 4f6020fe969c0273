package firewall

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"ringfence/firewall/nstest"
	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// Whoever sends more than a level allows is named by the fence at once, with
// level, scope and port.
func TestBansOfMetersAreTold(t *testing.T) {
	t.Parallel()
	host, peer := nstest.Pair(t)
	k := NewKernel(host.FD())
	t.Cleanup(func() { _ = k.Close() })
	f := newFence(t, shortDir(t), k)
	c := f.dial(t)
	p := inService(t)
	p.Limits = shortLimits()
	must(t, c.Apply(t.Context(), p, 0))
	out := spoofer(t, peer, 5060, 20)

	eventually(t, "the packet log is open", func() bool {
		burst(t, out, "10.77.0.20", 150, 100)
		v, err := c.Verdicts(t.Context(), Verdicts{})
		must(t, err)
		return len(v.List) > 0
	})
	last, err := c.Verdicts(t.Context(), Verdicts{})
	must(t, err)
	burst(t, out, "10.77.0.21", 90, 100)
	burst(t, out, "10.77.0.22", 1500, 100)
	time.Sleep(100 * time.Millisecond)
	got, err := c.Verdicts(t.Context(), last)
	must(t, err)
	levels := map[int]Verdict{}
	for _, v := range got.List {
		if v.Prefix != netip.MustParsePrefix("10.77.0.22/32") {
			t.Errorf("%+v was told, who did nothing", v)
		}
		levels[v.Level] = v
	}
	for level, rate := range map[int]uint32{1: 100, 2: 400} {
		v := levels[level]
		if v.Rate != rate || v.Scope != telephony.BanSIP || v.Proto != ports.UDP || v.Port != 5060 || time.Since(v.At) > 5*time.Second || !v.Until.After(v.At) {
			t.Errorf("level %d: %+v", level, v)
		}
	}
	held, err := c.Bans(t.Context())
	must(t, err)
	counted := false
	for _, b := range held {
		counted = counted || b.Prefix == netip.MustParsePrefix("10.77.0.22/32") && b.Packets >= 1000
	}
	if !counted {
		t.Errorf("what the ban dropped is not counted: %+v", held)
	}
}

// However many sources a flood forges or bans, the fence is told of a few a
// second, and keeps a bounded number.
func TestFloodsOfVerdictsAreBounded(t *testing.T) {
	t.Parallel()
	var v verdictLog
	v.run = 7
	for i := range 60_000 {
		v.add(Verdict{Port: uint16(i)})
	}
	all := v.since(verdictsRequest{})
	if len(all.List) != maxVerdicts || all.Lost != 60_000-maxVerdicts || all.Next != 60_000 {
		t.Errorf("%d kept, %d lost, next %d", len(all.List), all.Lost, all.Next)
	}
	if again := v.since(verdictsRequest{Run: 7, Since: all.Next}); len(again.List) != 0 || again.Lost != 0 {
		t.Errorf("told twice: %+v", again)
	}
	if other := v.since(verdictsRequest{Run: 6, Since: all.Next}); len(other.List) != maxVerdicts {
		t.Errorf("an answer of an earlier life hides %d of the list", maxVerdicts-len(other.List))
	}
	for _, c := range verdictChains() {
		if first := c.Rules[0][0].String(); !strings.HasPrefix(first, "limit rate 20/second") {
			t.Errorf("%s tells without a limit: %s", c.Name, first)
		}
	}
}

// What stands in a packet is a stranger's: whatever it is, an entry is refused
// or has an address, a scope and a level.
func FuzzLogged(f *testing.F) {
	v4 := append([]byte{0x45, 0, 0, 40, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2}, 0, 1, 0x13, 0xc4)
	v6 := append([]byte{0x60, 0, 0, 0, 0, 16, 0, 64}, make([]byte, 32)...)
	v6 = append(v6, 6, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x13, 0xc4)
	f.Add("level1_sip\x00", v4)
	f.Add("level2_web\x00", v6)
	f.Add("level3_sip", v4)
	f.Add("level1_", []byte{0x6f})
	f.Fuzz(func(t *testing.T, prefix string, packet []byte) {
		l, err := parseLogged(prefix, packet)
		if err == nil && (!l.source.IsValid() || l.level < 1 || l.level > 2 || l.scope == "") {
			t.Errorf("%q %x: %+v", prefix, packet, l)
		}
		if prefix == "level1_sip\x00" && string(packet) == string(v4) && (l.port != 5060 || l.proto != ports.UDP) {
			t.Errorf("%+v", l)
		}
		if prefix == "level2_web\x00" && string(packet) == string(v6) && (l.port != 5060 || l.proto != ports.TCP) {
			t.Errorf("%+v", l)
		}
	})
}
