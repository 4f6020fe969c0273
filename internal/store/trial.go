package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// Try lets decide look at what the transaction makes of the settings. If it
// returns a trial, what to return to commits with the change. While one runs
// another is refused with ErrTried, and so is every change of what it changed.
func (tx *Tx) Try(decide func(before, after *telephony.Snapshot) *telephony.Trial) {
	tx.decide = decide
}

// KeepTrial makes the change that waits to be confirmed one for good.
func (tx *Tx) KeepTrial(id string) error {
	t, err := tx.endTrial(id)
	if err != nil {
		return err
	}
	tx.headline("keep", t, nil)
	return nil
}

// TakeBackTrial makes everything that the change which waits has changed as it
// was before. An empty id is whichever waits.
func (tx *Tx) TakeBackTrial(id, reason string) error {
	t, err := tx.endTrial(id)
	if err != nil {
		return err
	}
	settings, err := tx.Settings()
	if err != nil {
		return err
	}
	if settings, err = undoSettings(settings, t.Undo); err != nil {
		return err
	}
	if err := tx.PutSettings(settings); err != nil {
		return err
	}
	for p, r := range t.Undo.Rules {
		if err := tx.undoRule(p, r); err != nil {
			return err
		}
	}
	tx.headline("take_back", t, map[string]string{"reason": reason})
	return nil
}

// headline notes what becomes of a trial as what the whole transaction is about.
func (tx *Tx) headline(verb string, t *telephony.Trial, details map[string]string) {
	tx.note(KindSettings, verb, strings.Join(t.Undo.Names(), " "), details)
	tx.title = tx.ops[len(tx.ops)-1]
}

// endTrial forgets the change that waits; it stays as it is.
func (tx *Tx) endTrial(id string) (*telephony.Trial, error) {
	if err := tx.systemOnly(); err != nil {
		return nil, err
	}
	t, err := readTrial(tx.ctx, tx.tx)
	if err != nil {
		return nil, err
	}
	if t == nil || id != "" && id != t.ID {
		return nil, ErrNoTrial
	}
	if _, err := tx.exec(`DELETE FROM trial`); err != nil {
		return nil, fmt.Errorf("ending a trial: %w", err)
	}
	tx.touched.trial = true
	return t, nil
}

func (tx *Tx) undoRule(p netip.Prefix, r *telephony.AddressRule) (err error) {
	if r == nil {
		_, err = tx.exec(`DELETE FROM address_rule WHERE network = ?`, p.String())
	} else {
		_, err = tx.exec(`INSERT INTO address_rule (`+ruleColumns+`) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
			ON CONFLICT (network) DO UPDATE SET allow = ?2, note = ?3, expires_at = ?4, created_at = ?5, created_by = ?6`,
			p.String(), r.Allow, r.Note, orNull(r.Expires), micros(r.Created), r.By)
	}
	if err != nil {
		return fmt.Errorf("returning to address rule %s: %w", p, err)
	}
	tx.touched.rules = true
	tx.touch(KindAddress, tx.scope)
	return nil
}

// weigh begins a trial if the transaction asks for one, or holds the
// transaction against the one that runs.
func (st *txState) weigh(old, next *telephony.Snapshot) error {
	var wanted *telephony.Trial
	if st.decide != nil {
		wanted = st.decide(old, next)
	}
	switch {
	case next.Trial != nil:
		return st.spare(old, next, wanted != nil)
	case wanted == nil:
		return nil
	}
	undo, err := st.undoOf(old, next)
	if err != nil {
		return err
	}
	wanted.Undo, wanted.Rev = undo, next.Rev
	value, err := json.Marshal(undo)
	if err != nil {
		return fmt.Errorf("encoding what a trial returns to: %w", err)
	}
	_, err = st.exec(`INSERT INTO trial (id, name, made_by, rev, began_at, window, undo) VALUES (1, ?, ?, ?, ?, ?, ?)`,
		wanted.ID, wanted.By, int64(wanted.Rev), micros(wanted.Began), wanted.Window.Milliseconds(), string(value))
	if err != nil {
		return fmt.Errorf("storing what a trial returns to: %w", err)
	}
	next.Trial = wanted
	(&Tx{st, telephony.System}).headline("try", wanted, map[string]string{"seconds": fmt.Sprint(int(wanted.Window.Seconds()))})
	return nil
}

// spare refuses what would change a thing that a trial has changed, or make
// impossible what it would return to.
func (st *txState) spare(old, next *telephony.Snapshot, another bool) error {
	changed, err := st.undoOf(old, next)
	if err != nil {
		return err
	}
	if common := changed.Common(next.Trial.Undo); common != "" {
		return fmt.Errorf("%w: it changes %s too; keep it or take it back first", ErrTried, common)
	}
	if another {
		return fmt.Errorf("%w: this one would have to be as well; keep the other or take it back first", ErrTried)
	}
	back := *next
	if back.Settings, err = undoSettings(next.Settings, next.Trial.Undo); err != nil {
		return err
	}
	if err = back.Settings.Validate(); err == nil {
		err = st.s.verify(&back)
	}
	if err != nil {
		return fmt.Errorf("%w: it could not be taken back any more: %w", ErrTried, err)
	}
	return nil
}

// undoOf is what leads from next back to old.
func (st *txState) undoOf(old, next *telephony.Snapshot) (u telephony.Undo, err error) {
	if st.touched.settings {
		if u.Settings, err = undoFields(old.Settings, next.Settings); err != nil {
			return u, err
		}
		u.Ports = undoPorts(old.Settings.Ports, next.Settings.Ports)
	}
	if st.touched.rules {
		u.Rules = undoRules(old.Rules, next.Rules)
	}
	return u, nil
}

func undoFields(old, next telephony.Settings) (map[string]json.RawMessage, error) {
	out := map[string]json.RawMessage{}
	for _, f := range settingFields() {
		was, err1 := json.Marshal(f.of(&old))
		is, err2 := json.Marshal(f.of(&next))
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("encoding setting %s: %w", f.name, err)
		}
		if !bytes.Equal(was, is) {
			out[f.name] = was
		}
	}
	return out, nil
}

func undoPorts(old, next []ports.Override) map[ports.ID]*ports.Override {
	out := map[ports.ID]*ports.Override{}
	for _, row := range ports.Table() {
		if was, is := override(old, row.ID), override(next, row.ID); !same(was, is) {
			out[row.ID] = was
		}
	}
	return out
}

func override(list []ports.Override, id ports.ID) *ports.Override {
	for _, o := range list {
		if o.ID == id {
			return &o
		}
	}
	return nil
}

// same compares as the database does.
func same(a, b *ports.Override) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

func undoRules(old, next []telephony.AddressRule) map[netip.Prefix]*telephony.AddressRule {
	out := map[netip.Prefix]*telephony.AddressRule{}
	for _, r := range next {
		out[r.Prefix] = nil
	}
	is := make(map[netip.Prefix]telephony.AddressRule, len(next))
	for _, r := range next {
		is[r.Prefix] = r
	}
	for _, r := range old {
		if now, there := is[r.Prefix]; there && now == r {
			delete(out, r.Prefix)
		} else {
			out[r.Prefix] = &r
		}
	}
	return out
}

// undoSettings returns settings with what a trial changed as it was.
func undoSettings(v telephony.Settings, u telephony.Undo) (telephony.Settings, error) {
	for _, f := range settingFields() {
		was, changed := u.Settings[f.name]
		if !changed {
			continue
		}
		// Decoding into the present value would merge maps.
		field := reflect.ValueOf(f.of(&v)).Elem()
		field.SetZero()
		if err := json.Unmarshal(was, field.Addr().Interface()); err != nil {
			return v, fmt.Errorf("returning to setting %s: %w", f.name, err)
		}
	}
	var kept []ports.Override
	for _, o := range v.Ports {
		if _, changed := u.Ports[o.ID]; !changed {
			kept = append(kept, o)
		}
	}
	for _, row := range ports.Table() {
		if was := u.Ports[row.ID]; was != nil {
			kept = append(kept, *was)
		}
	}
	v.Ports = kept
	return v, nil
}

func readTrial(ctx context.Context, q queryer) (*telephony.Trial, error) {
	var t telephony.Trial
	var began, window int64
	var undo string
	err := q.QueryRowContext(ctx, `SELECT name, made_by, rev, began_at, window, undo FROM trial`).Scan(&t.ID, &t.By, &t.Rev, &began, &window, &undo)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the change that waits to be confirmed: %w", err)
	}
	t.Began, t.Window = fromMicros(began), time.Duration(window)*time.Millisecond
	if err := json.Unmarshal([]byte(undo), &t.Undo); err != nil {
		return nil, fmt.Errorf("reading what a trial returns to: %w", err)
	}
	return &t, nil
}
