package b2bua

import (
	"context"
	"errors"
	"fmt"

	"ringfence/internal/media"
	"ringfence/internal/telephony"
)

// Side is one of the two in a call.
type Side uint8

// The sides of a call.
const (
	Caller Side = iota
	Callee
)

// errNotAnswered says that there are no two yet who could be recorded.
var errNotAnswered = errors.New("call is not answered")

// Record records a call from now on, the caller on the left and the callee on
// the right. The recording belongs to the side given: it goes on when that one is
// transferred or the other is changed for somebody else, and ends when it is gone.
func (s *Service) Record(ctx context.Context, tenant telephony.TenantID, id telephony.CallID, of Side, o media.RecordOptions) (*media.Recording, error) {
	s.mu.Lock()
	c := s.calls[id]
	s.mu.Unlock()
	if c == nil || tenant != telephony.System && c.tenant.ID != tenant {
		return nil, ErrNoCall
	}
	type begun struct {
		r   *media.Recording
		err error
	}
	result := make(chan begun, 1)
	c.box.Post(func() {
		r, err := c.startRecording(of, o)
		result <- begun{r, err}
	})
	select {
	case b := <-result:
		return b.r, b.err
	case <-ctx.Done():
		go func() { // nobody knows of it any more
			if b := <-result; b.r != nil {
				b.r.Stop()
			}
		}()
		return nil, ctx.Err()
	}
}

func (c *call) startRecording(of Side, o media.RecordOptions) (*media.Recording, error) {
	if c.finished || c.callee == nil {
		return nil, fmt.Errorf("recording call %s: %w", c.id, errNotAnswered)
	}
	leg := c.caller.media
	if of == Callee {
		leg, o.Mirror = c.callee.media, !o.Mirror
	}
	l, ok := leg.(interface {
		Record(media.RecordOptions) (*media.Recording, error)
	})
	if !ok {
		return nil, fmt.Errorf("recording call %s: its media cannot be", c.id)
	}
	return l.Record(o)
}
