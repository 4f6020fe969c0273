package store

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"ringfence/internal/telephony"
)

// The journal keeps the newest 10,000 entries, and pages, filters and counts.
func TestJournalOfAttacksIsBounded(t *testing.T) {
	t.Parallel()
	s := open(t)
	at := time.Now().Truncate(time.Second).UTC()
	var list []telephony.Attack
	for i := range maxAttacks + 500 {
		source := netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)})
		list = append(list, telephony.Attack{Ban: telephony.Ban{Source: source, Scope: telephony.BanSIP, Reason: fmt.Sprintf("Reason %d", i%2),
			Since: at, Until: at.Add(time.Hour), Level: 1, Port: "udp 5060", Evidence: telephony.Evidence{UserAgent: "<script>", Count: 500}}})
	}
	for part := range 21 {
		if err := s.AppendAttacks(t.Context(), list[part*500:(part+1)*500]); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.AttacksSince(t.Context(), at); err != nil || n != maxAttacks {
		t.Errorf("%d entries are kept, %v", n, err)
	}
	first, err := s.Attacks(t.Context(), AttackFilter{Limit: 3})
	if err != nil || len(first) != 3 || first[0].Source != list[len(list)-1].Source || first[0].ID <= first[1].ID {
		t.Fatalf("%+v, %v", first, err)
	}
	got := first[0].Ban
	got.Source = list[len(list)-1].Source
	if got != list[len(list)-1].Ban {
		t.Errorf("stored %+v, read %+v", list[len(list)-1].Ban, got)
	}
	next, err := s.Attacks(t.Context(), AttackFilter{Limit: 3, Before: first[2].ID})
	if err != nil || len(next) != 3 || next[0].ID != first[2].ID-1 {
		t.Errorf("%+v, %v", next, err)
	}
	one, err := s.Attacks(t.Context(), AttackFilter{Source: list[9000].Source})
	if err != nil || len(one) != 1 {
		t.Errorf("%+v, %v", one, err)
	}
	odd, err := s.Attacks(t.Context(), AttackFilter{Reason: "rEASON 1", Limit: 1000})
	if err != nil || len(odd) != 1000 || odd[0].Reason != "Reason 1" {
		t.Errorf("%d, %v", len(odd), err)
	}
	if none, err := s.Attacks(t.Context(), AttackFilter{Reason: "%' OR 1=1"}); err != nil || len(none) != 0 {
		t.Errorf("%d, %v", len(none), err)
	}
}

// Counts over time are kept, replaced and forgotten.
func TestPacketHistoryIsKept(t *testing.T) {
	t.Parallel()
	s := open(t)
	at := time.Now().Truncate(time.Minute).UTC()
	slot := telephony.PacketSlot{At: at, Step: time.Minute, Covered: 20 * time.Second, Counts: map[string]uint64{"drop/rest": 7}}
	old := slot
	old.At = at.Add(-48 * time.Hour)
	hour := slot
	hour.Step = time.Hour
	keep := map[time.Duration]time.Time{time.Minute: at.Add(-24 * time.Hour)}
	if err := s.SavePackets(t.Context(), []telephony.PacketSlot{slot, old, hour}, nil); err != nil {
		t.Fatal(err)
	}
	slot.Covered, slot.Counts = time.Minute, map[string]uint64{"drop/rest": 70}
	if err := s.SavePackets(t.Context(), []telephony.PacketSlot{slot}, keep); err != nil {
		t.Fatal(err)
	}
	got, err := s.LoadPackets(t.Context())
	if err != nil || len(got) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, p := range got {
		if p.Step == time.Minute && (p.Covered != time.Minute || p.Counts["drop/rest"] != 70 || !p.At.Equal(at)) {
			t.Errorf("%+v", p)
		}
	}
}
