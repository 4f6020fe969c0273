package firewall

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"ringfence/internal/ports"
)

func TestPolicyRefusals(t *testing.T) {
	t.Parallel()
	service := func(change func(*ports.Service)) func(*Policy) {
		return func(p *Policy) {
			p.Services = switchable()
			change(&p.Services[0])
		}
	}
	for name, c := range map[string]struct {
		spoil func(*Policy)
		want  string
	}{
		"mode":            {func(p *Policy) { p.Mode = "open" }, "mode"},
		"unknown service": {service(func(s *ports.Service) { s.ID = "x; flush ruleset" }), "not in the port table"},
		"protocol":        {service(func(s *ports.Service) { s.Proto = "sctp" }), "protocol"},
		"ssh port":        {service(func(s *ports.Service) { s.First, s.Last = 22, 22 }), "outside 1024"},
		"privileged":      {service(func(s *ports.Service) { s.First, s.Last = 443, 443 }), "outside 1024"},
		"challenge":       {func(p *Policy) { p.Services = ports.Table() }, "outside 1024"},
		"moved challenge": {service(func(s *ports.Service) { s.ID = ports.ACME }), "never by a policy"},
		"reversed":        {service(func(s *ports.Service) { s.First, s.Last = 9001, 9000 }), "outside"},
		"no zone":         {service(func(s *ports.Service) { s.Zones = nil }), "no zone"},
		"unknown zone":    {service(func(s *ports.Service) { s.Zones = []ports.Zone{"dmz"} }), "no zone"},
		"zone twice":      {service(func(s *ports.Service) { s.Zones = []ports.Zone{ports.WAN, ports.WAN} }), "twice"},
		"bad source":      {service(func(s *ports.Service) { s.Sources = make([]netip.Prefix, 1) }), "source 1"},
		"host bits":       {service(func(s *ports.Service) { s.Sources = prefixes("10.0.0.1/8") }), "bits behind"},
		"many sources":    {service(func(s *ports.Service) { s.Sources = make([]netip.Prefix, ports.MaxSources+1) }), "at most 256"},
		"link name":       {func(p *Policy) { p.Links = []Link{{Name: "a\"b", Zone: ports.Voice}} }, "no name"},
		"long link":       {func(p *Policy) { p.Links = []Link{{Name: "sixteen.letters_"}} }, "no name"},
		"link zone":       {func(p *Policy) { p.Links = []Link{{Name: "eth0", Zone: ports.WAN}} }, "cannot be of the zone"},
		"link twice":      {func(p *Policy) { p.Links = []Link{{Name: "eth0"}, {Name: "eth0"}} }, "twice"},
		"twice":           {func(p *Policy) { p.Services = append(p.Services, p.Services[0]) }, "twice"},
		"overlap":         {service(func(s *ports.Service) { s.First, s.Last = 8889, 8889 }), "overlap"},
		"bad block":       {func(p *Policy) { p.Block = make([]netip.Prefix, 1) }, "block list"},
		"bad allow":       {func(p *Policy) { p.Allow = make([]netip.Prefix, 1) }, "allow list"},
		"bad local":       {func(p *Policy) { p.LocalPrefixes = make([]netip.Prefix, 1) }, "local list"},
		"long list":       {func(p *Policy) { p.Block = make([]netip.Prefix, MaxPrefixes+1) }, "at most"},
		"zero rate":       {func(p *Policy) { p.Limits.L1 = 0 }, "zero"},
		"levels":          {func(p *Policy) { p.Limits.L1 = p.Limits.L2 }, "not below level 2"},
		"block times":     {func(p *Policy) { p.Limits.L1Block = p.Limits.L2Block }, "block time of level 1"},
		"short block":     {func(p *Policy) { p.Limits.L1Block = time.Millisecond }, "not within"},
		"long block":      {func(p *Policy) { p.Limits.L2Block = 1000 * 24 * time.Hour }, "not within"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := DefaultPolicy()
			if _, err := Compile(p); err != nil {
				t.Fatal(err)
			}
			c.spoil(&p)
			if _, err := Compile(p); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one about %q", err, c.want)
			}
		})
	}
}

func TestDefaultPolicyOpensThePortalOnly(t *testing.T) {
	t.Parallel()
	p := DefaultPolicy()
	if len(p.Services) != 1 || p.Services[0].ID != ports.Portal || p.Services[0].First != 8887 || p.Mode != ModeFilter {
		t.Errorf("the standard policy is %+v", p)
	}
}

func TestPolicySurvivesJSON(t *testing.T) {
	t.Parallel()
	for name, p := range goldenPolicies(t) {
		raw, err := json.Marshal(p)
		must(t, err)
		var back Policy
		must(t, decode(raw, &back))
		if a, b := mustCompile(t, p).String(), mustCompile(t, back).String(); a != b || back.Rev != p.Rev {
			t.Errorf("%s: the policy differs after JSON", name)
		}
	}
}

// Every row of the table has a place in the ruleset: a closed row leaves no
// rule, an open one does, and RTP opens through the media set only.
func TestEveryRowOpensExactlyItsPorts(t *testing.T) {
	t.Parallel()
	for _, s := range switchable() {
		p := DefaultPolicy()
		p.Services = []ports.Service{s}
		var rows []string
		for _, c := range mustCompile(t, p).Chains {
			if c.Name != chainIn {
				continue
			}
			for _, r := range c.Rules {
				for _, st := range r {
					if st == Statement(Count{portCounter + string(s.ID)}) {
						rows = append(rows, ruleText(r))
					}
				}
			}
		}
		want := string(s.Proto) + " dport " + s.Ports()
		for _, row := range rows {
			if !strings.Contains(row, want+" ") || !strings.HasSuffix(row, "accept") {
				t.Errorf("%s: row %q lacks %q", s.ID, row, want)
			}
			if (s.Wrap == ports.RTP) != strings.Contains(row, "@"+setMedia) {
				t.Errorf("%s: row %q and the media set", s.ID, row)
			}
		}
		if everyone := slices.Contains(s.Zones, ports.WAN); everyone != (len(rows) == 1) || len(rows) == 0 {
			t.Errorf("%s reachable from %v has rows %q", s.ID, s.Zones, rows)
		}
	}
}

func ruleText(r Rule) string {
	var words []string
	for _, s := range r {
		words = append(words, s.String())
	}
	return strings.Join(words, " ")
}

func TestCompileIsPure(t *testing.T) {
	t.Parallel()
	p := everyRow()
	before, _ := json.Marshal(p)
	a, b := mustCompile(t, p), mustCompile(t, p)
	after, _ := json.Marshal(p)
	if !reflect.DeepEqual(a, b) || string(before) != string(after) {
		t.Error("Compile changed its input or depends on more than it")
	}
}
