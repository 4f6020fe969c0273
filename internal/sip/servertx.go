package sip

import (
	"errors"
	"sync"
	"time"
)

// ErrBusy says that the limit of pending transactions is reached.
var ErrBusy = errors.New("too many pending transactions")

// refreshProvisional is how often a ringing INVITE repeats its provisional
// response (RFC 3261 section 13.3.1.1).
const refreshProvisional = time.Minute

// txState is where a transaction stands (RFC 3261 section 17, RFC 6026).
type txState uint8

const (
	stateless txState = iota
	calling           // client: no response yet
	proceeding
	accepted // INVITE after a 2xx
	completed
	confirmed // INVITE server after the ACK of a refusal
	terminated
)

// ServerTx is a received request and, after Begin, its transaction. Without
// Begin it is stateless (RFC 3261 section 8.2.7): the answer is sent once, a
// retransmission is handled like a new request, and nothing is kept. That is
// right for refusals, and for what has the same effect when done twice.
type ServerTx struct {
	e    *Endpoint
	req  *Request
	key  txKey
	came time.Time

	mu       sync.Mutex
	state    txState
	tag      string
	last     []byte // last response
	flow     Flow   // where it went
	timer    *time.Timer
	interval time.Duration
	deadline time.Time
	onCancel func()
}

// Request returns the request.
func (tx *ServerTx) Request() *Request { return tx.req }

// Flow returns where the request came from.
func (tx *ServerTx) Flow() Flow { return tx.req.Flow }

// Waited is how long the request waited for a worker: a measure of overload.
func (tx *ServerTx) Waited() time.Duration { return time.Since(tx.came) }

// Endpoint returns the endpoint that received the request.
func (tx *ServerTx) Endpoint() *Endpoint { return tx.e }

// Tag returns our To tag in the responses to this request: the same for its
// retransmissions, and unguessable for everybody else.
func (tx *ServerTx) Tag() string {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	return tx.tagLocked()
}

func (tx *ServerTx) tagLocked() string {
	if tx.tag == "" {
		tx.tag = tx.e.secret.tag(tx.req)
	}
	return tx.tag
}

// Begin makes the transaction stateful; call it before the handler returns. An
// INVITE is answered with 100. onCancel, for an INVITE, is called when a CANCEL
// came before a final response; the INVITE is still to be answered (487).
// On an error the request has been refused and there is nothing more to do.
func (tx *ServerTx) Begin(onCancel func()) error {
	if tx.req.Method == ACK {
		return nil
	}
	tx.mu.Lock()
	tx.state = proceeding
	tx.onCancel = onCancel
	tx.mu.Unlock()
	if refusal := tx.e.txs.begin(tx); refusal != nil {
		tx.mu.Lock()
		tx.state = stateless
		tx.mu.Unlock()
		tx.Reply(*refusal)
		return ErrBusy
	}
	if tx.req.Method == INVITE {
		tx.Reply(Reply{Code: 100})
		return nil
	}
	tx.mu.Lock()
	defer tx.mu.Unlock()
	// A request nobody answers must not stay for ever.
	tx.arm(tx.e.cfg.Timers.Timeout())
	return nil
}

// Reply sends a response. After a final one, and for an ACK, it does nothing.
func (tx *ServerTx) Reply(p Reply) {
	if tx.req.Method == ACK {
		return
	}
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.state > proceeding {
		return
	}
	tag := p.Tag
	if tag == "" {
		tag = tx.tagLocked()
	} else {
		tx.tag = tag
	}
	f := tx.e.replyTo(tx.req)
	if tx.state == stateless {
		buf := tx.e.buffers.Get().(*[]byte)
		*buf = p.append((*buf)[:0], tx.req, tag, tx.e.cfg.Product)
		tx.e.send(f, *buf)
		tx.e.recycle(buf)
		return
	}
	tx.last, tx.flow = p.append(make([]byte, 0, 512+len(p.Body)), tx.req, tag, tx.e.cfg.Product), f
	tx.advance(p.Code)
	tx.e.send(f, tx.last)
}

// advance moves the state machine on for a response of the given code.
func (tx *ServerTx) advance(code int) {
	t := tx.e.cfg.Timers
	invite := tx.req.Method == INVITE
	switch {
	case code < 200:
		if invite && code > 100 {
			tx.arm(refreshProvisional)
		}
		return
	case !invite:
		tx.finish(terminated)
		tx.e.txs.complete(tx, tx.flow, tx.last)
	case code < 300:
		tx.finish(accepted)
		tx.arm(t.Timeout()) // timer L
	default:
		tx.finish(completed)
		tx.deadline = time.Now().Add(t.Timeout()) // timer H
		tx.interval = t.T1                        // timer G
		if tx.reliable() {
			tx.interval = t.Timeout()
		}
		tx.arm(tx.interval)
	}
}

// finish leaves the pending states.
func (tx *ServerTx) finish(s txState) {
	tx.state = s
	tx.onCancel = nil
	tx.e.txs.pending.Add(-1)
	if s == terminated && tx.timer != nil {
		tx.timer.Stop()
	}
}

func (tx *ServerTx) reliable() bool { return tx.flow.transport != nil && tx.flow.transport.Reliable() }

// arm sets the one timer of the transaction.
func (tx *ServerTx) arm(d time.Duration) {
	if tx.timer == nil {
		tx.timer = time.AfterFunc(d, tx.expire)
		return
	}
	tx.timer.Reset(d)
}

func (tx *ServerTx) expire() {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	switch tx.state {
	case proceeding:
		if tx.req.Method != INVITE {
			tx.finish(terminated)
			tx.e.txs.end(tx)
			return
		}
		tx.e.send(tx.flow, tx.last)
		tx.arm(refreshProvisional)
	case completed:
		if !time.Now().Before(tx.deadline) || tx.reliable() {
			tx.terminate() // timer H: no ACK came
			return
		}
		tx.e.send(tx.flow, tx.last)
		tx.interval = min(2*tx.interval, tx.e.cfg.Timers.T2)
		tx.arm(min(tx.interval, time.Until(tx.deadline)))
	case accepted, confirmed: // timers L and I
		tx.terminate()
	}
}

func (tx *ServerTx) terminate() {
	tx.state = terminated
	tx.last = nil
	tx.timer.Stop()
	tx.e.txs.end(tx)
}

// Resend sends the 2xx of an INVITE again: its reliability is the matter of
// the dialog (RFC 3261 section 13.3.1.4), not of the transaction.
func (tx *ServerTx) Resend() {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.state == accepted {
		tx.e.send(tx.flow, tx.last)
	}
}

// Acknowledged says that the ACK to the 2xx came: the transaction is needed
// only for copies of the INVITE that are still in the network (T4).
func (tx *ServerTx) Acknowledged() {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.state == accepted {
		tx.arm(tx.e.cfg.Timers.T4)
	}
}

// acknowledged takes an ACK with the branch of the INVITE. It reports whether
// it was the one to a refusal; that to a 2xx belongs to the dialog.
func (tx *ServerTx) acknowledged() bool {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	switch tx.state {
	case completed:
		tx.state = confirmed
		if tx.reliable() {
			tx.terminate()
			return true
		}
		tx.arm(tx.e.cfg.Timers.T4) // timer I
		return true
	case confirmed:
		return true
	}
	return false
}

// retransmitted answers a copy of the request.
func (tx *ServerTx) retransmitted() {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if (tx.state == proceeding || tx.state == completed) && tx.last != nil {
		tx.e.send(tx.flow, tx.last)
	}
}

// cancelled tells the user about a CANCEL, once and only before a final
// response (RFC 3261 section 9.2).
func (tx *ServerTx) cancelled() {
	tx.mu.Lock()
	f := tx.onCancel
	tx.onCancel = nil
	tx.mu.Unlock()
	if f != nil {
		f()
	}
}

func (tx *ServerTx) stop() {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	tx.state = terminated
	if tx.timer != nil {
		tx.timer.Stop()
	}
}
