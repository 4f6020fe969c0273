package store

import (
	"context"
	"errors"
	"time"
)

const (
	pointAfterChange = 5 * time.Minute // at the earliest, since the last one
	pointEvery       = 24 * time.Hour
	pruneEvery       = time.Hour
	lastPointLimit   = 10 * time.Second
)

// maintain makes restore points and removes what is too old, until ctx ends.
func (s *Store) maintain(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	var pruned time.Time
	// A process that starts again and again must not fill the disk with copies
	// of the same.
	made, rev, err := newestPoint(s.paths.snapshots)
	s.complain(ctx, "restore points not read", err)
	urged := false
	for {
		now := time.Now()
		if urged || s.pointDue(now, made, rev) {
			urged = false
			// Read before: a change meanwhile asks for another point.
			at := s.Snapshot().Rev
			err := s.tryPoint(ctx)
			if err == nil {
				rev = at
			}
			s.complain(ctx, "restore point not made", err)
			made = now
		}
		if now.Sub(pruned) >= pruneEvery {
			pruned = now
			s.complain(ctx, "old rows not removed", errors.Join(s.pruneBindings(ctx, now), s.pruneSubscriptions(ctx, now), s.prunePublications(ctx, now), s.pruneCallRecords(ctx)))
		}
		select {
		case <-ctx.Done():
			s.lastPoint(rev)
			return
		case <-s.pointNow:
			urged = true
		case <-tick.C:
		}
	}
}

// lastPoint keeps what changed since revision rev when the store closes.
func (s *Store) lastPoint(rev uint64) {
	if s.o.Snapshots < 0 || s.Snapshot().Rev == rev {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastPointLimit)
	defer cancel()
	s.complain(ctx, "restore point not made", s.tryPoint(ctx))
}

// urgePoint asks for a restore point at once. A damaged database that was set
// up must not go back to one that was not: that would open the wizard.
func (s *Store) urgePoint() {
	if s.o.Snapshots < 0 {
		return
	}
	select {
	case s.pointNow <- struct{}{}:
	default:
	}
}

func (s *Store) pointDue(now, made time.Time, rev uint64) bool {
	if s.o.Snapshots < 0 {
		return false
	}
	since := now.Sub(made)
	if since < 0 { // the clock was put back
		since = pointEvery
	}
	return since >= pointEvery || since >= pointAfterChange && s.Snapshot().Rev != rev
}

// tryPoint makes a point unless damage is known: a good old one must not give
// way to a bad new one.
func (s *Store) tryPoint(ctx context.Context) error {
	if err := s.Health(); err != nil {
		return err
	}
	_, err := s.makePoint(ctx)
	s.noticeDamage(err)
	return err
}

func (s *Store) complain(ctx context.Context, what string, err error) {
	if err != nil && ctx.Err() == nil && !errors.Is(err, ErrClosed) {
		s.log.Error(what, "error", err)
	}
}

// noticeDamage remembers that a statement met a damaged page.
func (s *Store) noticeDamage(err error) {
	var ce *CorruptError
	switch {
	case errors.As(err, &ce):
	case damaged(err):
		ce = &CorruptError{Path: s.paths.database, Reason: err.Error()}
	default:
		return
	}
	if s.damage.CompareAndSwap(nil, ce) {
		s.log.Error("database is damaged", "path", ce.Path, "reason", ce.Reason)
	}
}
