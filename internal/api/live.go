package api

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
	"ringfence/internal/trace"
)

// Live is what runs now. The API declares it and pbx implements it, so that no
// subsystem knows the HTTP side.
type Live interface {
	// Registrations are the bindings of a tenant.
	Registrations(telephony.TenantID) []telephony.Binding
	// Calls are the calls in progress of a tenant.
	Calls(telephony.TenantID) []telephony.LiveCall
	// HangUp ends a call of a tenant; store.ErrNotFound if it is not there.
	HangUp(context.Context, telephony.TenantID, telephony.CallID) error
	// Trace is what is kept of the SIP messages of a tenant's call.
	Trace(telephony.TenantID, telephony.CallID) (trace.Trace, bool)
	// Ports are the rows of the port table that are or should be open.
	Ports() []PortState
	// Transports are the SIP rows of the port table that are on.
	Transports() []PortState
	// PortFree says why a service cannot listen on its port: because another
	// program does.
	PortFree(ports.Service) error
	// Addresses are those this machine has, without loopback and link-local.
	Addresses() []LocalAddress
	// Health is the state of the subsystems.
	Health() Health
	// Bans are those in force, the latest first, and how many more there are.
	Bans(context.Context) (all []telephony.Ban, more int)
	// Unban takes a ban back; store.ErrNotFound if there is none.
	Unban(context.Context, netip.Addr, telephony.BanScope) error
	// Attacks are entries of the journal, and AttacksSince how many there are.
	Attacks(context.Context, store.AttackFilter) ([]telephony.Attack, error)
	AttacksSince(context.Context, time.Time) (int, error)
	// Packets are counts of packets over time, in steps of ten seconds (an hour),
	// a minute (a day) or an hour (30 days), the oldest first.
	Packets(ctx context.Context, step time.Duration) []telephony.PacketSlot
	// Explain says what the packet filter does with a packet; an error without one.
	Explain(context.Context, PacketQuestion) (PacketFate, error)
	// Known reports whether a phone is registered from there.
	Known(netip.Addr) bool
	// ZonesOf are the zones that requests belong to which come from an address
	// to one of this machine; nil where nobody filters by zone.
	ZonesOf(ctx context.Context, from, local netip.Addr) []ports.Zone
	// Neighbours are addresses the PBX needs, by what they are: gateway, name
	// server.
	Neighbours(context.Context) map[string][]netip.Addr
}

// PacketQuestion is the first packet of a connection, or a datagram.
type PacketQuestion struct {
	Source    netip.Addr
	Interface string // where it comes in; empty is one without a zone
	Proto     ports.Proto
	Port      uint16
}

// PacketFate is what becomes of it. Cause is "drop/CAUSE" or "port/ID", or empty;
// Left is how long a ban lasts that decided, Steps are the rules that matched.
type PacketFate struct {
	Accepted bool
	Cause    string
	Left     time.Duration
	Steps    []string
}

// LocalAddress is an address of this machine.
type LocalAddress struct {
	Addr      netip.Addr
	Interface string
	Outgoing  bool // packets to the internet leave from it
}

// PortState is one row of the port table as it stands now.
type PortState struct {
	Service        ports.Service // with the ports in force
	Err            string        // why it does not listen; empty when it does
	Packets, Bytes uint64        // of the packet filter
}

// Health is the state of the subsystems.
type Health struct {
	Fence   FenceStatus
	Applied []Applied
	// Cloud is the one this machine runs in, or empty.
	Cloud string
	// Public are the public addresses that the cloud says lead here; Local may
	// be unknown.
	Public []telephony.PublicAddress
	// Clock is nil where no time server answered, or another system keeps it.
	Clock *Clock
	// Notices are sentences for the administrator about this start.
	Notices []string
}

// callPath is the call of a path.
type callPath struct {
	ID string `path:"id" pattern:"^[A-Za-z0-9_.-]{1,64}$" maxLength:"64" doc:"Identifier of the call."`
}

func (s *Server) registerLive() {
	s.registerTrace()
	s.registerPortRules()
	handle(s, operation{id: "list-registrations", method: http.MethodGet, path: "/registrations", tag: "live", summary: "Phones that are registered now", access: manageCalls}, s.listRegistrations)
	handle(s, operation{id: "list-calls", method: http.MethodGet, path: "/calls", tag: "live", summary: "Calls in progress", access: manageCalls}, s.listCalls)
	handle(s, operation{id: "hang-up", method: http.MethodDelete, path: "/calls/{id}", tag: "live", summary: "End a call", access: manageCalls, status: http.StatusNoContent, errors: []int{http.StatusNotFound}}, s.hangUp)
}

func (s *Server) listRegistrations(ctx context.Context, _ *noInput) (*body[RegistrationList], error) {
	all := s.cfg.Live.Registrations(callerOf(ctx).tenant)
	items := make([]Registration, 0, min(len(all), maxLive))
	for _, b := range all {
		items = append(items, registrationOf(b))
	}
	slices.SortFunc(items, func(a, b Registration) int {
		if c := compareNumbers(a.Number, b.Number); c != 0 {
			return c
		}
		return strings.Compare(a.Contact, b.Contact)
	})
	out := RegistrationList{Items: items, More: len(items) > maxLive}
	out.Items = out.Items[:min(len(items), maxLive)]
	return &body[RegistrationList]{out}, nil
}

func registrationOf(b telephony.Binding) Registration {
	return Registration{
		Number: b.AOR.User, Contact: b.ShownContact(), UserAgent: b.UserAgent,
		State: b.Reach.String(), NAT: b.NAT, RTTMs: float64(b.RTT.Microseconds()) / 1000,
		Source: b.Flow.Remote.String(), Listener: string(b.Flow.Listener),
		RegisteredAt: b.Registered.UTC(), ExpiresAt: b.Expires.UTC(),
	}
}

// compareNumbers orders extensions as people count: shorter ones first.
func compareNumbers(a, b string) int {
	if d := len(a) - len(b); d != 0 {
		return d
	}
	return strings.Compare(a, b)
}

func (s *Server) listCalls(ctx context.Context, _ *noInput) (*body[CallList], error) {
	all := s.cfg.Live.Calls(callerOf(ctx).tenant)
	items := make([]Call, 0, len(all))
	for _, c := range all {
		items = append(items, callOf(c))
	}
	slices.SortFunc(items, func(a, b Call) int {
		if c := a.StartedAt.Compare(b.StartedAt); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	out := CallList{Items: items, More: len(items) > maxLive}
	out.Items = out.Items[:min(len(items), maxLive)]
	return &body[CallList]{out}, nil
}

func callOf(c telephony.LiveCall) Call {
	return Call{
		ID: string(c.ID), State: string(c.State), Caller: partyOf(c.Caller), Callee: partyOf(c.Callee),
		Direction: c.Direction, Route: routeOf(c.Route),
		StartedAt: c.Started.UTC(), AnsweredAt: timeOrNil(c.Answered),
		CallerLeg: qualityOf(c.CallerLeg), CalleeLeg: qualityOf(c.CalleeLeg), Alarm: string(c.Alarm),
	}
}

func partyOf(p telephony.Party) Party {
	out := Party{Number: p.Number, Name: p.Name}
	if p.Addr.IsValid() {
		out.Source = p.Addr.String()
	}
	return out
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func (s *Server) hangUp(ctx context.Context, in *callPath) (*struct{}, error) {
	c := callerOf(ctx)
	if err := s.cfg.Live.HangUp(ctx, c.tenant, telephony.CallID(in.ID)); err != nil {
		return nil, err
	}
	return nil, s.cfg.Store.ForTenant(c.tenant).Record(ctx, c.actor(), "call.hang_up", in.ID, nil)
}
