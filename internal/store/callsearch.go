package store

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"ringfence/internal/telephony"
)

// CallRecordFilter chooses call records, the latest started first. The zero
// value of a field chooses all.
type CallRecordFilter struct {
	Before    time.Time // only calls started before
	From      time.Time // only calls started then or later
	Cursor    string    // where the page before ended; empty is the first page
	Limit     int       // 1..1000; 0 is 100
	Extension string    // only calls from or to exactly this number
	Number    string    // only calls from or to a number that contains this
	Direction string
	Answered  *bool
	Reason    telephony.EndReason
	Least     time.Duration // only calls that lasted so long, from the answer
	Alarm     bool          // only calls with an alarm
}

// CallRecords lists the scope's calls and the cursor of the next page, empty
// at the end. A malformed cursor is a *telephony.FieldError.
func (sc Scope) CallRecords(ctx context.Context, f CallRecordFilter) (records []telephony.CallRecord, next string, err error) {
	if f.Limit <= 0 || f.Limit > 1000 {
		f.Limit = 100
	}
	before, id := int64(math.MaxInt64), ""
	if !f.Before.IsZero() {
		before = micros(f.Before)
	}
	if f.Cursor != "" {
		if before, id, err = parseCursor(f.Cursor); err != nil {
			return nil, "", err
		}
	}
	records, err = sc.callRecords(ctx, f, before, id)
	if err != nil {
		return nil, "", fmt.Errorf("reading call records: %w", err)
	}
	if len(records) > f.Limit {
		records = records[:f.Limit]
		last := records[f.Limit-1]
		next = strconv.FormatInt(micros(last.Started), 10) + "." + string(last.ID)
	}
	return records, next, nil
}

func (sc Scope) callRecords(ctx context.Context, f CallRecordFilter, before int64, id string) ([]telephony.CallRecord, error) {
	args := []any{sc.tenant, before, id, f.Limit + 1, f.Extension}
	more, extra := f.conditions(len(args))
	args = append(args, extra...)
	const page = ` AND (started_at, id) < (?2, ?3) ORDER BY started_at DESC, id DESC LIMIT ?4`
	if f.Extension == "" {
		return collect(ctx, sc.s.readers, scanCallRecord, `SELECT `+callRecordColumns+` FROM call_record
			WHERE tenant_id = ?1 AND ?5 = ''`+more+page, args...)
	}
	// Each half walks its own index; UNION drops a call from a number to itself.
	const half = `SELECT * FROM (SELECT ` + callRecordColumns + ` FROM call_record WHERE tenant_id = ?1 AND `
	return collect(ctx, sc.s.readers, scanCallRecord,
		half+`caller_number = ?5`+more+page+`) UNION `+half+`callee_number = ?5`+more+page+`) ORDER BY started_at DESC, id DESC LIMIT ?4`,
		args...)
}

// conditions are the further conditions of a filter, whose values follow n
// others. What somebody asked for stands in values only.
func (f CallRecordFilter) conditions(n int) (sql string, args []any) {
	var b strings.Builder
	add := func(condition string, value any) {
		args = append(args, value)
		b.WriteString(" AND " + strings.ReplaceAll(condition, "?", "?"+strconv.Itoa(n+len(args))))
	}
	if !f.From.IsZero() {
		add("started_at >= ?", micros(f.From))
	}
	if f.Number != "" {
		add("(instr(caller_number, ?) > 0 OR instr(callee_number, ?) > 0)", f.Number)
	}
	if f.Direction != "" {
		add("direction = ?", f.Direction)
	}
	if f.Answered != nil {
		add("(answered_at IS NOT NULL) = ?", *f.Answered)
	}
	if f.Reason != "" {
		add("reason = ?", string(f.Reason))
	}
	if f.Least > 0 {
		add("ended_at - answered_at >= ?", f.Least.Microseconds())
	}
	if f.Alarm {
		add("alarm <> ?", "")
	}
	return b.String(), args
}

func parseCursor(cursor string) (before int64, id string, err error) {
	at, id, ok := strings.Cut(cursor, ".")
	before, err = strconv.ParseInt(at, 10, 64)
	if !ok || err != nil {
		return 0, "", &telephony.FieldError{Field: "cursor", Reason: "is none that a page before gave"}
	}
	return before, id, nil
}
