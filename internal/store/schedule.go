package store

import (
	"context"
	"errors"
	"fmt"

	"ringfence/internal/telephony"
)

func fillSchedules(ctx context.Context, q queryer, into map[telephony.TenantID]telephony.Routing, tenant telephony.TenantID) error {
	rows, err := byTenant(ctx, q, func(scan func(...any) error) (s telephony.Schedule, err error) {
		return s, scan(&s.Tenant, &s.Name, fromJSON{&s.Week}, fromJSON{&s.Holidays})
	}, `SELECT tenant_id, name, week, holidays FROM schedule`, ` ORDER BY tenant_id, name`, tenant)
	for _, s := range rows {
		v := into[s.Tenant]
		v.Schedules = append(v.Schedules, s)
		into[s.Tenant] = v
	}
	return err
}

// Schedule reads hours of the scope as this transaction sees them.
func (tx *Tx) Schedule(name string) (telephony.Schedule, error) {
	r, err := tx.routingPart(partSchedules)
	if err != nil {
		return telephony.Schedule{}, err
	}
	for _, s := range r.Schedules {
		if s.Name == name {
			return s, nil
		}
	}
	return telephony.Schedule{}, fmt.Errorf("reading hours: %w", ErrNotFound)
}

// CreateSchedule adds hours under a new name.
func (tx *Tx) CreateSchedule(s telephony.Schedule) error {
	if err := errors.Join(tx.tenantOnly(), tx.own(&s.Tenant), s.Validate()); err != nil {
		return err
	}
	if _, err := tx.Schedule(s.Name); err == nil {
		return taken("name", "is used by other hours")
	}
	if err := tx.checkRoom("schedule", "name", telephony.MaxSchedules); err != nil {
		return err
	}
	_, err := tx.exec(`INSERT INTO schedule (tenant_id, name, week, holidays) VALUES (?, ?, ?, ?)`, s.Tenant, s.Name, toJSON(s.Week), toJSON(s.Holidays))
	if err != nil {
		return fmt.Errorf("storing hours: %w", err)
	}
	tx.noteRouting(partSchedules, "create_hours", s.Name, s)
	return nil
}

// PutSchedule changes the hours that are called name so far; rules that name them
// follow a new name.
func (tx *Tx) PutSchedule(name string, s telephony.Schedule) error {
	if err := errors.Join(tx.tenantOnly(), tx.own(&s.Tenant), s.Validate()); err != nil {
		return err
	}
	old, err := tx.Schedule(name)
	if err != nil {
		return err
	}
	if sameJSON(s, old) {
		return nil
	}
	parts := partSchedules
	if s.Name != name {
		if _, err := tx.Schedule(s.Name); err == nil {
			return taken("name", "is used by other hours")
		}
		parts |= partOutbound | partInbound
	}
	_, err = tx.exec(`UPDATE schedule SET name = ?, week = ?, holidays = ? WHERE tenant_id = ? AND name = ?`, s.Name, toJSON(s.Week), toJSON(s.Holidays), tx.scope, name)
	if err != nil {
		return fmt.Errorf("storing hours: %w", err)
	}
	tx.noteRouting(parts, "put_hours", name, s)
	return nil
}

// DeleteSchedule removes hours that no rule names.
func (tx *Tx) DeleteSchedule(name string) error {
	if _, err := tx.Schedule(name); err != nil {
		return err
	}
	users, err := collect(tx.ctx, tx.tx, func(scan func(...any) error) (name string, err error) { return name, scan(&name) },
		`SELECT 'outgoing rule ' || name FROM outbound_rule WHERE tenant_id = ?1 AND hours = ?2
		UNION ALL SELECT 'incoming rule ' || name FROM inbound_rule WHERE tenant_id = ?1 AND hours = ?2`, tx.scope, name)
	if err != nil {
		return fmt.Errorf("looking who uses hours: %w", err)
	}
	if len(users) > 0 {
		return taken("hours", "is used by "+someOf(users))
	}
	if _, err := tx.exec(`DELETE FROM schedule WHERE tenant_id = ? AND name = ?`, tx.scope, name); err != nil {
		return fmt.Errorf("deleting hours: %w", err)
	}
	tx.noteRouting(partSchedules, "delete_hours", name, nil)
	return nil
}
