package firewall

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"ringfence/internal/ports"
)

var update = flag.Bool("update", false, "rewrite the golden rulesets")

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func inService(t testing.TB, overrides ...ports.Override) Policy {
	t.Helper()
	services, err := ports.Effective(overrides, ports.InService)
	if err != nil {
		t.Fatal(err)
	}
	p := DefaultPolicy()
	p.Services = services
	return p
}

// switchable is the table without what no policy opens.
func switchable() []ports.Service {
	return slices.DeleteFunc(ports.Table(), func(s ports.Service) bool { return s.Window })
}

// everyRow opens the whole table, also the rows this version has no listener
// for, so that the goldens cover every kind of row.
func everyRow() Policy {
	p := DefaultPolicy()
	p.Rev, p.Services = 7, switchable()
	p.LocalPrefixes = prefixes("192.168.0.0/16", "10.1.2.3/24", "fd00::/8", "fe80::/10")
	return p
}

func goldenPolicies(t testing.TB) map[string]Policy {
	lists := inService(t)
	lists.Block = prefixes("41.202.0.0/16", "41.202.160.2/32", "240.0.0.0/4", "::ffff:198.51.100.0/120", "2001:db8::/32", "ff00::/8")
	lists.Allow = prefixes("41.202.191.5/32", "203.0.113.0/24", "203.0.114.0/24", "2001:db8:1::/48")
	lists.Limits = Limits{L1: 100, L2: 400, L1Block: 90 * time.Second, L2Block: 25 * time.Hour, Known: 5000, Total: 9000, TotalConnections: 700}
	cloud := inService(t)
	cloud.Mode, cloud.ConnectedLocal = ModeCloud, false
	zones := everyRow()
	zones.Links = []Link{{Name: "eth0.20", Zone: ports.Voice, PerSecond: 20_000}, {Name: "eth1", Zone: ports.Management}, {Name: "eth0.30", Zone: ports.Voice},
		{Name: "ngn", Zone: ports.Trunk, PerSecond: 5000}, {Name: "eth2", PerSecond: 100}}
	zones.Services = slices.Clone(zones.Services)
	for i := range zones.Services {
		switch s := &zones.Services[i]; s.ID {
		case ports.SIPUDP:
			s.Sources = prefixes("203.0.113.0/24", "203.0.113.128/25", "198.51.100.7/32", "2001:db8::/32")
		case ports.SIPTLS:
			s.Zones = []ports.Zone{ports.WAN}
		case ports.EdgeTCP:
			s.Zones, s.Sources = []ports.Zone{ports.Trunk}, prefixes("192.0.2.9/32")
		case ports.SSH:
			s.Sources = prefixes("10.1.2.0/24")
		}
	}
	off := lists
	off.Mode = ModeOff
	return map[string]Policy{
		"zones":        zones,
		"off":          off,
		"before-setup": DefaultPolicy(),
		"in-service":   inService(t),
		"every-row":    everyRow(),
		"lists":        lists,
		"cloud":        cloud,
		"nothing":      {Mode: ModeFilter, Limits: DefaultLimits()},
	}
}

func TestCompileGolden(t *testing.T) {
	t.Parallel()
	for name, p := range goldenPolicies(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := Compile(p)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name+".nft")
			if *update {
				if err := os.WriteFile(file, []byte(r.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got := r.String(); got != string(want) {
				t.Errorf("ruleset differs from %s; run with -update and read the difference\n%s", file, got)
			}
		})
	}
}
