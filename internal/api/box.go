package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

func (s *Server) registerBox() {
	handle(s, operation{id: "list-ports", method: http.MethodGet, path: "/ports", tag: "box", summary: "The port table as it stands now", access: admin}, s.listPorts)
	handle(s, operation{id: "put-port", method: http.MethodPut, path: "/ports/{id}", tag: "box", summary: "Change port and reach of a row of the port table; listener and packet filter follow at once", access: systemOnly, errors: []int{http.StatusNotFound, http.StatusConflict}}, s.putPort)
	handle(s, operation{id: "get-status", method: http.MethodGet, path: "/status", tag: "box", summary: "How the box is doing", access: anyAdmin}, s.getStatus)
}

func (s *Server) listPorts(context.Context, *noInput) (*body[PortList], error) {
	return &body[PortList]{PortList{Items: s.portTable()}}, nil
}

// portTable is the whole table, each row with its state.
func (s *Server) portTable() []Port {
	live := s.cfg.Live.Ports()
	overrides := s.cfg.Store.Snapshot().Settings.Ports
	var out []Port
	for _, standard := range ports.Table() {
		row, _ := ports.Row(overrides, standard.ID)
		p := Port{State: "closed", Enabled: row.DefaultOn && row.Available, Sources: networkTexts(row.Sources)}
		if !row.Available && !row.Window {
			p.State = "unavailable"
		}
		i := slices.IndexFunc(live, func(l PortState) bool { return l.Service.ID == row.ID })
		if i >= 0 {
			l := live[i]
			row.First, row.Last = l.Service.First, l.Service.Last
			p.State, p.Error, p.Packets, p.Bytes = "open", l.Err, l.Packets, l.Bytes
			if l.Err != "" {
				p.State = "failed"
			}
		}
		p.ID, p.Name, p.Side, p.Proto = string(row.ID), row.Name, string(row.Side), string(row.Proto)
		p.First, p.Last, p.Speaks = int(row.First), int(row.Last), string(row.Wrap)
		p.DefaultOn, p.Rows, p.Doc = standard.DefaultOn, row.Rows, row.Doc
		for _, z := range row.Zones {
			p.Zones = append(p.Zones, string(z))
		}
		out = append(out, p)
	}
	return out
}

func (s *Server) getStatus(ctx context.Context, _ *noInput) (*body[Status], error) {
	return &body[Status]{s.statusFor(callerOf(ctx))}, nil
}

// statusFor is the status as a caller may see it: notices are about the box,
// which is not the tenants'.
func (s *Server) statusFor(c caller) Status {
	out := s.status(c.tenant)
	if !c.isSystem() {
		out.Notices, out.Clock = []string{}, nil
	} else if t := s.trialState(c); t.Pending != nil || t.Reverted != nil {
		out.Trial = &t
	}
	return out
}

// status is how the box is doing, with the counts of one tenant.
func (s *Server) status(tenant telephony.TenantID) Status {
	snap, health := s.cfg.Store.Snapshot(), s.cfg.Live.Health()
	out := Status{
		Version: s.cfg.Version, Hostname: s.cfg.Hostname, Rev: snap.Rev,
		UptimeSeconds: int64(time.Since(s.started) / time.Second),
		Fence:         health.Fence, Applied: health.Applied, Cloud: health.Cloud, Clock: health.Clock,
		Counts: Counts{
			Extensions:    len(snap.Extensions(tenant)),
			Registrations: len(s.cfg.Live.Registrations(tenant)),
			Calls:         len(s.cfg.Live.Calls(tenant)),
		},
	}
	if out.Cloud == "" {
		out.Cloud = "none"
	}
	out.Notices = append([]string{}, health.Notices...)
	if out.Applied == nil {
		out.Applied = []Applied{}
	}
	return out
}
