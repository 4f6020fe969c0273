package guard

import (
	"hash/maphash"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ringfence/internal/telephony"
	"ringfence/internal/tries"
)

const (
	// maxSources and maxCallers bound memory; of a few, the one that was quiet
	// for longest is forgotten.
	maxSources = 32_768
	maxCallers = 8_192
	maxTrusted = 65_536
	// trust is how long a source stays trusted that has proved a password: phones
	// do so every hour, most of them more often.
	trust = 65 * time.Minute
	// long is how many periods names are remembered.
	long = 60
	// grace is how long a phone may take to answer a challenge.
	grace = 3 * time.Second
	// maxEvidence bounds what is kept of a peer's text, in bytes.
	maxEvidence = 64
)

// Config is what a Guard needs; the zero value will do.
type Config struct {
	// Spared reports whether a source is on the list of those who are never
	// checked. It must not block.
	Spared func(netip.Addr) bool
}

// Offence is why a source or a caller was convicted.
type Offence string

// The offences.
const (
	WrongAnswers Offence = "wrong passwords"
	Unanswered   Offence = "challenges not answered"
	Scan         Offence = "names tried one after another"
	Malformed    Offence = "malformed requests"
	Tool         Offence = "attack tool"
	Flood        Offence = "more messages than allowed"
	TooManyCalls Offence = "too many calls at once"
	TooManyTo    Offence = "too many calls to one number"
	WarDialling  Offence = "numbers dialled that nobody has"
)

// Request is what counts of a SIP request.
type Request struct {
	Source netip.Addr
	// Proven says that packets sent to Source reach who sent this: it came over a
	// connection, or answers a challenge that was sent there.
	Proven bool
	// Name is who it is about: the name to register, the number to call.
	Name      string
	User      string // whose password it gives; empty without credentials
	UserAgent string
	// Credentials are those it carries, whole. The same once more are a
	// retransmission, not another guess.
	Credentials string
}

// Verdict is what was decided about a source.
type Verdict struct {
	Source   netip.Addr // an IPv4 address, or the first of an IPv6 /64
	Offence  Offence
	Evidence telephony.Evidence
	Proven   bool // also against a source that is trusted
	Until    time.Time
}

// Guard counts. It is safe for concurrent use, and never blocks for long.
type Guard struct {
	c     Config
	rules atomic.Pointer[rules]
	seed  maphash.Seed

	mu      sync.Mutex
	sources crowd[netip.Addr, source]
	trusted crowd[netip.Addr, struct{}] // seen is until when
	callers crowd[Caller, calls]
	called  crowd[callee, rate]
	guesses crowd[guess, window]
}

// guess is a name that a source gives wrong passwords for.
type guess struct {
	source netip.Addr
	name   uint32
}

// source is what is counted of one.
type source struct {
	wrong, open, malformed window
	messages               window // of a second
	names                  names
	lately                 [4]uint32 // credentials that were wrong, the last first
	until                  time.Time // convicted until
}

// New returns a Guard with the default rules.
func New(c Config) *Guard {
	if c.Spared == nil {
		c.Spared = func(netip.Addr) bool { return false }
	}
	g := &Guard{
		c: c, seed: maphash.MakeSeed(),
		sources: newCrowd[netip.Addr, source](maxSources), trusted: newCrowd[netip.Addr, struct{}](maxTrusted),
		callers: newCrowd[Caller, calls](maxCallers), called: newCrowd[callee, rate](maxCallers), guesses: newCrowd[guess, window](maxSources),
	}
	g.Configure(telephony.DefaultProtection(), telephony.DefaultPacketLimits())
	return g
}

// Configure takes other rules, for what is counted from now on.
func (g *Guard) Configure(p telephony.Protection, l telephony.PacketLimits) {
	g.rules.Store(compile(p, l))
}

// Message counts a message that came over a connection: the packet filter counts
// connections only. Who goes on while banned is banned for longer.
func (g *Guard) Message(a netip.Addr, now time.Time) (v Verdict, convicted bool) {
	rules := g.rules.Load()
	if g.c.Spared(a) || g.trusts(a, now) {
		return v, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.sources.at(tries.Source(a), now)
	n := s.messages.add(now, time.Second, 1)
	ban := rules.limits.L1Ban
	if n > rules.limits.L2 {
		ban = rules.limits.L2Ban
	}
	if n <= rules.limits.L1 || s.until.Sub(now) > ban/2 { // not one verdict for each message
		return v, false
	}
	return s.convict(Request{Source: a}, Flood, n, true, now, ban), true
}

// Challenged counts a challenge that was sent.
func (g *Guard) Challenged(r Request, now time.Time) (Verdict, bool) {
	return g.judge(r, now, false, func(s *source, rules *rules) (Offence, int) {
		s.names.note(g.hash(r.Name), now, long*rules.Period, rules.Names)
		if n := s.open.add(now, rules.Period, 1); n >= rules.Unanswered {
			return Unanswered, n
		}
		if n := s.names.older(now, grace); n >= rules.Names {
			return Scan, n
		}
		return "", 0
	})
}

// Right notes that a challenge was answered with the right password.
func (g *Guard) Right(r Request, now time.Time) {
	g.answered(r, now)
	g.Trust(r.Source, now.Add(trust))
}

// Stale notes that an old challenge was answered with the right password.
func (g *Guard) Stale(r Request, now time.Time) { g.answered(r, now) }

// Trust makes a source trusted until a time: a phone that registered before a
// restart may be there.
func (g *Guard) Trust(a netip.Addr, until time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.trusted.at(tries.Source(a), until)
}

// trusts reports whether a source has proved a password of late.
func (g *Guard) trusts(a netip.Addr, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.trusted.members[tries.Source(a)]
	return m != nil && now.Before(m.seen)
}

// Worn reports whether a source has given so many wrong passwords for a name that
// no more are looked at for now. It is there for slow guessing, and leaves all
// other phones at that source alone: a phone that was set up wrongly must not
// cost an office its telephones.
func (g *Guard) Worn(r Request, now time.Time) bool {
	rules := g.rules.Load()
	if !rules.Detect || g.c.Spared(r.Source) {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	w := g.guesses.find(guess{tries.Source(r.Source), g.hash(r.User)})
	return w != nil && w.add(now, long*rules.Period, 0) >= rules.WrongAnswers
}

// Wrong counts a wrong answer to a challenge. One that answers no challenge sent
// to that source proves nothing against it and is an unanswered one; so is one
// that was given before.
func (g *Guard) Wrong(r Request, now time.Time) (Verdict, bool) {
	if !r.Proven || g.repeats(r) {
		return g.Challenged(r, now)
	}
	g.answered(r, now)
	return g.judge(r, now, true, func(s *source, rules *rules) (Offence, int) {
		g.guesses.at(guess{tries.Source(r.Source), g.hash(r.User)}, now).add(now, long*rules.Period, 1)
		if n := s.wrong.add(now, rules.Period, 1); n >= rules.WrongAnswers {
			return WrongAnswers, n
		}
		return "", 0
	})
}

// repeats reports whether a source gave the same credentials shortly before, and
// remembers them if not.
func (g *Guard) repeats(r Request) bool {
	if r.Credentials == "" {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.sources.find(tries.Source(r.Source))
	if s == nil {
		return false // nor was it challenged
	}
	h := g.hash(r.Credentials)
	if slices.Contains(s.lately[:], h) {
		return true
	}
	copy(s.lately[1:], s.lately[:])
	s.lately[0] = h
	return false
}

// answered takes back what Challenged counted.
func (g *Guard) answered(r Request, now time.Time) {
	rules := g.rules.Load()
	if !rules.Detect {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if s := g.sources.find(tries.Source(r.Source)); s != nil {
		s.names.forget(g.hash(r.Name))
		if s.open.add(now, rules.Period, 0) > 0 {
			s.open.add(now, rules.Period, -1)
		}
	}
}

// Malformed counts a request that was refused for its form.
func (g *Guard) Malformed(r Request, now time.Time) (Verdict, bool) {
	return g.judge(r, now, r.Proven, func(s *source, rules *rules) (Offence, int) {
		if n := s.malformed.add(now, rules.Period, 1); n >= rules.Malformed {
			return Malformed, n
		}
		return "", 0
	})
}

// judge counts by count and passes a verdict, at most one while it lasts.
func (g *Guard) judge(r Request, now time.Time, proven bool, count func(*source, *rules) (Offence, int)) (v Verdict, convicted bool) {
	rules := g.rules.Load()
	if !rules.Detect || g.c.Spared(r.Source) || !proven && g.trusts(r.Source, now) {
		return v, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.sources.at(tries.Source(r.Source), now)
	offence, n := count(s, rules)
	if offence == "" || now.Before(s.until) {
		return v, false
	}
	return s.convict(r, offence, n, proven, now, rules.Ban), true
}

func (s *source) convict(r Request, offence Offence, n int, proven bool, now time.Time, ban time.Duration) Verdict {
	s.until = now.Add(ban)
	return Verdict{
		Source: tries.Source(r.Source), Offence: offence, Proven: proven, Until: s.until,
		Evidence: telephony.Evidence{UserAgent: clip(r.UserAgent), Target: clip(r.Name), Count: n},
	}
}

// Pardon forgets what a source did: a ban was taken back, or ran out.
func (g *Guard) Pardon(a netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sources.remove(tries.Source(a))
}

func (g *Guard) hash(name string) uint32 { return uint32(maphash.String(g.seed, name)) }

// clip bounds a peer's text, and lets go of the message it stands in.
func clip(s string) string {
	return strings.Clone(strings.ToValidUTF8(s[:min(len(s), maxEvidence)], ""))
}
