package guard

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"ringfence/internal/telephony"
)

// model is what a source did, plainly: every event with its time.
type model struct {
	asked, guessed, malformed []time.Time
	names                     map[string]bool
	trusted                   time.Time
}

// within counts the events of the last period.
func within(list []time.Time, now time.Time, period time.Duration) (n int) {
	for _, at := range list {
		if now.Sub(at) <= period {
			n++
		}
	}
	return n
}

// FuzzGuardModel compares the guard with a plain list of what happened, with
// limits that are low: nobody is convicted who did less than a limit in a
// period, or of whom nothing is proved but who has proved a password; who gives
// as many wrong passwords at once as the limit says always is.
func FuzzGuardModel(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x08\x10\x18\x20\x28\x30\x31\x32\x33"))
	f.Add([]byte("\x02\x02\x02\x02\x02\x02\x02\x02\x04\x04\x01\x05\x01\x05\x01\x05"))
	rules := telephony.DefaultProtection()
	rules.Period, rules.WrongAnswers, rules.Unanswered, rules.Malformed, rules.Names = time.Second, 4, 5, 4, 4
	f.Fuzz(func(t *testing.T, ops []byte) {
		g := New(Config{})
		g.Configure(rules, telephony.DefaultPacketLimits())
		now, past := start, map[netip.Addr]*model{}
		inRow := 0
		for _, op := range ops {
			now = now.Add(time.Duration(op>>6) * 150 * time.Millisecond)
			a := netip.AddrFrom4([4]byte{192, 0, 2, op >> 3 & 3})
			m := past[a]
			if m == nil {
				m = &model{names: map[string]bool{}}
				past[a] = m
			}
			r := Request{Source: a, Name: fmt.Sprint(op >> 5), User: fmt.Sprint(op >> 5), Proven: op&4 == 0}
			var v Verdict
			var convicted bool
			switch op % 4 {
			case 0:
				m.asked = append(m.asked, now)
				m.names[r.Name] = true
				v, convicted = g.Challenged(r, now)
			case 1:
				if r.Proven {
					m.guessed = append(m.guessed, now)
				} else {
					m.asked = append(m.asked, now)
					m.names[r.Name] = true
				}
				v, convicted = g.Wrong(r, now)
			case 2:
				g.Right(r, now)
				m.trusted = now.Add(trust)
			case 3:
				m.malformed = append(m.malformed, now)
				v, convicted = g.Malformed(r, now)
			}
			if op>>6 == 0 && op%4 == 1 && r.Proven {
				inRow++
			} else {
				inRow = 0
			}
			if convicted {
				m.judge(t, rules, r, v, now)
				g.Pardon(a) // counting begins anew, for the next verdict
				inRow = 0
				*m = model{names: map[string]bool{}, trusted: m.trusted}
			} else if inRow >= rules.WrongAnswers*4 {
				t.Fatalf("%d wrong passwords at once, and no verdict", inRow)
			}
		}
	})
}

// judge refuses a verdict that nothing bears out.
func (m *model) judge(t *testing.T, rules telephony.Protection, r Request, v Verdict, now time.Time) {
	t.Helper()
	did, limit := 0, 0
	switch v.Offence {
	case WrongAnswers:
		did, limit = within(m.guessed, now, rules.Period), rules.WrongAnswers
	case Unanswered:
		did, limit = within(m.asked, now, rules.Period), rules.Unanswered
	case Malformed:
		did, limit = within(m.malformed, now, rules.Period), rules.Malformed
	case Scan:
		did, limit = len(m.names), rules.Names
	}
	if limit == 0 || did < limit || v.Evidence.Count < limit {
		t.Fatalf("%+v after %d of %d", v, did, limit)
	}
	if now.Before(m.trusted) && !v.Proven {
		t.Fatalf("%+v by what may be forged, against who has proved a password", v)
	}
	if v.Proven && !r.Proven {
		t.Fatalf("%+v counts as proved by %+v", v, r)
	}
}

// Sources, names, callers and numbers that are made up take no memory without
// end, and none without a bound for each.
func TestMadeUpSourcesTakeBoundedMemory(t *testing.T) {
	t.Parallel()
	g := New(Config{})
	for i := range maxTrusted + 1000 {
		now := start.Add(time.Duration(i) * time.Microsecond)
		r := from(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), fmt.Sprint(i))
		g.Challenged(r, now)
		g.Wrong(r, now)
		g.Malformed(r, now)
		g.Trust(r.Source, now.Add(trust))
		g.Call(Caller{1, r.Name}, r.Name, now)
		g.Unknown(Caller{1, "101"}, r.Name, now)
	}
	for name, have := range map[string][2]int{
		"sources": {len(g.sources.members), maxSources}, "trusted": {len(g.trusted.members), maxTrusted}, "guesses": {len(g.guesses.members), maxSources},
		"callers": {len(g.callers.members), maxCallers}, "called": {len(g.called.members), maxCallers},
	} {
		if have[0] > have[1] {
			t.Errorf("%d %s are remembered, at most %d may be", have[0], name, have[1])
		}
	}
}
