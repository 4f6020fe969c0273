package dialplan

import (
	"math/rand/v2"
	"testing"
	"time"

	"ringfence/internal/telephony"
)

func always(spans ...telephony.DaySpan) (s telephony.Schedule) {
	for day := range s.Week {
		s.Week[day] = spans
	}
	return s
}

func zoneNamed(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// openMinutes counts the open minutes of a day as they pass, not as clocks show
// them.
func openMinutes(s telephony.Schedule, zone *time.Location, year int, month time.Month, day int) (n int) {
	end := time.Date(year, month, day+1, 0, 0, 0, 0, zone)
	for at := time.Date(year, month, day, 0, 0, 0, 0, zone); at.Before(end); at = at.Add(time.Minute) {
		if StateOf(s, at.In(zone)) == Open {
			n++
		}
	}
	return n
}

// TestHoursFollowTheWallClock: in the hour that is lost nothing is open, and in
// the one that comes twice twice as long.
func TestHoursFollowTheWallClock(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		zone       string
		month      time.Month
		day        int
		from, to   int // minutes of the day
		wantOpen   int
		wantAllDay int
	}{
		{"Europe/Berlin", 3, 29, 2 * 60, 3 * 60, 0, 23 * 60},
		{"Europe/Berlin", 10, 25, 2 * 60, 3 * 60, 120, 25 * 60},
		{"Europe/London", 3, 29, 1 * 60, 2 * 60, 0, 23 * 60},
		{"Europe/London", 10, 25, 1 * 60, 2 * 60, 120, 25 * 60},
		{"America/New_York", 3, 8, 2 * 60, 3 * 60, 0, 23 * 60},
		{"America/New_York", 11, 1, 1 * 60, 2 * 60, 120, 25 * 60},
		{"Australia/Lord_Howe", 10, 4, 2 * 60, 150, 0, 24*60 - 30}, // half an hour
		{"Australia/Lord_Howe", 4, 5, 90, 2 * 60, 60, 24*60 + 30},
		{"Australia/Sydney", 10, 4, 2 * 60, 3 * 60, 0, 23 * 60},
		{"Asia/Tokyo", 3, 29, 2 * 60, 3 * 60, 60, 24 * 60},
		{"Africa/Cairo", 4, 24, 0, 60, 0, 23 * 60}, // midnight itself is lost
	} {
		zone := zoneNamed(t, c.zone)
		if got := openMinutes(always(telephony.DaySpan{From: c.from, To: c.to}), zone, 2026, c.month, c.day); got != c.wantOpen {
			t.Errorf("%s %d-%d: open for %d minutes, want %d", c.zone, c.month, c.day, got, c.wantOpen)
		}
		if got := openMinutes(always(telephony.DaySpan{From: 0, To: 1440}), zone, 2026, c.month, c.day); got != c.wantAllDay {
			t.Errorf("%s %d-%d: the day has %d minutes, want %d", c.zone, c.month, c.day, got, c.wantAllDay)
		}
	}
}

func TestHolidaysAreClosedAllDay(t *testing.T) {
	t.Parallel()
	zone := zoneNamed(t, "Europe/Berlin")
	s := always(telephony.DaySpan{From: 540, To: 1020})
	s.Holidays = []telephony.Holiday{{Name: "Unity", Month: time.October, Day: 3}, {Name: "once", Month: time.May, Day: 4, Year: 2026}}
	for at, want := range map[time.Time]State{
		time.Date(2026, 10, 3, 10, 0, 0, 0, zone): Holiday, time.Date(2031, 10, 3, 23, 59, 0, 0, zone): Holiday, time.Date(2026, 10, 4, 10, 0, 0, 0, zone): Open,
		time.Date(2026, 5, 4, 10, 0, 0, 0, zone): Holiday, time.Date(2027, 5, 4, 10, 0, 0, 0, zone): Open, time.Date(2026, 10, 4, 8, 59, 59, 0, zone): Closed,
		time.Date(2026, 10, 4, 16, 59, 59, 0, zone): Open, time.Date(2026, 10, 4, 17, 0, 0, 0, zone): Closed,
	} {
		if got := StateOf(s, at); got != want {
			t.Errorf("%s: %s, want %s", at, got, want)
		}
	}
}

func TestNextChange(t *testing.T) {
	t.Parallel()
	berlin := zoneNamed(t, "Europe/Berlin")
	week := telephony.Schedule{Holidays: []telephony.Holiday{{Month: time.March, Day: 30}}}
	for day := time.Monday; day <= time.Friday; day++ {
		week.Week[day] = []telephony.DaySpan{{From: 540, To: 720}, {From: 780, To: 1020}}
	}
	at := func(day, hour, minute int) time.Time { return time.Date(2026, 3, day, hour, minute, 0, 0, berlin) }
	for _, c := range []struct {
		now, want time.Time
		state     State
	}{
		{at(24, 8, 0), at(24, 9, 0), Open},
		{at(24, 9, 0), at(24, 12, 0), Closed},
		{at(24, 12, 0), at(24, 13, 0), Open},
		{at(27, 17, 0), at(30, 0, 0), Holiday}, // over a weekend with a change of clocks
		{at(30, 10, 0), at(31, 0, 0), Closed},
	} {
		if got, state := NextChange(week, c.now); !got.Equal(c.want) || state != c.state {
			t.Errorf("after %s: %s at %s, want %s at %s", c.now, state, got, c.state, c.want)
		}
	}
	for _, s := range []telephony.Schedule{{}, always(telephony.DaySpan{From: 0, To: 1440})} {
		if got, _ := NextChange(s, at(24, 8, 0)); !got.IsZero() {
			t.Errorf("what never changes changes at %s", got)
		}
	}
	// The hour that comes twice: open, closed, open again, closed.
	half := always(telephony.DaySpan{From: 120, To: 150})
	now, changes := time.Date(2026, 10, 25, 1, 0, 0, 0, berlin), ""
	for range 4 {
		next, state := NextChange(half, now)
		changes += next.UTC().Format("15:04 ") + string(state) + ", "
		now = next
	}
	if changes != "00:00 open, 00:30 closed, 01:00 open, 01:30 closed, " {
		t.Error(changes)
	}
}

// TestNextChangeIsTheFirst compares it with a walk minute by minute.
func TestNextChangeIsTheFirst(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	zones := []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Kolkata", "America/Santiago", "Pacific/Apia"}
	for range 60 {
		zone := zoneNamed(t, zones[random.IntN(len(zones))])
		var s telephony.Schedule
		for day := range s.Week {
			if from := random.IntN(1500); from < 1439 {
				s.Week[day] = []telephony.DaySpan{{From: from, To: min(1440, from+1+random.IntN(600))}}
			}
		}
		now := time.Date(2026, time.Month(1+random.IntN(12)), 1+random.IntN(28), random.IntN(24), random.IntN(60), 0, 0, zone)
		if _, end := now.ZoneBounds(); !end.IsZero() && random.IntN(2) == 0 { // next to a change of the clocks
			now = end.Add(-time.Duration(random.IntN(180)) * time.Minute).In(zone)
		}
		now = now.Truncate(time.Minute)
		is, want := StateOf(s, now), time.Time{}
		for m := 1; m < 9*1440; m++ {
			if next := now.Add(time.Duration(m) * time.Minute); StateOf(s, next) != is {
				want = next
				break
			}
		}
		if got, _ := NextChange(s, now); !got.Equal(want) {
			t.Errorf("%s: %s, want %s (%v)", now, got, want, s.Week)
		}
	}
}
