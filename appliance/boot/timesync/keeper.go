package timesync

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"time"
)

// The schedule.
const (
	// shortest and longest pause between asking (RFC 5905: MINPOLL of this
	// client is 6, MAXPOLL is 10).
	shortest, longest = 64 * time.Second, 1024 * time.Second
	// eager pauses are before the first answer: the network comes up.
	eager = 8 * time.Second
	// look is how soon another list of servers is noticed.
	look = 15 * time.Second
	// stepAt is the offset beyond which the clock is set instead of led.
	stepAt = time.Second
	// stepAfter is how many answers in a row have to say the same before a
	// clock that was right already is set.
	stepAfter = 3
	// calm and restless are the offsets that make the pauses longer or shorter.
	calm, restless = 20 * time.Millisecond, 100 * time.Millisecond
	// tellFirst and tellLater are after what time without an answer people are
	// told.
	tellFirst, tellLater = 5 * time.Minute, 3 * time.Hour
)

// Keeper keeps the clock right. All durations it measures are of the monotonic
// clock, which its own steps do not move.
type Keeper struct {
	// Ask asks the servers but those that denied.
	Ask func(ctx context.Context, denied []netip.Addr) (Answer, error)
	// Changed reports whether the list of servers is another than when it was
	// called last.
	Changed func() bool
	// Plausible refuses times that cannot be.
	Plausible func(time.Time) error
	Step      func(to time.Time) error
	// Slew leads the clock until it has moved by offset; the next answer is
	// expected after pause.
	Slew func(offset, distance, pause time.Duration) error
	// Report is told each change of the state.
	Report func(State)
	Logger *slog.Logger

	state  State
	begun  time.Time
	last   time.Time // of the last answer, or zero
	pause  time.Duration
	denied []netip.Addr
	far    time.Duration // what the clock is to be moved by, said far times
	times  int
	// failing says that the last asking came to nothing.
	failing bool
}

// Run keeps the clock until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	k.begun = time.Now()
	k.Changed()
	for ctx.Err() == nil {
		before := k.state
		a, err := k.Ask(ctx, k.denied)
		if ctx.Err() != nil {
			return
		}
		k.take(a, err)
		if k.state != before {
			k.Report(k.state)
		}
		k.wait(ctx)
	}
}

// wait pauses, shorter if other servers are to be asked.
func (k *Keeper) wait(ctx context.Context) {
	left := k.pause - k.pause/8 + rand.N(k.pause/4+1)
	for ; left > 0; left -= look {
		if !pause(ctx, min(left, look)) {
			return
		}
		if k.Changed() {
			k.denied, k.pause = nil, 0
			return
		}
	}
}

// take acts on an answer.
func (k *Keeper) take(a Answer, err error) {
	k.denied = append(k.denied, a.Denied...)
	k.denied = k.denied[max(0, len(k.denied)-maxDenied):]
	if err == nil && a.Server.IsValid() {
		err = k.Plausible(time.Now().Add(a.Offset))
	} else if err == nil {
		err = fmt.Errorf("no answer: %s", a.Problem)
	}
	if err != nil {
		k.fail(a, err)
	} else if err := k.move(a); err != nil {
		k.Logger.Error("moving the clock", "err", err)
	}
	if a.Slower {
		k.pause = longest
	}
}

// fail decides when to ask again, and tells people in time.
func (k *Keeper) fail(a Answer, err error) {
	since, patience := k.begun, tellFirst
	least := eager
	if !k.last.IsZero() {
		since, patience, least = k.last, tellLater, shortest
	}
	if !k.failing {
		k.failing, k.pause = true, 0
	}
	k.pause = min(max(2*k.pause, least), longest)
	if a.NoSource {
		k.pause = min(k.pause, shortest) // it costs nobody anything
	}
	if time.Since(since) < patience {
		k.Logger.Debug("no time", "err", err)
		return
	}
	problem := "The clock is not checked: no time server is known. Name one under Network."
	if !a.NoSource {
		problem = "The clock is not checked: the time servers are of no use (" + err.Error() + ")."
	}
	if k.state.Problem == "" {
		k.Logger.Warn("the clock is not checked", "err", err)
	}
	k.state.Problem = problem
}

// move leads the clock where the answer says, or sets it.
func (k *Keeper) move(a Answer) error {
	first := k.last.IsZero()
	step := a.Offset.Abs() > stepAt
	if step && !first && !k.sure(a.Offset) {
		k.pause = shortest
		k.Logger.Warn("the clock seems to be wrong", "offset", a.Offset, "server", a.Server, "times", k.times)
		return nil
	}
	k.times = 0
	if k.failing {
		k.failing, k.pause = false, 0
	}
	switch {
	case step:
		k.pause = shortest
		k.Logger.Warn("the clock is set", "offset", a.Offset, "server", a.Server, "origin", string(a.Origin))
		if err := k.Step(time.Now().Add(a.Offset)); err != nil {
			return err
		}
	default:
		k.adapt(a.Offset)
		if err := k.Slew(a.Offset, a.Distance, k.pause); err != nil {
			return err
		}
		if first || k.state.Problem != "" {
			k.Logger.Info("the clock is right", "offset", a.Offset, "server", a.Server, "origin", string(a.Origin))
		}
	}
	k.last = time.Now()
	k.state = State{Server: a.Server.String(), Origin: a.Origin, Offset: a.Offset, At: k.last.Round(0).UTC()}
	return nil
}

// sure reports whether the last answers said the same offset.
func (k *Keeper) sure(offset time.Duration) bool {
	if k.times == 0 || (offset-k.far).Abs() > stepAt {
		k.far, k.times = offset, 0
	}
	k.times++
	return k.times >= stepAfter
}

// adapt asks less often the better the clock runs.
func (k *Keeper) adapt(offset time.Duration) {
	switch {
	case offset.Abs() < calm:
		k.pause *= 2
	case offset.Abs() > restless:
		k.pause /= 2
	}
	k.pause = min(max(k.pause, shortest), longest)
}
