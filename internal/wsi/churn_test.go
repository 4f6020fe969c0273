package wsi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"ringfence/internal/events"
	"ringfence/internal/telephony"
)

// mirror applies what a subscription brings, and finds fault with it.
type mirror struct {
	t     *testing.T
	seq   uint64
	more  bool
	items map[string]json.RawMessage
}

func (m *mirror) apply(v Message) {
	m.t.Helper()
	resync := v.Type == "snapshot" && v.Reason == "resync"
	if v.Seq != m.seq+1 && !(resync && v.Seq > m.seq) {
		m.t.Errorf("message %d after %d", v.Seq, m.seq)
	}
	m.seq = v.Seq
	if v.Type == "snapshot" {
		if v.Reason != "" {
			m.items = map[string]json.RawMessage{}
		} else if !m.more {
			m.t.Errorf("a part of nothing")
		}
		m.more = v.More
		for _, i := range v.Items {
			if m.items[i.Tenant+"/"+i.Key] != nil {
				m.t.Errorf("%s is in the snapshot twice", i.Key)
			}
			m.items[i.Tenant+"/"+i.Key] = i.Item
		}
		return
	}
	key := v.Tenant + "/" + v.Key
	was := m.items[key]
	switch {
	case m.more:
		m.t.Errorf("a change within a snapshot")
	case v.Op == "delete" && was == nil:
		m.t.Errorf("%s ends without having been there", key)
	case v.Op == "delete":
		delete(m.items, key)
	case bytes.Equal(was, v.Item):
		m.t.Errorf("%s is told twice", key)
	default:
		m.items[key] = v.Item
	}
}

// Clients come and go while calls do: every one of them ends with what there is,
// without a gap, without hearing anything twice.
func TestNoGapAndNoDuplicateUnderChurn(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	const lines, rounds = 8, 150
	var calling sync.WaitGroup
	for line := range lines {
		calling.Go(func() {
			for i := range rounds {
				c := liveCall(1, fmt.Sprintf("%d-%d", line, i), "101", "102")
				b.call(c, true)
				c.State = telephony.CallConnected
				b.call(c, false)
				if i < rounds-10 { // the last ones stay
					b.hangUp(c)
				}
				time.Sleep(200 * time.Microsecond) // spread over the clients' coming
			}
		})
	}
	over := make(chan struct{})
	go func() { calling.Wait(); close(over) }()
	var listening sync.WaitGroup
	for i := range 4 {
		cookie, _ := b.session(1, fmt.Sprint("ann", i), telephony.RoleAdmin, "")
		listening.Go(func() {
			for last := false; !last; {
				select {
				case <-over:
					last = true
				default:
				}
				b.follow(t, cookie, last, lines*10)
				for b.count() > 3 { // connections of a session are bounded
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	listening.Wait()
}

// follow listens for some messages, or until everything is there.
func (b *box) follow(t *testing.T, cookie string, last bool, want int) {
	c := b.open(cookie)
	defer c.ws.CloseNow()
	c.say(Request{Type: "subscribe", Topic: Calls})
	m := mirror{t: t}
	complete := func() bool {
		if len(m.items) != want {
			return false
		}
		for _, raw := range m.items {
			if !strings.Contains(string(raw), `"State":"connected"`) {
				return false
			}
		}
		return true
	}
	for n := 0; last && !complete() || !last && n < 60; n++ {
		v := c.hear()
		if v.Type == "ok" {
			continue
		}
		if v.Type != "snapshot" && v.Type != "change" {
			t.Errorf("%+v", v)
			return
		}
		m.apply(v)
		if !last && complete() {
			return // nothing more will come
		}
	}
}

// quiet is a client that nobody reads, below the socket.
func (b *box) quiet(queue int) *client {
	b.limits.queue = queue
	return &client{s: b.Server, subs: map[int64]*subscription{}, wake: make(chan struct{}, 1)}
}

func TestSlowClientBeginsAnew(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	c := b.quiet(10)
	s := &subscription{id: 1, client: c, topic: Calls, tenant: 1}
	b.hub.subscribe(s, Message{Type: msgOK})
	for i := range 30 {
		b.hub.put(Calls, &row{tenant: 1, key: fmt.Sprint(i), item: json.RawMessage(`1`)})
	}
	list, behind := c.take()
	if !behind || len(list) != 1 || list[0].Type != msgOK {
		t.Fatalf("%v %+v: answers stay, what a new snapshot makes void goes", behind, list)
	}
	for i := range 10 {
		b.hub.remove(Calls, 1, fmt.Sprint(i))
	}
	before := s.seq
	b.hub.resync(c)
	b.hub.put(Calls, &row{tenant: 1, key: "new", item: json.RawMessage(`1`)})
	list, behind = c.take()
	if behind || len(list) != 2 || list[0].Reason != "resync" || len(list[0].rows) != 20 || list[0].Seq != before+1 || list[1].Seq != before+2 {
		t.Errorf("%v %+v", behind, list)
	}
}

// A client that reads nothing is thrown out, and nobody waits for it.
func TestClientThatDoesNotReadHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	name := strings.Repeat("x", 4000)
	b := newBox(t, func(b *box) {
		for i := range 4000 {
			c := liveCall(1, fmt.Sprint("call-", i), "101", "102")
			c.Caller.Name = name
			b.calls[c.ID] = c
		}
	})
	b.limits.write = 300 * time.Millisecond
	cookie, _ := b.session(1, "ann", telephony.RoleAdmin, "")
	c := b.open(cookie)
	c.say(Request{Type: "subscribe", Topic: Calls})
	if m := c.hear(); m.Type != "ok" {
		t.Fatalf("%+v", m)
	}
	start := time.Now()
	for i := range 1000 {
		b.bus.Publish(events.CallChanged{Call: liveCall(1, fmt.Sprint("call-", i), "102", "101")})
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("publishing took %s", took)
	}
	for deadline := time.Now().Add(30 * time.Second); b.count() > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the client is still there")
		}
	}
}

// Events that were lost on the way are made up for by reading everything anew.
func TestLostEventsAreMadeUpFor(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	cookie, _ := b.session(1, "ann", telephony.RoleAdmin, "")
	stays, ends := liveCall(1, "stays", "101", "102"), liveCall(1, "ends", "101", "103")
	b.call(stays, true)
	b.call(ends, true)
	c := b.open(cookie)
	c.say(Request{Type: "subscribe", Topic: Calls})
	c.hear()
	m := mirror{t: t}
	for m.apply(c.hear()); len(m.items) < 2; {
		m.apply(c.hear())
	}
	b.hub.mu.Lock() // the feed waits here
	for range feedBuffer + 10 {
		b.bus.Publish(events.CallChanged{Call: ends})
	}
	b.hangUp(ends)
	b.call(liveCall(1, "new", "102", "103"), true)
	b.hub.mu.Unlock()
	for m.items["1/ends"] != nil || m.items["1/new"] == nil {
		m.apply(c.hear())
	}
	if len(m.items) != 2 {
		t.Errorf("%v", m.items)
	}
}
