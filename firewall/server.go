package firewall

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ringfence/internal/netcfg"
)

const (
	// surveyEvery is how soon a ruleset that another program flushed is back.
	surveyEvery = time.Second
	// inspectEvery is how soon a single changed rule is noticed.
	inspectEvery = 5 * time.Second
)

// kernel is the packet filter as the server needs it; *Kernel, or a fake.
type kernel interface {
	Apply(Ruleset) error
	change([]element) error
	elements(set string) ([]listed, error)
	counters() (map[string]Counter, error)
	survey() (present bool, foreign []string, err error)
	intact() error
	follow(ctx context.Context, told func(logged)) error
}

// Network is the address side of the fence.
type Network interface {
	// Configure starts to give the host the configuration c; it returns when
	// static settings are in place, without waiting for DHCP. Its error tells
	// what did not work of a valid configuration; the rest is in effect.
	Configure(c netcfg.Config) error
}

// Options are what a Server needs.
type Options struct {
	// Dir is the fence's own folder. Nobody else writes to it.
	Dir    string
	Kernel kernel
	// Network is nil where somebody else manages addresses.
	Network Network
	// StandardNetwork is used until a configuration was confirmed.
	StandardNetwork netcfg.Config
	// Interfaces lists the interfaces as they are.
	Interfaces func() ([]netcfg.State, error)
	// UIDs may use the socket.
	UIDs []uint32
	// HostPorts lets root open ports of the host's own programs, of which sshd
	// is the standard; without it there are none, and no way to open any.
	HostPorts bool
	Logger    *slog.Logger
	// OnPolicy is told each policy that came into force, one at a time.
	OnPolicy func(Policy)

	hostOwner     uint32 // whoever may open them; root but in tests
	challengePort uint16 // that is bound; the table's but in tests
}

// Server is the fence: it keeps the packet filter as its clients want it, and
// their last confirmed wish across restarts.
type Server struct {
	o       Options
	log     *slog.Logger
	started time.Time
	policy  trial[Policy]
	network trial[netcfg.Config]
	media   *mediaQueue
	conns   connections

	challenge challenge

	enacting sync.Mutex // guards the fields up to the blank line
	host     Host
	open     []uint16 // the host's own ports
	good     *Ruleset // what the kernel holds
	rtp      atomic.Pointer[[]portSpan]
	limits   atomic.Pointer[Limits] // of the policy in force
	verdicts verdictLog

	mu       sync.Mutex
	foreign  []string
	repaired int
	health   error
}

// Host is what the fence has to know about the machine's own addresses.
type Host struct {
	// Addresses are the interfaces' addresses with prefix length.
	Addresses []netip.Prefix
	Gateways  []netip.Addr
	// Links are the interfaces with a zone or a limit.
	Links []Link
}

type portSpan struct{ first, last uint16 }

// NewServer prepares a fence. Start loads its rules.
func NewServer(o Options) (*Server, error) {
	if o.Kernel == nil || o.Logger == nil || o.Dir == "" {
		return nil, errors.New("fence needs a folder, a kernel and a logger")
	}
	if o.challengePort == 0 {
		o.challengePort = challengePort()
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the fence's folder: %w", err)
	}
	s := &Server{o: o, log: o.Logger, started: time.Now(), media: newMediaQueue(o.Kernel)}
	s.verdicts.run = s.started.UnixNano()
	s.policy = trial[Policy]{files: files[Policy]{o.Dir, "policy"}, log: o.Logger,
		enact: s.enact, revise: func(p Policy) uint64 { return p.Rev }}
	s.network = trial[netcfg.Config]{files: files[netcfg.Config]{o.Dir, "network"}, log: o.Logger,
		enact: s.configure, revise: func(c netcfg.Config) uint64 { return c.Rev }}
	return s, nil
}

// Start loads the last confirmed policy, or the standard one, into the kernel.
// After an error nothing may bring an interface up.
func (s *Server) Start() error {
	s.loadHostPorts()
	return s.policy.start(DefaultPolicy())
}

// StartNetwork puts the last confirmed network configuration, or the standard
// one, into effect.
func (s *Server) StartNetwork() error { return s.network.start(s.o.StandardNetwork) }

// SetHost tells the server the machine's addresses; it may be called at any
// time, and when they change the rules follow.
func (s *Server) SetHost(h Host) error {
	s.enacting.Lock()
	same := slices.Equal(s.host.Addresses, h.Addresses) && slices.Equal(s.host.Gateways, h.Gateways) && slices.Equal(s.host.Links, h.Links)
	s.host = h
	running := s.good != nil
	s.enacting.Unlock()
	if same || !running {
		return nil
	}
	return s.policy.again()
}

// enact makes the kernel enforce p, or leaves it as it was.
func (s *Server) enact(p Policy) error {
	s.enacting.Lock()
	defer s.enacting.Unlock()
	full := p
	full.Links = s.host.Links
	if p.ConnectedLocal {
		full.LocalPrefixes = append(slices.Clone(p.LocalPrefixes), privateNetworks(s.host.Addresses)...)
	}
	r, err := Compile(full)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	r.admit(s.open)
	r.keepFromCloud(s.o.UIDs)
	if err := s.o.Kernel.Apply(r); err != nil {
		if s.good != nil {
			err = errors.Join(err, s.o.Kernel.Apply(*s.good))
		}
		return err
	}
	s.good = &r
	spans := rtpSpans(p)
	s.rtp.Store(&spans)
	s.limits.Store(&p.Limits)
	if s.o.OnPolicy != nil {
		s.o.OnPolicy(p)
	}
	s.log.Info("packet filter loaded", "rev", p.Rev, "mode", p.Mode, "services", len(p.Services), "block", len(p.Block), "allow", len(p.Allow))
	return nil
}

// privateNetworks are the connected networks that count as local: those that
// no stranger can be in.
func privateNetworks(addresses []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range addresses {
		if a := p.Addr(); a.IsPrivate() || a.IsLinkLocalUnicast() {
			out = append(out, p.Masked())
		}
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	return slices.Compact(out)
}

func (s *Server) configure(c netcfg.Config) error {
	if s.o.Network == nil {
		return fmt.Errorf("%w: addresses are not managed here", ErrRefused)
	}
	if err := c.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	// An interface that is up before the rules know its zone would be open to
	// what is for others.
	s.follow(c.Foretell)
	// A network that works in part is no reason to return to another one on our
	// own: whoever changed it sees the interfaces' states, and confirms or not.
	if err := s.o.Network.Configure(c); err != nil {
		s.log.Error("configuring the network", "rev", c.Rev, "err", err)
	}
	s.follow(nil)
	return nil
}

// follow makes the rules those of the interfaces as they are, or as change has
// them: a zone or a limit that changes is no event of the kernel's.
func (s *Server) follow(change func([]netcfg.State) []netcfg.State) {
	if s.o.Interfaces == nil {
		return
	}
	states, err := s.o.Interfaces()
	if err == nil && change != nil {
		states = change(states)
	}
	if err == nil {
		err = s.SetHost(HostOf(states))
	}
	if err != nil {
		s.log.Error("following the interfaces", "err", err)
	}
}

// Serve answers clients on l until ctx ends, and keeps watch over the rules.
// It closes l. The rules stay in force afterwards.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var tasks sync.WaitGroup
	tasks.Go(func() { s.media.run(ctx) })
	tasks.Go(func() { s.watch(ctx) })
	tasks.Go(func() { s.listen(ctx) })
	tasks.Go(func() {
		<-ctx.Done()
		_ = l.Close()
	})
	err := s.accept(ctx, l)
	cancel()
	s.conns.end()
	tasks.Wait()
	s.policy.stop()
	s.network.stop()
	return err
}

// Healthy reports why the fence does not do its work, or nil.
func (s *Server) Healthy() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.health
}

// watch puts the rules back when another program removed them.
func (s *Server) watch(ctx context.Context) {
	tick := time.NewTicker(surveyEvery)
	defer tick.Stop()
	inspected := time.Now()
	for {
		deep := time.Since(inspected) >= inspectEvery
		if deep {
			inspected = time.Now()
		}
		s.check(deep)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// check looks at the kernel, deeply or only whether our table is there.
func (s *Server) check(deep bool) {
	present, foreign, err := s.o.Kernel.survey()
	if err == nil && !present {
		err = errTampered
	}
	if err == nil && deep {
		err = s.o.Kernel.intact()
	}
	lost := errors.Is(err, errTampered)
	if lost {
		s.log.Error("the packet filter was changed by another program, loading it again")
		err = s.policy.again()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noteForeign(foreign)
	if (err == nil) != (s.health == nil) {
		s.log.Log(context.Background(), level(err), "packet filter check", "err", err)
	}
	s.health = err
	if lost && err == nil {
		s.repaired++
		// Bans and media ports went with the table. Clients that reconnect
		// report theirs again.
		s.conns.closeAll()
	}
}

func level(err error) slog.Level {
	if err != nil {
		return slog.LevelError
	}
	return slog.LevelInfo
}

func (s *Server) noteForeign(now []string) {
	for _, name := range now {
		if !slices.Contains(s.foreign, name) {
			s.log.Warn("another program filters packets too: its drops win over our accepts", "table", name)
		}
	}
	s.foreign = now
}

func (s *Server) status() Status {
	p, n, window := s.policy.state(), s.network.state(), s.challengeUntil()
	s.mu.Lock()
	defer s.mu.Unlock()
	fault := p.fault
	if s.health != nil {
		fault = s.health.Error()
	}
	return Status{
		Active: s.health == nil, Rev: p.current.Rev, Mode: p.current.Mode, Standard: !p.found && p.until.IsZero(),
		ConfirmUntil: p.until, Reverted: p.reverted, Error: fault,
		Foreign: slices.Clone(s.foreign), Repaired: s.repaired, Started: s.started,
		AddressesConfirmUntil: n.until, AddressesReverted: n.reverted,
		ChallengeUntil: window,
	}
}
