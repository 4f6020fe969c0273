package api

import (
	"context"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// Role is what a role allows.
type Role struct {
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Permissions []string `json:"permissions" nullable:"false"`
	Classes     []string `json:"classes" nullable:"false" doc:"Numbers its extensions may dial. Emergency numbers are always allowed."`
	BuiltIn     bool     `json:"built_in" doc:"Every organisation has it, and nobody changes it."`
}

// RoleList lists roles, with what a role can allow.
type RoleList struct {
	Items       []Role   `json:"items" nullable:"false"`
	Permissions []string `json:"permissions" nullable:"false" doc:"All there are."`
	Classes     []string `json:"classes" nullable:"false" doc:"All there are."`
}

// RoleInput replaces what a role allows.
type RoleInput struct {
	Description string   `json:"description,omitempty" maxLength:"100"`
	Permissions []string `json:"permissions" maxItems:"50" nullable:"false" enum:"tenant.manage,users.manage,roles.manage,extensions.manage,trunks.manage,rules.manage,calls.manage,cdr.read_all,recordings.read_all,audit.read,security.manage,reports"`
	Classes     []string `json:"classes" maxItems:"20" nullable:"false" enum:"internal,local,national,mobile,international,premium"`
}

// RoleCreate is a new role.
type RoleCreate struct {
	Name string `json:"name" pattern:"^[a-z][a-z0-9_]{1,31}$"`
	RoleInput
}

// RolePath is the role of a path.
type RolePath struct {
	Role string `path:"role" pattern:"^[a-z][a-z0-9_]{1,31}$" maxLength:"32" doc:"Name of the role."`
}

type rolePut struct {
	RolePath
	Precondition
	Body RoleInput
}

func (s *Server) registerRoles() {
	const one = "/roles/{role}"
	handle(s, operation{id: "list-roles", method: http.MethodGet, path: "/roles", tag: "users", summary: "List the roles of the organisation", access: anyAdmin}, s.listRoles)
	handle(s, operation{id: "get-role", method: http.MethodGet, path: one, tag: "users", summary: "Read a role", access: anyAdmin, errors: []int{http.StatusNotFound}}, s.getRole)
	handle(s, operation{id: "create-role", method: http.MethodPost, path: "/roles", tag: "users", summary: "Add a role; it cannot allow more than one's own", access: manageRoles, status: http.StatusCreated, errors: []int{http.StatusConflict}}, s.createRole)
	handle(s, operation{id: "put-role", method: http.MethodPut, path: one, tag: "users", summary: "Change a role; in force at the next request and the next call", access: manageRoles, errors: []int{http.StatusNotFound, http.StatusPreconditionFailed}}, s.putRole)
	handle(s, operation{id: "delete-role", method: http.MethodDelete, path: one, tag: "users", summary: "Delete a role that nobody has", access: manageRoles, status: http.StatusNoContent, errors: []int{http.StatusNotFound, http.StatusConflict}}, s.deleteRole)
}

// namesOf are names as strings; never nil.
func namesOf[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = string(v)
	}
	return out
}

// namesTo are strings as names.
func namesTo[T ~string](list []string) []T {
	out := make([]T, len(list))
	for i, v := range list {
		out[i] = T(v)
	}
	return out
}

func roleOf(r telephony.RoleDefinition) Role {
	return Role{Name: string(r.Name), Description: r.Description, Permissions: namesOf(r.Permissions), Classes: namesOf(r.Classes), BuiltIn: r.BuiltIn}
}

func (in RoleInput) role(name string) telephony.RoleDefinition {
	return telephony.RoleDefinition{Name: telephony.Role(name), Description: in.Description,
		Permissions: namesTo[telephony.Permission](in.Permissions), Classes: namesTo[telephony.CallClass](in.Classes)}
}

func (s *Server) listRoles(ctx context.Context, _ *noInput) (*body[RoleList], error) {
	out := RoleList{Items: []Role{}, Permissions: namesOf(telephony.Permissions()), Classes: namesOf(telephony.CallClasses())}
	for _, r := range s.cfg.Store.Snapshot().Roles(callerOf(ctx).tenant) {
		out.Items = append(out.Items, roleOf(r))
	}
	return &body[RoleList]{out}, nil
}

func (s *Server) getRole(ctx context.Context, in *RolePath) (*tagged[Role], error) {
	r, ok := s.cfg.Store.Snapshot().Role(callerOf(ctx).tenant, telephony.Role(in.Role))
	if !ok || r.Name == telephony.RoleSystemAdmin {
		return nil, store.ErrNotFound
	}
	return tag(roleOf(r)), nil
}

// beyond refuses to hand out more than the caller's own role allows.
func beyond(field string) error {
	p := problem(http.StatusForbidden, "this allows more than your own role does")
	p.Errors = []*huma.ErrorDetail{{Location: "body." + field, Message: "allows more than your own role does"}}
	return p
}

// mayGive refuses a role that allows more than the caller's own. One that is not
// there is the store's to refuse.
func (s *Server) mayGive(ctx context.Context, field string, name telephony.Role) error {
	c := callerOf(ctx)
	if r, ok := s.cfg.Store.Snapshot().Role(c.tenant, name); ok && !r.Within(c.rights) {
		return beyond(field)
	}
	return nil
}

func (s *Server) createRole(ctx context.Context, in *body[RoleCreate]) (*tagged[Role], error) {
	r := in.Body.role(in.Body.Name)
	if !r.Within(callerOf(ctx).rights) {
		return nil, beyond("permissions")
	}
	if err := s.change(ctx, func(tx *store.Tx) error { return tx.CreateRole(r) }); err != nil {
		return nil, err
	}
	return s.getRole(ctx, &RolePath{in.Body.Name})
}

func (s *Server) putRole(ctx context.Context, in *rolePut) (*tagged[Role], error) {
	r := in.Body.role(in.Role)
	if !r.Within(callerOf(ctx).rights) {
		return nil, beyond("permissions")
	}
	if err := s.mayGive(ctx, "permissions", r.Name); err != nil {
		return nil, err // a role mightier than the caller's is not the caller's to cut down
	}
	err := s.change(ctx, func(tx *store.Tx) error {
		if !r.Name.BuiltIn() { // which PutRole refuses by name
			old, err := tx.Role(r.Name)
			if err != nil {
				return err
			}
			if err := in.holds(roleOf(old)); err != nil {
				return err
			}
		}
		return tx.PutRole(r)
	})
	if err != nil {
		return nil, err
	}
	return s.getRole(ctx, &in.RolePath)
}

func (s *Server) deleteRole(ctx context.Context, in *RolePath) (*struct{}, error) {
	name := telephony.Role(in.Role)
	for _, rule := range s.cfg.Store.Snapshot().Routing(callerOf(ctx).tenant).Outbound {
		if slices.Contains(rule.Roles, name) {
			return nil, problem(http.StatusConflict, "the outbound rule "+rule.Name+" asks for this role")
		}
	}
	return nil, s.change(ctx, func(tx *store.Tx) error { return tx.DeleteRole(name) })
}
