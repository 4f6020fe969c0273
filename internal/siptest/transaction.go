package siptest

import (
	"context"
	"net/netip"
	"time"

	"github.com/emiago/sipgo/sip"
)

// t2 is the longest retransmission interval (RFC 3261 section 17.1.2.1).
const t2 = 4 * time.Second

// clientTx is a request on its way (RFC 3261 section 17.1).
type clientTx struct {
	key       string
	invite    bool
	to        netip.AddrPort
	wire      []byte
	responses chan *sip.Response
	settled   chan struct{} // closed when retransmitting must stop
}

// begin sends a request and keeps retransmitting it. forget must be called.
func (p *Phone) begin(method, branch string, to netip.AddrPort, wire []byte) (*clientTx, error) {
	tx := &clientTx{
		key: branch + " " + method, invite: method == "INVITE", to: to, wire: wire,
		responses: make(chan *sip.Response, 64), settled: make(chan struct{}, 1),
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, ErrClosed
	}
	p.clients[tx.key] = tx
	p.mu.Unlock()
	if err := p.transmit(to, wire); err != nil {
		p.forget(tx)
		return nil, err
	}
	if !p.reliable() {
		p.start(func() { p.retransmit(tx) })
	}
	return tx, nil
}

// retransmit repeats a request until a response settles it (timers A and E).
func (p *Phone) retransmit(tx *clientTx) {
	interval := p.config.T1
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-tx.settled:
			return
		case <-time.After(interval):
		}
		if err := p.transmit(tx.to, tx.wire); err != nil {
			return
		}
		if interval *= 2; !tx.invite {
			interval = min(interval, t2)
		}
		if interval > 64*p.config.T1 {
			return
		}
	}
}

func (tx *clientTx) settle() {
	select {
	case tx.settled <- struct{}{}:
	default:
	}
}

func (p *Phone) forget(tx *clientTx) {
	tx.settle()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.clients, tx.key)
}

// forgetLater keeps a transaction for the peer's retransmissions (timer D).
func (p *Phone) forgetLater(tx *clientTx) {
	time.AfterFunc(64*p.config.T1, func() { p.forget(tx) })
}

// final waits for the final response.
func (p *Phone) final(ctx context.Context, tx *clientTx) (*sip.Response, error) {
	limit := time.NewTimer(64 * p.config.T1)
	defer limit.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-p.ctx.Done():
			return nil, ErrClosed
		case <-limit.C:
			return nil, ErrTimeout
		case res := <-tx.responses:
			if res.StatusCode >= 200 {
				return res, nil
			}
		}
	}
}

func (p *Phone) handleResponse(res *sip.Response) {
	key := res.Via().Params.GetOr("branch", "") + " " + string(res.CSeq().MethodName)
	p.mu.Lock()
	tx := p.clients[key]
	p.mu.Unlock()
	if tx == nil {
		p.logf("%s got a stray response %d to %s", p.config.User, res.StatusCode, key)
		return
	}
	if tx.invite || res.StatusCode >= 200 {
		tx.settle()
	}
	select {
	case tx.responses <- res:
	default: // a flood: the caller has 64 unread ones
	}
}

// serverTx is a request that was answered: it answers retransmissions
// (RFC 3261 section 17.2).
type serverTx struct {
	key   string
	from  netip.AddrPort
	last  []byte
	acked chan struct{} // INVITE only: closed by its ACK
}

// responseAddr is where responses to a request go (RFC 3581).
func responseAddr(req *sip.Request, from netip.AddrPort) netip.AddrPort {
	via := req.Via()
	if _, ok := via.Params.Get("rport"); ok || via.Port == 0 {
		return from
	}
	return netip.AddrPortFrom(from.Addr(), uint16(via.Port))
}

func serverKey(req *sip.Request, method string) string {
	return req.Via().Params.GetOr("branch", "") + " " + req.Via().SentBy() + " " + method
}

// receive finds the transaction of a request; known means it was seen before.
func (p *Phone) receive(req *sip.Request, from netip.AddrPort) (tx *serverTx, known bool) {
	key := serverKey(req, string(req.Method))
	p.mu.Lock()
	defer p.mu.Unlock()
	if tx := p.servers[key]; tx != nil {
		return tx, true
	}
	tx = &serverTx{key: key, from: responseAddr(req, from), acked: make(chan struct{})}
	p.servers[key] = tx
	time.AfterFunc(64*p.config.T1, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.servers, key)
	})
	return tx, false
}

// reply sends a response and keeps it for retransmissions.
func (p *Phone) reply(tx *serverTx, m *message) error {
	wire := m.bytes()
	p.mu.Lock()
	tx.last = wire
	p.mu.Unlock()
	return p.transmit(tx.from, wire)
}

// repeat sends the last response again, to a retransmitted request.
func (p *Phone) repeat(tx *serverTx) {
	p.mu.Lock()
	last := tx.last
	p.mu.Unlock()
	if last != nil {
		_ = p.transmit(tx.from, last)
	}
}

// persist repeats a final response to INVITE until its ACK (timers G and H,
// RFC 3261 section 13.3.1.4). It reports whether the ACK came.
func (p *Phone) persist(tx *serverTx) bool {
	limit := time.NewTimer(64 * p.config.T1)
	defer limit.Stop()
	for interval := p.config.T1; ; interval = min(2*interval, t2) {
		select {
		case <-tx.acked:
			return true
		case <-p.ctx.Done():
			return false
		case <-limit.C:
			return false
		case <-time.After(interval):
			p.repeat(tx)
		}
	}
}

// ack marks a transaction's final response as received.
func (p *Phone) ack(tx *serverTx) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-tx.acked:
	default:
		close(tx.acked)
	}
}
