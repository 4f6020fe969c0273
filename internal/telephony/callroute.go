package telephony

// The directions of calls. One that comes from outside and goes out again, because
// somebody forwards it, is inbound.
const (
	Internal = "internal"
	Inbound  = "inbound"
	Outbound = "outbound"
)

// Side is who ended a call.
type Side string

// The sides. What neither of the two did, the PBX did.
const (
	SideCaller Side = "caller"
	SideCallee Side = "callee"
	SidePBX    Side = "pbx"
)

// CallRoute is how a call came in and where it went, as far as it touches the
// outside.
type CallRoute struct {
	// Dialled is what the caller dialled, and Sent what the trunk was asked for.
	Dialled, Sent string
	// CallerID is the number that the other side was shown; empty if it was
	// withheld.
	CallerID string
	// InTrunk is where the call came in by, and DID the number that was called, in
	// E.164 with + where that can be told.
	InTrunk TrunkID
	DID     string
	// OutTrunk is where it went out by, or was tried last.
	OutTrunk TrunkID
	// Class and Account are of a call that went out: on whose account.
	Class     CallClass
	Account   string
	Emergency bool
}
