package trunk

import (
	"net/netip"
	"time"

	"ringfence/internal/b2bua"
	"ringfence/internal/events"
	"ringfence/internal/registrar"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// watchEvery is how often the registrations of gateways are looked at besides
// when they change; the bus may lose an event.
const watchEvery = 10 * time.Second

// gatewayAOR is where a gateway registers.
func (s *Service) gatewayAOR(t telephony.Trunk) (telephony.AOR, bool) {
	tenant, ok := s.c.Snapshot().Tenant(t.Tenant)
	return telephony.AOR{User: t.User, Domain: tenant.Domain}, ok
}

func (s *Service) bindings(t telephony.Trunk) []telephony.Binding {
	aor, ok := s.gatewayAOR(t)
	if !ok || s.c.Location == nil {
		return nil
	}
	return s.c.Location.Bindings(aor)
}

// gatewayWays are the flows on which a gateway is registered.
func (s *Service) gatewayWays(t telephony.Trunk) []b2bua.Way {
	aor, _ := s.gatewayAOR(t)
	var ways []b2bua.Way
	for _, b := range s.bindings(t) {
		f, err := s.c.Endpoint.Flow(b.Flow)
		u, perr := sip.ParseURI(b.Contact)
		if err != nil || perr != nil {
			continue
		}
		w := b2bua.Way{Tenant: t.Tenant, Trunk: t.ID, Flow: f, Domain: aor.Domain}
		bare := sip.URI{Scheme: "sip", Host: u.Host, Port: u.Port, Params: u.Params}
		w.Host = bare.String()[len("sip:"):]
		if b.Path != "" {
			w.Routes = []string{b.Path}
		}
		ways = append(ways, w)
	}
	return ways
}

// gatewayState is what the gateway's registration says.
func (s *Service) gatewayState(t telephony.Trunk) telephony.TrunkState {
	st := telephony.TrunkState{Tenant: t.Tenant, Trunk: t.ID, Name: t.Name, Condition: telephony.TrunkDown, Reason: "the gateway is not registered"}
	s.mu.Lock()
	old := s.gateways[key{t.Tenant, t.ID}]
	s.mu.Unlock()
	for _, b := range s.bindings(t) {
		if b.Expires.After(st.Registered) {
			st.Registered = b.Expires
		}
		if st.Condition != telephony.TrunkUp {
			st.Condition, st.Reason, st.Target, st.RTT = telephony.TrunkUp, "", b.Flow.Remote.String(), b.RTT
		}
	}
	if st.Since = old.Since; old.Condition != st.Condition {
		st.Since = time.Now()
	}
	return st
}

// watchGateways tells of gateways that come and go.
func (s *Service) watchGateways() {
	var changes <-chan events.Event
	if s.c.Bus != nil {
		sub := s.c.Bus.Subscribe(256)
		defer sub.Close()
		changes = sub.C
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
			s.lookAtGateways()
		case e := <-changes:
			if r, ok := e.(events.RegistrationChanged); ok {
				snap := s.c.Snapshot()
				tenant, _ := snap.TenantByDomain(r.AOR.Domain)
				if t, ok := registrar.Gateway(snap, tenant, r.AOR.User); ok {
					s.lookAt(t)
				}
			}
		}
	}
}

func (s *Service) lookAtGateways() {
	snap := s.c.Snapshot()
	there := make(map[key]bool)
	for _, tenant := range snap.Tenants() {
		for _, t := range snap.Trunks(tenant.ID) {
			if t.Kind == telephony.TrunkAccept && t.Enabled {
				there[key{t.Tenant, t.ID}] = true
				s.lookAt(t)
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.gateways {
		if !there[k] {
			delete(s.gateways, k)
		}
	}
}

func (s *Service) lookAt(t telephony.Trunk) {
	st := s.gatewayState(t)
	k := key{t.Tenant, t.ID}
	s.mu.Lock()
	old := s.gateways[k]
	s.gateways[k] = st
	s.mu.Unlock()
	if old.Condition != st.Condition || old.Target != st.Target {
		s.changed(st)
	}
}

// gateway finds the accept trunk that a request comes from: by its credentials,
// or by the connection it registered on. One that comes from a gateway's address
// over UDP, which anybody can write there, has to prove itself.
func (s *Service) gateway(tx *sip.ServerTx) (t telephony.Trunk, found, answered bool) {
	snap, r, f := s.c.Snapshot(), tx.Request(), tx.Flow()
	if user, realm, ok := sip.Claimed(r); ok {
		tenant, _ := snap.TenantByDomain(realm)
		if _, ok := registrar.Gateway(snap, tenant, user); ok {
			return s.proven(tx, snap, tenant)
		}
		return t, false, false
	}
	for _, tenant := range snap.Tenants() {
		for _, t := range snap.Trunks(tenant.ID) {
			if t.Kind != telephony.TrunkAccept || !t.Enabled {
				continue
			}
			for _, b := range s.bindings(t) {
				switch {
				case f.Token != "" && b.Flow.Token == f.Token:
					return t, true, false
				case f.Token == "" && b.Flow.Token == "" && sameSource(b.Flow.Remote, f.Remote):
					return s.proven(tx, snap, tenant)
				}
			}
		}
	}
	return telephony.Trunk{}, false, false
}

func sameSource(a, b netip.AddrPort) bool {
	return a.Port() == b.Port() && a.Addr().Unmap() == b.Addr().Unmap()
}

// proven has a gateway prove itself. One that is not registered makes no calls
// (K07).
func (s *Service) proven(tx *sip.ServerTx, snap *telephony.Snapshot, tenant telephony.Tenant) (t telephony.Trunk, found, answered bool) {
	user, ok := s.c.Auth.Require(tx, sip.ChallengeProxy, tenant.Domain, func(user string) (sip.Secret, bool) {
		t, ok := registrar.Gateway(snap, tenant, user)
		return registrar.GatewaySecret(t, tenant.Domain), ok
	})
	if !ok {
		return t, false, true
	}
	t, _ = registrar.Gateway(snap, tenant, user)
	if len(s.bindings(t)) == 0 {
		tx.Reply(sip.Reply{Code: 403, Reason: "Not Registered"})
		return t, false, true
	}
	return t, true, false
}
