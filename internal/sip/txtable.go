package sip

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// txKey identifies a server transaction: a seeded hash, so that nothing of the
// peer's text is kept and nobody can aim at one bucket.
type txKey [2]uint64

const txShards = 32

// txTable holds all transactions. Pending ones are limited; answered
// non-INVITE transactions keep only the bytes of their response, in order of
// age, and the oldest make room.
type txTable struct {
	e       *Endpoint
	seeds   [2]maphash.Seed
	pending atomic.Int64
	shards  [txShards]txShard
}

type txShard struct {
	mu      sync.Mutex
	server  map[txKey]*ServerTx
	merged  map[txKey]*ServerTx // INVITEs by Call-ID, From tag and CSeq
	clients map[string]*ClientTx
	done    map[txKey]answered
	order   []aged // keys of done, oldest first
}

// answered is what is left of a non-INVITE server transaction (RFC 3261
// section 17.2.2, Completed).
type answered struct {
	flow Flow
	raw  []byte
}

type aged struct {
	key     txKey
	expires time.Time
}

func newTxTable(e *Endpoint) *txTable {
	t := &txTable{e: e, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
	for i := range t.shards {
		s := &t.shards[i]
		s.server = make(map[txKey]*ServerTx)
		s.merged = make(map[txKey]*ServerTx)
		s.clients = make(map[string]*ClientTx)
		s.done = make(map[txKey]answered)
	}
	return t
}

func (t *txTable) shard(k txKey) *txShard { return &t.shards[k[0]%txShards] }

func (t *txTable) clientShard(id string) *txShard {
	return &t.shards[maphash.String(t.seeds[0], id)%txShards]
}

// key hashes what identifies the transaction of r (RFC 3261 section 17.2.3).
// Besides branch and sent-by it takes in what requests of one transaction have
// in common anyway, which also serves peers of RFC 2543 without a branch.
func (t *txTable) key(r *Request, method string) txKey {
	var space [512]byte
	b := space[:0]
	v := &r.Vias[0]
	if method == ACK {
		method = INVITE
	}
	b = append(append(b, v.Branch()...), 0)
	b = append(append(b, v.Host...), 0, byte(v.Port>>8), byte(v.Port))
	b = append(append(b, method...), 0)
	return t.hash(appendRequestID(b, r))
}

// mergedKey is the same without the branch (RFC 3261 section 8.2.2.2).
func (t *txTable) mergedKey(r *Request) txKey {
	var space [512]byte
	return t.hash(appendRequestID(space[:0], r))
}

func appendRequestID(b []byte, r *Request) []byte {
	b = append(append(b, r.CallID...), 0)
	b = append(append(b, r.From.Tag()...), 0)
	n := r.CSeq.Seq
	return append(b, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

func (t *txTable) hash(b []byte) txKey {
	return txKey{maphash.Bytes(t.seeds[0], b), maphash.Bytes(t.seeds[1], b)}
}

// absorb handles a request that belongs to a transaction there is already: a
// retransmission, or the ACK to a refusal. It reports whether it did.
func (t *txTable) absorb(tx *ServerTx) bool {
	s := t.shard(tx.key)
	s.mu.Lock()
	known := s.server[tx.key]
	old, isDone := s.done[tx.key]
	s.mu.Unlock()
	switch {
	case known != nil && tx.req.Method == ACK:
		return known.acknowledged()
	case known != nil:
		known.retransmitted()
		return true
	case isDone && tx.req.Method != ACK:
		t.e.send(old.flow, old.raw)
		return true
	}
	return false
}

// invite finds the INVITE that a CANCEL means. Some phones give their CANCEL a
// branch of its own; then Call-ID, From tag and CSeq decide.
func (t *txTable) invite(cancel *Request) *ServerTx {
	k := t.key(cancel, INVITE)
	s := t.shard(k)
	s.mu.Lock()
	tx := s.server[k]
	s.mu.Unlock()
	if tx != nil {
		return tx
	}
	k = t.mergedKey(cancel)
	s = t.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.merged[k]
}

// begin adds a server transaction. It returns the refusal if that is not
// possible: the limit, or an INVITE that came here by two ways.
func (t *txTable) begin(tx *ServerTx) *Reply {
	if t.pending.Add(1) > int64(t.e.cfg.Limits.Transactions) {
		t.pending.Add(-1)
		t.e.stats.busy.Add(1)
		return Busy()
	}
	if tx.req.Method == INVITE && tx.req.To.Tag() == "" {
		k := t.mergedKey(tx.req)
		s := t.shard(k)
		s.mu.Lock()
		if s.merged[k] != nil {
			s.mu.Unlock()
			t.pending.Add(-1)
			return &Reply{Code: 482}
		}
		s.merged[k] = tx
		s.mu.Unlock()
	}
	s := t.shard(tx.key)
	s.mu.Lock()
	s.server[tx.key] = tx
	s.mu.Unlock()
	return nil
}

// Busy is the refusal of a system at its limit. Retry-After is spread so that
// the refused do not return all at once.
func Busy() *Reply {
	return &Reply{Code: 503, Headers: []Header{{"Retry-After", spread(2, 9)}}}
}

// end forgets a server transaction.
func (t *txTable) end(tx *ServerTx) {
	s := t.shard(tx.key)
	s.mu.Lock()
	if s.server[tx.key] == tx {
		delete(s.server, tx.key)
	}
	s.mu.Unlock()
	if tx.req.Method != INVITE || tx.req.To.Tag() != "" {
		return
	}
	k := t.mergedKey(tx.req)
	s = t.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.merged[k] == tx {
		delete(s.merged, k)
	}
}

// complete keeps the final response of a non-INVITE transaction for timer J.
func (t *txTable) complete(tx *ServerTx, f Flow, raw []byte) {
	t.end(tx)
	if f.transport == nil || f.transport.Reliable() {
		return
	}
	now := time.Now()
	limit := max(t.e.cfg.Limits.Completed/txShards, 1)
	s := t.shard(tx.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.order) > 0 && (len(s.order) >= limit || now.After(s.order[0].expires)) {
		delete(s.done, s.order[0].key)
		s.order = s.order[1:]
	}
	s.done[tx.key] = answered{flow: f, raw: raw}
	s.order = append(s.order, aged{tx.key, now.Add(t.e.cfg.Timers.Timeout())})
}

func clientID(branch, method string) string { return method + " " + branch }

func (t *txTable) client(branch, method string) *ClientTx {
	if branch == "" {
		return nil
	}
	id := clientID(branch, method)
	s := t.clientShard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clients[id]
}

func (t *txTable) addClient(tx *ClientTx) error {
	if t.pending.Add(1) > int64(t.e.cfg.Limits.Transactions) {
		t.pending.Add(-1)
		t.e.stats.busy.Add(1)
		return ErrBusy
	}
	s := t.clientShard(tx.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[tx.id] = tx
	return nil
}

func (t *txTable) endClient(tx *ClientTx) {
	s := t.clientShard(tx.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients[tx.id] == tx {
		delete(s.clients, tx.id)
	}
}

// flowGone fails the requests that wait for a first answer on a connection that
// is dead (RFC 3261 section 17.1.4). One that was answered provisionally goes
// on: a phone that connects anew may still answer it.
func (t *txTable) flowGone(c *conn) {
	var waiting []*ClientTx
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for _, tx := range s.clients {
			if tx.flow.transport == Transport(c) {
				waiting = append(waiting, tx)
			}
		}
		s.mu.Unlock()
	}
	for _, tx := range waiting {
		tx.flowGone()
	}
}

func (t *txTable) size() (pending, completed int) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		completed += len(s.done)
		s.mu.Unlock()
	}
	return int(t.pending.Load()), completed
}

// close stops all timers; nothing is reported to anybody any more.
func (t *txTable) close() {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		servers, clients := s.server, s.clients
		s.server, s.merged, s.clients, s.done, s.order = map[txKey]*ServerTx{}, map[txKey]*ServerTx{}, map[string]*ClientTx{}, map[txKey]answered{}, nil
		s.mu.Unlock()
		for _, tx := range servers {
			tx.stop()
		}
		for _, tx := range clients {
			tx.stop()
		}
	}
}
