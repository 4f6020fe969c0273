package dialog

import (
	"strconv"

	"ringfence/internal/sip"
)

// fork is one early dialog of an INVITE of ours. A proxy on the way may have
// forked it, so that there are several, each with its own tag, target, route
// set and numbers (RFC 3261 section 12.1.2).
type fork struct {
	tag       string
	target    string
	routes    []string
	remoteSeq uint32
	rseq      uint32 // of its last reliable response
	settled   bool   // and it answered our offer, or we its
	asks      uint32 // its RSeq, if that has an offer we did not answer
}

// heard takes a provisional response. It reports whether that is new: not the
// copy of a reliable one, and not one that overtook its predecessor, which will
// be sent again (RFC 3262 section 4).
func (o *Outbound) heard(r *sip.Response) bool {
	l, tag := o.leg, r.To.Tag()
	if tag == "" {
		return true // makes no dialog
	}
	f := o.forks[tag]
	if f == nil {
		if len(o.forks) >= maxStrays {
			return false
		}
		f = &fork{tag: tag, target: refreshed(l.target, r), routes: reversed(r.Values("Record-Route"))}
	}
	rseq, reliable := uint32(0), hasToken(r.Values("Require"), "100rel")
	if reliable {
		n, err := strconv.ParseUint(r.Header("RSeq"), 10, 32)
		rseq = uint32(n)
		if err != nil || n == 0 || f.rseq != 0 && rseq != f.rseq+1 {
			return false
		}
	}
	if o.forks == nil {
		o.forks = make(map[string]*fork)
	}
	o.forks[tag] = f
	f.target = refreshed(f.target, r)
	l.learn(r.Values("Allow"))
	if o.initial {
		l.follow(f)
	}
	switch described := r.SDP() != nil; {
	case !reliable:
	case described && !o.offer && !f.settled && o.initial:
		// Its PRACK brings our answer (RFC 3262 section 5).
		f.rseq, f.asks = rseq, rseq
	default:
		f.rseq = rseq
		f.settled = f.settled || o.offer && described
		o.prack(f, rseq, nil)
	}
	return true
}

// Asks reports whether a provisional response has an offer that waits for Answer.
// Call it in the mailbox.
func (o *Outbound) Asks(r *sip.Response) bool {
	f := o.forks[r.To.Tag()]
	return f != nil && f.asks != 0 && r.Header("RSeq") == strconv.FormatUint(uint64(f.asks), 10)
}

// Answer answers the offer in a reliable provisional response with the given tag,
// in its PRACK. Call it in the mailbox.
func (o *Outbound) Answer(tag string, sdp []byte) {
	f := o.forks[tag]
	if f == nil || f.asks == 0 || o.leg.state >= ending {
		return
	}
	rseq := f.asks
	f.asks, f.settled = 0, true
	o.prack(f, rseq, sdp)
}

// follow makes an early dialog the one that our requests go to: that of the
// last provisional response.
func (l *Leg) follow(f *fork) {
	if l.fork != nil {
		l.fork.remoteSeq = l.remoteSeq
	}
	if l.remoteTag != f.tag {
		l.know(f.tag)
	}
	l.fork, l.target, l.routes, l.remoteSeq = f, f.target, f.routes, f.remoteSeq
}

// prack acknowledges a reliable provisional response in the dialog that it
// belongs to (RFC 3262 section 4). The transaction repeats it by itself.
func (o *Outbound) prack(f *fork, rseq uint32, sdp []byte) {
	l := o.leg
	if was := l.fork; o.initial && was != f && was != nil {
		l.follow(f)
		defer l.follow(was)
	}
	l.localSeq++
	req := l.request(sip.PRACK, l.localSeq)
	req.Headers = append(req.Headers, sip.Header{
		Name: "RAck", Value: strconv.FormatUint(uint64(rseq), 10) + " " + strconv.FormatUint(uint64(o.cseq), 10) + " " + sip.INVITE,
	})
	req.Body = sdp
	// Whatever the answer: the INVITE's own tells what becomes of the call.
	l.exchange(req, func(*sip.Response) {})
}
