package telephony

import (
	"testing"
	"time"
)

func TestCostCountsBegunIntervals(t *testing.T) {
	t.Parallel()
	perSecond := Rate{Minute: 600_000}
	perMinute := Rate{Connect: 100_000, Minute: 600_000, First: time.Minute, Next: time.Minute}
	sixSix := Rate{Minute: 600_000, First: 30 * time.Second, Next: 6 * time.Second}
	for _, c := range []struct {
		rate Rate
		d    time.Duration
		want Money
	}{
		{perSecond, 0, 0}, {perMinute, 0, 0}, {perSecond, time.Second, 10_000}, {perSecond, 1001 * time.Millisecond, 20_000}, {perSecond, time.Minute, 600_000},
		{perMinute, time.Second, 700_000}, {perMinute, time.Minute, 700_000}, {perMinute, 61 * time.Second, 1_300_000},
		{sixSix, time.Second, 300_000}, {sixSix, 30 * time.Second, 300_000}, {sixSix, 31 * time.Second, 360_000}, {sixSix, 36 * time.Second, 360_000}, {sixSix, 37 * time.Second, 420_000},
		{Rate{Minute: 1}, time.Second, 1}, {Rate{}, time.Hour, 0},
	} {
		if got := c.rate.Cost(c.d); got != c.want {
			t.Errorf("%+v for %v costs %d, want %d", c.rate, c.d, got, c.want)
		}
	}
}
