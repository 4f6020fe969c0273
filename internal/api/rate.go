package api

import (
	"sync"
	"time"
)

const (
	// requestsPerMinute is what one session or one token may ask for: a page of
	// the portal takes about a dozen.
	requestsPerMinute = 5000
	maxRated          = 20_000 // sessions and tokens that are counted at a time
)

// rates bounds the requests of each session and token. A minute's worth may
// come at once; after that they come as fast as they are earned.
type rates struct {
	mu    sync.Mutex
	burst float64
	spent map[[32]byte]spending
}

// spending is what was taken and not yet earned back.
type spending struct {
	taken float64
	at    time.Time
}

func newRates(perMinute int) *rates {
	return &rates{burst: float64(perMinute), spent: make(map[[32]byte]spending)}
}

// take counts a request and answers how long to wait if it is one too many.
func (r *rates) take(key [32]byte, now time.Time) (wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	perSecond := r.burst / 60
	v, known := r.spent[key]
	if !known && len(r.spent) >= maxRated {
		r.forget(now)
	}
	v.taken = max(0, v.taken-now.Sub(v.at).Seconds()*perSecond)
	v.at = now
	if v.taken+1 > r.burst {
		r.spent[key] = v
		return time.Duration((v.taken + 1 - r.burst) / perSecond * float64(time.Second))
	}
	v.taken++
	r.spent[key] = v
	return 0
}

// forget makes room: those that have earned back everything go, and if these
// are none, all.
func (r *rates) forget(now time.Time) {
	for key, v := range r.spent {
		if now.Sub(v.at) >= time.Minute {
			delete(r.spent, key)
		}
	}
	if len(r.spent) >= maxRated {
		clear(r.spent)
	}
}
