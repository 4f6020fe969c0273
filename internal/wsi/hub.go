package wsi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"sync"

	"ringfence/internal/telephony"
)

// row is an item of a topic. It does not change: another takes its place.
type row struct {
	tenant telephony.TenantID
	key    string
	item   json.RawMessage
	// own is what the extensions see whom it concerns, by number.
	own map[string]json.RawMessage
	n   uint64 // order in which the items came
}

// sees is what a subscription sees of the row, nil for nothing.
func (r *row) sees(s *subscription) json.RawMessage {
	switch {
	case r == nil || !s.all && s.tenant != r.tenant:
		return nil
	case s.own != "":
		return r.own[s.own]
	}
	return r.item
}

type rowKey struct {
	topic  Topic
	tenant telephony.TenantID
	key    string
}

// subscription is what a client wants to hear of.
type subscription struct {
	id     int64
	client *client
	topic  Topic
	tenant telephony.TenantID
	all    bool   // tenants
	own    string // only what concerns this extension; empty is everything
	seq    uint64 // of the last message, guarded by hub.mu
}

// keepEvents is how many items of a topic without state are kept for snapshots,
// of each tenant.
const keepEvents = 100

// hub holds what every topic shows now and hands each change to who subscribed.
// A snapshot is taken and a change is handed out under one lock, so that nothing
// is missed or told twice between them.
type hub struct {
	mu     sync.Mutex
	rows   map[Topic]map[rowKey]*row
	events map[Topic]map[telephony.TenantID][]*row // topics without state, the oldest first
	subs   map[Topic]map[*subscription]struct{}
	n      uint64
}

func newHub() *hub {
	h := &hub{rows: map[Topic]map[rowKey]*row{}, events: map[Topic]map[telephony.TenantID][]*row{}, subs: map[Topic]map[*subscription]struct{}{}}
	for _, t := range Topics() {
		h.rows[t], h.events[t], h.subs[t] = map[rowKey]*row{}, map[telephony.TenantID][]*row{}, map[*subscription]struct{}{}
	}
	return h
}

// put adds or replaces an item. One that looks as before is told to nobody.
func (h *hub) put(topic Topic, r *row) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := rowKey{topic, r.tenant, r.key}
	before := h.rows[topic][key]
	if before != nil {
		r.n = before.n
	} else {
		h.n++
		r.n = h.n
	}
	h.rows[topic][key] = r
	h.tell(topic, before, r)
}

// remove takes an item away.
func (h *hub) remove(topic Topic, tenant telephony.TenantID, key string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := rowKey{topic, tenant, key}
	if before := h.rows[topic][k]; before != nil {
		delete(h.rows[topic], k)
		h.tell(topic, before, nil)
	}
}

// keep takes away all items of a topic but those that may stay.
func (h *hub) keep(topic Topic, stays func(tenant telephony.TenantID, key string) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for k, before := range h.rows[topic] {
		if !stays(k.tenant, k.key) {
			delete(h.rows[topic], k)
			h.tell(topic, before, nil)
		}
	}
}

// happened adds an item to a topic without state.
func (h *hub) happened(topic Topic, r *row) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.n++
	r.n = h.n
	kept := append(h.events[topic][r.tenant], r)
	if len(kept) > keepEvents {
		kept = slices.Clone(kept[len(kept)-keepEvents:])
	}
	h.events[topic][r.tenant] = kept
	h.tell(topic, nil, r)
}

// forget drops the events of tenants that are gone.
func (h *hub) forget(there func(telephony.TenantID) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, of := range h.events {
		for t := range of {
			if !there(t) {
				delete(of, t)
			}
		}
	}
}

// tell hands a change to who sees it. The caller holds mu.
func (h *hub) tell(topic Topic, before, after *row) {
	for s := range h.subs[topic] {
		was, is := before.sees(s), after.sees(s)
		m := Message{Type: msgChange, Subscription: s.id, Topic: topic}
		switch {
		case is != nil && !bytes.Equal(was, is):
			m.Op, m.Tenant, m.Key, m.Item = "put", tenantText(after.tenant), after.key, is
		case is == nil && was != nil:
			m.Op, m.Tenant, m.Key = "delete", tenantText(before.tenant), before.key
		default:
			continue
		}
		if s.client.changed(m, s.seq+1) {
			s.seq++
		}
	}
}

// subscribe answers and begins with a snapshot.
func (h *hub) subscribe(s *subscription, answer Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.subs[s.topic][s] = struct{}{}
	s.client.send(outgoing{Message: answer})
	h.snapshot(s, "subscribed")
}

func (h *hub) unsubscribe(s *subscription) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.subs[s.topic], s)
}

// resync begins the subscriptions of a client anew, which lost changes.
func (h *hub) resync(c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.caughtUp()
	for _, of := range h.subs {
		for s := range of {
			if s.client == c {
				h.snapshot(s, "resync")
			}
		}
	}
}

// lost begins all subscriptions of a topic anew, of which events were lost.
func (h *hub) lost(topic Topic) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs[topic] {
		h.snapshot(s, "resync")
	}
}

// partSize is how many items one message of a snapshot holds.
const partSize = 200

// snapshot hands the items of a subscription to its client. The caller holds mu.
func (h *hub) snapshot(s *subscription, reason string) {
	var rows []*row
	for _, r := range h.rows[s.topic] {
		if r.sees(s) != nil {
			rows = append(rows, r)
		}
	}
	for _, of := range h.events[s.topic] {
		for _, r := range of {
			if r.sees(s) != nil {
				rows = append(rows, r)
			}
		}
	}
	slices.SortFunc(rows, func(a, b *row) int { return cmp.Compare(a.n, b.n) })
	if s.client.sendSnapshot(s, rows, s.seq+1, reason) {
		s.seq += uint64(max(1, (len(rows)+partSize-1)/partSize))
	}
}
