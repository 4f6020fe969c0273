package pbx

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"ringfence/firewall"
	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// The settings reach the packet filter whole: lists without what ran out, limits,
// and cloud mode in a cloud only.
func TestPolicyFollowsTheSettings(t *testing.T) {
	t.Parallel()
	settings := telephony.DefaultSettings()
	settings.CloudMode = true
	settings.Limits = telephony.PacketLimits{L1: 300, L1Ban: time.Minute, L2: 900, L2Ban: time.Hour}
	s := telephony.NewSnapshot(7, settings, nil, nil)
	network := netip.MustParsePrefix
	s.Rules = []telephony.AddressRule{
		{Prefix: network("41.202.0.0/16")},
		{Prefix: network("41.202.160.2/32"), Allow: true, Expires: time.Now().Add(time.Hour)},
		{Prefix: network("203.0.113.0/24"), Expires: time.Now().Add(-time.Second)},
	}
	on, err := ports.Effective(nil, ports.InService)
	if err != nil {
		t.Fatal(err)
	}
	p := policyOf(s, on, true)
	if p.Mode != firewall.ModeCloud || p.Rev != 7 || p.Validate() != nil {
		t.Errorf("in a cloud: %s, %v", p.Mode, p.Validate())
	}
	if p.Limits.L1 != 300 || p.Limits.L1Block != time.Minute || p.Limits.L2 != 900 || p.Limits.L2Block != time.Hour {
		t.Errorf("%+v", p.Limits)
	}
	if !slices.Equal(p.Block, []netip.Prefix{network("41.202.0.0/16")}) || !slices.Equal(p.Allow, []netip.Prefix{network("41.202.160.2/32")}) {
		t.Errorf("block %v, allow %v", p.Block, p.Allow)
	}
	settings.FilterOff = true
	off := telephony.NewSnapshot(8, settings, nil, nil)
	if p := policyOf(off, on, true); p.Mode != firewall.ModeOff || p.Validate() != nil {
		t.Errorf("switched off in a cloud: %s", p.Mode)
	}
	for _, s := range []*telephony.Snapshot{s, off} {
		if p := policyOf(s, on, false); p.Mode != firewall.ModeFilter {
			t.Errorf("%s holds on premises", p.Mode)
		}
	}
}

func TestChallengeRowIsThereWhileItsWindowIsOpen(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, c := range map[string]struct {
		f    *fence
		want bool
	}{
		"no fence": {nil, false},
		"never":    {&fence{asked: now.Add(time.Hour)}, false},
		"over":     {&fence{asked: now.Add(time.Hour), state: firewall.Status{ChallengeUntil: now.Add(-time.Second)}}, false},
		"open":     {&fence{asked: now.Add(time.Hour), state: firewall.Status{ChallengeUntil: now.Add(time.Hour)}}, true},
	} {
		if row, open := c.f.challengeRow(t.Context()); open != c.want || row.ID != ports.ACME {
			t.Errorf("%s: %s, open %t", name, row.ID, open)
		}
	}
}
