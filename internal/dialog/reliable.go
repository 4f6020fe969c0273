package dialog

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"ringfence/internal/sip"
)

// maxReliable bounds the provisional responses that wait for their turn.
const maxReliable = 8

// reliable is the reliability of the provisional responses to one INVITE of the
// peer (RFC 3262 section 3). They are sent one at a time, each until its PRACK
// comes.
type reliable struct {
	rseq    uint32      // of the latest sent
	queue   []sip.Reply // the first one is on its way, the others wait
	open    bool        // the latest was not acknowledged
	settled bool        // one with our answer, or offer, was acknowledged
	held    func()      // the 2xx that waits for the PRACK of our answer
	timer   *time.Timer
	next    time.Duration
	started time.Time
}

// wantsReliable reports whether a provisional response is to be sent reliably:
// all of them if the peer requires it, those with a description if it can. The
// first one to an INVITE without an offer has to bring ours (RFC 3262 section 5):
// without one it is not sent at all where it would have to be reliable (silent).
func (in *Inbound) wantsReliable(sdp []byte) (yes, silent bool) {
	required := in.requires()
	if in.late() && sdp == nil && !in.Settled() {
		return false, required
	}
	return required || sdp != nil && in.TakesReliable(), false
}

// requires reports whether all provisional responses have to be reliable.
func (in *Inbound) requires() bool {
	return hasToken(in.tx.Request().Values("Require"), "100rel")
}

// TakesReliable reports whether the peer can do with reliable provisional
// responses.
func (in *Inbound) TakesReliable() bool {
	return in.requires() || hasToken(in.tx.Request().Values("Supported"), "100rel")
}

// NeedsOffer reports whether provisional responses wait for an offer of ours: the
// peer requires reliable ones, and made none.
func (in *Inbound) NeedsOffer() bool { return in.late() && in.requires() && !in.Settled() }

// late reports whether the peer leaves the offer to us.
func (in *Inbound) late() bool { return in.initial && in.tx.Request().SDP() == nil }

func hasToken(list []string, token string) bool {
	for _, s := range list {
		if strings.EqualFold(s, token) {
			return true
		}
	}
	return false
}

// Settled reports whether the peer's offer was answered for good in a
// provisional response, so that only an UPDATE or a re-INVITE can change the
// session; or, if it made none, ours is in one. Call it in the mailbox.
func (in *Inbound) Settled() bool { return in.rel.settled || in.rel.describes() }

// describes reports whether a description of ours is on its way.
func (q *reliable) describes() bool {
	for i := range q.queue {
		if q.queue[i].Body != nil {
			return true
		}
	}
	return false
}

// sendReliable sends a provisional response, now or when its turn comes.
func (in *Inbound) sendReliable(p sip.Reply) {
	q := &in.rel
	if len(q.queue) >= maxReliable {
		return
	}
	if in.Settled() {
		p.Body = nil // the offer has its answer
	}
	q.queue = append(q.queue, p)
	if len(q.queue) == 1 {
		in.sendNext()
	}
}

// sendNext sends the first response of the queue for the first time.
func (in *Inbound) sendNext() {
	q := &in.rel
	if q.rseq == 0 {
		q.rseq = rand.Uint32N(1 << 30) // section 3: between 1 and 2^31-1
	}
	q.rseq++
	p := &q.queue[0]
	p.Headers = append(p.Headers, sip.Header{Name: "Require", Value: "100rel"},
		sip.Header{Name: "RSeq", Value: strconv.FormatUint(uint64(q.rseq), 10)})
	q.open = true
	q.started = time.Now()
	q.next = in.leg.layer.ep.Timers().T1
	in.tx.Reply(*p)
	rseq := q.rseq
	q.timer = in.leg.after(q.next, func() { in.repeat(rseq) })
}

// repeat sends the response again whose PRACK has not come, with doubling
// intervals; after 64*T1 the INVITE is refused (section 3).
func (in *Inbound) repeat(rseq uint32) {
	q := &in.rel
	if in.final || !q.open || q.rseq != rseq || len(q.queue) == 0 {
		return
	}
	t := in.leg.layer.ep.Timers()
	left := t.Timeout() - time.Since(q.started)
	if left <= 0 {
		in.Reject(sip.Reply{Code: 504})
		in.leg.user.NoAck(in)
		return
	}
	in.tx.Reply(q.queue[0])
	q.next *= 2
	q.timer.Reset(min(q.next, left))
}

// pracked handles a PRACK.
func (l *Leg) pracked(tx *sip.ServerTx) {
	in, r := l.in, tx.Request()
	if in == nil || !in.matches(r.Header("RAck")) {
		tx.Reply(sip.Reply{Code: 481})
		return
	}
	q := &in.rel
	q.open = false
	if q.timer != nil {
		q.timer.Stop()
	}
	described := false
	if len(q.queue) > 0 {
		described = q.queue[0].Body != nil
		q.settled = q.settled || described
		q.queue = q.queue[1:]
	}
	if described && in.late() {
		// It answers our offer (section 5).
		tx.Reply(sip.Reply{Code: 200})
		l.user.Pracked(in, r.SDP())
		in.proceed()
		return
	}
	switch code := l.offerable(); {
	case r.SDP() == nil:
		tx.Reply(sip.Reply{Code: 200})
	case code != 0:
		tx.Reply(refusal(code))
	default:
		l.update = &Update{leg: l, tx: tx}
		l.user.Update(l.update)
	}
	in.proceed()
}

// matches checks a RAck header (section 7.2).
func (in *Inbound) matches(rack string) bool {
	f := strings.Fields(rack)
	if len(f) != 3 || f[2] != sip.INVITE || !in.rel.open {
		return false
	}
	rseq, err1 := strconv.ParseUint(f[0], 10, 32)
	cseq, err2 := strconv.ParseUint(f[1], 10, 32)
	return err1 == nil && err2 == nil && uint32(rseq) == in.rel.rseq && uint32(cseq) == in.tx.Request().CSeq.Seq
}

// proceed sends what waited for a PRACK: the 2xx as soon as our answer has been
// acknowledged, else the next provisional response.
func (in *Inbound) proceed() {
	q := &in.rel
	switch {
	case in.final || in.leg.update != nil && in.leg.update.prack():
	case q.held != nil && !q.describes():
		held := q.held
		q.held = nil
		held()
	case len(q.queue) > 0 && !q.open:
		in.sendNext()
	}
}

// stop ends the repetitions. The PRACK of the last response may still come
// after the final one.
func (q *reliable) stop() {
	if q.timer != nil {
		q.timer.Stop()
	}
	q.queue, q.held = nil, nil
}
