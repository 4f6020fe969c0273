package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
	"ringfence/provision"
)

// numberPath is the extension of a path.
type numberPath struct {
	Number string `path:"number" pattern:"^[0-9]{2,9}$" maxLength:"9" doc:"Extension number."`
}

// extensionQuery selects a page of extensions.
type extensionQuery struct {
	After string `query:"after" maxLength:"9" pattern:"^[0-9]{2,9}$" doc:"next of the page before; empty for the first. By number only."`
	Limit int    `query:"limit" minimum:"1" maximum:"10000" default:"10000"`
	Sort  string `query:"sort" enum:"number,display_name" default:"number"`
}

type sipPasswordPut struct {
	Number string `path:"number" pattern:"^[0-9]{2,9}$" maxLength:"9" doc:"Extension number."`
	Body   OwnSIPPassword
}

type extensionPut struct {
	Number string `path:"number" pattern:"^[0-9]{2,9}$" maxLength:"9" doc:"Extension number."`
	Body   ExtensionUpdate
}

// extensionFields are the names of domain fields in the API where they differ.
func extensionFields() map[string]string {
	m := map[string]string{"no_answer": "body.no_answer_seconds"}
	for _, f := range []string{"forward_always", "forward_busy", "forward_no_answer", "forward_unregistered", "max_calls", "ring_also"} {
		m[f] = "body.call_handling." + f
	}
	return m
}

func (s *Server) registerExtensions() {
	const one = "/extensions/{number}"
	handle(s, operation{id: "list-extensions", method: http.MethodGet, path: "/extensions", tag: "extensions", summary: "List the extensions", access: manageExtensions}, s.listExtensions)
	handle(s, operation{id: "create-extension", method: http.MethodPost, path: "/extensions", tag: "extensions", summary: "Create an extension; answers its SIP password once", access: manageExtensions, status: http.StatusCreated, errors: []int{http.StatusConflict}, fields: extensionFields()}, s.createExtension)
	handle(s, operation{id: "get-extension", method: http.MethodGet, path: one, tag: "extensions", summary: "Read an extension", access: manageExtensions, errors: []int{http.StatusNotFound}}, s.getExtension)
	handle(s, operation{id: "put-extension", method: http.MethodPut, path: one, tag: "extensions", summary: "Change an extension", access: manageExtensions, errors: []int{http.StatusNotFound, http.StatusConflict}, fields: extensionFields()}, s.putExtension)
	handle(s, operation{id: "delete-extension", method: http.MethodDelete, path: one, tag: "extensions", summary: "Delete an extension", access: manageExtensions, status: http.StatusNoContent, errors: []int{http.StatusNotFound, http.StatusConflict}}, s.deleteExtension)
	handle(s, operation{id: "renew-sip-password", method: http.MethodPost, path: one + "/sip-password", tag: "extensions", summary: "Generate a new SIP password; answers it once", access: manageExtensions, errors: []int{http.StatusNotFound}}, s.renewSIPPassword)
	handle(s, operation{id: "put-sip-password", method: http.MethodPut, path: one + "/sip-password", tag: "extensions", summary: "Set or generate the SIP password; answers it once", access: manageExtensions, errors: []int{http.StatusNotFound}, fields: map[string]string{"password": "body.sip_password"}}, s.putSIPPassword)
}

func (s *Server) registerProvisioning() {
	const path = "/extensions/{number}/provisioning"
	handle(s, operation{id: "get-provisioning", method: http.MethodGet, path: path, tag: "extensions", summary: "Where the phones fetch their configuration", access: manageExtensions, errors: []int{http.StatusNotFound}}, s.getProvisioning)
	handle(s, operation{id: "rotate-provisioning", method: http.MethodPost, path: path, tag: "extensions", summary: "Move the configuration to a new address; the old one is gone", access: manageExtensions, errors: []int{http.StatusNotFound}}, s.rotateProvisioning)
}

func (s *Server) listExtensions(ctx context.Context, in *extensionQuery) (*body[ExtensionList], error) {
	tenant := callerOf(ctx).tenant
	all := s.cfg.Store.Snapshot().Extensions(tenant) // by number
	if in.Sort == "number" && in.After != "" {
		i := slices.IndexFunc(all, func(e telephony.Extension) bool { return compareNumbers(e.Number, in.After) > 0 })
		if i < 0 {
			i = len(all)
		}
		all = all[i:]
	}
	if in.Sort == "display_name" {
		all = slices.Clone(all)
		slices.SortStableFunc(all, func(a, b telephony.Extension) int {
			return cmp.Compare(strings.ToLower(a.DisplayName), strings.ToLower(b.DisplayName))
		})
	}
	out := ExtensionList{Items: make([]Extension, 0, min(len(all), in.Limit))}
	count := s.registrationCounts(tenant)
	for _, e := range all[:min(len(all), in.Limit)] {
		out.Items = append(out.Items, extensionOf(e, count[e.Number]))
	}
	if len(all) > in.Limit && in.Sort == "number" {
		out.Next = all[in.Limit-1].Number
	}
	return &body[ExtensionList]{out}, nil
}

func (s *Server) registrationCounts(tenant telephony.TenantID) map[string]int {
	count := make(map[string]int)
	for _, b := range s.cfg.Live.Registrations(tenant) {
		count[b.AOR.User]++
	}
	return count
}

func extensionOf(e telephony.Extension, registrations int) Extension {
	return Extension{Number: e.Number, DisplayName: e.DisplayName, NoAnswerSeconds: int(e.NoAnswer / time.Second), Registrations: registrations, MediaSecurity: string(e.Media), DTMF: string(e.DTMF), Handling: handlingOf(e.Handling),
		Role: string(e.OwnRole), EffectiveRole: string(e.Role), Groups: append([]string{}, e.Groups...), EmergencyLocation: e.EmergencyLocation, EmergencyCallback: e.EmergencyCallback}
}

func handlingOf(h telephony.CallHandling) CallHandling {
	if h.RingAlso == nil {
		h.RingAlso = []string{}
	}
	return CallHandling(h)
}

// handling is what was asked for, or what there was.
func handling(asked *CallHandling, old telephony.CallHandling) telephony.CallHandling {
	if asked == nil {
		return old
	}
	return telephony.CallHandling(*asked)
}

// find reads one extension of the caller's tenant.
func (s *Server) find(ctx context.Context, number string) (telephony.Extension, error) {
	e, ok := s.cfg.Store.Snapshot().Extension(callerOf(ctx).tenant, number)
	if !ok {
		return e, store.ErrNotFound
	}
	return e, nil
}

// change runs fn as one commit in the caller's tenant.
func (s *Server) change(ctx context.Context, fn func(*store.Tx) error) error {
	c := callerOf(ctx)
	_, err := s.cfg.Store.ForTenant(c.tenant).Update(ctx, c.actor(), fn)
	return err
}

func (s *Server) credentials(ctx context.Context, e telephony.Extension, password string) *body[SIPCredentials] {
	t, _ := s.cfg.Store.Snapshot().Tenant(callerOf(ctx).tenant)
	return &body[SIPCredentials]{SIPCredentials{Number: e.Number, DisplayName: e.DisplayName, SIPUser: e.Number, SIPPassword: password, Domain: t.Domain}}
}

func (s *Server) createExtension(ctx context.Context, in *body[ExtensionCreate]) (*body[SIPCredentials], error) {
	e := telephony.Extension{Tenant: callerOf(ctx).tenant, Number: in.Body.Number, OwnRole: telephony.Role(in.Body.Role), DisplayName: in.Body.DisplayName, NoAnswer: time.Duration(in.Body.NoAnswerSeconds) * time.Second, Media: telephony.MediaSecurity(in.Body.MediaSecurity), DTMF: telephony.DTMF(in.Body.DTMF), Handling: handling(in.Body.Handling, telephony.CallHandling{}),
		EmergencyLocation: in.Body.EmergencyLocation, EmergencyCallback: in.Body.EmergencyCallback}
	password, err := s.newSIPPassword(ctx, e, in.Body.SIPPassword)
	if err != nil {
		return nil, inField(err, "password", "sip_password")
	}
	if err := s.mayGive(ctx, "role", e.OwnRole); err != nil {
		return nil, err
	}
	err = s.change(ctx, func(tx *store.Tx) error {
		_, err := tx.CreateExtension(e, password)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.credentials(ctx, e, password), nil
}

// newSIPPassword is the SIP password that was asked for, if it is one for the
// extension, or a generated one.
func (s *Server) newSIPPassword(ctx context.Context, e telephony.Extension, password string) (string, error) {
	if password == "" {
		return s.sipPassword(ctx), nil
	}
	return password, busy(s.cfg.Login.CheckSIPPassword(ctx, e, password))
}

func (s *Server) getExtension(ctx context.Context, in *numberPath) (*body[Extension], error) {
	e, err := s.find(ctx, in.Number)
	if err != nil {
		return nil, err
	}
	return &body[Extension]{extensionOf(e, s.registrationCounts(e.Tenant)[e.Number])}, nil
}

func (s *Server) putExtension(ctx context.Context, in *extensionPut) (*body[Extension], error) {
	if err := s.mayGive(ctx, "role", telephony.Role(in.Body.Role)); err != nil {
		return nil, err
	}
	err := s.change(ctx, func(tx *store.Tx) error {
		old, err := tx.Extension(in.Number)
		if err != nil {
			return err
		}
		set(&old.EmergencyLocation, in.Body.EmergencyLocation)
		set(&old.EmergencyCallback, in.Body.EmergencyCallback)
		return tx.PutExtension(telephony.Extension{
			EmergencyLocation: old.EmergencyLocation, EmergencyCallback: old.EmergencyCallback,
			Number: in.Number, OwnRole: telephony.Role(in.Body.Role), DisplayName: in.Body.DisplayName,
			NoAnswer: time.Duration(in.Body.NoAnswerSeconds) * time.Second,
			Media:    telephony.MediaSecurity(in.Body.MediaSecurity),
			DTMF:     telephony.DTMF(in.Body.DTMF),
			Handling: handling(in.Body.Handling, old.Handling),
		})
	})
	if err != nil {
		return nil, err
	}
	return s.getExtension(ctx, &numberPath{in.Number})
}

func (s *Server) deleteExtension(ctx context.Context, in *numberPath) (*struct{}, error) {
	return nil, s.change(ctx, func(tx *store.Tx) error { return tx.DeleteExtension(in.Number) })
}

func (s *Server) renewSIPPassword(ctx context.Context, in *numberPath) (*body[SIPCredentials], error) {
	return s.putSIPPassword(ctx, &sipPasswordPut{Number: in.Number})
}

func (s *Server) putSIPPassword(ctx context.Context, in *sipPasswordPut) (*body[SIPCredentials], error) {
	e, err := s.find(ctx, in.Number)
	if err != nil {
		return nil, err
	}
	password, err := s.newSIPPassword(ctx, e, in.Body.SIPPassword)
	if err != nil {
		return nil, err
	}
	if err := s.change(ctx, func(tx *store.Tx) error { return tx.SetSIPPassword(in.Number, password) }); err != nil {
		return nil, err
	}
	return s.credentials(ctx, e, password), nil
}

func (s *Server) getProvisioning(ctx context.Context, in *numberPath) (*body[Provisioning], error) {
	e, err := s.find(ctx, in.Number)
	if err != nil {
		return nil, err
	}
	url := provision.URL(callerOf(ctx).host, e)
	qr, err := provision.QR(url)
	if err != nil {
		return nil, err
	}
	return &body[Provisioning]{Provisioning{URL: url, QR: qr}}, nil
}

func (s *Server) rotateProvisioning(ctx context.Context, in *numberPath) (*body[Provisioning], error) {
	err := s.change(ctx, func(tx *store.Tx) error {
		_, err := tx.RotateProvisionPath(in.Number)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.getProvisioning(ctx, in)
}
