package store

import (
	"context"
	"database/sql"
	"fmt"
	"net/netip"
	"time"

	"ringfence/internal/telephony"
)

const ruleColumns = `network, allow, note, expires_at, created_at, created_by`

func readAddressRules(ctx context.Context, q queryer) ([]telephony.AddressRule, error) {
	out, err := collect(ctx, q, func(scan func(...any) error) (r telephony.AddressRule, err error) {
		var network string
		var expires sql.NullInt64
		var created int64
		if err = scan(&network, &r.Allow, &r.Note, &expires, &created, &r.By); err != nil {
			return r, err
		}
		r.Expires, r.Created = fromNull(expires), fromMicros(created)
		r.Prefix, err = netip.ParsePrefix(network)
		return r, err
	}, `SELECT `+ruleColumns+` FROM address_rule ORDER BY network`)
	if err != nil {
		return nil, fmt.Errorf("reading the list of addresses: %w", err)
	}
	return out, nil
}

// ruleValue is what the history keeps of a rule.
type ruleValue struct {
	Allow   bool       `json:"allow"`
	Note    string     `json:"note,omitempty"`
	Expires *time.Time `json:"expires,omitempty"`
}

func valueOfRule(r telephony.AddressRule) ruleValue {
	v := ruleValue{Allow: r.Allow, Note: r.Note}
	if !r.Expires.IsZero() {
		v.Expires = &r.Expires
	}
	return v
}

// PutAddressRules adds rules to the list; one of the same network gives way. Only
// the box's scope may.
func (tx *Tx) PutAddressRules(by string, rules ...telephony.AddressRule) error {
	if err := tx.systemOnly(); err != nil {
		return err
	}
	now := time.Now().UTC()
	for i, r := range rules {
		if err := r.Validate(); err != nil {
			if len(rules) > 1 {
				return fmt.Errorf("entry %d: %w", i+1, err)
			}
			return err
		}
		_, err := tx.exec(`INSERT INTO address_rule (`+ruleColumns+`) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
			ON CONFLICT (network) DO UPDATE SET allow = ?2, note = ?3, expires_at = ?4, created_at = ?5, created_by = ?6`,
			r.Prefix.String(), r.Allow, r.Note, orNull(r.Expires), micros(now), by)
		if err != nil {
			return fmt.Errorf("storing address rule %s: %w", r.Prefix, err)
		}
	}
	var n int
	if err := tx.row(`SELECT count(*) FROM address_rule`).Scan(&n); err != nil {
		return fmt.Errorf("counting address rules: %w", err)
	}
	if n > telephony.MaxAddressRules {
		return &telephony.FieldError{Field: "network", Reason: fmt.Sprintf("the list would have %d entries; at most %d are possible", n, telephony.MaxAddressRules)}
	}
	tx.touched.rules = true
	if len(rules) == 1 {
		tx.note(KindAddress, "put", rules[0].Prefix.String(), valueOfRule(rules[0]))
	} else if len(rules) > 1 {
		tx.note(KindAddress, "import", fmt.Sprintf("%d entries", len(rules)), nil)
	}
	return nil
}

// DeleteAddressRule takes a network off the list.
func (tx *Tx) DeleteAddressRule(network netip.Prefix) error {
	if err := tx.systemOnly(); err != nil {
		return err
	}
	res, err := tx.exec(`DELETE FROM address_rule WHERE network = ?`, network.String())
	if err != nil {
		return fmt.Errorf("deleting address rule %s: %w", network, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return notFound(sql.ErrNoRows)
	}
	tx.touched.rules = true
	tx.note(KindAddress, "delete", network.String(), nil)
	return nil
}

// NoteUnban writes into the history that a ban was taken back.
func (tx *Tx) NoteUnban(source netip.Addr, scope telephony.BanScope) error {
	if err := tx.systemOnly(); err != nil {
		return err
	}
	tx.note(KindAddress, "unban", source.String(), string(scope))
	return nil
}
