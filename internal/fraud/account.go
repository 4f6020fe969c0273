package fraud

import (
	"slices"
	"time"

	"ringfence/internal/telephony"
)

// amount is what calls cost, and how long they lasted.
type amount struct {
	money telephony.Money
	time  time.Duration
}

func (a amount) plus(o amount) amount { return amount{a.money + o.money, a.time + o.time} }

// usage is what was used within the last hour and the last day.
type usage struct{ hour, day amount }

// account is what a subject used: finished calls by the minute and by the hour in
// which they ended, and when the latest calls began.
type account struct {
	minutes [60]slot
	hours   [25]slot
	begun   []begun // within the last minute; bounded by maxBegun
	touched time.Time
}

// maxBegun bounds the calls that are counted per minute; more than the largest
// sensible cap.
const maxBegun = 10_000

// begun is a call, once however many trunks it tries.
type begun struct {
	call telephony.CallID
	at   time.Time
}

type slot struct {
	at int64 // which minute or hour since the epoch
	amount
}

func add(slots []slot, at int64, a amount) {
	s := &slots[int(at%int64(len(slots)))]
	if s.at != at {
		*s = slot{at: at}
	}
	s.amount = s.plus(a)
}

func sum(slots []slot, from int64) (out amount) {
	for _, s := range slots {
		if s.at >= from {
			out = out.plus(s.amount)
		}
	}
	return out
}

func (a *account) book(now time.Time, x amount) {
	a.touched = now
	add(a.minutes[:], now.Unix()/60, x)
	add(a.hours[:], now.Unix()/3600, x)
}

func (a *account) asked(call telephony.CallID, now time.Time) {
	a.touched = now
	known := slices.ContainsFunc(a.begun, func(b begun) bool { return b.call == call })
	if !known && len(a.begun) < maxBegun {
		a.begun = append(a.begun, begun{call, now})
	}
}

// calls counts those that began within the last minute, but one.
func (a *account) calls(but telephony.CallID, now time.Time) (n int) {
	a.begun = slices.DeleteFunc(a.begun, func(b begun) bool { return now.Sub(b.at) >= time.Minute })
	for _, b := range a.begun {
		if b.call != but {
			n++
		}
	}
	return n
}

// account finds or opens that of a subject; nil if there are too many.
func (g *Guard) account(s subject, now time.Time) *account {
	a := g.accounts[s]
	if a == nil && len(g.accounts) < maxAccounts {
		a = &account{touched: now}
		g.accounts[s] = a
	}
	return a
}

// use is what a subject has used by a time, running calls included.
func (g *Guard) use(s subject, a *account, at time.Time) usage {
	u := usage{sum(a.minutes[:], at.Unix()/60-59), sum(a.hours[:], at.Unix()/3600-24)}
	for m := range g.running {
		if m.of(s) {
			x := m.cost(at)
			u.hour, u.day = u.hour.plus(x), u.day.plus(x)
		}
	}
	return u
}

// prune forgets who used nothing for more than a day.
func (g *Guard) prune(now time.Time) {
	const day = 25 * time.Hour
	if now.Unix()%600 != 0 {
		return
	}
	for s, a := range g.accounts {
		if now.Sub(a.touched) > day {
			delete(g.accounts, s)
		}
	}
}

// Meter is told how one call fares.
type Meter struct {
	g        *Guard
	call     Call
	subjects []subject
	asked    time.Time
	answered time.Time
	ended    bool
}

func (m *Meter) of(s subject) bool { return slices.Contains(m.subjects, s) }

// least is what the call costs if it is answered at all.
func (m *Meter) least() telephony.Money {
	if !m.call.HasRate {
		return 0
	}
	return m.call.Rate.Cost(time.Second)
}

// leastTime is the time that is reserved for a call that begins.
func (m *Meter) leastTime() time.Duration { return max(m.call.Rate.First, time.Second) }

// cost is what the call has used by a time; before the answer, what is reserved.
func (m *Meter) cost(at time.Time) amount {
	if m.answered.IsZero() {
		return amount{m.least(), m.leastTime()}
	}
	d := max(at.Sub(m.answered), time.Second)
	x := amount{time: d}
	if m.call.HasRate {
		x.money = m.call.Rate.Cost(d)
	}
	return x
}

// Answered says that the call costs from now on.
func (m *Meter) Answered(at time.Time) {
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	if m.answered.IsZero() {
		m.answered = at
	}
}

// Ended books what the call cost. Only the first call of it counts.
func (m *Meter) Ended(at time.Time) {
	g := m.g
	g.mu.Lock()
	defer g.mu.Unlock()
	if m.ended {
		return
	}
	m.ended = true
	delete(g.running, m)
	if m.answered.IsZero() {
		return
	}
	x := m.cost(at)
	for _, s := range m.subjects {
		if a := g.account(s, at); a != nil {
			a.book(at, x)
		}
	}
}
