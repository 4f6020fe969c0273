package location

import (
	"cmp"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"ringfence/internal/telephony"
)

const shards = 32

// defaultSweep is how often expired bindings are removed. Lookups leave them
// out anyway; the sweep reports them.
const defaultSweep = time.Second

// Memory is the Store of one node.
type Memory struct {
	c      Config
	seed   maphash.Seed
	shards [shards]shard
	flows  flowIndex
	signal chan struct{}
	stop   chan struct{}
	done   chan struct{}
	close  sync.Once
}

// shard holds a share of all AORs. Its slices are replaced, never changed, so
// that readers may keep them.
type shard struct {
	mu      sync.Mutex
	byAOR   map[telephony.AOR][]telephony.Binding
	changed map[Key]change
}

// Key names a binding: its AOR and Contact URI as they were registered, and for
// one of several flows of a phone which of them (RFC 5626 section 6).
type Key struct {
	AOR               telephony.AOR
	Contact, Instance string
	RegID             int
}

// KeyOf is the Key of a binding.
func KeyOf(b *telephony.Binding) Key { return Key{b.AOR, b.Contact, b.Instance, b.RegID} }

func same(a, b *telephony.Binding) bool {
	return a.Contact == b.Contact && a.RegID == b.RegID && a.Instance == b.Instance
}

// change is the newest state of a binding that is not stored yet.
type change struct {
	binding telephony.Binding
	removed bool
}

// NewMemory returns a store and starts its sweeper. Close it.
func NewMemory(c Config) *Memory {
	if c.Sweep == 0 {
		c.Sweep = defaultSweep
	}
	m := &Memory{
		c:      c,
		seed:   maphash.MakeSeed(),
		signal: make(chan struct{}, 1),
		stop:   make(chan struct{}),
		done:   make(chan struct{}),
	}
	for i := range m.shards {
		m.shards[i].byAOR = make(map[telephony.AOR][]telephony.Binding)
		m.shards[i].changed = make(map[Key]change)
	}
	go m.sweep()
	return m
}

// Close stops the sweeper. The bindings stay readable.
func (m *Memory) Close() {
	m.close.Do(func() { close(m.stop) })
	<-m.done
}

func (m *Memory) shard(aor telephony.AOR) *shard {
	return &m.shards[maphash.Comparable(m.seed, aor)%shards]
}

// Bindings returns the bindings of an AOR that can be reached; see Store.
func (m *Memory) Bindings(aor telephony.AOR) []telephony.Binding {
	s := m.shard(aor)
	s.mu.Lock()
	list := s.byAOR[aor]
	s.mu.Unlock()
	out := live(list, time.Now())
	return slices.DeleteFunc(out, func(b telephony.Binding) bool { return b.Reach != telephony.Reachable })
}

// reachable counts what Bindings would return of a list without expired ones.
func reachable(list []telephony.Binding) (n int) {
	for i := range list {
		if list[i].Reach == telephony.Reachable {
			n++
		}
	}
	return n
}

// live copies what has not expired, in the order to try it.
func live(list []telephony.Binding, now time.Time) []telephony.Binding {
	out := make([]telephony.Binding, 0, len(list))
	for i := range list {
		if list[i].Expires.After(now) {
			out = append(out, list[i])
		}
	}
	if len(out) < 2 {
		return out
	}
	slices.SortStableFunc(out, func(a, b telephony.Binding) int {
		return cmp.Or(cmp.Compare(b.Q, a.Q), b.Registered.Compare(a.Registered))
	})
	return out
}

// All returns the live bindings of a tenant, sorted by AOR; see Store.
func (m *Memory) All(tenant telephony.TenantID) []telephony.Binding {
	now := time.Now()
	var out []telephony.Binding
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		for _, list := range s.byAOR {
			for _, b := range list {
				if (b.Tenant == tenant || tenant == telephony.System) && b.Expires.After(now) {
					out = append(out, b)
				}
			}
		}
		s.mu.Unlock()
	}
	slices.SortFunc(out, func(a, b telephony.Binding) int {
		return cmp.Or(cmp.Compare(a.AOR.Domain, b.AOR.Domain), cmp.Compare(len(a.AOR.User), len(b.AOR.User)),
			cmp.Compare(a.AOR.User, b.AOR.User), b.Registered.Compare(a.Registered), cmp.Compare(a.Contact, b.Contact))
	})
	return out
}

// Update changes the bindings of one AOR as a whole; see Store.
func (m *Memory) Update(aor telephony.AOR, change func([]telephony.Binding) ([]telephony.Binding, error)) ([]telephony.Binding, error) {
	now := time.Now()
	s := m.shard(aor)
	s.mu.Lock()
	before := s.byAOR[aor]
	was := live(before, now)
	after, err := change(slices.Clone(was))
	if err != nil {
		s.mu.Unlock()
		return was, err
	}
	after = slices.Clone(after)
	s.put(aor, after)
	dirty := s.note(before, after)
	m.flows.move(aor, before, after)
	s.mu.Unlock()
	if dirty {
		m.wake()
	}
	if m.c.OnChange != nil && moved(was, after) {
		m.c.OnChange(tenantOf(was, after), aor, reachable(after))
	}
	return live(after, now), nil
}

func (s *shard) put(aor telephony.AOR, list []telephony.Binding) {
	if len(list) == 0 {
		delete(s.byAOR, aor)
		return
	}
	s.byAOR[aor] = list
}

// note records the difference for the writer.
func (s *shard) note(before, after []telephony.Binding) (dirty bool) {
	for i := range before {
		b := &before[i]
		if !slices.ContainsFunc(after, func(x telephony.Binding) bool { return same(&x, b) }) {
			s.changed[KeyOf(b)] = change{*b, true}
			dirty = true
		}
	}
	for _, b := range after {
		if !slices.Contains(before, b) {
			s.changed[KeyOf(&b)] = change{b, false}
			dirty = true
		}
	}
	return dirty
}

// moved reports whether more than expiry times changed.
func moved(was, is []telephony.Binding) bool {
	if len(was) != len(is) {
		return true
	}
	for _, b := range is {
		if !slices.ContainsFunc(was, func(x telephony.Binding) bool { return same(&x, &b) && x.Flow == b.Flow && x.Reach == b.Reach }) {
			return true
		}
	}
	return false
}

func tenantOf(lists ...[]telephony.Binding) telephony.TenantID {
	for _, l := range lists {
		if len(l) > 0 {
			return l[0].Tenant
		}
	}
	return telephony.System
}

func (m *Memory) wake() {
	select {
	case m.signal <- struct{}{}:
	default:
	}
}

// Changes signals after a change; it holds one signal.
func (m *Memory) Changes() <-chan struct{} { return m.signal }

// Take returns what happened since the last Take: for every binding only its
// newest state.
func (m *Memory) Take() Changed {
	var c Changed
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		for _, ch := range s.changed {
			if ch.removed {
				c.Removed = append(c.Removed, ch.binding)
			} else {
				c.Put = append(c.Put, ch.binding)
			}
		}
		clear(s.changed)
		s.mu.Unlock()
	}
	return c
}

// Return gives back what could not be stored; what happened since wins over it.
func (m *Memory) Return(c Changed) {
	back := func(b telephony.Binding, removed bool) {
		s := m.shard(b.AOR)
		s.mu.Lock()
		defer s.mu.Unlock()
		k := KeyOf(&b)
		if _, newer := s.changed[k]; !newer {
			s.changed[k] = change{b, removed}
		}
	}
	for _, b := range c.Put {
		back(b, false)
	}
	for _, b := range c.Removed {
		back(b, true)
	}
}

// Restore fills the store at start with saved bindings; expired ones are
// reported as removed by the next Take. Connections do not survive a restart:
// the bindings on them wait for their phones to come back.
func (m *Memory) Restore(saved []telephony.Binding) {
	now := time.Now()
	for _, b := range saved {
		s := m.shard(b.AOR)
		s.mu.Lock()
		if b.Flow.Token != "" {
			b.Reach = telephony.Waiting
		}
		if b.Expires.After(now) {
			s.byAOR[b.AOR] = append(slices.Clone(s.byAOR[b.AOR]), b)
		} else {
			s.changed[KeyOf(&b)] = change{b, true}
		}
		s.mu.Unlock()
	}
	m.wake()
}

// Len is how many bindings there are.
func (m *Memory) Len() (n int) {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		for _, list := range s.byAOR {
			n += len(list)
		}
		s.mu.Unlock()
	}
	return n
}

func (m *Memory) sweep() {
	defer close(m.done)
	t := time.NewTicker(m.c.Sweep)
	defer t.Stop()
	for {
		select {
		case <-m.stop:
			return
		case now := <-t.C:
			for i := range m.shards {
				m.expire(&m.shards[i], now)
			}
		}
	}
}

// expire removes what has expired from one shard.
func (m *Memory) expire(s *shard, now time.Time) {
	type gone struct {
		tenant telephony.TenantID
		aor    telephony.AOR
		left   int
	}
	var all []gone
	s.mu.Lock()
	for aor, list := range s.byAOR {
		if !slices.ContainsFunc(list, func(b telephony.Binding) bool { return !b.Expires.After(now) }) {
			continue
		}
		left := live(list, now)
		s.note(list, left)
		s.put(aor, left)
		m.flows.move(aor, list, left)
		all = append(all, gone{list[0].Tenant, aor, reachable(left)})
	}
	s.mu.Unlock()
	if len(all) == 0 {
		return
	}
	m.wake()
	if m.c.OnChange == nil {
		return
	}
	for _, g := range all {
		m.c.OnChange(g.tenant, g.aor, g.left)
	}
}
