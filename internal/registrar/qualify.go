package registrar

import (
	"hash/maphash"
	"log/slog"
	"sync"
	"time"

	"ringfence/internal/location"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

const (
	// qualifyTick is how often is looked who is to be asked.
	qualifyTick = 500 * time.Millisecond
	// maxAsked bounds the questions on their way; who is left out is asked the
	// next time round.
	maxAsked = 1_000
)

// Reaches is what a Qualifier needs of the location service.
type Reaches interface {
	Each(f func(b *telephony.Binding) bool)
	Mark(asked *telephony.Binding, reach telephony.Reach, rtt time.Duration) (changed bool)
}

// QualifyConfig is what a Qualifier needs.
type QualifyConfig struct {
	Snapshot func() *telephony.Snapshot
	Location Reaches
	Endpoint *sip.Endpoint
	Logger   *slog.Logger
}

// Qualifier asks the phones behind NAT on UDP with OPTIONS whether they are
// still there: that keeps the NAT open, measures the way, and tells in time of
// phones that are gone. Connections need none of it.
type Qualifier struct {
	c    QualifyConfig
	seed maphash.Seed
	stop chan struct{}
	done chan struct{}

	mu     sync.Mutex
	asked  map[location.Key]struct{} // questions on their way
	failed map[location.Key]int      // unanswered in a row
}

// NewQualifier returns one that is at work. Close it.
func NewQualifier(c QualifyConfig) *Qualifier {
	q := &Qualifier{
		c: c, seed: maphash.MakeSeed(), stop: make(chan struct{}), done: make(chan struct{}),
		asked: make(map[location.Key]struct{}), failed: make(map[location.Key]int),
	}
	go q.run()
	return q
}

// Close ends the questions.
func (q *Qualifier) Close() {
	close(q.stop)
	<-q.done
}

func (q *Qualifier) run() {
	defer close(q.done)
	t := time.NewTicker(qualifyTick)
	defer t.Stop()
	last := time.Now()
	for n := 1; ; n++ {
		select {
		case <-q.stop:
			return
		case now := <-t.C:
			for _, b := range q.due(last, now) {
				q.ask(b)
			}
			last = now
			if n%int(time.Minute/qualifyTick) == 0 {
				q.forget()
			}
		}
	}
}

// due lists whose turn came between two moments. Every phone has a turn of its
// own within the interval, by chance, so that the questions are spread evenly
// without a list of turns.
func (q *Qualifier) due(last, now time.Time) []telephony.Binding {
	snap := q.c.Snapshot()
	var list []telephony.Binding
	q.c.Location.Each(func(b *telephony.Binding) bool {
		if !b.NAT || b.Flow.Token != "" {
			return true
		}
		t, ok := snap.Tenant(b.Tenant)
		if !ok || t.QualifyInterval <= 0 {
			return true
		}
		turn := int64(maphash.Comparable(q.seed, location.KeyOf(b)) % uint64(t.QualifyInterval))
		if (last.UnixNano()+turn)/int64(t.QualifyInterval) != (now.UnixNano()+turn)/int64(t.QualifyInterval) {
			list = append(list, *b)
		}
		return len(list) < maxAsked
	})
	return list
}

// ask sends OPTIONS to one phone.
func (q *Qualifier) ask(b telephony.Binding) {
	f, err := q.c.Endpoint.Flow(b.Flow)
	if err != nil || !q.begin(location.KeyOf(&b)) {
		return
	}
	sent := time.Now()
	_, err = q.c.Endpoint.Request(f, question(b), func(r *sip.Response) { q.answered(b, r, time.Since(sent)) })
	if err != nil {
		q.end(location.KeyOf(&b))
	}
}

// question is the OPTIONS (RFC 3261 section 11.1).
func question(b telephony.Binding) sip.Outgoing {
	o := sip.Outgoing{
		Method: sip.OPTIONS, URI: b.Contact, From: "<sip:" + b.AOR.Domain + ">;tag=" + sip.NewTag(), To: "<" + b.AOR.String() + ">",
		CallID: sip.NewCallID(), CSeq: 1, Headers: []sip.Header{{Name: "Accept", Value: "application/sdp"}},
	}
	if u, err := sip.ParseURI(b.Contact); err == nil {
		u.Headers = nil // RFC 3261 section 19.1.5: not in a Request-URI
		o.URI = u.String()
	}
	if b.Path != "" {
		o.Headers = append(o.Headers, sip.Header{Name: "Route", Value: b.Path})
	}
	return o
}

func (q *Qualifier) begin(k location.Key) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, twice := q.asked[k]; twice || len(q.asked) >= maxAsked {
		return false
	}
	q.asked[k] = struct{}{}
	return true
}

func (q *Qualifier) end(k location.Key) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.asked, k)
}

// answered takes any answer of the phone for a sign of life.
func (q *Qualifier) answered(b telephony.Binding, r *sip.Response, rtt time.Duration) {
	k := location.KeyOf(&b)
	q.end(k)
	if !r.Local {
		q.mu.Lock()
		delete(q.failed, k)
		q.mu.Unlock()
		if q.c.Location.Mark(&b, telephony.Reachable, rtt) {
			q.c.Logger.Info("phone answers again", "aor", b.AOR.String(), "source", b.Flow.Remote.String())
		}
		return
	}
	t, ok := q.c.Snapshot().Tenant(b.Tenant)
	q.mu.Lock()
	if ok && b.Reach == telephony.Reachable && q.failed[k] >= t.QualifyFailures {
		q.failed[k] = 0 // it registered again meanwhile
	}
	q.failed[k]++
	n := q.failed[k]
	q.mu.Unlock()
	if ok && n >= t.QualifyFailures && q.c.Location.Mark(&b, telephony.Unreachable, 0) {
		q.c.Logger.Warn("phone does not answer", "aor", b.AOR.String(), "source", b.Flow.Remote.String(), "questions", n)
	}
}

// forget drops the counts of bindings that are gone.
func (q *Qualifier) forget() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.failed) == 0 {
		return
	}
	left := make(map[location.Key]int)
	q.c.Location.Each(func(b *telephony.Binding) bool {
		if n := q.failed[location.KeyOf(b)]; n > 0 {
			left[location.KeyOf(b)] = n
		}
		return true
	})
	q.failed = left
}
