package store

import (
	"context"
	"errors"
	"fmt"

	"ringfence/internal/telephony"
)

// routingPart is a part of a tenant's routing that is read by itself.
type routingPart uint8

const (
	partSettings routingPart = 1 << iota
	partOutbound
	partInbound
	partSchedules
	partBlocked
	partAll = partSettings | partOutbound | partInbound | partSchedules | partBlocked
)

// defaultRouting is that of a tenant nobody has set anything for.
func defaultRouting() telephony.Routing {
	return telephony.Routing{Currency: "EUR", Night: telephony.NightAuto}
}

// byTenant reads rows of one tenant, or of all when it is telephony.System.
func byTenant[T any](ctx context.Context, q queryer, scan func(func(...any) error) (T, error), query, order string, tenant telephony.TenantID) ([]T, error) {
	if tenant == telephony.System {
		return collect(ctx, q, scan, query+order)
	}
	return collect(ctx, q, scan, query+` WHERE tenant_id = ?`+order, tenant)
}

// fillRouting reads the given parts of one tenant, or of all.
func fillRouting(ctx context.Context, q queryer, into map[telephony.TenantID]telephony.Routing, tenant telephony.TenantID, parts routingPart) error {
	for _, p := range []struct {
		part routingPart
		read func(context.Context, queryer, map[telephony.TenantID]telephony.Routing, telephony.TenantID) error
	}{{partSettings, fillSettings}, {partOutbound, fillOutbound}, {partInbound, fillInbound}, {partSchedules, fillSchedules}, {partBlocked, fillBlocked}} {
		if parts&p.part == 0 {
			continue
		}
		if err := p.read(ctx, q, into, tenant); err != nil {
			return fmt.Errorf("reading the routing: %w", err)
		}
	}
	return nil
}

// capsColumn is the column caps of the table routing: of all calls together, and
// of each extension's.
type capsColumn struct {
	telephony.Caps
	Extension telephony.Caps `json:"extension,omitzero"`
}

func fillSettings(ctx context.Context, q queryer, into map[telephony.TenantID]telephony.Routing, tenant telephony.TenantID) error {
	type row struct {
		tenant telephony.TenantID
		telephony.Routing
		caps capsColumn
	}
	rows, err := byTenant(ctx, q, func(scan func(...any) error) (r row, err error) {
		err = scan(&r.tenant, fromJSON{&r.Plan}, &r.Currency, &r.Night, &r.RejectAnonymous, &r.MaxCalls, fromJSON{&r.caps})
		return r, err
	}, `SELECT tenant_id, plan, currency, night, reject_anonymous, max_calls, caps FROM routing`, ` ORDER BY tenant_id`, tenant)
	if err != nil {
		return err
	}
	for _, r := range rows {
		v := into[r.tenant]
		v.Plan, v.Currency, v.Night, v.RejectAnonymous, v.MaxCalls = r.Plan, r.Currency, r.Night, r.RejectAnonymous, r.MaxCalls
		v.Caps, v.ExtensionCaps = r.caps.Caps, r.caps.Extension
		into[r.tenant] = v
	}
	routes, err := byTenant(ctx, q, scanRoute, `SELECT tenant_id, 0, trunk_id, strip, prepend, caller_id FROM emergency_route`, ` ORDER BY tenant_id, place`, tenant)
	if err != nil {
		return err
	}
	for _, r := range routes {
		v := into[r.tenant]
		v.Plan.EmergencyRoutes = append(v.Plan.EmergencyRoutes, r.Route)
		into[r.tenant] = v
	}
	return nil
}

// routeRow is a route with the rule it belongs to.
type routeRow struct {
	ruleKey
	telephony.Route
}

type ruleKey struct {
	tenant telephony.TenantID
	rule   int64
}

func scanRoute(scan func(...any) error) (r routeRow, err error) {
	return r, scan(&r.tenant, &r.rule, &r.Trunk, &r.Strip, &r.Prepend, &r.CallerID)
}

func fillBlocked(ctx context.Context, q queryer, into map[telephony.TenantID]telephony.Routing, tenant telephony.TenantID) error {
	type row struct {
		tenant telephony.TenantID
		telephony.CallerBlock
	}
	rows, err := byTenant(ctx, q, func(scan func(...any) error) (r row, err error) {
		return r, scan(&r.tenant, &r.Caller, &r.Note)
	}, `SELECT tenant_id, caller, note FROM caller_block`, ` ORDER BY tenant_id, caller`, tenant)
	for _, r := range rows {
		v := into[r.tenant]
		v.Blocked = append(v.Blocked, r.CallerBlock)
		into[r.tenant] = v
	}
	return err
}

// readRouting reads everything that decides where calls go.
func (s *Store) readRouting(ctx context.Context, q queryer, snap *telephony.Snapshot) error {
	trunks, err := s.readTrunks(ctx, q, trunkKey{})
	if err != nil {
		return err
	}
	all := make(map[telephony.TenantID]telephony.Routing)
	for _, t := range snap.Tenants() {
		all[t.ID] = defaultRouting()
	}
	if err := fillRouting(ctx, q, all, telephony.System, partAll); err != nil {
		return err
	}
	place(snap, all)
	snap.WithRouting(trunks, all)
	return nil
}

// place takes time zone and country over from the tenants.
func place(snap *telephony.Snapshot, all map[telephony.TenantID]telephony.Routing) {
	for _, t := range snap.Tenants() {
		r := all[t.ID]
		r.TimeZone, r.Plan.Country = t.TimeZone, t.Country
		all[t.ID] = r
	}
}

// nextRouting fills trunks and routing of the next snapshot, and reads what the
// transaction touched only.
func (st *txState) nextRouting(old, snap *telephony.Snapshot) error {
	if len(st.touched.trunks)+len(st.touched.routing)+len(st.touched.tenants) == 0 {
		snap.ShareRouting(old)
		return nil
	}
	var trunks []telephony.Trunk
	all := make(map[telephony.TenantID]telephony.Routing)
	for _, t := range snap.Tenants() {
		for _, trunk := range old.Trunks(t.ID) {
			if !st.touched.trunks[trunkKey{t.ID, trunk.ID}] {
				trunks = append(trunks, trunk)
			}
		}
		if _, had := old.Tenant(t.ID); !had {
			all[t.ID] = defaultRouting()
		} else {
			all[t.ID] = *old.Routing(t.ID)
		}
	}
	for key := range st.touched.trunks {
		list, err := st.s.readTrunks(st.ctx, st.tx, key)
		if err != nil {
			return err
		}
		trunks = append(trunks, list...)
	}
	for tenant, parts := range st.touched.routing {
		r, there := all[tenant]
		if !there {
			continue
		}
		all[tenant] = without(r, parts)
		if err := fillRouting(st.ctx, st.tx, all, tenant, parts); err != nil {
			return err
		}
	}
	place(snap, all)
	snap.WithRouting(trunks, all)
	return nil
}

// without empties the parts that are read anew.
func without(r telephony.Routing, parts routingPart) telephony.Routing {
	if parts&partSettings != 0 {
		d := defaultRouting()
		r.Plan, r.Currency, r.Night, r.RejectAnonymous, r.MaxCalls = d.Plan, d.Currency, d.Night, d.RejectAnonymous, d.MaxCalls
		r.Caps, r.ExtensionCaps = d.Caps, d.ExtensionCaps
	}
	if parts&partOutbound != 0 {
		r.Outbound = nil
	}
	if parts&partInbound != 0 {
		r.Inbound = nil
	}
	if parts&partSchedules != 0 {
		r.Schedules = nil
	}
	if parts&partBlocked != 0 {
		r.Blocked = nil
	}
	return r
}

// noteRouting adds an operation to the history; parts are read anew.
func (tx *Tx) noteRouting(parts routingPart, verb, object string, value any) {
	tx.touchRouting(parts)
	tx.note(KindRouting, verb, object, value)
}

// touchRouting has parts of the scope's routing read anew.
func (tx *Tx) touchRouting(parts routingPart) {
	if tx.touched.routing == nil {
		tx.touched.routing = make(map[telephony.TenantID]routingPart)
	}
	tx.touched.routing[tx.scope] |= parts
	tx.touch(KindRouting, tx.scope)
}

// routingPart reads parts of the scope's routing as this transaction sees them.
func (tx *Tx) routingPart(parts routingPart) (telephony.Routing, error) {
	if err := tx.tenantOnly(); err != nil {
		return telephony.Routing{}, err
	}
	all := map[telephony.TenantID]telephony.Routing{tx.scope: defaultRouting()}
	err := fillRouting(tx.ctx, tx.tx, all, tx.scope, parts)
	return all[tx.scope], err
}

// RoutingSettings are numbering plan, currency, night mode and limits of the
// scope's tenant; the lists are empty. Time zone and country are the tenant's own.
func (tx *Tx) RoutingSettings() (telephony.Routing, error) {
	r, err := tx.routingPart(partSettings)
	if err != nil {
		return r, err
	}
	t, err := tx.Tenant()
	r.TimeZone, r.Plan.Country = t.TimeZone, t.Country
	return r, err
}

// routingValue is what the history keeps of them.
type routingValue struct {
	Plan            telephony.NumberingPlan `json:"plan"`
	Currency        string                  `json:"currency"`
	Night           telephony.NightMode     `json:"night"`
	RejectAnonymous bool                    `json:"reject_anonymous"`
	MaxCalls        int                     `json:"max_calls"`
	Caps            capsColumn              `json:"caps"`
}

// PutRoutingSettings changes numbering plan, currency, night mode and limits; the
// lists, time zone and country are not looked at.
func (tx *Tx) PutRoutingSettings(r telephony.Routing) error {
	old, err := tx.RoutingSettings()
	if err != nil {
		return err
	}
	r.Plan.Country = old.Plan.Country
	if err := r.ValidateSettings(); err != nil {
		return err
	}
	if err := tx.checkRoutes("emergency_routes", r.Plan.EmergencyRoutes); err != nil {
		return err
	}
	caps := capsColumn{r.Caps, r.ExtensionCaps}
	value := routingValue{r.Plan, r.Currency, r.Night, r.RejectAnonymous, r.MaxCalls, caps}
	if sameJSON(value, routingValue{old.Plan, old.Currency, old.Night, old.RejectAnonymous, old.MaxCalls, capsColumn{old.Caps, old.ExtensionCaps}}) {
		return nil
	}
	plan := r.Plan
	plan.EmergencyRoutes, plan.Country = nil, "" // rows of their own
	_, err = tx.exec(`INSERT INTO routing (tenant_id, plan, currency, night, reject_anonymous, max_calls, caps) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
		ON CONFLICT (tenant_id) DO UPDATE SET plan = ?2, currency = ?3, night = ?4, reject_anonymous = ?5, max_calls = ?6, caps = ?7`,
		tx.scope, toJSON(plan), r.Currency, string(r.Night), r.RejectAnonymous, r.MaxCalls, toJSON(caps))
	if err != nil {
		return fmt.Errorf("storing the numbering plan: %w", err)
	}
	if _, err := tx.exec(`DELETE FROM emergency_route WHERE tenant_id = ?`, tx.scope); err != nil {
		return fmt.Errorf("storing the ways of emergency calls: %w", err)
	}
	for i, e := range r.Plan.EmergencyRoutes {
		_, err := tx.exec(`INSERT INTO emergency_route (tenant_id, place, trunk_id, strip, prepend, caller_id) VALUES (?, ?, ?, ?, ?, ?)`,
			tx.scope, i, e.Trunk, e.Strip, e.Prepend, e.CallerID)
		if err != nil {
			return fmt.Errorf("storing the ways of emergency calls: %w", err)
		}
	}
	tx.noteRouting(partSettings, "put", "settings", value)
	return nil
}

// checkRoutes refuses routes over trunks that the tenant does not have.
func (tx *Tx) checkRoutes(list string, routes []telephony.Route) error {
	for i, r := range routes {
		if err := tx.checkTrunkThere(fmt.Sprintf("%s[%d].trunk", list, i), r.Trunk); err != nil {
			return err
		}
	}
	return nil
}

func (tx *Tx) checkTrunkThere(field string, id telephony.TrunkID) error {
	var n int
	if err := tx.row(`SELECT count(*) FROM trunk WHERE tenant_id = ? AND id = ?`, tx.scope, id).Scan(&n); err != nil {
		return fmt.Errorf("looking for a trunk: %w", err)
	}
	if n == 0 {
		return &telephony.FieldError{Field: field, Reason: "does not exist"}
	}
	return nil
}

// BlockCaller adds a caller to those who are refused, or changes the note.
func (tx *Tx) BlockCaller(b telephony.CallerBlock) error {
	if err := errors.Join(tx.tenantOnly(), b.Validate()); err != nil {
		return err
	}
	var n int
	if err := tx.row(`SELECT count(*) FROM caller_block WHERE tenant_id = ? AND caller <> ?`, tx.scope, b.Caller).Scan(&n); err != nil {
		return fmt.Errorf("counting blocked callers: %w", err)
	}
	if n >= telephony.MaxBlocked {
		return &telephony.FieldError{Field: "caller", Reason: fmt.Sprintf("there are %d already, and more are not possible", n)}
	}
	_, err := tx.exec(`INSERT INTO caller_block (tenant_id, caller, note) VALUES (?1, ?2, ?3) ON CONFLICT (tenant_id, caller) DO UPDATE SET note = ?3`, tx.scope, b.Caller, b.Note)
	if err != nil {
		return fmt.Errorf("blocking a caller: %w", err)
	}
	tx.noteRouting(partBlocked, "block", b.Caller, b)
	return nil
}

// UnblockCaller takes a caller off the list.
func (tx *Tx) UnblockCaller(caller string) error {
	res, err := tx.exec(`DELETE FROM caller_block WHERE tenant_id = ? AND caller = ?`, tx.scope, caller)
	if err != nil {
		return fmt.Errorf("unblocking a caller: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, ErrNotFound)
	}
	tx.noteRouting(partBlocked, "unblock", caller, nil)
	return nil
}
