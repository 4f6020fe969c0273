package store

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"ringfence/internal/telephony"
)

// TestCallRecordsAreFound: whatever is asked for, in whatever pages, what comes
// is what a look at every record finds.
func TestCallRecordsAreFound(t *testing.T) {
	t.Parallel()
	s := open(t)
	id, other := addTenant(t, s, "pbx.example"), addTenant(t, s, "other.example")
	r := rand.New(rand.NewPCG(3, 3))
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	var all []telephony.CallRecord
	for i := range 200 {
		c := exampleCall(id, fmt.Sprintf("call-%03d", i), pick("101", "102", "+493012345"), pick("101", "103", "*43"), start.Add(time.Duration(r.IntN(600))*time.Minute))
		c.Direction = pick("internal", "inbound", "outbound")
		c.Reason = telephony.EndReason(pick("caller_hung_up", "busy"))
		c.Alarm = telephony.Alarm(pick("", "bad_quality"))
		if r.IntN(3) == 0 {
			c.Answered = time.Time{}
		} else {
			c.Ended = c.Answered.Add(time.Duration(r.IntN(120)) * time.Second)
		}
		all = append(all, c)
	}
	foreign := exampleCall(other, "call-other", "101", "102", start)
	if err := s.AppendCallRecords(t.Context(), append(slices.Clone(all), foreign)); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(all, func(a, b telephony.CallRecord) int {
		if c := b.Started.Compare(a.Started); c != 0 {
			return c
		}
		return strings.Compare(string(b.ID), string(a.ID))
	})
	yes, no := true, false
	found := 0
	for range 300 {
		f := CallRecordFilter{Limit: 1 + r.IntN(60)}
		if r.IntN(3) == 0 {
			f.Extension = pick("101", "102", "103", "9")
		}
		if r.IntN(3) == 0 {
			f.Number = pick("10", "+49", "*", "0123", "%", "_")
		}
		if r.IntN(3) == 0 {
			f.From = start.Add(time.Duration(r.IntN(600)) * time.Minute)
		}
		if r.IntN(3) == 0 {
			f.Before = start.Add(time.Duration(r.IntN(600)) * time.Minute)
		}
		if r.IntN(4) == 0 {
			f.Direction = pick("internal", "outbound", "' OR 1=1 --")
		}
		if r.IntN(4) == 0 {
			f.Answered = []*bool{&yes, &no}[r.IntN(2)]
		}
		if r.IntN(4) == 0 {
			f.Reason = telephony.EndReason(pick("busy", "caller_hung_up"))
		}
		if r.IntN(4) == 0 {
			f.Least = time.Duration(r.IntN(90)) * time.Second
		}
		f.Alarm = r.IntN(4) == 0
		var want []telephony.CallID
		for _, c := range all {
			if f.wants(c) {
				want = append(want, c.ID)
			}
		}
		got, _ := walk(t, s.ForTenant(id), f)
		var ids []telephony.CallID
		for _, c := range got {
			ids = append(ids, c.ID)
		}
		if !slices.Equal(ids, want) {
			t.Errorf("%+v: %d found, want %d", f, len(ids), len(want))
		}
		found += len(ids)
	}
	if found < 1000 {
		t.Errorf("%d found in all: the questions ask for nothing", found)
	}
}

// wants is the filter in other words than the query's.
func (f CallRecordFilter) wants(c telephony.CallRecord) bool {
	return (f.Extension == "" || c.Caller.Number == f.Extension || c.Callee.Number == f.Extension) &&
		(strings.Contains(c.Caller.Number, f.Number) || strings.Contains(c.Callee.Number, f.Number)) &&
		(f.From.IsZero() || !c.Started.Before(f.From)) && (f.Before.IsZero() || c.Started.Before(f.Before)) &&
		(f.Direction == "" || c.Direction == f.Direction) && (f.Answered == nil || *f.Answered == !c.Answered.IsZero()) &&
		(f.Reason == "" || c.Reason == f.Reason) && (f.Least == 0 || !c.Answered.IsZero() && c.Duration() >= f.Least) &&
		(!f.Alarm || c.Alarm != "")
}

// TestOldCallRecordsAreForgotten when their tenant wants so, and no others.
func TestOldCallRecordsAreForgotten(t *testing.T) {
	t.Parallel()
	s := open(t)
	short, long := addTenant(t, s, "short.example"), addTenant(t, s, "long.example")
	now := time.Now()
	var all []telephony.CallRecord
	for _, id := range []telephony.TenantID{short, long} {
		for days := range 40 {
			all = append(all, exampleCall(id, fmt.Sprintf("%d-%d", id, days), "101", "102", now.AddDate(0, 0, -days).Add(-time.Hour)))
		}
	}
	if err := s.AppendCallRecords(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	for days, ok := range map[int]bool{-1: false, 3651: false, 30: true} {
		_, err := s.ForTenant(short).Update(t.Context(), telephony.Actor{}, func(tx *Tx) error { return tx.PutKeeping(telephony.Keeping{CallDays: days}) })
		if fe, refused := telephony.AsFieldError(err); ok != (err == nil) || !ok && (!refused || fe.Field != "call_days") {
			t.Errorf("%d days: %v", days, err)
		}
	}
	if err := s.forgetCallRecords(t.Context(), now, 3); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[telephony.TenantID]int{short: 30, long: 40} {
		if got, _ := walk(t, s.ForTenant(id), CallRecordFilter{}); len(got) != want {
			t.Errorf("tenant %d keeps %d, want %d", id, len(got), want)
		}
	}
	if k, err := s.ForTenant(short).Keeping(t.Context()); err != nil || k.CallDays != 30 {
		t.Errorf("%+v %v", k, err)
	}
}
