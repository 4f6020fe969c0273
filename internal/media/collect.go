package media

import (
	"sync"
	"time"

	"ringfence/internal/audio/dtmf"
)

// Collector gathers digits until there are as many as wanted, the terminator
// comes, or none for too long. Its method Digit is what Leg.OnDigit wants; other
// sources of digits (INFO, tones in the speech) may call it as well.
type Collector struct {
	done func(digits string, why dtmf.Reason)

	mu    sync.Mutex
	c     dtmf.Collector
	began time.Time
	timer *time.Timer
	over  bool
}

// Collect begins to gather. c says what is wanted; done is called once, unless
// Stop comes first, and must not block.
func Collect(c dtmf.Collector, done func(digits string, why dtmf.Reason)) *Collector {
	k := &Collector{done: done, c: c, began: time.Now()}
	k.c.Start(0)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.timer = time.AfterFunc(k.c.Deadline(), k.late)
	return k
}

// Digit takes a digit.
func (k *Collector) Digit(key byte) {
	k.mu.Lock()
	if k.over {
		k.mu.Unlock()
		return
	}
	now := time.Since(k.began)
	why := k.c.Digit(key, now)
	if why == dtmf.Collecting {
		k.timer.Reset(k.c.Deadline() - now)
	}
	k.finish(why)
}

// late is called when no digit came in time.
func (k *Collector) late() {
	k.mu.Lock()
	if k.over {
		k.mu.Unlock()
		return
	}
	now := time.Since(k.began)
	why := k.c.Tick(now)
	if why == dtmf.Collecting { // a digit came just now
		k.timer.Reset(k.c.Deadline() - now)
	}
	k.finish(why)
}

// finish tells what was gathered when that is all. The caller holds k.mu, which
// it gives back.
func (k *Collector) finish(why dtmf.Reason) {
	digits := k.c.Digits()
	k.over = why != dtmf.Collecting
	over := k.over
	if over {
		k.timer.Stop()
	}
	k.mu.Unlock()
	if over {
		k.done(digits, why)
	}
}

// Stop ends it: done is not called any more, unless it is being called.
func (k *Collector) Stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.over = true
	k.timer.Stop()
}

// Digits is what was dialled so far.
func (k *Collector) Digits() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.c.Digits()
}
