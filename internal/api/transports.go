package api

import (
	"context"
	"maps"
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
	handle(s, operation{id: "put-transport", method: http.MethodPut, path: "/transports/{id}", tag: "box", summary: "Change the digest algorithms of a SIP transport; for requests from now on", access: systemOnly, errors: []int{http.StatusNotFound, http.StatusConflict}}, s.putTransport)
	handle(s, operation{id: "delete-transport", method: http.MethodDelete, path: "/transports/{id}", tag: "box", summary: "Delete a SIP transport; its connections end, calls on others go on", access: systemOnly, status: http.StatusNoContent, errors: []int{http.StatusNotFound, http.StatusConflict}}, s.deleteTransport)
}

// transportPut changes the transport of a path.
type transportPut struct {
	ID   string `path:"id" pattern:"^[a-z0-9-]{1,32}$" maxLength:"32" doc:"Identifier of the transport."`
	Body TransportUpdate
}

func (s *Server) transportOf(p PortState) Transport {
	t := Transport{
		ID: string(p.Service.ID), Name: p.Service.Name, Side: string(p.Service.Side), Protocol: p.Service.Protocol(),
		Port: int(p.Service.First), State: "listening", Error: p.Err, Digest: ownDigest,
	}
	if d := s.cfg.Store.Snapshot().Settings.ListenerDigests[p.Service.ID]; d != "" {
		t.Digest = string(d)
	}
	if p.Err != "" {
		t.State = "error"
	}
	return t
}

func (s *Server) listTransports(context.Context, *noInput) (*body[TransportList], error) {
	out := TransportList{Items: []Transport{}}
	for _, p := range s.cfg.Live.Transports() {
		out.Items = append(out.Items, s.transportOf(p))
	}
	return &body[TransportList]{out}, nil
}

// ownDigest is the digest of a transport that offers what each organisation does.
const ownDigest = "default"

// setDigest changes the digest of one transport.
func setDigest(settings *telephony.Settings, id ports.ID, digest string) {
	digests := maps.Clone(settings.ListenerDigests)
	if digests == nil {
		digests = make(map[ports.ID]telephony.Digest)
	}
	if digest == "" || digest == ownDigest {
		delete(digests, id)
	} else {
		digests[id] = telephony.Digest(digest)
	}
	settings.ListenerDigests = digests
}

func (s *Server) putTransport(ctx context.Context, in *transportPut) (*body[Transport], error) {
	id := ports.ID(in.ID)
	err := s.changeSettings(ctx, func(settings *telephony.Settings) error {
		if _, exists := s.transport(id); !exists {
			return store.ErrNotFound
		}
		setDigest(settings, id, in.Body.Digest)
		return nil
	})
	if err != nil {
		return nil, err
	}
	now, exists := s.transport(id)
	if !exists {
		return nil, store.ErrNotFound
	}
	return &body[Transport]{s.transportOf(now)}, nil
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
	err := s.changeTransports(ctx, row.ID, in.Body.Digest, func(now []ports.Override) ([]ports.Override, error) {
		if _, exists := s.transport(row.ID); exists {
			return nil, conflict("protocol", "this transport exists; delete it first to move it to another port")
		}
		if err := ports.Taken(now, row.ID, row.First); err != nil {
			return nil, conflict("port", err.Error())
		}
		if err := s.cfg.Live.PortFree(row); err != nil {
			return nil, conflict("port", err.Error())
		}
		return ports.Change(now, row.ID, func(o *ports.Override) {
			o.Enabled, o.First, o.Last = &on, 0, 0
			if row.First != standard {
				o.First, o.Last = row.First, row.Last
			}
		}), nil
	})
	if err != nil {
		return nil, err
	}
	return &body[Transport]{s.transportOf(PortState{Service: row})}, nil
}

func (s *Server) deleteTransport(ctx context.Context, in *transportPath) (*struct{}, error) {
	id, off := ports.ID(in.ID), false
	return nil, s.changeTransports(ctx, id, ownDigest, func(now []ports.Override) ([]ports.Override, error) {
		if _, exists := s.transport(id); !exists {
			return nil, store.ErrNotFound
		}
		return ports.Change(now, id, func(o *ports.Override) {
			// Whom it was for still holds when it is made anew.
			o.Enabled, o.First, o.Last = &off, 0, 0
		}), nil
	})
}

// changeTransports stores other overrides of the port table, and the digest of
// transport id, as one commit. What the table as a whole does not allow is a
// conflict with the other rows.
func (s *Server) changeTransports(ctx context.Context, id ports.ID, digest string, change func([]ports.Override) ([]ports.Override, error)) error {
	err := s.changeSettings(ctx, func(settings *telephony.Settings) (err error) {
		setDigest(settings, id, digest)
		settings.Ports, err = change(settings.Ports)
		return err
	})
	if fe, ok := telephony.AsFieldError(err); ok && fe.Field == "ports" {
		return conflict("port", fe.Reason)
	}
	return err
}

// changeSettings changes settings of the box as one commit.
func (s *Server) changeSettings(ctx context.Context, change func(*telephony.Settings) error) error {
	_, err := s.cfg.Store.System().Update(ctx, callerOf(ctx).actor(), changing(change))
	return err
}

// changing is a change of settings as a transaction.
func changing(change func(*telephony.Settings) error) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		settings, err := tx.Settings()
		if err != nil {
			return err
		}
		if err := change(&settings); err != nil {
			return err
		}
		return tx.PutSettings(settings)
	}
}

// conflict is a refusal because of what is there already, at a field of the
// form.
func conflict(field, reason string) error {
	p := problem(http.StatusConflict, reason)
	p.Errors = []*huma.ErrorDetail{{Location: "body." + field, Message: reason}}
	return p
}
