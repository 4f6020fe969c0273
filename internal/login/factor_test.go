package login

import (
	"encoding/base32"
	"errors"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
	"ringfence/internal/totp"
)

// app is an authenticator app.
type app struct{ secret []byte }

func (a app) code(off int64) string { return totp.Code(a.secret, totp.StepAt(time.Now())+off) }

// enrol sets a second factor up for the user of a session.
func (w *world) enrol(t *testing.T, v Session) (app, []string) {
	t.Helper()
	e, err := w.BeginTOTP(t.Context(), home, v, goodPassword)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(e.URI)
	if err != nil || u.Query().Get("secret") != e.Secret {
		t.Fatalf("%s, %v", e.URI, err)
	}
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(e.Secret)
	if err != nil {
		t.Fatal(err)
	}
	codes, err := w.ConfirmTOTP(t.Context(), home, v, app{secret}.code(0))
	if err != nil {
		t.Fatal(err)
	}
	return app{secret}, codes
}

func TestLoginInTwoSteps(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		v, other := w.mustLogin(t, home, "jo"), w.mustLogin(t, office, "jo")
		a, codes := w.enrol(t, v)
		if _, err := w.Session(t.Context(), v.Cookie); err != nil {
			t.Errorf("the session that set it up: %v", err)
		}
		if _, err := w.Session(t.Context(), other.Cookie); !errors.Is(err, ErrNoSession) {
			t.Errorf("a session on the password alone goes on: %v", err)
		}
		if len(codes) != recoveryCodes {
			t.Errorf("%d recovery codes", len(codes))
		}
		half := w.mustLogin(t, office, "jo")
		if got, err := w.Session(t.Context(), half.Cookie); err != nil || !half.Owed || !got.Owed {
			t.Fatalf("with the password alone: %+v, %v", got, err)
		}
		// The code that confirmed was used.
		if _, err := w.SecondFactor(t.Context(), office, half, a.code(0)); !errors.Is(err, ErrWrong) {
			t.Errorf("a used code: %v", err)
		}
		full, err := w.SecondFactor(t.Context(), office, half, a.code(1))
		if err != nil || full.Owed || full.Cookie == half.Cookie || full.CSRF == half.CSRF {
			t.Fatalf("%+v, %v", full, err)
		}
		if _, err := w.Session(t.Context(), half.Cookie); !errors.Is(err, ErrNoSession) {
			t.Errorf("the half session lives on: %v", err)
		}
		if _, err := w.SecondFactor(t.Context(), office, full, a.code(2)); !errors.Is(err, ErrNoSession) {
			t.Errorf("a session that owes nothing pays: %v", err)
		}
		// Each recovery code opens once, however it is typed.
		typed := strings.ToUpper(strings.ReplaceAll(codes[3], "-", " "))
		for i, want := range []error{nil, ErrWrong} {
			if _, err := w.SecondFactor(t.Context(), office, w.mustLogin(t, office, "jo"), typed); !errors.Is(err, want) {
				t.Errorf("recovery code, time %d: %v", i+1, err)
			}
		}
		if n, err := w.RecoveryCodes(t.Context(), w.jo); n != recoveryCodes-1 || err != nil {
			t.Errorf("%d recovery codes left, %v", n, err)
		}
		// Half a log-in ends by itself.
		half = w.mustLogin(t, office, "jo")
		time.Sleep(owedFor)
		if _, err := w.Session(t.Context(), half.Cookie); !errors.Is(err, ErrNoSession) {
			t.Errorf("after %v: %v", owedFor, err)
		}
		for _, secret := range append(codes, totp.Text(a.secret)) {
			if strings.Contains(w.log.String(), secret) {
				t.Error("a secret stands in the log")
			}
		}
	})
}

// TestTOTPSurvivesRestart: the secret comes back from its sealed form, and a
// code that was used stays used.
func TestTOTPSurvivesRestart(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, _ := w.enrol(t, w.mustLogin(t, home, "jo"))
		w.close(t)
		w.open(t)
		half := w.mustLogin(t, home, "jo")
		if _, err := w.SecondFactor(t.Context(), home, half, a.code(0)); !errors.Is(err, ErrWrong) {
			t.Errorf("the used code: %v", err)
		}
		if _, err := w.SecondFactor(t.Context(), home, half, a.code(1)); err != nil {
			t.Error(err)
		}
	})
}

// TestGuessesAtTheSecondFactorCount: the right password takes back no failure
// of the second factor, so that both together have the tries of one log-in.
func TestGuessesAtTheSecondFactorCount(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, _ := w.enrol(t, w.mustLogin(t, home, "jo"))
		thief := netip.MustParseAddr("203.0.113.9")
		for i := range 5 {
			half := w.mustLogin(t, thief, "jo") // knows the password
			if _, err := w.SecondFactor(t.Context(), thief, half, "000000"); !errors.Is(err, ErrWrong) {
				t.Fatalf("guess %d: %v", i, err)
			}
		}
		w.blocked(t, thief, "jo", true)
		// From elsewhere the account waits; not where the user is logged in.
		w.blocked(t, netip.MustParseAddr("203.0.113.10"), "jo", false)
		half := w.mustLogin(t, home, "jo")
		if _, err := w.SecondFactor(t.Context(), home, half, a.code(1)); err != nil {
			t.Errorf("the user at home: %v", err)
		}
	})
}

// TestHalfSessionsMakeNoSourceKnown: nor do they end sessions of the user.
func TestHalfSessionsMakeNoSourceKnown(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		v := w.mustLogin(t, home, "jo")
		w.enrol(t, v)
		for range store.MaxSessionsPerUser + 5 {
			w.mustLogin(t, office, "jo")
		}
		if _, err := w.Session(t.Context(), v.Cookie); err != nil {
			t.Errorf("the user's session: %v", err)
		}
		if known, err := w.knows(t.Context(), office, w.jo); known || err != nil {
			t.Errorf("half a log-in makes its source known: %v", err)
		}
		list, err := w.Sessions(t.Context(), w.jo, v)
		if err != nil || len(list) != 1 || !list[0].Own {
			t.Errorf("listed: %+v, %v", list, err)
		}
	})
}

func TestSettingUpTheSecondFactor(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		v := w.mustLogin(t, home, "jo")
		if _, err := w.BeginTOTP(t.Context(), home, v, "wrong-password-1"); !errors.Is(err, ErrWrong) {
			t.Errorf("without the password: %v", err)
		}
		e, err := w.BeginTOTP(t.Context(), home, v, goodPassword)
		if err != nil {
			t.Fatal(err)
		}
		secret, _ := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(e.Secret)
		a := app{secret}
		// Not in force before it is confirmed.
		if again := w.mustLogin(t, home, "jo"); again.Owed {
			t.Error("a code is asked for that no app was shown to have")
		}
		for code, want := range map[string]string{"000000": "is not the code", a.code(-10): "300 seconds away", "": "is not the code"} {
			_, err := w.ConfirmTOTP(t.Context(), home, v, code)
			if fe, ok := telephony.AsFieldError(err); !ok || fe.Field != "code" || !strings.Contains(fe.Reason, want) {
				t.Errorf("%q: %v, want %q", code, err, want)
			}
		}
		if _, err := w.ConfirmTOTP(t.Context(), home, v, a.code(0)); err != nil {
			t.Fatal(err)
		}
		if _, err := w.BeginTOTP(t.Context(), home, v, goodPassword); !errors.Is(err, store.ErrExists) {
			t.Errorf("a second one: %v", err)
		}
		if _, err := w.ConfirmTOTP(t.Context(), home, v, a.code(1)); !errors.Is(err, store.ErrExists) {
			t.Errorf("confirmed twice: %v", err)
		}
		fresh, err := w.RenewRecoveryCodes(t.Context(), home, v, goodPassword)
		if err != nil || len(fresh) != recoveryCodes {
			t.Errorf("%d codes, %v", len(fresh), err)
		}
		if err := w.DisableTOTP(t.Context(), home, v, goodPassword); err != nil {
			t.Fatal(err)
		}
		if again := w.mustLogin(t, home, "jo"); again.Owed {
			t.Error("a code is asked for after it was taken off")
		}
	})
}

func TestRequiredSecondFactor(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		rules := telephony.DefaultSignIn()
		for want, sc := range map[telephony.SecondFactor]store.Scope{telephony.SecondFactorEverybody: w.store.ForTenant(w.jo.Tenant), telephony.SecondFactorAdministrators: w.store.System()} {
			rules.SecondFactor = want
			if _, err := sc.Update(t.Context(), telephony.Actor{}, func(tx *store.Tx) error { return tx.PutSignIn(rules) }); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"jo", "admin"} {
			v := w.mustLogin(t, home, name)
			if got, err := w.Session(t.Context(), v.Cookie); err != nil || !v.MustEnrol || !got.MustEnrol {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
			w.enrol(t, v)
			if got, err := w.Session(t.Context(), v.Cookie); err != nil || got.MustEnrol {
				t.Errorf("%s, set up: %+v, %v", name, got, err)
			}
		}
		// An administrator helps who lost the phone.
		v := w.mustLogin(t, home, "jo")
		if err := w.ResetSecondFactor(t.Context(), telephony.Actor{}, w.jo); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Session(t.Context(), v.Cookie); !errors.Is(err, ErrNoSession) {
			t.Errorf("a session from before the reset: %v", err)
		}
		if v := w.mustLogin(t, home, "jo"); v.Owed || !v.MustEnrol {
			t.Errorf("after the reset: %+v", v)
		}
	})
}

func TestSessionsAreListedAndEnded(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		mine, other, third := w.mustLogin(t, home, "jo"), w.mustLogin(t, office, "jo"), w.mustLogin(t, office, "jo")
		boss := w.mustLogin(t, home, "admin")
		if err := w.Describe(t.Context(), other, "Browser/1"); err != nil {
			t.Fatal(err)
		}
		find := func() (KnownSession, int) {
			t.Helper()
			list, err := w.Sessions(t.Context(), w.jo, mine)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range list {
				if v.Agent == "Browser/1" {
					return v, len(list)
				}
			}
			return KnownSession{}, len(list)
		}
		v, n := find()
		if n != 3 || v.Own || v.Addr != office || strings.Contains(other.Cookie, v.ID) {
			t.Fatalf("%d, %+v", n, v)
		}
		if err := w.EndSession(t.Context(), telephony.Actor{}, w.boss, v.ID); !errors.Is(err, ErrNoSession) {
			t.Errorf("through another user: %v", err)
		}
		for _, id := range []string{"", "zz", v.ID + "00", v.ID[:14], strings.Repeat("0", 16)} {
			if err := w.EndSession(t.Context(), telephony.Actor{}, w.jo, id); !errors.Is(err, ErrNoSession) {
				t.Errorf("%q: %v", id, err)
			}
		}
		if err := w.EndSession(t.Context(), telephony.Actor{}, w.jo, v.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Session(t.Context(), other.Cookie); !errors.Is(err, ErrNoSession) {
			t.Errorf("the ended one: %v", err)
		}
		if err := w.EndOthers(t.Context(), telephony.Actor{}, mine); err != nil {
			t.Fatal(err)
		}
		for cookie, want := range map[string]error{mine.Cookie: nil, third.Cookie: ErrNoSession, boss.Cookie: nil} {
			if _, err := w.Session(t.Context(), cookie); !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
		}
	})
}
