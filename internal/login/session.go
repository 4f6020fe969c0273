package login

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// Session is a web session as a request sees it.
type Session struct {
	// Cookie is the secret the browser keeps; set only by the call that made
	// the session, since the store has its hash alone.
	Cookie string
	// CSRF is what unsafe requests must repeat in a header.
	CSRF    string
	User    telephony.User // as it is now
	Addr    netip.Addr     // where it was logged in from
	Created time.Time
	Expires time.Time // the earlier of idle and absolute end, if it is not used again

	hash [32]byte
}

// ErrNoSession says that a cookie belongs to no session, or none any more.
var ErrNoSession = errors.New("no session")

// clockSlack is how far a session may lie in the future. Beyond that the clock
// was put back, and how long the session was idle cannot be told.
const clockSlack = 5 * time.Minute

// secretBytes is the size of cookies and CSRF tokens: 256 random bits.
const secretBytes = 32

func newSecret() string {
	b := make([]byte, secretBytes)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// hashOf is what the store keeps of a cookie. The value is random, so a plain
// hash is enough.
func hashOf(cookie string) (h [32]byte, ok bool) {
	if len(cookie) != base64.RawURLEncoding.EncodedLen(secretBytes) {
		return h, false
	}
	return sha256.Sum256([]byte(cookie)), true
}

// Start makes a session for a user who proved who they are; Login calls it,
// and the wizard at its end.
func (s *Service) Start(ctx context.Context, addr netip.Addr, u telephony.User) (Session, error) {
	now, settings := time.Now(), s.settings()
	v := Session{Cookie: newSecret(), CSRF: newSecret(), User: u, Addr: addr, Created: now}
	v.hash, _ = hashOf(v.Cookie)
	v.Expires = now.Add(min(settings.SessionIdle, settings.SessionMax))
	err := s.store.CreateSession(ctx, store.Session{
		Hash: v.hash, Tenant: u.Tenant, User: u.ID, CSRF: v.CSRF, Addr: addr,
		Created: now, Seen: now, Expires: now.Add(settings.SessionMax),
	})
	if err != nil {
		return Session{}, fmt.Errorf("starting a session: %w", err)
	}
	return v, nil
}

// Session finds the session of a cookie and counts as its use. It returns
// ErrNoSession for unknown, idle and ended ones alike.
func (s *Service) Session(ctx context.Context, cookie string) (Session, error) {
	hash, ok := hashOf(cookie)
	if !ok {
		return Session{}, ErrNoSession
	}
	kept, u, err := s.store.SessionByHash(ctx, hash)
	if errors.Is(err, store.ErrNotFound) {
		return Session{}, ErrNoSession
	}
	if err != nil {
		return Session{}, err
	}
	now, settings := time.Now(), s.settings()
	end := minTime(kept.Expires, kept.Created.Add(settings.SessionMax))
	if !now.Before(end) || now.Sub(kept.Seen) >= settings.SessionIdle || kept.Seen.Sub(now) > clockSlack {
		return Session{}, errors.Join(ErrNoSession, s.store.DeleteSession(ctx, hash))
	}
	// Not every request writes to the disk: an idle limit is kept to within a
	// thirtieth.
	if now.Sub(kept.Seen) >= settings.SessionIdle/30 {
		if err := s.store.TouchSession(ctx, hash, now); err != nil {
			return Session{}, err
		}
		kept.Seen = now
	}
	return Session{
		CSRF: kept.CSRF, User: u, Addr: kept.Addr, Created: kept.Created,
		Expires: minTime(end, kept.Seen.Add(settings.SessionIdle)), hash: hash,
	}, nil
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// Logout ends the session of a cookie; one that is not there is no error.
func (s *Service) Logout(ctx context.Context, cookie string) error {
	hash, ok := hashOf(cookie)
	if !ok {
		return nil
	}
	return s.store.DeleteSession(ctx, hash)
}

// LogoutUser ends every session of a user.
func (s *Service) LogoutUser(ctx context.Context, actor telephony.Actor, u telephony.User) error {
	_, err := s.scope(u).Update(ctx, actor, func(tx *store.Tx) error { return tx.DeleteSessions(u.ID, nil) })
	return err
}
