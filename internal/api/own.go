package api

import (
	"context"
	"net/http"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// Own is what is the caller's own: the user and the extension.
type Own struct {
	User      User       `json:"user"`
	Extension *Extension `json:"extension,omitempty" doc:"Missing for users without."`
	Dials     []string   `json:"dials" nullable:"false" doc:"Classes of numbers the role may call. Emergency numbers are always allowed."`
}

// OwnSIPPassword is a SIP password that a user sets.
type OwnSIPPassword struct {
	SIPPassword string `json:"sip_password,omitempty" maxLength:"64" format:"password" doc:"Generated when left out. It differs from the user's password."`
}

func (s *Server) registerOwn() {
	gone := []int{http.StatusNotFound}
	handle(s, operation{id: "get-own", method: http.MethodGet, path: "/own", tag: "own", summary: "The own user and extension", access: anyUser}, s.getOwn)
	handle(s, operation{id: "put-own-call-handling", method: http.MethodPut, path: "/own/call-handling", tag: "own", summary: "Change what becomes of calls to the own extension", access: anyUser, errors: gone, fields: ownFields()}, s.putOwnHandling)
	handle(s, operation{id: "list-own-registrations", method: http.MethodGet, path: "/own/registrations", tag: "own", summary: "Phones of the own extension that are registered now", access: anyUser}, s.listOwnRegistrations)
	handle(s, operation{id: "put-own-sip-password", method: http.MethodPut, path: "/own/sip-password", tag: "own", summary: "Set or generate the SIP password of the own extension; answers it once", access: anyUser, errors: gone, fields: map[string]string{"password": "body.sip_password"}}, s.putOwnSIPPassword)
}

// ownFields are the fields of call handling, which is the whole body here.
func ownFields() map[string]string {
	m := make(map[string]string)
	for _, f := range []string{"forward_always", "forward_busy", "forward_no_answer", "forward_unregistered", "max_calls", "ring_also"} {
		m[f] = "body." + f
	}
	return m
}

func (s *Server) getOwn(ctx context.Context, _ *noInput) (*body[Own], error) {
	c := callerOf(ctx)
	out := Own{User: userOf(c.session.User), Dials: namesOf(c.rights.Classes)}
	if e, _, ok := s.ownExtension(c); ok {
		shown := extensionOf(e, s.registrationCounts(e.Tenant)[e.Number])
		out.Extension = &shown
	}
	return &body[Own]{out}, nil
}

// changeOwn runs fn as one commit with the caller's own extension, in the tenant
// of the user, whatever the request names.
func (s *Server) changeOwn(ctx context.Context, fn func(*store.Tx, telephony.Extension) error) error {
	c := callerOf(ctx)
	e, t, ok := s.ownExtension(c)
	if !ok {
		return store.ErrNotFound
	}
	_, err := s.cfg.Store.ForTenant(t.ID).Update(ctx, c.actor(), func(tx *store.Tx) error {
		now, err := tx.Extension(e.Number)
		if err != nil {
			return err
		}
		return fn(tx, now)
	})
	return err
}

func (s *Server) putOwnHandling(ctx context.Context, in *body[CallHandling]) (*body[Own], error) {
	err := s.changeOwn(ctx, func(tx *store.Tx, e telephony.Extension) error {
		e.Handling = telephony.CallHandling(in.Body)
		return tx.PutExtension(e)
	})
	if err != nil {
		return nil, err
	}
	return s.getOwn(ctx, nil)
}

func (s *Server) listOwnRegistrations(ctx context.Context, _ *noInput) (*body[RegistrationList], error) {
	out := RegistrationList{Items: []Registration{}}
	e, t, ok := s.ownExtension(callerOf(ctx))
	if !ok {
		return &body[RegistrationList]{out}, nil
	}
	for _, b := range s.cfg.Live.Registrations(t.ID) {
		if b.AOR.User == e.Number {
			out.Items = append(out.Items, registrationOf(b))
		}
	}
	return &body[RegistrationList]{out}, nil
}

func (s *Server) putOwnSIPPassword(ctx context.Context, in *body[OwnSIPPassword]) (*body[SIPCredentials], error) {
	e, t, ok := s.ownExtension(callerOf(ctx))
	if !ok {
		return nil, store.ErrNotFound
	}
	password, err := s.newSIPPassword(ctx, e, in.Body.SIPPassword)
	if err != nil {
		return nil, err
	}
	err = s.changeOwn(ctx, func(tx *store.Tx, e telephony.Extension) error { return tx.SetSIPPassword(e.Number, password) })
	if err != nil {
		return nil, err
	}
	return &body[SIPCredentials]{SIPCredentials{Number: e.Number, DisplayName: e.DisplayName, SIPUser: e.Number, SIPPassword: password, Domain: t.Domain}}, nil
}
