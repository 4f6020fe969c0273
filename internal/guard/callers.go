package guard

import (
	"time"

	"ringfence/internal/telephony"
)

// Caller is an extension that has proved its password.
type Caller struct {
	Tenant telephony.TenantID
	Number string
}

// calls is what is counted of a caller.
type calls struct {
	begun   window
	unknown names
	until   time.Time // refused until
	slowed  time.Time // when it was last told to be slower
}

// Call counts a call that an extension begins. A caller that begins more than it
// may is refused until it is slower; one that has dialled too many numbers that
// nobody has, for as long as a ban lasts. first is true once for each time a
// caller is refused, for the log.
func (g *Guard) Call(who Caller, now time.Time) (offence Offence, first bool) {
	rules := g.rules.Load()
	if !rules.Detect {
		return "", false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.callers.at(who, now)
	if now.Before(c.until) {
		return WarDialling, false
	}
	if c.begun.add(now, rules.Period, 0) < rules.Calls {
		c.begun.add(now, rules.Period, 1)
		return "", false
	}
	first = now.Sub(c.slowed) > rules.Period
	c.slowed = now
	return TooManyCalls, first
}

// Unknown notes that an extension dialled a number that nobody has. It reports
// whether that was one too many; its calls are refused from now on.
func (g *Guard) Unknown(who Caller, number string, now time.Time) (until time.Time, convicted bool) {
	rules := g.rules.Load()
	if !rules.Detect {
		return until, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.callers.at(who, now)
	c.unknown.note(g.hash(number), now, long*rules.Period, rules.UnknownNumbers)
	if len(c.unknown) < rules.UnknownNumbers || now.Before(c.until) {
		return c.until, false
	}
	c.until, c.unknown = now.Add(rules.Ban), nil
	return c.until, true
}

// Forgive lets a caller call again.
func (g *Guard) Forgive(who Caller) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.callers.remove(who)
}
