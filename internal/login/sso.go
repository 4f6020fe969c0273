package login

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"ringfence/internal/sso"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// ErrStranger says that a provider vouches for somebody who is no user here,
// and is not to become one.
var ErrStranger = errors.New("the provider's account belongs to no user here")

// LoginBy starts a session for whom a provider vouches. Who was linked before
// is known by the subject. Else the address that the provider has verified
// counts, if the provider speaks for its domain: it links the one user who has
// it, or makes one with the role standard where that is wanted. Nobody becomes
// an administrator that way, and no administrator is linked by an address
// alone: who runs the provider would be one.
func (s *Service) LoginBy(ctx context.Context, addr netip.Addr, id sso.Identity) (Session, error) {
	conf, _, err := s.store.ForTenant(id.Tenant).SSO(ctx)
	if err != nil || !conf.Enabled || conf.Issuer != id.Issuer {
		return Session{}, errors.Join(ErrStranger, err)
	}
	actor := telephony.Actor{Kind: telephony.ActorUser, Name: id.Email, Addr: addr}
	var u telephony.User
	_, err = s.store.ForTenant(id.Tenant).Update(ctx, actor, func(tx *store.Tx) error {
		u, err = s.identified(tx, conf, id)
		return err
	})
	if err != nil {
		return Session{}, fmt.Errorf("signing in by a provider: %w", err)
	}
	if u.SecondFactor {
		return s.begin(ctx, addr, u, true)
	}
	if err := s.recordLogin(ctx, addr, u); err != nil {
		return Session{}, err
	}
	return s.Start(ctx, addr, u)
}

func (s *Service) identified(tx *store.Tx, conf telephony.SSO, id sso.Identity) (telephony.User, error) {
	u, err := tx.UserByIdentity(id.Issuer, id.Subject)
	if err == nil || !errors.Is(err, store.ErrNotFound) {
		return u, err
	}
	if !conf.SpeaksFor(id.Email) {
		return u, ErrStranger
	}
	u, err = tx.UserByEmail(id.Email)
	switch {
	case errors.Is(err, store.ErrNotFound) && conf.CreateUsers:
		name := strings.ToLower(id.Email)
		u, err = tx.CreateUser(telephony.User{
			Tenant: id.Tenant, Name: name, Email: id.Email, Role: telephony.RoleStandard,
			FirstName: presentable(id.GivenName), LastName: presentable(id.FamilyName),
		}, "")
		if err != nil {
			return u, errors.Join(ErrStranger, err)
		}
	case err != nil:
		return u, errors.Join(ErrStranger, err)
	default:
		role, _ := s.store.Snapshot().Role(u.Tenant, u.Role)
		if role.Administers() {
			return u, fmt.Errorf("%w: administrators are not linked by an e-mail address", ErrStranger)
		}
	}
	if err := tx.LinkIdentity(u.ID, id.Issuer, id.Subject); err != nil {
		return u, errors.Join(ErrStranger, err)
	}
	return u, nil
}

// presentable is a name from outside, or nothing if it is no usable one.
func presentable(name string) string {
	name = strings.TrimSpace(name)
	if (telephony.User{Name: "x", FirstName: name, Role: telephony.RoleStandard, Tenant: 1}).Validate() != nil {
		return ""
	}
	return name
}
