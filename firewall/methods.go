package firewall

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"ringfence/internal/netcfg"
	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// longestBan bounds bans and known sources.
const longestBan = 366 * 24 * time.Hour

// handle carries out one request that is not about media.
func (s *Server) handle(method string, body json.RawMessage) (any, error) {
	switch method {
	case methodApply:
		return with(body, s.apply)
	case methodConfirm:
		return with(body, func(r confirmRequest) (any, error) { return nil, s.policy.confirm(r.Rev) })
	case methodBan:
		return with(body, s.ban)
	case methodUnban:
		return with(body, s.unban)
	case methodBans:
		return s.bans()
	case methodExplain:
		return with(body, func(p Packet) (any, error) { return s.explain(p) })
	case methodVerdicts:
		return with(body, func(r verdictsRequest) (any, error) { return s.verdicts.since(r), nil })
	case methodKnown:
		return with(body, s.known)
	case methodForget:
		return with(body, s.forget)
	case methodCounters:
		return s.counters()
	case methodStatus:
		return s.status(), nil
	case methodInterfaces:
		return s.interfaces()
	case methodSetAddresses:
		return with(body, func(r setAddressesRequest) (any, error) { return nil, s.network.apply(r.Config, r.Confirm) })
	case methodConfirmAddress:
		return with(body, func(r confirmRequest) (any, error) { return nil, s.network.confirm(r.Rev) })
	case methodRevertAddress:
		return with(body, func(r confirmRequest) (any, error) { return nil, s.network.revert(r.Rev) })
	case methodNetwork:
		return s.networkStatus(), nil
	}
	return nil, fmt.Errorf("%w: no method %q", ErrRefused, method)
}

func with[T any](body json.RawMessage, f func(T) (any, error)) (any, error) {
	var v T
	if err := decode(body, &v); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return f(v)
}

func (s *Server) apply(r applyRequest) (any, error) {
	for _, p := range r.Policy.Block {
		if err := s.sparesHost(p); err != nil {
			return nil, err
		}
	}
	return nil, s.policy.apply(r.Policy, r.Confirm)
}

// sparesHost refuses a prefix that would cut the host off its own addresses or
// its gateway.
func (s *Server) sparesHost(p netip.Prefix) error {
	p = normalise(p)
	s.enacting.Lock()
	host := s.host
	s.enacting.Unlock()
	for _, own := range host.Addresses {
		if p.Contains(own.Addr()) {
			return fmt.Errorf("%w: %s holds this host's own address %s", ErrRefused, p, own.Addr())
		}
	}
	for _, g := range host.Gateways {
		if p.Contains(g) {
			return fmt.Errorf("%w: %s holds the gateway %s", ErrRefused, p, g)
		}
	}
	return nil
}

// banSet is the set that holds the bans of a scope.
func banSet(scope telephony.BanScope) (string, error) {
	switch scope {
	case telephony.BanAll:
		return setBanAll, nil
	case telephony.BanSIP, telephony.BanWeb, telephony.BanProv:
		return autoSet(scope), nil
	}
	return "", fmt.Errorf("%w: no ban scope %q", ErrRefused, scope)
}

func (s *Server) ban(r banRequest) (any, error) {
	if len(r.Bans) > maxHosts {
		return nil, fmt.Errorf("%w: %d bans at once, at most %d are possible", ErrRefused, len(r.Bans), maxHosts)
	}
	var change []element
	for _, b := range r.Bans {
		set, err := banSet(b.Scope)
		if err != nil {
			return nil, err
		}
		left := time.Until(b.Until)
		if left <= 0 {
			continue // ran out on the way
		}
		e, err := s.hostElement(set, b.Prefix, min(left, longestBan))
		if err != nil {
			return nil, err
		}
		change = append(change, e)
	}
	if err := s.change(change); err != nil {
		return nil, err
	}
	for _, b := range r.Bans {
		s.log.Info("source banned", "prefix", b.Prefix, "scope", b.Scope, "until", b.Until, "reason", b.Reason)
	}
	return nil, nil
}

// hostElement checks that a ban hits no own address. An IPv6 ban covers the
// whole /64: it must not be the one we live in.
func (s *Server) hostElement(set string, p netip.Prefix, timeout time.Duration) (element, error) {
	e, err := hostElement(set, p, max(timeout, time.Millisecond), false)
	if err != nil {
		return element{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	h, _ := hostPrefix(p)
	return e, s.sparesHost(h)
}

func (s *Server) unban(r unbanRequest) (any, error) {
	set, err := banSet(r.Scope)
	if err != nil {
		return nil, err
	}
	return nil, s.remove(set, r.Prefixes)
}

func (s *Server) known(r knownRequest) (any, error) {
	if r.TTL < time.Second || r.TTL > longestBan {
		return nil, fmt.Errorf("%w: time to live %s is not within 1 s and %s", ErrRefused, r.TTL, longestBan)
	}
	if len(r.Prefixes) > maxHosts {
		return nil, fmt.Errorf("%w: %d sources at once, at most %d are possible", ErrRefused, len(r.Prefixes), maxHosts)
	}
	var change []element
	for _, p := range r.Prefixes {
		e, err := hostElement(setKnown, p, r.TTL, false)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRefused, err)
		}
		change = append(change, e)
	}
	return nil, s.change(change)
}

func (s *Server) forget(r knownRequest) (any, error) { return nil, s.remove(setKnown, r.Prefixes) }

func (s *Server) remove(set string, prefixes []netip.Prefix) error {
	if len(prefixes) > maxHosts {
		return fmt.Errorf("%w: %d sources at once, at most %d are possible", ErrRefused, len(prefixes), maxHosts)
	}
	var change []element
	for _, p := range prefixes {
		e, err := hostElement(set, p, 0, true)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrRefused, err)
		}
		change = append(change, e)
	}
	return s.change(change)
}

// change sends elements to the kernel, each key once: the last wish counts.
func (s *Server) change(elements []element) error {
	type key struct{ set, key string }
	last := map[key]int{}
	for i, e := range elements {
		last[key{e.set, e.key}] = i
	}
	var once []element
	for i, e := range elements {
		if last[key{e.set, e.key}] == i {
			once = append(once, e)
		}
	}
	if len(once) == 0 {
		return nil
	}
	return s.o.Kernel.change(once)
}

// bans lists what the kernel holds, its own bans included, the longest first.
func (s *Server) bans() ([]Ban, error) {
	now := time.Now()
	var out []Ban
	for _, scope := range append(banScopes(), telephony.BanAll) {
		set, err := banSet(scope)
		if err != nil {
			return nil, err
		}
		for f := range families() {
			held, err := s.o.Kernel.elements(setName(set, f))
			if err != nil {
				return nil, err
			}
			for _, e := range held {
				if p, err := hostFromKey(e.key); err == nil {
					out = append(out, Ban{Prefix: p, Scope: scope, Until: now.Add(e.left), Packets: e.packets})
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b Ban) int { return b.Until.Compare(a.Until) })
	return out[:min(len(out), maxListedBans)], nil
}

func (s *Server) counters() (Counters, error) {
	all, err := s.o.Kernel.counters()
	if err != nil {
		return Counters{}, err
	}
	out := Counters{Ports: map[ports.ID]Counter{}, Drops: map[string]Counter{}}
	for name, c := range all {
		if id, ok := strings.CutPrefix(name, portCounter); ok {
			out.Ports[ports.ID(id)] = c
		}
		if cause, ok := strings.CutPrefix(name, dropCounter); ok {
			out.Drops[cause] = c
		}
	}
	return out, nil
}

func (s *Server) networkStatus() NetworkStatus {
	if s.o.Network == nil {
		return NetworkStatus{}
	}
	n := s.network.state()
	return NetworkStatus{
		Managed: true, Standard: !n.found, Config: n.current, Confirmed: n.last,
		ConfirmUntil: n.until, Reverted: n.reverted, Error: n.fault,
	}
}

func (s *Server) interfaces() ([]netcfg.State, error) {
	if s.o.Interfaces == nil {
		return nil, fmt.Errorf("%w: interfaces are not watched here", ErrRefused)
	}
	return s.o.Interfaces()
}
