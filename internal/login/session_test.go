package login

import (
	"errors"
	"testing"
	"time"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

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
