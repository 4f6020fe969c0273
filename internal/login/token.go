package login

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// tokenPrefix lets people, and programs that look for leaked secrets, tell a
// token from other text.
const tokenPrefix = "rfence_"

// MaxTokenAge is the longest a token with an end may be good.
const MaxTokenAge = 10 * 365 * 24 * time.Hour

// ErrNoToken says that a token is unknown, too old, or used from elsewhere than
// it may be.
var ErrNoToken = errors.New("no such API token")

// TokenSpec is what a new token may do.
type TokenSpec struct {
	Name        string
	ReadOnly    bool
	Permissions []telephony.Permission // none is all the user has, as it is then
	Sources     []netip.Prefix         // none is everywhere
	Expires     time.Time              // zero is never
}

func (v TokenSpec) validate(now time.Time) error {
	switch {
	case strings.TrimSpace(v.Name) == "" || len(v.Name) > telephony.MaxUserNameLen || strings.ContainsFunc(v.Name, func(r rune) bool { return r < ' ' || r > '~' }):
		return &telephony.FieldError{Field: "name", Reason: fmt.Sprintf("must have 1 to %d characters of ASCII", telephony.MaxUserNameLen)}
	case len(v.Sources) > 64:
		return &telephony.FieldError{Field: "sources", Reason: "are more than 64"}
	case !v.Expires.IsZero() && (!v.Expires.After(now) || v.Expires.Sub(now) > MaxTokenAge):
		return &telephony.FieldError{Field: "expires_at", Reason: "must lie in the future, and at most ten years"}
	}
	for _, p := range v.Permissions {
		if !slices.Contains(telephony.Permissions(), p) {
			return &telephony.FieldError{Field: "permissions", Reason: "names a permission that is not there"}
		}
	}
	return nil
}

// CreateToken makes a token that acts for a user, with no more than the user's
// own permissions. The secret can be read nowhere afterwards.
func (s *Service) CreateToken(ctx context.Context, actor telephony.Actor, u telephony.User, v TokenSpec) (secret string, t store.Token, err error) {
	if err := v.validate(time.Now()); err != nil {
		return "", t, err
	}
	random := newSecret()
	hash, _ := hashOf(random)
	t = store.Token{User: u.ID, Name: v.Name, Hash: hash, ReadOnly: v.ReadOnly, Permissions: v.Permissions, Sources: v.Sources, Expires: v.Expires}
	_, err = s.scope(u).Update(ctx, actor, func(tx *store.Tx) error {
		t, err = tx.CreateToken(t)
		return err
	})
	if err != nil {
		return "", t, fmt.Errorf("making an API token: %w", err)
	}
	return tokenPrefix + random, t, nil
}

// Tokens lists the tokens of a user.
func (s *Service) Tokens(ctx context.Context, u telephony.User) ([]store.Token, error) {
	return s.scope(u).Tokens(ctx, u.ID)
}

// DeleteToken ends a token of a user at once.
func (s *Service) DeleteToken(ctx context.Context, actor telephony.Actor, u telephony.User, id int64) error {
	_, err := s.scope(u).Update(ctx, actor, func(tx *store.Tx) error { return tx.DeleteToken(u.ID, id) })
	return err
}

// tokenTouch is how exactly the last use is noted: not every request writes to
// the disk.
const tokenTouch = time.Minute

// Token finds what a token may do, and for whom, and counts as its use. A user
// who has to change the password has to do it first: an administrator who sets
// a new one shuts the tokens out too.
func (s *Service) Token(ctx context.Context, addr netip.Addr, secret string) (store.Token, telephony.User, error) {
	random, ok := strings.CutPrefix(secret, tokenPrefix)
	hash, fits := hashOf(random)
	if !ok || !fits {
		return store.Token{}, telephony.User{}, ErrNoToken
	}
	t, u, err := s.store.TokenByHash(ctx, hash)
	if errors.Is(err, store.ErrNotFound) {
		return t, u, ErrNoToken
	}
	if err != nil {
		return t, u, err
	}
	now := time.Now()
	inside := len(t.Sources) == 0 || slices.ContainsFunc(t.Sources, func(p netip.Prefix) bool { return p.Contains(addr.Unmap().WithZone("")) })
	if !inside || !t.Expires.IsZero() && !now.Before(t.Expires) || u.MustChangePassword {
		return t, u, ErrNoToken
	}
	if now.Sub(t.Used) >= tokenTouch {
		if err := s.store.TouchToken(ctx, hash, now, addr); err != nil {
			return t, u, err
		}
	}
	return t, u, nil
}
