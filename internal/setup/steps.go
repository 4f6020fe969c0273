package setup

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// step runs one step as one commit. A wizard that is finished by then is gone.
func (w *Wizard) step(ctx context.Context, actor telephony.Actor, fn func(*store.Tx) error) error {
	_, err := w.cfg.Store.System().Update(ctx, actor, func(tx *store.Tx) error {
		s, err := tx.Settings()
		if err != nil {
			return err
		}
		if s.SetupDone {
			return ErrFinished
		}
		return fn(tx)
	})
	return err
}

// SaveAdministrator creates the administrator, or replaces the one this wizard
// created before.
func (w *Wizard) SaveAdministrator(ctx context.Context, actor telephony.Actor, a Administrator) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	u := telephony.User{
		Tenant: telephony.System, Role: telephony.RoleSystemAdmin,
		Name: strings.ToLower(a.Name), FirstName: a.FirstName, LastName: a.LastName, Email: a.Email,
	}
	if err := u.Validate(); err != nil {
		return err
	}
	about := []string{u.Name, u.FirstName, u.LastName, localPart(u.Email)}
	if t, ok := first(w.cfg.Store.Snapshot()); ok {
		about = append(about, t.Name, t.Domain)
	}
	if err := w.cfg.Passwords.Check(a.Password, about...); err != nil {
		return err
	}
	hash, err := w.cfg.Passwords.Hash(ctx, a.Password)
	if err != nil {
		return err
	}
	users, err := w.cfg.Store.System().Users(ctx)
	if err != nil {
		return err
	}
	return w.step(ctx, actor, func(tx *store.Tx) error {
		if len(users) == 0 {
			_, err := tx.CreateUser(u, hash)
			return err
		}
		u.ID = users[0].ID
		if err := tx.PutUser(u); err != nil {
			return err
		}
		return tx.SetUserPassword(u.ID, hash, false)
	})
}

func localPart(email string) string {
	local, _, _ := strings.Cut(email, "@")
	return local
}

// SaveTenant creates the first tenant, or changes it.
func (w *Wizard) SaveTenant(ctx context.Context, actor telephony.Actor, v Tenant) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := telephony.Tenant{Name: v.Name, Domain: strings.ToLower(v.Domain), ExtensionFirst: v.ExtensionFirst, ExtensionLast: v.ExtensionLast}
	return w.step(ctx, actor, func(tx *store.Tx) error {
		if have, ok := first(w.cfg.Store.Snapshot()); ok {
			t.ID = have.ID
			return tx.PutTenant(t)
		}
		_, err := tx.CreateTenant(t)
		return err
	})
}

// Credentials are what a phone needs to register.
type Credentials struct {
	Number, DisplayName, Password, Domain string
}

// SaveExtensions makes sure the wanted extensions exist and returns them with
// their passwords. Those that exist keep theirs, so that a request whose
// answer was lost can be sent again.
func (w *Wizard) SaveExtensions(ctx context.Context, actor telephony.Actor, wanted []Extension) ([]Credentials, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(wanted) > MaxExtensions {
		return nil, &telephony.FieldError{Field: "extensions", Reason: fmt.Sprintf("are more than %d", MaxExtensions)}
	}
	t, ok := first(w.cfg.Store.Snapshot())
	if !ok {
		return nil, fmt.Errorf("%w: save the tenant", ErrOrder)
	}
	made := make(map[string]string) // passwords of new extensions
	err := w.step(ctx, actor, func(tx *store.Tx) error {
		tx, err := tx.ForTenant(t.ID)
		if err != nil {
			return err
		}
		for i, e := range wanted {
			if err := w.saveExtension(tx, e, made); err != nil {
				return at(err, "extensions["+strconv.Itoa(i)+"]")
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return w.credentials(ctx, actor, t, wanted, made)
}

// at moves a field error into a list.
func at(err error, where string) error {
	if fe, ok := telephony.AsFieldError(err); ok {
		return &telephony.FieldError{Field: where + "." + fe.Field, Reason: fe.Reason}
	}
	return err
}

func (w *Wizard) saveExtension(tx *store.Tx, e Extension, made map[string]string) error {
	have, err := tx.Extension(e.Number)
	if err == nil {
		if e.DisplayName == "" {
			return nil
		}
		have.DisplayName = e.DisplayName
		return tx.PutExtension(have)
	}
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	password := e.SIPPassword
	if password == "" {
		password = w.cfg.Passwords.Generate()
	}
	if _, err := tx.CreateExtension(telephony.Extension{Number: e.Number, DisplayName: e.DisplayName}, password); err != nil {
		return err
	}
	made[e.Number] = password
	return nil
}

func (w *Wizard) credentials(ctx context.Context, actor telephony.Actor, t telephony.Tenant, wanted []Extension, made map[string]string) ([]Credentials, error) {
	snap := w.cfg.Store.Snapshot()
	out := make([]Credentials, 0, len(wanted))
	for _, x := range wanted {
		e, ok := snap.Extension(t.ID, x.Number)
		if !ok {
			return nil, fmt.Errorf("reading extension %s back: %w", x.Number, store.ErrNotFound)
		}
		password, isNew := made[x.Number]
		if !isNew {
			var err error
			if password, err = w.cfg.Store.ForTenant(t.ID).SIPPassword(ctx, actor, x.Number); err != nil {
				return nil, err
			}
		}
		out = append(out, Credentials{Number: e.Number, DisplayName: e.DisplayName, Password: password, Domain: t.Domain})
	}
	return out, nil
}

// Count lists the first n numbers of the tenant's range.
func (w *Wizard) Count(n int) ([]Extension, error) {
	t, ok := first(w.cfg.Store.Snapshot())
	if !ok {
		return nil, fmt.Errorf("%w: save the tenant", ErrOrder)
	}
	from, err := strconv.ParseInt(t.ExtensionFirst, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("reading the extension range: %w", err)
	}
	last, err := strconv.ParseInt(t.ExtensionLast, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("reading the extension range: %w", err)
	}
	if n < 1 || n > MaxExtensions || int64(n) > last-from+1 {
		return nil, &telephony.FieldError{Field: "count", Reason: fmt.Sprintf("must be between 1 and %d", min(MaxExtensions, last-from+1))}
	}
	out := make([]Extension, n)
	for i := range out {
		out[i].Number = fmt.Sprintf("%0*d", len(t.ExtensionFirst), from+int64(i))
	}
	return out, nil
}

// Finish closes the wizard for ever and returns the administrator. host is the
// name the wizard was opened by (with or without port); the portal goes on
// answering to it.
func (w *Wizard) Finish(ctx context.Context, actor telephony.Actor, host string) (telephony.User, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	state, err := w.State(ctx)
	if err != nil {
		return telephony.User{}, err
	}
	for _, s := range []struct {
		done bool
		name string
	}{{state.Administrator, "administrator"}, {state.Tenant, "tenant"}, {state.Extensions, "extensions"}} {
		if !s.done {
			return telephony.User{}, fmt.Errorf("%w: %s", ErrOrder, s.name)
		}
	}
	users, err := w.cfg.Store.System().Users(ctx)
	if err != nil {
		return telephony.User{}, err
	}
	err = w.step(ctx, actor, func(tx *store.Tx) error {
		s, err := tx.Settings()
		if err != nil {
			return err
		}
		s.SetupDone = true
		if name := dnsName(host); name != "" && !slices.Contains(s.WebNames, name) {
			s.WebNames = append(slices.Clone(s.WebNames), name)
		}
		return tx.PutSettings(s)
	})
	if err != nil {
		return telephony.User{}, err
	}
	w.token.set(draw()) // what was printed is worthless from now on
	w.cfg.Logger.Info("set-up finished", "by", actor.Addr.String())
	return users[0], nil
}

// dnsName is the name in a Host header, or "" for an address or nonsense.
func dnsName(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil || telephony.CheckDomain("host", name) != nil {
		return ""
	}
	return name
}
