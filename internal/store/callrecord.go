package store

import (
	"context"
	"database/sql"
	"fmt"
	"runtime"
	"strings"
	"time"

	"ringfence/internal/telephony"
)

const callRecordTable = "call_record"

const callRecordColumns = `tenant_id, id, node_id, direction,
	caller_number, caller_name, caller_addr, callee_number, callee_name, callee_addr,
	started_at, rang_at, answered_at, ended_at, reason, status,
	forwarded_by, transferred_by, previous_id, next_id, alarm,
	ended_by, dialled, sent, caller_id, in_trunk, did, out_trunk, class, account, emergency,
	caller_codec, caller_packets, caller_dropped, caller_lost, caller_jitter,
	caller_suite, caller_mos, caller_worst_mos, caller_sent, caller_reported, caller_to_lost, caller_to_jitter,
	caller_to_mos, caller_to_worst_mos, caller_rtt, caller_malformed, caller_forged, caller_history, caller_step,
	callee_codec, callee_packets, callee_dropped, callee_lost, callee_jitter,
	callee_suite, callee_mos, callee_worst_mos, callee_sent, callee_reported, callee_to_lost, callee_to_jitter,
	callee_to_mos, callee_to_worst_mos, callee_rtt, callee_malformed, callee_forged, callee_history, callee_step`

func callRecordValues(r telephony.CallRecord) []any {
	v := []any{r.Tenant, string(r.ID), string(r.Node), r.Direction,
		r.Caller.Number, r.Caller.Name, addrPortText(r.Caller.Addr), r.Callee.Number, r.Callee.Name, addrPortText(r.Callee.Addr),
		micros(r.Started), orNull(r.Rang), orNull(r.Answered), micros(r.Ended), string(r.Reason), r.StatusCode,
		strings.Join(r.ForwardedBy, ","), r.TransferredBy, string(r.Previous), string(r.Next), string(r.Alarm)}
	t := r.Route
	v = append(v, string(r.EndedBy), t.Dialled, t.Sent, t.CallerID, int64(t.InTrunk), t.DID, int64(t.OutTrunk), string(t.Class), t.Account, t.Emergency)
	return append(append(v, legValues(r.CallerLeg)...), legValues(r.CalleeLeg)...)
}

func scanCallRecord(scan func(...any) error) (r telephony.CallRecord, err error) {
	var caller, callee string
	var started, ended int64
	var rang, answered sql.NullInt64
	var forwarded string
	var callerLeg, calleeLeg legRow
	to := []any{&r.Tenant, &r.ID, &r.Node, &r.Direction,
		&r.Caller.Number, &r.Caller.Name, &caller, &r.Callee.Number, &r.Callee.Name, &callee,
		&started, &rang, &answered, &ended, &r.Reason, &r.StatusCode,
		&forwarded, &r.TransferredBy, &r.Previous, &r.Next, &r.Alarm,
		&r.EndedBy, &r.Route.Dialled, &r.Route.Sent, &r.Route.CallerID, &r.Route.InTrunk, &r.Route.DID, &r.Route.OutTrunk,
		&r.Route.Class, &r.Route.Account, &r.Route.Emergency}
	err = scan(append(append(to, callerLeg.pointers()...), calleeLeg.pointers()...)...)
	r.ForwardedBy = split(forwarded)
	r.Caller.Addr, r.Callee.Addr = parseAddrPort(caller), parseAddrPort(callee)
	r.Started, r.Rang, r.Answered, r.Ended = fromMicros(started), fromNull(rang), fromNull(answered), fromMicros(ended)
	r.CallerLeg, r.CalleeLeg = callerLeg.quality(), calleeLeg.quality()
	return r, err
}

// AppendCallRecords stores finished calls in one transaction. A record that is
// there already is left as it is, so a batch may be repeated; records of a
// tenant that is gone are left out.
func (s *Store) AppendCallRecords(ctx context.Context, records []telephony.CallRecord) error {
	if len(records) == 0 {
		return nil
	}
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		stmt, err := tx.PrepareContext(ctx, `INSERT INTO call_record (`+callRecordColumns+`)
			SELECT ?1`+strings.Repeat(", ?", 68)+` WHERE EXISTS (SELECT 1 FROM tenant WHERE id = ?1) ON CONFLICT (tenant_id, id) DO NOTHING`)
		if err != nil {
			return err
		}
		defer stmt.Close()
		for _, r := range records {
			if _, err := stmt.ExecContext(ctx, callRecordValues(r)...); err != nil {
				return err
			}
			runtime.Gosched() // on one processor, calls do not wait for a batch
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("storing call records: %w", err)
	}
	return nil
}

// CountCallRecords counts the scope's calls started at or after since.
func (sc Scope) CountCallRecords(ctx context.Context, since time.Time) (n int, err error) {
	err = sc.s.readers.QueryRowContext(ctx, `SELECT count(*) FROM call_record WHERE tenant_id = ? AND started_at >= ?`,
		sc.tenant, micros(since)).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("counting call records: %w", err)
	}
	return n, nil
}

// pruneCallRecords removes what tenants do not want to keep any longer, and the
// oldest records above the bound, a bounded number at a time so that the writer
// is not held up.
func (s *Store) pruneCallRecords(ctx context.Context) error {
	const step = 5000
	if err := s.forgetCallRecords(ctx, time.Now(), step); err != nil {
		return err
	}
	for more := true; more; {
		// Counted where it deletes: two that prune at once take no more than one.
		err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
			var n int
			if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM call_record`).Scan(&n); err != nil {
				return err
			}
			excess := n - s.o.MaxCallRecords
			more = excess > step
			if excess <= 0 {
				return nil
			}
			_, err := tx.ExecContext(ctx, `DELETE FROM call_record WHERE rowid IN
				(SELECT rowid FROM call_record ORDER BY ended_at LIMIT ?)`, min(step, excess))
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
