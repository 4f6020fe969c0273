package store

import (
	"testing"
	"time"

	"ringfence/internal/telephony"
)

// TestCallHandlingIsKept: what is set is read back, also after a restart, is
// in the snapshot and in the history, and what is not usable is refused.
func TestCallHandlingIsKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAt(t, dir)
	id := addTenant(t, s, "pbx.example", "101", "102")
	want := telephony.CallHandling{
		ForwardAlways: "102", ForwardBusy: "103", ForwardNoAnswer: "*97", ForwardUnregistered: "+4930",
		DoNotDisturb: true, MaxCalls: 2, RingAlso: []string{"102", "103"},
	}
	put := func(h telephony.CallHandling) error {
		_, err := s.ForTenant(id).Update(t.Context(), admin(), func(tx *Tx) error {
			e, err := tx.Extension("101")
			if err != nil {
				return err
			}
			e.Handling = h
			return tx.PutExtension(e)
		})
		return err
	}
	if err := put(want); err != nil {
		t.Fatal(err)
	}
	if fe, ok := telephony.AsFieldError(put(telephony.CallHandling{ForwardBusy: "101"})); !ok || fe.Field != "forward_busy" {
		t.Errorf("forwarding to itself: %v", fe)
	}
	s.Close()
	s = openAt(t, dir)
	if e, _ := s.Snapshot().Extension(id, "101"); !e.Handling.Equal(want) {
		t.Errorf("after a restart: %+v", e.Handling)
	}
	if e, _ := s.Snapshot().Extension(id, "102"); !e.Handling.Equal(telephony.CallHandling{}) {
		t.Errorf("another extension: %+v", e.Handling)
	}
}

func TestCallRecordsNameForwardsAndTransfers(t *testing.T) {
	t.Parallel()
	s := open(t)
	id := addTenant(t, s, "pbx.example", "101", "102")
	r := exampleCall(id, "c1", "101", "102", time.Now())
	r.ForwardedBy, r.TransferredBy, r.Previous, r.Next = []string{"105", "106"}, "107", "c0", "c2"
	if err := s.AppendCallRecords(t.Context(), []telephony.CallRecord{r}); err != nil {
		t.Fatal(err)
	}
	got, _, err := s.ForTenant(id).CallRecords(t.Context(), CallRecordFilter{})
	if err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	if g := got[0]; len(g.ForwardedBy) != 2 || g.ForwardedBy[1] != "106" || g.TransferredBy != "107" || g.Previous != "c0" || g.Next != "c2" {
		t.Errorf("%+v", g)
	}
}
