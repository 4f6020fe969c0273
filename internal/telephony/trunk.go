package telephony

import (
	"log/slog"
	"net/netip"
	"time"
)

// TrunkID names a trunk in its tenant; 0 is none.
type TrunkID int64

// TrunkKind says who proves to whom who it is.
type TrunkKind string

// The kinds of trunks.
const (
	TrunkRegister TrunkKind = "register" // we register with the provider
	TrunkPeer     TrunkKind = "peer"     // both sides know the other's addresses; nobody is challenged
	TrunkAccept   TrunkKind = "accept"   // a gateway registers with us
)

// TrunkTransport is how SIP goes to a trunk.
type TrunkTransport string

// The transports of trunks.
const (
	TrunkUDP TrunkTransport = "udp"
	TrunkTCP TrunkTransport = "tcp"
	TrunkTLS TrunkTransport = "tls"
)

// NumberFormat is how numbers are written towards a trunk.
type NumberFormat string

// The formats, of +49 30 1234 in Germany.
const (
	FormatPlus     NumberFormat = "plus"     // +49301234
	FormatDigits   NumberFormat = "digits"   // 49301234
	FormatNational NumberFormat = "national" // 0301234, and 0043... abroad
	FormatDialled  NumberFormat = "dialled"  // as dialled, without the outside prefix
)

// IdentityHeader is where a trunk is told, or tells, who calls.
type IdentityHeader string

// The places of an identity besides From, which always has one.
const (
	IdentityFrom IdentityHeader = "from" // From only
	IdentityPAI  IdentityHeader = "pai"  // P-Asserted-Identity (RFC 3325 section 9.1)
	IdentityPPI  IdentityHeader = "ppi"  // P-Preferred-Identity (RFC 3325 section 9.2)
	IdentityRPID IdentityHeader = "rpid" // Remote-Party-ID, which no RFC has
)

// Secret is a password that is kept to be used. It shows in no log and no JSON.
type Secret string

func (Secret) String() string               { return "[secret]" }
func (Secret) GoString() string             { return "[secret]" }
func (Secret) LogValue() slog.Value         { return slog.StringValue("[secret]") }
func (Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// Reveal is the password itself.
func (s Secret) Reveal() string { return string(s) }

// HeaderRule changes one header of the INVITEs of a trunk.
type HeaderRule struct {
	Inbound bool   `json:"inbound,omitempty"` // of calls from the trunk, else of calls to it
	Name    string `json:"name,omitempty"`    // the header; Via, Route, Contact, CSeq and the like may not be touched
	Remove  bool   `json:"remove,omitempty"`
	Value   string `json:"value,omitempty"` // that it is set to. {caller}, {callee}, {did}, {trunk} are filled in
}

// Trunk is a way to the outside world.
type Trunk struct {
	Tenant  TenantID  `json:"-"`
	ID      TrunkID   `json:"-"`
	Name    string    `json:"name,omitempty"`
	Kind    TrunkKind `json:"kind,omitempty"`
	Enabled bool      `json:"enabled"`

	// Host is the provider's SIP domain or address; of an accept trunk it is
	// empty.
	Host string `json:"host,omitempty"`
	// Port 0 asks DNS (RFC 3263), or takes the transport's own.
	Port      uint16         `json:"port,omitempty"`
	Transport TrunkTransport `json:"transport,omitempty"`
	// OutboundProxy is where everything is sent instead, "host" or "host:port";
	// empty is none.
	OutboundProxy string `json:"outbound_proxy,omitempty"`
	// Interface names the network interface its packets leave by; empty leaves
	// it to the routes (N03).
	Interface string `json:"interface,omitempty"`
	// Peers are the addresses its calls come from, besides those that Host
	// resolves to; at most 32.
	Peers []netip.Prefix `json:"peers,omitempty"`
	// PeerPort, if not 0, is the only source port they come from.
	PeerPort uint16 `json:"peer_port,omitempty"`

	// User is the account: the user part of the AOR that is registered, or the
	// name that a gateway registers with.
	User string `json:"user,omitempty"`
	// AuthUser is the name in credentials; empty is User.
	AuthUser string `json:"auth_user,omitempty"`
	// Password answers its challenges; of an accept trunk it is what the gateway
	// must know.
	Password Secret `json:"-"`
	// RegisterInterval is the Expires that is asked for; 1 minute to 24 hours.
	RegisterInterval time.Duration `json:"register_interval,omitempty"`
	// OptionsInterval is how often the peer is asked with OPTIONS whether it is
	// there; 0 never asks, else 10 seconds to 1 hour.
	OptionsInterval time.Duration `json:"options_interval,omitempty"`

	Media MediaSecurity `json:"media,omitempty"`
	DTMF  DTMF          `json:"dtmf,omitempty"`
	// MaxCalls is how many calls it may carry at once, in both directions; 0 is
	// no limit.
	MaxCalls int `json:"max_calls,omitempty"`

	// DIDs are the numbers that come in by it, in E.164 with +. No two tenants
	// have the same.
	DIDs []NumberRange `json:"dids,omitempty"`
	// Format is how called and calling numbers are written towards it.
	Format NumberFormat `json:"format,omitempty"`
	// CallerID is the number that callers show who have none of their own, in
	// E.164 with +.
	CallerID string `json:"caller_id,omitempty"`
	// KeepCallerID passes the numbers of forwarded callers on (CLIP no
	// screening), else such calls show CallerID and a Diversion.
	KeepCallerID bool `json:"keep_caller_id,omitempty"`
	// Identity is where callers are told besides From.
	Identity IdentityHeader `json:"identity,omitempty"`
	// TrustIdentity takes P-Asserted-Identity of its calls for who calls, else
	// From.
	TrustIdentity bool `json:"trust_identity,omitempty"`
	// DialledIn is where the called number of its calls stands: "uri" (the
	// Request-URI) or "to".
	DialledIn string       `json:"dialled_in,omitempty"`
	Headers   []HeaderRule `json:"headers,omitempty"` // at most 16

	// Caps bound what it may cost.
	Caps Caps `json:"caps,omitzero"`
	// Rates are its prices; the longest prefix counts.
	Rates []Rate `json:"-"` // at most 2,000
}

// NumberRange are numbers of the same length, First to Last, both included; one
// number has Last equal to First or empty.
type NumberRange struct {
	First string `json:"first"`
	Last  string `json:"last,omitempty"`
}

// Has reports whether a number is in the range.
func (r NumberRange) Has(number string) bool {
	last := r.Last
	if last == "" {
		last = r.First
	}
	return len(number) == len(r.First) && number >= r.First && number <= last
}

// Money is an amount in millionths of the tenant's currency.
type Money int64

// Rate is the price of calls to numbers that begin with a prefix.
type Rate struct {
	Prefix  string `json:"prefix,omitempty"` // digits of E.164 without +
	Name    string `json:"name,omitempty"`
	Connect Money  `json:"connect,omitempty"` // per answered call
	Minute  Money  `json:"minute,omitempty"`  // per minute
	// First is charged in any case, then every begun Next; 1 s to 1 h, zero is 1 s.
	First time.Duration `json:"first,omitempty"`
	Next  time.Duration `json:"next,omitempty"`
}

// Caps bound what calls may cost; 0 is no bound.
type Caps struct {
	MoneyHour      Money `json:"money_hour,omitempty"`
	MoneyDay       Money `json:"money_day,omitempty"`
	MinutesHour    int   `json:"minutes_hour,omitempty"`
	MinutesDay     int   `json:"minutes_day,omitempty"`
	CallsPerMinute int   `json:"calls_per_minute,omitempty"` // to the outside
}
