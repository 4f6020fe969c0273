package dialog

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"ringfence/internal/sip"
)

// Inbound is an INVITE of the peer: the one that made the leg, or a re-INVITE.
type Inbound struct {
	leg     *Leg
	tx      *sip.ServerTx
	initial bool
	final   bool // a final response was sent
	ok      bool // it was a 2xx
	ackedAt bool // and its ACK came, or will not come any more
	timer   *time.Timer
	next    time.Duration
	started time.Time
	rel     reliable
}

// Leg returns the leg.
func (in *Inbound) Leg() *Leg { return in.leg }

// Initial reports whether this INVITE made the leg.
func (in *Inbound) Initial() bool { return in.initial }

// Answered reports whether a final response was sent. Call it in the mailbox.
func (in *Inbound) Answered() bool { return in.final }

// Request returns the INVITE.
func (in *Inbound) Request() *sip.Request { return in.tx.Request() }

// waits reports whether the ACK to our 2xx is outstanding.
func (in *Inbound) waits() bool { return in.ok && !in.ackedAt }

// Progress sends a provisional response, with a session description or without;
// reliably where the peer can (RFC 3262). Then a description that comes after
// the first is left out, see Settled.
func (in *Inbound) Progress(code int, sdp []byte) {
	if in.final || in.rel.held != nil {
		return
	}
	p := sip.Reply{Code: code, Tag: in.tag(), Headers: []sip.Header{in.leg.contact(), sip.Allow()}, Body: sdp}
	switch reliably, silent := in.wantsReliable(sdp); {
	case silent:
	case reliably:
		in.sendReliable(p)
	default:
		in.tx.Reply(p)
	}
}

func (in *Inbound) tag() string {
	if in.initial {
		return in.leg.localTag
	}
	return ""
}

// Accept answers with 200 and sends it again until the ACK comes (RFC 3261
// section 13.3.1.4). The User hears of Acked or NoAck. The 200 waits for the
// PRACK of a provisional response with our answer (RFC 3262 section 3), and does
// not repeat that answer.
func (in *Inbound) Accept(sdp []byte) {
	switch {
	case in.final || in.rel.held != nil:
	case in.rel.describes(), in.leg.update != nil && in.leg.update.prack():
		in.rel.held = func() { in.accept(sdp) }
	default:
		in.accept(sdp)
	}
}

func (in *Inbound) accept(sdp []byte) {
	in.final, in.ok = true, true
	in.rel.stop()
	if in.initial {
		in.leg.state = confirmed
	}
	if in.rel.settled {
		sdp = nil
	}
	h := append(in.leg.inviteHeaders(), in.leg.answerSession(in.tx.Request())...)
	in.tx.Reply(sip.Reply{Code: 200, Tag: in.tag(), Headers: h, Body: sdp})
	in.started = time.Now()
	in.next = in.leg.layer.ep.Timers().T1
	in.timer = in.leg.after(in.next, in.resend)
}

func (in *Inbound) resend() {
	if !in.waits() || in.leg.state == ended {
		return
	}
	t := in.leg.layer.ep.Timers()
	if time.Since(in.started) >= t.Timeout() {
		in.ackedAt = true
		in.leg.user.NoAck(in)
		in.leg.byeIfDue()
		return
	}
	in.tx.Resend()
	in.next = min(2*in.next, t.T2)
	in.timer.Reset(min(in.next, max(t.Timeout()-time.Since(in.started), time.Millisecond)))
}

// acked takes the ACK to our 2xx.
func (in *Inbound) acked(sdp []byte) {
	in.stop()
	in.ackedAt = true
	in.tx.Acknowledged()
	if !in.leg.byeDue {
		in.leg.user.Acked(in, sdp)
	}
	in.leg.byeIfDue()
}

// byeIfDue sends the BYE that waited for the ACK.
func (l *Leg) byeIfDue() {
	if l.byeDue && l.state == confirmed {
		l.byeDue = false
		l.Bye(l.byeWith...)
	}
}

// Reject answers with a refusal; an initial INVITE's leg ends with it.
func (in *Inbound) Reject(p sip.Reply) {
	if in.final {
		return
	}
	in.final = true
	in.rel.stop()
	p.Tag = in.tag()
	in.tx.Reply(p)
	if in.initial {
		in.leg.end()
	}
}

func (in *Inbound) stop() {
	in.rel.stop()
	if in.timer != nil {
		in.timer.Stop()
	}
}

// retryAfter is 0 to 10 s (RFC 3261 section 14.2).
func retryAfter() string { return strconv.Itoa(rand.IntN(11)) }

// delta is the number that a header such as Retry-After or Session-Expires
// begins with.
func delta(v string) string {
	if i := strings.IndexAny(v, "; \t("); i >= 0 {
		v = v[:i]
	}
	return v
}
