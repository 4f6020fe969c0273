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
	rate
	unknown names
	until   time.Time // refused until
}

// rate counts calls of one, or to one.
type rate struct {
	begun  window
	slowed time.Time // when one was last refused
}

// callee is a number that is called, by its hash: anybody can dial anything.
type callee struct {
	tenant telephony.TenantID
	number uint32
}

// Call counts a call that an extension begins to a number. A caller that begins
// more than it may is refused until it is slower; one that has dialled too many
// numbers that nobody has, for as long as a ban lasts. A number takes no more
// calls, of all callers together, than one of them may begin: several stolen
// passwords do not keep a telephone ringing either. first is true once for each
// time somebody is refused, for the log.
func (g *Guard) Call(who Caller, number string, now time.Time) (offence Offence, first bool) {
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
	if c.begun.add(now, rules.Period, 0) >= rules.Calls {
		return TooManyCalls, c.refused(now, rules.Period)
	}
	callee := g.called.at(callee{who.Tenant, g.hash(number)}, now)
	if callee.begun.add(now, rules.Period, 0) >= rules.Calls {
		return TooManyTo, callee.refused(now, rules.Period)
	}
	c.begun.add(now, rules.Period, 1)
	callee.begun.add(now, rules.Period, 1)
	return "", false
}

// refused reports whether a refusal is the first after a period without any.
func (c *rate) refused(now time.Time, period time.Duration) bool {
	first := now.Sub(c.slowed) > period
	c.slowed = now
	return first
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
