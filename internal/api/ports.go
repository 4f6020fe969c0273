package api

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"ringfence/internal/ports"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// portPut changes the row of a path.
type portPut struct {
	TryQuery
	ID   string `path:"id" pattern:"^[a-z0-9-]{1,32}$" maxLength:"32" doc:"Identifier of the row."`
	Body PortUpdate
}

func networkTexts(list []netip.Prefix) []string {
	out := make([]string, len(list))
	for i, p := range list {
		out[i] = networkText(p)
	}
	return out
}

func (s *Server) putPort(ctx context.Context, in *portPut) (*body[Port], error) {
	id := ports.ID(in.ID)
	want, err := in.Body.row(id)
	if err != nil {
		return nil, err
	}
	if err := s.staysIn(ctx, in.Body.Anyway, want); err != nil {
		return nil, err
	}
	shown := s.portRow(in.ID).First
	trial, err := s.trySettings(ctx, in.TryQuery, func(settings *telephony.Settings) error {
		now, _ := ports.Row(settings.Ports, id)
		if in.Body.Port == shown { // of tests, the listeners' own choice
			want.port = now.First
		}
		if err := s.switchable(now, want, settings); err != nil {
			return err
		}
		if err := s.movable(now, want, settings.Ports); err != nil {
			return err
		}
		settings.Ports = ports.Change(settings.Ports, id, func(o *ports.Override) { want.override(now, o) })
		return nil
	})
	if fe, ok := telephony.AsFieldError(err); ok && fe.Field == "ports" {
		return nil, conflict("port", fe.Reason)
	}
	if err != nil {
		return nil, err
	}
	out := s.portRow(in.ID)
	out.Trial = trial
	if in.Body.Port != shown { // the listener is about to follow
		out.First, out.Last = in.Body.Port, in.Body.Port
	}
	return &body[Port]{out}, nil
}

// portRow is one row of the table as it stands now.
func (s *Server) portRow(id string) Port {
	all := s.portTable()
	return all[slices.IndexFunc(all, func(p Port) bool { return p.ID == id })]
}

// wantedRow is how a row is to be.
type wantedRow struct {
	id      ports.ID
	on      bool
	port    uint16
	zones   []ports.Zone
	sources []netip.Prefix
}

// row reads the update; its errors name the field.
func (u PortUpdate) row(id ports.ID) (w wantedRow, err error) {
	standard, known := ports.Lookup(ports.Table(), id)
	if !known {
		return w, store.ErrNotFound
	}
	if standard.Window {
		return w, &telephony.FieldError{Field: "enabled", Reason: "the row opens by itself while a certificate is asked for, and is never switched"}
	}
	w = wantedRow{id: id, on: u.Enabled, port: uint16(u.Port)}
	for _, z := range u.Zones {
		w.zones = append(w.zones, ports.Zone(z))
	}
	if err := ports.CheckZones(id, w.zones); err != nil {
		return w, &telephony.FieldError{Field: "zones", Reason: err.Error()}
	}
	for i, text := range u.Sources {
		p, err := telephony.ParseNetwork(fmt.Sprintf("sources[%d]", i), text)
		if err != nil {
			return w, err
		}
		if !slices.Contains(w.sources, p) {
			w.sources = append(w.sources, p)
		}
	}
	if err := ports.CheckSources(w.sources); err != nil {
		return w, &telephony.FieldError{Field: "sources", Reason: err.Error()}
	}
	return w, nil
}

// override keeps of a row only what differs from the table, so that what nobody
// changed follows a newer table.
func (w wantedRow) override(now ports.Service, o *ports.Override) {
	standard, _ := ports.Lookup(ports.Table(), w.id)
	if w.on != (now.DefaultOn && now.Available) {
		o.Enabled = &w.on
	}
	switch w.port {
	case now.First: // as ranges always
	case standard.First:
		o.First, o.Last = 0, 0
	default:
		o.First, o.Last = w.port, w.port
	}
	if o.Zones = w.zones; slices.Equal(ports.SortZones(w.zones), standard.Zones) {
		o.Zones = nil
	}
	o.Sources = w.sources
}

// switchable refuses to switch rows on or off that have their own place for it,
// or none.
func (s *Server) switchable(now ports.Service, w wantedRow, settings *telephony.Settings) error {
	refuse := func(reason string) error { return &telephony.FieldError{Field: "enabled", Reason: reason} }
	switch {
	case w.on == (now.DefaultOn && now.Available):
		return nil
	case w.on && !now.Available:
		return refuse("this version has no listener for it")
	case now.IsSignalling():
		return refuse("create or delete the transport in the list of SIP transports")
	case now.ID == ports.Portal:
		return refuse("the portal cannot be switched off")
	case now.Wrap == ports.RTP:
		return refuse("calls need it; it is open only while a call holds it")
	case now.ID == ports.SSH:
		return s.enableSSH(w.on)(settings)
	}
	return nil
}

// movable refuses a port that another row or program has.
func (s *Server) movable(now ports.Service, w wantedRow, overrides []ports.Override) error {
	if w.port == now.First {
		return nil
	}
	if now.Range() {
		return &telephony.FieldError{Field: "port", Reason: "the range stays; it is " + now.Ports()}
	}
	if err := ports.Taken(overrides, w.id, w.port); err != nil {
		return conflict("port", err.Error())
	}
	moved := now
	moved.First, moved.Last = w.port, w.port
	if err := s.cfg.Live.PortFree(moved); err != nil {
		return conflict("port", err.Error())
	}
	return nil
}

// staysIn asks back before the portal is closed to who asks.
func (s *Server) staysIn(ctx context.Context, anyway bool, w wantedRow) error {
	from := callerOf(ctx).actor().Addr.Unmap().WithZone("")
	if w.id != ports.Portal || anyway || !from.IsValid() || from.IsLoopback() {
		return nil
	}
	if len(w.sources) > 0 && !slices.ContainsFunc(w.sources, func(p netip.Prefix) bool { return p.Contains(from) }) {
		return askBack(fmt.Sprintf("the sources do not hold %s, from where you are asking: you would be shut out yourself", from))
	}
	zones := s.cfg.Live.ZonesOf(ctx, from, localOf(ctx).Unmap().WithZone(""))
	if zones == nil || slices.ContainsFunc(zones, func(z ports.Zone) bool { return slices.Contains(w.zones, z) }) {
		return nil
	}
	return askBack(fmt.Sprintf("you are asking from %s, of the zone %s: you would be shut out yourself", from, zones[0]))
}
