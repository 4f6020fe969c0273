package api

import (
	"context"
	"net/http"
	"slices"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// Group is a group of extensions, which outbound rules can ask for.
type Group struct {
	ID      int64    `json:"id"`
	Name    string   `json:"name"`
	Members []string `json:"members" nullable:"false" doc:"Extension numbers."`
}

// GroupList lists groups.
type GroupList struct {
	Items []Group `json:"items" nullable:"false"`
}

// GroupInput is a new group, or replaces one.
type GroupInput struct {
	Name    string   `json:"name" minLength:"1" maxLength:"64"`
	Members []string `json:"members" maxItems:"5000" nullable:"false"`
}

// GroupPath is the group of a path.
type GroupPath struct {
	Group int64 `path:"group" minimum:"1" doc:"Number of the group."`
}

type groupPut struct {
	GroupPath
	Precondition
	Body GroupInput
}

func (s *Server) registerGroups() {
	const one = "/groups/{group}"
	changes := []int{http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed}
	handle(s, operation{id: "list-groups", method: http.MethodGet, path: "/groups", tag: "extensions", summary: "List the groups of extensions", access: anyAdmin}, s.listGroups)
	handle(s, operation{id: "create-group", method: http.MethodPost, path: "/groups", tag: "extensions", summary: "Add a group", access: manageExtensions, status: http.StatusCreated, errors: []int{http.StatusConflict}}, s.createGroup)
	handle(s, operation{id: "get-group", method: http.MethodGet, path: one, tag: "extensions", summary: "Read a group", access: anyAdmin, errors: []int{http.StatusNotFound}}, s.getGroup)
	handle(s, operation{id: "put-group", method: http.MethodPut, path: one, tag: "extensions", summary: "Change a group", access: manageExtensions, errors: changes}, s.putGroup)
	handle(s, operation{id: "delete-group", method: http.MethodDelete, path: one, tag: "extensions", summary: "Delete a group; its members stay", access: manageExtensions, status: http.StatusNoContent, errors: changes}, s.deleteGroup)
}

func groupOf(g telephony.Group) Group { return Group{g.ID, g.Name, append([]string{}, g.Members...)} }

func (s *Server) listGroups(ctx context.Context, _ *noInput) (*body[GroupList], error) {
	all, err := s.cfg.Store.ForTenant(callerOf(ctx).tenant).Groups(ctx)
	if err != nil {
		return nil, err
	}
	out := GroupList{Items: make([]Group, 0, len(all))}
	for _, g := range all {
		out.Items = append(out.Items, groupOf(g))
	}
	return &body[GroupList]{out}, nil
}

func (s *Server) getGroup(ctx context.Context, in *GroupPath) (*tagged[Group], error) {
	g, err := s.cfg.Store.ForTenant(callerOf(ctx).tenant).Group(ctx, in.Group)
	if err != nil {
		return nil, err
	}
	return tag(groupOf(g)), nil
}

func (s *Server) createGroup(ctx context.Context, in *body[GroupInput]) (*tagged[Group], error) {
	g := telephony.Group{Name: in.Body.Name, Members: in.Body.Members}
	err := s.change(ctx, func(tx *store.Tx) (err error) {
		g, err = tx.CreateGroup(g)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.getGroup(ctx, &GroupPath{g.ID})
}

// unused refuses to take a name away that outbound rules ask for.
func (s *Server) unused(ctx context.Context, group string) error {
	for _, rule := range s.cfg.Store.Snapshot().Routing(callerOf(ctx).tenant).Outbound {
		if slices.Contains(rule.Groups, group) {
			return problem(http.StatusConflict, "the outbound rule "+rule.Name+" asks for this group")
		}
	}
	return nil
}

func (s *Server) putGroup(ctx context.Context, in *groupPut) (*tagged[Group], error) {
	err := s.change(ctx, func(tx *store.Tx) error {
		old, err := tx.Group(in.Group)
		if err != nil {
			return err
		}
		if err := in.holds(groupOf(old)); err != nil {
			return err
		}
		if old.Name != in.Body.Name {
			if err := s.unused(ctx, old.Name); err != nil {
				return err
			}
		}
		return tx.PutGroup(telephony.Group{ID: in.Group, Name: in.Body.Name, Members: in.Body.Members})
	})
	if err != nil {
		return nil, err
	}
	return s.getGroup(ctx, &in.GroupPath)
}

func (s *Server) deleteGroup(ctx context.Context, in *GroupPath) (*struct{}, error) {
	return nil, s.change(ctx, func(tx *store.Tx) error {
		old, err := tx.Group(in.Group)
		if err != nil {
			return err
		}
		if err := s.unused(ctx, old.Name); err != nil {
			return err
		}
		return tx.DeleteGroup(in.Group)
	})
}
