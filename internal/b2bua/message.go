package b2bua

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// Limits of messages outside of calls.
const (
	maxMessage   = 8 << 10     // bytes of a body
	messageBurst = 20          // so many at once from one extension
	messageEvery = time.Second // and then one each

	// messageWait is how long phones may take to answer: the sender must hear
	// before its own transaction gives up (RFC 4320 section 4.1).
	messageWait = 20 * time.Second
)

// message passes a MESSAGE outside of any dialog on to all phones of an
// extension (RFC 3428). The answers tell as much as those to an INVITE do.
func (s *Service) message(tx *sip.ServerTx) {
	if s.ofTrunk(tx) {
		return
	}
	caller, ok := s.authenticate(tx)
	if !ok {
		return
	}
	r := tx.Request()
	switch {
	case len(r.Body) > maxMessage:
		tx.Reply(sip.Reply{Code: 413})
		return
	case !s.messages.allow(caller.ext.Tenant, caller.ext.Number, time.Now()):
		tx.Reply(sip.Reply{Code: 480, Headers: []sip.Header{{Name: "Retry-After", Value: "5"}}})
		return
	}
	number, ok := s.dialled(r.URI, caller.tenant, tx.Flow())
	to, known := s.c.Snapshot().Extension(caller.tenant.ID, number)
	if !ok || !known {
		tx.Reply(sip.Reply{Code: 404})
		return
	}
	phones := s.phones(caller.tenant, to, func(f sip.Flow) bool { return f.Remote == tx.Flow().Remote })
	if len(phones) == 0 {
		tx.Reply(sip.Reply{Code: 480})
		return
	}
	if tx.Begin(func() {}) != nil {
		return
	}
	s.deliver(tx, caller, to, phones[:min(len(phones), maxForks)])
}

// delivery gathers the answers of the phones a message goes to.
type delivery struct {
	mu      sync.Mutex
	tx      *sip.ServerTx
	waiting int
	best    int
	done    bool
	timer   *time.Timer
}

func (s *Service) deliver(tx *sip.ServerTx, from caller, to telephony.Extension, phones []device) {
	r := tx.Request()
	d := &delivery{tx: tx, waiting: len(phones) + 1}
	d.timer = time.AfterFunc(messageWait, func() { d.late() })
	domain, hidden := from.tenant.Domain, withheld(r)
	sender := telephony.Party{Number: from.ext.Number, Name: from.ext.DisplayName}
	for _, p := range phones {
		s.messageTo(p, d, sip.Outgoing{
			Method: sip.MESSAGE, CSeq: 1, MaxForwards: r.NextHops(),
			From: identity(domain, sender, hidden) + ";tag=" + sip.NewTag(), To: "<" + to.AOR(domain).String() + ">",
			Headers: asserted(domain, sender, hidden), ContentType: r.Header("Content-Type"), Body: r.Body,
		})
	}
	d.answered(408) // of nobody: all have been asked
}

// messageTo sends a message to a phone, on its next flow if one fails.
func (s *Service) messageTo(p device, d *delivery, message sip.Outgoing) {
	o := message
	o.URI, o.CallID, o.Headers = p.target, sip.NewCallID(), slices.Clone(message.Headers)
	for _, route := range p.routes {
		o.Headers = append(o.Headers, sip.Header{Name: "Route", Value: route})
	}
	var turn atomic.Bool // of the next flow
	next := func() bool {
		first := p.next != nil && !d.over() && turn.CompareAndSwap(false, true)
		if first {
			s.messageTo(*p.next, d, message)
		}
		return first
	}
	var silent *time.Timer
	if p.next != nil {
		silent = time.AfterFunc(flowTime, func() { next() })
	}
	answered := func(x *sip.Response) {
		if silent != nil {
			silent.Stop()
		}
		if failed(x) && next() || turn.Load() && x.Code >= 300 {
			return // the next flow's answer counts
		}
		d.answered(x.Code)
	}
	if _, err := s.c.Endpoint.Request(p.flow, o, answered); err != nil {
		answered(&sip.Response{Code: 503, Local: true})
	}
}

// late answers when some phone has not.
func (d *delivery) late() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.done {
		d.finish(480)
	}
}

// over reports whether the sender has been told already.
func (d *delivery) over() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.done
}

func (d *delivery) finish(code int) {
	d.done = true
	d.timer.Stop()
	d.tx.Reply(sip.Reply{Code: code})
}

// answered counts one phone's answer: the first that takes the message answers
// for all, else the best of the refusals does.
func (d *delivery) answered(code int) {
	if code < 200 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waiting--
	if rank(code) > rank(d.best) {
		d.best = code
	}
	switch {
	case d.done:
	case code < 300:
		d.finish(200)
	case d.waiting == 0:
		code, _ := verdict(d.best)
		if d.best == 413 || d.best == 415 {
			code = d.best // about the message itself
		}
		d.finish(code)
	}
}

// limiter bounds how many messages an extension sends: there are as many
// entries as extensions at most, for only they pass the digest.
type limiter struct {
	mu   sync.Mutex
	free map[senderKey]time.Time // when all of its burst is there again
}

type senderKey struct {
	tenant telephony.TenantID
	number string
}

func (l *limiter) allow(tenant telephony.TenantID, number string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.free == nil {
		l.free = make(map[senderKey]time.Time)
	}
	k := senderKey{tenant, number}
	at := l.free[k]
	if at.Before(now) {
		at = now
	}
	if at.Sub(now) >= messageBurst*messageEvery {
		return false
	}
	l.free[k] = at.Add(messageEvery)
	return true
}
