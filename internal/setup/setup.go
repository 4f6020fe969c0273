// Package setup is the first-boot wizard: a one-time token, three steps that
// can be repeated, and an end that closes it for ever.
package setup

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// MaxExtensions bounds the extensions the wizard creates in one step.
const MaxExtensions = 1000

// Errors of the wizard.
var (
	// ErrFinished says that the wizard was finished: it does not exist any more.
	ErrFinished = errors.New("set-up is finished")
	// ErrOrder says that a step needs another one first.
	ErrOrder = errors.New("another step comes first")
)

// Passwords judges and hashes the passwords of users, and makes those of
// phones.
type Passwords interface {
	// Check refuses a password with a *telephony.FieldError that names the
	// rule. account is what the password must not contain.
	Check(password string, account ...string) error
	Hash(ctx context.Context, password string) (string, error)
	// Generate makes a SIP password.
	Generate() string
}

// Config is what the wizard stands on.
type Config struct {
	Store     *store.Store
	Passwords Passwords
	Seed      *Seed // nil without first-boot data
	Hostname  string
	// Ban is told once of a source that guesses tokens; nil tells nobody.
	Ban    func(addr netip.Addr, until time.Time, reason string)
	Logger *slog.Logger
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Wizard is the first-boot wizard. Its state is in the store, so that it goes
// on after a restart where it stopped; only the token is new then.
type Wizard struct {
	cfg   Config
	token *token

	mu sync.Mutex // one step at a time
}

// New returns the wizard with this boot's token.
func New(cfg Config) (*Wizard, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	t, err := newToken(cfg.Seed)
	if err != nil {
		return nil, err
	}
	return &Wizard{cfg: cfg, token: t}, nil
}

// Finished says whether the wizard is over.
func (w *Wizard) Finished() bool { return w.cfg.Store.Snapshot().Settings.SetupDone }

// Token is this boot's token for the console. It is empty when the wizard is
// finished, or when first-boot data brought the token as a hash only.
func (w *Wizard) Token() string {
	if w.Finished() {
		return ""
	}
	return w.token.get()
}

// Renew replaces the token and returns the new one.
func (w *Wizard) Renew() (string, error) {
	if w.Finished() {
		return "", ErrFinished
	}
	t := draw()
	w.token.set(t)
	return t, nil
}

// Admit says whether the wizard exists for a request with this token. A wrong
// token counts against its source; a missing one does not.
func (w *Wizard) Admit(addr netip.Addr, given string) bool {
	if w.Finished() {
		return false
	}
	if w.token.matches(given) {
		return true
	}
	if given == "" {
		return false
	}
	if until, tripped := w.token.miss(addr, w.cfg.Now()); tripped {
		w.cfg.Logger.Warn("source guesses set-up tokens", "source", addr.String(), "until", until)
		if w.cfg.Ban != nil {
			w.cfg.Ban(addr, until, "guessed set-up tokens")
		}
	}
	return false
}

// State says which steps are done.
type State struct {
	Administrator, Tenant, Extensions bool
}

// State reads which steps are done.
func (w *Wizard) State(ctx context.Context) (State, error) {
	users, err := w.cfg.Store.System().Users(ctx)
	if err != nil {
		return State{}, err
	}
	snap := w.cfg.Store.Snapshot()
	st := State{Administrator: len(users) > 0}
	if t, ok := first(snap); ok {
		st.Tenant = true
		st.Extensions = len(snap.Extensions(t.ID)) > 0
	}
	return st, nil
}

// first is the tenant the wizard made.
func first(snap *telephony.Snapshot) (telephony.Tenant, bool) {
	if all := snap.Tenants(); len(all) > 0 {
		return all[0], true
	}
	return telephony.Tenant{}, false
}

// Suggestion is what the wizard may fill in.
type Suggestion struct {
	Administrator Administrator // without password
	Tenant        Tenant
	Extensions    int
	Hostname      string
}

// Suggestion reads what was saved before, else what first-boot data say, else
// makes a guess.
func (w *Wizard) Suggestion(ctx context.Context) (Suggestion, error) {
	s := Suggestion{
		Administrator: Administrator{Name: "admin"},
		Tenant:        Tenant{Domain: w.domain(), ExtensionFirst: "101", ExtensionLast: "199"},
		Extensions:    5, Hostname: w.cfg.Hostname,
	}
	if seed := w.cfg.Seed; seed != nil {
		if seed.Administrator != nil {
			s.Administrator = *seed.Administrator
		}
		if seed.Tenant != nil {
			s.Tenant = *seed.Tenant
		}
		if n := max(seed.ExtensionCount, len(seed.Extensions)); n > 0 {
			s.Extensions = n
		}
	}
	users, err := w.cfg.Store.System().Users(ctx)
	if err != nil {
		return s, err
	}
	if len(users) > 0 {
		u := users[0]
		s.Administrator = Administrator{Name: u.Name, FirstName: u.FirstName, LastName: u.LastName, Email: u.Email}
	}
	s.Administrator.Password = ""
	snap := w.cfg.Store.Snapshot()
	if t, ok := first(snap); ok {
		s.Tenant = Tenant{Name: t.Name, Domain: t.Domain, ExtensionFirst: t.ExtensionFirst, ExtensionLast: t.ExtensionLast}
		if n := len(snap.Extensions(t.ID)); n > 0 {
			s.Extensions = n
		}
	}
	return s, nil
}

// domain guesses a SIP domain from the host name.
func (w *Wizard) domain() string {
	name := strings.ToLower(w.cfg.Hostname)
	switch {
	case name == "" || name == "localhost" || telephony.CheckDomain("domain", name) != nil:
		return "pbx.local"
	case strings.Contains(name, "."):
		return name
	}
	return name + ".local"
}
