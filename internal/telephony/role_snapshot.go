package telephony

import (
	"cmp"
	"slices"
	"time"
)

// WithRoles returns the snapshot with the roles that people made. It is called
// before anybody else sees the snapshot.
func (s *Snapshot) WithRoles(roles []RoleDefinition) *Snapshot {
	s.roles = make(map[roleKey]RoleDefinition, len(roles))
	for _, r := range roles {
		s.roles[roleKey{r.Tenant, r.Name}] = r
	}
	return s
}

// Role finds what a role allows in a tenant. A role that is not there allows
// nothing but emergency calls.
func (s *Snapshot) Role(tenant TenantID, name Role) (RoleDefinition, bool) {
	if r, ok := s.builtIn[name]; ok {
		return r, true
	}
	r, ok := s.roles[roleKey{tenant, name}]
	return r, ok
}

// MadeRoles lists the roles that people made, of all tenants, by tenant and name.
func (s *Snapshot) MadeRoles() []RoleDefinition {
	out := make([]RoleDefinition, 0, len(s.roles))
	for _, r := range s.roles {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b RoleDefinition) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// Roles lists the roles of a tenant: those that every tenant has, then those
// made, by name. system_admin is none of them: it belongs to the box.
func (s *Snapshot) Roles(tenant TenantID) []RoleDefinition {
	out := slices.DeleteFunc(BuiltInRoles(), func(r RoleDefinition) bool { return r.Name == RoleSystemAdmin })
	return append(out, slices.DeleteFunc(s.MadeRoles(), func(r RoleDefinition) bool { return r.Tenant != tenant })...)
}

// addZone loads a time zone once. Validation has refused those that cannot be.
func (s *Snapshot) addZone(name string) {
	if s.zones[name] != nil {
		return
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		zone = time.UTC
	}
	s.zones[name] = zone
}

// Location is the time zone of a tenant; UTC of one that is not there.
func (s *Snapshot) Location(tenant TenantID) *time.Location {
	t, ok := s.byTenant[tenant]
	if !ok {
		return time.UTC
	}
	return s.zones[t.TimeZone]
}
