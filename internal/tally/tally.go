// Package tally keeps how many packets were dropped and let in over time.
package tally

import (
	"maps"
	"slices"
	"sync"
	"time"

	"ringfence/internal/telephony"
)

// Steps of time, and how many of each are kept: an hour, a day, thirty days.
const (
	Fine   = 10 * time.Second
	Minute = time.Minute
	Hour   = time.Hour

	fines, minutes, hours = 360, 24 * 60, 30 * 24
	// longest is the most time between two readings that is one measure; what
	// came of a longer one is a gap.
	longest = 45 * time.Second
	// maxNames bounds what is counted in a slot.
	maxNames = 256
)

// ring is the newest slots of one step.
type ring struct {
	step  time.Duration
	slots []telephony.PacketSlot
	dirty map[int64]bool // by number of the slot; nil where nothing is stored
}

// Tally keeps counts. It is safe for concurrent use.
type Tally struct {
	mu    sync.Mutex
	rings [3]ring
	last  map[string]uint64
	at    time.Time
}

// New returns a Tally that goes on from what was stored.
func New(stored []telephony.PacketSlot, now time.Time) *Tally {
	t := &Tally{rings: [3]ring{
		{Fine, make([]telephony.PacketSlot, fines), nil},
		{Minute, make([]telephony.PacketSlot, minutes), map[int64]bool{}},
		{Hour, make([]telephony.PacketSlot, hours), map[int64]bool{}},
	}}
	for _, s := range stored {
		for i := range t.rings {
			if r := &t.rings[i]; r.step == s.Step && now.Sub(s.At) < r.span() && !s.At.After(now) && len(s.Counts) <= maxNames {
				*r.at(s.At) = s
			}
		}
		if s.Step == Minute && now.Sub(s.At) < t.rings[0].span() && !s.At.After(now) {
			t.rings[0].spread(s)
		}
	}
	return t
}

func (r *ring) span() time.Duration { return r.step * time.Duration(len(r.slots)) }

func (r *ring) number(at time.Time) int64 { return at.UnixMilli() / r.step.Milliseconds() }

// at is the slot that holds a time; an older one there is emptied.
func (r *ring) at(t time.Time) *telephony.PacketSlot {
	n := r.number(t)
	s := &r.slots[n%int64(len(r.slots))]
	if begin := time.UnixMilli(n * r.step.Milliseconds()).UTC(); !s.At.Equal(begin) {
		*s = telephony.PacketSlot{At: begin, Step: r.step, Counts: map[string]uint64{}}
	}
	return s
}

// spread draws a stored minute as fine slots: an hour's view is not empty after
// a restart.
func (r *ring) spread(m telephony.PacketSlot) {
	parts := uint64(Minute / Fine)
	for i := range parts {
		s := r.at(m.At.Add(time.Duration(i) * Fine))
		s.Covered = m.Covered / time.Duration(parts)
		for name, n := range m.Counts {
			s.Counts[name] = n / parts
		}
	}
}

// Add takes a reading of counters that only grow. A counter that became smaller
// began anew. nil says that nobody could be asked.
func (t *Tally) Add(now time.Time, totals map[string]uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before, since := t.last, now.Sub(t.at)
	t.last, t.at = maps.Clone(totals), now
	if totals == nil || before == nil || since <= 0 || since > longest {
		return
	}
	grown := map[string]uint64{}
	for name, n := range totals {
		old, ok := before[name]
		if n < old || !ok {
			old = 0
		}
		if n > old {
			grown[name] = n - old
		}
	}
	for i := range t.rings {
		t.rings[i].add(now, since, grown)
	}
}

func (r *ring) add(now time.Time, since time.Duration, grown map[string]uint64) {
	s := r.at(now)
	s.Covered = min(s.Covered+since, r.step)
	for name, n := range grown {
		if _, ok := s.Counts[name]; ok || len(s.Counts) < maxNames {
			s.Counts[name] += n
		}
	}
	if r.dirty != nil {
		r.dirty[r.number(now)] = true
	}
}

// Series are the slots of a step, the oldest first and without holes, until now.
// One that nobody counted has Covered zero.
func (t *Tally) Series(step time.Duration, now time.Time) []telephony.PacketSlot {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.rings {
		r := &t.rings[i]
		if r.step != step {
			continue
		}
		last := r.number(now)
		out := make([]telephony.PacketSlot, 0, len(r.slots))
		for n := last - int64(len(r.slots)) + 1; n <= last; n++ {
			begin := time.UnixMilli(n * step.Milliseconds()).UTC()
			s := r.slots[n%int64(len(r.slots))]
			if !s.At.Equal(begin) {
				s = telephony.PacketSlot{At: begin, Step: step}
			}
			s.Counts = maps.Clone(s.Counts)
			out = append(out, s)
		}
		return out
	}
	return nil
}

// Take is what is to be stored since the last Take.
func (t *Tally) Take() []telephony.PacketSlot {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []telephony.PacketSlot
	for i := range t.rings {
		r := &t.rings[i]
		for _, n := range slices.Sorted(maps.Keys(r.dirty)) {
			s := r.slots[n%int64(len(r.slots))]
			if r.number(s.At) != n {
				continue // it is older than what is kept
			}
			s.Counts = maps.Clone(s.Counts)
			out = append(out, s)
		}
		clear(r.dirty)
	}
	return out
}

// Keep says from when on slots of each stored step are kept.
func Keep(now time.Time) map[time.Duration]time.Time {
	return map[time.Duration]time.Time{Minute: now.Add(-minutes * Minute), Hour: now.Add(-hours * Hour)}
}
