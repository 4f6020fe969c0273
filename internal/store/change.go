package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"

	"ringfence/internal/telephony"
)

// AuditEntry is one row of the hash-chained history.
type AuditEntry struct {
	Seq     uint64
	Rev     uint64 // of the settings after it
	Tenant  telephony.TenantID
	At      time.Time
	Actor   telephony.Actor
	Kind    string // "extension.create", or "update" for several at once
	Object  string // what was changed, such as an extension number
	Payload json.RawMessage
}

// op is one change inside a transaction.
type op struct {
	Kind   string `json:"op"`
	Object string `json:"object"`
	Value  any    `json:"value,omitempty"`
}

// link is an AuditEntry with its place in the chain.
type link struct {
	AuditEntry
	prev, hash [32]byte
}

// seal computes the link's hash over the previous one and every field.
func (l *link) seal() [32]byte {
	b := l.prev[:]
	for _, n := range []int64{int64(l.Seq), int64(l.Rev), int64(l.Tenant), micros(l.At)} {
		b = fmt.Appendf(b, "%d\x00", n)
	}
	for _, s := range []string{string(l.Actor.Kind), l.Actor.Name, addrText(l.Actor.Addr), l.Kind, l.Object, string(l.Payload)} {
		b = appendText(b, 's', s)
	}
	return sha256.Sum256(b)
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func parseAddr(s string) netip.Addr {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}
	}
	return a
}

func chainHead(ctx context.Context, q queryer) (seq uint64, head [32]byte, err error) {
	var hash []byte
	err = q.QueryRowContext(ctx, `SELECT seq, hash FROM change ORDER BY seq DESC LIMIT 1`).Scan(&seq, &hash)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, head, nil
	}
	if err != nil {
		return 0, head, fmt.Errorf("reading the last change: %w", err)
	}
	copy(head[:], hash)
	return seq, head, nil
}

// appendChange writes the next link of the chain.
func appendChange(ctx context.Context, tx *sql.Tx, e AuditEntry) error {
	seq, head, err := chainHead(ctx, tx)
	if err != nil {
		return err
	}
	l := link{AuditEntry: e, prev: head}
	l.Seq = seq + 1
	l.hash = l.seal()
	_, err = tx.ExecContext(ctx, `INSERT INTO change
		(seq, rev, tenant_id, at, actor_kind, actor_name, actor_addr, kind, object, payload, prev, hash)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		int64(l.Seq), int64(l.Rev), l.Tenant, micros(l.At), string(l.Actor.Kind), l.Actor.Name, addrText(l.Actor.Addr),
		l.Kind, l.Object, string(l.Payload), l.prev[:], l.hash[:])
	if err != nil {
		return fmt.Errorf("appending to the history of changes: %w", err)
	}
	return nil
}

// entryOf makes one entry of the operations of a transaction.
func entryOf(rev uint64, tenant telephony.TenantID, actor telephony.Actor, ops []op) (AuditEntry, error) {
	e := AuditEntry{Rev: rev, Tenant: tenant, At: time.Now(), Actor: actor, Kind: "update"}
	if len(ops) == 1 {
		e.Kind, e.Object = ops[0].Kind, ops[0].Object
	}
	payload, err := json.Marshal(ops)
	if err != nil {
		return e, fmt.Errorf("encoding a change: %w", err)
	}
	e.Payload = payload
	return e, nil
}

const changeColumns = `seq, rev, tenant_id, at, actor_kind, actor_name, actor_addr, kind, object, payload, prev, hash`

func scanLink(scan func(...any) error) (l link, err error) {
	var at int64
	var addr, payload string
	var prev, hash []byte
	err = scan(&l.Seq, &l.Rev, &l.Tenant, &at, &l.Actor.Kind, &l.Actor.Name, &addr, &l.Kind, &l.Object, &payload, &prev, &hash)
	if err != nil {
		return l, err
	}
	if len(prev) != 32 || len(hash) != 32 {
		return l, fmt.Errorf("change %d has a hash of a wrong length", l.Seq)
	}
	l.At, l.Actor.Addr, l.Payload = fromMicros(at), parseAddr(addr), json.RawMessage(payload)
	copy(l.prev[:], prev)
	copy(l.hash[:], hash)
	return l, nil
}

// VerifyChain reads the whole history and reports the first row that was
// edited, inserted or deleted: every row must carry the hash of the one before
// it, the numbers must not jump, and the end must be the one acknowledged last.
func (s *Store) VerifyChain(ctx context.Context) error {
	tx, err := s.readers.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("verifying the history of changes: %w", err)
	}
	defer tx.Rollback()
	s.witnessMu.Lock()
	last := s.witness.last
	s.witnessMu.Unlock()
	if err := verifyLinks(ctx, tx, last); err != nil {
		return fmt.Errorf("verifying the history of changes: %w", err)
	}
	return nil
}

func verifyLinks(ctx context.Context, q queryer, last progress) error {
	rows, err := q.QueryContext(ctx, `SELECT `+changeColumns+` FROM change ORDER BY seq`)
	if err != nil {
		return err
	}
	defer rows.Close()
	var head [32]byte
	var seq uint64
	for rows.Next() {
		l, err := scanLink(rows.Scan)
		if err != nil {
			return err
		}
		seq++
		switch {
		case l.Seq != seq:
			return fmt.Errorf("change %d is missing", seq)
		case l.prev != head:
			return fmt.Errorf("change %d does not follow the one before it", seq)
		case l.seal() != l.hash:
			return fmt.Errorf("change %d was edited", seq)
		case seq == last.Seq && !bytes.Equal(l.hash[:], last.Head[:]):
			return fmt.Errorf("change %d is another one than was acknowledged", seq)
		}
		head = l.hash
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if seq < last.Seq {
		return fmt.Errorf("changes %d to %d are missing at the end", seq+1, last.Seq)
	}
	return nil
}

// AuditFilter chooses entries of the history, newest first.
type AuditFilter struct {
	Before uint64 // only entries with a lower Seq; 0 starts at the newest
	Limit  int    // 1..1000; 0 is 100
}

// Audit lists the history of the scope: a tenant sees its own entries, the
// box's scope sees all.
func (sc Scope) Audit(ctx context.Context, f AuditFilter) ([]AuditEntry, error) {
	if f.Limit <= 0 || f.Limit > 1000 {
		f.Limit = 100
	}
	if f.Before == 0 {
		f.Before = math.MaxInt64
	}
	where := `tenant_id = ?1 AND seq < ?2`
	if sc.tenant == telephony.System {
		where = `?1 = 0 AND seq < ?2`
	}
	links, err := collect(ctx, sc.s.readers, scanLink, `SELECT `+changeColumns+` FROM change
		WHERE `+where+` ORDER BY seq DESC LIMIT ?3`, sc.tenant, int64(min(f.Before, math.MaxInt64)), f.Limit)
	if err != nil {
		return nil, fmt.Errorf("reading the history of changes: %w", err)
	}
	out := make([]AuditEntry, len(links))
	for i, l := range links {
		out[i] = l.AuditEntry
	}
	return out, nil
}

// Record appends an event that changes no setting, such as a log-in, to the
// scope's history. details must not hold secrets.
func (sc Scope) Record(ctx context.Context, actor telephony.Actor, kind, object string, details map[string]string) error {
	return sc.s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		return recordIn(ctx, tx, sc.tenant, actor, kind, object, details)
	})
}

func recordIn(ctx context.Context, tx *sql.Tx, tenant telephony.TenantID, actor telephony.Actor, kind, object string, details map[string]string) error {
	rev, err := revOf(ctx, tx)
	if err != nil {
		return err
	}
	var value any
	if len(details) > 0 {
		value = details
	}
	e, err := entryOf(rev, tenant, actor, []op{{kind, object, value}})
	if err != nil {
		return err
	}
	return appendChange(ctx, tx, e)
}

func revOf(ctx context.Context, q queryer) (rev uint64, err error) {
	if err := q.QueryRowContext(ctx, `SELECT rev FROM meta WHERE id = 1`).Scan(&rev); err != nil {
		return 0, fmt.Errorf("reading the revision: %w", err)
	}
	return rev, nil
}
