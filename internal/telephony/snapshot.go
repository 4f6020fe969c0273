package telephony

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Snapshot is all settings at one revision. It is immutable: readers keep the
// pointer as long as they like, and every lookup is a map access.
type Snapshot struct {
	Rev      uint64
	Settings Settings
	// Rules are the addresses that are always or never let in, by network. They
	// must not be changed.
	Rules []AddressRule
	// Trial is the change that waits to be confirmed, or nil.
	Trial *Trial

	tenants    []Tenant
	byDomain   map[string]*Tenant
	byTenant   map[TenantID]*Tenant
	extensions map[TenantID][]Extension
	byNumber   map[extensionKey]*Extension
	byPath     map[string]*Extension
	trunks     map[TenantID][]Trunk
	routing    map[TenantID]*Routing
	signIn     map[TenantID]SignIn
	builtIn    map[Role]RoleDefinition
	roles      map[roleKey]RoleDefinition
	zones      map[string]*time.Location
}

type roleKey struct {
	tenant TenantID
	name   Role
}

type extensionKey struct {
	tenant TenantID
	number string
}

// NewSnapshot indexes the given settings. It sorts tenants by ID and
// extensions by number.
func NewSnapshot(rev uint64, settings Settings, tenants []Tenant, extensions []Extension) *Snapshot {
	s := &Snapshot{
		Rev:        rev,
		Settings:   settings,
		tenants:    slices.Clone(tenants),
		byDomain:   make(map[string]*Tenant, len(tenants)),
		byTenant:   make(map[TenantID]*Tenant, len(tenants)),
		extensions: make(map[TenantID][]Extension, len(tenants)),
		byNumber:   make(map[extensionKey]*Extension, len(extensions)),
		byPath:     make(map[string]*Extension, len(extensions)),
		builtIn:    make(map[Role]RoleDefinition),
		zones:      make(map[string]*time.Location),
	}
	for _, r := range BuiltInRoles() {
		s.builtIn[r.Name] = r
	}
	slices.SortFunc(s.tenants, func(a, b Tenant) int { return cmp.Compare(a.ID, b.ID) })
	for i := range s.tenants {
		t := &s.tenants[i]
		t.Registration, t.Calls = t.Registration.Complete(), t.Calls.Complete()
		if t.TimeZone == "" {
			t.TimeZone = "UTC"
		}
		s.addZone(t.TimeZone)
		s.byTenant[t.ID] = t
		s.byDomain[strings.ToLower(t.Domain)] = t
	}
	for _, e := range extensions {
		if e.Media == "" {
			e.Media = SecurityOffer
		}
		if e.DTMF == "" {
			e.DTMF = DTMFAuto
		}
		e.OwnRole = cmp.Or(e.OwnRole, RoleStandard)
		e.Role = cmp.Or(e.Role, e.OwnRole)
		s.extensions[e.Tenant] = append(s.extensions[e.Tenant], e)
	}
	for tenant, list := range s.extensions {
		slices.SortFunc(list, func(a, b Extension) int {
			return cmp.Or(cmp.Compare(len(a.Number), len(b.Number)), cmp.Compare(a.Number, b.Number))
		})
		for i := range list {
			s.byNumber[extensionKey{tenant, list[i].Number}] = &list[i]
			if list[i].ProvisionPath != "" {
				s.byPath[list[i].ProvisionPath] = &list[i]
			}
		}
	}
	return s
}

// Tenants lists all tenants by ID. The caller must not change the slice.
func (s *Snapshot) Tenants() []Tenant { return s.tenants }

// Tenant finds a tenant by ID.
func (s *Snapshot) Tenant(id TenantID) (Tenant, bool) { return deref(s.byTenant[id]) }

// TenantByDomain finds a tenant by its SIP domain, in any case.
func (s *Snapshot) TenantByDomain(domain string) (Tenant, bool) {
	return deref(s.byDomain[strings.ToLower(domain)])
}

// Extensions lists a tenant's extensions by number. The caller must not
// change the slice.
func (s *Snapshot) Extensions(tenant TenantID) []Extension { return s.extensions[tenant] }

// Extension finds an extension by its number.
func (s *Snapshot) Extension(tenant TenantID, number string) (Extension, bool) {
	return deref(s.byNumber[extensionKey{tenant, number}])
}

// ExtensionByProvisionPath finds the extension whose phones are configured
// from the given random directory.
func (s *Snapshot) ExtensionByProvisionPath(path string) (Extension, bool) {
	return deref(s.byPath[path])
}

func deref[T any](p *T) (T, bool) {
	if p == nil {
		var zero T
		return zero, false
	}
	return *p, true
}
