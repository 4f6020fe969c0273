package api

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

func (s *Server) registerSecurity() {
	handle(s, operation{id: "get-protection", method: http.MethodGet, path: "/security/protection", tag: "security", summary: "How attackers are told from phones", access: systemOnly}, s.getProtection)
	handle(s, operation{id: "put-protection", method: http.MethodPut, path: "/security/protection", tag: "security", summary: "Change how attackers are told from phones; in force at once", access: systemOnly, errors: []int{http.StatusConflict}}, s.putProtection)
	handle(s, operation{id: "list-bans", method: http.MethodGet, path: "/security/bans", tag: "security", summary: "Who is banned now, the latest first", access: systemOnly}, s.listBans)
	handle(s, operation{id: "get-own-bans", method: http.MethodGet, path: "/session/bans", tag: "session", summary: "Whether the own address is banned, and why", access: anyUser}, s.getOwnBans)
	handle(s, operation{id: "delete-ban", method: http.MethodDelete, path: "/security/bans", tag: "security", summary: "Take a ban back, in the packet filter too", access: systemOnly, status: http.StatusNoContent, errors: []int{http.StatusNotFound}, fields: map[string]string{"source": "query.source"}}, s.deleteBan)
	handle(s, operation{id: "allow-ban", method: http.MethodPost, path: "/security/bans/allow", tag: "security", summary: "Take all bans of a source back and let it in for good", access: systemOnly, status: http.StatusCreated}, s.allowBan)
	handle(s, operation{id: "check-address", method: http.MethodGet, path: "/security/check", tag: "security", summary: "Whether packets of an address are let in, and why not", access: systemOnly, errors: []int{http.StatusConflict}, fields: map[string]string{"address": "query.address"}}, s.checkAddress)
	handle(s, operation{id: "get-port-filter", method: http.MethodGet, path: "/security/filter", tag: "security", summary: "Who filters by port", access: systemOnly}, s.getPortFilter)
	handle(s, operation{id: "put-port-filter", method: http.MethodPut, path: "/security/filter", tag: "security", summary: "Leave filtering by port to the cloud, take it back, or switch the packet filter off; never outside of a cloud", access: systemOnly, errors: []int{http.StatusConflict}}, s.putPortFilter)
	s.registerAttacks()
	s.registerRules()
}

func (s *Server) getPortFilter(context.Context, *noInput) (*body[PortFilter], error) {
	out := PortFilter{Mode: "filter", Cloud: s.cfg.Live.Health().Cloud}
	settings := s.cfg.Store.Snapshot().Settings
	switch {
	case out.Cloud == "":
		out.Cloud = "none"
	case settings.FilterOff:
		out.Mode = "off"
	case settings.CloudMode:
		out.Mode = "cloud"
	}
	return &body[PortFilter]{out}, nil
}

// putPortFilter refuses cloud mode and off where no cloud is seen (C07): on
// premises nobody else would filter. Off has to be meant (C06).
func (s *Server) putPortFilter(ctx context.Context, in *tryBody[PortFilterPut]) (*body[PortFilter], error) {
	if in.Body.Mode != "filter" && s.cfg.Live.Health().Cloud == "" {
		return nil, conflict("mode", "this machine runs in no cloud that is known: without its own filter by port it would stand open")
	}
	if in.Body.Mode == "off" && in.Body.Confirmation != FilterOffPhrase {
		return nil, &telephony.FieldError{Field: "confirmation", Reason: "must be the words: " + FilterOffPhrase}
	}
	trial, err := s.trySettings(ctx, in.TryQuery, func(settings *telephony.Settings) error {
		settings.CloudMode, settings.FilterOff = in.Body.Mode == "cloud", in.Body.Mode == "off"
		return nil
	})
	if err != nil {
		return nil, err
	}
	out, err := s.getPortFilter(ctx, nil)
	if err == nil {
		out.Body.Trial = trial
	}
	return out, err
}

func (s *Server) getProtection(context.Context, *noInput) (*body[Protection], error) {
	settings := s.cfg.Store.Snapshot().Settings
	p, l := settings.Protection, settings.Limits
	return &body[Protection]{Protection{
		Detect: p.Detect, PeriodSeconds: int(p.Period / time.Second), BanSeconds: int(p.Ban / time.Second),
		WrongAnswers: p.WrongAnswers, Unanswered: p.Unanswered, Names: p.Names, Malformed: p.Malformed,
		Calls: p.Calls, UnknownNumbers: p.UnknownNumbers,
		UserAgents: append([]string{}, p.UserAgents...), SessionNames: append([]string{}, p.SessionNames...),
		BanTools: p.BanTools, SilentInvite: p.SilentInvite,
		Level1: l.L1, Level1BanSeconds: int(l.L1Ban / time.Second), Level2: l.L2, Level2BanSeconds: int(l.L2Ban / time.Second),
	}}, nil
}

func (s *Server) putProtection(ctx context.Context, in *tryBody[Protection]) (*body[Protection], error) {
	b := in.Body
	seconds := func(n int) time.Duration { return time.Duration(n) * time.Second }
	trial, err := s.trySettings(ctx, in.TryQuery, func(settings *telephony.Settings) error {
		settings.Protection = telephony.Protection{
			Detect: b.Detect, Period: seconds(b.PeriodSeconds), Ban: seconds(b.BanSeconds),
			WrongAnswers: b.WrongAnswers, Unanswered: b.Unanswered, Names: b.Names, Malformed: b.Malformed,
			Calls: b.Calls, UnknownNumbers: b.UnknownNumbers,
			UserAgents: b.UserAgents, SessionNames: b.SessionNames, BanTools: b.BanTools, SilentInvite: b.SilentInvite,
		}
		settings.Limits = telephony.PacketLimits{L1: b.Level1, L1Ban: seconds(b.Level1BanSeconds), L2: b.Level2, L2Ban: seconds(b.Level2BanSeconds)}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out, err := s.getProtection(ctx, nil)
	if err == nil {
		out.Body.Trial = trial
	}
	return out, err
}

func (s *Server) listBans(ctx context.Context, _ *noInput) (*body[BanList], error) {
	all, more := s.cfg.Live.Bans(ctx)
	out := BanList{Items: make([]Ban, 0, min(len(all), maxShownBans)), Total: len(all) + more}
	for _, b := range all[:min(len(all), maxShownBans)] {
		out.Items = append(out.Items, banOf(b))
	}
	return &body[BanList]{out}, nil
}

// maxShownBans bounds an answer.
const maxShownBans = 2_000

func banOf(b telephony.Ban) Ban {
	return Ban{
		Source: b.Source.String(), Scope: string(b.Scope), Reason: b.Reason, UserAgent: b.Evidence.UserAgent,
		Target: b.Evidence.Target, Count: b.Evidence.Count, Since: timeOrNil(b.Since), Until: b.Until.UTC(),
		Level: b.Level, Port: b.Port, Dropped: b.Dropped,
	}
}

// banQuery names a ban.
type banQuery struct {
	Source string `query:"source" required:"true" maxLength:"45" doc:"Address that is banned."`
	Scope  string `query:"scope" required:"true" enum:"sip,web,prov,all"`
}

func (s *Server) deleteBan(ctx context.Context, in *banQuery) (*struct{}, error) {
	source, err := address("source", in.Source)
	if err != nil {
		return nil, err
	}
	scope := telephony.BanScope(in.Scope)
	if err := s.cfg.Live.Unban(ctx, source, scope); err != nil {
		return nil, err
	}
	_, err = s.cfg.Store.System().Update(ctx, callerOf(ctx).actor(), func(tx *store.Tx) error { return tx.NoteUnban(source, scope) })
	return nil, err
}

func (s *Server) allowBan(ctx context.Context, in *body[BanAllow]) (*body[AddressRule], error) {
	network, err := telephony.ParseNetwork("source", in.Body.Source)
	if err != nil {
		return nil, err
	}
	if network.Addr().Is6() && network.Bits() == 128 {
		network = netip.PrefixFrom(network.Addr(), 64).Masked() // as it was banned
	}
	rule := telephony.AddressRule{Prefix: network, Allow: true, Note: in.Body.Note}
	if _, err := s.putRules(ctx, standardTry(), rule); err != nil {
		return nil, err
	}
	for _, scope := range []telephony.BanScope{telephony.BanSIP, telephony.BanWeb, telephony.BanProv, telephony.BanAll} {
		_ = s.cfg.Live.Unban(ctx, network.Addr(), scope) // most of them are not there
	}
	return s.ruleNow(network)
}

// addressQuery names an address.
type addressQuery struct {
	Address   string `query:"address" maxLength:"45" doc:"IPv4 or IPv6 address; empty is the one that is asking."`
	Port      int    `query:"port" minimum:"0" maximum:"65535" default:"0" doc:"Port of the PBX that it asks for; 0 asks about the address alone."`
	Protocol  string `query:"protocol" enum:"udp,tcp" default:"udp"`
	Interface string `query:"interface" maxLength:"15" doc:"Where the packet comes in; empty is an interface without a zone."`
}

// checkAddress answers the question of an administrator whose phone gets nothing.
func (s *Server) checkAddress(ctx context.Context, in *addressQuery) (*body[AddressCheck], error) {
	a := callerOf(ctx).actor().Addr
	if in.Address != "" {
		var err error
		if a, err = address("address", in.Address); err != nil {
			return nil, err
		}
	}
	a = a.Unmap().WithZone("")
	out := AddressCheck{Address: a.String(), Verdict: "open", Bans: []Ban{}, Own: s.isOwn(a), Trusted: s.cfg.Live.Known(a)}
	if r, ok := telephony.NewAddressIndex(s.cfg.Store.Snapshot().Rules).Decide(a, time.Now()); ok {
		rule := ruleOf(r)
		out.Rule = &rule
		out.Verdict = map[bool]string{true: "allowed", false: "blocked"}[r.Allow]
	}
	bans, _ := s.cfg.Live.Bans(ctx)
	for _, b := range bans {
		if covers(b.Source, a) {
			out.Bans = append(out.Bans, banOf(b))
		}
	}
	if out.Verdict == "open" && len(out.Bans) > 0 {
		out.Verdict = "banned"
	}
	out.Explanation = explain(out)
	if in.Port > 0 {
		q := PacketQuestion{Source: a, Interface: in.Interface, Proto: ports.Proto(in.Protocol), Port: uint16(in.Port)}
		fate, err := s.cfg.Live.Explain(ctx, q)
		if err != nil {
			return nil, conflict("port", "the packet filter cannot be asked: "+err.Error())
		}
		out.Packet = s.packetCheck(q, fate, out)
	}
	return &body[AddressCheck]{out}, nil
}

// covers reports whether a ban of source is one of a: IPv6 is banned by /64.
func covers(source, a netip.Addr) bool {
	if source.Is6() && a.Is6() {
		p, err := source.Prefix(64)
		return err == nil && p.Contains(a)
	}
	return source == a
}

func explain(c AddressCheck) string {
	switch {
	case c.Own:
		return "This is an address of the PBX itself; it is always let in."
	case c.Verdict == "blocked":
		return fmt.Sprintf("Every packet is dropped: the list of addresses blocks %s.", c.Rule.Network)
	case c.Verdict == "allowed":
		return fmt.Sprintf("The list of addresses allows %s: no limits, no bans. Passwords are asked for, and only open ports can be reached.", c.Rule.Network)
	case c.Verdict == "banned":
		return fmt.Sprintf("Packets to %s are dropped until the ban ends: %s.", closedTo(c.Bans[0].Scope), c.Bans[0].Reason)
	case c.Trusted:
		return "Nothing is held against it. A phone has proved its password from there: floods in its name ban nobody."
	}
	return "Nothing is held against it. It reaches the ports that are open to its zone."
}

// closedTo names the ports of a scope.
func closedTo(scope string) string {
	switch telephony.BanScope(scope) {
	case telephony.BanSIP:
		return "the SIP ports"
	case telephony.BanWeb:
		return "the web ports"
	case telephony.BanProv:
		return "the ports of provisioning"
	}
	return "every port"
}

func (s *Server) isOwn(a netip.Addr) bool {
	return a.IsLoopback() || slices.ContainsFunc(s.cfg.Live.Addresses(), func(l LocalAddress) bool { return l.Addr == a })
}
