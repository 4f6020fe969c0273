package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"ringfence/internal/telephony"
)

// conditions are those of an outbound rule that point to no other row.
type conditions struct {
	Prefixes   []string                `json:"prefixes,omitempty"`
	Lengths    []int                   `json:"lengths,omitempty"`
	Classes    []telephony.CallClass   `json:"classes,omitempty"`
	Roles      []telephony.Role        `json:"roles,omitempty"`
	Extensions []telephony.NumberRange `json:"extensions,omitempty"`
}

// targets are the destinations of an inbound rule.
type targets struct {
	Open    telephony.Destination `json:"open"`
	Closed  telephony.Destination `json:"closed,omitzero"`
	Holiday telephony.Destination `json:"holiday,omitzero"`
	Night   telephony.Destination `json:"night,omitzero"`
}

func fillOutbound(ctx context.Context, q queryer, into map[telephony.TenantID]telephony.Routing, tenant telephony.TenantID) error {
	rules, err := byTenant(ctx, q, func(scan func(...any) error) (r telephony.OutboundRule, err error) {
		var c conditions
		err = scan(&r.Tenant, &r.ID, &r.Name, &r.Enabled, &r.Priority, fromJSON{&c}, &r.Hours, &r.Order)
		r.Prefixes, r.Lengths, r.Classes, r.Roles, r.Extensions = c.Prefixes, c.Lengths, c.Classes, c.Roles, c.Extensions
		return r, err
	}, `SELECT tenant_id, id, name, enabled, priority, conditions, coalesce(hours, ''), route_order FROM outbound_rule`, ` ORDER BY tenant_id, priority, id`, tenant)
	if err != nil {
		return err
	}
	routes, err := byTenant(ctx, q, scanRoute, `SELECT tenant_id, rule_id, trunk_id, strip, prepend, caller_id FROM outbound_route`, ` ORDER BY tenant_id, rule_id, place`, tenant)
	if err != nil {
		return err
	}
	of := make(map[ruleKey][]telephony.Route)
	for _, r := range routes {
		of[r.ruleKey] = append(of[r.ruleKey], r.Route)
	}
	groups, err := readRuleGroups(ctx, q, tenant)
	if err != nil {
		return err
	}
	for _, r := range rules {
		r.Routes, r.Groups = of[ruleKey{r.Tenant, r.ID}], groups[ruleKey{r.Tenant, r.ID}]
		v := into[r.Tenant]
		v.Outbound = append(v.Outbound, r)
		into[r.Tenant] = v
	}
	return nil
}

// readRuleGroups reads the names of the groups that rules are for.
func readRuleGroups(ctx context.Context, q queryer, tenant telephony.TenantID) (map[ruleKey][]string, error) {
	type row struct {
		ruleKey
		name string
	}
	rows, err := byTenant(ctx, q, func(scan func(...any) error) (r row, err error) {
		return r, scan(&r.tenant, &r.rule, &r.name)
	}, `SELECT tenant_id, rule_id, (SELECT g.name FROM extension_group g WHERE g.tenant_id = m.tenant_id AND g.id = m.group_id) FROM outbound_group m`,
		` ORDER BY tenant_id, rule_id, place`, tenant)
	of := make(map[ruleKey][]string)
	for _, r := range rows {
		of[r.ruleKey] = append(of[r.ruleKey], r.name)
	}
	return of, err
}

func fillInbound(ctx context.Context, q queryer, into map[telephony.TenantID]telephony.Routing, tenant telephony.TenantID) error {
	rules, err := byTenant(ctx, q, func(scan func(...any) error) (r telephony.InboundRule, err error) {
		var t targets
		err = scan(&r.Tenant, &r.ID, &r.Name, &r.Enabled, &r.Priority, fromJSON{&r.DIDs}, &r.Caller, &r.Hours, fromJSON{&t})
		r.Open, r.Closed, r.Holiday, r.Night = t.Open, t.Closed, t.Holiday, t.Night
		return r, err
	}, `SELECT tenant_id, id, name, enabled, priority, dids, caller, coalesce(hours, ''), targets FROM inbound_rule`, ` ORDER BY tenant_id, priority, id`, tenant)
	if err != nil {
		return err
	}
	type row struct {
		ruleKey
		trunk telephony.TrunkID
	}
	trunks, err := byTenant(ctx, q, func(scan func(...any) error) (r row, err error) {
		return r, scan(&r.tenant, &r.rule, &r.trunk)
	}, `SELECT tenant_id, rule_id, trunk_id FROM inbound_trunk`, ` ORDER BY tenant_id, rule_id, place`, tenant)
	if err != nil {
		return err
	}
	of := make(map[ruleKey][]telephony.TrunkID)
	for _, r := range trunks {
		of[r.ruleKey] = append(of[r.ruleKey], r.trunk)
	}
	for _, r := range rules {
		r.Trunks = of[ruleKey{r.Tenant, r.ID}]
		v := into[r.Tenant]
		v.Inbound = append(v.Inbound, r)
		into[r.Tenant] = v
	}
	return nil
}

// OutboundRule reads one rule of the scope as this transaction sees it.
func (tx *Tx) OutboundRule(id int64) (telephony.OutboundRule, error) {
	r, err := tx.routingPart(partOutbound)
	if err != nil {
		return telephony.OutboundRule{}, err
	}
	for _, o := range r.Outbound {
		if o.ID == id {
			return o, nil
		}
	}
	return telephony.OutboundRule{}, fmt.Errorf("reading outgoing rule: %w", ErrNotFound)
}

// CreateOutboundRule adds a rule and allots its ID.
func (tx *Tx) CreateOutboundRule(r telephony.OutboundRule) (telephony.OutboundRule, error) {
	if err := errors.Join(tx.tenantOnly(), tx.own(&r.Tenant)); err != nil {
		return r, err
	}
	r.ID = 0
	if err := tx.checkOutbound(&r); err != nil {
		return r, err
	}
	if err := tx.checkRoom("outbound_rule", "name", telephony.MaxRules); err != nil {
		return r, err
	}
	id, err := tx.nextID()
	if err != nil {
		return r, err
	}
	r.ID = id
	if err := tx.storeOutbound(r); err != nil {
		return r, err
	}
	tx.noteRouting(partOutbound, "create_outbound", strconv.FormatInt(r.ID, 10), r)
	return r, nil
}

// PutOutboundRule changes a rule.
func (tx *Tx) PutOutboundRule(r telephony.OutboundRule) error {
	if err := errors.Join(tx.tenantOnly(), tx.own(&r.Tenant)); err != nil {
		return err
	}
	old, err := tx.OutboundRule(r.ID)
	if err != nil {
		return err
	}
	if err := tx.checkOutbound(&r); err != nil {
		return err
	}
	if sameJSON(r, old) {
		return nil
	}
	if err := tx.storeOutbound(r); err != nil {
		return err
	}
	tx.noteRouting(partOutbound, "put_outbound", strconv.FormatInt(r.ID, 10), r)
	return nil
}

func (tx *Tx) checkOutbound(r *telephony.OutboundRule) error {
	if r.Order == "" {
		r.Order = telephony.OrderListed
	}
	if err := r.Validate(); err != nil {
		return err
	}
	if err := tx.checkFree("outbound_rule", "name", r.Name, r.ID, "is used by another rule"); err != nil {
		return err
	}
	if err := tx.checkHours(r.Hours); err != nil {
		return err
	}
	for i, role := range r.Roles {
		if err := tx.checkRole(fmt.Sprintf("roles[%d]", i), role); err != nil {
			return err
		}
	}
	for i, name := range r.Groups {
		if _, err := tx.groupID(fmt.Sprintf("groups[%d]", i), name); err != nil {
			return err
		}
	}
	return tx.checkRoutes("routes", r.Routes)
}

// groupID finds a group by its name.
func (tx *Tx) groupID(field, name string) (id int64, err error) {
	err = tx.row(`SELECT id FROM extension_group WHERE tenant_id = ? AND name = ?`, tx.scope, name).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, &telephony.FieldError{Field: field, Reason: "does not exist"}
	}
	if err != nil {
		return 0, fmt.Errorf("looking for a group: %w", err)
	}
	return id, nil
}

func (tx *Tx) checkHours(name string) error {
	if name == "" {
		return nil
	}
	var n int
	if err := tx.row(`SELECT count(*) FROM schedule WHERE tenant_id = ? AND name = ?`, tx.scope, name).Scan(&n); err != nil {
		return fmt.Errorf("looking for hours: %w", err)
	}
	if n == 0 {
		return &telephony.FieldError{Field: "hours", Reason: "does not exist"}
	}
	return nil
}

func (tx *Tx) storeOutbound(r telephony.OutboundRule) error {
	c := conditions{r.Prefixes, r.Lengths, r.Classes, r.Roles, r.Extensions}
	_, err := tx.exec(`INSERT INTO outbound_rule (tenant_id, id, name, enabled, priority, conditions, hours, route_order) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
		ON CONFLICT (tenant_id, id) DO UPDATE SET name = ?3, enabled = ?4, priority = ?5, conditions = ?6, hours = ?7, route_order = ?8`,
		r.Tenant, r.ID, r.Name, r.Enabled, r.Priority, toJSON(c), emptyNull(r.Hours), string(r.Order))
	if err != nil {
		return fmt.Errorf("storing outgoing rule %d: %w", r.ID, err)
	}
	for _, query := range []string{`DELETE FROM outbound_route WHERE tenant_id = ? AND rule_id = ?`, `DELETE FROM outbound_group WHERE tenant_id = ? AND rule_id = ?`} {
		if _, err := tx.exec(query, r.Tenant, r.ID); err != nil {
			return fmt.Errorf("storing outgoing rule %d: %w", r.ID, err)
		}
	}
	for i, name := range r.Groups {
		id, err := tx.groupID("groups", name)
		if err != nil {
			return err
		}
		if _, err := tx.exec(`INSERT INTO outbound_group (tenant_id, rule_id, place, group_id) VALUES (?, ?, ?, ?)`, r.Tenant, r.ID, i, id); err != nil {
			return fmt.Errorf("storing outgoing rule %d: %w", r.ID, err)
		}
	}
	for i, w := range r.Routes {
		_, err := tx.exec(`INSERT INTO outbound_route (tenant_id, rule_id, place, trunk_id, strip, prepend, caller_id) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			r.Tenant, r.ID, i, w.Trunk, w.Strip, w.Prepend, w.CallerID)
		if err != nil {
			return fmt.Errorf("storing outgoing rule %d: %w", r.ID, err)
		}
	}
	return nil
}

// rulesOfGroup names the outgoing rules for a group.
func (tx *Tx) rulesOfGroup(id int64) ([]string, error) {
	out, err := collect(tx.ctx, tx.tx, func(scan func(...any) error) (name string, err error) { return name, scan(&name) },
		`SELECT DISTINCT 'outgoing rule ' || r.name FROM outbound_group m JOIN outbound_rule r ON r.tenant_id = m.tenant_id AND r.id = m.rule_id
		WHERE m.tenant_id = ? AND m.group_id = ?`, tx.scope, id)
	if err != nil {
		return nil, fmt.Errorf("looking which rules are for group %d: %w", id, err)
	}
	return out, nil
}

// rulesOfRole names the outgoing rules for a role.
func (tx *Tx) rulesOfRole(name telephony.Role) ([]string, error) {
	r, err := tx.routingPart(partOutbound)
	var out []string
	for _, o := range r.Outbound {
		if slices.Contains(o.Roles, name) {
			out = append(out, "outgoing rule "+o.Name)
		}
	}
	return out, err
}

// emptyNull keeps the empty name as NULL, which points nowhere.
func emptyNull(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }

// DeleteOutboundRule removes a rule.
func (tx *Tx) DeleteOutboundRule(id int64) error {
	return tx.deleteRule("outbound_rule", partOutbound, "delete_outbound", id)
}

// DeleteInboundRule removes a rule.
func (tx *Tx) DeleteInboundRule(id int64) error {
	return tx.deleteRule("inbound_rule", partInbound, "delete_inbound", id)
}

func (tx *Tx) deleteRule(table string, part routingPart, verb string, id int64) error {
	res, err := tx.exec(`DELETE FROM `+table+` WHERE tenant_id = ? AND id = ?`, tx.scope, id)
	if err != nil {
		return fmt.Errorf("deleting rule %d: %w", id, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, ErrNotFound)
	}
	tx.noteRouting(part, verb, strconv.FormatInt(id, 10), nil)
	return nil
}

// InboundRule reads one rule of the scope as this transaction sees it.
func (tx *Tx) InboundRule(id int64) (telephony.InboundRule, error) {
	r, err := tx.routingPart(partInbound)
	if err != nil {
		return telephony.InboundRule{}, err
	}
	for _, o := range r.Inbound {
		if o.ID == id {
			return o, nil
		}
	}
	return telephony.InboundRule{}, fmt.Errorf("reading incoming rule: %w", ErrNotFound)
}

// CreateInboundRule adds a rule and allots its ID.
func (tx *Tx) CreateInboundRule(r telephony.InboundRule) (telephony.InboundRule, error) {
	if err := errors.Join(tx.tenantOnly(), tx.own(&r.Tenant)); err != nil {
		return r, err
	}
	r.ID = 0
	if err := tx.checkInbound(r); err != nil {
		return r, err
	}
	if err := tx.checkRoom("inbound_rule", "name", telephony.MaxRules); err != nil {
		return r, err
	}
	id, err := tx.nextID()
	if err != nil {
		return r, err
	}
	r.ID = id
	if err := tx.storeInbound(r); err != nil {
		return r, err
	}
	tx.noteRouting(partInbound, "create_inbound", strconv.FormatInt(r.ID, 10), r)
	return r, nil
}

// PutInboundRule changes a rule.
func (tx *Tx) PutInboundRule(r telephony.InboundRule) error {
	if err := errors.Join(tx.tenantOnly(), tx.own(&r.Tenant)); err != nil {
		return err
	}
	old, err := tx.InboundRule(r.ID)
	if err != nil {
		return err
	}
	if err := tx.checkInbound(r); err != nil {
		return err
	}
	if sameJSON(r, old) {
		return nil
	}
	if err := tx.storeInbound(r); err != nil {
		return err
	}
	tx.noteRouting(partInbound, "put_inbound", strconv.FormatInt(r.ID, 10), r)
	return nil
}

func (tx *Tx) checkInbound(r telephony.InboundRule) error {
	if err := r.Validate(); err != nil {
		return err
	}
	if err := tx.checkFree("inbound_rule", "name", r.Name, r.ID, "is used by another rule"); err != nil {
		return err
	}
	if err := tx.checkHours(r.Hours); err != nil {
		return err
	}
	for i, id := range r.Trunks {
		if err := tx.checkTrunkThere(fmt.Sprintf("trunks[%d]", i), id); err != nil {
			return err
		}
	}
	for _, d := range []struct {
		field string
		telephony.Destination
	}{{"open", r.Open}, {"closed", r.Closed}, {"holiday", r.Holiday}, {"night", r.Night}} {
		if err := tx.checkDestination(d.field, d.Destination); err != nil {
			return err
		}
	}
	return nil
}

// checkDestination refuses extensions that are not there. The extensions of a
// range need not be: their numbers may come later.
func (tx *Tx) checkDestination(field string, d telephony.Destination) error {
	number := ""
	switch {
	case d.Kind == telephony.ToExtension && d.Number[0] != '*':
		number, field = d.Number, field+".number"
	case d.Kind == telephony.ToNumber:
		number, field = d.As, field+".as"
	default:
		return nil
	}
	if _, err := tx.Extension(number); errors.Is(err, ErrNotFound) {
		return &telephony.FieldError{Field: field, Reason: "is no extension"}
	} else if err != nil {
		return err
	}
	return nil
}

func (tx *Tx) storeInbound(r telephony.InboundRule) error {
	_, err := tx.exec(`INSERT INTO inbound_rule (tenant_id, id, name, enabled, priority, dids, caller, hours, targets) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
		ON CONFLICT (tenant_id, id) DO UPDATE SET name = ?3, enabled = ?4, priority = ?5, dids = ?6, caller = ?7, hours = ?8, targets = ?9`,
		r.Tenant, r.ID, r.Name, r.Enabled, r.Priority, toJSON(r.DIDs), r.Caller, emptyNull(r.Hours), toJSON(targets{r.Open, r.Closed, r.Holiday, r.Night}))
	if err != nil {
		return fmt.Errorf("storing incoming rule %d: %w", r.ID, err)
	}
	if _, err := tx.exec(`DELETE FROM inbound_trunk WHERE tenant_id = ? AND rule_id = ?`, r.Tenant, r.ID); err != nil {
		return fmt.Errorf("storing incoming rule %d: %w", r.ID, err)
	}
	for i, id := range r.Trunks {
		if _, err := tx.exec(`INSERT INTO inbound_trunk (tenant_id, rule_id, place, trunk_id) VALUES (?, ?, ?, ?)`, r.Tenant, r.ID, i, id); err != nil {
			return fmt.Errorf("storing incoming rule %d: %w", r.ID, err)
		}
	}
	return nil
}
