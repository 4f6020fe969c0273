package login

import (
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
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
