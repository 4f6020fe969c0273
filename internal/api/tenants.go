package api

import (
	"context"
	"net/http"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// TenantEntry is one organisation of the box.
type TenantEntry struct {
	ID             int64  `json:"id" doc:"Goes into the header Ringfence-Tenant."`
	Name           string `json:"name" doc:"Name of the organisation."`
	Domain         string `json:"domain" doc:"SIP domain, also the digest realm."`
	ExtensionFirst string `json:"extension_first"`
	ExtensionLast  string `json:"extension_last"`
	TimeZone       string `json:"time_zone" doc:"Name of the IANA database, such as Europe/Berlin."`
	Country        string `json:"country" doc:"ISO 3166, two capital letters, or empty."`
	Tones          string `json:"tones" doc:"Country that tones are made after."`
	MaxExtensions  int    `json:"max_extensions" doc:"How many extensions it may have; 0 is no limit."`
	MaxUsers       int    `json:"max_users" doc:"How many users it may have; 0 is no limit."`
}

// TenantRow is an organisation in the list, with what it has now.
type TenantRow struct {
	TenantEntry
	Extensions    int `json:"extensions"`
	Registrations int `json:"registrations"`
	Calls         int `json:"calls"`
}

// TenantRows lists organisations.
type TenantRows struct {
	Items []TenantRow `json:"items" nullable:"false"`
}

// TenantInput is a new organisation, or replaces one.
type TenantInput struct {
	Name           string `json:"name" minLength:"1" maxLength:"100"`
	Domain         string `json:"domain" minLength:"1" maxLength:"253" doc:"A new domain is a new digest realm: phones must be configured anew."`
	ExtensionFirst string `json:"extension_first" pattern:"^[0-9]{2,9}$"`
	ExtensionLast  string `json:"extension_last" pattern:"^[0-9]{2,9}$"`
	TimeZone       string `json:"time_zone,omitempty" maxLength:"64" doc:"UTC when left out."`
	Country        string `json:"country,omitempty" maxLength:"2"`
	Tones          string `json:"tones,omitempty" enum:"AT,CA,CH,DE,ES,FR,GB,IT,NL,US,ITU" doc:"ITU when left out."`
	MaxExtensions  int    `json:"max_extensions,omitempty" minimum:"0" maximum:"100000"`
	MaxUsers       int    `json:"max_users,omitempty" minimum:"0" maximum:"100000"`
}

// TenantPatch changes what it names.
type TenantPatch struct {
	Name           *string `json:"name,omitempty" minLength:"1" maxLength:"100"`
	Domain         *string `json:"domain,omitempty" minLength:"1" maxLength:"253"`
	ExtensionFirst *string `json:"extension_first,omitempty" pattern:"^[0-9]{2,9}$"`
	ExtensionLast  *string `json:"extension_last,omitempty" pattern:"^[0-9]{2,9}$"`
	TimeZone       *string `json:"time_zone,omitempty" maxLength:"64"`
	Country        *string `json:"country,omitempty" maxLength:"2"`
	Tones          *string `json:"tones,omitempty" enum:"AT,CA,CH,DE,ES,FR,GB,IT,NL,US,ITU"`
	MaxExtensions  *int    `json:"max_extensions,omitempty" minimum:"0" maximum:"100000"`
	MaxUsers       *int    `json:"max_users,omitempty" minimum:"0" maximum:"100000"`
}

// TenantPath is the organisation of a path.
type TenantPath struct {
	Tenant int64 `path:"tenant" minimum:"1" doc:"Number of the organisation."`
}

type tenantChange[T any] struct {
	TenantPath
	Precondition
	Body T
}

func (s *Server) registerTenants() {
	const one = "/tenants/{tenant}"
	changes := []int{http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed}
	handle(s, operation{id: "list-tenants", method: http.MethodGet, path: "/tenants", tag: "tenants", summary: "List the organisations of the box", access: systemOnly}, s.listTenants)
	handle(s, operation{id: "create-tenant", method: http.MethodPost, path: "/tenants", tag: "tenants", summary: "Add an organisation", access: systemOnly, status: http.StatusCreated, errors: []int{http.StatusConflict}}, s.createTenant)
	handle(s, operation{id: "get-tenant-entry", method: http.MethodGet, path: one, tag: "tenants", summary: "Read an organisation", access: systemOnly, errors: []int{http.StatusNotFound}}, s.getTenantEntry)
	handle(s, operation{id: "put-tenant-entry", method: http.MethodPut, path: one, tag: "tenants", summary: "Replace an organisation", access: systemOnly, errors: changes}, s.putTenantEntry)
	handle(s, operation{id: "patch-tenant-entry", method: http.MethodPatch, path: one, tag: "tenants", summary: "Change some fields of an organisation", access: systemOnly, errors: changes}, s.patchTenantEntry)
	handle(s, operation{id: "delete-tenant", method: http.MethodDelete, path: one, tag: "tenants", summary: "Remove an organisation with all that is its own; its calls, registrations and sessions end", access: systemOnly, status: http.StatusNoContent, errors: changes}, s.deleteTenant)
}

func tenantEntryOf(t telephony.Tenant) TenantEntry {
	return TenantEntry{
		ID: int64(t.ID), Name: t.Name, Domain: t.Domain, ExtensionFirst: t.ExtensionFirst, ExtensionLast: t.ExtensionLast,
		TimeZone: t.TimeZone, Country: t.Country, Tones: t.Calls.Tones, MaxExtensions: t.MaxExtensions, MaxUsers: t.MaxUsers,
	}
}

// into replaces what the input has; the rest of the tenant stays.
func (in TenantInput) into(t *telephony.Tenant) {
	t.Name, t.Domain, t.ExtensionFirst, t.ExtensionLast = in.Name, in.Domain, in.ExtensionFirst, in.ExtensionLast
	t.TimeZone, t.Country, t.MaxExtensions, t.MaxUsers = in.TimeZone, in.Country, in.MaxExtensions, in.MaxUsers
	t.Calls = t.Calls.Complete()
	if t.Calls.Tones = in.Tones; in.Tones == "" {
		t.Calls.Tones = telephony.InternationalTones
	}
}

// set takes what a patch names.
func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

func (in TenantPatch) into(t *telephony.Tenant) {
	set(&t.Name, in.Name)
	set(&t.Domain, in.Domain)
	set(&t.ExtensionFirst, in.ExtensionFirst)
	set(&t.ExtensionLast, in.ExtensionLast)
	set(&t.TimeZone, in.TimeZone)
	set(&t.Country, in.Country)
	set(&t.Calls.Tones, in.Tones)
	set(&t.MaxExtensions, in.MaxExtensions)
	set(&t.MaxUsers, in.MaxUsers)
}

func (s *Server) listTenants(context.Context, *noInput) (*body[TenantRows], error) {
	snap := s.cfg.Store.Snapshot()
	registrations, calls := s.liveCounts()
	out := TenantRows{Items: []TenantRow{}}
	for _, t := range snap.Tenants() {
		out.Items = append(out.Items, TenantRow{tenantEntryOf(t), len(snap.Extensions(t.ID)), registrations[t.ID], calls[t.ID]})
	}
	return &body[TenantRows]{out}, nil
}

// liveCounts are registrations and calls of every tenant.
func (s *Server) liveCounts() (registrations, calls map[telephony.TenantID]int) {
	registrations, calls = map[telephony.TenantID]int{}, map[telephony.TenantID]int{}
	for _, b := range s.cfg.Live.Registrations(telephony.System) {
		registrations[b.Tenant]++
	}
	for _, c := range s.cfg.Live.Calls(telephony.System) {
		calls[c.Tenant]++
	}
	return registrations, calls
}

// changeBox runs fn as one commit in the box's scope.
func (s *Server) changeBox(ctx context.Context, fn func(*store.Tx) error) error {
	_, err := s.cfg.Store.System().Update(ctx, callerOf(ctx).actor(), fn)
	return err
}

func (s *Server) createTenant(ctx context.Context, in *body[TenantInput]) (*tagged[TenantEntry], error) {
	var t telephony.Tenant
	in.Body.into(&t)
	err := s.changeBox(ctx, func(tx *store.Tx) (err error) {
		t.ID, err = tx.CreateTenant(t)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.getTenantEntry(ctx, &TenantPath{int64(t.ID)})
}

func (s *Server) getTenantEntry(_ context.Context, in *TenantPath) (*tagged[TenantEntry], error) {
	t, ok := s.cfg.Store.Snapshot().Tenant(telephony.TenantID(in.Tenant))
	if !ok {
		return nil, store.ErrNotFound
	}
	return tag(tenantEntryOf(t)), nil
}

func (s *Server) putTenantEntry(ctx context.Context, in *tenantChange[TenantInput]) (*tagged[TenantEntry], error) {
	return s.alterTenant(ctx, in.TenantPath, in.Precondition, in.Body.into)
}

func (s *Server) patchTenantEntry(ctx context.Context, in *tenantChange[TenantPatch]) (*tagged[TenantEntry], error) {
	return s.alterTenant(ctx, in.TenantPath, in.Precondition, in.Body.into)
}

func (s *Server) alterTenant(ctx context.Context, path TenantPath, match Precondition, alter func(*telephony.Tenant)) (*tagged[TenantEntry], error) {
	err := s.changeBox(ctx, func(tx *store.Tx) error {
		one, err := tx.ForTenant(telephony.TenantID(path.Tenant))
		if err != nil {
			return err
		}
		t, err := one.Tenant()
		if err != nil {
			return err
		}
		if err := match.holds(tenantEntryOf(t)); err != nil {
			return err
		}
		alter(&t)
		return one.PutTenant(t)
	})
	if err != nil {
		return nil, err
	}
	return s.getTenantEntry(ctx, &path)
}

func (s *Server) deleteTenant(ctx context.Context, in *TenantPath) (*struct{}, error) {
	return nil, s.changeBox(ctx, func(tx *store.Tx) error { return tx.DeleteTenant(telephony.TenantID(in.Tenant)) })
}
