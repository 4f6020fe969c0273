package pbx

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"ringfence/internal/bans"
	"ringfence/internal/events"
	"ringfence/internal/guard"
	"ringfence/internal/registrar"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
	"ringfence/internal/tries"
)

// warden tells guard what happens on SIP, and carries its verdicts out: in SIP
// itself at once, in the packet filter and the store by way of the bus.
type warden struct {
	guard *guard.Guard
	book  *bans.Book
	bus   *events.Bus
	log   *slog.Logger
	index atomic.Pointer[telephony.AddressIndex]
	own   atomic.Pointer[map[netip.Addr]bool]
	ends  atomic.Pointer[time.Time] // when the next of the rules runs out
	save  func(ctx context.Context, put, removed []telephony.Ban) error

	// expected reports whether a request is none of a stranger, and trunk whether
	// an address is a trunk's; nil knows of none.
	expected func(*sip.Request) bool
	trunk    func(netip.Addr) bool

	journal  journal
	screened screened
}

func newWarden(bus *events.Bus, log *slog.Logger, stored []telephony.Ban) *warden {
	w := &warden{book: bans.New(stored), bus: bus, log: log}
	w.index.Store(telephony.NewAddressIndex(nil))
	w.own.Store(ownAddresses())
	w.guard = guard.New(guard.Config{Spared: w.spared})
	return w
}

// reconcile takes the settings.
func (w *warden) reconcile(s *telephony.Snapshot) {
	w.guard.Configure(s.Settings.Protection, s.Settings.Limits)
	w.index.Store(telephony.NewAddressIndex(s.Rules))
	w.own.Store(ownAddresses())
	var next *time.Time
	for _, r := range s.Rules {
		if r.Expires.After(time.Now()) && (next == nil || r.Expires.Before(*next)) {
			next = &r.Expires
		}
	}
	w.ends.Store(next)
}

// ownAddresses are those of the interfaces. To ban one would silence ourselves.
func ownAddresses() *map[netip.Addr]bool {
	own := make(map[netip.Addr]bool)
	addrs, _ := net.InterfaceAddrs() // without them, nobody is spared
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(n.IP); ok {
				own[addr.Unmap()] = true
			}
		}
	}
	return &own
}

// outdated reports whether a rule has run out since the last reconcile.
func (w *warden) outdated(now time.Time) bool {
	next := w.ends.Load()
	return next != nil && !now.Before(*next)
}

// spared reports whether a source is one of this machine's own addresses, a
// trunk's, or on the list of those that are not checked.
func (w *warden) spared(a netip.Addr) bool {
	if (*w.own.Load())[a.Unmap()] || w.trunk != nil && w.trunk(a) {
		return true
	}
	r, ok := w.index.Load().Decide(a, time.Now())
	return ok && r.Allow
}

// gate lets a message in unless its source is banned: a ban holds also where no
// packet filter is.
func (w *warden) gate(f sip.Flow, _ []byte) bool {
	now, src := time.Now(), f.Remote.Addr()
	if f.Token != "" {
		if v, convicted := w.guard.Message(src, now); convicted {
			w.convict(v, now)
		}
	}
	if w.book.Holds(src, telephony.BanSIP, now) && !w.spared(src) {
		w.screened.banned.Add(1)
		return false
	}
	return true
}

// screen drops what attack tools send, and INVITEs of strangers if so set.
func (w *warden) screen(r *sip.Request) bool {
	now := time.Now()
	q := about(r, false)
	drop, v, convicted := w.guard.Screen(q, r.Body, now)
	if convicted {
		w.convict(v, now)
	}
	if drop {
		w.screened.tools.Add(1)
		return false
	}
	stranger := r.Method == sip.INVITE && !r.Has("Authorization") && !r.Has("Proxy-Authorization")
	if !stranger || w.expected != nil && w.expected(r) || !w.guard.Silent(q.Source, now) {
		return true
	}
	w.screened.strangers.Add(1)
	// Silence hides us, and counts like the challenge that it stands for.
	if v, convicted := w.guard.Challenged(q, now); convicted {
		w.convict(v, now)
	}
	return false
}

// refused counts what was no request, or not one that is possible.
func (w *warden) refused(f sip.Flow, agent string) {
	now := time.Now()
	if v, ok := w.guard.Malformed(guard.Request{Source: f.Remote.Addr(), Proven: f.Token != "", UserAgent: agent}, now); ok {
		w.convict(v, now)
	}
}

// observe counts what came of looking at credentials.
func (w *warden) observe(e sip.AuthEvent) {
	now := time.Now()
	q := about(e.Request, e.Ours)
	q.User = e.User
	var v guard.Verdict
	var convicted bool
	switch e.Outcome {
	case sip.AuthMissing:
		v, convicted = w.guard.Challenged(q, now)
	case sip.AuthWrong:
		// The credentials of browsers end after hours, and with a restart. Nobody
		// guesses them: wrong ones are old, and count like a challenge not answered.
		if registrar.IsWebPhone(e.User) {
			if q.Proven {
				w.guard.Stale(q, now)
			}
			q.Proven, q.Name = false, ""
		}
		v, convicted = w.guard.Wrong(q, now)
	case sip.AuthStale:
		w.guard.Stale(q, now)
	case sip.AuthOK:
		w.guard.Right(q, now)
	}
	if convicted {
		w.convict(v, now)
	}
}

// worn reports whether passwords for a user are not looked at any more.
func (w *warden) worn(r *sip.Request, user string) bool {
	q := about(r, false)
	q.User = user
	return w.guard.Worn(q, time.Now())
}

// about is what counts of a request.
func about(r *sip.Request, proven bool) guard.Request {
	name := r.URI.User
	if r.Method == "REGISTER" {
		name = r.To.URI.User
	}
	return guard.Request{Source: r.Flow.Remote.Addr(), Proven: proven || r.Flow.Token != "", Name: name, UserAgent: r.Header("User-Agent"),
		Credentials: r.Header("Authorization") + r.Header("Proxy-Authorization")}
}

// convict bans a source on SIP.
func (w *warden) convict(v guard.Verdict, now time.Time) {
	w.log.Warn("source banned", "source", v.Source.String(), "offence", string(v.Offence), "count", v.Evidence.Count,
		"user_agent", v.Evidence.UserAgent, "target", v.Evidence.Target, "until", v.Until)
	b := events.AddressBanned{Addr: v.Source, Scope: telephony.BanSIP, Reason: string(v.Offence), Until: v.Until, Evidence: v.Evidence, Proven: v.Proven}
	w.enter(b, now)
	w.bus.Publish(b)
}

// enter notes a ban, whoever passed it.
func (w *warden) enter(b events.AddressBanned, now time.Time) {
	w.book.Put(banOf(b, now))
}

func banOf(b events.AddressBanned, now time.Time) telephony.Ban {
	return telephony.Ban{Source: tries.Source(b.Addr), Scope: b.Scope, Reason: b.Reason, Evidence: b.Evidence, Since: now, Until: b.Until, Level: b.Level, Port: b.Port}
}

// admit refuses calls of an extension that begins too many, or dialled too many
// numbers that nobody has; and calls to a number that is called too often.
func (w *warden) admit(tenant telephony.TenantID, caller, number string) *sip.Reply {
	offence, first := w.guard.Call(guard.Caller{Tenant: tenant, Number: caller}, number, time.Now())
	if offence == "" {
		return nil
	}
	if first {
		w.log.Warn("calls of an extension are refused", "extension", caller, "number", number, "offence", string(offence))
	}
	switch offence {
	case guard.WarDialling:
		return &sip.Reply{Code: 403}
	case guard.TooManyTo:
		return &sip.Reply{Code: 486}
	}
	return sip.Busy()
}

// ended looks at a call's record for numbers that nobody has.
func (w *warden) ended(r telephony.CallRecord) {
	// What a trunk does not know, or brings for nobody, is no extension's trying.
	outside := r.Direction == telephony.Inbound || r.Route.OutTrunk != 0
	if r.Reason != telephony.EndNotFound || r.StatusCode != 404 || r.TransferredBy != "" || outside {
		return
	}
	who := guard.Caller{Tenant: r.Tenant, Number: r.Caller.Number}
	if until, ok := w.guard.Unknown(who, r.Callee.Number, time.Now()); ok {
		w.log.Warn("calls of an extension are refused", "extension", who.Number, "offence", string(guard.WarDialling), "until", until)
	}
}

const saveBansEvery = 5 * time.Second

// run enters the bans of log-in and provisioning, and stores all of them, until
// ctx ends.
func (w *warden) run(ctx context.Context, sub *events.Subscription) {
	tick := time.NewTicker(saveBansEvery)
	defer tick.Stop()
	defer w.store(context.Background())
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-sub.C:
			if b, ok := e.(events.AddressBanned); ok {
				if b.Level == 0 { // the others are in the book
					w.enter(b, time.Now())
				}
				w.journal.note(banOf(b, time.Now()))
			}
		case <-tick.C:
			w.book.List(time.Now()) // forgets what ran out
			w.store(ctx)
		}
	}
}

func (w *warden) store(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	w.journal.store(ctx)
	c := w.book.Take()
	if err := w.save(ctx, c.Put, c.Removed); err != nil {
		w.book.Return(c)
		w.log.Error("bans not stored", "err", err)
	}
}
