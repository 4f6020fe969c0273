package firewall

import (
	"context"
	"fmt"
	"time"

	"ringfence/internal/ports"
)

const (
	// mediaBacklog bounds the requests that wait for the kernel.
	mediaBacklog = 1024
	// maxMediaTTL bounds how long a port stays open without a refresh.
	maxMediaTTL = 10 * time.Minute
)

// mediaQueue opens and closes RTP ports. Requests that arrive while the kernel
// is busy go to it together in one transaction, in their order.
type mediaQueue struct {
	kernel kernel
	ops    chan mediaOp
}

type mediaOp struct {
	mediaRequest
	done func(error)
}

func newMediaQueue(k kernel) *mediaQueue {
	return &mediaQueue{kernel: k, ops: make(chan mediaOp, mediaBacklog)}
}

// put queues op; done is called once, from another goroutine.
func (q *mediaQueue) put(ctx context.Context, op mediaOp) {
	select {
	case q.ops <- op:
	case <-ctx.Done():
		op.done(ctx.Err())
	}
}

func (q *mediaQueue) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			q.drain(ctx.Err())
			return
		case op := <-q.ops:
			q.together(q.gather(op))
		}
	}
}

// gather takes what else is waiting.
func (q *mediaQueue) gather(first mediaOp) []mediaOp {
	batch := []mediaOp{first}
	for len(batch) < mediaBacklog {
		select {
		case op := <-q.ops:
			batch = append(batch, op)
		default:
			return batch
		}
	}
	return batch
}

func (q *mediaQueue) together(batch []mediaOp) {
	wish := map[uint16]element{}
	for _, op := range batch {
		for _, p := range op.Open {
			wish[p] = portElement(p, op.TTL, false)
		}
		for _, p := range op.Close {
			wish[p] = portElement(p, 0, true)
		}
	}
	change := make([]element, 0, len(wish))
	for _, e := range wish {
		change = append(change, e)
	}
	var err error
	if len(change) > 0 {
		err = q.kernel.change(change)
	}
	for _, op := range batch {
		op.done(err)
	}
}

func (q *mediaQueue) drain(err error) {
	for {
		select {
		case op := <-q.ops:
			op.done(err)
		default:
			return
		}
	}
}

// checkMedia refuses ports that are no RTP ports of the policy in force: the
// media set must not become a way around the rows.
func (s *Server) checkMedia(r mediaRequest) error {
	if len(r.Open)+len(r.Close) > maxMediaPorts {
		return fmt.Errorf("%w: more than %d media ports at once", ErrRefused, maxMediaPorts)
	}
	if len(r.Open) > 0 && (r.TTL < time.Second || r.TTL > maxMediaTTL) {
		return fmt.Errorf("%w: time to live %s is not within 1 s and %s", ErrRefused, r.TTL, maxMediaTTL)
	}
	spans := s.rtp.Load()
	for _, p := range r.Open {
		if spans == nil || !within(*spans, p) {
			return fmt.Errorf("%w: port %d is no RTP port of the policy in force", ErrRefused, p)
		}
	}
	return nil
}

func within(spans []portSpan, p uint16) bool {
	for _, s := range spans {
		if s.first <= p && p <= s.last {
			return true
		}
	}
	return false
}

func rtpSpans(p Policy) []portSpan {
	var out []portSpan
	for _, s := range p.Services {
		if s.Wrap == ports.RTP {
			out = append(out, portSpan{s.First, s.Last})
		}
	}
	return out
}
