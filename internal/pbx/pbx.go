package pbx

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"ringfence/firewall"
	"ringfence/internal/acme"
	"ringfence/internal/api"
	"ringfence/internal/b2bua"
	"ringfence/internal/certs"
	"ringfence/internal/document"
	"ringfence/internal/events"
	"ringfence/internal/httpd"
	"ringfence/internal/login"
	"ringfence/internal/opsock"
	"ringfence/internal/ports"
	"ringfence/internal/setup"
	"ringfence/internal/sip"
	"ringfence/internal/store"
	"ringfence/internal/tally"
	"ringfence/internal/telephony"
	"ringfence/internal/version"
	"ringfence/internal/wsi"
	"ringfence/provision"
	"ringfence/web"
)

// seedFile is what first boot leaves in the run folder.
const seedFile = "seed.json"

// PBX is a running PBX.
type PBX struct {
	opts     Options
	log      *slog.Logger
	facts    Facts
	warnings []string
	temp     string // data folder to remove
	machine  machine

	bus       events.Bus
	applied   *applied
	store     *store.Store
	certs     *certs.Store
	acme      *acme.Agent
	asked     *telephony.ACME // guarded by reconciling
	shown     string          // certificate in force, guarded by reconciling
	logins    *login.Service
	wizard    *setup.Wizard
	addresses *addresses
	telephone *telephone
	warden    *warden
	spender   *spender
	provision *provision.Handler
	fence     *fence
	network   *network
	trials    *trials
	api       *api.Server
	wsi       *wsi.Server
	web       *httpd.Server
	operator  *http.Server
	records   *records
	sampler   sampler

	reconciling sync.Mutex
	stop        context.CancelFunc
	stopRecords context.CancelFunc
	wg          sync.WaitGroup
	closing     sync.Once
	closed      error
}

// Start builds everything, opens the listeners and returns. Close ends it.
func Start(ctx context.Context, o Options) (*PBX, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	p := &PBX{opts: o, log: o.Logger}
	p.applied = newApplied(&p.bus)
	if err := p.start(ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (p *PBX) start(ctx context.Context) error {
	if err := p.dataFolder(); err != nil {
		return err
	}
	var err error
	if p.machine, err = loadMachine(p.opts.RunDir); err != nil {
		p.warnings = append(p.warnings, err.Error())
		p.log.Error("machine not known", "err", err)
	}
	if !p.opts.Dev || p.opts.Strict {
		gaps, err := p.confine()
		if err != nil {
			return fmt.Errorf("giving up rights: %w", err)
		}
		p.warnings = append(p.warnings, gaps...)
	}
	if err := p.openStore(ctx); err != nil {
		return err
	}
	p.trials = newTrials(p.store, &p.bus, p.log.With("part", "trial"))
	if err := p.trials.takeBackLeftover(ctx); err != nil {
		return err
	}
	if err := p.people(ctx); err != nil {
		return err
	}
	running, stop := context.WithCancel(context.Background())
	p.stop = stop
	if err := p.telephony(ctx); err != nil {
		return err
	}
	if p.fence != nil {
		p.network = newNetwork(running, p.fence.client, p.log.With("part", "network"))
	}
	if err := p.webSide(); err != nil {
		return err
	}
	p.startRecords()
	p.startWarden(running)
	if !p.opts.Dev {
		p.startFence(running)
	}
	if err := p.reconcile(ctx); err != nil {
		return err
	}
	changes := p.store.Subscribe()
	p.wg.Go(func() { p.follow(running, changes) })
	p.wg.Go(func() { p.trials.run(running) })
	p.wg.Go(func() { p.spender.run(running, p.store) })
	p.wg.Go(func() { document.KeepHistory(running, p.store, p.log.With("part", "history")) })
	p.wg.Go(func() { p.acme.Run(running) })
	if err := p.startOperator(); err != nil {
		return err
	}
	p.wg.Go(func() { p.notify(running) })
	return p.ready()
}

func (p *PBX) dataFolder() error {
	if p.opts.DataDir == "" {
		dir, err := os.MkdirTemp("", "ringfence-dev-")
		if err != nil {
			return fmt.Errorf("making a data folder: %w", err)
		}
		p.temp, p.opts.DataDir = dir, dir
	}
	if err := os.MkdirAll(p.opts.DataDir, 0o700); err != nil {
		return fmt.Errorf("making the data folder: %w", err)
	}
	return nil
}

// openStore opens the database; a damaged one goes back to its newest good
// snapshot, loudly, and never to an empty one.
func (p *PBX) openStore(ctx context.Context) error {
	o := store.Options{Logger: p.log.With("part", "store")}
	s, err := store.Open(ctx, p.opts.DataDir, o)
	var corrupt *store.CorruptError
	var missing *store.MissingError
	if errors.As(err, &corrupt) || errors.As(err, &missing) {
		p.log.Error("database is damaged; going back to the newest good snapshot", "err", err)
		r, rerr := store.Recover(ctx, p.opts.DataDir, o)
		if rerr != nil {
			return errors.Join(err, fmt.Errorf("going back to a snapshot: %w", rerr))
		}
		p.warnings = append(p.warnings, fmt.Sprintf("the database was damaged (%v); settings are those of %s", err, r.Taken.UTC().Format(time.RFC3339)))
		p.log.Warn("database recovered", "from", r.From, "taken", r.Taken, "rev", r.Rev, "kept", r.Kept)
		s, err = store.Open(ctx, p.opts.DataDir, o)
	}
	if err != nil {
		return err
	}
	p.store = s
	s.AddVerifier("ports", func(next *telephony.Snapshot) error {
		if _, err := p.opts.effective(next.Settings); err != nil {
			return &telephony.FieldError{Field: "ports", Reason: err.Error()}
		}
		return nil
	})
	return nil
}

// people are certificate, log-ins, and the wizard or the seeded tenant.
func (p *PBX) people(ctx context.Context) (err error) {
	host, err := os.Hostname()
	if err != nil {
		host = "ringfence"
	}
	names := certs.LocalNames(host)
	for _, a := range p.machine.names() {
		names = append(names, a.String())
	}
	if p.opts.Listen.IsValid() && !p.opts.Listen.IsUnspecified() {
		names = append(names, p.opts.Listen.String())
	}
	if err := p.openCertificate(ctx, names); err != nil {
		return err
	}
	if p.logins, err = login.New(ctx, login.Config{Store: p.store, Bus: &p.bus, Logger: p.log.With("part", "login")}); err != nil {
		return err
	}
	seedPath := filepath.Join(p.opts.RunDir, seedFile)
	var preset *setup.Seed
	if p.opts.Dev {
		if p.facts.Admin, p.facts.Extensions, err = seed(ctx, p.store, p.logins, p.opts.Extensions); err != nil {
			return err
		}
	} else if preset, err = setup.LoadSeed(seedPath); err != nil {
		p.warnings = append(p.warnings, err.Error())
		p.log.Error("first-boot answers not read", "err", err)
	}
	p.wizard, err = setup.New(setup.Config{
		Store: p.store, Passwords: p.logins, Seed: preset, Hostname: host,
		Ban: p.ban(telephony.BanWeb), Logger: p.log.With("part", "setup"),
	})
	if err != nil {
		return err
	}
	if err := p.wizard.ApplySeed(ctx); err != nil {
		p.warnings = append(p.warnings, err.Error())
		p.log.Error("first-boot answers not taken", "err", err)
	}
	return nil
}

// openCertificate opens the certificate. On the copy of another machine's disk
// it is made anew, and the sessions of people end: cookie and key would be
// good for both machines.
func (p *PBX) openCertificate(ctx context.Context, names []string) error {
	another, settle, err := copied(p.opts.DataDir, p.opts.RunDir)
	if err != nil {
		return err
	}
	if another {
		p.log.Warn("the data came from another machine: new key and certificate, sessions end")
		if err := p.store.EndSessions(ctx); err != nil {
			return err
		}
	}
	if p.certs, err = certs.Open(certs.Config{Dir: p.opts.DataDir, Names: names, Anew: another, Logger: p.log,
		Chosen: func() string { return p.store.Snapshot().Settings.Certificate }}); err != nil {
		return err
	}
	p.acme = p.newACME()
	return settle()
}

func (p *PBX) ban(scope telephony.BanScope) func(netip.Addr, time.Time, string) {
	return func(addr netip.Addr, until time.Time, reason string) {
		p.bus.Publish(events.AddressBanned{Addr: addr, Scope: scope, Reason: reason, Until: until})
	}
}

func (p *PBX) telephony(ctx context.Context) error {
	snapshot := p.store.Snapshot
	p.addresses = newAddresses(p.opts.Listen, func() telephony.Settings { return p.machine.advertise(snapshot().Settings) })
	bindings, err := p.store.LoadBindings(ctx)
	if err != nil {
		return fmt.Errorf("loading registrations: %w", err)
	}
	subscriptions, err := p.store.LoadSubscriptions(ctx)
	if err != nil {
		return fmt.Errorf("loading subscriptions: %w", err)
	}
	publications, err := p.store.LoadPublications(ctx)
	if err != nil {
		return fmt.Errorf("loading published presence: %w", err)
	}
	stored, err := p.store.LoadBans(ctx)
	if err != nil {
		return fmt.Errorf("loading bans: %w", err)
	}
	p.warden = newWarden(&p.bus, p.log.With("part", "guard"), stored)
	p.warden.save = p.store.SaveBans
	p.warden.journal.save, p.warden.journal.log = p.store.AppendAttacks, p.log
	counted, err := p.store.LoadPackets(ctx)
	if err != nil {
		return err
	}
	p.sampler.Tally = tally.New(counted, time.Now())
	for _, b := range bindings {
		p.warden.guard.Trust(b.Flow.Remote.Addr(), b.Expires)
	}
	pools, err := p.pools()
	if err != nil {
		return err
	}
	if !p.opts.Dev {
		p.fence = newFence(p.opts.RunDir, p.log.With("part", "fence"), p.policy, func(rev uint64, err error) { p.applied.set("packet filter", rev, err) })
		p.fence.known, p.fence.banned = p.known, p.banned
		p.fence.caught, p.fence.book = p.warden.caught, p.warden.book
		p.fence.limits = func() telephony.PacketLimits { return snapshot().Settings.Limits }
	}
	node, epoch := p.store.Node()
	host, _ := os.Hostname()
	p.records = newRecords(p.log.With("part", "records"))
	p.spender = newSpender(snapshot, p.log.With("part", "fraud"))
	p.telephone = newTelephone(telephoneConfig{
		log: p.log, node: node, epoch: epoch, product: "Ringfence " + version.String(), listen: p.opts.Listen,
		addresses: p.addresses, snapshot: snapshot, bus: &p.bus, warden: p.warden, spend: p.spender.spend,
		record: func(r telephony.CallRecord) { p.records.Add(r); p.warden.ended(r) },
		fence:  p.fence.media(), pools: pools, bindings: bindings, subscriptions: subscriptions, publications: publications,
		loopback: p.opts.Dev, roots: p.opts.Roots,
		tls: sip.TLS{GetCertificate: p.certs.GetCertificate, Clients: clientAuthorities(snapshot)}, origin: httpd.HostNames(snapshot, host, p.certs.Names),
	})
	return nil
}

// pools are the RTP ranges of the present settings, as after set-up.
func (p *PBX) pools() (map[ports.Side]ports.Service, error) {
	s := p.store.Snapshot().Settings
	s.SetupDone = true
	on, err := p.opts.effective(s)
	if err != nil {
		return nil, err
	}
	pools := map[ports.Side]ports.Service{}
	for _, svc := range on {
		if svc.Wrap == ports.RTP {
			pools[svc.Side] = svc
		}
	}
	return pools, nil
}

func (p *PBX) webSide() (err error) {
	host, _ := os.Hostname()
	var network api.MachineNetwork // not a nil *network
	if p.network != nil {
		network = p.network
	}
	tickets := &login.Tickets{}
	p.wsi = p.webSocketInterface(tickets)
	p.api = api.New(api.Config{
		Tickets: tickets,
		Network: network, Trials: p.trials,
		Store: p.store, Login: p.logins, Wizard: p.wizard, Live: live{p}, Bus: &p.bus,
		WebPhones: p.telephone.webPhones, TrunkStates: p.telephone.trunks, FraudAlarms: p.spender.alarms,
		Preview: b2bua.Preview, TrunkDown: p.telephone.trunks.Down,
		Logger: p.log.With("part", "api"), Version: version.String(), Hostname: host, Fingerprint: p.certs.Fingerprint,
		Certificates: p.certs, ACME: p.acme,
	})
	p.provision = provision.NewHandler(provision.Config{
		Snapshot: p.store.Snapshot,
		Password: func(ctx context.Context, t telephony.TenantID, actor telephony.Actor, number string) (string, error) {
			return p.store.ForTenant(t).SIPPassword(ctx, actor, number)
		},
		Services: func() []ports.Service { on, _ := p.services(); return on },
		Ban:      p.ban(telephony.BanProv), Spared: p.warden.spared,
		Banned: func(a netip.Addr) bool { return p.warden.book.Holds(a, telephony.BanProv, time.Now()) },
		Logger: p.log.With("part", "provisioning"),
	})
	dist, built := web.Dist()
	listen := ""
	if p.opts.Listen.IsValid() {
		listen = p.opts.Listen.String()
	}
	p.web, err = httpd.New(httpd.Config{
		Logger: p.log.With("part", "web"), GetCertificate: p.certs.GetCertificate, API: p.api, Provision: p.provision, WSI: p.wsi,
		Dist: dist, Built: built, HostAllowed: httpd.HostNames(p.store.Snapshot, host, p.certs.Names),
		Ready: p.store.Health, Listen: listen,
	})
	return err
}

func (p *PBX) startRecords() {
	p.records.calls, p.records.bindings = p.store.AppendCallRecords, p.store.SaveBindings
	p.records.location = p.telephone.location
	p.records.subscriptions, p.records.presence = p.store.SaveSubscriptions, p.telephone.presence
	p.records.publications = p.store.SavePublications
	ctx, stop := context.WithCancel(context.Background())
	p.stopRecords = stop
	p.wg.Go(func() { p.records.run(ctx) })
}

// banQueue is how many bans may wait to be carried out.
const banQueue = 1024

func (p *PBX) startWarden(ctx context.Context) {
	sub := p.bus.Subscribe(banQueue)
	p.wg.Go(func() {
		defer sub.Close()
		p.warden.run(ctx, sub)
	})
}

func (p *PBX) startFence(ctx context.Context) {
	close(p.fence.begin)
	sub := p.bus.Subscribe(banQueue)
	p.wg.Go(func() {
		defer sub.Close()
		p.fence.run(ctx, sub)
	})
	p.wg.Go(func() { p.count(ctx) })
}

func (p *PBX) startOperator() error {
	if p.opts.Dev {
		return nil
	}
	path := filepath.Join(p.opts.RunDir, opsock.FileName)
	l, err := opsock.Listen(path)
	if err != nil {
		return err
	}
	p.operator = opsock.Server(p.api.OperatorHandler())
	p.wg.Go(func() {
		if err := p.operator.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			p.log.Error("operator socket ended", "err", err)
		}
	})
	return nil
}

// services are the rows in force now.
func (p *PBX) services() ([]ports.Service, error) {
	return p.opts.effective(p.store.Snapshot().Settings)
}

// policy is what the packet filter is to do now, and for how long unless that is
// confirmed.
func (p *PBX) policy() (pol firewall.Policy, confirm time.Duration, err error) {
	s := p.store.Snapshot()
	on, err := p.opts.effective(s.Settings)
	if err != nil {
		return pol, 0, err
	}
	confirm, err = p.trials.window(s)
	return policyOf(s, on, p.machine.Cloud != ""), confirm, err
}

// reconcile brings every part to the present settings: at start, and after
// every change. A part that fails is reported and retried; only the portal
// must come up.
func (p *PBX) reconcile(ctx context.Context) error {
	p.reconciling.Lock()
	defer p.reconciling.Unlock()
	s := p.store.Snapshot()
	on, err := p.opts.effective(s.Settings)
	if err != nil {
		return err
	}
	p.trials.observe(s)
	p.warden.reconcile(s)
	p.observeACME(s)
	p.observeCertificate()
	err = p.web.Reconcile(ctx, on)
	p.applied.set("web", s.Rev, err)
	pools, poolErr := p.pools()
	p.applied.set("sip", s.Rev, errors.Join(poolErr, p.telephone.reconcile(s, on, pools)))
	filtered := p.fence == nil
	if p.fence != nil && p.fence.client.Connected() {
		filtered = p.fence.apply(ctx) == nil // reported; OnConnect and the next round try again
	}
	if p.web.Addr(ports.Portal) == nil {
		p.trials.failed(ctx, s, err)
		return err
	}
	if filtered {
		p.trials.inEffect(s)
	}
	return nil
}

// follow reconciles after every change, and again while something is not as
// it should be.
func (p *PBX) follow(ctx context.Context, changes *store.Subscription) {
	defer changes.Close()
	const retry = 5 * time.Second
	tick := time.NewTicker(retry)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changes.C:
			changes.Take()
		case now := <-tick.C:
			if _, bad := p.applied.failed(); !bad && !p.warden.outdated(now) {
				continue
			}
		}
		if err := p.reconcile(ctx); err != nil && ctx.Err() == nil {
			p.log.Error("portal does not listen", "err", err)
		}
		if !p.opts.Dev && p.wizard.Finished() {
			p.forgetSeed()
		}
	}
}

// forgetSeed removes the first-boot answers, which hold secrets, once they
// are of no use.
func (p *PBX) forgetSeed() {
	err := os.Remove(filepath.Join(p.opts.RunDir, seedFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		p.log.Error("first-boot answers not removed", "err", err)
	}
}
