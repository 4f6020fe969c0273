package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"ringfence/internal/telephony"
)

const trunkColumns = `tenant_id, id, name, kind, enabled, host, port, transport, outbound_proxy, interface, peers, peer_port,
	user, auth_user, password, register_interval, options_interval, media_security, dtmf, max_calls, number_format, caller_id,
	keep_caller_id, identity, trust_identity, dialled_in, headers, caps`

type trunkKey struct {
	tenant telephony.TenantID
	id     telephony.TrunkID
}

// trunkRow is a trunk as its row has it.
type trunkRow struct {
	telephony.Trunk
	sealed []byte
}

func scanTrunk(scan func(...any) error) (r trunkRow, err error) {
	var register, options int64
	t := &r.Trunk
	err = scan(&t.Tenant, &t.ID, &t.Name, &t.Kind, &t.Enabled, &t.Host, &t.Port, &t.Transport, &t.OutboundProxy, &t.Interface, fromJSON{&t.Peers}, &t.PeerPort,
		&t.User, &t.AuthUser, &r.sealed, &register, &options, &t.Media, &t.DTMF, &t.MaxCalls, &t.Format, &t.CallerID,
		&t.KeepCallerID, &t.Identity, &t.TrustIdentity, &t.DialledIn, fromJSON{&t.Headers}, fromJSON{&t.Caps})
	t.RegisterInterval, t.OptionsInterval = time.Duration(register)*time.Millisecond, time.Duration(options)*time.Millisecond
	return r, err
}

// readTrunks reads all trunks, those of a tenant, or a single one, with their
// passwords, numbers and rates.
func (s *Store) readTrunks(ctx context.Context, q queryer, key trunkKey) ([]telephony.Trunk, error) {
	whole, parts, args := ``, ``, []any{}
	if key.tenant != 0 {
		whole, parts, args = ` WHERE tenant_id = ?`, ` WHERE tenant_id = ?`, append(args, key.tenant)
	}
	if key.id != 0 {
		whole, parts, args = whole+` AND id = ?`, parts+` AND trunk_id = ?`, append(args, key.id)
	}
	rows, err := collect(ctx, q, scanTrunk, `SELECT `+trunkColumns+` FROM trunk`+whole+` ORDER BY tenant_id, id`, args...)
	if err != nil {
		return nil, fmt.Errorf("reading trunks: %w", err)
	}
	out := make([]telephony.Trunk, len(rows))
	place := make(map[trunkKey]*telephony.Trunk, len(rows))
	for i, r := range rows {
		if out[i] = r.Trunk; len(r.sealed) > 0 {
			if out[i].Password, err = s.keys.openTrunk(r.Tenant, r.ID, r.sealed); err != nil {
				return nil, err
			}
		}
		place[trunkKey{r.Tenant, r.ID}] = &out[i]
	}
	if err := readDIDs(ctx, q, place, parts, args); err != nil {
		return nil, err
	}
	return out, readRates(ctx, q, place, parts, args)
}

func readDIDs(ctx context.Context, q queryer, place map[trunkKey]*telephony.Trunk, where string, args []any) error {
	type did struct {
		trunkKey
		telephony.NumberRange
	}
	all, err := collect(ctx, q, func(scan func(...any) error) (d did, err error) {
		return d, scan(&d.tenant, &d.id, &d.First, &d.Last)
	}, `SELECT tenant_id, trunk_id, first, last FROM trunk_did`+where+` ORDER BY tenant_id, trunk_id, first`, args...)
	if err != nil {
		return fmt.Errorf("reading the numbers of trunks: %w", err)
	}
	for _, d := range all {
		if t := place[d.trunkKey]; t != nil {
			t.DIDs = append(t.DIDs, d.NumberRange)
		}
	}
	return nil
}

func readRates(ctx context.Context, q queryer, place map[trunkKey]*telephony.Trunk, where string, args []any) error {
	type rate struct {
		trunkKey
		telephony.Rate
	}
	all, err := collect(ctx, q, func(scan func(...any) error) (r rate, err error) {
		var first, next int64
		err = scan(&r.tenant, &r.id, &r.Prefix, &r.Name, &r.Connect, &r.Minute, &first, &next)
		r.First, r.Next = time.Duration(first)*time.Millisecond, time.Duration(next)*time.Millisecond
		return r, err
	}, `SELECT tenant_id, trunk_id, prefix, name, connect, minute, first, next FROM trunk_rate`+where+` ORDER BY tenant_id, trunk_id, prefix`, args...)
	if err != nil {
		return fmt.Errorf("reading rates: %w", err)
	}
	for _, r := range all {
		if t := place[r.trunkKey]; t != nil {
			t.Rates = append(t.Rates, r.Rate)
		}
	}
	return nil
}

// Trunk reads one trunk of the scope as this transaction sees it.
func (tx *Tx) Trunk(id telephony.TrunkID) (telephony.Trunk, error) {
	if err := tx.tenantOnly(); err != nil || id == 0 {
		return telephony.Trunk{}, errors.Join(err, ErrNotFound)
	}
	list, err := tx.s.readTrunks(tx.ctx, tx.tx, trunkKey{tx.scope, id})
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("reading trunk: %w", ErrNotFound)
	}
	if err != nil {
		return telephony.Trunk{}, err
	}
	return list[0], nil
}

// CreateTrunk adds a trunk with its password, numbers and rates, and allots its ID.
func (tx *Tx) CreateTrunk(t telephony.Trunk) (telephony.Trunk, error) {
	if err := errors.Join(tx.tenantOnly(), tx.own(&t.Tenant)); err != nil {
		return t, err
	}
	t.ID = 0
	t, err := tx.checkTrunk(t)
	if err != nil {
		return t, err
	}
	if err := telephony.CheckRates(t.Rates); err != nil {
		return t, err
	}
	if err := tx.checkRoom("trunk", "name", telephony.MaxTrunks); err != nil {
		return t, err
	}
	id, err := tx.nextID()
	if err != nil {
		return t, err
	}
	t.ID = telephony.TrunkID(id)
	if err := tx.storeTrunk(t); err != nil {
		return t, err
	}
	if err := errors.Join(tx.storeDIDs(t), tx.storeRates(t)); err != nil {
		return t, err
	}
	tx.noteTrunk("create", t, t)
	return t, nil
}

// PutTrunk changes everything of a trunk but its rates. An empty password stays as
// it is.
func (tx *Tx) PutTrunk(t telephony.Trunk) error {
	if err := errors.Join(tx.tenantOnly(), tx.own(&t.Tenant)); err != nil {
		return err
	}
	old, err := tx.Trunk(t.ID)
	if err != nil {
		return err
	}
	renewed := t.Password != "" && t.Password != old.Password
	if t.Password == "" {
		t.Password = old.Password
	}
	if t, err = tx.checkTrunk(t); err != nil {
		return err
	}
	if sameJSON(t, old) && !renewed {
		return nil
	}
	if err := tx.storeTrunk(t); err != nil {
		return err
	}
	if !slices.Equal(t.DIDs, old.DIDs) {
		if err := tx.storeDIDs(t); err != nil {
			return err
		}
	}
	if renewed {
		tx.noteTrunk("password", t, nil)
	}
	tx.noteTrunk("put", t, t)
	return nil
}

// SetTrunkPassword replaces the password of a trunk; an empty one takes it away.
func (tx *Tx) SetTrunkPassword(id telephony.TrunkID, password telephony.Secret) error {
	t, err := tx.Trunk(id)
	if err != nil {
		return err
	}
	t.Password = password
	if t, err = tx.checkTrunk(t); err != nil {
		return err
	}
	if err := tx.storeTrunk(t); err != nil {
		return err
	}
	tx.noteTrunk("password", t, nil)
	return nil
}

// PutRates replaces all rates of a trunk.
func (tx *Tx) PutRates(id telephony.TrunkID, rates []telephony.Rate) error {
	t, err := tx.Trunk(id)
	if err != nil {
		return err
	}
	if err := telephony.CheckRates(rates); err != nil {
		return err
	}
	rates = slices.Clone(rates)
	slices.SortFunc(rates, func(a, b telephony.Rate) int { return strings.Compare(a.Prefix, b.Prefix) })
	if slices.Equal(rates, t.Rates) {
		return nil
	}
	t.Rates = rates
	if err := tx.storeRates(t); err != nil {
		return err
	}
	tx.noteTrunk("rates", t, map[string]int{"rates": len(rates)})
	return nil
}

// checkTrunk completes a trunk and refuses what is not usable in the tenant.
func (tx *Tx) checkTrunk(t telephony.Trunk) (telephony.Trunk, error) {
	t = t.Complete()
	slices.SortFunc(t.DIDs, func(a, b telephony.NumberRange) int { return strings.Compare(a.First, b.First) })
	if err := t.Validate(); err != nil {
		return t, err
	}
	if t.Kind != telephony.TrunkPeer && t.Password == "" {
		return t, &telephony.FieldError{Field: "password", Reason: "must not be empty"}
	}
	if err := tx.checkFree("trunk", "name", t.Name, int64(t.ID), "is used by another trunk"); err != nil {
		return t, err
	}
	if t.Kind == telephony.TrunkAccept {
		var n int
		if err := tx.row(`SELECT count(*) FROM trunk WHERE tenant_id = ? AND kind = 'accept' AND user = ? AND id <> ?`, tx.scope, t.User, t.ID).Scan(&n); err != nil {
			return t, fmt.Errorf("looking for the gateway's name: %w", err)
		}
		if n > 0 {
			return t, taken("user", "is the name of another gateway")
		}
	}
	return t, tx.checkDIDs(t)
}

// checkDIDs keeps every number with one tenant. It does not say whose a number is.
func (tx *Tx) checkDIDs(t telephony.Trunk) error {
	for i, r := range t.DIDs {
		var n int
		err := tx.row(`SELECT count(*) FROM trunk_did WHERE first <= ?2 AND last >= ?1 AND length(first) = length(?1) AND tenant_id <> ?3`,
			r.First, r.Last, tx.scope).Scan(&n)
		if err != nil {
			return fmt.Errorf("looking for the numbers of a trunk: %w", err)
		}
		if n > 0 {
			return taken(fmt.Sprintf("dids[%d]", i), "is in use on this system")
		}
	}
	return nil
}

func (tx *Tx) storeTrunk(t telephony.Trunk) error {
	sealed := []byte{}
	if t.Password != "" {
		sealed = tx.s.keys.sealTrunk(t.Tenant, t.ID, t.Password)
	}
	_, err := tx.exec(`INSERT INTO trunk (`+trunkColumns+`) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28)
		ON CONFLICT (tenant_id, id) DO UPDATE SET name = ?3, kind = ?4, enabled = ?5, host = ?6, port = ?7, transport = ?8, outbound_proxy = ?9,
		interface = ?10, peers = ?11, peer_port = ?12, user = ?13, auth_user = ?14, password = ?15, register_interval = ?16, options_interval = ?17,
		media_security = ?18, dtmf = ?19, max_calls = ?20, number_format = ?21, caller_id = ?22, keep_caller_id = ?23, identity = ?24,
		trust_identity = ?25, dialled_in = ?26, headers = ?27, caps = ?28`,
		t.Tenant, t.ID, t.Name, string(t.Kind), t.Enabled, t.Host, t.Port, string(t.Transport), t.OutboundProxy, t.Interface, toJSON(t.Peers), t.PeerPort,
		t.User, t.AuthUser, sealed, t.RegisterInterval.Milliseconds(), t.OptionsInterval.Milliseconds(), string(t.Media), string(t.DTMF), t.MaxCalls,
		string(t.Format), t.CallerID, t.KeepCallerID, string(t.Identity), t.TrustIdentity, t.DialledIn, toJSON(t.Headers), toJSON(t.Caps))
	if err != nil {
		return fmt.Errorf("storing trunk %d: %w", t.ID, err)
	}
	return nil
}

func (tx *Tx) storeDIDs(t telephony.Trunk) error {
	if _, err := tx.exec(`DELETE FROM trunk_did WHERE tenant_id = ? AND trunk_id = ?`, t.Tenant, t.ID); err != nil {
		return fmt.Errorf("storing the numbers of trunk %d: %w", t.ID, err)
	}
	for _, r := range t.DIDs {
		if _, err := tx.exec(`INSERT INTO trunk_did (tenant_id, trunk_id, first, last) VALUES (?, ?, ?, ?)`, t.Tenant, t.ID, r.First, r.Last); err != nil {
			return fmt.Errorf("storing the numbers of trunk %d: %w", t.ID, err)
		}
	}
	return nil
}

func (tx *Tx) storeRates(t telephony.Trunk) error {
	if _, err := tx.exec(`DELETE FROM trunk_rate WHERE tenant_id = ? AND trunk_id = ?`, t.Tenant, t.ID); err != nil {
		return fmt.Errorf("storing the rates of trunk %d: %w", t.ID, err)
	}
	for _, r := range t.Rates {
		_, err := tx.exec(`INSERT INTO trunk_rate (tenant_id, trunk_id, prefix, name, connect, minute, first, next) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			t.Tenant, t.ID, r.Prefix, r.Name, int64(r.Connect), int64(r.Minute), r.First.Milliseconds(), r.Next.Milliseconds())
		if err != nil {
			return fmt.Errorf("storing the rates of trunk %d: %w", t.ID, err)
		}
	}
	return nil
}

// DeleteTrunk removes a trunk that no rule names.
func (tx *Tx) DeleteTrunk(id telephony.TrunkID) error {
	t, err := tx.Trunk(id)
	if err != nil {
		return err
	}
	users, err := tx.trunkUsers(id)
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return taken("trunk", "is used by "+someOf(users))
	}
	if _, err := tx.exec(`DELETE FROM trunk WHERE tenant_id = ? AND id = ?`, t.Tenant, t.ID); err != nil {
		return fmt.Errorf("deleting trunk %d: %w", id, err)
	}
	tx.noteTrunk("delete", t, nil)
	return nil
}

// trunkUsers names the rules that use a trunk.
func (tx *Tx) trunkUsers(id telephony.TrunkID) ([]string, error) {
	out, err := collect(tx.ctx, tx.tx, func(scan func(...any) error) (name string, err error) { return name, scan(&name) }, `
		SELECT DISTINCT 'outgoing rule ' || r.name FROM outbound_route x JOIN outbound_rule r ON r.tenant_id = x.tenant_id AND r.id = x.rule_id WHERE x.tenant_id = ?1 AND x.trunk_id = ?2
		UNION ALL SELECT DISTINCT 'incoming rule ' || r.name FROM inbound_trunk x JOIN inbound_rule r ON r.tenant_id = x.tenant_id AND r.id = x.rule_id WHERE x.tenant_id = ?1 AND x.trunk_id = ?2
		UNION ALL SELECT DISTINCT 'the emergency numbers' FROM emergency_route x WHERE x.tenant_id = ?1 AND x.trunk_id = ?2`, tx.scope, id)
	if err != nil {
		return nil, fmt.Errorf("looking who uses trunk %d: %w", id, err)
	}
	return out, nil
}

// someOf is a list for people; a long one is cut.
func someOf(names []string) string {
	const most = 5
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

func (tx *Tx) noteTrunk(verb string, t telephony.Trunk, value any) {
	if tx.touched.trunks == nil {
		tx.touched.trunks = make(map[trunkKey]bool)
	}
	tx.touched.trunks[trunkKey{t.Tenant, t.ID}] = true
	tx.note(KindTrunk, verb, strconv.FormatInt(int64(t.ID), 10), value)
}

// checkFree refuses a name that another row of a table has.
func (tx *Tx) checkFree(table, field, name string, own int64, reason string) error {
	var n int
	if err := tx.row(`SELECT count(*) FROM `+table+` WHERE tenant_id = ? AND name = ? AND id <> ?`, tx.scope, name, own).Scan(&n); err != nil {
		return fmt.Errorf("looking for the name of a %s: %w", table, err)
	}
	if n > 0 {
		return taken(field, reason)
	}
	return nil
}

// sameJSON reports whether two values look the same in the history.
func sameJSON(a, b any) bool { return toJSON(a) == toJSON(b) }

// toJSON is a value as a column or the history keeps it; our own types always encode.
func toJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("store: encoding %T: %v", v, err))
	}
	return string(b)
}

// fromJSON scans a column of JSON.
type fromJSON struct{ into any }

func (f fromJSON) Scan(v any) error {
	switch v := v.(type) {
	case string:
		return json.Unmarshal([]byte(v), f.into)
	case []byte:
		return json.Unmarshal(v, f.into)
	}
	return fmt.Errorf("column of JSON holds %T", v)
}
