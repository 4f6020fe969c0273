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
	buf  [reportSize]byte // of reports; of the goroutine

	mu       sync.Mutex
	errands  errands
	stopping bool
}

// grain is how exact the times are. Errands of many legs are run together, so
// that a thousand calls wake the clerk no more often than ten.
const grain = 50 * time.Millisecond

// errand is what to do for a leg next.
type errand struct {
	at     time.Time
	leg    *Leg
	report bool // else it is a look
	index  int  // in the heap; absent while it is run and afterwards
}

const absent = -1

// errands is a heap, the next one first.
type errands []*errand

func (e errands) Len() int           { return len(e) }
func (e errands) Less(i, j int) bool { return e[i].at.Before(e[j].at) }
func (e errands) Swap(i, j int) {
	e[i], e[j] = e[j], e[i]
	e[i].index, e[j].index = i, j
}
func (e *errands) Push(x any) {
	x.(*errand).index = len(*e)
	*e = append(*e, x.(*errand))
}
func (e *errands) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	(*e)[last] = nil
	*e = (*e)[:last]
	x.index = absent
	return x
}

func newClerk() *clerk {
	c := &clerk{wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	go c.run()
	return c
}

// serve looks after a leg until it is dismissed.
func (c *clerk) serve(l *Leg) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return
	}
	l.errands = [...]errand{{at: now.Add(quality.NextReport()), leg: l, report: true}, {at: now.Add(quality.Interval), leg: l}}
	for i := range l.errands {
		heap.Push(&c.errands, &l.errands[i])
	}
	if c.errands[0].leg != l {
		return // it wakes before
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// dismiss forgets a leg that is closed: calls may be shorter than an errand is
// away, and there are many of them.
func (c *clerk) dismiss(l *Leg) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range l.errands {
		if e := &l.errands[i]; e.leg != nil && e.index != absent {
			heap.Remove(&c.errands, e.index)
		}
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
			return max(next.Sub(now), grain)
		}
		due := heap.Pop(&c.errands).(*errand)
		c.mu.Unlock()
		wait := due.leg.attend(due.report, c.buf[:0], now)
		c.mu.Lock()
		due.at = due.at.Add(wait)
		if due.at.Before(now) {
			due.at = now.Add(wait) // the machine slept
		}
		if !due.leg.isClosed() {
			heap.Push(&c.errands, due)
		}
		c.mu.Unlock()
	}
}

// attend reports to the leg's peer, or looks at how well it is heard, and says
// when to do so again.
func (l *Leg) attend(report bool, buf []byte, now time.Time) (wait time.Duration) {
	if l.isClosed() {
		return 0
	}
	if !report {
		l.streams[audio].Load().look(now)
		return quality.Interval
	}
	l.report(buf, now, false)
	return quality.NextReport()
}

func (l *Leg) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// report sends our reports on all streams; at the end with a BYE. They are
// written into buf.
func (l *Leg) report(buf []byte, now time.Time, bye bool) {
	for k := range kinds {
		if s := l.streams[k].Load(); s != nil && k != fax {
			s.report(buf, now, bye)
		}
	}
}
