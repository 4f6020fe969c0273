package firewall

import (
	"net/netip"
	"slices"

	"ringfence/internal/ports"
)

// chainMetadata is for packets of the PBX to a cloud's metadata service.
const chainMetadata = "metadata"

// metadataAddresses are those of the metadata services: of AWS, Azure, Google
// and OpenStack; of Azure's wire server; of AWS over IPv6.
func metadataAddresses() []netip.Addr {
	return []netip.Addr{
		netip.AddrFrom4([4]byte{169, 254, 169, 254}),
		netip.AddrFrom4([4]byte{168, 63, 129, 16}),
		netip.MustParseAddr("fd00:ec2::254"),
		netip.MustParseAddr("fd20:ce::254"),
	}
}

// keepFromCloud lets the users of the fence, but root, reach nothing of a
// metadata service except names, for which Google and Azure use the same
// addresses. What hands out the machine's credentials is read by another user
// at boot; a PBX that was taken over, or talked into a request, must not. It is
// no part of the policy, since the PBX sets that.
func (r *Ruleset) keepFromCloud(users []uint32) {
	i := slices.IndexFunc(r.Chains, func(c Chain) bool { return c.Name == chainOut })
	var rules []Rule
	for _, uid := range users {
		for _, a := range metadataAddresses() {
			if uid != 0 {
				rules = append(rules, Rule{SentBy{uid}, To{a}, Jump{chainMetadata}})
			}
		}
	}
	if i < 0 || len(rules) == 0 {
		return
	}
	r.Chains[i].Rules = append(rules, r.Chains[i].Rules...)
	dns := func(p ports.Proto) Rule {
		return Rule{PortRange{Proto: string(p), First: ports.DNS, Last: ports.DNS}, Accept{}}
	}
	r.Chains = append(r.Chains, Chain{Name: chainMetadata, Rules: []Rule{dns(ports.UDP), dns(ports.TCP), {Count{countMetadata}, Drop{}}}})
}
