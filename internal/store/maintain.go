package store

import (
	"context"
	"time"
)

func (s *Store) maintain(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *Store) keepBeforeMigration(ctx context.Context, version int) error { return nil }
