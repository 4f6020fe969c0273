package cloudrules

import (
	"fmt"
	"net/netip"
	"strings"
)

// awsTerraform writes one rule for each network: a rule of a security group
// takes one.
func awsTerraform(b *strings.Builder, rules []Rule) {
	b.WriteString("\nvariable \"security_group_id\" {\n  type        = string\n  description = \"Security group of the instance.\"\n}\n")
	for _, p := range parts(rules) {
		for i, from := range p.from {
			name := "ringfence_" + identifier(p.name)
			if i > 0 {
				name += fmt.Sprintf("_%d", i+1)
			}
			fmt.Fprintf(b, "\nresource \"aws_vpc_security_group_ingress_rule\" %q {\n", name)
			fmt.Fprintf(b, "  security_group_id = var.security_group_id\n  description       = %q\n  ip_protocol       = %q\n  from_port         = %d\n  to_port           = %d\n  cidr_%s         = %q\n}\n",
				p.row.Name, p.row.Proto, p.row.First, p.row.Last, p.family, from)
		}
	}
}

func awsCLI(b *strings.Builder, rules []Rule) {
	b.WriteString(": \"${SECURITY_GROUP:?id of the security group of the instance, such as sg-0123456789abcdef0}\"\n")
	for _, r := range rules {
		v4, v6 := families(r.From)
		var ranges []string
		for _, f := range []struct{ list, key string }{{entries(v4, "CidrIp", r), "IpRanges"}, {entries(v6, "CidrIpv6", r), "Ipv6Ranges"}} {
			if f.list != "" {
				ranges = append(ranges, f.key+"=["+f.list+"]")
			}
		}
		fmt.Fprintf(b, "aws ec2 authorize-security-group-ingress --group-id \"$SECURITY_GROUP\" --ip-permissions \\\n  'IpProtocol=%s,FromPort=%d,ToPort=%d,%s'\n",
			r.Service.Proto, r.Service.First, r.Service.Last, strings.Join(ranges, ","))
	}
}

// entries lists networks as the shorthand of the command line takes them.
func entries(list []netip.Prefix, key string, r Rule) string {
	var all []string
	for _, p := range list {
		all = append(all, "{"+key+"="+p.String()+",Description=\""+r.Service.Name+"\"}")
	}
	return strings.Join(all, ",")
}
