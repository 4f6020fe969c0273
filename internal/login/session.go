package login

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
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
	// Owed is true until the second factor was shown: nothing else is allowed.
	Owed bool
	// MustEnrol is true while the user has no second factor and has to have one.
	MustEnrol bool

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
	return s.begin(ctx, addr, u, false)
}

// owedFor is how long somebody may look for the second factor.
const owedFor = 5 * time.Minute

func (s *Service) begin(ctx context.Context, addr netip.Addr, u telephony.User, owed bool) (Session, error) {
	now, settings := time.Now(), s.settings()
	longest := settings.SessionMax
	if owed {
		longest = min(longest, owedFor)
	}
	v := Session{Cookie: newSecret(), CSRF: newSecret(), User: u, Addr: addr, Created: now, Owed: owed, MustEnrol: s.mustEnrol(u)}
	v.hash, _ = hashOf(v.Cookie)
	v.Expires = now.Add(min(settings.SessionIdle, longest))
	err := s.store.CreateSession(ctx, store.Session{
		Hash: v.hash, Tenant: u.Tenant, User: u.ID, CSRF: v.CSRF, Addr: addr,
		Created: now, Seen: now, Expires: now.Add(longest), Owed: owed,
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
		Owed: kept.Owed, MustEnrol: s.mustEnrol(u),
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

// KnownSession is a session as its user, or an administrator, sees it.
type KnownSession struct {
	ID      string // names it, and is of no use in its place
	Addr    netip.Addr
	Agent   string // User-Agent of the browser
	Created time.Time
	Seen    time.Time
	Own     bool // the one that asks
}

// sessionID is the beginning of the hash.
const sessionIDBytes = 8

// Describe notes which browser a session belongs to.
func (s *Service) Describe(ctx context.Context, v Session, agent string) error {
	return s.store.DescribeSession(ctx, v.hash, agent)
}

// Sessions lists a user's sessions that are alive and owe nothing, the last
// used first. own is the one that asks; the zero Session is none of them.
func (s *Service) Sessions(ctx context.Context, u telephony.User, own Session) ([]KnownSession, error) {
	all, err := s.scope(u).Sessions(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	now, settings := time.Now(), s.settings()
	var out []KnownSession
	for _, v := range all {
		if v.Owed || !now.Before(v.Expires) || now.Sub(v.Seen) >= settings.SessionIdle {
			continue
		}
		out = append(out, KnownSession{
			ID: hex.EncodeToString(v.Hash[:sessionIDBytes]), Addr: v.Addr, Agent: v.Agent,
			Created: v.Created, Seen: v.Seen, Own: v.Hash == own.hash,
		})
	}
	return out, nil
}

// EndSession ends one session of a user; ErrNoSession if there is no such.
func (s *Service) EndSession(ctx context.Context, actor telephony.Actor, u telephony.User, id string) error {
	b, err := hex.DecodeString(id)
	if err != nil || len(b) != sessionIDBytes {
		return ErrNoSession
	}
	found, err := s.scope(u).EndSession(ctx, actor, u, b)
	if err == nil && !found {
		return ErrNoSession
	}
	return err
}

// EndOthers ends every session of the user but the one that asks.
func (s *Service) EndOthers(ctx context.Context, actor telephony.Actor, own Session) error {
	_, err := s.scope(own.User).Update(ctx, actor, func(tx *store.Tx) error { return tx.DeleteSessions(own.User.ID, &own.hash) })
	return err
}

// LogoutUser ends every session of a user.
func (s *Service) LogoutUser(ctx context.Context, actor telephony.Actor, u telephony.User) error {
	_, err := s.scope(u).Update(ctx, actor, func(tx *store.Tx) error { return tx.DeleteSessions(u.ID, nil) })
	return err
}
