package login

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// Pass stands for a session where something outlives the request that showed
// its cookie: it finds the session and opens nothing.
type Pass [32]byte

// PassOf is the pass of a cookie, of whatever worth that is.
func PassOf(cookie string) Pass { return sha256.Sum256([]byte(cookie)) }

// Look finds the user of a session that may be worked with, and does not count
// as its use: what runs by itself keeps nobody logged in. Any other session is
// ErrNoSession.
func (s *Service) Look(ctx context.Context, p Pass) (telephony.User, error) {
	kept, u, err := s.store.SessionByHash(ctx, p)
	if errors.Is(err, store.ErrNotFound) {
		return u, ErrNoSession
	}
	if err != nil {
		return u, err
	}
	now, settings := time.Now(), s.settings()
	end := minTime(kept.Expires, kept.Created.Add(settings.SessionMax))
	if !now.Before(end) || now.Sub(kept.Seen) >= settings.SessionIdle || kept.Seen.Sub(now) > clockSlack ||
		kept.Owed || u.MustChangePassword || s.mustEnrol(u) {
		return telephony.User{}, ErrNoSession
	}
	return u, nil
}

// Bounds of tickets.
const (
	TicketLife = 30 * time.Second
	maxTickets = 1000
)

// Tickets are secrets that are good once and for seconds, for protocols in which
// a client cannot send the cookie of its session. The zero value is ready.
type Tickets struct {
	mu   sync.Mutex
	held map[[32]byte]ticket
}

type ticket struct {
	pass    Pass
	expires time.Time
}

// Issue makes a ticket for a session; false says that too many are out.
func (t *Tickets) Issue(p Pass) (secret string, expires time.Time, ok bool) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for hash, v := range t.held {
		if !now.Before(v.expires) {
			delete(t.held, hash)
		}
	}
	if len(t.held) >= maxTickets {
		return "", expires, false
	}
	if t.held == nil {
		t.held = make(map[[32]byte]ticket)
	}
	secret, expires = newSecret(), now.Add(TicketLife)
	t.held[sha256.Sum256([]byte(secret))] = ticket{p, expires}
	return secret, expires, true
}

// Redeem takes a ticket and tells whose session it is for.
func (t *Tickets) Redeem(secret string) (Pass, bool) {
	hash := sha256.Sum256([]byte(secret))
	t.mu.Lock()
	defer t.mu.Unlock()
	v, ok := t.held[hash]
	delete(t.held, hash)
	return v.pass, ok && time.Now().Before(v.expires)
}
