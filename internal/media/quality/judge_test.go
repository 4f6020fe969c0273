package quality

import (
	"testing"
	"time"
)

func TestVerdicts(t *testing.T) {
	t.Parallel()
	good := Side{Expected: true, Ever: true, MOS: 4.3}
	bad := Side{Expected: true, Ever: true, MOS: 2.5}
	quiet := func(d time.Duration) Side { return Side{Expected: true, Ever: true, Silent: d} }
	never := func(d time.Duration) Side { return Side{Expected: true, Silent: d} }
	for _, c := range []struct {
		name  string
		looks [][2]Side
		want  Verdict
	}{
		{"fine", [][2]Side{{good, good}, {good, good}, {good, good}, {good, good}}, Fine},
		{"a hiccup", [][2]Side{{good, bad}, {good, bad}, {good, good}, {good, bad}}, Fine},
		{"bad for long", [][2]Side{{good, bad}, {good, bad}, {good, bad}}, Bad},
		{"bad, with a pause", [][2]Side{{bad, good}, {bad, good}, {quiet(0), good}, {bad, good}}, Bad},
		{"bad by turns", [][2]Side{{good, bad}, {bad, good}, {good, bad}, {bad, good}}, Fine},
		{"callee never heard", [][2]Side{{good, never(neverHeard)}}, OneWay},
		{"caller never heard", [][2]Side{{never(neverHeard), good}}, OneWay},
		{"not yet heard", [][2]Side{{good, never(neverHeard - 1)}}, Fine},
		{"nobody heard", [][2]Side{{never(time.Hour), never(time.Hour)}}, Fine},
		{"both fell silent", [][2]Side{{quiet(time.Hour), quiet(time.Hour)}}, Fine},
		{"fell silent", [][2]Side{{good, quiet(notHeard)}}, OneWay},
		{"a pause", [][2]Side{{good, quiet(notHeard - 1)}}, Fine},
		{"on hold", [][2]Side{{good, Side{Silent: time.Hour}}}, Fine},
	} {
		var j Judge
		var got Verdict
		for _, l := range c.looks {
			got = j.Look(l[0], l[1])
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestSeriesIsBoundedAndKeepsTheWorst(t *testing.T) {
	t.Parallel()
	var s Series
	if p, step := s.Points(); len(p) != 0 || step != Interval {
		t.Errorf("%v, %s", p, step)
	}
	const looks = 1000
	for i := range looks {
		p := Point{In: 43, Out: 0}
		if i == 500 {
			p = Point{In: 21, Out: 30}
		}
		s.Add(p)
		points, step := s.Points()
		if span := time.Duration(len(points)) * step; len(points) > maxPoints || span < time.Duration(i+1)*Interval || span-step >= time.Duration(i+1)*Interval {
			t.Fatalf("%d looks: %d points of %s", i+1, len(points), step)
		}
	}
	if s.Worst() != (Point{21, 30}) {
		t.Errorf("worst %v", s.Worst())
	}
	points, step := s.Points()
	at := int(500 * Interval / step)
	for i, p := range points {
		if want := map[bool]Point{true: {21, 30}, false: {43, 0}}[i == at]; p != want {
			t.Errorf("point %d is %v", i, p)
		}
	}
}
