package presence

import (
	"log/slog"
	"strconv"
	"strings"
	"time"

	"ringfence/internal/sip"
)

const (
	// maxPause is the longest Retry-After of a subscriber that is waited for.
	maxPause = time.Hour
	// maxTries bounds how often in a row a NOTIFY is put off.
	maxTries = 8
)

// queue marks a subscription as having something to be told. The lock is held;
// call pump when it is not.
func (s *Service) queue(u *subscription) {
	u.dirty = true
	if u.queued || u.sending || u.timer != nil || u.restored && u.ending == "" {
		return
	}
	u.queued = true
	s.ready = append(s.ready, u)
}

// end ends a subscription: it is forgotten now and told with a last NOTIFY. The
// lock is held.
func (s *Service) end(u *subscription, reason string) {
	if u.ending != "" {
		return
	}
	u.ending = reason
	s.leave(u)
	s.waiting++
	u.stopTimer()
	s.queue(u)
}

// forget drops a subscription that nobody can be told about. The lock is held.
func (s *Service) forget(u *subscription) {
	u.dirty = false
	u.stopTimer()
	if u.ending != "" {
		s.waiting--
		u.ending = ""
		return
	}
	s.leave(u)
}

// job is a NOTIFY to be sent.
type job struct {
	u    *subscription
	flow sip.Flow
	out  sip.Outgoing
	last bool
}

// pump sends what is ready, as long as not too many wait for an answer.
func (s *Service) pump() {
	for {
		j, ok := s.next()
		if !ok {
			return
		}
		_, err := s.c.Endpoint.Request(j.flow, j.out, func(r *sip.Response) { s.answered(j, r) })
		if err != nil {
			s.failed(j, err)
		}
	}
}

func (s *Service) next() (job, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for len(s.ready) > 0 && s.inFlight < s.c.InFlight {
		u := s.ready[0]
		s.ready[0] = nil
		if s.ready = s.ready[1:]; len(s.ready) == 0 {
			s.ready = nil
		}
		u.queued = false
		if !u.dirty || u.ending == "" && s.byTag[u.LocalTag] != u {
			continue
		}
		if wait := u.take(now, s.c.Burst, s.c.Interval); wait > 0 && u.ending == "" {
			s.delay(u, wait)
			continue
		}
		f, err := s.c.Endpoint.Flow(u.Flow)
		if err == nil {
			u.flow = f
		} else if u.Flow.Token != "" {
			s.forget(u) // its connection is gone, and it with it
			continue
		}
		contentType, body := s.document(u)
		u.dirty, u.sending = false, true
		s.inFlight++
		out := u.notify(s.c.Endpoint, now, contentType, body)
		s.noteSeq(u)
		return job{u, u.flow, out, u.ending != ""}, true
	}
	return job{}, false
}

// delay puts a subscription off. The lock is held.
func (s *Service) delay(u *subscription, wait time.Duration) {
	u.dirty = true
	u.timer = time.AfterFunc(wait, func() {
		s.mu.Lock()
		u.timer = nil
		if u.dirty && !s.stopped() {
			s.queue(u)
		}
		s.mu.Unlock()
		s.pump()
	})
}

func (s *Service) stopped() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// document renders what a subscriber is to be told now. The lock is held.
func (s *Service) document(u *subscription) (contentType string, body []byte) {
	p, _ := packageOf(u.key.event)
	body = p.render(s, u)
	u.Version++
	return p.contentType, body
}

// answered takes the answer to a NOTIFY (RFC 6665 section 4.2.2).
func (s *Service) answered(j job, r *sip.Response) {
	s.mu.Lock()
	u := j.u
	u.sending = false
	s.inFlight--
	switch {
	case j.last:
		s.forget(u)
	case r.Success():
		u.tries = 0
		if u.dirty {
			u.dirty = false
			s.queue(u)
		}
	case r.Local && r.Code == 503:
		// What the connection of a stream said; a datagram may be tried again.
		s.putOff(u, 2*time.Second, u.Flow.Token == "")
	default:
		pause, again := retryAfter(r)
		// A subscriber that does not know the subscription (481), does not
		// answer (408), or refuses for good is not told any more.
		s.putOff(u, pause, again && r.Code != 481 && r.Code != 408)
	}
	s.mu.Unlock()
	s.pump()
}

// failed: a NOTIFY could not be sent at all.
func (s *Service) failed(j job, err error) {
	s.c.Logger.Debug("NOTIFY not sent", slog.Any("error", err))
	s.mu.Lock()
	defer s.mu.Unlock()
	j.u.sending = false
	s.inFlight--
	if j.last {
		s.forget(j.u)
		return
	}
	s.putOff(j.u, 2*time.Second, true)
}

// putOff tries a NOTIFY again later, or ends the subscription. The lock is held.
func (s *Service) putOff(u *subscription, wait time.Duration, again bool) {
	u.tries++
	switch {
	case u.ending != "": // it ended meanwhile: the last NOTIFY still goes out
		u.dirty = false
		s.queue(u)
	case s.byTag[u.LocalTag] != u:
	case !again || u.tries > maxTries:
		s.forget(u)
	default:
		s.delay(u, wait)
	}
}

// retryAfter reads how long a subscriber wants to be left alone (RFC 3261
// section 20.33).
func retryAfter(r *sip.Response) (time.Duration, bool) {
	v := r.Header("Retry-After")
	if i := strings.IndexAny(v, ";( "); i >= 0 {
		v = v[:i]
	}
	n, err := strconv.ParseUint(v, 10, 32)
	if err != nil {
		return 0, false
	}
	return min(max(time.Duration(n)*time.Second, time.Second), maxPause), true
}
