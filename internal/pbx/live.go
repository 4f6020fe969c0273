package pbx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"ringfence/firewall"
	"ringfence/internal/api"
	"ringfence/internal/b2bua"
	"ringfence/internal/media"
	"ringfence/internal/ports"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
	"ringfence/internal/trace"
)

// live shows the running parts to the HTTP side.
type live struct{ p *PBX }

func (l live) Registrations(t telephony.TenantID) []telephony.Binding {
	return l.p.telephone.location.All(t)
}

func (l live) Calls(t telephony.TenantID) []telephony.LiveCall {
	return l.p.telephone.calls.Calls(t)
}

func (l live) HangUp(ctx context.Context, t telephony.TenantID, id telephony.CallID) error {
	err := l.p.telephone.calls.HangUp(ctx, t, id)
	if errors.Is(err, b2bua.ErrNoCall) {
		return store.ErrNotFound
	}
	return err
}

func (l live) Trace(t telephony.TenantID, id telephony.CallID) (trace.Trace, bool) {
	return l.p.telephone.trace.Call(t, id)
}

// Ports are the rows in force, with the packet filter's counters.
func (l live) Ports() []api.PortState {
	on, err := l.p.services()
	if err != nil {
		return nil
	}
	counters := l.p.fence.counters(context.Background())
	all := make([]api.PortState, len(on))
	for i, s := range on {
		all[i] = api.PortState{Service: s, Packets: counters[s.ID].Packets, Bytes: counters[s.ID].Bytes}
		if err := l.p.listening(s); err != nil {
			all[i].Err = err.Error()
		}
	}
	if row, open := l.p.fence.challengeRow(context.Background()); open {
		all = append(all, api.PortState{Service: row, Packets: counters[row.ID].Packets, Bytes: counters[row.ID].Bytes})
	}
	return all
}

// Transports are the SIP rows in force.
func (l live) Transports() []api.PortState {
	on, err := l.p.services()
	if err != nil {
		return nil
	}
	var all []api.PortState
	for _, s := range on {
		if !s.IsSignalling() {
			continue
		}
		t := api.PortState{Service: s}
		if err := l.p.listening(s); err != nil {
			t.Err = err.Error()
		}
		all = append(all, t)
	}
	return all
}

// PortFree tries the port. One that a listener of ours still holds is free by
// the time it is needed: Reconcile closes before it opens.
func (l live) PortFree(s ports.Service) error {
	for _, on := range l.p.telephone.endpoint.Listening() {
		if row, ok := ports.Lookup(ports.Table(), on.ID); ok && row.Proto == s.Proto && on.Addr.Port() == s.First {
			return nil
		}
	}
	host := ""
	if l.p.opts.Listen.IsValid() {
		host = l.p.opts.Listen.String()
	}
	addr := net.JoinHostPort(host, strconv.Itoa(int(s.First)))
	var try io.Closer
	var err error
	if s.Proto == ports.UDP {
		try, err = net.ListenPacket("udp", addr)
	} else {
		var lc net.ListenConfig
		lc.SetMultipathTCP(false)
		try, err = lc.Listen(context.Background(), "tcp", addr)
	}
	if err != nil {
		return fmt.Errorf("%s port %d cannot be opened: %w", s.Proto, s.First, err)
	}
	return try.Close()
}

// listening is why a service does not listen, or nil.
func (p *PBX) listening(s ports.Service) error {
	switch {
	case s.Wrap == ports.RTP:
		return nil // opened call by call
	case s.Wrap == ports.SSHWrap:
		return p.api.ShellError()
	case s.IsSignalling():
		if err := p.telephone.endpoint.Failed(s.ID); err != nil {
			return err
		}
		if _, ok := p.sipAddr(s.ID); !ok {
			return errors.New("not listening")
		}
	default:
		if err := p.web.Failed(s.ID); err != nil {
			return err
		}
		if p.web.Addr(s.ID) == nil {
			return errors.New("not listening")
		}
	}
	return nil
}

// Held is what calls take of the system; all of it is given back.
type Held struct {
	Calls, Legs int
	Media       int // port pairs in use or resting
	Pending     int // transactions in progress
}

// Empty reports whether nothing is held.
func (h Held) Empty() bool { return h == Held{} }

// Held counts what is held now.
func (p *PBX) Held() Held {
	h := Held{Calls: len(p.telephone.calls.Calls(telephony.System)), Legs: p.telephone.calls.Legs()}
	m := p.telephone.media.Stats()
	for side := range m.Held {
		h.Media += m.Held[side] + m.Resting[side]
	}
	h.Pending = p.telephone.endpoint.Stats().Pending
	return h
}

// sipAddr is where a SIP service listens.
func (p *PBX) sipAddr(id ports.ID) (netip.AddrPort, bool) {
	for _, l := range p.telephone.endpoint.Listening() {
		if l.ID == id {
			return l.Addr, true
		}
	}
	return netip.AddrPort{}, false
}

// maxAddresses bounds the list of our addresses.
const maxAddresses = 64

// Addresses are those of the interfaces that are up.
func (l live) Addresses() []api.LocalAddress {
	outgoing := []netip.Addr{lookUp(netip.AddrFrom4([4]byte{198, 51, 100, 1})), lookUp(netip.MustParseAddr("2001:db8::1"))}
	links, err := net.Interfaces()
	if err != nil {
		l.p.log.Warn("interfaces not listed", "err", err)
	}
	var all []api.LocalAddress
	for _, link := range links {
		addrs, err := link.Addrs()
		if err != nil || link.Flags&net.FlagUp == 0 {
			continue
		}
		for _, a := range addrs {
			n, ok := a.(*net.IPNet)
			if !ok || len(all) == maxAddresses {
				continue
			}
			if addr, _ := netip.AddrFromSlice(n.IP); addr.IsGlobalUnicast() {
				addr = addr.Unmap()
				all = append(all, api.LocalAddress{Addr: addr, Interface: link.Name, Outgoing: slices.Contains(outgoing, addr)})
			}
		}
	}
	return all
}

// Health is the state of fence and parts.
func (l live) Health() api.Health {
	var h api.Health
	s, err := l.p.fence.status(context.Background())
	h.Fence = api.FenceStatus{Active: err == nil && s.Active, Rev: s.Rev, Error: s.Error}
	if err != nil {
		h.Fence.Error = err.Error()
	}
	if h.Fence.Error == "" && len(s.Foreign) > 0 {
		h.Fence.Error = "another program filters packets too, and its drops win: " + strings.Join(s.Foreign, ", ")
	}
	for _, e := range l.p.applied.list() {
		h.Applied = append(h.Applied, api.Applied{Subsystem: e.Subsystem, Rev: e.Rev, Error: e.Err})
	}
	h.Cloud, h.Notices = string(l.p.machine.Cloud), slices.Clone(l.p.warnings)
	for _, a := range l.p.machine.Public {
		h.Public = append(h.Public, telephony.PublicAddress{Local: a.Own, Public: a.Public})
	}
	// What init has to say may come after our start.
	m, err := loadMachine(l.p.opts.RunDir)
	if err != nil {
		m.Notices = []string{err.Error()}
	}
	h.Notices = append(h.Notices, m.Notices...)
	h.Notices = append(h.Notices, l.p.certificateNotices(time.Now())...)
	if off := l.p.filterOff(); off != "" {
		h.Fence.Active, h.Fence.Error, h.Notices = false, off, append(h.Notices, off)
	}
	if c := m.Clock; c.Server != "" {
		h.Clock = &api.Clock{Server: c.Server, Origin: c.Origin, OffsetMS: float64(c.Offset.Microseconds()) / 1000, CheckedAt: c.At.UTC()}
	}
	if m.Clock.Problem != "" {
		h.Notices = append(h.Notices, m.Clock.Problem)
	}
	return h
}

// known are the sources of live registrations.
func (p *PBX) known() []netip.Prefix {
	now := time.Now()
	seen := map[netip.Prefix]bool{}
	var all []netip.Prefix
	for _, t := range p.store.Snapshot().Tenants() {
		for _, b := range p.telephone.location.All(t.ID) {
			addr := b.Flow.Remote.Addr().Unmap()
			source := netip.PrefixFrom(addr, addr.BitLen())
			if addr.IsValid() && !seen[source] && !p.warden.book.Holds(addr, telephony.BanSIP, now) {
				seen[source] = true
				all = append(all, source)
			}
		}
	}
	for _, addr := range p.telephone.trunks.Hosts() {
		if source := netip.PrefixFrom(addr, addr.BitLen()); !seen[source] {
			all = append(all, source)
		}
	}
	return all
}

// banned are the sources that are banned, for a fence that forgot them.
func (p *PBX) banned() []firewall.Ban {
	var all []firewall.Ban
	for _, b := range p.warden.book.List(time.Now()) {
		source := netip.PrefixFrom(b.Source, b.Source.BitLen())
		all = append(all, firewall.Ban{Prefix: source, Scope: b.Scope, Until: b.Until, Reason: b.Reason})
	}
	for _, b := range p.logins.Blocked() {
		all = append(all, firewall.Ban{Prefix: b.Source, Scope: telephony.BanWeb, Until: b.Until, Reason: "failed log-ins"})
	}
	return all
}

// RecordCall records a live call to a file, the caller on the left.
func (p *PBX) RecordCall(ctx context.Context, id telephony.CallID, of b2bua.Side, o media.RecordOptions) (*media.Recording, error) {
	return p.telephone.calls.Record(ctx, telephony.System, id, of, o)
}

// LiveCalls are the calls of all tenants.
func (p *PBX) LiveCalls() []telephony.LiveCall { return p.telephone.calls.Calls(telephony.System) }
