package pbx

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"ringfence/internal/location"
	"ringfence/internal/presence"
	"ringfence/internal/telephony"
)

const (
	writeEvery = time.Second
	writeLimit = 10 * time.Second // for one batch
	// maxPending bounds the records that wait while the disk does not take
	// them; beyond it the oldest are given up, loudly.
	maxPending = 20_000
)

// records writes call records and bindings behind the call path: nobody who
// handles a call waits for the disk.
type records struct {
	log      *slog.Logger
	calls    func(context.Context, []telephony.CallRecord) error
	bindings func(ctx context.Context, put, removed []telephony.Binding) error
	location interface {
		Take() location.Changed
		Return(location.Changed) // what could not be written
	}
	subscriptions func(ctx context.Context, put, removed []telephony.Subscription) error
	publications  func(ctx context.Context, put, removed []telephony.Publication) error
	presence      interface {
		Take() presence.Changed
		Return(presence.Changed)
	}

	mu      sync.Mutex
	pending []telephony.CallRecord
	lost    int

	wake chan struct{}
	done chan struct{}
}

func newRecords(log *slog.Logger) *records {
	return &records{log: log, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// Add takes a finished call's record. It does not block.
func (r *records) Add(rec telephony.CallRecord) {
	r.mu.Lock()
	if len(r.pending) >= maxPending {
		r.pending = r.pending[1:]
		r.lost++
	}
	r.pending = append(r.pending, rec)
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run writes until ctx ends, then once more.
func (r *records) run(ctx context.Context) {
	defer close(r.done)
	tick := time.NewTicker(writeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			r.flush()
			return
		case <-tick.C:
		case <-r.wake:
			// Records of calls that end together go in one transaction.
			time.Sleep(writeEvery / 10)
		}
		r.flush()
	}
}

func (r *records) flush() {
	ctx, cancel := context.WithTimeout(context.Background(), writeLimit)
	defer cancel()
	r.flushCalls(ctx)
	r.flushBindings(ctx)
	r.flushSubscriptions(ctx)
}

func (r *records) flushCalls(ctx context.Context) {
	r.mu.Lock()
	batch, lost := r.pending, r.lost
	r.pending, r.lost = nil, 0
	r.mu.Unlock()
	if lost > 0 {
		r.log.Error("call records given up: the database did not take them", "records", lost)
	}
	if len(batch) == 0 {
		return
	}
	err := r.calls(ctx, batch)
	if err == nil {
		return
	}
	r.log.Error("call records not written; they wait in memory", "records", len(batch), "err", err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending = append(batch, r.pending...)
	if over := len(r.pending) - maxPending; over > 0 {
		r.pending = r.pending[over:]
		r.lost += over
	}
}

func (r *records) flushBindings(ctx context.Context) {
	if r.location == nil {
		return
	}
	c := r.location.Take()
	if c.Empty() {
		return
	}
	if err := r.bindings(ctx, c.Put, c.Removed); err != nil {
		r.log.Error("registrations not written; they wait in memory", "put", len(c.Put), "removed", len(c.Removed), "err", err)
		r.location.Return(c)
	}
}

func (r *records) flushSubscriptions(ctx context.Context) {
	if r.presence == nil {
		return
	}
	c := r.presence.Take()
	if c.Empty() {
		return
	}
	err := r.subscriptions(ctx, c.Put, c.Removed)
	if err == nil {
		err = r.publications(ctx, c.PutPublished, c.RemovedPublished)
	}
	if err != nil {
		r.log.Error("subscriptions not written; they wait in memory", "put", len(c.Put), "removed", len(c.Removed), "published", len(c.PutPublished), "err", err)
		r.presence.Return(c)
	}
}
