package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// settingField is one setting as a row of its own. A setting that has no row
// keeps its default, so new settings need no migration.
type settingField struct {
	name string
	node bool // a fact of this machine: kept in node_setting
	of   func(*telephony.Settings) any
}

// settingFields lists every field of telephony.Settings except Ports, which
// have a table of their own. A test fails if one is missing.
func settingFields() []settingField {
	return []settingField{
		{"setup_done", false, func(s *telephony.Settings) any { return &s.SetupDone }},
		{"public_address", true, func(s *telephony.Settings) any { return &s.PublicAddress }},
		{"advertise_always", true, func(s *telephony.Settings) any { return &s.AdvertiseAlways }},
		{"public_addresses", true, func(s *telephony.Settings) any { return &s.PublicAddresses }},
		{"inside_networks", true, func(s *telephony.Settings) any { return &s.InsideNetworks }},
		{"listener_digests", true, func(s *telephony.Settings) any { return &s.ListenerDigests }},
		{"web_names", true, func(s *telephony.Settings) any { return &s.WebNames }},
		{"session_idle", false, func(s *telephony.Settings) any { return &s.SessionIdle }},
		{"session_max", false, func(s *telephony.Settings) any { return &s.SessionMax }},
		{"login_failures", false, func(s *telephony.Settings) any { return &s.LoginFailures }},
		{"login_block", false, func(s *telephony.Settings) any { return &s.LoginBlock }},
		{"trace_calls", false, func(s *telephony.Settings) any { return &s.TraceCalls }},
		{"trace_messages", false, func(s *telephony.Settings) any { return &s.TraceMessages }},
		{"client_certificates", false, func(s *telephony.Settings) any { return &s.ClientCertificates }},
		{"client_authorities", false, func(s *telephony.Settings) any { return &s.ClientAuthorities }},
		{"certificate", true, func(s *telephony.Settings) any { return &s.Certificate }},
		{"acme", true, func(s *telephony.Settings) any { return &s.ACME }},
		{"protection", false, func(s *telephony.Settings) any { return &s.Protection }},
		{"limits", false, func(s *telephony.Settings) any { return &s.Limits }},
		{"shell_keys", true, func(s *telephony.Settings) any { return &s.ShellKeys }},
		{"cloud_mode", true, func(s *telephony.Settings) any { return &s.CloudMode }},
		{"filter_off", true, func(s *telephony.Settings) any { return &s.FilterOff }},
	}
}

// Settings reads the box-wide settings as this transaction sees them.
func (tx *Tx) Settings() (telephony.Settings, error) {
	return readSettings(tx.ctx, tx.tx, tx.s.node)
}

// PutSettings replaces the box-wide settings.
func (tx *Tx) PutSettings(v telephony.Settings) error {
	if err := tx.systemOnly(); err != nil {
		return err
	}
	if err := v.Validate(); err != nil {
		return err
	}
	old, err := tx.Settings()
	if err != nil {
		return err
	}
	changed := make(map[string]any)
	for _, f := range settingFields() {
		if err := tx.putSetting(f, &old, &v, changed); err != nil {
			return err
		}
	}
	if err := tx.putPorts(old.Ports, v.Ports, changed); err != nil {
		return err
	}
	if len(changed) == 0 {
		return nil
	}
	tx.touched.settings = true
	tx.note(KindSettings, "put", "", changed)
	return nil
}

func (tx *Tx) putSetting(f settingField, old, v *telephony.Settings, changed map[string]any) error {
	was, err := json.Marshal(f.of(old))
	if err != nil {
		return fmt.Errorf("encoding setting %s: %w", f.name, err)
	}
	text, err := json.Marshal(f.of(v))
	if err != nil {
		return fmt.Errorf("encoding setting %s: %w", f.name, err)
	}
	if string(was) == string(text) {
		return nil
	}
	changed[f.name] = json.RawMessage(text)
	if f.node {
		_, err = tx.exec(`INSERT INTO node_setting (node_id, name, value) VALUES (?1, ?2, ?3)
			ON CONFLICT (node_id, name) DO UPDATE SET value = ?3`, string(tx.s.node), f.name, string(text))
	} else {
		_, err = tx.exec(`INSERT INTO setting (name, value) VALUES (?1, ?2)
			ON CONFLICT (name) DO UPDATE SET value = ?2`, f.name, string(text))
	}
	if err != nil {
		return fmt.Errorf("storing setting %s: %w", f.name, err)
	}
	return nil
}

func (tx *Tx) putPorts(old, v []ports.Override, changed map[string]any) error {
	before, err := json.Marshal(sortedPorts(old))
	if err != nil {
		return fmt.Errorf("encoding ports: %w", err)
	}
	after, err := json.Marshal(sortedPorts(v))
	if err != nil {
		return fmt.Errorf("encoding ports: %w", err)
	}
	if string(before) == string(after) {
		return nil
	}
	changed["ports"] = json.RawMessage(after)
	if _, err := tx.exec(`DELETE FROM node_port WHERE node_id = ?`, string(tx.s.node)); err != nil {
		return fmt.Errorf("storing ports: %w", err)
	}
	for _, o := range v {
		zones, err := listText(o.Zones)
		if err != nil {
			return err
		}
		sources, err := listText(o.Sources)
		if err != nil {
			return err
		}
		_, err = tx.exec(`INSERT INTO node_port (node_id, service, enabled, first, last, zones, sources) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			string(tx.s.node), string(o.ID), o.Enabled, o.First, o.Last, zones, sources)
		if isUnique(err) {
			return &telephony.FieldError{Field: "ports", Reason: fmt.Sprintf("names service %s twice", o.ID)}
		}
		if err != nil {
			return fmt.Errorf("storing ports: %w", err)
		}
	}
	return nil
}

// listText is a list as JSON; one that says nothing is NULL.
func listText[T any](list []T) (sql.NullString, error) {
	if len(list) == 0 {
		return sql.NullString{}, nil
	}
	text, err := json.Marshal(list)
	if err != nil {
		return sql.NullString{}, fmt.Errorf("encoding ports: %w", err)
	}
	return sql.NullString{String: string(text), Valid: true}, nil
}

func listOf[T any](text sql.NullString, list *[]T) error {
	if !text.Valid {
		return nil
	}
	return json.Unmarshal([]byte(text.String), list)
}

func sortedPorts(v []ports.Override) []ports.Override {
	v = slices.Clone(v)
	slices.SortFunc(v, func(a, b ports.Override) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return v
}

func readSettings(ctx context.Context, q queryer, node telephony.NodeID) (telephony.Settings, error) {
	v := telephony.DefaultSettings()
	rows, err := collect(ctx, q, func(scan func(...any) error) (r [2]string, err error) { return r, scan(&r[0], &r[1]) },
		`SELECT name, value FROM setting UNION ALL SELECT name, value FROM node_setting WHERE node_id = ?`, string(node))
	if err != nil {
		return v, fmt.Errorf("reading settings: %w", err)
	}
	fields := settingFields()
	for _, r := range rows {
		// A row that is not known any more belongs to another version of the
		// program and stays for it.
		i := slices.IndexFunc(fields, func(f settingField) bool { return f.name == r[0] })
		if i < 0 {
			continue
		}
		if err := json.Unmarshal([]byte(r[1]), fields[i].of(&v)); err != nil {
			return v, fmt.Errorf("reading setting %s: %w", r[0], err)
		}
	}
	v.Ports, err = readPorts(ctx, q, node)
	return v, err
}

func readPorts(ctx context.Context, q queryer, node telephony.NodeID) ([]ports.Override, error) {
	out, err := collect(ctx, q, func(scan func(...any) error) (o ports.Override, err error) {
		var enabled sql.NullBool
		var zones, sources sql.NullString
		if err = scan(&o.ID, &enabled, &o.First, &o.Last, &zones, &sources); err != nil {
			return o, err
		}
		if enabled.Valid {
			o.Enabled = &enabled.Bool
		}
		return o, errors.Join(listOf(zones, &o.Zones), listOf(sources, &o.Sources))
	}, `SELECT service, enabled, first, last, zones, sources FROM node_port WHERE node_id = ? ORDER BY service`, string(node))
	if err != nil {
		return nil, fmt.Errorf("reading ports: %w", err)
	}
	return out, nil
}
