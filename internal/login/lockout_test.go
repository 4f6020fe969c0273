package login

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/events"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

func TestSixthTryIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		sub := w.bus.Subscribe(10)
		defer sub.Close()
		for range 5 {
			w.guess(t, home, "jo")
		}
		until := w.blocked(t, home, "jo", true)
		if want := time.Now().Add(time.Hour); !until.Equal(want) {
			t.Errorf("blocked until %v, want %v", until, want)
		}
		w.blocked(t, home, "admin", true)
		w.blocked(t, netip.MustParseAddr("::ffff:192.0.2.1"), "admin", true)
		w.mustLogin(t, office, "admin")
		if b := w.Blocked(); len(b) != 1 || b[0].Source != netip.MustParsePrefix("192.0.2.1/32") || !b[0].Until.Equal(until) {
			t.Errorf("blocked: %+v", b)
		}
		want := events.AddressBanned{Addr: home, Scope: telephony.BanWeb, Reason: "failed log-ins", Until: until}
		select {
		case e := <-sub.C:
			if e != want {
				t.Errorf("event %+v, want %+v", e, want)
			}
		default:
			t.Error("no event")
		}
		if len(sub.C) > 0 {
			t.Error("more than one event")
		}
		time.Sleep(time.Hour - time.Second)
		w.blocked(t, home, "jo", true)
		time.Sleep(time.Second)
		w.mustLogin(t, home, "jo")
		if b := w.Blocked(); len(b) != 0 {
			t.Errorf("still blocked: %+v", b)
		}
	})
}

func TestBlockCountsInItsWindow(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		for range 4 {
			w.guess(t, home, "jo")
		}
		time.Sleep(time.Hour)
		for range 4 {
			w.guess(t, home, "jo")
		}
		w.mustLogin(t, home, "jo")
	})
}

func TestBlockSurvivesRestart(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		for range 5 {
			w.guess(t, home, "jo")
		}
		for range 4 {
			w.guess(t, office, "admin")
		}
		w.close(t)
		time.Sleep(time.Minute)
		w.open(t)
		if left := time.Until(w.blocked(t, home, "jo", true)); left != 59*time.Minute {
			t.Errorf("%v left", left)
		}
		w.guess(t, office, "admin") // the fifth, counted across the restart
		w.blocked(t, office, "admin", true)
		if !w.Unblock(office) || w.Unblock(office) {
			t.Error("unblocking says the wrong thing")
		}
		w.close(t)
		w.open(t)
		if len(w.Blocked()) != 1 {
			t.Errorf("after unblocking: %+v", w.Blocked())
		}
	})
}

func TestIPv6IsBlockedByPrefix(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		for n := range 5 {
			w.guess(t, netip.MustParseAddr(fmt.Sprintf("2001:db8:1:2::%x", n+1)), "nobody")
		}
		w.blocked(t, netip.MustParseAddr("2001:db8:1:2:ffff::9"), "jo", true)
		w.mustLogin(t, netip.MustParseAddr("2001:db8:1:3::1"), "jo")
		if b := w.Blocked(); len(b) != 1 || b[0].Source != netip.MustParsePrefix("2001:db8:1:2::/64") {
			t.Errorf("blocked: %+v", b)
		}
	})
}

// TestOfficeBehindOneAddress: who gets it right in the end takes back the own
// mistakes only.
func TestOfficeBehindOneAddress(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		for range 3 {
			for range 3 {
				w.guess(t, office, "jo")
			}
			w.mustLogin(t, office, "jo")
		}
		// Somebody with an account of their own guesses at another.
		for range 4 {
			w.guess(t, office, "admin")
			w.mustLogin(t, office, "jo")
		}
		w.guess(t, office, "admin")
		w.blocked(t, office, "jo", true)
	})
}

func TestManySourcesSlowDownOneAccount(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.mustLogin(t, home, "jo")
		for n := range 5 {
			w.guess(t, netip.AddrFrom4([4]byte{198, 51, 100, byte(n)}), "jo")
		}
		wait := firstBackoff
		for n := range 12 {
			until := w.blocked(t, netip.AddrFrom4([4]byte{198, 51, 100, 100}), "jo", false)
			if d := time.Until(until); d != wait {
				t.Fatalf("failure %d: wait %v, want %v", n+5, d, wait)
			}
			w.mustLogin(t, office, "admin") // others go on
			time.Sleep(wait)
			w.guess(t, netip.AddrFrom4([4]byte{198, 51, 101, byte(n)}), "jo")
			wait = min(wait*2, longestBackoff)
		}
		// The user is logged in from home and can still come in there, which
		// does not help others.
		w.blocked(t, office, "jo", false)
		w.mustLogin(t, home, "jo")
		w.mustLogin(t, office, "jo") // the count began anew
		// Unknown accounts are slowed down alike.
		for n := range 5 {
			w.guess(t, netip.AddrFrom4([4]byte{198, 51, 102, byte(n)}), "nobody")
		}
		w.blocked(t, netip.AddrFrom4([4]byte{198, 51, 102, 100}), "nobody", false)
	})
}

// TestGuessesAllAtOnce sends far more guesses than are allowed before the
// first is answered.
func TestGuessesAllAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.close(t)
	var mu sync.Mutex
	looked := 0
	var wg sync.WaitGroup
	for n := range 200 {
		wg.Go(func() {
			_, err := w.Login(t.Context(), home, fmt.Sprint("user", n%3), "wrong-password-1")
			mu.Lock()
			defer mu.Unlock()
			var be *BlockedError
			switch {
			case errors.Is(err, ErrWrong):
				looked++
			case !errors.Is(err, ErrBusy) && !errors.As(err, &be):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if looked > 5 {
		t.Errorf("%d guesses were looked at, 5 are allowed", looked)
	}
}

// TestClockPutBack: blocks and sessions saved under a clock that ran ahead do
// not last for years.
func TestClockPutBack(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	l := newLockouts([]store.Lockout{{Kind: store.LockoutAddress, Subject: home.String(), Failed: now.AddDate(10, 0, 0), Until: now.AddDate(10, 0, 0)}})
	var be *BlockedError
	if err := l.begin(now, home, "jo", false, 5, time.Hour); !errors.As(err, &be) || !be.Until.Equal(now.Add(time.Hour)) {
		t.Errorf("blocked: %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close(t)
		later := time.Now().AddDate(10, 0, 0)
		cookie := newSecret()
		hash, _ := hashOf(cookie)
		err := w.store.CreateSession(t.Context(), store.Session{Hash: hash, Tenant: w.jo.Tenant, User: w.jo.ID, Created: later, Seen: later, Expires: later.Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Session(t.Context(), cookie); !errors.Is(err, ErrNoSession) {
			t.Errorf("a session of the future: %v", err)
		}
	})
}

func TestLockoutTableIsBounded(t *testing.T) {
	t.Parallel()
	l := newLockouts(nil)
	now := time.Unix(1_000_000, 0)
	blocked := netip.MustParseAddr("203.0.113.1")
	for range 5 {
		l.failed(now, blocked, "admin", 5, time.Hour)
	}
	for n := range 3 * maxTracked {
		addr := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
		l.failed(now.Add(time.Duration(n)*time.Millisecond), addr, fmt.Sprint("user", n), 5, time.Hour)
		if n%5000 == 0 {
			l.unsaved()
		}
	}
	if n := len(l.table); n > 2*maxTracked {
		t.Errorf("%d entries", n)
	}
	if n := len(l.flying); n > 0 {
		t.Errorf("%d attempts in flight", n)
	}
	if err := l.begin(now, blocked, "x", false, 5, time.Hour); err == nil {
		t.Error("a flood of failures made room for a blocked source")
	}
	l.prune(now.Add(2*time.Hour), time.Hour)
	if n := len(l.table); n > 0 {
		t.Errorf("%d entries after everything expired", n)
	}
}

func TestAccountKeysAreBounded(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"admin", strings.Repeat("x", 1<<20), "a\nb", "a b", "ünï", "\xff\x00", ""} {
		if k := accountKey(name); len(k.subject) > 64 || strings.ContainsAny(k.subject, "\n \x00") {
			t.Errorf("%.20q becomes %.80q", name, k.subject)
		}
	}
	if accountKey("Admin") != accountKey("admin") || accountKey("a b") == accountKey("a c") {
		t.Error("keys fold or collide wrongly")
	}
}
