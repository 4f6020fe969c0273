// Package document is all settings of a box as one YAML document: it reads them
// from the store, writes and reads the document, plans what a document would
// change, and changes it.
package document

import (
	"ringfence/internal/telephony"
)

// Version is the version of documents this program writes, and reads.
const Version = 1

// Configuration is all settings. Lists are sorted by their keys; what the machine
// makes itself (ids, digests, random paths) is not part of it.
type Configuration struct {
	Version int
	Box     Box
	Tenants []Tenant
}

// Box is what belongs to no tenant.
type Box struct {
	Settings       telephony.Settings
	SignIn         telephony.SignIn
	Administrators []User
	Addresses      []telephony.AddressRule
}

// Tenant is an organisation with everything in it. Its domain is its key.
type Tenant struct {
	telephony.Tenant
	SignIn     telephony.SignIn
	Keeping    telephony.Keeping
	Roles      []telephony.RoleDefinition
	Schedules  []telephony.Schedule
	Extensions []Extension
	Groups     []telephony.Group
	Users      []User
	Trunks     []telephony.Trunk
	Routing    Routing
	Outbound   []OutboundRule
	Inbound    []InboundRule
	Blocked    []telephony.CallerBlock
	Contacts   []telephony.Contact
}

// Extension is an extension with its SIP password, if that is told.
type Extension struct {
	telephony.Extension
	SIPPassword telephony.Secret
}

// User is a user with the hash of the password, if that is told.
type User struct {
	telephony.User
	PasswordHash telephony.Secret
}

// Routing is what a tenant has once of how calls go.
type Routing struct {
	Plan            Plan
	Currency        string
	Night           telephony.NightMode
	RejectAnonymous bool
	MaxCalls        int
	Caps            telephony.Caps
	ExtensionCaps   telephony.Caps
}

// Plan is a numbering plan whose routes name their trunks.
type Plan struct {
	telephony.NumberingPlan
	EmergencyRoutes []Route
}

// Route is a route that names its trunk.
type Route struct {
	Trunk string
	telephony.Route
}

// OutboundRule is a rule whose routes name their trunks. Its name is its key.
type OutboundRule struct {
	telephony.OutboundRule
	Routes []Route
}

// InboundRule is a rule that names its trunks. Its name is its key.
type InboundRule struct {
	telephony.InboundRule
	Trunks []string
}
