package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ringfence/internal/telephony"
)

const groupQuery = `SELECT g.tenant_id, g.id, g.name, coalesce((SELECT group_concat(e.number, ',')
	FROM extension_group_member m JOIN extension e ON e.tenant_id = m.tenant_id AND e.id = m.extension_id
	WHERE m.tenant_id = g.tenant_id AND m.group_id = g.id), '') FROM extension_group g`

func scanGroup(scan func(...any) error) (g telephony.Group, err error) {
	var members string
	err = scan(&g.Tenant, &g.ID, &g.Name, &members)
	g.Members = split(members)
	slices.SortFunc(g.Members, byNumber)
	return g, err
}

// byNumber orders extension numbers as people count.
func byNumber(a, b string) int {
	if d := len(a) - len(b); d != 0 {
		return d
	}
	return strings.Compare(a, b)
}

// Groups lists the groups of the scope's tenant by name.
func (sc Scope) Groups(ctx context.Context) ([]telephony.Group, error) {
	out, err := collect(ctx, sc.s.readers, scanGroup, groupQuery+` WHERE g.tenant_id = ? ORDER BY g.name`, sc.tenant)
	if err != nil {
		return nil, fmt.Errorf("reading groups: %w", err)
	}
	return out, nil
}

// Group reads one group of the scope's tenant.
func (sc Scope) Group(ctx context.Context, id int64) (telephony.Group, error) {
	g, err := scanGroup(sc.s.readers.QueryRowContext(ctx, groupQuery+` WHERE g.tenant_id = ? AND g.id = ?`, sc.tenant, id).Scan)
	if err != nil {
		return g, fmt.Errorf("reading group: %w", notFound(err))
	}
	return g, nil
}

// Group reads one group of the scope as this transaction sees it.
func (tx *Tx) Group(id int64) (telephony.Group, error) {
	g, err := scanGroup(tx.row(groupQuery+` WHERE g.tenant_id = ? AND g.id = ?`, tx.scope, id).Scan)
	if err != nil {
		return g, fmt.Errorf("reading group: %w", notFound(err))
	}
	return g, nil
}

type groupValue struct {
	Name    string   `json:"name"`
	Members []string `json:"members"`
}

// CreateGroup adds a group with its members and allots its ID.
func (tx *Tx) CreateGroup(g telephony.Group) (telephony.Group, error) {
	if err := errors.Join(tx.tenantOnly(), tx.own(&g.Tenant)); err != nil {
		return g, err
	}
	members, err := tx.checkGroup(&g)
	if err != nil {
		return g, err
	}
	if err := tx.checkRoom("extension_group", "name", telephony.MaxGroups); err != nil {
		return g, err
	}
	if g.ID, err = tx.nextID(); err != nil {
		return g, err
	}
	if _, err := tx.exec(`INSERT INTO extension_group (tenant_id, id, name) VALUES (?, ?, ?)`, g.Tenant, g.ID, g.Name); err != nil {
		return g, fmt.Errorf("creating group: %w", err)
	}
	for _, id := range members {
		if err := tx.addMember(g, id); err != nil {
			return g, err
		}
	}
	tx.note(KindGroup, "create", strconv.FormatInt(g.ID, 10), groupValue{g.Name, g.Members})
	return g, nil
}

func (tx *Tx) addMember(g telephony.Group, extension int64) error {
	_, err := tx.exec(`INSERT INTO extension_group_member (tenant_id, group_id, extension_id) VALUES (?, ?, ?)`, g.Tenant, g.ID, extension)
	if err != nil {
		return fmt.Errorf("adding to group %d: %w", g.ID, err)
	}
	tx.touchExtension(g.Tenant, extension)
	return nil
}

// checkGroup looks at a group, puts its members in order and finds their ids.
func (tx *Tx) checkGroup(g *telephony.Group) (members []int64, err error) {
	if err := g.Validate(); err != nil {
		return nil, err
	}
	var n int
	err = tx.row(`SELECT count(*) FROM extension_group WHERE tenant_id = ? AND name = ? AND id <> ?`, tx.scope, g.Name, g.ID).Scan(&n)
	if err != nil {
		return nil, fmt.Errorf("looking for the group's name: %w", err)
	}
	if n > 0 {
		return nil, taken("name", "is used by another group")
	}
	g.Members = slices.Clone(g.Members)
	slices.SortFunc(g.Members, byNumber)
	g.Members = slices.Compact(g.Members)
	for _, number := range g.Members {
		var id int64
		err := notFound(tx.row(`SELECT id FROM extension WHERE tenant_id = ? AND number = ?`, tx.scope, number).Scan(&id))
		if errors.Is(err, ErrNotFound) {
			return nil, &telephony.FieldError{Field: "members", Reason: "extension " + number + " does not exist"}
		}
		if err != nil {
			return nil, fmt.Errorf("looking for a member: %w", err)
		}
		members = append(members, id)
	}
	return members, nil
}

// PutGroup changes name and members of the group with g.ID.
func (tx *Tx) PutGroup(g telephony.Group) error {
	if err := errors.Join(tx.tenantOnly(), tx.own(&g.Tenant)); err != nil {
		return err
	}
	old, err := tx.Group(g.ID)
	if err != nil {
		return err
	}
	members, err := tx.checkGroup(&g)
	if err != nil {
		return err
	}
	if old.Name == g.Name && slices.Equal(old.Members, g.Members) {
		return nil
	}
	if err := tx.emptyGroup(g.ID); err != nil {
		return err
	}
	if _, err := tx.exec(`UPDATE extension_group SET name = ? WHERE tenant_id = ? AND id = ?`, g.Name, g.Tenant, g.ID); err != nil {
		return fmt.Errorf("storing group %d: %w", g.ID, err)
	}
	for _, id := range members {
		if err := tx.addMember(g, id); err != nil {
			return err
		}
	}
	if g.Name != old.Name {
		tx.touchRouting(partOutbound)
	}
	tx.note(KindGroup, "put", strconv.FormatInt(g.ID, 10), groupValue{g.Name, g.Members})
	return nil
}

// emptyGroup takes every member out.
func (tx *Tx) emptyGroup(id int64) error {
	gone, err := collect(tx.ctx, tx.tx, func(scan func(...any) error) (e int64, err error) { return e, scan(&e) },
		`SELECT extension_id FROM extension_group_member WHERE tenant_id = ? AND group_id = ?`, tx.scope, id)
	if err != nil {
		return fmt.Errorf("reading the members of group %d: %w", id, err)
	}
	for _, e := range gone {
		tx.touchExtension(tx.scope, e)
	}
	if _, err := tx.exec(`DELETE FROM extension_group_member WHERE tenant_id = ? AND group_id = ?`, tx.scope, id); err != nil {
		return fmt.Errorf("emptying group %d: %w", id, err)
	}
	return nil
}

// DeleteGroup removes a group; its members stay.
func (tx *Tx) DeleteGroup(id int64) error {
	if _, err := tx.Group(id); err != nil {
		return err
	}
	rules, err := tx.rulesOfGroup(id)
	if err != nil {
		return err
	}
	if len(rules) > 0 {
		return taken("group", "is used by "+someOf(rules))
	}
	if err := tx.emptyGroup(id); err != nil {
		return err
	}
	if _, err := tx.exec(`DELETE FROM extension_group WHERE tenant_id = ? AND id = ?`, tx.scope, id); err != nil {
		return fmt.Errorf("deleting group %d: %w", id, err)
	}
	tx.note(KindGroup, "delete", strconv.FormatInt(id, 10), nil)
	return nil
}
