package sip

import (
	"crypto/rand"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// branchPrefix marks branches of RFC 3261.
const branchPrefix = "z9hG4bK"

// ClientTx is a request of ours and its transaction (RFC 3261 section 17.1,
// RFC 6026).
type ClientTx struct {
	e      *Endpoint
	id     string
	branch string
	out    Outgoing
	flow   Flow
	sentBy netip.AddrPort

	mu          sync.Mutex
	state       txState
	raw         []byte
	ack         []byte // to the refusal of an INVITE
	timer       *time.Timer
	interval    time.Duration
	deadline    time.Time
	onResponse  func(*Response)
	provisional bool // a 1xx came
	cancel      *Reply
	cancelSent  bool
}

// Request sends a request on f and calls onResponse for each response: for an
// INVITE any number of provisional ones, then one refusal or one or more 2xx
// (retransmissions and forks; the user acknowledges each of them with
// SendAck); for other methods one final. A time-out is a local 408, a flow that
// cannot be sent on a local 503. onResponse must not block. An error says that
// nothing was sent and onResponse will not be called.
func (e *Endpoint) Request(f Flow, out Outgoing, onResponse func(*Response)) (*ClientTx, error) {
	if !f.Valid() {
		return nil, ErrFlowGone
	}
	t := e.cfg.Timers
	tx := &ClientTx{
		e: e, branch: newBranch(), out: out, flow: f, sentBy: e.Advertised(f),
		state: calling, interval: t.T1, deadline: time.Now().Add(t.Timeout()), onResponse: onResponse,
	}
	tx.id = clientID(tx.branch, out.Method)
	tx.raw = out.append(make([]byte, 0, 1024+len(out.Body)), f, tx.sentBy, tx.branch)
	if err := e.txs.addClient(tx); err != nil {
		return nil, err
	}
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if f.transport.Reliable() {
		tx.interval = t.Timeout()
	}
	tx.timer = time.AfterFunc(tx.interval, tx.expire)
	if err := e.send(f, tx.raw); err != nil && f.Token != "" {
		// A broken connection will not come back; a datagram may be tried again.
		tx.timer.Reset(0)
		tx.deadline = time.Time{}
	}
	return tx, nil
}

func newBranch() string { return branchPrefix + rand.Text() }

// expire is timers A, B, D, E, F, K and M, by state.
func (tx *ClientTx) expire() {
	tx.mu.Lock()
	t := tx.e.cfg.Timers
	invite := tx.out.Method == INVITE
	switch tx.state {
	case calling, proceeding:
		if invite && tx.state == proceeding && tx.cancel == nil {
			tx.mu.Unlock() // rings as long as its user lets it
			return
		}
		if !time.Now().Before(tx.deadline) {
			code := 408
			if tx.deadline.IsZero() {
				code = 503
			}
			tx.fail(code)
			return
		}
		if !(invite && tx.state == proceeding) { // cancelled: only waiting
			tx.e.send(tx.flow, tx.raw)
		}
		if tx.interval *= 2; !invite {
			tx.interval = min(tx.interval, t.T2)
		}
		tx.timer.Reset(min(tx.interval, time.Until(tx.deadline)))
	case accepted, completed:
		tx.terminate()
	}
	tx.mu.Unlock()
}

// fail ends the transaction without an answer; it unlocks.
func (tx *ClientTx) fail(code int) {
	f := tx.onResponse
	tx.terminate()
	tx.e.txs.pending.Add(-1)
	tx.mu.Unlock()
	f(localResponse(&tx.out, code))
}

func (tx *ClientTx) flowGone() {
	tx.mu.Lock()
	if tx.state != calling || tx.timer == nil {
		tx.mu.Unlock()
		return
	}
	tx.fail(503)
}

func localResponse(o *Outgoing, code int) *Response {
	r := &Response{Code: code, Reason: Reason(code), Local: true}
	r.CallID, r.CSeq = o.CallID, CSeq{o.CSeq, o.Method}
	return r
}

func (tx *ClientTx) terminate() {
	tx.state = terminated
	tx.raw, tx.ack, tx.onResponse = nil, nil, nil
	tx.timer.Stop()
	tx.e.txs.endClient(tx)
}

// receive takes a response that matches the transaction.
func (tx *ClientTx) receive(r *Response) {
	tx.mu.Lock()
	var tell func(*Response)
	if tx.out.Method == INVITE {
		tell = tx.receiveInvite(r)
	} else {
		tell = tx.receiveOther(r)
	}
	tx.mu.Unlock()
	if tell != nil {
		tell(r)
	}
}

func (tx *ClientTx) receiveInvite(r *Response) (tell func(*Response)) {
	t := tx.e.cfg.Timers
	switch tx.state {
	case calling, proceeding:
		tell = tx.onResponse
		switch {
		case r.Provisional():
			tx.state = proceeding
			tx.provisional = true
			if tx.cancel == nil {
				tx.timer.Stop()
			} else {
				tx.sendCancel()
			}
		case r.Success():
			tx.answered(accepted)
			tx.timer.Reset(t.Timeout()) // timer M
		default:
			tx.answered(completed)
			tx.ack = tx.refusalAck(r)
			tx.e.send(tx.flow, tx.ack)
			tx.timer.Reset(tx.linger(t.Timeout())) // timer D
		}
	case accepted:
		if r.Success() {
			tell = tx.onResponse
		}
	case completed:
		if r.Code >= 300 {
			tx.e.send(tx.flow, tx.ack)
		}
	}
	return tell
}

func (tx *ClientTx) receiveOther(r *Response) (tell func(*Response)) {
	if tx.state != calling && tx.state != proceeding {
		return nil
	}
	if r.Provisional() {
		if tx.state == calling {
			tx.state = proceeding
			tx.interval = tx.e.cfg.Timers.T2 // section 17.1.2.2
		}
		return nil
	}
	tell = tx.onResponse
	tx.onResponse = nil // its user may be a call that is over, and copies are not told
	tx.answered(completed)
	tx.timer.Reset(tx.linger(tx.e.cfg.Timers.T4)) // timer K
	return tell
}

// answered leaves the pending states.
func (tx *ClientTx) answered(s txState) {
	tx.state = s
	tx.raw = nil
	tx.e.txs.pending.Add(-1)
}

// linger is how long copies of the answer can still come.
func (tx *ClientTx) linger(d time.Duration) time.Duration {
	if tx.flow.transport.Reliable() {
		return 0
	}
	return d
}

// refusalAck acknowledges a refusal within the transaction (section 17.1.1.3).
func (tx *ClientTx) refusalAck(r *Response) []byte {
	ack := tx.out
	ack.Method, ack.Body, ack.Headers = ACK, nil, routesOf(ack.Headers)
	if to := r.Header("To"); to != "" {
		ack.To = to
	}
	return ack.append(make([]byte, 0, 512), tx.flow, tx.sentBy, tx.branch)
}

func routesOf(h []Header) []Header {
	var routes []Header
	for _, x := range h {
		if strings.EqualFold(x.Name, "Route") {
			routes = append(routes, x)
		}
	}
	return routes
}

// Cancel cancels an INVITE that has no final response yet: at once if a
// provisional one came, else when it comes (RFC 3261 section 9.1). The user
// still gets the final response: usually 487, a 2xx if they crossed, or a local
// 408 if nothing comes within 64*T1. Headers may give a Reason (RFC 3326).
func (tx *ClientTx) Cancel(headers ...Header) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.out.Method != INVITE || (tx.state != calling && tx.state != proceeding) || tx.cancel != nil {
		return
	}
	tx.cancel = &Reply{Headers: headers}
	if tx.provisional {
		tx.sendCancel()
	}
}

func (tx *ClientTx) sendCancel() {
	if tx.cancelSent {
		return
	}
	tx.cancelSent = true
	t := tx.e.cfg.Timers
	tx.deadline = time.Now().Add(t.Timeout())
	tx.interval = t.Timeout()
	tx.timer.Reset(t.Timeout())
	c := &ClientTx{
		e: tx.e, branch: tx.branch, flow: tx.flow, sentBy: tx.sentBy, state: calling,
		interval: t.T1, deadline: tx.deadline, onResponse: func(*Response) {},
	}
	c.out = tx.out
	c.out.Method, c.out.Body = CANCEL, nil
	c.out.Headers = append(routesOf(tx.out.Headers), tx.cancel.Headers...)
	c.id = clientID(c.branch, CANCEL)
	c.raw = c.out.append(make([]byte, 0, 512), c.flow, c.sentBy, c.branch)
	if tx.flow.transport.Reliable() {
		c.interval = t.Timeout()
	}
	if err := tx.e.txs.addClient(c); err != nil {
		tx.e.send(c.flow, c.raw) // at the limit: once, without retransmissions
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = time.AfterFunc(c.interval, c.expire)
	tx.e.send(c.flow, c.raw)
}

// Forget ends a transaction whose answers interest nobody any more, such as
// that of an INVITE whose dialog has ended.
func (tx *ClientTx) Forget() {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.state == accepted || tx.state == completed {
		tx.terminate()
	}
}

func (tx *ClientTx) stop() {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	tx.state = terminated
	if tx.timer != nil {
		tx.timer.Stop()
	}
}

// SendAck sends the ACK to a 2xx: a request without a transaction of its own
// (RFC 3261 section 13.2.2.4). It returns the bytes, for the retransmissions
// that follow those of the 2xx.
func (e *Endpoint) SendAck(f Flow, out Outgoing) []byte {
	out.Method = ACK
	raw := out.append(make([]byte, 0, 512+len(out.Body)), f, e.Advertised(f), newBranch())
	e.send(f, raw)
	return raw
}

// SendRaw repeats what SendAck sent.
func (e *Endpoint) SendRaw(f Flow, raw []byte) { e.send(f, raw) }
