package telephony

import (
	"cmp"
	"slices"
)

// WithRouting returns the snapshot with trunks and routing. It sorts rules by
// priority, trunks by ID and their rates by prefix. It is called before anybody else sees the snapshot.
func (s *Snapshot) WithRouting(trunks []Trunk, routing map[TenantID]Routing) *Snapshot {
	s.trunks = make(map[TenantID][]Trunk)
	for _, t := range trunks {
		t.Rates = slices.Clone(t.Rates)
		slices.SortStableFunc(t.Rates, func(a, b Rate) int { return cmp.Compare(a.Prefix, b.Prefix) })
		s.trunks[t.Tenant] = append(s.trunks[t.Tenant], t)
	}
	for _, list := range s.trunks {
		slices.SortFunc(list, func(a, b Trunk) int { return cmp.Compare(a.ID, b.ID) })
	}
	s.routing = make(map[TenantID]*Routing, len(routing))
	for id, r := range routing {
		r.Outbound, r.Inbound = slices.Clone(r.Outbound), slices.Clone(r.Inbound)
		slices.SortStableFunc(r.Outbound, func(a, b OutboundRule) int {
			return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.ID, b.ID))
		})
		slices.SortStableFunc(r.Inbound, func(a, b InboundRule) int {
			return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.ID, b.ID))
		})
		s.routing[id] = &r
	}
	return s
}

// Trunks lists a tenant's trunks by ID. The caller must not change the slice.
func (s *Snapshot) Trunks(tenant TenantID) []Trunk { return s.trunks[tenant] }

// Trunk finds a trunk of a tenant.
func (s *Snapshot) Trunk(tenant TenantID, id TrunkID) (Trunk, bool) {
	i, ok := slices.BinarySearchFunc(s.trunks[tenant], id, func(t Trunk, id TrunkID) int { return cmp.Compare(t.ID, id) })
	if !ok {
		return Trunk{}, false
	}
	return s.trunks[tenant][i], true
}

// Routing is what decides where calls of a tenant go; never nil. The caller must
// not change it.
func (s *Snapshot) Routing(tenant TenantID) *Routing {
	if r := s.routing[tenant]; r != nil {
		return r
	}
	return &Routing{}
}

// ShareRouting takes trunks and routing of another snapshot over as they are.
func (s *Snapshot) ShareRouting(old *Snapshot) *Snapshot {
	s.trunks, s.routing = old.trunks, old.routing
	return s
}
