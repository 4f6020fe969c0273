// Package fraud bounds what calls to the outside may cost: it refuses calls that
// would go beyond a cap, has those cut that reach one, and tells of what looks like
// theft.
package fraud

import (
	"fmt"
	"sync"
	"time"

	"ringfence/internal/telephony"
)

// Call is a call that is about to go to a trunk.
type Call struct {
	ID      telephony.CallID
	Tenant  telephony.TenantID
	Account string // the extension that pays for it
	Number  string // E.164 with +
	Country string
	Trunk   telephony.TrunkID
	Rate    telephony.Rate
	HasRate bool
	// Cut ends the call. It must not block.
	Cut func()
}

// Kind is what an alarm is about.
type Kind string

// The kinds of alarms.
const (
	CapReached Kind = "cap_reached"
	CapNear    Kind = "cap_near" // four fifths of it
	TooMany    Kind = "too_many_calls"
	NewCountry Kind = "new_country"
)

// Alarm is something that an administrator should look at.
type Alarm struct {
	At      time.Time
	Tenant  telephony.TenantID
	Account string // the extension of the call that raised it
	Subject string // what has the cap: "extension 101", "organisation", "trunk main"; or a country
	Kind    Kind
	Detail  string
}

// Config is what a Guard needs.
type Config struct {
	Snapshot func() *telephony.Snapshot
	// Alarm is told of each alarm. It must not block.
	Alarm func(Alarm)
}

// Bounds of a Guard.
const (
	tick         = time.Second
	maxAccounts  = 100_000
	alarmPause   = time.Hour // between two alarms of one kind about one subject
	maxCountries = 10_000
)

// Guard counts what calls cost, over the last hour and the last day.
type Guard struct {
	c Config

	mu        sync.Mutex
	accounts  map[subject]*account
	running   map[*Meter]struct{}
	countries map[country]bool
	alarmed   map[alarmKey]time.Time

	stop chan struct{}
	wg   sync.WaitGroup
}

type country struct {
	tenant telephony.TenantID
	code   string
}

type alarmKey struct {
	subject subject
	kind    Kind
	detail  string
}

// subject is who has a cap.
type subject struct {
	tenant telephony.TenantID
	kind   subjectKind
	name   string
}

type subjectKind uint8

const (
	extension subjectKind = iota
	organisation
	trunk
)

func (s subject) String() string {
	switch s.kind {
	case extension:
		return "extension " + s.name
	case trunk:
		return "trunk " + s.name
	}
	return "organisation"
}

// New returns a Guard that has seen nothing. Close it.
func New(c Config) *Guard {
	g := &Guard{
		c: c, accounts: make(map[subject]*account), running: make(map[*Meter]struct{}),
		countries: make(map[country]bool), alarmed: make(map[alarmKey]time.Time), stop: make(chan struct{}),
	}
	g.wg.Go(g.watch)
	return g
}

// Close ends the watch; calls go on.
func (g *Guard) Close() {
	close(g.stop)
	g.wg.Wait()
}

// capped are the subjects of a call, with the caps they have now.
func (g *Guard) capped(c Call) map[subject]telephony.Caps {
	snap := g.c.Snapshot()
	r := snap.Routing(c.Tenant)
	out := map[subject]telephony.Caps{
		{c.Tenant, extension, c.Account}: r.ExtensionCaps,
		{c.Tenant, organisation, ""}:     r.Caps,
	}
	if t, ok := snap.Trunk(c.Tenant, c.Trunk); ok {
		out[subject{c.Tenant, trunk, t.Name}] = t.Caps
	}
	return out
}

// Refusal says why a call may not go out.
type Refusal struct{ Subject, Reason string }

func (r *Refusal) Error() string { return r.Subject + ": " + r.Reason }

// Ask admits a call, and reserves what it costs at least; or it refuses it. The
// meter is to be told how the call fares.
func (g *Guard) Ask(c Call) (*Meter, error) {
	now := time.Now()
	g.mu.Lock()
	alarms, m, err := g.ask(c, now)
	g.mu.Unlock()
	g.tell(alarms)
	return m, err
}

func (g *Guard) ask(c Call, now time.Time) (alarms []Alarm, m *Meter, err error) {
	m = &Meter{g: g, call: c, asked: now}
	capped := g.capped(c)
	for s := range capped {
		m.subjects = append(m.subjects, s)
	}
	for s, caps := range capped {
		if caps == (telephony.Caps{}) {
			continue
		}
		a := g.account(s, now)
		if a == nil {
			continue // there are more than can be counted: the others' caps hold
		}
		use := g.use(s, a, now)
		least := amount{money: m.least(), time: m.leastTime()}
		why, kind := over(caps, use, least, a.calls(c.ID, now))
		if why == "" {
			continue
		}
		alarms = append(alarms, g.alarm(s, kind, c, why, now)...)
		return alarms, nil, &Refusal{s.String(), why}
	}
	for _, s := range m.subjects {
		if a := g.accounts[s]; a != nil {
			a.asked(c.ID, now)
		}
	}
	g.running[m] = struct{}{}
	return append(alarms, g.abroad(c, now)...), m, nil
}

// over says which cap a call would go beyond, or nothing.
func over(caps telephony.Caps, use usage, least amount, calls int) (why string, kind Kind) {
	minutes := func(n int) time.Duration { return time.Duration(n) * time.Minute }
	switch {
	case caps.CallsPerMinute > 0 && calls >= caps.CallsPerMinute:
		return fmt.Sprintf("%d calls within a minute", calls), TooMany
	case caps.MoneyHour > 0 && use.hour.money+least.money > caps.MoneyHour:
		return "the money of an hour is spent", CapReached
	case caps.MoneyDay > 0 && use.day.money+least.money > caps.MoneyDay:
		return "the money of a day is spent", CapReached
	case caps.MinutesHour > 0 && use.hour.time+least.time > minutes(caps.MinutesHour):
		return "the minutes of an hour are used up", CapReached
	case caps.MinutesDay > 0 && use.day.time+least.time > minutes(caps.MinutesDay):
		return "the minutes of a day are used up", CapReached
	}
	return "", ""
}

// near reports whether four fifths of a cap are used.
func near(caps telephony.Caps, use usage) bool {
	most := func(used, limit int64) bool { return limit > 0 && used*5 >= limit*4 }
	return most(int64(use.hour.money), int64(caps.MoneyHour)) || most(int64(use.day.money), int64(caps.MoneyDay)) ||
		most(int64(use.hour.time/time.Second), int64(caps.MinutesHour)*60) || most(int64(use.day.time/time.Second), int64(caps.MinutesDay)*60)
}

// abroad tells of the first call of a tenant to a country other than its own.
func (g *Guard) abroad(c Call, now time.Time) []Alarm {
	key := country{c.Tenant, c.Country}
	if c.Country == "" || c.Country == g.c.Snapshot().Routing(c.Tenant).Plan.Country || g.countries[key] || len(g.countries) >= maxCountries {
		return nil
	}
	g.countries[key] = true
	return []Alarm{{now, c.Tenant, c.Account, c.Country, NewCountry, "the first call there since the start: " + c.Number}}
}

// alarm makes an alarm unless there was the same one within the hour.
func (g *Guard) alarm(s subject, kind Kind, c Call, detail string, now time.Time) []Alarm {
	key := alarmKey{s, kind, detail}
	if kind == TooMany {
		key.detail = ""
	}
	if last, ok := g.alarmed[key]; ok && now.Sub(last) < alarmPause {
		return nil
	}
	for k, at := range g.alarmed {
		if len(g.alarmed) < maxCountries {
			break
		}
		if now.Sub(at) >= alarmPause {
			delete(g.alarmed, k)
		}
	}
	if len(g.alarmed) < maxCountries {
		g.alarmed[key] = now
	}
	return []Alarm{{now, s.tenant, c.Account, s.String(), kind, detail}}
}

func (g *Guard) tell(alarms []Alarm) {
	for _, a := range alarms {
		if g.c.Alarm != nil {
			g.c.Alarm(a)
		}
	}
}

// watch cuts calls before they go beyond a cap.
func (g *Guard) watch() {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-g.stop:
			return
		case now := <-t.C:
			g.look(now)
		}
	}
}

// look finds the subjects that would be beyond a cap with the next look, and cuts
// all their calls.
func (g *Guard) look(now time.Time) {
	var alarms []Alarm
	var cut []func()
	g.mu.Lock()
	done := make(map[subject]bool)
	for m := range g.running {
		if m.answered.IsZero() {
			continue
		}
		for s, caps := range g.capped(m.call) {
			if done[s] || caps == (telephony.Caps{}) {
				continue
			}
			done[s] = true
			a := g.account(s, now)
			if a == nil {
				continue
			}
			soon := g.use(s, a, now.Add(tick))
			caps.CallsPerMinute = 0
			if why, kind := over(caps, soon, amount{}, 0); why != "" {
				alarms = append(alarms, g.alarm(s, kind, m.call, why, now)...)
				cut = append(cut, g.calls(s)...)
			} else if near(caps, soon) {
				alarms = append(alarms, g.alarm(s, CapNear, m.call, "four fifths of a cap are used", now)...)
			}
		}
	}
	g.prune(now)
	g.mu.Unlock()
	for _, f := range cut {
		f()
	}
	g.tell(alarms)
}

// calls are the ways to cut the calls of a subject.
func (g *Guard) calls(s subject) (cut []func()) {
	for m := range g.running {
		if m.of(s) && m.call.Cut != nil {
			cut = append(cut, m.call.Cut)
		}
	}
	return cut
}
