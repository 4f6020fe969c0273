package presence

import (
	"slices"
	"time"

	"ringfence/internal/events"
	"ringfence/internal/telephony"
)

// model is what is known of the live calls, by extension. Only the service's
// run loop changes it, under the lock.
type model struct {
	calls map[telephony.CallID]telephony.LiveCall
	byExt map[extension][]telephony.CallID // oldest first
	count uint64                           // of subscriptions ever
}

func newModel() model {
	return model{calls: make(map[telephony.CallID]telephony.LiveCall), byExt: make(map[extension][]telephony.CallID)}
}

// put takes a call as it is now and returns the extensions it touches or
// touched.
func (m *model) put(c telephony.LiveCall) []extension {
	touched := m.remove(c.ID)
	m.calls[c.ID] = c
	for _, e := range extensionsOf(c) {
		m.byExt[e] = append(m.byExt[e], c.ID)
		if !slices.Contains(touched, e) {
			touched = append(touched, e)
		}
		slices.SortFunc(m.byExt[e], func(a, b telephony.CallID) int {
			return m.calls[a].Started.Compare(m.calls[b].Started)
		})
	}
	return touched
}

func (m *model) remove(id telephony.CallID) []extension {
	old, ok := m.calls[id]
	if !ok {
		return nil
	}
	delete(m.calls, id)
	touched := extensionsOf(old)
	for _, e := range touched {
		list := slices.DeleteFunc(m.byExt[e], func(x telephony.CallID) bool { return x == id })
		if m.byExt[e] = list; len(list) == 0 {
			delete(m.byExt, e)
		}
	}
	return touched
}

func extensionsOf(c telephony.LiveCall) []extension {
	var out []extension
	for _, l := range c.Legs {
		if e := (extension{c.Tenant, l.Number}); !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	return out
}

// legOf is a leg of an extension with its call.
type legOf struct {
	telephony.LiveLeg
	call telephony.LiveCall
}

// legs lists the legs of an extension's phones, those of the oldest call first.
func (m *model) legs(e extension) []legOf {
	var out []legOf
	for _, id := range m.byExt[e] {
		c := m.calls[id]
		for _, l := range c.Legs {
			if l.Number == e.number {
				out = append(out, legOf{l, c})
			}
		}
	}
	return out
}

// run follows the events until Close.
func (s *Service) run() {
	sweep := time.NewTicker(s.c.Sweep)
	defer sweep.Stop()
	var gather <-chan time.Time
	calls := make(map[telephony.CallID]struct{})
	var lost uint64
	s.audit()
	for {
		select {
		case <-s.stop:
			return
		case e := <-s.bus.C:
			s.take(e, calls)
			if gather == nil && len(calls) > 0 {
				gather = time.After(s.c.Gather)
			}
		case <-gather:
			gather = nil
			s.reread(calls)
			clear(calls)
			if n := s.bus.Lost(); n != lost {
				lost = n
				s.audit()
			}
		case <-sweep.C:
			s.expire(time.Now())
			s.audit()
		}
	}
}

// take notes what an event tells to look at.
func (s *Service) take(e events.Event, calls map[telephony.CallID]struct{}) {
	switch e := e.(type) {
	case events.CallStarted:
		calls[e.Call.ID] = struct{}{}
	case events.CallChanged:
		calls[e.Call.ID] = struct{}{}
	case events.CallEnded:
		calls[e.Record.ID] = struct{}{}
	case events.RegistrationChanged:
		t, ok := s.c.Snapshot().TenantByDomain(e.AOR.Domain)
		if ok {
			who := extension{t.ID, e.AOR.User}
			s.lookAt(resourceKey{who, presenceEvent}, resourceKey{who, regEvent})
		}
	}
}

// reread looks at calls that something happened to.
func (s *Service) reread(calls map[telephony.CallID]struct{}) {
	var touched []extension
	for id := range calls {
		c, ok := s.c.Calls.Call(id)
		s.mu.Lock()
		if ok {
			touched = append(touched, s.model.put(c)...)
		} else {
			touched = append(touched, s.model.remove(id)...)
		}
		s.mu.Unlock()
	}
	keys := make([]resourceKey, 0, 2*len(touched))
	for _, e := range touched {
		keys = append(keys, resourceKey{e, dialogEvent}, resourceKey{e, presenceEvent})
	}
	s.lookAt(keys...)
}

// audit looks at everything again. A call that ended since it was listed comes
// back for one round at most: its event is still to be handled.
func (s *Service) audit() {
	all := s.c.Calls.Calls(telephony.System)
	s.mu.Lock()
	fresh := newModel()
	fresh.count = s.model.count
	for _, c := range all {
		fresh.put(c)
	}
	s.model = fresh
	keys := make([]resourceKey, 0, len(s.resources))
	for k := range s.resources {
		keys = append(keys, k)
	}
	s.mu.Unlock()
	s.lookAt(keys...)
}

// lookAt compares resources with what was last told of them, and tells their
// subscribers if something changed.
func (s *Service) lookAt(keys ...resourceKey) {
	s.mu.Lock()
	for _, k := range keys {
		res := s.resources[k]
		if res == nil {
			continue
		}
		now := k.state(s)
		if now == res.seen {
			continue
		}
		res.seen = now
		for u := range res.subs {
			s.queue(u)
		}
	}
	s.mu.Unlock()
	s.pump()
}

// expire ends what nobody refreshed (RFC 6665 section 4.2.2).
func (s *Service) expire(now time.Time) {
	s.mu.Lock()
	for _, u := range s.byTag {
		if !u.Expires.After(now) {
			s.end(u, "timeout")
		}
	}
	stale := s.expirePublished(now)
	s.mu.Unlock()
	s.lookAt(stale...)
	s.pump()
}
