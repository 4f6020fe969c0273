package login

import (
	"strings"
	"testing"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// TestListedPasswords: the list applies in every mode.
func TestListedPasswords(t *testing.T) {
	t.Parallel()
	const most, two = "most often", "two of the passwords"
	lax := Policy{Mode: telephony.PasswordRules, Min: 6, Max: 128}
	for _, x := range []struct{ password, want string }{
		{"trustno1", most},
		{"TrustNo1", most},
		{"marianne", most},
		{"Marianne#82", most},   // signs and figures around it
		{"m4r14nn3", most},      // figures for letters
		{"kvmqzprwt", fine},     // on no list
		{"marianneclaude", two}, // 14 characters of two names
		{"sunshinetrustno1", two},
		{"wolkig mit zitronen", fine},
		{"correct horse battery staple", fine},
		{strings.Repeat("wolkig ", 40), fine}, // longer than anything listed
	} {
		err := CheckPassword(Policy{Mode: lax.Mode, Min: 6, Max: 400}, x.password, nil)
		switch {
		case x.want == fine && err != nil:
			t.Errorf("%q: %v", x.password, err)
		case x.want != fine && (err == nil || !strings.Contains(err.Error(), "blocklist")):
			t.Errorf("%q: %v, want %q", x.password, err, x.want)
		}
	}
}

// TestNISTPasswords: length, the list and the own names; no composition rules.
func TestNISTPasswords(t *testing.T) {
	t.Parallel()
	nist := telephony.NISTPasswordPolicy()
	forced := nist // fields that do not count in this mode
	forced.Letter, forced.Digit, forced.UpperOrSpecial, forced.NoSequence, forced.NoRepeat = true, true, true, true, true
	for _, p := range []Policy{nist, forced} {
		for _, x := range []struct{ password, want string }{
			{"wolkig zitrone", "fewer than 15"},
			{"wolkig zitronen", fine},
			{"погода сегодня ясная", fine}, // no Latin letter, no digit
			{"82046135 82046135x", fine},
			{"wolkig 12345 zitronen", fine}, // a sequence
			{"wolkig mmm zitronen", fine},   // a repetition
			{strings.Repeat("wolkig zitronen ", 8), fine},
			{strings.Repeat("wolkig zitronen ", 8) + "x", "more than 128"},
			{"passwordpasswordpassword", "blocklist"},
			{"qwertyuiopasdfghjkl", "blocklist"},
			{"abababababababab", "blocklist"},
			{"password123456789", "blocklist"},
			{"wolkig anna zitronen", "account's own"},
		} {
			err := CheckPassword(p, x.password, annaLee)
			if x.want == fine && err != nil || x.want != fine && (err == nil || !strings.Contains(err.Error(), x.want)) {
				t.Errorf("%q: %v, want %q", x.password, err, x.want)
			}
		}
	}
}

// TestPolicyOfATenant: each tenant has its own, the box another, and only new
// passwords are judged (A16).
func TestPolicyOfATenant(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		const long = "wolkig mit zitronen und gurken"
		put := func(sc store.Scope, p Policy) {
			t.Helper()
			_, err := sc.Update(t.Context(), telephony.Actor{}, func(tx *store.Tx) error {
				return tx.PutSignIn(telephony.SignIn{Passwords: p, SecondFactor: telephony.SecondFactorOptional})
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		put(w.store.ForTenant(w.jo.Tenant), telephony.NISTPasswordPolicy())
		if err := w.CheckFor(w.jo, newPassword); err == nil || !strings.Contains(err.Error(), "fewer than 15") {
			t.Errorf("short one under the new policy: %v", err)
		}
		if err := w.CheckFor(w.jo, long); err != nil {
			t.Errorf("long one under the new policy: %v", err)
		}
		if err := w.CheckFor(w.boss, long); err == nil {
			t.Error("the policy of a tenant applies to the box's administrator")
		}
		// The old password does not keep to the new policy and still opens.
		v := w.mustLogin(t, home, "jo")
		if _, err := w.ChangePassword(t.Context(), home, v, goodPassword, newPassword); err == nil {
			t.Error("a change to a password that breaks the new policy went through")
		}
		if _, err := w.ChangePassword(t.Context(), home, v, goodPassword, long); err != nil {
			t.Error(err)
		}
		six := DefaultPolicy()
		six.Min, six.UpperOrSpecial = 6, false
		put(w.store.System(), six)
		if err := w.CheckFor(w.boss, "kvb7mq"); err != nil {
			t.Errorf("under the box's own policy: %v", err)
		}
		if w.Check("kvb7mq") != nil || w.CheckFor(w.jo, "kvb7mq") == nil {
			t.Error("the box's policy is not the box's alone")
		}
		// It is what the database holds, not only what memory does.
		w.close(t)
		w.open(t)
		if w.Policy(w.jo.Tenant) != telephony.NISTPasswordPolicy() || w.Policy(telephony.System) != six || w.Policy(99) != DefaultPolicy() {
			t.Error("policies are not those of before the restart")
		}
	})
}

// TestSIPPasswordsKeepToThePolicy: the same policy judges both (A16), and the
// two of one person differ (A12).
func TestSIPPasswordsKeepToThePolicy(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		e, ok := w.store.Snapshot().Extension(w.jo.Tenant, "101")
		if !ok {
			t.Fatal("no extension")
		}
		for password, want := range map[string]string{
			sipPassword: "", "short7#": "fewer than 8", "Kv7#m101zp": "account's own", "Kv7#example": "account's own",
			goodPassword: "must differ", "Password1": "blocklist",
		} {
			err := w.CheckSIPPassword(t.Context(), e, password)
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%q: %v, want %q", password, err, want)
			}
		}
	})
}
