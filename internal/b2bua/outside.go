package b2bua

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"ringfence/internal/dialog"
	"ringfence/internal/dialplan"
	"ringfence/internal/events"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

const (
	// wayTime is how long a server of a trunk may be silent, not even 100, before
	// the next way is tried: time for three transmissions, so that the call is
	// elsewhere within 4 seconds.
	wayTime = 3 * time.Second
	// outsideRings is how long a call to the outside may take to be answered. The
	// networks give up at about that time themselves.
	outsideRings = 3 * time.Minute
	// maxWays bounds the ways of one trunk that are tried.
	maxWays = 8
)

// outside is a call's way to the outside: the trunks of its plan, one after the
// other, and of each its ways.
type outside struct {
	plan    dialplan.Plan
	next    int // attempt of the plan
	attempt dialplan.Attempt
	trunk   telephony.Trunk
	ways    []Way  // of the trunk, not tried yet
	release func() // of the room on the trunk that no leg holds yet
	meter   Meter  // until somebody answers

	leg     *dialog.Leg   // of who answered
	heard   bool          // the caller heard ringing, or early media
	best    *sip.Response // the refusal that tells most
	refusal *sip.Reply    // of who pays
	failed  error         // why there was no INVITE
}

// stop gives back what no leg holds.
func (o *outside) stop() {
	if o == nil {
		return
	}
	if o.release != nil {
		o.release()
		o.release = nil
	}
	if o.meter != nil {
		o.meter.Ended(time.Now())
		o.meter = nil
	}
}

// answered leaves the meter to the leg that costs.
func (o *outside) answered(f *fork) {
	if o == nil || f.line == nil {
		return
	}
	o.leg = f.leg
	if f.line.meter, o.meter = o.meter, nil; f.line.meter != nil {
		f.line.meter.Answered(time.Now())
	}
}

// plan decides where a number goes that is dialled, or to which the call is sent
// on, on the account of an extension.
func (s *Service) plan(tenant telephony.TenantID, account telephony.Extension, number, from string) dialplan.Plan {
	return s.c.Route(s.c.Snapshot(), dialplan.Request{
		Tenant: tenant, Caller: account, Dialled: number, From: from, At: time.Now(), Down: s.down(tenant), Seed: rand.Uint64(),
	})
}

// down says which trunks of a tenant cannot carry calls.
func (s *Service) down(tenant telephony.TenantID) func(telephony.TrunkID) bool {
	if s.c.Trunks == nil {
		return nil
	}
	return func(id telephony.TrunkID) bool { return s.c.Trunks.Down(tenant, id) }
}

// try sends the call to a number.
func (c *call) try(number string) {
	from := ""
	if c.record.Caller.Number != c.account.Number {
		from = c.record.Caller.Number // somebody sends the call on
	}
	c.route(c.s.plan(c.tenant.ID, c.account, number, from))
}

// route sends the call where a plan says.
func (c *call) route(p dialplan.Plan) {
	switch p.Outcome {
	case dialplan.ToExtension:
		c.tryExtension(p.Extension)
	case dialplan.ToOutside:
		c.goOutside(p)
	case dialplan.ToBusy:
		c.end(telephony.EndBusy, sip.Reply{Code: 486})
	case dialplan.ToHangUp:
		c.end(telephony.EndRejected, sip.Reply{Code: 603})
	default:
		c.forbidden(p)
	}
}

// forbidden ends a call that its plan refuses. Why is for the caller only: neither
// people outside nor those whose call somebody sends on are told.
func (c *call) forbidden(p dialplan.Plan) {
	code := p.Refusal.Code
	if code < 400 || code > 699 {
		code = 404
	}
	reason := telephony.EndNotAllowed
	switch code {
	case 404, 484:
		reason = telephony.EndNotFound
	case 503:
		reason = telephony.EndTrunks
	}
	c.s.c.Logger.Info("call refused by the dial plan", slog.String("call", string(c.id)), slog.String("caller", c.record.Caller.Number), slog.Int("code", code), slog.String("why", p.Refusal.Reason))
	switch {
	case len(c.hops) > 0 && reason == telephony.EndNotFound:
		c.nobody()
	case len(c.hops) > 0:
		c.end(reason, sip.Reply{Code: 480})
	case c.caller.line != nil || p.Refusal.Reason == "" || reason == telephony.EndNotFound:
		c.end(reason, sip.Reply{Code: code})
	default:
		c.end(reason, sip.Reply{Code: code, Headers: []sip.Header{warning(strings.NewReplacer(`"`, "'", `\`, "").Replace(p.Refusal.Reason))}})
	}
}

// goOutside sends the call to the trunks of a plan.
func (c *call) goOutside(p dialplan.Plan) {
	o := &outside{plan: p}
	c.out.stop() // of where the call was before it was sent on
	c.out = o
	c.record.Callee = telephony.Party{Number: p.Number}
	r := &c.record.Route
	r.Class, r.Account, r.Emergency = p.Class, p.Account, p.Emergency
	if c.record.Direction == telephony.Internal {
		c.record.Direction = telephony.Outbound
	}
	if err := c.openMedia(); err != nil {
		c.refuseMedia(err)
		return
	}
	c.noAnswer = time.AfterFunc(outsideRings, func() {
		c.box.Post(func() {
			if !c.finished && c.callee == nil && c.out == o {
				c.end(telephony.EndNoAnswer, sip.Reply{Code: 480})
			}
		})
	})
	if p.Emergency {
		c.s.c.Logger.Warn("emergency call", slog.String("call", string(c.id)), slog.String("extension", p.Account), slog.String("number", p.Number))
		defer func() { c.s.publish(events.EmergencyCall{Call: c.show(), Name: p.EmergencyName}) }()
	}
	c.nextWay()
}

// nextWay tries the next way of the trunk in hand, or the next trunk.
func (c *call) nextWay() {
	o := c.out
	for len(o.ways) > 0 || c.nextTrunk() {
		w := o.ways[0]
		o.ways = o.ways[1:]
		err := c.ring(device{
			flow: w.Flow, target: "sip:" + userPart(o.attempt.Number) + "@" + w.Host, routes: w.Routes,
			who: c.record.Callee, security: o.trunk.Media, dtmf: o.trunk.DTMF, via: &via{o.trunk, w, o.attempt},
		})
		if err == nil {
			c.tell()
			return
		}
		if o.failed = err; errors.Is(err, errNoRoom) {
			o.ways = nil
		}
	}
	c.outsideOver()
}

// nextTrunk takes the next attempt of the plan that there is room and money for.
func (c *call) nextTrunk() bool {
	o := c.out
	for o.next < len(o.plan.Attempts) && c.s.c.Trunks != nil {
		o.stop()
		a := o.plan.Attempts[o.next]
		o.next++
		t, ok := c.s.c.Snapshot().Trunk(c.tenant.ID, a.Trunk)
		if !ok {
			continue
		}
		c.record.Route.OutTrunk = a.Trunk
		release, err := c.s.c.Trunks.Take(c.tenant.ID, a.Trunk, o.plan.Emergency)
		if err != nil {
			c.s.c.Logger.Info("trunk passed over", slog.String("call", string(c.id)), slog.String("trunk", t.Name), slog.Any("error", err))
			o.failed = errors.Join(errNoRoom, err)
			continue
		}
		o.release = release
		ways := c.s.c.Trunks.Ways(c.tenant.ID, a.Trunk)
		if len(ways) == 0 || !c.affords(a) {
			continue
		}
		o.attempt, o.trunk, o.ways = a, t, ways[:min(len(ways), maxWays)]
		c.record.Route.Sent, c.record.Route.CallerID = a.Number, a.CallerID
		if c.hidden && !o.plan.Emergency {
			c.record.Route.CallerID = ""
		}
		return true
	}
	return false
}

// affords asks whether an attempt may cost what it costs.
func (c *call) affords(a dialplan.Attempt) bool {
	if c.s.c.Spend == nil {
		return true
	}
	o := c.out
	meter, refusal := c.s.c.Spend(Outside{
		Call: c.id, Tenant: c.tenant.ID, Account: o.plan.Account, Class: o.plan.Class, Number: o.plan.Number, Country: o.plan.Country,
		Trunk: a.Trunk, Rate: a.Rate, HasRate: a.HasRate, Emergency: o.plan.Emergency,
		Cut: func() { c.box.Post(func() { c.cut(o) }) },
	})
	if refusal != nil && !o.plan.Emergency {
		o.refusal = refusal
		return false
	}
	o.meter = meter
	return true
}

// wayOverdue gives up a way whose server has not even said 100.
func (c *call) wayOverdue(f *fork) {
	if c.finished || c.callee != nil || f.dropped || f.refusal != 0 || !f.out.Silent() {
		return
	}
	c.s.c.Logger.Info("a server of a trunk does not answer", slog.String("call", string(c.id)), slog.String("trunk", f.line.trunk.Name), slog.String("peer", f.line.way.Flow.Remote.String()))
	f.refusal, f.dropped = 408, true
	f.line.told(c.s, 408)
	f.line.over()
	f.out.Cancel() // one that is only slow
	c.nextWay()
}

// refusedOutside: a trunk refused the call. Another one is tried unless that is
// what the callee said, or the caller has heard it ring: it must not hear it begin
// again. An emergency call tries all there are.
func (c *call) refusedOutside(f *fork, r *sip.Response) {
	o := c.out
	if o.best == nil || rank(r.Code) > rank(o.best.Code) {
		o.best = r
	}
	_, _, callee := ofCallee(r)
	if !o.plan.Emergency && (o.heard || callee) {
		o.best = r
		c.outsideOver()
		return
	}
	c.s.c.Logger.Info("trunk refused a call", slog.String("call", string(c.id)), slog.String("trunk", f.line.trunk.Name), slog.Int("code", r.Code))
	c.nextWay()
}

// outsideOver ends a call that nobody outside has taken.
func (c *call) outsideOver() {
	o := c.out
	o.stop()
	switch {
	case o.best != nil:
		code, reason := outsideVerdict(o.best)
		c.end(c.insisted(reason, code))
	case o.refusal != nil:
		c.end(telephony.EndLimit, *o.refusal)
	case o.failed != nil && !errors.Is(o.failed, errNoRoom):
		c.refuseMedia(o.failed)
	default:
		c.end(telephony.EndTrunks, sip.Reply{Code: 503})
	}
}

func userPart(number string) string { return strings.ReplaceAll(number, "#", "%23") }

// cut ends a call that may cost no more, in whatever call its leg is now.
func (c *call) cut(o *outside) {
	at := c
	if o.leg != nil {
		if u, ok := o.leg.User().(*call); ok {
			at = u
		}
	}
	at.end(telephony.EndLimit, sip.Reply{Code: 480})
}
