// Package dialplan decides where a call goes: to an extension, over which trunks
// with which number and caller ID, or nowhere and why. It is pure: a Snapshot and
// a Request make a Plan, always the same one.
package dialplan

import (
	"time"

	"ringfence/internal/telephony"
)

// Request is one number that an extension dials.
type Request struct {
	Tenant telephony.TenantID
	// Caller is on whose account the call goes. What a forwarding, a transfer or
	// a 3xx sends on goes on the account of the extension that sends it on.
	Caller  telephony.Extension
	Dialled string // the user part of the Request-URI, unescaped
	At      time.Time
	// Down says which trunks cannot carry calls now; nil is none. Emergency calls
	// try them nevertheless, after the others.
	Down func(telephony.TrunkID) bool
	// Seed decides the order of rules whose trunks are tried at random.
	Seed uint64
	// From is who really calls, if Caller only sends the call on: a number in
	// E.164 with +, or an extension. Empty is Caller itself.
	From string
	// Explain fills in the Steps; the rest of the Plan is the same without.
	Explain bool
}

// InboundRequest is a call that comes in by a trunk.
type InboundRequest struct {
	Tenant telephony.TenantID
	Trunk  telephony.TrunkID
	Called string // as the trunk writes it
	Caller string // likewise; empty or "anonymous" withholds it
	At     time.Time
	Down   func(telephony.TrunkID) bool // of trunks that a destination outside needs
	Seed   uint64

	Explain bool
}

// Outcome is what becomes of a call.
type Outcome string

// The outcomes.
const (
	ToExtension Outcome = "extension"
	ToOutside   Outcome = "outside"
	ToBusy      Outcome = "busy"
	ToHangUp    Outcome = "hangup"
	Refused     Outcome = "refused"
)

// Plan is where a call goes.
type Plan struct {
	Outcome   Outcome
	Class     telephony.CallClass
	Country   string // ISO 3166 of the number outside, or empty
	Number    string // outside: E.164 with +; of emergency numbers the number itself
	Extension string
	// Account is the extension on whose account calls to the outside go.
	Account   string
	Emergency bool
	// EmergencyName is what the emergency number is for.
	EmergencyName string
	// EmergencyLocation says where the phone is, for those who are told.
	EmergencyLocation string
	Attempts          []Attempt // to be tried in this order
	Refusal           Refusal
	// Called and Caller are the numbers of a call that comes in, in E.164 with +
	// where they can be told.
	Called, Caller string
	InboundRule    int64
	Steps          []Step
}

// Attempt is one INVITE to a trunk.
type Attempt struct {
	Trunk telephony.TrunkID
	Rule  int64 // 0 of emergency calls
	// Number is the user part of the Request-URI, CallerID that of From, both as
	// the trunk wants them; CallerID is empty if there is none.
	Number, CallerID string
	// Diversion is the number of who sent the call on, as the trunk wants it; it
	// is empty unless somebody did and CallerID is not the caller's own.
	Diversion string
	Rate      telephony.Rate
	HasRate   bool
}

// Refusal is the answer to a call that goes nowhere.
type Refusal struct {
	Code   int    // of the SIP response
	Reason string // for people
}
