package firewall

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"ringfence/internal/ports"
)

// Packet is the first of its connection, or one datagram, that comes to this
// host.
type Packet struct {
	Source    netip.Addr  `json:"source"`
	Interface string      `json:"interface,omitempty"` // where it comes in; empty is one without a zone or a limit
	Proto     ports.Proto `json:"proto"`
	Port      uint16      `json:"port"`
}

// Explanation is what the rules do with a packet.
type Explanation struct {
	Accepted bool `json:"accepted"`
	// Cause names the counter of whatever decided: "drop_CAUSE" or "port_ID"; empty
	// is the policy of a chain.
	Cause string `json:"cause,omitempty"`
	// Left is how long the ban lasts that decided, if one did.
	Left time.Duration `json:"left,omitempty"`
	// Steps are the rules that matched, in their order, as nft(8) writes them.
	Steps []Step `json:"steps"`
}

// Step is a rule that matched.
type Step struct {
	Chain string `json:"chain"`
	Rule  string `json:"rule"`
}

// members answers what a run-time set holds.
type members func(set string, key []byte) (left time.Duration, held bool, err error)

// Explain is what a ruleset does with a packet of a source that keeps within all
// limits.
func Explain(r Ruleset, p Packet, held members) (Explanation, error) {
	w := walk{rules: r, packet: p, held: held, sets: map[string]Set{}}
	w.packet.Source = p.Source.Unmap().WithZone("")
	for _, s := range r.Sets {
		w.sets[s.Name] = s
	}
	for _, hook := range []HookType{HookPrerouting, HookInput} {
		i := slices.IndexFunc(r.Chains, func(c Chain) bool { return c.Hook != nil && c.Hook.Type == hook })
		if i < 0 {
			continue
		}
		verdict, err := w.chain(r.Chains[i], 0)
		if err != nil {
			return w.out, fmt.Errorf("explaining a packet: %w", err)
		}
		if verdict == goesOn && r.Chains[i].Hook.Drop {
			verdict = dropped
		}
		if verdict == dropped {
			return w.out, nil
		}
	}
	w.out.Accepted = true
	return w.out, nil
}

type verdict int

const (
	goesOn verdict = iota
	accepted
	dropped
)

// walk follows one packet through the chains.
type walk struct {
	rules  Ruleset
	sets   map[string]Set
	packet Packet
	held   members
	out    Explanation
}

// chain carries out the rules of a chain until one decides.
func (w *walk) chain(c Chain, depth int) (verdict, error) {
	const deepest = 16 // as the kernel has it
	if depth > deepest {
		return goesOn, fmt.Errorf("chain %s is jumped to too deeply", c.Name)
	}
	for _, rule := range c.Rules {
		v, left, err := w.rule(c.Name, rule, depth)
		if err != nil || v != goesOn || left {
			return v, err
		}
	}
	return goesOn, nil
}

// rule carries out one rule; left says that it went to another chain for good.
func (w *walk) rule(chain string, r Rule, depth int) (v verdict, left bool, err error) {
	banned := time.Duration(0)
	for _, s := range r {
		switch s := s.(type) {
		case Count:
			w.out.Cause, w.out.Left = s.Name, banned
		case Accept:
			w.step(chain, r)
			return accepted, true, nil
		case Drop:
			w.step(chain, r)
			return dropped, true, nil
		case Goto:
			w.step(chain, r)
			v, err = w.jump(s.Chain, depth)
			return v, true, err
		case Jump:
			v, err = w.jump(s.Chain, depth)
		case Notrack, Log, BanSource:
		default:
			ok, ends, err := w.matches(s)
			if err != nil || !ok {
				return goesOn, false, err
			}
			banned = max(banned, ends)
		}
	}
	return v, false, err
}

func (w *walk) step(chain string, r Rule) {
	words := make([]string, len(r))
	for i, s := range r {
		words[i] = s.String()
	}
	w.out.Steps = append(w.out.Steps, Step{chain, strings.Join(words, " ")})
}

func (w *walk) jump(name string, depth int) (verdict, error) {
	i := slices.IndexFunc(w.rules.Chains, func(c Chain) bool { return c.Name == name })
	if i < 0 {
		return goesOn, fmt.Errorf("no chain %s", name)
	}
	return w.chain(w.rules.Chains[i], depth+1)
}

// matches reports whether a match is one, and when a ban ends that it found.
func (w *walk) matches(s Statement) (ok bool, left time.Duration, err error) {
	p := w.packet
	switch s := s.(type) {
	case Loopback:
		return !s.Out && p.Source.IsLoopback(), 0, nil
	case OnLink:
		return p.Interface == s.Name, 0, nil
	case LinkIn:
		return slices.Contains(w.sets[s.Set].Links, p.Interface), 0, nil
	case SourceIn:
		return w.source(s)
	case LinkLocalSource:
		return p.Source.Is6() && p.Source.IsLinkLocalUnicast(), 0, nil
	case PortRange:
		return !s.Source && s.Proto == string(p.Proto) && s.First <= p.Port && p.Port <= s.Last, 0, nil
	case PortIn:
		if s.Source || s.Proto != string(p.Proto) {
			return false, 0, nil
		}
		set := w.sets[s.Set]
		if set.Content {
			return slices.Contains(set.Ports, p.Port), 0, nil
		}
		_, ok, err = w.held(s.Set, binary.BigEndian.AppendUint16(nil, p.Port))
		return ok, 0, err
	case NewTCP:
		return p.Proto == ports.TCP, 0, nil
	case Limit:
		return !s.Over, 0, nil
	case Meter, Established, Invalid, Protocol, ICMPType, HopLimit255:
		return false, 0, nil // a first packet, within the limits, and no ICMP
	}
	return false, 0, fmt.Errorf("%T is not known here", s)
}

// source looks the source up in a set.
func (w *walk) source(s SourceIn) (bool, time.Duration, error) {
	a := w.packet.Source
	if a.Is4() != (s.Family == V4) {
		return false, 0, nil
	}
	if set := w.sets[s.Set]; set.Content {
		in := slices.ContainsFunc(set.Ranges, func(r Range) bool { return r.First.Compare(a) <= 0 && a.Compare(r.Last) <= 0 })
		return in != s.Not, 0, nil
	}
	key := a
	if s.Host && a.Is6() {
		const site = 64
		p, err := a.Prefix(site)
		if err != nil {
			return false, 0, err
		}
		key = p.Addr()
	}
	left, in, err := w.held(s.Set, key.AsSlice())
	return in != s.Not, left, err
}

// explain is Explain with what the kernel holds.
func (s *Server) explain(p Packet) (Explanation, error) {
	if !p.Source.IsValid() || p.Proto != ports.UDP && p.Proto != ports.TCP {
		return Explanation{}, fmt.Errorf("%w: a packet has a source, and is of udp or tcp", ErrRefused)
	}
	s.enacting.Lock()
	rules := s.good
	s.enacting.Unlock()
	if rules == nil {
		return Explanation{}, fmt.Errorf("no rules are in force")
	}
	read := map[string][]listed{}
	return Explain(*rules, p, func(set string, key []byte) (time.Duration, bool, error) {
		list, ok := read[set]
		if !ok {
			var err error
			if list, err = s.o.Kernel.elements(set); err != nil {
				return 0, false, err
			}
			read[set] = list
		}
		for _, e := range list {
			if string(e.key) == string(key) {
				return e.left, true, nil
			}
		}
		return 0, false, nil
	})
}
