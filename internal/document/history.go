package document

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"ringfence/internal/store"
)

// How a change of settings becomes an entry of the history: those that follow
// each other within settle share one.
const (
	settle   = 2 * time.Second
	lastKeep = 5 * time.Second
)

// KeepHistory keeps a document of each revision of the settings, so that one can
// return to it, until ctx ends.
func KeepHistory(ctx context.Context, s *store.Store, log *slog.Logger) {
	changes := s.Subscribe()
	defer changes.Close()
	keep := func(ctx context.Context) {
		if err := keepNow(ctx, s); err != nil && ctx.Err() == nil {
			log.Error("configuration not kept in the history", "err", err)
		}
	}
	keep(ctx)
	for {
		select {
		case <-changes.C:
		case <-ctx.Done():
			return
		}
		changes.Take()
		select {
		case <-time.After(settle):
			changes.Take()
			keep(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastKeep)
			defer cancel()
			keep(last)
			return
		}
	}
}

// keepNow keeps the configuration as it is, unless that is kept already.
func keepNow(ctx context.Context, s *store.Store) error {
	rev := s.Snapshot().Rev
	kept, err := s.Revisions(ctx)
	if err != nil || len(kept) > 0 && kept[0].Rev == rev {
		return err
	}
	c, err := Read(ctx, s)
	if err != nil {
		return err
	}
	if now := s.Snapshot().Rev; now != rev {
		return nil // it changed while it was read: the next look keeps it
	}
	text, err := Marshal(c, s)
	if err != nil {
		return fmt.Errorf("writing revision %d: %w", rev, err)
	}
	return s.KeepRevision(ctx, rev, text)
}
