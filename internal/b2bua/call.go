package b2bua

import (
	"crypto/rand"
	"log/slog"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"ringfence/internal/dialog"
	"ringfence/internal/dialplan"
	"ringfence/internal/events"
	"ringfence/internal/media"
	"ringfence/internal/media/quality"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// party is one side of a call.
type party struct {
	leg   *dialog.Leg
	media MediaLeg
	// security is how its media must be protected.
	security telephony.MediaSecurity
	dtmf     telephony.DTMF // the form of its digits
	held     bool           // its last offer put the other side on hold
	stale    bool           // it does not know yet whom it hears: see reoffer
	tune     media.Tune
	line     *trunkLine // nil: a phone of ours
	// passing are its requests on their way to the other side, in order.
	passing []passing
}

// describe takes what the party's phone said of its media.
func (p *party) describe(sdp []byte) error {
	if sdp == nil {
		return errNoAnswer
	}
	return p.media.SetRemote(sdp)
}

// call is a pair of legs. Everything but live, done and what newCall sets is
// touched in its mailbox only.
type call struct {
	s      *Service
	id     telephony.CallID
	tenant telephony.Tenant
	hidden bool // the caller withholds its number
	box    dialog.Mailbox
	live   atomic.Pointer[telephony.LiveCall]
	done   chan struct{}

	record   telephony.CallRecord
	state    telephony.CallState
	in       *dialog.Inbound // the caller's first INVITE
	caller   party
	callee   *fork // the phone that answered
	forks    []*fork
	rung     telephony.Extension // whose phones are tried, or were last
	account  telephony.Extension // on whose account the call goes where it goes
	first    dialplan.Plan       // for what was dialled
	out      *outside            // its way to the outside, if it has taken one
	before   int                 // how often it was sent on before it came to us
	extras   []sip.Header        // that the rules of its trunk add for phones
	hops     []hop               // who sent the call on
	early    *fork               // the phone whose early media the caller gets
	waits    *waiting            // an offer of one side that waits for the ACK of the other
	answer   []byte              // what the caller was answered last
	said     bool                // a caller without an offer has answered ours in a PRACK
	asked    *fork               // whose offer that was; nil: our own
	media    MediaCall
	noAnswer *time.Timer
	relay    *relay // the re-INVITE that is being relayed
	audited  time.Time
	judge    quality.Judge
	lastCode int // of the provisional responses
	finished bool

	leaving    *call        // that one party is being transferred to
	arriving   *transfer    // how the caller came here, until somebody answers
	referredBy []sip.Header // who sent the caller here
	refers     int          // REFERs that were accepted
	lament     *lament      // it is over, and a transferred caller hears so
}

func newCall(s *Service, tenant telephony.Tenant, caller telephony.Party, hidden bool, dialled string) *call {
	now := time.Now()
	c := &call{
		s: s, id: newCallID(now), tenant: tenant, hidden: hidden,
		done: make(chan struct{}), state: telephony.CallTrying, audited: now,
	}
	c.record = telephony.CallRecord{
		ID: c.id, Tenant: tenant.ID, Node: s.c.Node, Direction: telephony.Internal, Started: now,
		Caller: caller, Callee: telephony.Party{Number: clip(dialled)}, Route: telephony.CallRoute{Dialled: clip(dialled)},
	}
	c.box.Panicked = c.panicked
	c.show()
	return c
}

// newCallID is unique for ever: the time in milliseconds and 65 random bits.
func newCallID(now time.Time) telephony.CallID {
	return telephony.CallID(strconv.FormatInt(now.UnixMilli(), 36) + "-" + strings.ToLower(rand.Text()[:13]))
}

// clip bounds what a caller dialled for lists and records.
func clip(s string) string { return strings.Clone(s[:min(len(s), 64)]) }

func (c *call) params(contact string) dialog.Params {
	if !plain(contact) {
		contact = ""
	}
	return dialog.Params{
		Mailbox: &c.box, User: c, Contact: contact, Headers: []sip.Header{sip.Allow()}, Supported: "replaces, norefersub",
		Session: sessionTimer(c.tenant.Calls),
	}
}

func sessionTimer(r telephony.CallRules) dialog.SessionTimer {
	return dialog.SessionTimer{
		Interval: r.SessionExpires, Min: r.MinSE,
		Refuse: r.Session == telephony.SessionRefuse, Require: r.Session == telephony.SessionRequire,
	}
}

// plain reports whether s can stand in the user part of a URI as it is.
func plain(s string) bool {
	for i := range len(s) {
		switch b := s[i]; {
		case b >= '0' && b <= '9', b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', strings.IndexByte("-_.!~*'()+", b) >= 0:
		default:
			return false
		}
	}
	return true
}

func (c *call) become(s telephony.CallState) {
	if c.state == s {
		return
	}
	c.state = s
	c.s.publish(events.CallChanged{Call: c.show()})
}

// panicked ends a call whose code failed: its record is written and both ends
// hear of it, and all other calls go on.
func (c *call) panicked(reason any) {
	c.s.c.Logger.Error("a call panicked", slog.String("call", string(c.id)), slog.Any("panic", reason), slog.String("stack", string(debug.Stack())))
	defer func() {
		if recover() != nil {
			c.finish(telephony.EndFailed, 500)
		}
	}()
	for _, o := range c.s.all() { // calls that share what may be broken now
		if o != c && o.box.Joined(&c.box) {
			o.end(telephony.EndFailed, sip.Reply{Code: 500})
		}
	}
	c.end(telephony.EndFailed, sip.Reply{Code: 500})
}

// end ends the call from our side, whatever its state: the caller gets reply if
// it has no final response yet, else BYE.
func (c *call) end(reason telephony.EndReason, reply sip.Reply) {
	h := because(reply.Code)
	if c.callee != nil {
		h.Value = normalClearing
	}
	c.endWith(h, reason, reply)
}

// endWith is end with a Reason of its own (RFC 3326).
func (c *call) endWith(h sip.Header, reason telephony.EndReason, reply sip.Reply) {
	if c.finished {
		return
	}
	if c.lamentable(reason) {
		c.mourn(reason, reply)
		return
	}
	if n := c.leaving; n != nil {
		c.leaving = nil
		n.abandon()
	}
	code := reply.Code
	if c.callee != nil {
		code = 200
	}
	c.cancelForks(nil, h)
	if c.callee != nil {
		c.callee.leg.Bye(h)
	}
	switch {
	case c.callee != nil:
		c.caller.leg.Bye(h)
	case c.arriving != nil:
		c.strand(code)
	case c.in == nil: // it panicked before it began
	default:
		c.in.Reject(reply)
	}
	c.finish(reason, code)
}

// because is the Reason of a status (RFC 3326 section 2).
func because(code int) sip.Header {
	return sip.Header{Name: "Reason", Value: "SIP;cause=" + strconv.Itoa(code)}
}

// normalClearing is why most calls end (RFC 3326 section 2).
const normalClearing = `Q.850;cause=16;text="Normal call clearing"`

// endedBy says whose doing an end is.
func endedBy(reason telephony.EndReason) telephony.Side {
	switch reason {
	case telephony.EndCallerHungUp, telephony.EndCancelled:
		return telephony.SideCaller
	case telephony.EndCalleeHungUp, telephony.EndBusy, telephony.EndRejected:
		return telephony.SideCallee
	}
	return telephony.SidePBX
}

// finish writes the record and frees what the call holds, once.
func (c *call) finish(reason telephony.EndReason, code int) {
	if c.finished {
		return
	}
	c.finished = true
	if c.noAnswer != nil {
		c.noAnswer.Stop()
	}
	if c.lament != nil {
		c.lament.timer.Stop()
	}
	c.stopRelay()
	c.caller.dropPassing()
	if c.callee != nil {
		c.callee.dropPassing()
	}
	c.record.Ended = time.Now()
	c.record.Reason, c.record.StatusCode, c.record.EndedBy = reason, code, endedBy(reason)
	c.out.stop()
	c.measure()
	c.s.remove(c)
	defer close(c.done)
	if c.media != nil {
		defer c.media.Close()
	}
	if c.s.c.Record != nil {
		c.s.c.Record(c.record)
	}
	c.s.publish(events.CallEnded{Record: c.record})
}

// askEvery is how often the phones of a call without media are asked whether they
// still know it.
const askEvery = 10 * time.Minute

// audit ends a call that is dead: no media from either side for the tenant's
// DeadMedia, or, where none is expected (hold), a phone that does not answer any
// more.
func (c *call) audit() {
	if c.finished || c.callee == nil || c.caller.media == nil {
		return
	}
	a, b := c.caller.media.SilentSince(), c.callee.media.SilentSince()
	if a.IsZero() && b.IsZero() || c.tenant.Calls.DeadMedia == 0 || c.caller.held || c.callee.held {
		c.ask()
		return
	}
	if c.silent(a) && c.silent(b) {
		c.end(telephony.EndMediaTimeout, sip.Reply{Code: 480})
	}
}

// silent reports whether one side gives no sign of life; a side that is not
// expected to counts as silent.
func (c *call) silent(since time.Time) bool {
	return since.IsZero() || time.Since(since) >= c.tenant.Calls.DeadMedia
}

// ask asks both phones whether they still know the call.
func (c *call) ask() {
	if time.Since(c.audited) < askEvery {
		return
	}
	c.audited = time.Now()
	for _, leg := range []*dialog.Leg{c.caller.leg, c.callee.leg} {
		leg.Do(sip.Outgoing{Method: sip.OPTIONS}, func(r *sip.Response) {
			if r.Code == 481 || r.Code == 408 && r.Local {
				c.end(telephony.EndMediaTimeout, sip.Reply{Code: 480})
			}
		})
	}
}
