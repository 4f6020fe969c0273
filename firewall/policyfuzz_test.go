package firewall

import (
	"encoding/json"
	"strings"
	"testing"
)

// FuzzPolicy: whatever a client says is refused or compiles, and what compiles
// names only sets, counters and chains that are there, and can be lowered.
func FuzzPolicy(f *testing.F) {
	for _, p := range goldenPolicies(f) {
		raw, err := json.Marshal(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(raw))
	}
	const limits = `"limits":{"l1":1,"l2":2,"l1_block":1000000000,"l2_block":2000000000,"known":1,"total":1,"total_connections":1}`
	f.Add(`{"mode":"filter","services":[{"ID":"sip-udp","Proto":"udp","First":5060,"Last":5060,"Wrap":"sip","Zones":["trunk"],"Sources":["0.0.0.0/0","255.255.255.255/32","::/0","ffff::/16"]}],"links":[{"name":"a b","zone":"voice","per_second":4294967295}],` + limits + `}`)
	f.Add(`{"mode":"off","services":[],"links":[{"name":"eth0","zone":"trunk"},{"name":"eth1","zone":"wan"}],` + limits + `}`)
	f.Fuzz(func(t *testing.T, text string) {
		var p Policy
		if json.Unmarshal([]byte(text), &p) != nil {
			return
		}
		r, err := Compile(p)
		if err != nil {
			return
		}
		there := map[string]bool{}
		for _, s := range r.Sets {
			there["@"+s.Name] = true
			_ = contentElements(s)
		}
		for _, c := range r.Counters {
			there["counter "+c] = true
		}
		for _, c := range r.Chains {
			there["chain "+c.Name] = true
		}
		for _, c := range r.Chains {
			for _, rule := range c.Rules {
				if _, err := lower(rule); err != nil {
					t.Errorf("chain %s: %v", c.Name, err)
				}
				for _, s := range rule {
					for _, name := range needs(s) {
						if !there[name] {
							t.Errorf("chain %s needs %s, which is not there: %s", c.Name, name, ruleText(rule))
						}
					}
				}
			}
		}
		if out := r.String(); strings.Count(out, "\n\tchain ") != len(r.Chains) {
			t.Errorf("the text has another number of chains than %d:\n%s", len(r.Chains), out)
		}
	})
}

func needs(s Statement) []string {
	switch s := s.(type) {
	case SourceIn:
		return []string{"@" + s.Set}
	case PortIn:
		return []string{"@" + s.Set}
	case LinkIn:
		return []string{"@" + s.Set}
	case Meter:
		return []string{"@" + s.Set}
	case BanSource:
		return []string{"@" + s.Set}
	case Count:
		return []string{"counter " + s.Name}
	case Goto:
		return []string{"chain " + s.Chain}
	case Jump:
		return []string{"chain " + s.Chain}
	}
	return nil
}
