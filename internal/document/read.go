package document

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"ringfence/internal/ports"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// maxContacts is how many entries of a directory are read at a time.
const maxContacts = 1000

// Read reads all settings of a box, secrets included.
func Read(ctx context.Context, s *store.Store) (Configuration, error) {
	snap := s.Snapshot()
	c := Configuration{Version: Version}
	c.Box.Settings, c.Box.SignIn = snap.Settings, snap.SignIn(telephony.System)
	c.Box.Settings.Ports = byID(snap.Settings.Ports)
	c.Box.Addresses = slices.SortedFunc(slices.Values(snap.Rules), func(a, b telephony.AddressRule) int { return a.Prefix.Compare(b.Prefix) })
	var err error
	if c.Box.Administrators, err = readUsers(ctx, s.System()); err != nil {
		return c, err
	}
	for _, t := range snap.Tenants() {
		one, err := readTenant(ctx, s.ForTenant(t.ID), snap, t)
		if err != nil {
			return c, fmt.Errorf("reading the configuration of %s: %w", t.Domain, err)
		}
		c.Tenants = append(c.Tenants, one)
	}
	slices.SortFunc(c.Tenants, func(a, b Tenant) int { return cmp.Compare(a.Domain, b.Domain) })
	return c, nil
}

// byID orders rows of the port table, of which each counts for itself.
func byID(rows []ports.Override) []ports.Override {
	return slices.SortedFunc(slices.Values(rows), func(a, b ports.Override) int { return cmp.Compare(a.ID, b.ID) })
}

func readUsers(ctx context.Context, sc store.Scope) ([]User, error) {
	users, err := sc.Users(ctx)
	if err != nil {
		return nil, err
	}
	hashes, err := sc.UserHashes(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]User, len(users))
	for i, u := range users {
		out[i] = User{u, hashes[u.Name]}
	}
	return out, nil
}

func readTenant(ctx context.Context, sc store.Scope, snap *telephony.Snapshot, t telephony.Tenant) (out Tenant, err error) {
	out.Tenant, out.SignIn = t, snap.SignIn(t.ID)
	if out.Keeping, err = sc.Keeping(ctx); err != nil {
		return out, err
	}
	for _, r := range snap.MadeRoles() {
		if r.Tenant == t.ID {
			out.Roles = append(out.Roles, r)
		}
	}
	passwords, err := sc.SIPPasswords(ctx)
	if err != nil {
		return out, err
	}
	for _, e := range snap.Extensions(t.ID) {
		out.Extensions = append(out.Extensions, Extension{e, passwords[e.Number]})
	}
	if out.Groups, err = sc.Groups(ctx); err != nil {
		return out, err
	}
	if out.Users, err = readUsers(ctx, sc); err != nil {
		return out, err
	}
	out.readRouting(snap, t.ID)
	out.Contacts, err = readContacts(ctx, sc)
	return out, err
}

func (out *Tenant) readRouting(snap *telephony.Snapshot, id telephony.TenantID) {
	out.Trunks = slices.SortedFunc(slices.Values(snap.Trunks(id)), func(a, b telephony.Trunk) int { return strings.Compare(a.Name, b.Name) })
	names := make(map[telephony.TrunkID]string, len(out.Trunks))
	for _, t := range out.Trunks {
		names[t.ID] = t.Name
	}
	r := snap.Routing(id)
	out.Routing = Routing{
		Plan: Plan{r.Plan, namedRoutes(r.Plan.EmergencyRoutes, names)}, Currency: r.Currency, Night: r.Night,
		RejectAnonymous: r.RejectAnonymous, MaxCalls: r.MaxCalls, Caps: r.Caps, ExtensionCaps: r.ExtensionCaps,
	}
	for _, rule := range r.Outbound {
		out.Outbound = append(out.Outbound, OutboundRule{rule, namedRoutes(rule.Routes, names)})
	}
	for _, rule := range r.Inbound {
		one := InboundRule{InboundRule: rule}
		for _, t := range rule.Trunks {
			one.Trunks = append(one.Trunks, names[t])
		}
		out.Inbound = append(out.Inbound, one)
	}
	slices.SortFunc(out.Outbound, func(a, b OutboundRule) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(out.Inbound, func(a, b InboundRule) int { return strings.Compare(a.Name, b.Name) })
	out.Schedules = slices.SortedFunc(slices.Values(r.Schedules), func(a, b telephony.Schedule) int { return strings.Compare(a.Name, b.Name) })
	out.Blocked = slices.SortedFunc(slices.Values(r.Blocked), func(a, b telephony.CallerBlock) int { return strings.Compare(a.Caller, b.Caller) })
}

func namedRoutes(routes []telephony.Route, names map[telephony.TrunkID]string) (out []Route) {
	for _, r := range routes {
		out = append(out, Route{names[r.Trunk], r})
	}
	return out
}

func readContacts(ctx context.Context, sc store.Scope) (all []telephony.Contact, err error) {
	f := store.ContactFilter{Limit: maxContacts}
	for {
		page, err := sc.Contacts(ctx, f)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) < maxContacts {
			return all, nil
		}
		last := page[len(page)-1]
		f.AfterName, f.AfterID = last.Name, last.ID
	}
}
