package login

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// InviteFor is how long a one-time link is good.
const InviteFor = 72 * time.Hour

// ErrNoInvite says that a link is unknown, used or too old, and not which.
var ErrNoInvite = errors.New("the invitation is unknown, was used, or is too old")

// Invite makes a one-time link's secret by which a user sets a password. An
// older link of the user is void; a password that exists stays until then.
func (s *Service) Invite(ctx context.Context, actor telephony.Actor, u telephony.User) (secret string, until time.Time, err error) {
	secret, until = newSecret(), time.Now().Add(InviteFor)
	hash, _ := hashOf(secret)
	_, err = s.scope(u).Update(ctx, actor, func(tx *store.Tx) error { return tx.PutInvite(u.ID, hash, until) })
	if err != nil {
		return "", until, fmt.Errorf("inviting a user: %w", err)
	}
	return secret, until, nil
}

// Invited tells whom a link invites.
func (s *Service) Invited(ctx context.Context, secret string) (telephony.User, error) {
	hash, ok := hashOf(secret)
	if !ok {
		return telephony.User{}, ErrNoInvite
	}
	u, err := s.store.InviteByHash(ctx, hash, time.Now())
	if errors.Is(err, store.ErrNotFound) {
		return u, ErrNoInvite
	}
	return u, err
}

// AcceptInvite sets the password of who holds a link, under the policy, and
// starts a session. The link is good for this once; sessions of before end.
func (s *Service) AcceptInvite(ctx context.Context, addr netip.Addr, secret, password string) (Session, error) {
	u, err := s.Invited(ctx, secret)
	if err != nil {
		return Session{}, err
	}
	if err := s.CheckFor(u, password); err != nil {
		return Session{}, err
	}
	hash, err := s.hasher.hash(ctx, password)
	if err != nil {
		return Session{}, err
	}
	invite, _ := hashOf(secret)
	_, err = s.scope(u).Update(ctx, userActor(u, addr), func(tx *store.Tx) error {
		if err := tx.UseInvite(u.ID, invite, time.Now()); err != nil {
			return err
		}
		return errors.Join(tx.SetUserPassword(u.ID, hash, false), tx.DeleteSessions(u.ID, nil))
	})
	if errors.Is(err, store.ErrNotFound) {
		return Session{}, ErrNoInvite
	}
	if err != nil {
		return Session{}, fmt.Errorf("accepting an invitation: %w", err)
	}
	u.MustChangePassword = false
	// A link that came by mail is no second factor.
	return s.begin(ctx, addr, u, u.SecondFactor)
}
