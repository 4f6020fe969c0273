package media

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// fenceChunk bounds the ports of one request.
const fenceChunk = 4096

// doorman keeps the fence's open ports equal to the live ones. One goroutine
// talks to the fence: what piles up while it waits goes into the next request
// together.
type doorman struct {
	fence   Fence
	log     *slog.Logger
	refresh time.Duration
	wake    chan struct{}
	stop    context.CancelFunc
	done    chan struct{}

	mu     sync.Mutex
	queue  []doorRequest
	closed bool

	live map[uint16]struct{} // owned by the goroutine
	down bool                // the last refresh failed; owned by the goroutine
}

// doorRequest opens ports when result is set, and closes them otherwise.
type doorRequest struct {
	ports  []uint16
	result chan error
}

func newDoorman(fence Fence, refresh time.Duration, log *slog.Logger) *doorman {
	ctx, cancel := context.WithCancel(context.Background())
	d := &doorman{
		fence: fence, log: log, refresh: refresh, stop: cancel,
		wake: make(chan struct{}, 1), done: make(chan struct{}), live: map[uint16]struct{}{},
	}
	go d.run(ctx)
	return d
}

// open opens ports, within FenceWait.
func (d *doorman) open(ctx context.Context, ports ...uint16) error {
	if d == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, FenceWait)
	defer cancel()
	result := make(chan error, 1)
	if !d.put(doorRequest{ports, result}) {
		return ErrClosed
	}
	select {
	case err := <-result:
		if err != nil {
			d.close(ports...) // the fence may have carried it out all the same
			return fmt.Errorf("%w: %w", ErrFence, err)
		}
		return nil
	case <-ctx.Done():
		d.close(ports...) // it may still come to pass
		return fmt.Errorf("%w: %w", ErrFence, ctx.Err())
	}
}

// close closes ports soon. What fails runs out after FenceTTL.
func (d *doorman) close(ports ...uint16) {
	if d != nil {
		d.put(doorRequest{ports: ports})
	}
}

func (d *doorman) put(r doorRequest) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.queue = append(d.queue, r)
	select {
	case d.wake <- struct{}{}:
	default:
	}
	return true
}

// shut closes all ports and ends the goroutine.
func (d *doorman) shut() {
	if d == nil {
		return
	}
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.stop()
	<-d.done
}

func (d *doorman) run(ctx context.Context) {
	defer close(d.done)
	timer := time.NewTimer(d.refresh)
	defer timer.Stop()
	bounded := context.WithoutCancel(ctx) // by FenceWait: the last requests are not cut short
	for {
		select {
		case <-ctx.Done():
			d.serve(bounded)
			d.closeAll(bounded)
			return
		case <-d.wake:
			d.serve(bounded)
		case <-timer.C:
			timer.Reset(d.renew(ctx))
		}
	}
}

// serve carries out the queue. Where a port is opened and closed in one batch
// the last word counts.
func (d *doorman) serve(ctx context.Context) {
	d.mu.Lock()
	queue := d.queue
	d.queue = nil
	d.mu.Unlock()
	last := make(map[uint16]bool, 2*len(queue))
	for _, r := range queue {
		for _, p := range r.ports {
			last[p] = r.result != nil
		}
	}
	var open, shut []uint16
	for p, wanted := range last {
		if wanted {
			open = append(open, p)
		} else {
			shut = append(shut, p)
			delete(d.live, p)
		}
	}
	slices.Sort(open)
	slices.Sort(shut)
	err := d.each(ctx, open, FenceWait, func(ctx context.Context, list []uint16) error {
		return d.fence.MediaOpen(ctx, list, FenceTTL)
	})
	if err == nil {
		for _, p := range open {
			d.live[p] = struct{}{}
		}
	}
	for _, r := range queue {
		if r.result != nil {
			r.result <- err
		}
	}
	if err := d.each(ctx, shut, FenceWait, d.fence.MediaClose); err != nil {
		d.log.Debug("closing media ports in the packet filter failed; they run out", "ports", len(shut), "error", err)
	}
}

// each makes one request per chunk of the list.
func (d *doorman) each(ctx context.Context, list []uint16, limit time.Duration, do func(context.Context, []uint16) error) error {
	for len(list) > 0 {
		n := min(len(list), fenceChunk)
		ctx, cancel := context.WithTimeout(ctx, limit)
		err := do(ctx, list[:n:n])
		cancel()
		if err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// renew reports all live ports again, so that they outlive FenceTTL, and a
// fence that was away learns of them. It returns when to do so next.
func (d *doorman) renew(ctx context.Context) time.Duration {
	err := d.each(ctx, d.all(), FenceWait, func(ctx context.Context, list []uint16) error {
		return d.fence.MediaOpen(ctx, list, FenceTTL)
	})
	if ctx.Err() != nil {
		return d.refresh
	}
	if down := err != nil; down != d.down {
		d.down = down
		if down {
			d.log.Warn("packet filter does not take the media ports; they close within a minute", "ports", len(d.live), "error", err)
		} else {
			d.log.Info("packet filter took the media ports again", "ports", len(d.live))
		}
	}
	if err != nil {
		return min(fenceRetry, d.refresh)
	}
	return d.refresh
}

func (d *doorman) closeAll(ctx context.Context) {
	if err := d.each(ctx, d.all(), FenceWait, d.fence.MediaClose); err != nil {
		d.log.Debug("closing media ports in the packet filter failed; they run out", "ports", len(d.live), "error", err)
	}
}

func (d *doorman) all() []uint16 {
	list := make([]uint16, 0, len(d.live))
	for p := range d.live {
		list = append(list, p)
	}
	slices.Sort(list)
	return list
}
