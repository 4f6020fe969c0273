package telephony

import (
	"slices"
	"strings"
)

// Role is what a user may do, by its name in the tenant. System administrators
// belong to the box, everybody else to a tenant.
type Role string

// The roles that every tenant has. They cannot be changed.
const (
	RoleSystemAdmin   Role = "system_admin"
	RoleAdmin         Role = "admin"
	RoleInternational Role = "standard_international"
	RoleStandard      Role = "standard"
)

// Permission is one thing that a role may allow inside its tenant. Emergency
// numbers need none.
type Permission string

// The permissions.
const (
	PermTenant     Permission = "tenant.manage"       // settings of the organisation
	PermUsers      Permission = "users.manage"        // users, of roles that allow no more than one's own
	PermRoles      Permission = "roles.manage"        // roles, that allow no more than one's own
	PermExtensions Permission = "extensions.manage"   // extensions, groups, provisioning, import and export
	PermTrunks     Permission = "trunks.manage"       // trunks and their numbers
	PermRules      Permission = "rules.manage"        // rules, hours, numbering plan
	PermCalls      Permission = "calls.manage"        // registrations and calls in progress of everybody
	PermCDR        Permission = "cdr.read_all"        // call records of everybody
	PermRecordings Permission = "recordings.read_all" // recordings of everybody
	PermAudit      Permission = "audit.read"
	PermSecurity   Permission = "security.manage" // password policy, sessions, fraud guard of the tenant
	PermReports    Permission = "reports"
)

// Permissions are all there are.
func Permissions() []Permission {
	return []Permission{
		PermTenant, PermUsers, PermRoles, PermExtensions, PermTrunks, PermRules,
		PermCalls, PermCDR, PermRecordings, PermAudit, PermSecurity, PermReports,
	}
}

// Known reports whether it is one of the constants.
func (p Permission) Known() bool { return slices.Contains(Permissions(), p) }

// RoleDefinition is what a role allows.
type RoleDefinition struct {
	Tenant      TenantID // of a role that somebody made; 0 for the others
	Name        Role     // a-z, digits and _; 2 to 32 characters
	Description string
	Permissions []Permission
	// Classes are the numbers its extensions may dial besides emergency numbers.
	Classes []CallClass
	BuiltIn bool
}

// BuiltInRoles are the roles that every tenant has, mightiest first.
func BuiltInRoles() []RoleDefinition {
	return []RoleDefinition{
		{Name: RoleSystemAdmin, BuiltIn: true, Description: "Administers the box and every tenant", Permissions: Permissions(), Classes: CallClasses()},
		{Name: RoleAdmin, BuiltIn: true, Description: "Administers the tenant", Permissions: Permissions(), Classes: CallClasses()},
		{Name: RoleInternational, BuiltIn: true, Description: "Calls inside, in the own country and abroad",
			Classes: []CallClass{ClassInternal, ClassLocal, ClassNational, ClassMobile, ClassInternational}},
		{Name: RoleStandard, BuiltIn: true, Description: "Calls inside and emergency numbers", Classes: []CallClass{ClassInternal}},
	}
}

// BuiltIn reports whether every tenant has a role of that name.
func (r Role) BuiltIn() bool {
	return slices.ContainsFunc(BuiltInRoles(), func(d RoleDefinition) bool { return d.Name == r })
}

// May reports whether the role allows something.
func (r RoleDefinition) May(p Permission) bool { return slices.Contains(r.Permissions, p) }

// CutDown leaves of a role what somebody may use of it who was given some of its
// permissions only, such as an API token; none given leaves it as it is. With a
// list nobody administers the box.
func (r RoleDefinition) CutDown(allowed []Permission) RoleDefinition {
	if len(allowed) == 0 {
		return r
	}
	left := make([]Permission, 0, len(allowed))
	for _, p := range r.Permissions {
		if slices.Contains(allowed, p) {
			left = append(left, p)
		}
	}
	r.Name, r.Permissions = "", left
	return r
}

// Dials reports whether extensions of the role may call numbers of a class.
func (r RoleDefinition) Dials(c CallClass) bool {
	return c == ClassEmergency || slices.Contains(r.Classes, c)
}

// Within reports whether the role allows nothing that other does not allow.
func (r RoleDefinition) Within(other RoleDefinition) bool {
	for _, p := range r.Permissions {
		if !other.May(p) {
			return false
		}
	}
	for _, c := range r.Classes {
		if !other.Dials(c) {
			return false
		}
	}
	return true
}

// Administers reports whether the role allows anything beyond one's own data.
func (r RoleDefinition) Administers() bool { return len(r.Permissions) > 0 }

// CheckRoleName accepts what a role may be called.
func CheckRoleName(field string, name Role) error {
	if len(name) < 2 || len(name) > 32 {
		return refuse(field, "must have 2 to 32 characters")
	}
	if name[0] < 'a' || name[0] > 'z' || strings.Trim(string(name), "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
		return refuse(field, "may only hold letters a-z, digits and _, and begins with a letter")
	}
	return nil
}

// Validate reports the first field of a role somebody makes that is not usable.
func (r RoleDefinition) Validate() error {
	if err := CheckRoleName("name", r.Name); err != nil {
		return err
	}
	if r.Name.BuiltIn() {
		return refuse("name", "is a role that every tenant has and nobody changes")
	}
	if err := checkName("description", r.Description, 0, MaxNameLen); err != nil {
		return err
	}
	for i, p := range r.Permissions {
		if !p.Known() || slices.Contains(r.Permissions[:i], p) {
			return refuse("permissions", "holds an unknown permission, or one twice")
		}
	}
	for i, c := range r.Classes {
		if !c.Known() || slices.Contains(r.Classes[:i], c) {
			return refuse("classes", "holds an unknown class, or one twice")
		}
	}
	return nil
}

// Group is a group of extensions, such as a department. Its name is its
// identity for rules.
type Group struct {
	Tenant  TenantID
	ID      int64
	Name    string
	Members []string // extension numbers, in order
}

// Bounds of groups.
const (
	MaxGroups       = 500 // of a tenant
	MaxGroupMembers = 5000
)

// Validate reports the first field that is not usable.
func (g Group) Validate() error {
	if err := checkName("name", g.Name, 1, MaxUserNameLen); err != nil {
		return err
	}
	if len(g.Members) > MaxGroupMembers {
		return refuse("members", "are more than %d", MaxGroupMembers)
	}
	for i, number := range g.Members {
		if err := CheckNumber(entry("members", i, "number"), number); err != nil {
			return err
		}
	}
	return nil
}
