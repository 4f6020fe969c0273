package media

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/audio/dtmf"
)

// Digits are gathered until there are enough, the terminator comes or none in
// time; what is told is told once, and when it is due.
func TestCollectorTellsWhatIsDialled(t *testing.T) {
	t.Parallel()
	want := dtmf.Collector{Most: 4, Terminator: '#', First: 5 * time.Second, Between: 2 * time.Second}
	for name, c := range map[string]struct {
		dial string // a key each second, a space is a second without
		want string
	}{
		"enough":             {"12345", "1234 full after 3s"},
		"the terminator":     {"12#4", "12 terminated after 2s"},
		"only the end":       {"#", " terminated after 0s"},
		"nothing":            {"", " timed out after 5s"},
		"the first is late":  {"    1", "1 timed out after 6s"},
		"none comes in time": {"12  3", "12 timed out after 3s"},
		"letters and stars":  {"*0AD", "*0AD full after 3s"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told []string
				began := time.Now()
				k := Collect(want, func(digits string, why dtmf.Reason) {
					told = append(told, fmt.Sprintf("%s %s after %v", digits, [...]string{"collecting", "full", "terminated", "timed out"}[why], time.Since(began)))
				})
				for i, key := range c.dial {
					if i > 0 {
						time.Sleep(time.Second)
						synctest.Wait()
					}
					if key != ' ' {
						k.Digit(byte(key))
					}
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				if got := strings.Join(told, ", "); got != c.want {
					t.Errorf("%q, want %q", got, c.want)
				}
			})
		})
	}
}

func TestCollectorStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := Collect(dtmf.Collector{Most: 2, First: time.Second, Between: time.Second}, func(digits string, why dtmf.Reason) {
			t.Errorf("%q, %d", digits, why)
		})
		k.Digit('1')
		k.Stop()
		k.Digit('2')
		k.Stop()
		time.Sleep(time.Hour)
		synctest.Wait()
		if k.Digits() != "1" {
			t.Errorf("%q", k.Digits())
		}
	})
}

// What a peer dials on its leg comes into the collector.
func TestCollectorOfALeg(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 23760, 23779, nil)
	r := newRoom(t, e, RoomOptions{})
	g := enter(t, e, r, newTalker(t, "PCMA", 8, 20), 440)
	told := make(chan string, 1)
	k := Collect(dtmf.Collector{Most: 8, Terminator: '#', First: 20 * time.Second, Between: 20 * time.Second}, func(digits string, why dtmf.Reason) { told <- digits })
	defer k.Stop()
	g.leg.OnDigit(k.Digit)
	for _, key := range "2580#" {
		g.dial(byte(key), func() { time.Sleep(ms) })
		g.say(440)
	}
	select {
	case got := <-told:
		if got != "2580" {
			t.Errorf("%q", got)
		}
	case <-time.After(10 * time.Second):
		t.Errorf("nothing but %q", k.Digits())
	}
}
