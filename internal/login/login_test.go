package login

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/events"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

const (
	goodPassword = "Kv7#mQzp-river"
	newPassword  = "Tn4#wBxc-cloud"
	sipPassword  = "Rz8xWq5tLm2vKd9hBn3c"
)

var (
	home   = netip.MustParseAddr("192.0.2.1")
	office = netip.MustParseAddr("192.0.2.2")
)

// world is a store with two users and the service over it.
type world struct {
	*Service
	store *store.Store
	bus   *events.Bus
	dir   string
	log   *strings.Builder
	boss  telephony.User // "admin", of the box
	jo    telephony.User // "jo", of a tenant, with extension 101
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), log: &strings.Builder{}}
	w.open(t)
	hash, err := w.Hash(t.Context(), goodPassword)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.store.System().Update(t.Context(), telephony.Actor{}, func(tx *store.Tx) (err error) {
		if w.boss, err = tx.CreateUser(telephony.User{Name: "admin", Role: telephony.RoleSystemAdmin}, hash); err != nil {
			return err
		}
		id, err := tx.CreateTenant(telephony.Tenant{Name: "Example", Domain: "pbx.example", ExtensionFirst: "100", ExtensionLast: "199"})
		if err != nil {
			return err
		}
		in, err := tx.ForTenant(id)
		if err != nil {
			return err
		}
		if _, err := in.CreateExtension(telephony.Extension{Number: "101"}, sipPassword); err != nil {
			return err
		}
		w.jo, err = in.CreateUser(telephony.User{Name: "jo", FirstName: "Josephine", Role: telephony.RoleStandard, Extension: "101"}, hash)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// open opens store and service; with synctest they must be closed in the bubble.
func (w *world) open(t *testing.T) {
	t.Helper()
	var err error
	if w.store, err = store.Open(t.Context(), w.dir, store.Options{Snapshots: -1}); err != nil {
		t.Fatal(err)
	}
	w.bus = &events.Bus{}
	w.Service, err = New(t.Context(), Config{Store: w.store, Bus: w.bus, Logger: slog.New(slog.NewTextHandler(w.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	w.hasher = newHasher(cost{memory: 64, time: 1, lanes: 1}) // what is tested here is not the price
}

func (w *world) close(t *testing.T) {
	t.Helper()
	if err := errors.Join(w.Close(), w.store.Close()); err != nil {
		t.Error(err)
	}
}

// guess tries a wrong password.
func (w *world) guess(t *testing.T, addr netip.Addr, name string) {
	t.Helper()
	if _, err := w.Login(t.Context(), addr, name, "wrong-password-1"); !errors.Is(err, ErrWrong) {
		t.Fatalf("guess at %s from %s: %v", name, addr, err)
	}
}

func (w *world) mustLogin(t *testing.T, addr netip.Addr, name string) Session {
	t.Helper()
	v, err := w.Login(t.Context(), addr, name, goodPassword)
	if err != nil {
		t.Fatalf("%s from %s: %v", name, addr, err)
	}
	return v
}

// blocked wants the log-in refused, with the right password too.
func (w *world) blocked(t *testing.T, addr netip.Addr, name string, address bool) time.Time {
	t.Helper()
	_, err := w.Login(t.Context(), addr, name, goodPassword)
	var be *BlockedError
	if !errors.As(err, &be) || be.Address != address {
		t.Fatalf("%s from %s: want it blocked (address %v), got %v", name, addr, address, err)
	}
	return be.Until
}

// inBubble runs a test on a clock of its own.
func inBubble(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		fn(t, w)
		w.close(t)
	})
}

func TestLoginAndLogout(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		v := w.mustLogin(t, home, "JO") // names have no case
		got, err := w.Session(t.Context(), v.Cookie)
		if err != nil || got.User != w.jo || got.CSRF != v.CSRF || got.Cookie != "" || got.Addr != home {
			t.Fatalf("%+v, %v", got, err)
		}
		again := w.mustLogin(t, home, "jo")
		if again.Cookie == v.Cookie || again.CSRF == v.CSRF || len(v.Cookie) != 43 || len(v.CSRF) != 43 {
			t.Error("a log-in reused a cookie or token, or they are too short")
		}
		if err := w.Logout(t.Context(), v.Cookie); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Session(t.Context(), v.Cookie); !errors.Is(err, ErrNoSession) {
			t.Errorf("after logging out: %v", err)
		}
		if _, err := w.Session(t.Context(), again.Cookie); err != nil {
			t.Errorf("the other session ended too: %v", err)
		}
		for _, cookie := range []string{"", "x", again.CSRF, strings.Repeat("A", 43), strings.Repeat("A", 5000)} {
			if _, err := w.Session(t.Context(), cookie); !errors.Is(err, ErrNoSession) {
				t.Errorf("cookie %.10q: %v", cookie, err)
			}
			if err := w.Logout(t.Context(), cookie); err != nil {
				t.Error(err)
			}
		}
		if err := w.LogoutUser(t.Context(), telephony.Actor{}, w.jo); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Session(t.Context(), again.Cookie); !errors.Is(err, ErrNoSession) {
			t.Errorf("after ending all: %v", err)
		}
	})
}

func TestNoDefaultPassword(t *testing.T) {
	t.Parallel()
	s, err := store.Open(t.Context(), t.TempDir(), store.Options{Snapshots: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l, err := New(t.Context(), Config{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, password := range []string{"admin", "", "password"} {
		if _, err := l.Login(t.Context(), home, "admin", password); !errors.Is(err, ErrWrong) {
			t.Errorf("admin/%s on a fresh system: %v", password, err)
		}
	}
}

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

func TestUnknownNameTakesAsLong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.close(t)
	w.hasher = newHasher(usualCost())
	hash, err := w.Hash(t.Context(), goodPassword)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.store.System().Update(t.Context(), telephony.Actor{}, func(tx *store.Tx) error { return tx.SetUserPassword(w.boss.ID, hash, false) })
	if err != nil {
		t.Fatal(err)
	}
	names := [3]string{"admin", "nobody", strings.Repeat("x", 5000)}
	var times [3][]time.Duration
	for n := range 9 { // by turns: the machine has other things to do
		for i, name := range names {
			began := time.Now()
			_, err := w.Login(t.Context(), netip.AddrFrom4([4]byte{203, 0, byte(i), byte(n)}), name, "wrong-password-1")
			times[i] = append(times[i], time.Since(began))
			if err != ErrWrong {
				t.Fatal(err)
			}
			w.locks.forgive(time.Now(), accountKey(name))
		}
	}
	var medians [3]time.Duration
	for i := range times {
		slices.Sort(times[i])
		medians[i] = times[i][len(times[i])/2]
	}
	t.Logf("known %v, unknown %v, absurd %v", medians[0], medians[1], medians[2])
	for _, m := range medians[1:] {
		// Without the work for unknown names the factor is far above ten.
		if m < medians[0]/3 || m > medians[0]*3 {
			t.Errorf("unknown names take %v, known ones %v", m, medians[0])
		}
	}
	if strings.Contains(w.log.String(), "xxxxxxxxxx") {
		t.Error("a name of any length goes to the log")
	}
}

func TestSessionTimes(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		alive := func(v Session) bool {
			t.Helper()
			_, err := w.Session(t.Context(), v.Cookie)
			if err != nil && !errors.Is(err, ErrNoSession) {
				t.Fatal(err)
			}
			return err == nil
		}
		began := time.Now()
		idle := w.mustLogin(t, home, "jo")
		busy := w.mustLogin(t, home, "admin")
		if !busy.Expires.Equal(began.Add(30 * time.Minute)) {
			t.Errorf("expires %v", busy.Expires)
		}
		for time.Since(began) < 12*time.Hour-10*time.Minute {
			time.Sleep(10 * time.Minute)
			if !alive(busy) {
				t.Fatalf("a session in use ended after %v", time.Since(began))
			}
			if d := time.Since(began); d >= 30*time.Minute && alive(idle) {
				t.Fatalf("an idle session lives after %v", d)
			}
		}
		if v, _ := w.Session(t.Context(), busy.Cookie); !v.Expires.Equal(began.Add(12 * time.Hour)) {
			t.Errorf("expires %v", v.Expires)
		}
		time.Sleep(10*time.Minute - time.Second)
		if !alive(busy) {
			t.Error("ended before its time")
		}
		time.Sleep(time.Second)
		if alive(busy) {
			t.Error("lives beyond its absolute end")
		}
		// A shorter limit holds for sessions that are there already.
		v := w.mustLogin(t, home, "jo")
		_, err := w.store.System().Update(t.Context(), telephony.Actor{}, func(tx *store.Tx) error {
			s := telephony.DefaultSettings()
			s.SessionIdle, s.SessionMax = time.Minute, time.Hour
			return tx.PutSettings(s)
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(61 * time.Second)
		if alive(v) {
			t.Error("the new idle limit does not hold")
		}
	})
}

func TestSessionSurvivesRestartAndDiesWithItsUser(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		v := w.mustLogin(t, home, "jo")
		w.close(t)
		w.open(t)
		got, err := w.Session(t.Context(), v.Cookie)
		if err != nil || got.User != w.jo {
			t.Fatalf("after a restart: %+v, %v", got, err)
		}
		_, err = w.store.ForTenant(w.jo.Tenant).Update(t.Context(), telephony.Actor{}, func(tx *store.Tx) error { return tx.DeleteUser(w.jo.ID) })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Session(t.Context(), v.Cookie); !errors.Is(err, ErrNoSession) {
			t.Errorf("outlives its user: %v", err)
		}
	})
}

func TestChangePassword(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		v := w.mustLogin(t, home, "jo")
		other := w.mustLogin(t, office, "jo")
		change := func(current, password string) error {
			_, err := w.ChangePassword(t.Context(), home, v, current, password)
			return err
		}
		if err := change("wrong-password-1", newPassword); !errors.Is(err, ErrWrong) {
			t.Errorf("wrong current password: %v", err)
		}
		for name, password := range map[string]string{
			"own name": "Josephine#82", "extension": "Kv#x101-mQ", "SIP password": sipPassword,
			"same": goodPassword, "weak": "kvb7mqzp", "domain": "Kv#7example!",
		} {
			if fe, ok := telephony.AsFieldError(change(goodPassword, password)); !ok || fe.Field != "password" {
				t.Errorf("%s: %v", name, fe)
			}
		}
		fresh, err := w.ChangePassword(t.Context(), home, v, goodPassword, newPassword)
		if err != nil {
			t.Fatal(err)
		}
		for name, cookie := range map[string]string{"own old": v.Cookie, "other": other.Cookie} {
			if _, err := w.Session(t.Context(), cookie); !errors.Is(err, ErrNoSession) {
				t.Errorf("%s session lives on: %v", name, err)
			}
		}
		if got, err := w.Session(t.Context(), fresh.Cookie); err != nil || got.User.MustChangePassword {
			t.Errorf("the new session: %+v, %v", got, err)
		}
		w.guess(t, office, "jo")
		if _, err := w.Login(t.Context(), office, "jo", goodPassword); !errors.Is(err, ErrWrong) {
			t.Errorf("the old password: %v", err)
		}
		if _, err := w.Login(t.Context(), office, "jo", newPassword); err != nil {
			t.Errorf("the new password: %v", err)
		}
		if _, err := w.Login(t.Context(), office, "jo", sipPassword); !errors.Is(err, ErrWrong) {
			t.Errorf("the SIP password logs in: %v", err)
		}
	})
}

func TestSetPassword(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		v := w.mustLogin(t, home, "jo")
		if err := w.SetPassword(t.Context(), telephony.Actor{Name: "admin"}, w.jo, "josephine", true); err == nil {
			t.Error("a weak password was set")
		}
		if err := w.SetPassword(t.Context(), telephony.Actor{Name: "admin"}, w.jo, newPassword, true); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Session(t.Context(), v.Cookie); !errors.Is(err, ErrNoSession) {
			t.Errorf("the old session lives on: %v", err)
		}
		got, err := w.Login(t.Context(), home, "jo", newPassword)
		if err != nil || !got.User.MustChangePassword {
			t.Fatalf("%+v, %v", got, err)
		}
		if got, err = w.ChangePassword(t.Context(), home, got, newPassword, goodPassword); err != nil || got.User.MustChangePassword {
			t.Errorf("%+v, %v", got, err)
		}
	})
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

// TestChangePasswordIsRateLimited: a stolen session cannot be used to guess.
func TestChangePasswordIsRateLimited(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		v := w.mustLogin(t, home, "jo")
		for range 5 {
			if _, err := w.ChangePassword(t.Context(), home, v, "wrong-password-1", newPassword); !errors.Is(err, ErrWrong) {
				t.Fatal(err)
			}
		}
		var be *BlockedError
		if _, err := w.ChangePassword(t.Context(), home, v, goodPassword, newPassword); !errors.As(err, &be) {
			t.Errorf("the sixth try: %v", err)
		}
	})
}

func TestLoginIsInTheHistory(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.mustLogin(t, home, "jo")
		entries, err := w.store.ForTenant(w.jo.Tenant).Audit(t.Context(), store.AuditFilter{Limit: 1})
		if err != nil || len(entries) != 1 || entries[0].Kind != "session.login" ||
			entries[0].Actor != (telephony.Actor{Kind: telephony.ActorUser, Name: "jo", Addr: home}) {
			t.Fatalf("%+v, %v", entries, err)
		}
		w.guess(t, home, "jo")
		if text := w.log.String(); strings.Contains(text, goodPassword) || strings.Contains(text, "wrong-password-1") || !strings.Contains(text, "log-in failed") {
			t.Errorf("log: %s", text)
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

func TestHasherIsBounded(t *testing.T) {
	t.Parallel()
	h := newHasher(usualCost())
	for range maxHashing {
		if err := h.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error, maxWaiting)
	for range maxWaiting {
		go func() { errs <- h.enter(ctx) }()
	}
	for len(h.waiting) < maxHashing+maxWaiting {
		time.Sleep(time.Millisecond)
	}
	if _, err := h.verify(t.Context(), "", "x"); !errors.Is(err, ErrBusy) {
		t.Errorf("beyond the queue: %v", err)
	}
	cancel()
	for range maxWaiting {
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled wait: %v", err)
		}
	}
	for range maxHashing {
		h.leave()
	}
	if len(h.waiting)+len(h.running) != 0 {
		t.Error("places are not given back")
	}
}

func TestHashes(t *testing.T) {
	t.Parallel()
	h := newHasher(usualCost())
	encoded, err := h.hash(t.Context(), "Kv7#mqu\u0308zp")
	if err != nil || !strings.HasPrefix(encoded, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatalf("%s, %v", encoded, err)
	}
	verify := func(encoded, password string) bool {
		t.Helper()
		ok, err := h.verify(t.Context(), encoded, password)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !verify(encoded, "Kv7#mq\u00fczp") {
		t.Error("the same password typed in other code points is refused")
	}
	if verify(encoded, "Kv7#mquzp") || verify(encoded, "") || verify("", "x") || verify("", "") || verify(encoded, strings.Repeat("x", 2000)) {
		t.Error("a wrong password is taken")
	}
	if again, _ := h.hash(t.Context(), "Kv7#mqu\u0308zp"); again == encoded {
		t.Error("two hashes of one password look equal")
	}
	for _, bad := range []string{
		"x", "$argon2id$", "$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5a2V5",
		"$argon2id$v=16$m=19456,t=2,p=1$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5a2V5",
		"$argon2id$v=19$m=4194304,t=2,p=1$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5a2V5",
		"$argon2id$v=19$m=19456,t=0,p=1$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5a2V5",
		"$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$YQ", "$argon2id$v=19$m=19456,t=2,p=1$!$a2V5a2V5a2V5a2V5a2V5a2V5",
	} {
		if ok, err := h.verify(t.Context(), bad, "x"); ok || err == nil {
			t.Errorf("%q: %v, %v", bad, ok, err)
		}
	}
}
