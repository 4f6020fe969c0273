// Package telephony holds the words of the domain, their validation, and the
// immutable Snapshot of all settings that the call path reads. It imports the
// standard library and the port table only.
package telephony

import (
	"net/netip"
	"time"

	"ringfence/internal/ports"
)

// TenantID names a tenant. System is the box itself: administrators of the
// appliance belong to it.
type TenantID int64

// System is the scope of settings that belong to no tenant.
const System TenantID = 0

// NodeID names a machine; one today.
type NodeID string

// Tenant is one organisation: a SIP domain with its own extensions.
type Tenant struct {
	ID     TenantID
	Name   string
	Domain string // SIP domain and digest realm, lower case
	// ExtensionFirst and ExtensionLast bound the extension range; both have
	// the same number of digits.
	ExtensionFirst, ExtensionLast string
	// Registration is how its phones may register.
	Registration
	// Calls is how its calls are set up and watched.
	Calls CallRules
	// TimeZone is where its office hours hold: a name of the IANA database.
	TimeZone string
	// Country is where it is: ISO 3166 alpha-2, upper case; empty is not said.
	Country string
	// MaxExtensions and MaxUsers are how many it may have; 0 is no limit.
	MaxExtensions, MaxUsers int
}

// Extension is the number dialled inside a tenant and the SIP identity behind it.
type Extension struct {
	Tenant      TenantID
	ID          int64
	Number      string // digits, unique in the tenant; also the SIP user name
	DisplayName string
	// HA1 is MD5(user:realm:password), password-equivalent (RFC 8760 keeps it
	// for MD5). Other algorithms stand beside it.
	HA1       string
	HA1SHA256 string
	// NoAnswer is how long the phones ring; 5 s..180 s.
	NoAnswer time.Duration
	// ProvisionPath is the random directory of its phones' configuration.
	ProvisionPath string
	// Handling is what becomes of calls to it.
	Handling CallHandling
	// Media is how media to and from its phones must be protected; empty is
	// SecurityOffer.
	Media MediaSecurity
	// DTMF is the form in which its phones send and take digits during a call;
	// empty is DTMFAuto.
	DTMF DTMF
	// Role is what it may dial: that of its user, or its own where nobody has
	// it. Empty is RoleStandard.
	Role Role
	// OwnRole is what holds while nobody has it.
	OwnRole Role
	// Groups are the names of the groups it is in, in order.
	Groups []string
	// EmergencyLocation says where its phones are, for those who are told of an
	// emergency call.
	EmergencyLocation string
	// EmergencyCallback is the number that emergency services are shown, E.164
	// with +; empty is the number of the trunk.
	EmergencyCallback string
}

// AOR is the address of record of the extension.
func (e Extension) AOR(domain string) AOR { return AOR{User: e.Number, Domain: domain} }

// AOR is an address of record (RFC 3261 section 6): user and domain, lower case domain.
type AOR struct{ User, Domain string }

func (a AOR) String() string { return "sip:" + a.User + "@" + a.Domain }

// User is a person who logs in to the portal.
type User struct {
	Tenant             TenantID
	ID                 int64
	Name               string // login name, lower case, unique on the box
	FirstName          string
	LastName           string
	Email              string
	Phone              string
	Role               Role
	Extension          string // extension number, or empty
	MustChangePassword bool
	SecondFactor       bool // signs in with a code as well; set by the store only
	CreatedAt          time.Time
}

// Binding is one Contact of an AOR with the flow it arrived on (RFC 3261
// section 10, RFC 5626).
type Binding struct {
	Tenant    TenantID
	AOR       AOR
	Contact   string // Contact URI as registered
	Instance  string // +sip.instance, or empty
	RegID     int
	Outbound  bool // the phone keeps several flows (RFC 5626)
	Q         float64
	CallID    string
	CSeq      uint32
	UserAgent string
	Path      string // values of the Path header, for Route (RFC 3327), or empty
	Push      Push
	Flow      Flow
	NAT       bool // its Contact or Via is not where it came from
	Registered,
	Expires time.Time // absolute

	// What follows is known while the program runs and is not stored.
	Reach Reach
	RTT   time.Duration // of its last answer to OPTIONS; 0: not known
}

// Push is how a sleeping phone can be woken (RFC 8599 section 4). It is as good
// as a password for that and stands in no log.
type Push struct{ Provider, PRID, Param string }

// Reach says whether requests can be sent to a binding now.
type Reach uint8

// The ways of a binding.
const (
	Reachable   Reach = iota
	Unreachable       // it does not answer OPTIONS
	Waiting           // its connection ended with the last run; it may come back
)

func (r Reach) String() string { return [...]string{"reachable", "unreachable", "waiting"}[r] }

// Flow is where requests to a binding leave (RFC 5626): the listener that
// received the registration, and the peer's address on it.
type Flow struct {
	Node     NodeID
	Epoch    uint64 // boot epoch of the node; stream flows die with it
	Listener ports.ID
	Local    netip.AddrPort // our address the request was sent to
	Remote   netip.AddrPort // source of the request
	Token    string         // connection token; empty for UDP
}

// CallID names a call (the pair of legs) on this box: unique for ever. It is
// not the SIP header.
type CallID string

// CallState is where a call stands.
type CallState string

// The states of a call.
const (
	CallTrying    CallState = "trying"
	CallRinging   CallState = "ringing"
	CallConnected CallState = "connected"
	CallHeld      CallState = "held"
)

// Party is one end of a call as people see it.
type Party struct {
	Number string
	Name   string
	Addr   netip.AddrPort // signalling source
}

// LiveCall is a call in progress.
type LiveCall struct {
	ID        CallID
	Tenant    TenantID
	State     CallState
	Caller    Party
	Callee    Party
	Started   time.Time
	Answered  time.Time // zero until answered
	Hidden    bool      // the caller withholds its number
	Direction string    // Internal, Inbound or Outbound
	Route     CallRoute
	// Legs are the dialogs with phones: the caller's, and those that ring or
	// the one that answered.
	Legs []LiveLeg
	// CallerLeg and CalleeLeg are some seconds old.
	CallerLeg, CalleeLeg LegQuality
	Alarm                Alarm // the first that was raised
}

// EndReason says which side ended a call, or why.
type EndReason string

// The ends of a call.
const (
	EndCallerHungUp  EndReason = "caller_hung_up"
	EndCalleeHungUp  EndReason = "callee_hung_up"
	EndCancelled     EndReason = "cancelled"
	EndBusy          EndReason = "busy"
	EndNoAnswer      EndReason = "no_answer"
	EndRejected      EndReason = "rejected"
	EndNotFound      EndReason = "not_found"
	EndUnavailable   EndReason = "unavailable"
	EndFailed        EndReason = "failed"
	EndAdmin         EndReason = "ended_by_administrator"
	EndMediaSecurity EndReason = "media_security" // a phone does not encrypt as it must
	EndMediaTimeout  EndReason = "media_timeout"
	EndShutdown      EndReason = "shutdown"
	EndTransferred   EndReason = "transferred" // the call named in Next goes on with the others
	EndNotAllowed    EndReason = "not_allowed" // by role, country or rule
	EndTrunks        EndReason = "trunks"      // no trunk could carry it, or none had room
	EndLimit         EndReason = "limit"       // what calls may cost was used up
)

// CallRecord is a call's CDR row, written once when the call ended.
type CallRecord struct {
	ID         CallID
	Tenant     TenantID
	Node       NodeID
	Direction  string // Internal, Inbound or Outbound
	Route      CallRoute
	Caller     Party
	Callee     Party
	Started    time.Time
	Rang       time.Time // zero if it never rang
	Answered   time.Time // zero if it was not answered
	Ended      time.Time
	Reason     EndReason
	StatusCode int  // final SIP status towards the caller
	EndedBy    Side // who ended it
	CallerLeg  LegQuality
	CalleeLeg  LegQuality
	Alarm      Alarm // the first that was raised
	// ForwardedBy are the numbers that sent the call on, the dialled one first.
	ForwardedBy []string
	// TransferredBy is who handed the caller over; empty for calls that were
	// dialled.
	TransferredBy string
	Previous      CallID // the call this one continues after a transfer
	Next          CallID // the call that continues this one
}

// Duration is the answered time, zero for unanswered calls.
func (r CallRecord) Duration() time.Duration {
	if r.Answered.IsZero() {
		return 0
	}
	return r.Ended.Sub(r.Answered)
}

// LegQuality is what was measured on the audio between us and one peer: here on
// what comes from it, and by it, as it reports, on what goes to it. A MOS is a
// mean opinion score of the E-model (ITU-T G.107), 1 to 4.4; 0 is unknown.
type LegQuality struct {
	Codec string
	Suite string // protection profile of SRTP; empty is plain RTP

	Packets  uint64 // received from it
	LostRTP  uint64 // gaps in the sequence
	JitterMs float64
	MOS      float64 // of the whole call
	WorstMOS float64 // of its worst seconds

	Sent       uint64 // packets to it
	Reported   bool   // it reports about them
	ToLost     uint64
	ToJitterMs float64
	ToMOS      float64
	ToWorstMOS float64

	RTTMs     float64 // round trip; 0 is unknown
	Dropped   uint64  // packets of a wrong source
	Malformed uint64
	Forged    uint64 // SRTP that is not authentic, or replayed

	History []MOSPoint // of the call, evenly spaced
	Step    time.Duration
}

// MOSPoint is the worst MOS during one step of a call, times 10: of what comes
// from the peer, and of what goes to it.
type MOSPoint struct{ From, To uint8 }

// Alarm is what was noticed to be wrong with the media of a call.
type Alarm string

// The alarms.
const (
	AlarmNone   Alarm = ""
	AlarmBad    Alarm = "bad_quality"
	AlarmOneWay Alarm = "one_way_audio"
)

// BanScope says which ports a ban covers.
type BanScope string

// The scopes.
const (
	BanSIP  BanScope = "sip"
	BanWeb  BanScope = "web"
	BanProv BanScope = "prov"
	BanAll  BanScope = "all"
)

// Settings are the box-wide settings.
type Settings struct {
	// SetupDone says that the wizard has finished; until then only the portal's
	// port is open.
	SetupDone bool
	// PublicAddress is advertised in Contact, Via and SDP towards peers outside.
	PublicAddress netip.Addr
	// PublicAddresses are those of single addresses of this machine, where they
	// differ from PublicAddress; at most 16.
	PublicAddresses []PublicAddress
	// AdvertiseAlways advertises them to everybody (port forwarding from the
	// machine's own host).
	AdvertiseAlways bool
	// InsideNetworks hold the peers that are told our own address; the machine
	// itself and its links always do. At most 64.
	InsideNetworks []netip.Prefix
	// Ports are changes to rows of the port table: off, or another port or range.
	Ports []ports.Override
	// ListenerDigests are digest modes (md5, both, sha256) of SIP transports, by
	// their names in the port table; one without has the organisation's.
	ListenerDigests map[ports.ID]Digest
	// WebNames are host names the portal answers to besides addresses, the
	// machine's own name and the SIP domains; at most 16.
	WebNames []string
	// SessionIdle ends a web session that was not used for so long; 1 minute to
	// 24 hours.
	SessionIdle time.Duration
	// SessionMax ends a web session in any case; SessionIdle to 30 days.
	SessionMax time.Duration
	// LoginFailures failed web log-ins from one address within LoginBlock block
	// that address for LoginBlock; 1 to 100.
	LoginFailures int
	// LoginBlock is how long such a block lasts; 1 minute to 30 days.
	LoginBlock time.Duration
	// TraceCalls keeps the last SIP messages of each call in memory, without
	// their secrets, for the ladder of a call.
	TraceCalls bool
	// TraceMessages keeps the texts of instant messages in them too.
	TraceMessages bool
	// ClientCertificates says whether SIP over TLS asks phones for a
	// certificate: off, verify (those that are presented) or require.
	ClientCertificates string
	// ClientAuthorities are the certificates, as PEM, of those who may issue
	// them; at most 64 KiB.
	ClientAuthorities string
	// Certificate is the identifier of the one that is shown to who asks for no
	// name, or for a name that none is for; empty is that of the data folder.
	Certificate string
	// ACME is how a certificate is asked for and renewed.
	ACME ACME
	// Protection is how attackers are told from phones.
	Protection Protection
	// Limits are those of packets.
	Limits PacketLimits
	// ShellKeys are the public keys whose owners may use the operator shell; at
	// most 32. Whether it is on says its row of Ports.
	ShellKeys []SSHKey
	// CloudMode leaves filtering by port to the cloud's own packet filter; lists
	// of addresses, bans and limits stay. It holds in a cloud only.
	CloudMode bool
	// FilterOff switches the packet filter off entirely: blocked and banned
	// addresses get through, and nothing is limited. It holds in a cloud only.
	FilterOff bool
}

// The values of Settings.ClientCertificates.
const (
	ClientCertificatesOff     = "off"
	ClientCertificatesVerify  = "verify"
	ClientCertificatesRequire = "require"
)

// DefaultSettings are those of a fresh system.
func DefaultSettings() Settings {
	return Settings{
		SessionIdle:   30 * time.Minute,
		SessionMax:    12 * time.Hour,
		LoginFailures: 5,
		LoginBlock:    time.Hour,
		TraceCalls:    true,

		InsideNetworks:     PrivateNetworks(),
		ClientCertificates: ClientCertificatesOff,
		Protection:         DefaultProtection(),
		Limits:             DefaultPacketLimits(),
	}
}
