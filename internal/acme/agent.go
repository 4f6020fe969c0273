// Package acme has certificates issued and renewed by an authority (RFC 8555),
// with port 80 open during the challenge only.
package acme

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"ringfence/internal/certs"
	"ringfence/internal/telephony"
)

const (
	// Window is how long port 80 may be open for one certificate.
	Window = 4 * time.Minute
	// pollTimeout is how long the authority may take over one step.
	pollTimeout = 90 * time.Second
	// firstPause and lastPause are the pauses after failures, which double: an
	// authority counts them, an hour and an account at a time.
	firstPause = 10 * time.Minute
	lastPause  = 24 * time.Hour
	// askAgain is how soon after the last attempt somebody may ask for another.
	askAgain = time.Minute
)

// ErrTooSoon says that the authority was asked a moment ago, or is being asked.
var ErrTooSoon = errors.New("the authority was asked less than a minute ago")

// ErrOff says that no certificate is wanted.
var ErrOff = errors.New("no certificate is asked for: switch it on first")

// Config is what an Agent stands on.
type Config struct {
	Dir      string // data folder
	Settings func() telephony.ACME
	// Listen opens port 80 for at most Window.
	Listen func(context.Context) (net.Listener, error)
	// Own are this machine's addresses, as the world knows them too.
	Own func() []netip.Addr
	// Lookup resolves names; nil asks the resolver of the system.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Current is the certificate that was kept last, nil if there is none.
	Current func() *x509.Certificate
	// Keep puts a new one in force.
	Keep func(ctx context.Context, chain, key string) error
	// AllowLoopback is for tests, and for authorities on this machine.
	AllowLoopback bool
	Logger        *slog.Logger
}

// State is how it goes. What is kept of it survives a restart: an authority's
// limits do too.
type State struct {
	Directory string    `json:"directory"` // who gave the current certificate
	Tried     time.Time `json:"tried,omitzero"`
	Error     string    `json:"error,omitempty"` // of the last attempt
	Failures  int       `json:"failures,omitempty"`
	Retry     time.Time `json:"retry,omitzero"`
	Names     []Report  `json:"names,omitempty"`
	// Asking says that it is going on now; Next is when it will.
	Asking bool      `json:"-"`
	Next   time.Time `json:"-"`
}

// Agent keeps one certificate current.
type Agent struct {
	cfg  Config
	log  *slog.Logger
	poke chan struct{}

	mu     sync.Mutex
	state  State
	forced bool // somebody asked
}

// New reads the state; Run begins.
func New(cfg Config) *Agent {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Lookup == nil {
		cfg.Lookup = func(ctx context.Context, name string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
		}
	}
	a := &Agent{cfg: cfg, log: cfg.Logger, poke: make(chan struct{}, 1)}
	text, err := os.ReadFile(a.stateFile())
	if err == nil {
		err = json.Unmarshal(text, &a.state)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.log.Error("state of certificates not read", "err", err)
	}
	return a
}

func (a *Agent) stateFile() string { return filepath.Join(a.cfg.Dir, folder, "state.json") }

// Changed tells that the settings may be others: what failed with the old ones
// is tried again at once.
func (a *Agent) Changed() {
	a.mu.Lock()
	a.state.Retry = time.Time{}
	a.mu.Unlock()
	a.wake()
}

// Ask has the authority asked now, whether a certificate is due or not.
func (a *Agent) Ask() error {
	if !a.cfg.Settings().Enabled {
		return ErrOff
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state.Asking || time.Since(a.state.Tried) < askAgain {
		return ErrTooSoon
	}
	a.forced = true
	a.wake()
	return nil
}

func (a *Agent) wake() {
	select {
	case a.poke <- struct{}{}:
	default:
	}
}

// State is how it goes.
func (a *Agent) State() State {
	now := time.Now()
	s := a.cfg.Settings()
	a.mu.Lock()
	defer a.mu.Unlock()
	out := a.state
	out.Names = slices.Clone(out.Names)
	if s.Enabled {
		out.Next = a.due(s, now)
	}
	return out
}

// Check looks the names up that are to be in the certificate.
func (a *Agent) Check(ctx context.Context, names []string) []Report {
	return CheckNames(ctx, names, a.cfg.Lookup, a.cfg.Own())
}

// Run asks when it is time, until ctx ends.
func (a *Agent) Run(ctx context.Context) {
	for ctx.Err() == nil {
		s := a.cfg.Settings()
		now := time.Now()
		a.mu.Lock()
		wait := a.due(s, now).Sub(now)
		if a.forced {
			wait = 0
		}
		a.mu.Unlock()
		if !s.Enabled {
			wait = time.Hour // or until the settings change
		}
		if wait <= 0 {
			a.attempt(ctx, s)
			continue
		}
		timer := time.NewTimer(min(wait, time.Hour)) // clocks are set
		select {
		case <-ctx.Done():
		case <-a.poke:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// due is when the authority is to be asked next; the caller holds mu.
func (a *Agent) due(s telephony.ACME, now time.Time) time.Time {
	at := now
	if c := a.cfg.Current(); c != nil && covers(c, s.Names) && a.state.Directory == s.URL() {
		at = renewal(c)
	}
	if at.Before(a.state.Retry) {
		at = a.state.Retry
	}
	return at
}

func covers(c *x509.Certificate, names []string) bool {
	return !slices.ContainsFunc(names, func(n string) bool { return c.VerifyHostname(n) != nil })
}

// renewal is when two thirds of a certificate's life are over, or up to a
// twelfth sooner: which moment depends on the certificate, so that those of many
// boxes that were installed together are not asked for together.
func renewal(c *x509.Certificate) time.Time {
	life := c.NotAfter.Sub(c.NotBefore)
	sum := sha256.Sum256(c.Raw)
	part := life / 12 / (1 << 16) * time.Duration(binary.BigEndian.Uint16(sum[:2]))
	return c.NotBefore.Add(life*2/3 - part)
}

// attempt asks once and notes what came of it.
func (a *Agent) attempt(ctx context.Context, s telephony.ACME) {
	a.mu.Lock()
	a.forced = false
	a.state.Asking, a.state.Tried = true, time.Now()
	a.mu.Unlock()
	a.log.Info("asking for a certificate", "directory", host(s.URL()), "names", s.Names)
	reports, err := a.try(ctx, s)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.state.Asking, a.state.Names = false, reports
	if err != nil && ctx.Err() != nil {
		return // we are ending: nobody's failure
	}
	if err == nil {
		a.state.Directory, a.state.Error, a.state.Failures, a.state.Retry = s.URL(), "", 0, time.Time{}
	} else {
		a.state.Failures++
		a.state.Error = explain(err)
		a.state.Retry = time.Now().Add(pause(a.state.Failures))
		a.log.Error("no certificate", "directory", host(s.URL()), "reason", a.state.Error, "failures", a.state.Failures, "again", a.state.Retry)
	}
	a.save()
}

// pause is how long to wait after so many failures, give or take a fifth.
func pause(failures int) time.Duration {
	p := min(firstPause<<min(failures-1, 16), lastPause)
	return p - p/5 + rand.N(p*2/5)
}

func (a *Agent) try(ctx context.Context, s telephony.ACME) ([]Report, error) {
	ctx, cancel := context.WithTimeout(ctx, Window)
	defer cancel()
	reports := a.Check(ctx, s.Names)
	for _, r := range reports {
		if r.Problem != "" {
			return reports, fmt.Errorf("%s: %s", r.Name, r.Problem)
		}
	}
	chain, key, err := a.obtain(ctx, s)
	if err != nil {
		return reports, err
	}
	if err := a.cfg.Keep(ctx, chain, key); err != nil {
		return reports, fmt.Errorf("keeping the certificate: %w", err)
	}
	return reports, nil
}

// save writes the state; the caller holds mu.
func (a *Agent) save() {
	text, err := json.Marshal(a.state)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(a.stateFile()), 0o700)
	}
	if err == nil {
		err = certs.WriteFile(a.stateFile(), text)
	}
	if err != nil {
		a.log.Error("state of certificates not saved", "err", err)
	}
}

func host(directory string) string {
	u, err := url.Parse(directory)
	if err != nil {
		return ""
	}
	return u.Host
}

func cut(s string) string {
	const most = 500
	s = strings.ToValidUTF8(s, "?")
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
