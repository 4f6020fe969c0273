// Package bans keeps who is banned, for what and until when.
package bans

import (
	"net/netip"
	"sync"
	"time"

	"ringfence/internal/telephony"
	"ringfence/internal/tries"
)

// maxBans bounds a Book; beyond it, of a few, the one that ends first gives way.
const maxBans = 65_536

type key struct {
	source netip.Addr
	scope  telephony.BanScope
}

// Book holds bans. It is safe for concurrent use.
type Book struct {
	mu      sync.RWMutex
	bans    map[key]telephony.Ban
	put     map[key]bool // not stored yet
	removed map[key]bool
}

// New returns a book of bans that were stored.
func New(stored []telephony.Ban) *Book {
	b := &Book{bans: make(map[key]telephony.Ban), put: make(map[key]bool), removed: make(map[key]bool)}
	for _, x := range stored[:min(len(stored), maxBans)] {
		b.bans[keyOf(x.Source, x.Scope)] = x
	}
	return b
}

func keyOf(a netip.Addr, scope telephony.BanScope) key { return key{tries.Source(a), scope} }

// Put enters a ban, or replaces one of the same source and scope that ends
// earlier. A verdict is not replaced by a ban that the packet filter's meters
// set, which does not hold against sources that it knows; it lasts as long as the
// longer of the two.
func (b *Book) Put(x telephony.Ban) {
	k := keyOf(x.Source, x.Scope)
	x.Source = k.source
	b.mu.Lock()
	defer b.mu.Unlock()
	old, ok := b.bans[k]
	switch {
	case !ok:
		b.makeRoom()
	case old.Level > 0 && x.Level == 0:
		if old.Until.After(x.Until) {
			x.Until = old.Until
		}
	case old.Until.After(x.Until):
		return
	case old.Level == 0 && x.Level > 0 && x.Since.Before(old.Until):
		old.Until = x.Until
		x = old
	}
	b.bans[k], b.put[k] = x, true
	delete(b.removed, k)
}

func (b *Book) makeRoom() {
	if len(b.bans) < maxBans {
		return
	}
	const looked = 16
	var victim key
	var first time.Time
	n := 0
	for k, x := range b.bans {
		if n == 0 || x.Until.Before(first) {
			victim, first = k, x.Until
		}
		if n++; n == looked {
			break
		}
	}
	b.strike(victim)
}

func (b *Book) strike(k key) {
	delete(b.bans, k)
	delete(b.put, k)
	b.noteRemoved(k)
}

// noteRemoved is bounded, for a disk that takes nothing while attackers come and
// go: what is left in the store then ends there by its time.
func (b *Book) noteRemoved(k key) {
	if len(b.removed) < 2*maxBans {
		b.removed[k] = true
	}
}

// Remove takes a ban back and reports whether there was one.
func (b *Book) Remove(a netip.Addr, scope telephony.BanScope) bool {
	k := keyOf(a, scope)
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.bans[k]
	if ok {
		b.strike(k)
	}
	return ok
}

// Get is the ban of a source in a scope that is in force at now.
func (b *Book) Get(a netip.Addr, scope telephony.BanScope, now time.Time) (telephony.Ban, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	x, ok := b.bans[keyOf(a, scope)]
	return x, ok && now.Before(x.Until)
}

// Holds reports whether a source is banned in a scope at now, by verdict: what
// the packet filter's meters decide is for the packet filter to carry out, which
// spares the sources it knows.
func (b *Book) Holds(a netip.Addr, scope telephony.BanScope, now time.Time) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if len(b.bans) == 0 {
		return false
	}
	x := b.bans[keyOf(a, scope)]
	return x.Level == 0 && now.Before(x.Until)
}

// List is every ban in force at now, the latest first. Those that ran out are
// forgotten.
func (b *Book) List(now time.Time) []telephony.Ban {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]telephony.Ban, 0, len(b.bans))
	for k, x := range b.bans {
		if !now.Before(x.Until) {
			b.strike(k)
			continue
		}
		out = append(out, x)
	}
	telephony.SortBans(out)
	return out
}

// Changed is what is to be stored.
type Changed struct{ Put, Removed []telephony.Ban }

// Take is what changed since the last Take.
func (b *Book) Take() (c Changed) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k := range b.put {
		c.Put = append(c.Put, b.bans[k])
	}
	for k := range b.removed {
		c.Removed = append(c.Removed, telephony.Ban{Source: k.source, Scope: k.scope})
	}
	clear(b.put)
	clear(b.removed)
	return c
}

// Return gives back what could not be stored, for the next Take.
func (b *Book) Return(c Changed) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, x := range c.Put {
		if k := keyOf(x.Source, x.Scope); b.bans[k] != (telephony.Ban{}) {
			b.put[k] = true
		}
	}
	for _, x := range c.Removed {
		if k := keyOf(x.Source, x.Scope); b.bans[k] == (telephony.Ban{}) {
			b.noteRemoved(k)
		}
	}
}
