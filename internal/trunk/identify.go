package trunk

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// compareKeys orders trunks.
func compareKeys(a, b key) int {
	return cmp.Or(cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.trunk, b.trunk))
}

// sources are where trunks send from.
type sources struct {
	addrs    map[netip.Addr]bool
	prefixes []netip.Prefix
}

// widest is the largest network of peers that is spared by the guard: a slip
// such as 0.0.0.0/0 must not spare everybody.
func widest(p netip.Prefix) bool {
	if p.Addr().Is4() {
		return p.Bits() >= 16
	}
	return p.Bits() >= 32
}

// learn gathers anew where trunks send from.
func (s *Service) learn() {
	k := &sources{addrs: make(map[netip.Addr]bool)}
	for _, l := range *s.all.Load() {
		for _, a := range l.view.Load().addrs {
			k.addrs[a] = true
		}
		for _, p := range l.settings().Peers {
			switch {
			case p.IsSingleIP():
				k.addrs[p.Addr()] = true
			case widest(p):
				k.prefixes = append(k.prefixes, p.Masked())
			}
		}
	}
	s.known.Store(k)
}

// Knows reports whether an address is one that a trunk sends from.
func (s *Service) Knows(a netip.Addr) bool {
	k, a := s.known.Load(), a.Unmap()
	return k.addrs[a] || slices.ContainsFunc(k.prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Expected reports whether a request comes from a trunk's address, or to a Contact
// that only a trunk was told of: not from a stranger, even before it is looked at.
func (s *Service) Expected(r *sip.Request) bool {
	return s.Knows(r.Flow.Remote.Addr()) || slices.ContainsFunc(*s.all.Load(), func(l *line) bool { return r.URI.User == l.token })
}

// fewHosts is how many host bits a network may have whose addresses are told one
// by one.
const fewHosts = 5

// Hosts are the single addresses that trunks send from, those of small networks
// too.
func (s *Service) Hosts() []netip.Addr {
	k := s.known.Load()
	var all []netip.Addr
	for a := range k.addrs {
		all = append(all, a)
	}
	for _, p := range k.prefixes {
		if p.Addr().BitLen()-p.Bits() > fewHosts {
			continue
		}
		for a := p.Addr(); p.Contains(a); a = a.Next() {
			all = append(all, a)
		}
	}
	return all
}

// Sources are the addresses and networks that trunks send from.
func (s *Service) Sources() []netip.Prefix {
	k := s.known.Load()
	all := slices.Clone(k.prefixes)
	for a := range k.addrs {
		all = append(all, netip.PrefixFrom(a, a.BitLen()))
	}
	return all
}

// settings are the trunk's, as they were last given to the line.
func (l *line) settings() telephony.Trunk { return *l.asked.Load() }

// Identify says which trunk sent a request; see b2bua.Trunks. A provider that
// we are registered with is known by the Contact that only it was told of, by
// the connection that we made to it, or by its address; a peer by its address. A
// source address can be forged over UDP: such a forger hears nothing of the
// answers, and reaches no more than the trunk's own numbers; over TCP and TLS it
// cannot, which is why a trunk that is set to one of them is not taken at its
// word over UDP.
func (s *Service) Identify(tx *sip.ServerTx) (t telephony.Trunk, found, answered bool) {
	r, f := tx.Request(), tx.Flow()
	list := *s.all.Load()
	for _, l := range list {
		if t := l.settings(); r.URI.User == l.token && suits(t, f) {
			return s.from(l, f), true, false
		}
	}
	if f.Token != "" {
		for _, l := range list {
			if slices.Contains(l.view.Load().flows, f.Token) {
				return s.from(l, f), true, false
			}
		}
	}
	if t, found, answered = s.gateway(tx); found || answered {
		return t, found, answered
	}
	var match []*line
	src := netip.AddrPortFrom(f.Remote.Addr().Unmap(), f.Remote.Port())
	for _, l := range list {
		if t := l.settings(); suits(t, f) && sends(l, t, src) {
			match = append(match, l)
		}
	}
	switch l := theirs(match, r); {
	case l == nil:
		return telephony.Trunk{}, false, false
	default:
		f.Authenticated()
		return s.from(l, f), true, false
	}
}

// from notes a sign of life.
func (s *Service) from(l *line, _ sip.Flow) telephony.Trunk {
	l.heard.Store(time.Now().UnixNano())
	return l.settings()
}

// suits reports whether a request came by a transport that is at least as hard
// to forge as the trunk's.
func suits(t telephony.Trunk, f sip.Flow) bool {
	switch p := f.Protocol(); t.Transport {
	case telephony.TrunkTLS:
		return p == "TLS"
	case telephony.TrunkTCP:
		return p == "TCP" || p == "TLS"
	default:
		return p == "UDP" || p == "TCP" || p == "TLS"
	}
}

// sends reports whether a trunk sends from an address.
func sends(l *line, t telephony.Trunk, src netip.AddrPort) bool {
	if t.PeerPort != 0 && t.PeerPort != src.Port() {
		return false
	}
	return slices.Contains(l.view.Load().addrs, src.Addr()) ||
		slices.ContainsFunc(t.Peers, func(p netip.Prefix) bool { return p.Contains(src.Addr()) })
}

// theirs picks the trunk whose number is called, of those with the same source:
// customers of one provider.
func theirs(match []*line, r *sip.Request) *line {
	for _, l := range match {
		if len(match) == 1 || has(l.settings(), r) {
			return l
		}
	}
	if len(match) > 0 {
		return match[0] // which will say that the number is not known
	}
	return nil
}

// has reports whether one of the trunk's numbers is called, in whatever form:
// with the country code or without, as long as what there is of it agrees.
func has(t telephony.Trunk, r *sip.Request) bool {
	called, _ := sip.AOR(r.URI)
	if t.DialledIn == "to" {
		called, _ = sip.AOR(r.To.URI)
	}
	digits := strings.Map(func(c rune) rune {
		if c < '0' || c > '9' {
			return -1
		}
		return c
	}, called)
	full := strings.TrimPrefix(digits, "00")
	short := strings.TrimPrefix(digits, "0")
	for _, d := range t.DIDs {
		length := len(strings.TrimPrefix(d.First, "+"))
		if d.Has("+" + full) {
			return true
		}
		if n := length - len(short); len(short) >= 4 && n > 0 && n <= 3 && d.Has(d.First[:1+n]+short) {
			return true
		}
	}
	return false
}
