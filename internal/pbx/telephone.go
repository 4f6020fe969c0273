package pbx

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"

	"ringfence/internal/b2bua"
	"ringfence/internal/dialout"
	"ringfence/internal/events"
	"ringfence/internal/location"
	"ringfence/internal/media"
	"ringfence/internal/ports"
	"ringfence/internal/presence"
	"ringfence/internal/registrar"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
	"ringfence/internal/trace"
	"ringfence/internal/trunk"
)

// telephone is everything that speaks SIP and RTP.
type telephone struct {
	endpoint  *sip.Endpoint
	registrar *registrar.Service
	qualifier *registrar.Qualifier
	webPhones *registrar.WebPhones
	auth      *sip.Authenticator
	location  *location.Memory
	media     *media.Engine
	calls     *b2bua.Service
	trunks    *trunk.Service
	presence  *presence.Service
	trace     *trace.Ring
	listen    netip.Addr
	pools     map[ports.Side]ports.Service // in force
}

// telephoneConfig is what the telephone side takes from the rest.
type telephoneConfig struct {
	log       *slog.Logger
	node      telephony.NodeID
	epoch     uint64
	product   string
	listen    netip.Addr // invalid: every address
	addresses *addresses
	snapshot  func() *telephony.Snapshot
	bus       *events.Bus
	record    func(telephony.CallRecord)
	fence     media.Fence // nil: no packet filter
	pools     map[ports.Side]ports.Service
	bindings  []telephony.Binding // of the last run

	subscriptions []telephony.Subscription // of the last run
	publications  []telephony.Publication  // of the last run
	tls           sip.TLS
	origin        func(host string) bool
	warden        *warden
	spend         func(b2bua.Outside) (b2bua.Meter, *sip.Reply)
	loopback      bool           // trunks on this machine, for tests
	roots         *x509.CertPool // of trunks; nil: the system's
}

func newTelephone(c telephoneConfig) *telephone {
	t := &telephone{listen: c.listen, pools: c.pools}
	t.location = location.NewMemory(location.Config{
		OnChange: func(_ telephony.TenantID, aor telephony.AOR, n int) {
			c.bus.Publish(events.RegistrationChanged{AOR: aor, Bindings: n})
		},
	})
	t.webPhones = registrar.NewWebPhones()
	t.auth = sip.NewAuthenticator(sip.AuthConfig{
		Algorithms: registrar.Algorithms(c.snapshot), Admit: registrar.Admit(c.snapshot), Temporary: t.webPhones.Find,
		Observe: c.warden.observe, Worn: c.warden.worn,
	})
	t.endpoint = sip.New(sip.Config{
		Logger: c.log.With("part", "sip"), Node: c.node, Epoch: c.epoch,
		Addresses: c.addresses, Product: c.product, TLS: c.tls, OriginAllowed: c.origin,
		OnFlowGone: func(f sip.Flow) { t.location.FlowGone(f.Token) }, Answers: t.auth.Answers,
		Gate: c.warden.gate, Screen: c.warden.screen, Refused: c.warden.refused,
	})
	t.location.Restore(c.bindings)
	t.media = media.New(media.Config{Pools: c.pools, Fence: c.fence, Logger: c.log.With("part", "media")})
	t.trace = trace.New(trace.Config{})
	t.trunks = trunk.New(trunk.Config{
		Endpoint: t.endpoint, Snapshot: c.snapshot, Location: t.location, Auth: t.auth, Addresses: c.addresses, Bus: c.bus,
		Dial: dialout.Dialer{AllowLoopback: c.loopback}, Roots: c.roots, Logger: c.log.With("part", "trunks"),
	})
	c.warden.expected, c.warden.trunk = t.trunks.Expected, t.trunks.Knows
	t.calls = b2bua.New(b2bua.Config{
		Trunks: t.trunks, Spend: c.spend,
		Endpoint: t.endpoint, Snapshot: c.snapshot, Location: t.location, Auth: t.auth,
		Media: b2bua.Engine(t.media), Addresses: c.addresses, Bus: c.bus, Record: c.record, Leg: t.trace.Bind,
		Admit: c.warden.admit, Node: c.node, Logger: c.log.With("part", "calls"),
	})
	t.registrar = registrar.New(registrar.Config{
		Snapshot: c.snapshot, Location: t.location, Auth: t.auth, Endpoint: t.endpoint,
		Moved: t.calls.Registered, Logger: c.log.With("part", "registrar"),
	})
	t.qualifier = registrar.NewQualifier(registrar.QualifyConfig{
		Snapshot: c.snapshot, Location: t.location, Endpoint: t.endpoint, Logger: c.log.With("part", "registrar"),
	})
	t.presence = presence.New(presence.Config{
		Endpoint: t.endpoint, Snapshot: c.snapshot, Auth: t.auth, Calls: t.calls, Registrations: t.location,
		Bus: c.bus, Dialogs: t.calls, Alias: t.calls.Alias, KeepAtShutdown: true, Logger: c.log.With("part", "presence"),
	})
	t.presence.Restore(c.subscriptions)
	t.presence.RestorePublished(c.publications)
	t.endpoint.Handle("REGISTER", t.registrar)
	t.endpoint.Handle(sip.SUBSCRIBE, t.presence)
	t.endpoint.Handle(sip.PUBLISH, t.presence)
	t.endpoint.Handle("", t.calls)
	return t
}

// reconcile opens and closes listeners, takes new RTP ranges for new calls,
// forgets the registrations of extensions that are gone, and ends the calls of
// tenants that are.
func (t *telephone) reconcile(s *telephony.Snapshot, on []ports.Service, pools map[ports.Side]ports.Service) error {
	t.registrar.Reconcile(s)
	t.calls.Reconcile(s)
	t.presence.Reconcile(s)
	t.traceAs(s.Settings)
	same := func(a, b ports.Service) bool { return a.First == b.First && a.Last == b.Last }
	if !maps.EqualFunc(t.pools, pools, same) {
		t.media.SetPools(pools)
		t.pools = pools
	}
	var binds []sip.Bind
	for _, s := range on {
		if s.IsSignalling() {
			binds = append(binds, sip.Bind{Service: s, Addr: t.listen})
		}
	}
	if err := t.endpoint.Reconcile(binds); err != nil {
		return fmt.Errorf("opening SIP listeners: %w", err)
	}
	t.trunks.Reconcile(s)
	t.presence.Resume()
	return nil
}

// traceAs keeps messages, or forgets those that were kept.
func (t *telephone) traceAs(s telephony.Settings) {
	t.trace.SetBodies(s.TraceMessages)
	t.trace.Switch(s.TraceCalls)
	if s.TraceCalls {
		t.endpoint.SetTrace(t.trace.Add)
	} else {
		t.endpoint.SetTrace(nil)
	}
}

// close ends all calls first, while the endpoint can still send their BYE.
func (t *telephone) close() error {
	t.qualifier.Close()
	err := t.calls.Close()
	t.trunks.Close()   // after the calls, whose BYE goes by its connections
	t.presence.Close() // after the calls, whose end the lamps are to show
	err = errors.Join(err, t.endpoint.Close())
	t.media.Close()
	t.location.Close()
	return err
}
