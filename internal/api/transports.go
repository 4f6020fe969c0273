package api

import (
	"context"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"ringfence/internal/ports"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// transportPath is the transport of a path.
type transportPath struct {
	ID string `path:"id" pattern:"^[a-z0-9-]{1,32}$" maxLength:"32" doc:"Identifier of the transport."`
}

func (s *Server) registerTransports() {
	handle(s, operation{id: "list-transports", method: http.MethodGet, path: "/transports", tag: "box", summary: "SIP transports that exist", access: systemOnly}, s.listTransports)
	handle(s, operation{id: "create-transport", method: http.MethodPost, path: "/transports", tag: "box", summary: "Create a SIP transport; listener and packet filter follow at once", access: systemOnly, status: http.StatusCreated, errors: []int{http.StatusConflict}}, s.createTransport)
	certificates := map[string]string{"client_certificates": "body.mode", "client_authorities": "body.authorities"}
	handle(s, operation{id: "get-client-certificates", method: http.MethodGet, path: "/client-certificates", tag: "box", summary: "Whether phones show a certificate on SIP over TLS", access: systemOnly}, s.getClientCertificates)
	handle(s, operation{id: "put-client-certificates", method: http.MethodPut, path: "/client-certificates", tag: "box", summary: "Change whether phones show a certificate; for connections from now on", access: systemOnly, fields: certificates}, s.putClientCertificates)
	handle(s, operation{id: "delete-transport", method: http.MethodDelete, path: "/transports/{id}", tag: "box", summary: "Delete a SIP transport; its connections end, calls on others go on", access: systemOnly, status: http.StatusNoContent, errors: []int{http.StatusNotFound, http.StatusConflict}}, s.deleteTransport)
}

func transportOf(p PortState) Transport {
	t := Transport{
		ID: string(p.Service.ID), Name: p.Service.Name, Side: string(p.Service.Side), Protocol: p.Service.Protocol(),
		Port: int(p.Service.First), State: "listening", Error: p.Err,
	}
	if p.Err != "" {
		t.State = "error"
	}
	return t
}

func (s *Server) listTransports(context.Context, *noInput) (*body[TransportList], error) {
	out := TransportList{Items: []Transport{}}
	for _, p := range s.cfg.Live.Transports() {
		out.Items = append(out.Items, transportOf(p))
	}
	return &body[TransportList]{out}, nil
}

// transport finds one that exists.
func (s *Server) transport(id ports.ID) (PortState, bool) {
	all := s.cfg.Live.Transports()
	i := slices.IndexFunc(all, func(p PortState) bool { return p.Service.ID == id })
	if i < 0 {
		return PortState{}, false
	}
	return all[i], true
}

func (s *Server) createTransport(ctx context.Context, in *body[TransportCreate]) (*body[Transport], error) {
	row, ok := ports.Signalling(ports.Side(in.Body.Side), in.Body.Protocol)
	if !ok || !row.Available {
		return nil, &telephony.FieldError{Field: "protocol", Reason: "the " + in.Body.Side + " side has no transport over " + in.Body.Protocol}
	}
	standard := row.First
	if in.Body.Port != 0 {
		row.First, row.Last = uint16(in.Body.Port), uint16(in.Body.Port)
	}
	on := true
	o := ports.Override{ID: row.ID, Enabled: &on}
	if row.First != standard {
		o.First, o.Last = row.First, row.Last
	}
	err := s.changeTransports(ctx, func(now []ports.Override) ([]ports.Override, error) {
		if _, exists := s.transport(row.ID); exists {
			return nil, conflict("protocol", "this transport exists; delete it first to move it to another port")
		}
		if err := ports.Taken(now, row.ID, row.First); err != nil {
			return nil, conflict("port", err.Error())
		}
		if err := s.cfg.Live.PortFree(row); err != nil {
			return nil, conflict("port", err.Error())
		}
		return ports.Put(now, o), nil
	})
	if err != nil {
		return nil, err
	}
	return &body[Transport]{transportOf(PortState{Service: row})}, nil
}

func (s *Server) deleteTransport(ctx context.Context, in *transportPath) (*struct{}, error) {
	id, off := ports.ID(in.ID), false
	return nil, s.changeTransports(ctx, func(now []ports.Override) ([]ports.Override, error) {
		if _, exists := s.transport(id); !exists {
			return nil, store.ErrNotFound
		}
		return ports.Put(now, ports.Override{ID: id, Enabled: &off}), nil
	})
}

// changeTransports stores other overrides of the port table as one commit.
// What the table as a whole does not allow is a conflict with the other rows.
func (s *Server) changeTransports(ctx context.Context, change func([]ports.Override) ([]ports.Override, error)) error {
	err := s.changeSettings(ctx, func(settings *telephony.Settings) (err error) {
		settings.Ports, err = change(settings.Ports)
		return err
	})
	if fe, ok := telephony.AsFieldError(err); ok && fe.Field == "ports" {
		return conflict("port", fe.Reason)
	}
	return err
}

func (s *Server) getClientCertificates(context.Context, *noInput) (*body[ClientCertificates], error) {
	settings := s.cfg.Store.Snapshot().Settings
	return &body[ClientCertificates]{ClientCertificates{Mode: settings.ClientCertificates, Authorities: settings.ClientAuthorities}}, nil
}

func (s *Server) putClientCertificates(ctx context.Context, in *body[ClientCertificates]) (*body[ClientCertificates], error) {
	err := s.changeSettings(ctx, func(settings *telephony.Settings) error {
		settings.ClientCertificates, settings.ClientAuthorities = in.Body.Mode, in.Body.Authorities
		return nil
	})
	if err != nil {
		return nil, err
	}
	return in, nil
}

// changeSettings changes settings of the box as one commit.
func (s *Server) changeSettings(ctx context.Context, change func(*telephony.Settings) error) error {
	_, err := s.cfg.Store.System().Update(ctx, callerOf(ctx).actor(), func(tx *store.Tx) error {
		settings, err := tx.Settings()
		if err != nil {
			return err
		}
		if err := change(&settings); err != nil {
			return err
		}
		return tx.PutSettings(settings)
	})
	return err
}

// conflict is a refusal because of what is there already, at a field of the
// form.
func conflict(field, reason string) error {
	p := problem(http.StatusConflict, reason)
	p.Errors = []*huma.ErrorDetail{{Location: "body." + field, Message: reason}}
	return p
}
