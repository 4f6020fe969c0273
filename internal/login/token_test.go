package login

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

func TestTokens(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		by := telephony.Actor{Kind: telephony.ActorUser, Name: "jo"}
		secret, made, err := w.CreateToken(t.Context(), by, w.jo, TokenSpec{Name: "backup", Sources: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/31")}, Expires: time.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		got, u, err := w.Token(t.Context(), home, secret)
		if err != nil || u != w.jo || got.Name != "backup" || !strings.HasPrefix(secret, tokenPrefix) {
			t.Fatalf("%+v, %+v, %v", got, u, err)
		}
		list, err := w.Tokens(t.Context(), w.jo)
		if err != nil || len(list) != 1 || !list[0].Used.Equal(time.Now()) || list[0].UsedFrom != home {
			t.Errorf("last use: %+v, %v", list, err)
		}
		for name, bad := range map[string]string{"nothing": "", "prefix alone": tokenPrefix, "other's": tokenPrefix + strings.Repeat("A", 43), "without prefix": secret[len(tokenPrefix):], "more": secret + "A", "a cookie": w.mustLogin(t, home, "jo").Cookie} {
			if _, _, err := w.Token(t.Context(), home, bad); !errors.Is(err, ErrNoToken) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := w.Session(t.Context(), secret[len(tokenPrefix):]); !errors.Is(err, ErrNoSession) {
			t.Errorf("as a cookie: %v", err)
		}
		if _, _, err := w.Token(t.Context(), office, secret); !errors.Is(err, ErrNoToken) {
			t.Errorf("from elsewhere: %v", err)
		}
		if err := w.SetPassword(t.Context(), by, w.jo, newPassword, true); err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.Token(t.Context(), home, secret); !errors.Is(err, ErrNoToken) {
			t.Errorf("while the password must be changed: %v", err)
		}
		if err := w.SetPassword(t.Context(), by, w.jo, goodPassword, false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if _, _, err := w.Token(t.Context(), home, secret); !errors.Is(err, ErrNoToken) {
			t.Errorf("past its end: %v", err)
		}
		if err := w.DeleteToken(t.Context(), by, w.boss, made.ID); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("deleted through another user: %v", err)
		}
		if err := w.DeleteToken(t.Context(), by, w.jo, made.ID); err != nil {
			t.Error(err)
		}
		if strings.Contains(w.log.String(), secret) {
			t.Error("the token stands in the log")
		}
	})
}

func TestTokensAreChecked(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		by := telephony.Actor{Kind: telephony.ActorUser, Name: "jo"}
		for field, v := range map[string]TokenSpec{
			"name": {Name: " "}, "expires_at": {Name: "x", Expires: time.Now()}, "permissions": {Name: "x", Permissions: []telephony.Permission{"all"}},
			"sources": {Name: "x", Sources: make([]netip.Prefix, 65)},
		} {
			_, _, err := w.CreateToken(t.Context(), by, w.jo, v)
			if fe, ok := telephony.AsFieldError(err); !ok || fe.Field != field {
				t.Errorf("%s: %v", field, err)
			}
		}
		for i := range store.MaxTokensPerUser {
			if _, _, err := w.CreateToken(t.Context(), by, w.jo, TokenSpec{Name: strings.Repeat("x", i+1)}); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := w.CreateToken(t.Context(), by, w.jo, TokenSpec{Name: "more"}); err == nil {
			t.Error("tokens have no bound")
		}
		if _, _, err := w.CreateToken(t.Context(), by, w.boss, TokenSpec{Name: "x"}); err != nil {
			t.Error(err)
		}
		if _, _, err := w.CreateToken(t.Context(), by, w.boss, TokenSpec{Name: "x"}); !errors.Is(err, store.ErrExists) {
			t.Errorf("a second one of that name: %v", err)
		}
	})
}

func TestInvites(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		invite := func() string {
			t.Helper()
			secret, until, err := w.Invite(t.Context(), telephony.Actor{}, w.jo)
			if err != nil || !until.Equal(time.Now().Add(InviteFor)) {
				t.Fatalf("%v, %v", until, err)
			}
			return secret
		}
		first := invite()
		second := invite()
		if _, err := w.Invited(t.Context(), first); !errors.Is(err, ErrNoInvite) {
			t.Errorf("an older link: %v", err)
		}
		if u, err := w.Invited(t.Context(), second); err != nil || u != w.jo {
			t.Errorf("%+v, %v", u, err)
		}
		before := w.mustLogin(t, home, "jo") // the password of before holds until then
		if _, err := w.AcceptInvite(t.Context(), office, second, "Josephine#82"); err == nil {
			t.Error("the policy does not apply")
		}
		v, err := w.AcceptInvite(t.Context(), office, second, newPassword)
		if err != nil || v.User.MustChangePassword {
			t.Fatalf("%+v, %v", v, err)
		}
		if _, err := w.Session(t.Context(), v.Cookie); err != nil {
			t.Error(err)
		}
		if _, err := w.Session(t.Context(), before.Cookie); !errors.Is(err, ErrNoSession) {
			t.Errorf("a session of before: %v", err)
		}
		if _, err := w.AcceptInvite(t.Context(), office, second, goodPassword); !errors.Is(err, ErrNoInvite) {
			t.Errorf("used twice: %v", err)
		}
		late := invite()
		time.Sleep(InviteFor)
		if _, err := w.AcceptInvite(t.Context(), office, late, goodPassword); !errors.Is(err, ErrNoInvite) {
			t.Errorf("too late: %v", err)
		}
		void := invite()
		if err := w.SetPassword(t.Context(), telephony.Actor{}, w.jo, goodPassword, false); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Invited(t.Context(), void); !errors.Is(err, ErrNoInvite) {
			t.Errorf("after the password was set otherwise: %v", err)
		}
		// A link that came by mail is no second factor.
		w.enrol(t, w.mustLogin(t, home, "jo"))
		if v, err := w.AcceptInvite(t.Context(), office, invite(), newPassword); err != nil || !v.Owed {
			t.Errorf("%+v, %v", v, err)
		}
	})
}

// TestUsersWithoutPassword: who was invited and has set none cannot log in, by
// any password.
func TestUsersWithoutPassword(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		_, err := w.store.ForTenant(w.jo.Tenant).Update(t.Context(), telephony.Actor{}, func(tx *store.Tx) error {
			_, err := tx.CreateUser(telephony.User{Name: "new", Role: telephony.RoleStandard}, "")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, password := range []string{"", "x", goodPassword} {
			if _, err := w.Login(t.Context(), home, "new", password); !errors.Is(err, ErrWrong) {
				t.Errorf("%q: %v", password, err)
			}
		}
	})
}
