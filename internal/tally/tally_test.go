package tally

import (
	"testing"
	"time"

	"ringfence/internal/telephony"
)

func start() time.Time { return time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC) }

func counts(n uint64) map[string]uint64 { return map[string]uint64{"drop/rest": n, "port/portal": 5} }

// sums are what is known of a series: packets, time that was counted, and slots
// that nobody counted.
func sums(list []telephony.PacketSlot, name string) (n uint64, covered time.Duration, gaps int) {
	for _, s := range list {
		n += s.Counts[name]
		covered += s.Covered
		if s.Covered == 0 {
			gaps++
		}
	}
	return n, covered, gaps
}

// Without a packet filter there is a gap, and not a line at zero; a counter that
// begins anew is not counted backwards.
func TestGapsAreNoZerosAndResetsNoLoss(t *testing.T) {
	t.Parallel()
	y := New(nil, start())
	now := start()
	tick := func(totals map[string]uint64) {
		y.Add(now, totals)
		now = now.Add(Fine)
	}
	for i := range 6 {
		tick(counts(uint64(100 * i))) // 0, 100 .. 500
	}
	for range 12 {
		tick(nil)
	}
	tick(counts(40)) // the fence began anew; nothing is known of the time before
	tick(counts(70))
	tick(counts(20)) // and again, between two readings
	n, covered, gaps := sums(y.Series(Fine, now), "drop/rest")
	if n != 500+30+20 || covered != 7*Fine || gaps != fines-7 {
		t.Errorf("%d packets in %s with %d gaps", n, covered, gaps)
	}
	if n, _, _ := sums(y.Series(Minute, now), "drop/rest"); n != 550 {
		t.Errorf("minutes: %d packets", n)
	}
	if n, covered, _ := sums(y.Series(Hour, now), "port/portal"); n != 0 || covered != 7*Fine {
		t.Errorf("hours: %d packets in %s; what never grew is zero", n, covered)
	}
	if got := y.Series(time.Second, now); got != nil {
		t.Errorf("a step that is not kept: %v", got)
	}
}

// What was stored is there again, in every view; what is too old is not.
func TestHistorySurvivesARestart(t *testing.T) {
	t.Parallel()
	y, now := New(nil, start()), start()
	for i := range 3 * 360 { // three hours
		now = start().Add(time.Duration(i) * Fine)
		y.Add(now, counts(uint64(60*i)))
	}
	stored := y.Take()
	if again := y.Take(); len(again) != 0 {
		t.Errorf("%d slots are stored twice", len(again))
	}
	if len(stored) != 180+3 {
		t.Errorf("%d slots stored, want 180 minutes and 3 hours", len(stored))
	}
	z := New(stored, now)
	for step, want := range map[time.Duration]uint64{Fine: 359 * 60, Minute: 1079 * 60, Hour: 1079 * 60} {
		n, _, _ := sums(z.Series(step, now), "drop/rest")
		if n < want-120 || n > want+120 {
			t.Errorf("steps of %s: %d packets, want %d", step, n, want)
		}
	}
	if n, covered, _ := sums(New(stored, now.Add(40*24*time.Hour)).Series(Hour, now.Add(40*24*time.Hour)), "drop/rest"); n != 0 || covered != 0 {
		t.Errorf("%d packets of 40 days ago", n)
	}
}

// However long it runs and whatever is counted, memory stays.
func TestTallyIsBounded(t *testing.T) {
	t.Parallel()
	y, now := New(nil, start()), start()
	for i := range 20_000 {
		now = now.Add(30 * time.Second)
		totals := map[string]uint64{"drop/rest": uint64(i)}
		if i%1000 == 0 {
			for j := range 1000 {
				totals[string(rune('a'+j%26))+time.Duration(j).String()] = uint64(i + 1)
			}
		}
		y.Add(now, totals)
		if i%100 == 0 {
			y.Take()
		}
	}
	for i, want := range []int{fines, minutes, hours} {
		list := y.Series(y.rings[i].step, now)
		if len(list) != want {
			t.Errorf("%d slots of %s, want %d", len(list), y.rings[i].step, want)
		}
		for _, s := range list {
			if len(s.Counts) > maxNames {
				t.Fatalf("%d counts in a slot", len(s.Counts))
			}
		}
	}
}
