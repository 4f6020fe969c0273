// Package login knows who may use the portal: password policy, password
// hashes, sessions, and the lock-out of those who guess.
package login

import (
	"context"
	"crypto/md5"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"ringfence/internal/events"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// ErrWrong says that user name or password is wrong, and not which.
var ErrWrong = errors.New("wrong user name or password")

// BlockedError says that a source or an account must wait.
type BlockedError struct {
	Until time.Time
	// Address is true if the source is blocked, false if only the account is
	// slowed down.
	Address bool
}

func (e *BlockedError) Error() string {
	return "too many failed log-ins; try again after " + e.Until.UTC().Format(time.RFC3339)
}

// Block is a source that is refused.
type Block struct {
	Source netip.Prefix // one IPv4 address or an IPv6 /64
	Until  time.Time
}

// Config is what the service stands on.
type Config struct {
	Store  *store.Store
	Bus    *events.Bus // told of blocked sources; nil tells nobody
	Logger *slog.Logger
}

// Service logs people in and out. It is safe for concurrent use.
type Service struct {
	store  *store.Store
	bus    *events.Bus
	log    *slog.Logger
	hasher *hasher
	locks  *lockouts

	stop context.CancelFunc
	done sync.WaitGroup
}

// New returns a service that remembers the lock-outs of before a restart.
func New(ctx context.Context, c Config) (*Service, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	saved, err := c.Store.LoadLockouts(ctx)
	if err != nil {
		return nil, fmt.Errorf("starting log-in: %w", err)
	}
	s := &Service{store: c.Store, bus: c.Bus, log: c.Logger, hasher: newHasher(usualCost()), locks: newLockouts(saved)}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = cancel
	s.done.Go(func() { s.housekeep(run) })
	return s, nil
}

// Close saves what is not saved yet and ends the service.
func (s *Service) Close() error {
	s.stop()
	s.done.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return s.save(ctx)
}

const saveEvery = 5 * time.Second

func (s *Service) housekeep(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, settings := time.Now(), s.settings()
		s.locks.prune(now, settings.LoginBlock)
		err := s.save(ctx)
		if n%int(time.Hour/saveEvery) == 0 {
			err = errors.Join(err, s.store.PruneSessions(ctx, now, now.Add(-settings.SessionIdle)))
		}
		if err != nil && ctx.Err() == nil {
			s.log.Error("log-in state not saved", "error", err)
		}
	}
}

func (s *Service) save(ctx context.Context) error {
	put, removed := s.locks.unsaved()
	if err := s.store.SaveLockouts(ctx, put, removed); err != nil {
		s.locks.again(put, removed)
		return err
	}
	return nil
}

func (s *Service) settings() telephony.Settings { return s.store.Snapshot().Settings }

func (s *Service) scope(u telephony.User) store.Scope {
	if u.Tenant == telephony.System {
		return s.store.System()
	}
	return s.store.ForTenant(u.Tenant)
}

// Login checks name and password and starts a session with a new cookie; it
// owes the second factor if the user has one. A wrong password and an unknown
// name get the same ErrWrong after the same work; a *BlockedError comes before
// any password is looked at; ErrBusy asks to come again.
func (s *Service) Login(ctx context.Context, addr netip.Addr, name, password string) (Session, error) {
	u, hash, err := s.store.UserByName(ctx, name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return Session{}, fmt.Errorf("logging in: %w", err)
	}
	t := attempt{addr: addr, name: name, user: u, half: u.SecondFactor}
	if err := s.try(ctx, t, s.password(hash, password)); err != nil {
		return Session{}, err
	}
	if u.SecondFactor {
		return s.begin(ctx, addr, u, true)
	}
	if err := s.recordLogin(ctx, addr, u); err != nil {
		return Session{}, err
	}
	return s.Start(ctx, addr, u)
}

func (s *Service) recordLogin(ctx context.Context, addr netip.Addr, u telephony.User) error {
	actor := telephony.Actor{Kind: telephony.ActorUser, Name: u.Name, Addr: addr}
	if err := s.scope(u).Record(ctx, actor, "session.login", u.Name, nil); err != nil {
		return fmt.Errorf("logging in: %w", err)
	}
	return nil
}

// attempt is one try at proving who somebody is.
type attempt struct {
	addr netip.Addr
	name string
	user telephony.User
	// half: success is not the end of it, so it takes no failures back. Else who
	// has the password could guess at the second factor without end.
	half bool
}

// password is the check of a password for try.
func (s *Service) password(hash, password string) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) { return s.hasher.verify(ctx, hash, password) }
}

// try runs a check unless source or account must wait, and counts a failure. An
// attempt takes its place in the count before the check, so that guesses sent
// all at once are no more than guesses sent one by one.
func (s *Service) try(ctx context.Context, t attempt, check func(context.Context) (bool, error)) error {
	settings := s.settings()
	known, err := s.knows(ctx, t.addr, t.user)
	if err != nil {
		return err
	}
	if err := s.locks.begin(time.Now(), t.addr, t.name, known, settings.LoginFailures, settings.LoginBlock); err != nil {
		return err
	}
	ok, err := check(ctx)
	switch {
	case err != nil, ok && t.half:
		s.locks.abandoned(t.addr, t.name)
		return err
	case ok:
		s.locks.succeeded(t.addr, t.name)
		return nil
	}
	until, blocked := s.locks.failed(time.Now(), t.addr, t.name, settings.LoginFailures, settings.LoginBlock)
	s.log.Warn("log-in failed", "source", t.addr.String(), "account", accountKey(t.name).subject, "blocked", blocked)
	if blocked {
		s.announce(ctx, t.addr, until)
	}
	return ErrWrong
}

// announce makes a block durable and known.
func (s *Service) announce(ctx context.Context, addr netip.Addr, until time.Time) {
	if err := s.save(ctx); err != nil {
		s.log.Error("block not saved", "error", err)
	}
	if s.bus != nil {
		s.bus.Publish(events.AddressBanned{Addr: addr.Unmap(), Scope: telephony.BanWeb, Reason: "failed log-ins", Until: until})
	}
}

// knows reports whether the user has a session from the source. Unknown names
// cost the same query.
func (s *Service) knows(ctx context.Context, addr netip.Addr, u telephony.User) (bool, error) {
	all, err := s.scope(u).Sessions(ctx, u.ID)
	if err != nil {
		return false, fmt.Errorf("logging in: %w", err)
	}
	for _, v := range all {
		if !v.Owed && source(v.Addr) == source(addr) {
			return true, nil
		}
	}
	return false, nil
}

// Blocked lists the sources that are refused now.
func (s *Service) Blocked() []Block { return s.locks.blocked(time.Now()) }

// Unblock lifts the block of a source and reports whether there was one.
func (s *Service) Unblock(addr netip.Addr) bool { return s.locks.forgive(time.Now(), addressKey(addr)) }

// Hash makes the hash of a password that was checked before.
func (s *Service) Hash(ctx context.Context, password string) (string, error) {
	return s.hasher.hash(ctx, password)
}

// Policy is the policy in force in a tenant, or for the administrators of the
// box.
func (s *Service) Policy(tenant telephony.TenantID) Policy {
	return s.store.Snapshot().SignIn(tenant).Passwords
}

// Check applies the policy for administrators of the box; account is what the
// password must not contain.
func (s *Service) Check(password string, account ...string) error {
	return CheckPassword(s.Policy(telephony.System), password, account)
}

// CheckSIPPassword applies the policy of the extension's tenant to a SIP
// password that somebody chose. It must hold nothing of the extension, and
// differ from the passwords of the people who use it.
func (s *Service) CheckSIPPassword(ctx context.Context, e telephony.Extension, password string) error {
	account := []string{e.Number, e.DisplayName}
	if t, ok := s.store.Snapshot().Tenant(e.Tenant); ok {
		account = append(account, t.Name, t.Domain)
	}
	if err := CheckPassword(s.Policy(e.Tenant), password, account); err != nil {
		return err
	}
	hashes, err := s.store.ForTenant(e.Tenant).PasswordHashes(ctx, e.Number)
	if err != nil {
		return fmt.Errorf("checking a SIP password: %w", err)
	}
	for _, hash := range hashes {
		same, err := s.hasher.verify(ctx, hash, password)
		if err != nil {
			return err
		}
		if same {
			return refuse("is the portal password of the extension's user; the two must differ")
		}
	}
	return nil
}

// Generate makes a SIP password.
func (s *Service) Generate() string { return GeneratePassword(24) }

// SetPassword gives a user a new password on somebody else's behalf, such as an
// administrator's. All sessions of the user end.
func (s *Service) SetPassword(ctx context.Context, actor telephony.Actor, u telephony.User, password string, mustChange bool) error {
	if err := s.CheckFor(u, password); err != nil {
		return err
	}
	return s.replace(ctx, actor, u, password, mustChange)
}

// CheckFor applies the policy for a user: none of the own names and numbers,
// and not the SIP password of the own extension.
func (s *Service) CheckFor(u telephony.User, password string) error {
	snap := s.store.Snapshot()
	account := []string{u.Name, u.FirstName, u.LastName, u.FirstName + " " + u.LastName, u.Email, u.Phone, u.Extension}
	t, ok := snap.Tenant(u.Tenant)
	if ok {
		account = append(account, t.Name, t.Domain)
	}
	if err := CheckPassword(s.Policy(u.Tenant), password, account); err != nil {
		return err
	}
	if e, found := snap.Extension(u.Tenant, u.Extension); ok && found && isSIPPassword(e, t.Domain, password) {
		return refuse("is the SIP password of the extension; the two must differ")
	}
	return nil
}

// isSIPPassword compares by HA1, so that nothing needs decrypting.
func isSIPPassword(e telephony.Extension, realm, password string) bool {
	sum := md5.Sum([]byte(e.Number + ":" + realm + ":" + password))
	return subtle.ConstantTimeCompare([]byte(hex.EncodeToString(sum[:])), []byte(e.HA1)) == 1
}

// ChangePassword replaces the password of the session's user. The current one
// is needed and guesses at it count like failed log-ins. All sessions of the
// user end; the returned one, with a new cookie, takes their place.
func (s *Service) ChangePassword(ctx context.Context, addr netip.Addr, v Session, current, password string) (Session, error) {
	u, hash, err := s.scope(v.User).User(ctx, v.User.ID)
	if err != nil {
		return Session{}, fmt.Errorf("changing a password: %w", err)
	}
	if err := s.try(ctx, attempt{addr: addr, name: u.Name, user: u}, s.password(hash, current)); err != nil {
		return Session{}, err
	}
	if err := s.CheckFor(u, password); err != nil {
		return Session{}, err
	}
	if string(normal(current)) == string(normal(password)) {
		return Session{}, refuse("is the same as before")
	}
	actor := telephony.Actor{Kind: telephony.ActorUser, Name: u.Name, Addr: addr}
	if err := s.replace(ctx, actor, u, password, false); err != nil {
		return Session{}, err
	}
	u.MustChangePassword = false
	return s.Start(ctx, addr, u)
}

// replace stores a new password and ends every session of the user.
func (s *Service) replace(ctx context.Context, actor telephony.Actor, u telephony.User, password string, mustChange bool) error {
	hash, err := s.hasher.hash(ctx, password)
	if err != nil {
		return err
	}
	_, err = s.scope(u).Update(ctx, actor, func(tx *store.Tx) error {
		return errors.Join(tx.SetUserPassword(u.ID, hash, mustChange), tx.DeleteSessions(u.ID, nil), tx.DropInvite(u.ID))
	})
	if err != nil {
		return fmt.Errorf("changing a password: %w", err)
	}
	return nil
}
