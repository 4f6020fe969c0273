package b2bua

import (
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// Trunks is what calls need to know of trunks. Nothing in it blocks.
type Trunks interface {
	// Take counts a call on a trunk and on its tenant until release, which may be
	// called more than once. It fails if the trunk is off or down, or if either
	// has as many as it may. An emergency call is counted, and taken however many
	// there are.
	Take(tenant telephony.TenantID, id telephony.TrunkID, emergency bool) (release func(), err error)
	// Down reports whether a trunk cannot carry calls now, however few there are.
	Down(tenant telephony.TenantID, id telephony.TrunkID) bool
	// Ways are where INVITEs to a trunk can go now, the best first.
	Ways(tenant telephony.TenantID, id telephony.TrunkID) []Way
	// Answered tells what became of an INVITE on a way: the first answer that is
	// more than 100, or 408 if none came in time, or 503 if it could not be sent.
	Answered(w Way, code int)
	// Identify says which trunk sent a request that begins something. Answered
	// means that it sent one that may not, or must prove itself first, and has
	// been told so; neither means that no trunk sent it.
	Identify(tx *sip.ServerTx) (t telephony.Trunk, found, answered bool)
}

// Way is one server of a trunk, and how it is reached.
type Way struct {
	Tenant telephony.TenantID
	Trunk  telephony.TrunkID
	Flow   sip.Flow
	// Host is what follows the @ of the Request-URI: host and port, and URI
	// parameters if there are any.
	Host string
	// Domain is the host part of To, From and the like: the trunk's SIP domain, or
	// Host's without a port.
	Domain string
	Routes []string // proxies before it: an outbound proxy, a gateway's Path
	// Contact is the user part of our Contact, which some providers want to be
	// that of the registration; empty is the number that calls.
	Contact string
	Auth    *sip.ClientAuth // answers its challenges; may be nil
	// Key is the implementation's own.
	Key string
}

// Outside is a call that is about to go to a trunk.
type Outside struct {
	Call      telephony.CallID
	Tenant    telephony.TenantID
	Account   string // the extension that pays for it
	Class     telephony.CallClass
	Number    string // E.164 with +; of emergency numbers as dialled
	Country   string
	Trunk     telephony.TrunkID
	Rate      telephony.Rate
	HasRate   bool
	Emergency bool // never to be refused or cut
	// Cut ends the call because it may cost no more. It may be called at any time.
	Cut func()
}

// Meter is told how a call to the outside fares. Its methods must not block.
type Meter interface {
	Answered(at time.Time)
	// Ended is called once, also for a call that nobody answered, and for one that
	// is tried on another trunk, which is asked for anew.
	Ended(at time.Time)
}
