package telephony

import "time"

// MaxRoutes is how many trunks a rule may try.
const MaxRoutes = 6

// NumberingPlan is how people of a tenant dial and what counts as far away.
type NumberingPlan struct {
	Country  string `json:"country,omitempty"`   // ISO 3166 alpha-2, upper case
	AreaCode string `json:"area_code,omitempty"` // of the tenant, without the national prefix; empty where there are none
	// Outside is dialled before numbers of the outside, "0" or "9"; empty is
	// none.
	Outside string `json:"outside,omitempty"`
	// Allowed are the country codes that may be called, without +; none is the
	// home country only.
	Allowed []string `json:"allowed,omitempty"`
	// Disallowed are prefixes of E.164 numbers, without +, that nobody reaches;
	// they win over Allowed.
	Disallowed []string `json:"disallowed,omitempty"`
	// Emergency are the numbers that go out before everything else.
	Emergency []EmergencyNumber `json:"emergency,omitempty"`
	// EmergencyRoutes carry them; nil tries every trunk in force.
	EmergencyRoutes []Route `json:"emergency_routes,omitempty"`
	// EmergencyNotify are e-mail addresses that are told of each such call.
	EmergencyNotify []string `json:"emergency_notify,omitempty"`
}

// EmergencyNumber is dialled as it is, with Outside before it or without.
type EmergencyNumber struct {
	Number string `json:"number"`
	Name   string `json:"name,omitempty"`
}

// Route is one trunk that a rule tries.
type Route struct {
	Trunk    TrunkID `json:"trunk,omitempty"`
	Strip    int     `json:"strip,omitempty"`     // digits taken away in front of the number in the trunk's format; 0..15
	Prepend  string  `json:"prepend,omitempty"`   // digits, *, # or + put there instead
	CallerID string  `json:"caller_id,omitempty"` // number shown, E.164 with +; empty: the extension's, else the trunk's
}

// RouteOrder says in which order the trunks of a rule are tried.
type RouteOrder string

// The orders.
const (
	OrderListed   RouteOrder = "listed"
	OrderCheapest RouteOrder = "cheapest" // by the trunks' rates for the number
	OrderRandom   RouteOrder = "random"
)

// OutboundRule says which trunks carry a call. Empty conditions hold always;
// several values of one condition are alternatives.
type OutboundRule struct {
	Tenant   TenantID `json:"-"`
	ID       int64    `json:"-"`
	Name     string   `json:"name,omitempty"`
	Enabled  bool     `json:"enabled"`
	Priority int      `json:"priority,omitempty"` // low numbers first; 1..9999

	Prefixes   []string      `json:"prefixes,omitempty"` // of the number as dialled, without Outside
	Lengths    []int         `json:"lengths,omitempty"`  // of the same, in digits
	Classes    []CallClass   `json:"classes,omitempty"`
	Groups     []string      `json:"groups,omitempty"` // of the caller
	Roles      []Role        `json:"roles,omitempty"`  // of the caller
	Extensions []NumberRange `json:"extensions,omitempty"`
	// Hours names a schedule: the rule holds while it is open; empty holds
	// always.
	Hours string `json:"hours,omitempty"`

	Routes []Route    `json:"routes,omitempty"` // at most MaxRoutes
	Order  RouteOrder `json:"order,omitempty"`
}

// InboundRule says where calls from outside go.
type InboundRule struct {
	Tenant   TenantID `json:"-"`
	ID       int64    `json:"-"`
	Name     string   `json:"name,omitempty"`
	Enabled  bool     `json:"enabled"`
	Priority int      `json:"priority,omitempty"` // low numbers first; 1..9999

	Trunks []TrunkID     `json:"trunks,omitempty"`
	DIDs   []NumberRange `json:"dids,omitempty"`   // called numbers, E.164 with +
	Caller string        `json:"caller,omitempty"` // mask of the caller's number: digits, + in front, ? one digit, * any at the end; "anonymous"; empty is anybody
	Hours  string        `json:"hours,omitempty"`  // names a schedule; empty is always open

	Open    Destination `json:"open,omitzero"`    // during Hours
	Closed  Destination `json:"closed,omitzero"`  // outside; the zero value is Open
	Holiday Destination `json:"holiday,omitzero"` // the zero value is Closed
	Night   Destination `json:"night,omitzero"`   // while night mode is on; the zero value is Closed
}

// DestinationKind is where a call goes to.
type DestinationKind string

// The kinds of destinations.
const (
	ToNothing   DestinationKind = ""
	ToExtension DestinationKind = "extension"
	// ToDirect is the extension that the last digits of the called number name:
	// Number is the extension of the first number of the rule's range.
	ToDirect DestinationKind = "direct"
	// ToNumber dials a number of the outside on the account of the extension As.
	ToNumber DestinationKind = "number"
	ToHangUp DestinationKind = "hangup"
	ToBusy   DestinationKind = "busy"
)

// Destination is where a call goes to.
type Destination struct {
	Kind   DestinationKind `json:"kind,omitempty"`
	Number string          `json:"number,omitempty"` // extension, or number to dial
	// As is the extension on whose account a number is dialled.
	As string `json:"as,omitempty"`
}

// DaySpan is a part of a day in minutes after midnight, wall clock: From included,
// To not; To may be 1440.
type DaySpan struct {
	From int `json:"from"`
	To   int `json:"to"`
}

// Schedule is a week of opening hours with its holidays. Times are wall clock
// times of the tenant's zone.
type Schedule struct {
	Tenant   TenantID     `json:"-"`
	Name     string       `json:"name,omitempty"`
	Week     [7][]DaySpan `json:"week"`               // Sunday first, as time.Weekday
	Holidays []Holiday    `json:"holidays,omitempty"` // at most 200
}

// Holiday is a day that is closed.
type Holiday struct {
	Name  string     `json:"name,omitempty"`
	Month time.Month `json:"month,omitempty"`
	Day   int        `json:"day,omitempty"`
	Year  int        `json:"year,omitempty"` // 0 is every year
}

// NightMode says whether a tenant's night mode is on.
type NightMode string

// The night modes.
const (
	NightAuto NightMode = "auto" // never by itself: schedules decide
	NightOn   NightMode = "on"
)

// CallerBlock refuses calls from outside.
type CallerBlock struct {
	Caller string `json:"caller,omitempty"` // mask, as InboundRule.Caller
	Note   string `json:"note,omitempty"`
}

// Routing is all that decides where calls of a tenant go.
type Routing struct {
	Plan      NumberingPlan
	TimeZone  string // IANA name; empty is UTC
	Currency  string // ISO 4217
	Night     NightMode
	Outbound  []OutboundRule // by priority, then ID
	Inbound   []InboundRule  // by priority, then ID
	Schedules []Schedule
	Blocked   []CallerBlock
	// RejectAnonymous refuses callers who withhold their number.
	RejectAnonymous bool
	// MaxCalls is how many calls over trunks the tenant may have at once; 0 is no
	// limit.
	MaxCalls int
	// Caps bound what all calls of the tenant may cost.
	Caps Caps
	// ExtensionCaps bound what the calls of each extension may cost.
	ExtensionCaps Caps
}
