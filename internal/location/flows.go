package location

import (
	"slices"
	"sync"
	"time"

	"ringfence/internal/telephony"
)

// flowIndex finds the AORs that are bound to a connection, so that its end
// costs nothing but their bindings. A connection carries one AOR, or a few.
type flowIndex struct {
	mu      sync.Mutex
	byToken map[string][]telephony.AOR
}

// move follows a change of the bindings of one AOR.
func (x *flowIndex) move(aor telephony.AOR, before, after []telephony.Binding) {
	for i := range before {
		if t := before[i].Flow.Token; t != "" && before[i].Reach != telephony.Waiting && !hasToken(after, t) {
			x.drop(aor, t)
		}
	}
	for i := range after {
		if t := after[i].Flow.Token; t != "" && after[i].Reach != telephony.Waiting && !hasToken(before, t) {
			x.add(aor, t)
		}
	}
}

func hasToken(list []telephony.Binding, token string) bool {
	return slices.ContainsFunc(list, func(b telephony.Binding) bool { return b.Flow.Token == token && b.Reach != telephony.Waiting })
}

func (x *flowIndex) add(aor telephony.AOR, token string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.byToken == nil {
		x.byToken = make(map[string][]telephony.AOR)
	}
	if !slices.Contains(x.byToken[token], aor) {
		x.byToken[token] = append(x.byToken[token], aor)
	}
}

func (x *flowIndex) drop(aor telephony.AOR, token string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	left := slices.DeleteFunc(x.byToken[token], func(a telephony.AOR) bool { return a == aor })
	if len(left) == 0 {
		delete(x.byToken, token)
		return
	}
	x.byToken[token] = left
}

func (x *flowIndex) aors(token string) []telephony.AOR {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.byToken[token])
}

// FlowGone removes the bindings of a connection that has ended: nothing can be
// sent to them any more, and a phone that is still there registers again.
func (m *Memory) FlowGone(token string) {
	if token == "" {
		return
	}
	for _, aor := range m.flows.aors(token) {
		_, _ = m.Update(aor, func(list []telephony.Binding) ([]telephony.Binding, error) {
			return slices.DeleteFunc(list, func(b telephony.Binding) bool {
				return b.Flow.Token == token && b.Reach != telephony.Waiting
			}), nil
		})
	}
}

// Each calls f for every live binding, also those that cannot be reached, until
// f returns false. f must be quick and must not call the Memory or keep b.
func (m *Memory) Each(f func(b *telephony.Binding) bool) {
	now := time.Now()
	for i := range m.shards {
		if !m.shards[i].each(now, f) {
			return
		}
	}
}

func (s *shard) each(now time.Time, f func(b *telephony.Binding) bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, list := range s.byAOR {
		for i := range list {
			if list[i].Expires.After(now) && !f(&list[i]) {
				return false
			}
		}
	}
	return true
}

// Mark notes how a binding answered OPTIONS, unless it was registered anew
// meanwhile, and reports whether its reach changed. It is not stored.
func (m *Memory) Mark(asked *telephony.Binding, reach telephony.Reach, rtt time.Duration) bool {
	k := KeyOf(asked)
	s := m.shard(k.AOR)
	s.mu.Lock()
	before := s.byAOR[k.AOR]
	i := slices.IndexFunc(before, func(b telephony.Binding) bool {
		return same(&b, asked) && b.Flow == asked.Flow && b.Registered.Equal(asked.Registered)
	})
	if i < 0 || before[i].Reach == reach && before[i].RTT == rtt {
		s.mu.Unlock()
		return false
	}
	after := slices.Clone(before)
	after[i].Reach, after[i].RTT = reach, rtt
	s.byAOR[k.AOR] = after
	s.mu.Unlock()
	changed := before[i].Reach != reach
	if changed && m.c.OnChange != nil {
		m.c.OnChange(after[i].Tenant, k.AOR, reachable(live(after, time.Now())))
	}
	return changed
}
