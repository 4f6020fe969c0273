package store

import (
	"slices"

	"ringfence/internal/telephony"
)

// Kind is a sort of settings.
type Kind string

// The kinds.
const (
	KindSettings  Kind = "settings"
	KindTenant    Kind = "tenant"
	KindExtension Kind = "extension"
	KindUser      Kind = "user"
	KindRole      Kind = "role"
	KindGroup     Kind = "group"
	KindAddress   Kind = "address"
	KindTrunk     Kind = "trunk"
	// KindRouting is rules, hours, numbering plan and blocked callers.
	KindRouting Kind = "routing"
	KindContact Kind = "contact"
	// KindCertificate is only in the history: certificates are files.
	KindCertificate Kind = "certificate"
)

// Change says what changed up to a revision, never to which values: those
// stand in the Snapshot.
type Change struct {
	Rev     uint64
	Kinds   []Kind
	Tenants []telephony.TenantID // telephony.System for box-wide settings
}

// Has reports whether the change touched a kind.
func (c Change) Has(k Kind) bool { return slices.Contains(c.Kinds, k) }

func (c *Change) merge(o Change) {
	c.Rev = max(c.Rev, o.Rev)
	c.Kinds = union(c.Kinds, o.Kinds)
	c.Tenants = union(c.Tenants, o.Tenants)
}

func union[T ~string | ~int64](a, b []T) []T {
	a = append(slices.Clone(a), b...)
	slices.Sort(a)
	return slices.Compact(a)
}

func (st *txState) change(rev uint64) Change {
	c := Change{Rev: rev}
	for kind, tenants := range st.touched.kinds {
		c.Kinds = append(c.Kinds, kind)
		for id := range tenants {
			c.Tenants = append(c.Tenants, id)
		}
	}
	c.Kinds, c.Tenants = union(c.Kinds, nil), union(c.Tenants, nil)
	return c
}

// Subscription tells of changes. Changes that were not taken yet are merged
// into one, so a slow reader never holds anybody up and misses nothing.
type Subscription struct {
	// C receives after one or more changes; call Take then.
	C <-chan struct{}

	c       chan struct{}
	s       *Store
	pending Change // guarded by s.mu
}

// Subscribe tells of every change that commits after it returns.
func (s *Store) Subscribe() *Subscription {
	c := make(chan struct{}, 1)
	sub := &Subscription{C: c, c: c, s: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subs[sub] = struct{}{}
	return sub
}

// Take returns what changed since the last Take; a zero Rev if nothing did.
func (sub *Subscription) Take() Change {
	sub.s.mu.Lock()
	defer sub.s.mu.Unlock()
	c := sub.pending
	sub.pending = Change{}
	return c
}

// Close ends the subscription; C is not closed.
func (sub *Subscription) Close() {
	sub.s.mu.Lock()
	defer sub.s.mu.Unlock()
	delete(sub.s.subs, sub)
}

// publish tells every subscriber; it never blocks.
func (s *Store) publish(c Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := range s.subs {
		sub.pending.merge(c)
		select {
		case sub.c <- struct{}{}:
		default:
		}
	}
}
