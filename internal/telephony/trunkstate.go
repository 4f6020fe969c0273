package telephony

import (
	"net/netip"
	"time"
)

// TrunkCondition is whether a trunk carries calls.
type TrunkCondition string

// The conditions.
const (
	TrunkOff      TrunkCondition = "off"      // switched off
	TrunkStarting TrunkCondition = "starting" // nothing is known yet
	TrunkUp       TrunkCondition = "up"
	TrunkDown     TrunkCondition = "down"
	// TrunkRefused: the provider refuses the credentials. That does not go away
	// by trying, so it is tried seldom.
	TrunkRefused TrunkCondition = "credentials refused"
)

// TrunkState is what is known of a trunk now.
type TrunkState struct {
	Tenant    TenantID
	Trunk     TrunkID
	Name      string
	Condition TrunkCondition
	Since     time.Time
	Reason    string // why it is not up; empty if there is nothing to say
	// Target is the server in use: address and port, after its name if that is
	// another.
	Target string
	// Registered is when the registration ends: ours with the provider, or that
	// of a gateway with us. Zero without one.
	Registered time.Time
	Calls      int           // in both directions, now
	MaxCalls   int           // 0 is no limit
	RTT        time.Duration // of the last answer; 0 is unknown
}

// TrunkStep is a step of a trunk's self-test.
type TrunkStep struct {
	Name string // "dns", "connect", "tls", "options", "register", "codecs", "nat", "echo"
	// OK is false for what failed; Skipped is what does not apply, and why stands
	// in Detail.
	OK, Skipped bool
	Detail      string
	Took        time.Duration
}

// TrunkTest is the outcome of a trunk's self-test.
type TrunkTest struct {
	Trunk TrunkID
	At    time.Time
	OK    bool // no step failed
	Steps []TrunkStep
	// Codecs are those that the peer names in its answer to OPTIONS.
	Codecs []string
	// Ours is the address that was sent from, Seen the one the peer saw (RFC 3581
	// section 4); they differ behind NAT.
	Ours, Seen netip.AddrPort
}
