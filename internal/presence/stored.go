package presence

import (
	"time"

	"ringfence/internal/telephony"
)

// Sequence and version of a stored subscription lag behind: they are written
// again after storeEvery NOTIFYs, and jump by a safe distance when restored.
// Both may have gaps (RFC 3261 section 12.2.1.1, RFC 4235 section 4.1.1).
const (
	storeEvery = 500
	gap        = 4 * storeEvery
)

// change is the newest state of a subscription that is not stored yet.
type change struct {
	sub     telephony.Subscription
	removed bool
}

// publishedChange is a publication that is to be stored, or removed.
type publishedChange struct {
	telephony.Publication
	removed bool
}

// Changed is what Take returns: subscriptions and publications to store, and
// tags of those to remove.
type Changed struct {
	Put     []telephony.Subscription
	Removed []telephony.Subscription

	PutPublished     []telephony.Publication
	RemovedPublished []telephony.Publication
}

// Empty reports whether there is nothing to write.
func (c Changed) Empty() bool {
	return len(c.Put)+len(c.Removed)+len(c.PutPublished)+len(c.RemovedPublished) == 0
}

// notePublished records a change for the writer. The lock is held.
func (s *Service) notePublished(e extension, p publication, removed bool) {
	if s.c.KeepAtShutdown {
		s.changedPublished[p.tag] = publishedChange{telephony.Publication{
			Tenant: e.tenant, Number: e.number, Tag: p.tag, Open: p.status.open, Activities: p.status.activities,
			Note: p.status.note, Published: p.at, Expires: p.expires,
		}, removed}
	}
}

// note records a change for the writer. The lock is held.
func (s *Service) note(u *subscription, removed bool) {
	keep := s.c.KeepAtShutdown && !removed && u.storable()
	if !keep && !u.kept {
		return
	}
	s.changed[u.LocalTag] = change{u.Subscription, !keep}
	u.kept, u.stored = keep, u.LocalSeq
}

// noteSeq records the sequence from time to time. The lock is held.
func (s *Service) noteSeq(u *subscription) {
	if u.kept && u.LocalSeq-u.stored >= storeEvery {
		s.note(u, false)
	}
}

// Take returns what changed since the last Take.
func (s *Service) Take() Changed {
	s.mu.Lock()
	defer s.mu.Unlock()
	var c Changed
	for _, x := range s.changed {
		if x.removed {
			c.Removed = append(c.Removed, x.sub)
		} else {
			c.Put = append(c.Put, x.sub)
		}
	}
	s.changed = make(map[string]change)
	for _, x := range s.changedPublished {
		if x.removed {
			c.RemovedPublished = append(c.RemovedPublished, x.Publication)
		} else {
			c.PutPublished = append(c.PutPublished, x.Publication)
		}
	}
	clear(s.changedPublished)
	return c
}

// Return gives back what could not be written; newer changes win.
func (s *Service) Return(c Changed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	give := func(list []telephony.Subscription, removed bool) {
		for _, x := range list {
			if _, newer := s.changed[x.LocalTag]; !newer {
				s.changed[x.LocalTag] = change{x, removed}
			}
		}
	}
	give(c.Put, false)
	give(c.Removed, true)
	givePublished := func(list []telephony.Publication, removed bool) {
		for _, x := range list {
			if _, newer := s.changedPublished[x.Tag]; !newer {
				s.changedPublished[x.Tag] = publishedChange{x, removed}
			}
		}
	}
	givePublished(c.PutPublished, false)
	givePublished(c.RemovedPublished, true)
}

// RestorePublished takes the publications of the last run, oldest first. Call it
// before any request comes in.
func (s *Service) RestorePublished(list []telephony.Publication) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, x := range list {
		e := extension{x.Tenant, x.Number}
		if !x.Expires.After(now) || len(s.published[e]) >= maxPublications || s.nPublish >= s.c.Publications {
			continue
		}
		s.published[e] = append(s.published[e], publication{
			tag: x.Tag, status: status{open: x.Open, activities: x.Activities, note: x.Note}, at: x.Published, expires: x.Expires,
		})
		s.nPublish++
	}
}

// Restore takes the subscriptions of the last run. Call it before any request
// comes in, and Resume when the listeners are open.
func (s *Service) Restore(list []telephony.Subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, x := range list {
		if _, known := packageOf(x.Event); !known || !x.Expires.After(now) || x.Flow.Token != "" || len(s.byTag) >= s.c.Subscriptions {
			continue
		}
		x.LocalSeq += gap
		x.Version += gap
		s.enter(&subscription{
			Subscription: x, key: resourceKey{extension{x.Tenant, x.Resource}, x.Event},
			stored: x.LocalSeq, kept: true, restored: true, counted: now, tokens: float64(s.c.Burst),
		})
	}
}

// Resume tells the restored subscribers the state as it is now: what they were
// told before the restart is over. Further calls do nothing.
func (s *Service) Resume() {
	s.mu.Lock()
	for _, u := range s.byTag {
		if u.restored {
			u.restored = false
			s.note(u, false)
			s.queue(u)
		}
	}
	s.mu.Unlock()
	s.pump()
}
