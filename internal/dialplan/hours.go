package dialplan

import (
	"slices"
	"time"

	"ringfence/internal/telephony"
)

// State is what a schedule says about a moment.
type State string

// The states.
const (
	Open    State = "open"
	Closed  State = "closed"
	Holiday State = "holiday"
)

// StateOf reads the wall clock of now, which stands in the tenant's zone: an hour
// that the change to summer time takes away is never open, one that comes twice
// is open twice.
func StateOf(s telephony.Schedule, now time.Time) State {
	if _, ok := HolidayOf(s, now); ok {
		return Holiday
	}
	minute := now.Hour()*60 + now.Minute()
	for _, span := range s.Week[now.Weekday()] {
		if span.From <= minute && minute < span.To {
			return Open
		}
	}
	return Closed
}

// HolidayOf finds the holiday of a day.
func HolidayOf(s telephony.Schedule, now time.Time) (telephony.Holiday, bool) {
	year, month, day := now.Date()
	for _, h := range s.Holidays {
		if h.Month == month && h.Day == day && (h.Year == 0 || h.Year == year) {
			return h, true
		}
	}
	return telephony.Holiday{}, false
}

// horizon is how many days ahead a change is looked for: more than a year, so
// that yearly holidays are found.
const horizon = 400

// NextChange is when a schedule says something else than now; the zero time if it
// does not within a year.
func NextChange(s telephony.Schedule, now time.Time) (time.Time, State) {
	is := StateOf(s, now)
	for day := range horizon {
		for _, t := range turns(s, now.AddDate(0, 0, day)) {
			if t.After(now) && StateOf(s, t) != is {
				return t, StateOf(s, t)
			}
		}
	}
	return time.Time{}, is
}

// turns are the moments of a day at which a schedule may change, in order: its
// beginning, the ends of its spans, and the moment the clocks change.
func turns(s telephony.Schedule, day time.Time) []time.Time {
	year, month, date := day.Date()
	minutes := []int{0}
	for _, span := range s.Week[day.Weekday()] {
		minutes = append(minutes, span.From, span.To)
	}
	var out []time.Time
	for _, m := range minutes {
		out = append(out, moments(time.Date(year, month, date, 0, m, 0, 0, time.UTC), day.Location())...)
	}
	if _, end := time.Date(year, month, date, 0, 0, 0, 0, day.Location()).ZoneBounds(); !end.IsZero() && end.Sub(day).Abs() < 48*time.Hour {
		out = append(out, end)
	}
	slices.SortFunc(out, time.Time.Compare)
	return out
}

// moments are the one, two or no moments at which clocks of a zone show a wall
// clock time, given as if it were UTC.
func moments(wall time.Time, zone *time.Location) []time.Time {
	var out []time.Time
	for _, near := range []time.Duration{-26 * time.Hour, 26 * time.Hour} {
		_, offset := wall.Add(near).In(zone).Zone()
		t := wall.Add(-time.Duration(offset) * time.Second).In(zone)
		if t.Hour() == wall.Hour() && t.Minute() == wall.Minute() && t.Day() == wall.Day() && !slices.ContainsFunc(out, t.Equal) {
			out = append(out, t)
		}
	}
	return out
}
