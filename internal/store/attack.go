package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"ringfence/internal/telephony"
)

// maxAttacks bounds the journal; the oldest entries give way.
const maxAttacks = 10_000

// AppendAttacks adds to the journal of attacks; it is meant for batches written
// behind. IDs are given here.
func (s *Store) AppendAttacks(ctx context.Context, list []telephony.Attack) error {
	if len(list) == 0 {
		return nil
	}
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, a := range list {
			_, err := tx.ExecContext(ctx, `INSERT INTO attack (at, source, scope, reason, level, port, user_agent, target, count, until) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
				micros(a.Since), a.Source.String(), string(a.Scope), a.Reason, a.Level, a.Port, a.Evidence.UserAgent, a.Evidence.Target, a.Evidence.Count, micros(a.Until))
			if err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM attack WHERE id <= (SELECT max(id) FROM attack) - ?`, maxAttacks)
		return err
	})
	if err != nil {
		return fmt.Errorf("storing attacks: %w", err)
	}
	return nil
}

// AttackFilter chooses entries of the journal, the newest first.
type AttackFilter struct {
	Before int64      // only entries with a lower ID; 0 is no bound
	Limit  int        // 1..1000; 0 is 100
	Source netip.Addr // only this one, or of IPv6 its /64; invalid is all
	Reason string     // part of the reason, whatever the case; empty is all
}

// Attacks reads the journal.
func (s *Store) Attacks(ctx context.Context, f AttackFilter) ([]telephony.Attack, error) {
	if f.Limit <= 0 || f.Limit > 1000 {
		f.Limit = 100
	}
	source := ""
	if f.Source.IsValid() {
		source = f.Source.String()
	}
	out, err := collect(ctx, s.readers, func(scan func(...any) error) (a telephony.Attack, err error) {
		var from string
		var at, until int64
		err = scan(&a.ID, &at, &from, &a.Scope, &a.Reason, &a.Level, &a.Port, &a.Evidence.UserAgent, &a.Evidence.Target, &a.Evidence.Count, &until)
		a.Source, a.Since, a.Until = parseAddr(from), fromMicros(at), fromMicros(until)
		return a, err
	}, `SELECT id, at, source, scope, reason, level, port, user_agent, target, count, until FROM attack
		WHERE (?1 = 0 OR id < ?1) AND (?2 = '' OR source = ?2) AND (?3 = '' OR instr(lower(reason), lower(?3)) > 0)
		ORDER BY id DESC LIMIT ?4`, f.Before, source, f.Reason, f.Limit)
	if err != nil {
		return nil, fmt.Errorf("reading attacks: %w", err)
	}
	return out, nil
}

// AttacksSince counts the entries of the journal since a time.
func (s *Store) AttacksSince(ctx context.Context, t time.Time) (n int, err error) {
	err = s.readers.QueryRowContext(ctx, `SELECT count(*) FROM attack WHERE at >= ?`, micros(t)).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("counting attacks: %w", err)
	}
	return n, nil
}

// SavePackets stores slots of the packet history, and forgets those older than
// keep says for their step.
func (s *Store) SavePackets(ctx context.Context, slots []telephony.PacketSlot, keep map[time.Duration]time.Time) error {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, p := range slots {
			counts, err := json.Marshal(p.Counts)
			if err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, `INSERT INTO packet_history (step, at, covered, counts) VALUES (?1, ?2, ?3, ?4)
				ON CONFLICT (step, at) DO UPDATE SET covered = ?3, counts = ?4`, p.Step.Milliseconds(), micros(p.At), p.Covered.Milliseconds(), string(counts))
			if err != nil {
				return err
			}
		}
		for step, oldest := range keep {
			if _, err := tx.ExecContext(ctx, `DELETE FROM packet_history WHERE step = ? AND at < ?`, step.Milliseconds(), micros(oldest)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("storing packet counts: %w", err)
	}
	return nil
}

// LoadPackets reads the packet history.
func (s *Store) LoadPackets(ctx context.Context) ([]telephony.PacketSlot, error) {
	out, err := collect(ctx, s.readers, func(scan func(...any) error) (p telephony.PacketSlot, err error) {
		var step, at, covered int64
		var counts string
		if err := scan(&step, &at, &covered, &counts); err != nil {
			return p, err
		}
		p.Step, p.At, p.Covered = time.Duration(step)*time.Millisecond, fromMicros(at), time.Duration(covered)*time.Millisecond
		return p, json.Unmarshal([]byte(counts), &p.Counts)
	}, `SELECT step, at, covered, counts FROM packet_history`)
	if err != nil {
		return nil, fmt.Errorf("reading packet counts: %w", err)
	}
	return out, nil
}
