package timesync

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// bench is a clock that can be wrong, and the keeper of it.
type bench struct {
	*Keeper
	wrong   time.Duration // the clock shows so much more
	answer  func() (Answer, error)
	asked   []time.Duration // since the beginning
	denied  [][]netip.Addr
	steps   []time.Duration
	slews   []time.Duration
	reports []State
	changes time.Duration // when another list comes, since the beginning
	begin   time.Time
}

func newBench(answer func(b *bench) (Answer, error)) *bench {
	b := &bench{begin: time.Now()}
	b.answer = func() (Answer, error) { return answer(b) }
	b.Keeper = &Keeper{
		Ask: func(_ context.Context, denied []netip.Addr) (Answer, error) {
			b.asked, b.denied = append(b.asked, time.Since(b.begin)), append(b.denied, denied)
			return b.answer()
		},
		Changed: func() bool {
			is := b.changes > 0 && time.Since(b.begin) > b.changes
			if is {
				b.changes = 0
			}
			return is
		},
		Plausible: func(t time.Time) error { return nil },
		Step: func(to time.Time) error {
			by := time.Until(to)
			b.steps, b.wrong = append(b.steps, by), b.wrong+by
			return nil
		},
		Slew: func(offset, _, pause time.Duration) error {
			if pause < shortest || pause > longest {
				return errors.New("no pause")
			}
			b.slews, b.wrong = append(b.slews, offset), b.wrong+offset
			return nil
		},
		Report: func(s State) { b.reports = append(b.reports, s) },
		Logger: slog.New(slog.DiscardHandler),
	}
	return b
}

var one = netip.MustParseAddr("192.0.2.1")

// right is a server that knows the time.
func right(b *bench) (Answer, error) {
	return Answer{Offset: -b.wrong, Server: one, Origin: FromDHCP}, nil
}

func (b *bench) run(d time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	b.Run(ctx)
}

func TestClockIsSetAtTheStartAndLedAfterwards(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(right)
		b.wrong = time.Hour
		b.run(2 * time.Hour)
		if len(b.steps) != 1 || b.steps[0] != -time.Hour || b.asked[0] != 0 || b.wrong != 0 {
			t.Errorf("steps %v", b.steps)
		}
		// 64, 128, ... 1024 s: eleven or so in two hours.
		if n := len(b.asked); n < 9 || n > 14 {
			t.Errorf("asked %d times in two hours: %v", n, b.asked)
		}
		last := b.reports[len(b.reports)-1]
		if last.Server != "192.0.2.1" || last.Origin != FromDHCP || last.Problem != "" || last.At.IsZero() || b.reports[0].Offset != -time.Hour {
			t.Errorf("%+v", b.reports)
		}
		b = newBench(right)
		b.wrong = 900 * time.Millisecond
		b.run(30 * time.Second)
		if len(b.steps) != 0 || len(b.slews) != 1 || b.slews[0] != -900*time.Millisecond {
			t.Errorf("a second too much: steps %v, led %v", b.steps, b.slews)
		}
	})
}

func TestPausesAreBoundedAndDiffer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(right)
		b.run(24 * time.Hour)
		different := map[time.Duration]bool{}
		for n := 1; n < len(b.asked); n++ {
			d := b.asked[n] - b.asked[n-1]
			different[d] = true
			if d < shortest*7/8 || d > longest*9/8 || n > 6 && d < longest*7/8 {
				t.Errorf("pause %d is %s", n, d)
			}
		}
		if len(different) < len(b.asked)/2 {
			t.Error("the pauses are all the same")
		}
	})
}

// TestRunningClockIsSetOnlyIfServersInsist: one wrong answer, and answers that
// differ, move nothing; three that say the same do, once.
func TestRunningClockIsSetOnlyIfServersInsist(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lies := []time.Duration{0, -time.Hour, 0, time.Hour, -time.Hour, 2 * time.Hour, 3 * time.Hour, 0}
		b := newBench(func(b *bench) (Answer, error) {
			n := min(len(b.asked)-1, len(lies)-1)
			return Answer{Offset: lies[n], Server: one}, nil
		})
		b.run(3 * time.Hour)
		if len(b.asked) <= len(lies) || len(b.steps) != 0 {
			t.Errorf("moved by %v after %d answers", b.steps, len(b.asked))
		}
		paused := false
		b = newBench(func(b *bench) (Answer, error) {
			if !paused && time.Since(b.begin) > time.Hour {
				paused, b.wrong = true, 10*time.Minute // as a virtual machine that was
			}
			return right(b)
		})
		b.run(3 * time.Hour)
		if len(b.steps) != 1 || b.steps[0] != -10*time.Minute || b.wrong != 0 {
			t.Errorf("moved by %v", b.steps)
		}
	})
}

func TestImplausibleTimeIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(func(*bench) (Answer, error) {
			return Answer{Offset: 30 * 365 * 24 * time.Hour, Server: one}, nil
		})
		b.Plausible = func(at time.Time) error {
			if at.After(b.begin.Add(10 * 365 * 24 * time.Hour)) {
				return errors.New("the time is not plausible")
			}
			return nil
		}
		b.run(10 * time.Minute)
		if len(b.steps)+len(b.slews) != 0 || len(b.reports) == 0 || !strings.Contains(b.reports[0].Problem, "plausible") {
			t.Errorf("steps %v, %+v", b.steps, b.reports)
		}
	})
}

func TestSilenceIsToldAndAskedLessOften(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(func(b *bench) (Answer, error) {
			if time.Since(b.begin) < time.Hour || time.Since(b.begin) > 6*time.Hour {
				return right(b)
			}
			return Answer{Problem: "192.0.2.1 does not answer"}, nil
		})
		b.run(10 * time.Hour)
		var told, gone time.Time
		for _, r := range b.reports {
			if r.Problem != "" && told.IsZero() {
				told = r.At
				if !strings.Contains(r.Problem, "does not answer") || r.Server == "" {
					t.Errorf("told %+v", r)
				}
			}
			if !told.IsZero() && r.Problem == "" && gone.IsZero() {
				gone = r.At
			}
		}
		if told.IsZero() || gone.IsZero() {
			t.Errorf("told %s, taken back %s", told, gone)
		}
		if n := len(b.asked); n > 60 {
			t.Errorf("asked %d times in ten hours", n)
		}
	})
}

func TestNoSourceIsToldAfterFiveMinutes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(func(b *bench) (Answer, error) {
			if time.Since(b.begin) > 30*time.Minute {
				return right(b)
			}
			return Answer{NoSource: true}, nil
		})
		b.run(4 * time.Minute)
		if len(b.reports) != 0 {
			t.Errorf("told too early: %+v", b.reports)
		}
		b.begin, b.asked, b.changes = time.Now(), nil, 30*time.Minute
		b.run(31 * time.Minute)
		if len(b.reports) != 2 || !strings.Contains(b.reports[0].Problem, "no time server is known") || b.reports[1].Problem != "" {
			t.Errorf("%+v", b.reports)
		}
		if last := b.asked[len(b.asked)-1]; last > 30*time.Minute+look {
			t.Errorf("the new server was asked after %s", last)
		}
	})
}

func TestKissesAreObeyed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(func(b *bench) (Answer, error) {
			a, _ := right(b)
			if len(b.asked) == 2 {
				a = Answer{Problem: "denied", Denied: []netip.Addr{one}}
			}
			a.Slower = len(b.asked) == 1
			return a, nil
		})
		b.changes = 3 * time.Hour
		b.run(4 * time.Hour)
		if d := b.asked[1] - b.asked[0]; d < longest*7/8 {
			t.Errorf("asked again after %s", d)
		}
		if len(b.denied[2]) != 1 || b.denied[2][0] != one {
			t.Errorf("who denied: %v", b.denied[2])
		}
		if last := b.denied[len(b.denied)-1]; len(last) != 0 {
			t.Errorf("still denied by another list: %v", last)
		}
	})
}
