package trunk

import (
	"errors"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/events"
	"ringfence/internal/telephony"
)

// peer is a trunk that is known by its address.
func peer() telephony.Trunk {
	return telephony.Trunk{
		Tenant: 1, ID: 9, Name: "Peer", Kind: telephony.TrunkPeer, Enabled: true, Host: "198.51.100.1", Transport: telephony.TrunkUDP,
		OptionsInterval: 10 * time.Second,
	}
}

func TestPeerIsWatchedWithOptions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, peer())
		defer l.close()
		heard := l.bus.Subscribe(64)
		defer heard.Close()
		var there atomic.Bool
		there.Store(true)
		l.serve("198.51.100.1:5060", func(r request) answer {
			if there.Load() {
				return answer{code: 405} // any answer is one
			}
			return answer{}
		})
		l.reconcile()
		if st := l.is(telephony.TrunkUp); st.Target != "198.51.100.1:5060" {
			t.Errorf("%+v", st)
		}
		there.Store(false)
		took := within(t, 20*time.Second, func() bool { return l.Down(1, 9) })
		if st := l.is(telephony.TrunkDown); !strings.Contains(st.Reason, "no answer") || time.Since(st.Since) > time.Second {
			t.Errorf("%+v", st)
		}
		if took < patience {
			t.Errorf("given up after %s", took)
		}
		if w := l.Ways(1, 9); len(w) != 1 {
			t.Error("an emergency call has no way left")
		}
		time.Sleep(10 * time.Minute)
		l.forget()
		time.Sleep(10 * time.Minute)
		if n := len(l.got("OPTIONS")); n < 3 || n > 10 {
			t.Errorf("asked %d times in 10 minutes while it is away", n)
		}
		there.Store(true)
		within(t, 3*time.Minute, func() bool { return !l.Down(1, 9) })
		l.is(telephony.TrunkUp)
		var seen []string
		for len(heard.C) > 0 {
			if c, ok := (<-heard.C).(events.TrunkChanged); ok {
				seen = append(seen, string(c.State.Condition))
			}
		}
		if strings.Join(seen, " ") != "up down up" {
			t.Errorf("told %v", seen)
		}
	})
}

func TestOneLostQuestionIsNoOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, peer())
		defer l.close()
		var mu sync.Mutex
		lose := ""
		l.serve("198.51.100.1:5060", func(r request) answer {
			mu.Lock()
			defer mu.Unlock()
			if id := r.header("Call-ID"); lose == "next" || lose == id {
				lose = id // all copies of one
				return answer{}
			}
			return answer{code: 200}
		})
		l.reconcile()
		mu.Lock()
		lose = "next"
		mu.Unlock()
		for range 40 {
			time.Sleep(time.Second)
			l.is(telephony.TrunkUp)
		}
		mu.Lock()
		defer mu.Unlock()
		if lose == "next" {
			t.Error("nothing was asked")
		}
	})
}

func TestOverloadedServerIsLeftAloneForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		x := peer()
		x.OptionsInterval = 0
		l := newLab(t, x)
		defer l.close()
		l.serve("198.51.100.1:5060", func(request) answer { return answer{code: 200} })
		l.reconcile()
		l.is(telephony.TrunkUp)
		w := l.Ways(1, 9)[0]
		for range overloads {
			l.is(telephony.TrunkUp)
			l.Answered(w, 503)
		}
		l.is(telephony.TrunkDown)
		time.Sleep(7 * time.Second)
		l.is(telephony.TrunkUp) // half-open: a call may try
		l.Answered(w, 180)
		l.is(telephony.TrunkUp)
		if n := len(l.got("OPTIONS")); n != 0 {
			t.Errorf("asked %d times although that is switched off", n)
		}
	})
}

func TestLimitsAreExactUnderManyAttempts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := peer(), peer()
		a.OptionsInterval, b.OptionsInterval, b.ID, a.MaxCalls, b.MaxCalls = 0, 0, 10, 30, 0
		l := newLab(t, a, b)
		defer l.close()
		l.mu.Lock()
		l.snap = telephony.NewSnapshot(1, telephony.Settings{}, tenants, nil).WithRouting([]telephony.Trunk{a, b}, map[telephony.TenantID]telephony.Routing{1: {MaxCalls: 50}})
		l.mu.Unlock()
		l.reconcile()
		var taken, full atomic.Int64
		var mu sync.Mutex
		var releases []func()
		var wg sync.WaitGroup
		for i := range 500 {
			wg.Go(func() {
				release, err := l.Take(1, []telephony.TrunkID{9, 10}[i%2], false)
				if err != nil {
					if !errors.Is(err, ErrFull) {
						t.Error(err)
					}
					full.Add(1)
					return
				}
				taken.Add(1)
				mu.Lock()
				defer mu.Unlock()
				releases = append(releases, release)
			})
		}
		wg.Wait()
		st := l.States(1)
		if taken.Load() != 50 || full.Load() != 450 || st[0].Calls > 30 || st[0].Calls+st[1].Calls != 50 {
			t.Errorf("%d taken, %d refused; %d and %d counted", taken.Load(), full.Load(), st[0].Calls, st[1].Calls)
		}
		if release, err := l.Take(1, 9, true); err != nil {
			t.Errorf("an emergency call: %v", err)
		} else {
			release()
		}
		for _, r := range releases {
			wg.Go(r)
			wg.Go(r) // once counts
		}
		wg.Wait()
		if st := l.States(1); st[0].Calls != 0 || st[1].Calls != 0 || len(l.counts.tenants) != 0 {
			t.Errorf("%d and %d are left", st[0].Calls, st[1].Calls)
		}
		n := 0
		for ; n < 40; n++ {
			if _, err := l.Take(1, 9, false); err != nil {
				break
			}
		}
		if n != 30 {
			t.Errorf("%d calls on a trunk for 30", n)
		}
		if _, err := l.Take(2, 9, false); !errors.Is(err, ErrDown) {
			t.Errorf("the trunk of another tenant: %v", err)
		}
	})
}

func TestTrunksOverUDPNeedAListener(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		x := peer()
		x.Host = "2001:db8::1" // nothing listens on IPv6 here
		l := newLab(t, x)
		defer l.close()
		l.reconcile()
		if st := l.is(telephony.TrunkDown); !strings.Contains(st.Reason, "not switched on") {
			t.Errorf("%+v", st)
		}
	})
}

func TestPacketsLeaveByTheNamedInterface(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		x := peer()
		x.Interface = "ngn0"
		l := newLab(t, x)
		defer l.close()
		var there atomic.Bool
		l.c.Interface = func(name string) (Link, error) {
			if name != "ngn0" || !there.Load() {
				return Link{}, errors.New("no such interface")
			}
			return Link{Index: 7, Addrs: []netip.Addr{netip.MustParseAddr("2001:db8::7"), netip.MustParseAddr("192.0.2.77")}}, nil
		}
		l.serve("198.51.100.1:5060", func(request) answer { return answer{code: 200} })
		l.reconcile()
		if st := l.is(telephony.TrunkDown); !strings.Contains(st.Reason, "no such interface") {
			t.Errorf("%+v", st)
		}
		there.Store(true)
		time.Sleep(6 * time.Second)
		l.is(telephony.TrunkUp)
		if w := l.Ways(1, 9); w[0].Flow.Local.Addr().String() != "192.0.2.77" {
			t.Errorf("from %s", w[0].Flow.Local)
		}
	})
}
