package b2bua

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/siptest"
	"ringfence/internal/telephony"
)

// TestLossyNetwork: every fifth datagram is lost and some come twice, both
// ways. Every call still comes to an end that both sides know, leaves one
// record, and nothing stays behind.
func TestLossyNetwork(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes 10 s of real time")
	}
	fast := sip.Timers{T1: 40 * time.Millisecond, T2: 320 * time.Millisecond, T4: 400 * time.Millisecond}
	s := newStackWith(t, sip.Config{Timers: fast}, nil)
	server := s.listen()
	rng := rand.New(rand.NewPCG(1, 2))
	var mu sync.Mutex
	lossy := func(_ bool, _ netip.AddrPort, b []byte) [][]byte {
		mu.Lock()
		defer mu.Unlock()
		switch n := rng.IntN(100); {
		case n < 20:
			return nil
		case n < 30:
			return [][]byte{b, b}
		}
		return [][]byte{b}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	start := func(user string) *siptest.Phone {
		p := siptest.NewPhone(t, siptest.Config{Server: server, User: user, Password: "pw" + user, Domain: "a.test", T1: fast.T1, Keep: -1})
		p.SetFilter(lossy)
		for p.Register(ctx) != nil && ctx.Err() == nil {
		}
		return p
	}
	a, b := start("101"), start("102")
	const calls = 24
	connected, refused := 0, 0
	var wg sync.WaitGroup
	wg.Go(func() { // the callee answers most and hangs half of them up
		for i := range calls {
			c, err := b.WaitCall(ctx)
			if err != nil {
				return
			}
			wg.Go(func() {
				if c.Ring(); i%6 == 5 {
					c.Reject(486)
				} else if c.Answer() == nil && i%2 == 0 {
					c.Wait(ctx, siptest.Answered)
					time.Sleep(50 * time.Millisecond)
					c.HangUp()
				}
				c.Wait(ctx, siptest.Ended)
			})
		}
	})
	for range calls {
		c, err := a.Call(ctx, "102")
		if err != nil {
			t.Fatal(err)
		}
		var no *siptest.StatusError
		switch err := c.Wait(ctx, siptest.Answered); {
		case err == nil:
			connected++
			time.Sleep(80 * time.Millisecond)
			c.HangUp()
		case errors.As(err, &no):
			refused++
		}
		if err := c.Wait(ctx, siptest.Ended); ctx.Err() != nil {
			t.Fatalf("a call does not end: %v", err)
		}
	}
	idle := func() string {
		st := s.ep.Stats()
		if n := len(s.svc.Calls(telephony.System)) + s.svc.dialogs.Len() + st.Pending; n == 0 && len(s.records) > 0 {
			return ""
		}
		return fmt.Sprintf("%d calls, %d legs, %d transactions", len(s.svc.Calls(telephony.System)), s.svc.dialogs.Len(), st.Pending)
	}
	for deadline := time.Now().Add(20 * time.Second); idle() != "" && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
	if left := idle(); left != "" {
		t.Errorf("left behind: %s", left)
	}
	seen := map[telephony.CallID]bool{}
	for len(s.records) > 0 {
		r := <-s.records
		if seen[r.ID] {
			t.Errorf("two records of call %s", r.ID)
		}
		seen[r.ID] = true
	}
	t.Logf("%d calls connected, %d refused, %d records", connected, refused, len(seen))
	if connected < calls/2 || len(seen) < connected {
		t.Errorf("%d connected, %d records", connected, len(seen))
	}
	if open := s.media.open.Load(); open != 0 {
		t.Errorf("%d media legs left open", open)
	}
}
