package telephony

import "net/netip"

// ActorKind says what sort of being asked for a change.
type ActorKind string

// The kinds of actors.
const (
	ActorUser     ActorKind = "user"     // somebody logged in to the portal or API
	ActorToken    ActorKind = "token"    // a program with an API token; its name stands behind the user's
	ActorSetup    ActorKind = "setup"    // the first-boot wizard
	ActorOperator ActorKind = "operator" // the local command line
	ActorSystem   ActorKind = "system"   // the PBX itself
	ActorPhone    ActorKind = "phone"    // a device that fetches its configuration
)

// Actor is who did something; it stands in the audit log.
type Actor struct {
	Kind ActorKind
	Name string     // login name, or the subsystem's name
	Addr netip.Addr // where the request came from; invalid for the box itself
}
