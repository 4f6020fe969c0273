package cloudrules

import (
	"fmt"
	"slices"
	"strings"

	"ringfence/internal/ports"
)

// group is a rule of a VPC firewall: it takes many ports, and sources of one
// family.
type group struct {
	name     string
	from     string // quoted
	plain    string
	tcp, udp []string
}

// groups joins services with the same sources.
func groups(rules []Rule) (all []*group) {
	for _, p := range parts(rules) {
		from := quoted(p.from)
		i := slices.IndexFunc(all, func(g *group) bool { return g.from == from })
		if i < 0 {
			i = len(all)
			name := "ringfence-" + zoneName(p.row) + "-" + p.family
			if slices.ContainsFunc(all, func(g *group) bool { return g.name == name }) { // one with sources of its own
				name = "ringfence-" + p.name
			}
			all = append(all, &group{name: name, from: from, plain: joined(p.from, ",")})
		}
		if p.row.Proto == ports.UDP {
			all[i].udp = append(all[i].udp, p.row.Ports())
		} else {
			all[i].tcp = append(all[i].tcp, p.row.Ports())
		}
	}
	return all
}

// zoneName names the widest zone of a row.
func zoneName(row ports.Service) string {
	for _, z := range []ports.Zone{ports.WAN, ports.Voice} {
		if slices.Contains(row.Zones, z) {
			return string(z)
		}
	}
	return string(ports.Management)
}

func googleTerraform(b *strings.Builder, rules []Rule) {
	b.WriteString("\nvariable \"network\" {\n  type        = string\n  description = \"VPC network of the instance, which carries the tag ringfence.\"\n}\n")
	for _, g := range groups(rules) {
		fmt.Fprintf(b, "\nresource \"google_compute_firewall\" %q {\n  name          = %q\n  network       = var.network\n  direction     = \"INGRESS\"\n  source_ranges = [%s]\n  target_tags   = [\"ringfence\"]\n",
			identifier(g.name), g.name, g.from)
		for _, allow := range []struct {
			protocol string
			ports    []string
		}{{"tcp", g.tcp}, {"udp", g.udp}} {
			if len(allow.ports) > 0 {
				fmt.Fprintf(b, "\n  allow {\n    protocol = %q\n    ports    = [\"%s\"]\n  }\n", allow.protocol, strings.Join(allow.ports, `", "`))
			}
		}
		b.WriteString("}\n")
	}
}

func googleCLI(b *strings.Builder, rules []Rule) {
	b.WriteString(": \"${NETWORK:?VPC network of the instance, which carries the tag ringfence}\"\n")
	for _, g := range groups(rules) {
		var allow []string
		for _, p := range g.tcp {
			allow = append(allow, "tcp:"+p)
		}
		for _, p := range g.udp {
			allow = append(allow, "udp:"+p)
		}
		fmt.Fprintf(b, "gcloud compute firewall-rules create %s --network=\"$NETWORK\" --direction=INGRESS \\\n  --source-ranges=%s --target-tags=ringfence \\\n  --allow=%s\n",
			g.name, g.plain, strings.Join(allow, ","))
	}
}
