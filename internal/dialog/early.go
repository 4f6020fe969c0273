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
	settled   bool   // and it answered our offer
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
	if reliable {
		f.rseq = rseq
		f.settled = f.settled || o.offer && r.SDP() != nil
		o.prack(rseq)
	}
	return true
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
func (o *Outbound) prack(rseq uint32) {
	l := o.leg
	l.localSeq++
	req := l.request(sip.PRACK, l.localSeq)
	req.Headers = append(req.Headers, sip.Header{
		Name: "RAck", Value: strconv.FormatUint(uint64(rseq), 10) + " " + strconv.FormatUint(uint64(o.cseq), 10) + " " + sip.INVITE,
	})
	// Whatever the answer: the INVITE's own tells what becomes of the call.
	_, _ = l.layer.ep.Request(l.flow, req, func(*sip.Response) {})
}
