package wsi

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/coder/websocket"

	"ringfence/internal/telephony"
)

// outgoing is a message that waits to be written, or a snapshot that becomes
// some.
type outgoing struct {
	Message
	rows []*row
	sub  *subscription // of a snapshot
}

// bring reports whether a message belongs to a subscription, so that a new
// snapshot makes it void.
func (o *outgoing) bring() bool { return o.Type == msgSnapshot || o.Type == msgChange }

// client is one connection. Nothing that the PBX does waits for it.
type client struct {
	s  *Server
	ws *websocket.Conn
	id identity

	// Of the reading goroutine.
	subs   map[int64]*subscription
	lastID int64
	tokens float64
	spent  time.Time

	wake  chan struct{} // capacity 1: something to write
	nudge chan struct{} // capacity 1: look at the session again

	mu     sync.Mutex
	queue  []outgoing
	behind bool // changes were lost: subscriptions begin anew
}

// send queues a message that must not be lost. How many there can be is bounded
// by how fast requests are read.
func (c *client) send(o outgoing) {
	c.mu.Lock()
	c.queue = append(c.queue, o)
	c.mu.Unlock()
	c.stir()
}

func (c *client) stir() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// changed queues a change; false says that the client is too slow and will get a
// snapshot instead.
func (c *client) changed(m Message, seq uint64) bool {
	m.Seq = seq
	return c.push(outgoing{Message: m})
}

func (c *client) sendSnapshot(s *subscription, rows []*row, seq uint64, reason string) bool {
	m := Message{Type: msgSnapshot, Subscription: s.id, Topic: s.topic, Seq: seq, Reason: reason}
	return c.push(outgoing{Message: m, rows: rows, sub: s})
}

func (c *client) push(o outgoing) bool {
	defer c.stir()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) >= c.s.limits.queue {
		c.behind = true
		c.queue = slices.DeleteFunc(c.queue, func(o outgoing) bool { return o.bring() })
	}
	if c.behind {
		return false
	}
	c.queue = append(c.queue, o)
	return true
}

// caughtUp lets changes be queued again. The hub holds its lock.
func (c *client) caughtUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.behind = false
}

func (c *client) take() (list []outgoing, behind bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	list, c.queue = c.queue, nil
	return list, c.behind
}

// errSlow ends a connection that cannot keep up.
var errSlow = errors.New("too slow")

// write writes what is queued until the context ends.
func (c *client) write(ctx context.Context) error {
	var resyncs []time.Time
	for {
		list, behind := c.take()
		for i := range list {
			if err := c.put(&list[i]); err != nil || ctx.Err() != nil {
				return err
			}
		}
		if behind {
			now := time.Now()
			resyncs = slices.DeleteFunc(resyncs, func(t time.Time) bool { return now.Sub(t) > time.Minute })
			if len(resyncs) >= maxResyncs {
				return errSlow
			}
			resyncs = append(resyncs, now)
			c.s.hub.resync(c)
			continue
		}
		if len(list) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.wake:
		}
	}
}

// put writes one message, a snapshot in parts.
func (c *client) put(o *outgoing) error {
	if o.sub == nil {
		return c.encode(o.Message)
	}
	m := o.Message
	for at := 0; ; at += partSize {
		part := o.rows[at:min(at+partSize, len(o.rows))]
		m.Items = make([]Item, 0, len(part))
		for _, r := range part {
			m.Items = append(m.Items, Item{Tenant: tenantText(r.tenant), Key: r.key, Item: r.sees(o.sub)})
		}
		m.More = at+partSize < len(o.rows)
		if err := c.encode(m); err != nil || !m.More {
			return err
		}
		m.Reason = ""
		m.Seq++
	}
}

// encode writes a message whole: the library closes a connection whose context
// ends within one, and a good-bye is to follow.
func (c *client) encode(m Message) error {
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.s.limits.write)
	defer cancel()
	return c.ws.Write(ctx, websocket.MessageText, raw)
}

// errRate ends a connection that asks too often, errFull one too many.
var (
	errRate = errors.New("too many requests")
	errFull = errors.New("too many connections of this session or tenant")
)

// read answers requests until the client goes.
func (c *client) read(ctx context.Context) error {
	for {
		kind, raw, err := c.ws.Read(ctx)
		if err != nil {
			return err
		}
		if !c.affords(time.Now()) {
			return errRate
		}
		r, err := decode(raw)
		switch {
		case kind != websocket.MessageText:
			c.refuse(r, codeBad, "text messages only")
		case err != nil:
			c.refuse(r, codeBad, err.Error())
		default:
			c.handle(r)
		}
	}
}

// affords is a token bucket of requests.
func (c *client) affords(now time.Time) bool {
	if !c.spent.IsZero() {
		c.tokens = min(burst, c.tokens+now.Sub(c.spent).Seconds()*perSecond)
	} else {
		c.tokens = burst
	}
	c.spent = now
	c.tokens--
	return c.tokens >= 0
}

func (c *client) refuse(r Request, code, why string) {
	c.send(outgoing{Message: Message{Type: msgError, ID: r.ID, Code: code, Text: why}})
}

func (c *client) handle(r Request) {
	switch r.Type {
	case reqPing:
		c.send(outgoing{Message: Message{Type: msgPong, ID: r.ID}})
	case reqSubscribe:
		c.subscribe(r)
	case reqUnsubscribe:
		s := c.subs[r.Subscription]
		if s == nil {
			c.refuse(r, codeBad, "there is no such subscription")
			return
		}
		c.s.hub.unsubscribe(s)
		delete(c.subs, s.id)
		c.send(outgoing{Message: Message{Type: msgOK, ID: r.ID, Subscription: s.id}})
	case reqAuth:
		c.refuse(r, codeBad, "this connection is authenticated; open another for another account")
	default:
		c.refuse(r, codeBad, "type is none of auth, subscribe, unsubscribe, ping")
	}
}

func (c *client) subscribe(r Request) {
	s := &subscription{client: c, topic: r.Topic}
	code, why := c.id.allow(s, r, c.s.cfg.Store.Snapshot())
	switch {
	case code != "":
		c.refuse(r, code, why)
		return
	case len(c.subs) >= maxSubscriptions:
		c.refuse(r, codeTooMany, "too many subscriptions on this connection")
		return
	}
	for _, have := range c.subs {
		if have.topic == s.topic && have.all == s.all && have.tenant == s.tenant {
			c.refuse(r, codeBad, "subscribed already")
			return
		}
	}
	c.lastID++
	s.id = c.lastID
	c.subs[s.id] = s
	c.s.hub.subscribe(s, Message{Type: msgOK, ID: r.ID, Subscription: s.id, Own: s.own})
}

// errEnded ends a connection whose session ended, or may no longer do what it
// could when it connected.
var errEnded = errors.New("the session ended or its rights changed")

// watch looks after the session, without counting as its use, and whether the
// client is still there.
func (c *client) watch(ctx context.Context) error {
	look, ping := time.NewTicker(c.s.limits.look), time.NewTicker(c.s.limits.ping)
	defer look.Stop()
	defer ping.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ping.C:
			wait, cancel := context.WithTimeout(ctx, c.s.limits.write)
			err := c.ws.Ping(wait)
			cancel()
			if err != nil {
				return err
			}
			continue
		case <-look.C:
		case <-c.nudge:
		}
		if now, err := c.id.again(ctx); err != nil || !now.same(c.id) {
			return errEnded
		}
	}
}

// end unsubscribes.
func (c *client) end() {
	for _, s := range c.subs {
		c.s.hub.unsubscribe(s)
	}
}

// goodbye says why the connection ends, as well as that can still be done.
func (c *client) goodbye(why error) {
	code, text, status := codeClosing, "the PBX closes this connection", websocket.StatusGoingAway
	switch {
	case errors.Is(why, errEnded):
		code, text, status = codeEnded, why.Error(), websocket.StatusPolicyViolation
	case errors.Is(why, errSlow):
		code, text, status = codeSlow, "changes came faster than this client takes them: subscribe to less", websocket.StatusTryAgainLater
	case errors.Is(why, errRate), errors.Is(why, errFull):
		code, text, status = codeTooMany, why.Error(), websocket.StatusPolicyViolation
	}
	if code == codeClosing && !errors.Is(why, context.Canceled) {
		return // the client went
	}
	ctx, cancel := context.WithTimeout(context.Background(), byeTimeout)
	defer cancel()
	raw, _ := json.Marshal(Message{Type: msgBye, Code: code, Text: text})
	if c.ws.Write(ctx, websocket.MessageText, raw) == nil {
		_ = c.ws.Close(status, code)
	}
}

// tenantOf is the tenant of a subscription that names none.
func tenantOf(snap *telephony.Snapshot, own telephony.TenantID) telephony.TenantID {
	if all := snap.Tenants(); own == telephony.System && len(all) > 0 {
		return all[0].ID
	}
	return own
}
