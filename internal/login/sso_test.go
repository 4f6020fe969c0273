package login

import (
	"errors"
	"testing"

	"ringfence/internal/sso"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

const issuer = "https://id.example.org"

func (w *world) provider(t *testing.T, change func(*telephony.SSO)) {
	t.Helper()
	v := telephony.SSO{Enabled: true, Issuer: issuer, ClientID: "ringfence", Domains: []string{"example.org"}}
	change(&v)
	_, err := w.store.ForTenant(w.jo.Tenant).Update(t.Context(), telephony.Actor{}, func(tx *store.Tx) error { return tx.PutSSO(v, "the secret") })
	if err != nil {
		t.Fatal(err)
	}
}

func TestLoginByProvider(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		in := w.store.ForTenant(w.jo.Tenant)
		jo := w.jo
		jo.Email = "Jo@example.org"
		_, err := in.Update(t.Context(), telephony.Actor{}, func(tx *store.Tx) error {
			_, err := tx.CreateUser(telephony.User{Name: "chief", Role: telephony.RoleAdmin, Email: "chief@example.org"}, "")
			return errors.Join(err, tx.PutUser(jo))
		})
		if err != nil {
			t.Fatal(err)
		}
		id := sso.Identity{Tenant: jo.Tenant, Issuer: issuer, Subject: "1", Email: "jo@EXAMPLE.org"}
		stranger := func(what string, id sso.Identity) {
			t.Helper()
			if v, err := w.LoginBy(t.Context(), home, id); !errors.Is(err, ErrStranger) {
				t.Errorf("%s: %+v, %v", what, v.User, err)
			}
		}
		stranger("no provider is set", id)
		w.provider(t, func(v *telephony.SSO) { v.Enabled = false })
		stranger("it is off", id)
		w.provider(t, func(*telephony.SSO) {})
		v, err := w.LoginBy(t.Context(), home, id)
		if err != nil || v.User.Name != "jo" {
			t.Fatalf("%+v, %v", v, err)
		}
		// From now on the subject counts, whatever the address.
		moved := id
		moved.Email = ""
		if v, err := w.LoginBy(t.Context(), home, moved); err != nil || v.User.Name != "jo" {
			t.Errorf("%+v, %v", v, err)
		}
		with := func(change func(*sso.Identity)) sso.Identity {
			other := sso.Identity{Tenant: jo.Tenant, Issuer: issuer, Subject: "2", Email: "new@example.org", GivenName: "New\x00"}
			change(&other)
			return other
		}
		stranger("another subject with a linked user's address", with(func(v *sso.Identity) { v.Email = "jo@example.org" }))
		stranger("an address of nobody", with(func(*sso.Identity) {}))
		stranger("an administrator's address", with(func(v *sso.Identity) { v.Email = "chief@example.org" }))
		stranger("another issuer", with(func(v *sso.Identity) { v.Issuer, v.Subject = "https://other.example", "1" }))
		stranger("another tenant", with(func(v *sso.Identity) { v.Tenant = 99 }))
		w.provider(t, func(v *telephony.SSO) { v.CreateUsers = true })
		for _, address := range []string{"", "new@other.example", "new@example.org.evil.example", "@example.org", "new@sub.example.org"} {
			stranger("address "+address, with(func(v *sso.Identity) { v.Email = address }))
		}
		stranger("an administrator's address, users are made", with(func(v *sso.Identity) { v.Email = "chief@example.org" }))
		v, err = w.LoginBy(t.Context(), home, with(func(*sso.Identity) {}))
		if err != nil || v.User.Role != telephony.RoleStandard || v.User.Name != "new@example.org" || v.User.FirstName != "" {
			t.Errorf("%+v, %v", v.User, err)
		}
		if _, err := w.Login(t.Context(), home, "new@example.org", ""); !errors.Is(err, ErrWrong) {
			t.Errorf("with an empty password: %v", err)
		}
		// The own second factor is asked for as ever.
		again := w.mustLogin(t, home, "jo")
		w.enrol(t, again)
		if v, err := w.LoginBy(t.Context(), home, id); err != nil || !v.Owed {
			t.Errorf("%+v, %v", v, err)
		}
	})
}

// TestProviderSecret is sealed, kept while the issuer stays, and asked for anew
// for another.
func TestProviderSecret(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.provider(t, func(*telephony.SSO) {})
		in := w.store.ForTenant(w.jo.Tenant)
		put := func(v telephony.SSO) error {
			_, err := in.Update(t.Context(), telephony.Actor{}, func(tx *store.Tx) error { return tx.PutSSO(v, "") })
			return err
		}
		v, secret, err := in.SSO(t.Context())
		if err != nil || secret != "the secret" {
			t.Fatalf("%q, %v", secret, err)
		}
		v.Label = "Our sign-in"
		if err := put(v); err != nil {
			t.Fatal(err)
		}
		if _, secret, err = in.SSO(t.Context()); err != nil || secret != "the secret" {
			t.Errorf("%q, %v", secret, err)
		}
		v.Issuer = "https://other.example"
		if fe, ok := telephony.AsFieldError(put(v)); !ok || fe.Field != "client_secret" {
			t.Errorf("the secret goes to another issuer: %v", fe)
		}
		for field, change := range map[string]func(*telephony.SSO){
			"issuer": func(v *telephony.SSO) { v.Issuer = "http://id.example.org" }, "client_id": func(v *telephony.SSO) { v.ClientID = "" },
			"domains": func(v *telephony.SSO) { v.Domains = nil }, "label": func(v *telephony.SSO) { v.Label = "x\x00" },
		} {
			bad := v
			change(&bad)
			if fe, ok := telephony.AsFieldError(put(bad)); !ok || fe.Field != field {
				t.Errorf("%s: %v", field, fe)
			}
		}
	})
}
