package fraud

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/telephony"
)

const euro = telephony.Money(1_000_000)

// world is a guard over caps of the test's choice, and the alarms it raised.
type world struct {
	*Guard
	made   int // calls, each with an id of its own
	mu     sync.Mutex
	alarms []Alarm
}

func newWorld(t *testing.T, tenant, each, line telephony.Caps) *world {
	t.Helper()
	w := &world{}
	snap := telephony.NewSnapshot(1, telephony.DefaultSettings(), []telephony.Tenant{{ID: 1, Domain: "a.test"}}, nil).
		WithRouting([]telephony.Trunk{{Tenant: 1, ID: 7, Name: "main", Caps: line}}, map[telephony.TenantID]telephony.Routing{
			1: {Plan: telephony.NumberingPlan{Country: "DE"}, Caps: tenant, ExtensionCaps: each},
		})
	w.Guard = New(Config{Snapshot: func() *telephony.Snapshot { return snap }, Alarm: func(a Alarm) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.alarms = append(w.alarms, a)
	}})
	return w
}

func (w *world) kinds() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, a := range w.alarms {
		out = append(out, string(a.Kind))
	}
	return strings.Join(out, " ")
}

// live is a call of the test's.
type live struct {
	*Meter
	answered time.Time
	ended    time.Duration // how long it lasted
}

func (w *world) call(account string, rate telephony.Rate) (*live, error) {
	l := &live{}
	w.made++
	m, err := w.Ask(Call{ID: telephony.CallID(fmt.Sprint(w.made)), Tenant: 1, Account: account, Number: "+88213123", Country: "XX", Trunk: 7, Rate: rate, HasRate: true, Cut: func() { go l.hangUp() }})
	l.Meter = m
	return l, err
}

func (l *live) answer() { l.answered = time.Now(); l.Answered(l.answered) }

func (l *live) hangUp() {
	now := time.Now()
	if l.ended == 0 && !l.answered.IsZero() {
		l.ended = now.Sub(l.answered)
	}
	l.Ended(now)
}

// TestStolenCredentials: 1,000 calls to an expensive number, many at a time, all
// answered, none hung up by the thief: nothing beyond the cap, and an alarm at once.
func TestStolenCredentials(t *testing.T) {
	rate := telephony.Rate{Prefix: "882", Connect: euro / 10, Minute: 6 * euro, First: 10 * time.Second, Next: 10 * time.Second}
	for name, caps := range map[string][3]telephony.Caps{
		"of the extension":    {{}, {MoneyHour: 20 * euro}, {}},
		"of the organisation": {{MoneyDay: 20 * euro}, {}, {}},
		"of the trunk":        {{}, {}, {MoneyHour: 20 * euro}},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, caps[0], caps[1], caps[2])
			defer w.Close()
			var calls []*live
			refused := 0
			for range 1000 {
				l, err := w.call("101", rate)
				if err != nil {
					refused++
				} else {
					calls = append(calls, l)
					l.answer()
				}
				time.Sleep(200 * time.Millisecond)
			}
			time.Sleep(5 * time.Minute)
			synctest.Wait()
			cost := telephony.Money(0)
			for _, l := range calls {
				if l.ended == 0 {
					t.Fatalf("%s: a call was never cut", name)
				}
				cost += rate.Cost(l.ended)
			}
			if cost > 20*euro || cost < 10*euro || refused < 900 {
				t.Errorf("%s: %d calls cost %d of 20 million, %d refused", name, len(calls), cost, refused)
			}
			if kinds := w.kinds(); !strings.Contains(kinds, string(CapReached)) || !strings.Contains(kinds, string(NewCountry)) {
				t.Errorf("%s: alarms %s", name, kinds)
			}
			w.mu.Lock()
			for _, a := range w.alarms {
				if a.Kind == CapReached && a.At.Sub(calls[0].answered) > 30*time.Second {
					t.Errorf("%s: the alarm came after %v", name, a.At.Sub(calls[0].answered))
				}
			}
			w.mu.Unlock()
		})
	}
}

// TestOfficeIsNotBothered: an ordinary day stays below its caps, and yesterday is
// forgotten.
func TestOfficeIsNotBothered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, telephony.Caps{MoneyDay: 10 * euro, MinutesDay: 600}, telephony.Caps{MinutesHour: 60, CallsPerMinute: 5}, telephony.Caps{})
		defer w.Close()
		rate := telephony.Rate{Prefix: "49", Minute: euro / 100}
		for day := range 3 {
			for n := range 40 {
				l, err := w.call(fmt.Sprint(101+n%8), rate)
				if err != nil {
					t.Fatalf("day %d, call %d: %v", day, n, err)
				}
				time.Sleep(8 * time.Second)
				l.answer()
				time.Sleep(10 * time.Minute)
				l.hangUp()
			}
			time.Sleep(25 * time.Hour)
		}
		if kinds := w.kinds(); kinds != string(NewCountry) {
			t.Errorf("alarms %s", kinds)
		}
		if len(w.running) != 0 {
			t.Errorf("%d calls left", len(w.running))
		}
	})
}

// TestMinutesAndRate: caps without prices; a cap holds for its subject only.
func TestMinutesAndRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, telephony.Caps{}, telephony.Caps{MinutesHour: 10, CallsPerMinute: 3}, telephony.Caps{})
		defer w.Close()
		l, err := w.call("101", telephony.Rate{})
		if err != nil {
			t.Fatal(err)
		}
		l.answer()
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		if l.ended < 9*time.Minute || l.ended > 10*time.Minute {
			t.Errorf("cut after %v, want just below 10 minutes", l.ended)
		}
		_, err = w.call("101", telephony.Rate{})
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.Subject != "extension 101" || !strings.Contains(refusal.Reason, "minutes") {
			t.Errorf("%v", err)
		}
		if _, err := w.call("102", telephony.Rate{}); err != nil {
			t.Errorf("another extension: %v", err)
		}
		for range 2 {
			if _, err := w.call("102", telephony.Rate{}); err != nil {
				t.Errorf("the third within a minute: %v", err)
			}
		}
		if _, err := w.call("102", telephony.Rate{}); err == nil {
			t.Error("a fourth call within a minute")
		}
		time.Sleep(61 * time.Second)
		if _, err := w.call("102", telephony.Rate{}); err != nil {
			t.Errorf("after a minute: %v", err)
		}
		time.Sleep(2 * time.Hour)
		if _, err := w.call("101", telephony.Rate{}); err != nil {
			t.Errorf("the next hour: %v", err)
		}
	})
}

// TestACallThatTriesSeveralTrunksIsOne of those that are counted per minute.
func TestACallThatTriesSeveralTrunksIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, telephony.Caps{}, telephony.Caps{CallsPerMinute: 1}, telephony.Caps{})
		defer w.Close()
		for try := range 4 {
			m, err := w.Ask(Call{ID: "one", Tenant: 1, Account: "101", Trunk: 7})
			if err != nil {
				t.Fatalf("trunk %d: %v", try+1, err)
			}
			m.Ended(time.Now())
		}
		if _, err := w.Ask(Call{ID: "two", Tenant: 1, Account: "101", Trunk: 7}); err == nil {
			t.Error("another call within the minute")
		}
	})
}

// TestUnansweredCallsCostNothing but hold their reserve while they ring.
func TestUnansweredCallsCostNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, telephony.Caps{MoneyHour: euro}, telephony.Caps{}, telephony.Caps{})
		defer w.Close()
		rate := telephony.Rate{Connect: euro / 2}
		a, err1 := w.call("101", rate)
		b, err2 := w.call("101", rate)
		if _, err3 := w.call("101", rate); err1 != nil || err2 != nil || err3 == nil {
			t.Fatalf("%v %v %v", err1, err2, err3)
		}
		a.hangUp()
		a.hangUp() // told twice
		b.hangUp()
		if c, err := w.call("101", rate); err != nil {
			t.Errorf("both rang in vain: %v", err)
		} else {
			c.hangUp()
		}
	})
}
