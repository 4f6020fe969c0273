package media

import (
	"container/heap"
	"sync"
	"time"

	"ringfence/internal/media/quality"
)

// clerk reports to the peers of all legs, and looks at their quality, at the
// times due. One goroutine does both.
type clerk struct {
	wake chan struct{}
	stop chan struct{}
	done chan struct{}

	mu       sync.Mutex
	errands  errands
	stopping bool
}

// errand is what to do for a leg next.
type errand struct {
	at     time.Time
	leg    *Leg
	report bool // else it is a look
}

// errands is a heap, the next one first.
type errands []errand

func (e errands) Len() int           { return len(e) }
func (e errands) Less(i, j int) bool { return e[i].at.Before(e[j].at) }
func (e errands) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *errands) Push(x any)        { *e = append(*e, x.(errand)) }
func (e *errands) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	(*e)[last] = errand{}
	*e = (*e)[:last]
	return x
}

func newClerk() *clerk {
	c := &clerk{wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	go c.run()
	return c
}

// serve looks after a leg until it is closed.
func (c *clerk) serve(l *Leg) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return
	}
	heap.Push(&c.errands, errand{now.Add(quality.NextReport()), l, true})
	heap.Push(&c.errands, errand{now.Add(quality.Interval), l, false})
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// shut ends the goroutine. It may be called again.
func (c *clerk) shut() {
	c.mu.Lock()
	if !c.stopping {
		c.stopping = true
		close(c.stop)
	}
	c.mu.Unlock()
	<-c.done
}

func (c *clerk) run() {
	defer close(c.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(c.work(time.Now()))
		select {
		case <-c.stop:
			return
		case <-c.wake:
		case <-timer.C:
		}
	}
}

// work does what is due and returns how long nothing is.
func (c *clerk) work(now time.Time) time.Duration {
	for {
		c.mu.Lock()
		if len(c.errands) == 0 {
			c.mu.Unlock()
			return time.Hour
		}
		if next := c.errands[0].at; next.After(now) {
			c.mu.Unlock()
			return next.Sub(now)
		}
		due := heap.Pop(&c.errands).(errand)
		c.mu.Unlock()
		if wait, again := due.leg.attend(due.report, now); again {
			due.at = due.at.Add(wait)
			if due.at.Before(now) {
				due.at = now.Add(wait) // the machine slept
			}
			c.mu.Lock()
			heap.Push(&c.errands, due)
			c.mu.Unlock()
		}
	}
}

// attend reports to the leg's peer, or looks at how well it is heard, and says
// when to do so again; not after Close.
func (l *Leg) attend(report bool, now time.Time) (wait time.Duration, again bool) {
	l.mu.Lock()
	closed := l.closed
	l.mu.Unlock()
	if closed {
		return 0, false
	}
	if !report {
		l.streams[audio].Load().look(now)
		return quality.Interval, true
	}
	l.report(now, false)
	return quality.NextReport(), true
}

// report sends our reports on all streams; at the end with a BYE.
func (l *Leg) report(now time.Time, bye bool) {
	for k := range kinds {
		if s := l.streams[k].Load(); s != nil && k != fax {
			s.report(now, bye)
		}
	}
}
