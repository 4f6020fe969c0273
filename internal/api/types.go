package api

import "time"

// Bounds of what one request may carry or one answer may list.
const (
	maxBody     = 64 << 10 // bytes of a request body
	maxLive     = 5000     // registrations or calls in one answer
	maxProblems = 50       // details in one problem
)

// Input types and output types are separate on purpose: the library does not
// enforce readOnly, so a field that must not be written must not exist in the
// input.

// noInput is the input of operations that take nothing.
type noInput struct{}

// body wraps an answer.
type body[T any] struct {
	Body T
}

// Step is one step of the first-boot wizard.
type Step struct {
	ID   string `json:"id" enum:"administrator,tenant,extensions" doc:"Name of the step."`
	Done bool   `json:"done" doc:"The step has been saved; it may be sent again until the wizard is finished."`
}

// SetupSuggestion holds values the wizard may fill in.
type SetupSuggestion struct {
	Administrator  string `json:"administrator" doc:"Login name of the administrator."`
	FirstName      string `json:"first_name"`
	LastName       string `json:"last_name"`
	Email          string `json:"email"`
	TenantName     string `json:"tenant_name" doc:"Name of the organisation."`
	Domain         string `json:"domain" doc:"SIP domain."`
	ExtensionFirst string `json:"extension_first"`
	ExtensionLast  string `json:"extension_last"`
	Extensions     int    `json:"extensions" doc:"How many extensions to create."`
	Hostname       string `json:"hostname" doc:"Host name of the machine."`
}

// Setup is the state of the first-boot wizard.
type Setup struct {
	Steps       []Step          `json:"steps" nullable:"false"`
	Suggestion  SetupSuggestion `json:"suggestion"`
	Fingerprint string          `json:"fingerprint" doc:"SHA-256 of the certificate, as shown on the console: hexadecimal, lower case."`
}

// SetupAdministrator is the administrator the wizard creates.
type SetupAdministrator struct {
	Name      string `json:"name" minLength:"1" maxLength:"64" doc:"Login name."`
	Password  string `json:"password" minLength:"1" maxLength:"512" format:"password"`
	FirstName string `json:"first_name,omitempty" maxLength:"64"`
	LastName  string `json:"last_name,omitempty" maxLength:"64"`
	Email     string `json:"email,omitempty" maxLength:"254"`
}

// SetupTenant is the first tenant.
type SetupTenant struct {
	Name           string `json:"name" minLength:"1" maxLength:"100" doc:"Name of the organisation."`
	Domain         string `json:"domain" minLength:"1" maxLength:"253" doc:"SIP domain, also the digest realm: a host name or an IPv4 address."`
	ExtensionFirst string `json:"extension_first" pattern:"^[0-9]{2,9}$" doc:"First number of the extension range."`
	ExtensionLast  string `json:"extension_last" pattern:"^[0-9]{2,9}$" doc:"Last number of the extension range, with as many digits as the first."`
}

// SetupExtension is one extension the wizard creates.
type SetupExtension struct {
	Number      string `json:"number" pattern:"^[0-9]{2,9}$"`
	DisplayName string `json:"display_name,omitempty" maxLength:"100"`
}

// SetupExtensions asks for the first extensions: either a count from the
// start of the range, or a list.
type SetupExtensions struct {
	Count      int              `json:"count,omitempty" minimum:"1" maximum:"1000" doc:"How many extensions there shall be, from the first number of the range on."`
	Extensions []SetupExtension `json:"extensions,omitempty" minItems:"1" maxItems:"1000" nullable:"false" doc:"The extensions by name, instead of a count."`
}

// SIPCredentials is what a phone needs to register. The password is shown by
// the answer that made it and by the phone's configuration only.
type SIPCredentials struct {
	Number      string `json:"number"`
	DisplayName string `json:"display_name"`
	SIPUser     string `json:"sip_user"`
	SIPPassword string `json:"sip_password"`
	Domain      string `json:"domain"`
}

// Login is a log-in.
type Login struct {
	Name     string `json:"name" minLength:"1" maxLength:"64"`
	Password string `json:"password" minLength:"1" maxLength:"512" format:"password"`
}

// SessionUser is the person who is logged in.
type SessionUser struct {
	Name      string `json:"name" doc:"Login name."`
	FirstName string `json:"first_name"`
	LastName  string `json:"last_name"`
	Email     string `json:"email"`
	Extension string `json:"extension" doc:"Extension number, or empty."`
}

// SessionTenant is the tenant the session works in.
type SessionTenant struct {
	ID             int64  `json:"id"`
	Name           string `json:"name"`
	Domain         string `json:"domain"`
	ExtensionFirst string `json:"extension_first"`
	ExtensionLast  string `json:"extension_last"`
}

// Session is the session of the cookie.
type Session struct {
	User               SessionUser   `json:"user"`
	Role               string        `json:"role" doc:"system_admin, admin, standard_international, standard, or a role of the organisation's own."`
	Permissions        []string      `json:"permissions" nullable:"false" doc:"What the role allows, by name."`
	Tenant             SessionTenant `json:"tenant"`
	CSRFToken          string        `json:"csrf_token" doc:"Goes into the X-CSRF-Token header of every request that changes something."`
	ExpiresAt          time.Time     `json:"expires_at" doc:"When the session ends if nothing is done before."`
	MustChangePassword bool          `json:"must_change_password" doc:"Until the password is changed, everything else is refused."`
	// SecondFactorOwed and MustSetUpSecondFactor are what else may be in the way.
	SecondFactorOwed      bool `json:"second_factor_owed" doc:"The password was right; until the second factor is shown, everything else is refused."`
	MustSetUpSecondFactor bool `json:"must_set_up_second_factor" doc:"Until a second factor is set up, everything else is refused."`
}

// PasswordChange changes the user's own password.
type PasswordChange struct {
	Current string `json:"current" minLength:"1" maxLength:"512" format:"password"`
	New     string `json:"new" minLength:"1" maxLength:"512" format:"password"`
}

// Extension is a number inside the tenant and the SIP identity behind it.
type Extension struct {
	Number          string `json:"number"`
	DisplayName     string `json:"display_name"`
	NoAnswerSeconds int    `json:"no_answer_seconds" doc:"How long the phones ring."`
	Registrations   int    `json:"registrations" doc:"How many phones are registered now."`
	Role            string `json:"role" doc:"What it may dial while no user has it."`
	EffectiveRole   string `json:"effective_role" doc:"What it may dial: the role of its user, or its own."`
	// Groups are the names of its groups.
	Groups            []string `json:"groups" nullable:"false"`
	MediaSecurity     string   `json:"media_security" enum:"offer,off,require,require-256" doc:"How speech and video to and from its phones must be encrypted."`
	DTMF              string   `json:"dtmf" enum:"auto,rfc4733,inband,info" doc:"The form in which its phones send and take the digits that are dialled during a call."`
	EmergencyLocation string   `json:"emergency_location" doc:"Where its phones are, for those who are told of an emergency call."`
	EmergencyCallback string   `json:"emergency_callback" doc:"Number that emergency services are shown, E.164 with +; empty is the trunk's."`
	// Handling is what becomes of calls to it.
	Handling CallHandling `json:"call_handling"`
}

// CallHandling is what becomes of calls to an extension. Empty numbers forward
// nothing.
type CallHandling struct {
	ForwardAlways       string   `json:"forward_always" maxLength:"32" doc:"All calls go to this number; the phones do not ring."`
	ForwardBusy         string   `json:"forward_busy" maxLength:"32" doc:"Where calls go when the extension is busy or not to be disturbed."`
	ForwardNoAnswer     string   `json:"forward_no_answer" maxLength:"32" doc:"Where calls go when nobody answers in time."`
	ForwardUnregistered string   `json:"forward_unregistered" maxLength:"32" doc:"Where calls go when no phone is registered."`
	DoNotDisturb        bool     `json:"do_not_disturb" doc:"The phones do not ring; callers hear busy."`
	MaxCalls            int      `json:"max_calls" minimum:"0" maximum:"32" doc:"So many calls at once, then it is busy; 0 is no limit."`
	RingAlso            []string `json:"ring_also" nullable:"false" maxItems:"8" doc:"Further extensions whose phones ring together with its own."`
}

// ExtensionList lists extensions.
type ExtensionList struct {
	Items []Extension `json:"items" nullable:"false"`
	Next  string      `json:"next" doc:"Value of after for the following page; empty at the end."`
}

// ExtensionCreate is a new extension. Its SIP password is generated.
type ExtensionCreate struct {
	Number            string `json:"number" pattern:"^[0-9]{2,9}$"`
	DisplayName       string `json:"display_name,omitempty" maxLength:"100"`
	NoAnswerSeconds   int    `json:"no_answer_seconds,omitempty" minimum:"5" maximum:"180" doc:"How long the phones ring; 30 when left out."`
	MediaSecurity     string `json:"media_security,omitempty" enum:"offer,off,require,require-256" doc:"The organisation's when left out."`
	DTMF              string `json:"dtmf,omitempty" enum:"auto,rfc4733,inband,info" doc:"auto when left out."`
	EmergencyLocation string `json:"emergency_location,omitempty" maxLength:"200" doc:"Where its phones are, for those who are told of an emergency call."`
	EmergencyCallback string `json:"emergency_callback,omitempty" maxLength:"16" doc:"Number that emergency services are shown, E.164 with +; empty is the trunk's."`
	Role              string `json:"role,omitempty" maxLength:"32" doc:"What it may dial while no user has it; standard when left out."`
	SIPPassword       string `json:"sip_password,omitempty" maxLength:"64" format:"password" doc:"Generated when left out."`
	// Handling is what becomes of calls to it.
	Handling *CallHandling `json:"call_handling,omitempty"`
}

// ExtensionUpdate replaces what may be changed of an extension.
type ExtensionUpdate struct {
	DisplayName       string  `json:"display_name" maxLength:"100"`
	NoAnswerSeconds   int     `json:"no_answer_seconds" minimum:"5" maximum:"180"`
	MediaSecurity     string  `json:"media_security,omitempty" enum:"offer,off,require,require-256" doc:"offer: the best that the phone knows; off: none; require: refuse calls without; require-256: refuse calls without a 256-bit key. Kept as it is when left out."`
	DTMF              string  `json:"dtmf,omitempty" enum:"auto,rfc4733,inband,info" doc:"auto: telephone-events if the phone has agreed to them, else tones in the audio, and SIP INFO whenever it sends some; rfc4733: telephone-events only; inband: tones in the audio only; info: SIP INFO only. Kept as it is when left out."`
	EmergencyLocation *string `json:"emergency_location,omitempty" maxLength:"200" doc:"Where its phones are. Kept as it is when left out."`
	EmergencyCallback *string `json:"emergency_callback,omitempty" maxLength:"16" doc:"Number that emergency services are shown, E.164 with +. Kept as it is when left out."`
	Role              string  `json:"role,omitempty" maxLength:"32" doc:"What it may dial while no user has it. Kept as it is when left out."`
	// Handling is what becomes of calls to it; kept as it is when left out.
	Handling *CallHandling `json:"call_handling,omitempty"`
}

// Provisioning is where an extension's phones fetch their configuration.
type Provisioning struct {
	URL string `json:"url" doc:"Address for the phone. Whoever knows it can register as this extension."`
	QR  string `json:"qr_png" doc:"The address as QR code: a PNG image as data URL."`
}

// Tenant is the organisation of the session.
type Tenant struct {
	Name            string `json:"name" doc:"Name of the organisation."`
	Domain          string `json:"domain" doc:"SIP domain, also the digest realm."`
	ExtensionFirst  string `json:"extension_first"`
	ExtensionLast   string `json:"extension_last"`
	Digest          string `json:"digest" enum:"md5,both,sha256" doc:"Digest algorithms the phones are offered. Most phones know MD5 only."`
	TLSOnly         bool   `json:"tls_only" doc:"Phones on UDP and TCP are refused."`
	MaxContacts     int    `json:"max_contacts" doc:"How many phones one extension may register; the one that registered longest ago gives way."`
	QualifySeconds  int    `json:"qualify_seconds" doc:"How often phones behind NAT on UDP are asked whether they are still there; 0: never."`
	QualifyFailures int    `json:"qualify_failures" doc:"Questions without an answer after which a phone is not rung any more."`
	// Calls is how its calls are set up and watched.
	Calls CallRules `json:"calls"`
	// TimeZone is where its office hours hold.
	TimeZone      string `json:"time_zone" doc:"Name of the IANA database, such as Europe/Berlin."`
	Country       string `json:"country" doc:"ISO 3166, two capital letters, or empty."`
	MaxExtensions int    `json:"max_extensions" doc:"How many extensions it may have, as an administrator of the box says; 0 is no limit."`
	MaxUsers      int    `json:"max_users" doc:"How many users it may have; 0 is no limit."`
}

// CallRules is how the calls of an organisation are set up and watched.
type CallRules struct {
	MediaSecurity         string `json:"media_security" enum:"offer,off,require,require-256" doc:"Of new extensions; those that exist keep theirs."`
	SessionTimers         string `json:"session_timers" enum:"refuse,accept,require" doc:"Session timers (RFC 4028): none; with every phone that knows them; no call without."`
	SessionExpiresSeconds int    `json:"session_expires_seconds" minimum:"90" maximum:"86400" doc:"How long a session lasts that nobody refreshes; not below session_min_seconds."`
	SessionMinSeconds     int    `json:"session_min_seconds" minimum:"90" maximum:"3600" doc:"The shortest session a phone may ask for (Min-SE)."`
	DeadMediaSeconds      int    `json:"dead_media_seconds" minimum:"0" maximum:"86400" doc:"For how long neither side may send media before their call ends: 30 or more; 0 waits for ever."`
	Tones                 string `json:"tones" enum:"AT,CA,CH,DE,ES,FR,GB,IT,NL,US,ITU" doc:"Country that our tones are made after; ITU: the international recommendation."`
	MusicOnHold           string `json:"music_on_hold" enum:"pbx,phone" doc:"What people hear who are on hold: our music, whatever the other phone sends; or what that phone sends."`
}

// TenantUpdate replaces what may be changed of the organisation.
type TenantUpdate struct {
	Name            string `json:"name" minLength:"1" maxLength:"100"`
	Digest          string `json:"digest" enum:"md5,both,sha256"`
	TLSOnly         bool   `json:"tls_only"`
	MaxContacts     int    `json:"max_contacts" minimum:"1" maximum:"50"`
	QualifySeconds  int    `json:"qualify_seconds" minimum:"0" maximum:"600" doc:"0, or 15 to 600."`
	QualifyFailures int    `json:"qualify_failures" minimum:"1" maximum:"10"`
	// Calls is how its calls are set up and watched; kept as it is when left out.
	Calls    *CallRules `json:"calls,omitempty"`
	TimeZone *string    `json:"time_zone,omitempty" maxLength:"64" doc:"Kept as it is when left out."`
	Country  *string    `json:"country,omitempty" maxLength:"2" doc:"Kept as it is when left out."`
}

// WebPhoneCredentials let a web phone register for a while, over WebSockets
// only.
type WebPhoneCredentials struct {
	Number      string    `json:"number"`
	DisplayName string    `json:"display_name"`
	URI         string    `json:"uri" doc:"Address of record to register."`
	AuthUser    string    `json:"auth_user" doc:"User name of the digest; not that of the address."`
	Password    string    `json:"password"`
	ExpiresAt   time.Time `json:"expires_at" doc:"Ask again before; they also end with the session."`
}

// Registration is one Contact of an extension.
type Registration struct {
	Number       string    `json:"number"`
	Contact      string    `json:"contact" doc:"Contact URI as registered, without its push token."`
	State        string    `json:"state" enum:"reachable,unreachable,waiting" doc:"unreachable: it does not answer; waiting: its connection ended with a restart of the PBX and is not back yet. Neither is rung."`
	NAT          bool      `json:"nat" doc:"The phone is behind a NAT."`
	RTTMs        float64   `json:"rtt_ms" doc:"How long its last answer took, in milliseconds; 0: not measured."`
	UserAgent    string    `json:"user_agent"`
	Source       string    `json:"source" doc:"Address and port the registration came from."`
	Listener     string    `json:"listener" doc:"Service of the port table that received it."`
	RegisteredAt time.Time `json:"registered_at"`
	ExpiresAt    time.Time `json:"expires_at"`
}

// RegistrationList lists registrations.
type RegistrationList struct {
	Items []Registration `json:"items" nullable:"false"`
	More  bool           `json:"more" doc:"The list was cut."`
}

// Party is one end of a call.
type Party struct {
	Number string `json:"number"`
	Name   string `json:"name"`
	Source string `json:"source" doc:"Address and port of the phone's signalling, or empty."`
}

// Call is a call in progress.
type Call struct {
	ID         string     `json:"id"`
	State      string     `json:"state" enum:"trying,ringing,connected,held"`
	Caller     Party      `json:"caller"`
	Callee     Party      `json:"callee"`
	Direction  string     `json:"direction" enum:"internal,inbound,outbound"`
	Route      CallRoute  `json:"route"`
	StartedAt  time.Time  `json:"started_at"`
	AnsweredAt *time.Time `json:"answered_at,omitempty"`
	CallerLeg  LegQuality `json:"caller_leg" doc:"Some seconds old."`
	CalleeLeg  LegQuality `json:"callee_leg" doc:"Some seconds old."`
	Alarm      string     `json:"alarm" enum:",bad_quality,one_way_audio" doc:"What was noticed first to be wrong with the media, or empty."`
}

// CallList lists calls.
type CallList struct {
	Items []Call `json:"items" nullable:"false"`
	More  bool   `json:"more" doc:"The list was cut."`
}

// LegQuality is what was measured on the audio between the PBX and one phone:
// by the PBX on what comes from it, by the phone on what goes to it.
type LegQuality struct {
	Codec      string     `json:"codec"`
	Suite      string     `json:"suite" doc:"Protection profile of SRTP; empty: plain RTP."`
	Packets    uint64     `json:"packets" doc:"RTP packets that came from the phone."`
	Lost       uint64     `json:"lost" doc:"Gaps in their sequence."`
	JitterMs   float64    `json:"jitter_ms"`
	MOS        float64    `json:"mos" doc:"Mean opinion score of what comes from the phone (E-model, ITU-T G.107), 1 to 4.4; 0: unknown."`
	WorstMOS   float64    `json:"worst_mos" doc:"Of its worst seconds."`
	Sent       uint64     `json:"sent" doc:"RTP packets that went to the phone."`
	Reported   bool       `json:"reported" doc:"The phone reports about them; without its reports the to_ values are 0."`
	ToLost     uint64     `json:"to_lost"`
	ToJitterMs float64    `json:"to_jitter_ms"`
	ToMOS      float64    `json:"to_mos" doc:"Mean opinion score of what goes to the phone; 0: unknown."`
	ToWorstMOS float64    `json:"to_worst_mos"`
	RTTMs      float64    `json:"rtt_ms" doc:"Round trip between the PBX and the phone; 0: not measured."`
	Dropped    uint64     `json:"dropped" doc:"Packets from a wrong source."`
	Malformed  uint64     `json:"malformed"`
	Forged     uint64     `json:"forged" doc:"SRTP packets that were not authentic, or replayed."`
	History    MOSHistory `json:"history"`
}

// MOSHistory is the quality of a call over time.
type MOSHistory struct {
	StepSeconds float64   `json:"step_seconds" doc:"How long each value is for: it grows with the call."`
	From        []float64 `json:"from" nullable:"false" doc:"Worst MOS of each step of what comes from the phone; 0: unknown."`
	To          []float64 `json:"to" nullable:"false" doc:"The same of what goes to the phone."`
}

// CallRecord is the record of a finished call.
type CallRecord struct {
	ID              string     `json:"id"`
	Direction       string     `json:"direction"`
	Caller          Party      `json:"caller"`
	Callee          Party      `json:"callee"`
	StartedAt       time.Time  `json:"started_at"`
	RangAt          *time.Time `json:"rang_at,omitempty"`
	AnsweredAt      *time.Time `json:"answered_at,omitempty"`
	EndedAt         time.Time  `json:"ended_at"`
	DurationSeconds float64    `json:"duration_seconds" doc:"Answered time."`
	Route           CallRoute  `json:"route"`
	EndReason       string     `json:"end_reason"`
	EndedBy         string     `json:"ended_by" enum:",caller,callee,pbx" doc:"Whose doing the end was; empty for calls of older versions."`
	StatusCode      int        `json:"status_code" doc:"Final SIP status towards the caller."`
	CallerLeg       LegQuality `json:"caller_leg"`
	CalleeLeg       LegQuality `json:"callee_leg"`
	Alarm           string     `json:"alarm" enum:",bad_quality,one_way_audio" doc:"What was noticed first to be wrong with the media, or empty."`
	ForwardedBy     []string   `json:"forwarded_by" nullable:"false" doc:"Numbers that sent the call on, the dialled one first."`
	TransferredBy   string     `json:"transferred_by" doc:"Who handed the caller over, or empty."`
	PreviousID      string     `json:"previous_id" doc:"The call this one continues after a transfer, or empty."`
	NextID          string     `json:"next_id" doc:"The call that continues this one, or empty."`
}

// CallRecordList is a page of call records, newest first.
type CallRecordList struct {
	Items []CallRecord `json:"items" nullable:"false"`
	Next  string       `json:"next" doc:"Value of before for the following page; empty at the end."`
}

// Port is one row of the port table as it stands now.
type Port struct {
	ID        string         `json:"id"`
	Name      string         `json:"name"`
	Side      string         `json:"side" enum:"core,edge,host"`
	Proto     string         `json:"proto" enum:"udp,tcp"`
	First     int            `json:"first"`
	Last      int            `json:"last"`
	Speaks    string         `json:"speaks"`
	State     string         `json:"state" enum:"open,closed,failed,unavailable" doc:"unavailable: this version has no listener for it."`
	Error     string         `json:"error" doc:"Why the state is failed."`
	DefaultOn bool           `json:"default_on"`
	Enabled   bool           `json:"enabled" doc:"It is to be open once set-up is done."`
	Zones     []string       `json:"zones" nullable:"false" doc:"From where it can be reached: voice, management, wan, trunk."`
	Sources   []string       `json:"sources" nullable:"false" doc:"The only networks within the zones that reach it; none is everybody."`
	Rows      []string       `json:"rows" nullable:"false" doc:"Requirement rows."`
	Doc       string         `json:"doc"`
	Packets   uint64         `json:"packets" doc:"Counted by the packet filter."`
	Bytes     uint64         `json:"bytes"`
	Trial     *SettingsTrial `json:"trial,omitempty" readOnly:"true" doc:"The change that this answers waits to be confirmed."`
}

// PortUpdate replaces what may be changed of a row of the port table.
type PortUpdate struct {
	Enabled bool     `json:"enabled" doc:"SIP transports are switched on and off in /transports, the operator shell in /ssh; the portal and media are always on."`
	Port    int      `json:"port" minimum:"1" maximum:"65535" doc:"Its port; of a range, the first, which stays."`
	Zones   []string `json:"zones" nullable:"false" maxItems:"4" doc:"From where it can be reached: voice, management, wan, trunk."`
	Sources []string `json:"sources" nullable:"false" maxItems:"256" doc:"The only networks within the zones that reach it, such as 192.0.2.0/24 or 192.0.2.0/255.255.255.0; none is everybody."`
	Anyway  bool     `json:"anyway,omitempty" doc:"Do so although your own address would be shut out."`
}

// PortList lists the port table.
type PortList struct {
	Items []Port `json:"items" nullable:"false"`
}

// Transport is a SIP transport that exists.
type Transport struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Side     string `json:"side" enum:"core,edge"`
	Protocol string `json:"protocol" enum:"udp,tcp,tls,wss"`
	Port     int    `json:"port"`
	State    string `json:"state" enum:"listening,error"`
	Error    string `json:"error" doc:"Why the state is error."`
	Digest   string `json:"digest" enum:"default,md5,both,sha256" doc:"Digest algorithms offered on it; default: those of the organisation."`
}

// TransportList lists the SIP transports that exist.
type TransportList struct {
	Items []Transport `json:"items" nullable:"false"`
}

// TransportCreate asks for a SIP transport.
type TransportCreate struct {
	Side     string `json:"side" enum:"core,edge"`
	Protocol string `json:"protocol" enum:"udp,tcp,tls,wss" doc:"The core has udp, tcp and tls, the edge udp, tcp and wss."`
	Port     int    `json:"port,omitempty" minimum:"1" maximum:"65535" doc:"Left out: the standard port of the port table."`
	Digest   string `json:"digest,omitempty" enum:"default,md5,both,sha256" doc:"Left out: those of the organisation."`
}

// TransportUpdate replaces what may be changed of a SIP transport.
type TransportUpdate struct {
	Digest string `json:"digest" enum:"default,md5,both,sha256" doc:"Digest algorithms offered on it; default: those of the organisation."`
}

// ClientCertificatesUpdate says whether phones are to show a certificate on SIP
// over TLS.
type ClientCertificatesUpdate struct {
	Mode        string `json:"mode" enum:"off,verify,require" doc:"verify: certificates that are presented must be right; require: there must be one."`
	Authorities string `json:"authorities" maxLength:"65536" doc:"Certificates, as PEM, of those who may issue them."`
}

// ClientCertificates says whether phones show a certificate on SIP over TLS.
type ClientCertificates struct {
	Mode        string      `json:"mode" enum:"off,verify,require"`
	Authorities string      `json:"authorities" doc:"Certificates, as PEM, of those who may issue them."`
	Issuers     []Authority `json:"issuers" nullable:"false" doc:"Whose certificates they are."`
}

// Authority is one who may issue certificates.
type Authority struct {
	Name      string    `json:"name" doc:"Subject of its certificate."`
	ExpiresAt time.Time `json:"expires_at"`
}

// SSH is the operator shell over SSH.
type SSH struct {
	Enabled  bool           `json:"enabled"`
	State    string         `json:"state" doc:"listening, off, or why it does not listen."`
	Port     int            `json:"port"`
	Zones    []string       `json:"zones" nullable:"false" doc:"Who may reach the port."`
	User     string         `json:"user" doc:"The name to log in with."`
	HostKey  string         `json:"host_key" doc:"Fingerprint of the host key; empty while no operator shell runs."`
	Refused  uint64         `json:"refused" doc:"Log-ins that were refused since the operator shell started."`
	Sessions int            `json:"sessions" doc:"People who are logged in."`
	Keys     []SSHKey       `json:"keys" nullable:"false"`
	Trial    *SettingsTrial `json:"trial,omitempty" readOnly:"true" doc:"The change that this answers waits to be confirmed."`
}

// SSHKey is a public key whose owner may log in to the operator shell.
type SSHKey struct {
	ID          string     `json:"id"`
	Label       string     `json:"label"`
	Type        string     `json:"type"`
	Bits        int        `json:"bits"`
	Fingerprint string     `json:"fingerprint"`
	Cloud       bool       `json:"cloud" doc:"From the cloud's metadata; it cannot be removed here."`
	AddedBy     string     `json:"added_by"`
	AddedAt     *time.Time `json:"added_at,omitempty"`
	LastUsedAt  *time.Time `json:"last_used_at,omitempty"`
}

// SSHUpdate switches the operator shell.
type SSHUpdate struct {
	Enabled bool `json:"enabled"`
}

// SSHKeyCreate adds a key to the operator shell.
type SSHKeyCreate struct {
	Label string `json:"label" maxLength:"100" doc:"Whose it is."`
	Key   string `json:"key" maxLength:"8192" doc:"A line of a .pub file: Ed25519, ECDSA, or RSA of 3072 bits or more."`
}

// Addresses says which addresses of the box peers are told.
type Addresses struct {
	PublicAddress   string          `json:"public_address" doc:"Told to peers outside; empty: the one they are reached from."`
	PublicAddresses []PublicAddress `json:"public_addresses" nullable:"false" doc:"Those of single addresses of this machine, where they differ."`
	AdvertiseAlways bool            `json:"advertise_always" doc:"Peers inside are told them too."`
	InsideNetworks  []string        `json:"inside_networks" nullable:"false" doc:"Networks whose peers are told our own address. The machine itself and its links always are."`
	Detected        []OwnAddress    `json:"detected" nullable:"false" doc:"Addresses this machine has now."`
	Cloud           []PublicAddress `json:"cloud" nullable:"false" doc:"Public addresses that the cloud says lead here; they are told to peers outside while none is set. Local is empty where it is not known."`
}

// AddressesUpdate replaces which addresses of the box peers are told.
type AddressesUpdate struct {
	PublicAddress   string          `json:"public_address" maxLength:"45" doc:"IPv4 or IPv6 address, or empty."`
	PublicAddresses []PublicAddress `json:"public_addresses" nullable:"false" maxItems:"16"`
	AdvertiseAlways bool            `json:"advertise_always"`
	InsideNetworks  []string        `json:"inside_networks" nullable:"false" maxItems:"64" doc:"Networks such as 192.168.0.0/16, or single addresses."`
}

// PublicAddress is what peers outside are told instead of one of our addresses.
type PublicAddress struct {
	Local  string `json:"local" maxLength:"45" doc:"Address of this machine."`
	Public string `json:"public" maxLength:"45" doc:"Address that leads to it from outside."`
}

// OwnAddress is an address this machine has.
type OwnAddress struct {
	Address   string `json:"address"`
	Interface string `json:"interface"`
	Inside    bool   `json:"inside" doc:"It belongs to an inside network: peers outside cannot reach it as it is."`
	Outgoing  bool   `json:"outgoing" doc:"Packets to the internet leave from it."`
}

// FenceStatus says whether a packet filter guards the ports.
type FenceStatus struct {
	Active bool   `json:"active"`
	Rev    uint64 `json:"rev" doc:"Revision of the settings the packet filter runs."`
	Error  string `json:"error"`
}

// Applied says which revision a subsystem runs.
type Applied struct {
	Subsystem string `json:"subsystem"`
	Rev       uint64 `json:"rev"`
	Error     string `json:"error" doc:"Why the newest revision is not in force; empty when it is."`
}

// Counts are how many of a thing there are.
type Counts struct {
	Extensions    int `json:"extensions"`
	Registrations int `json:"registrations"`
	Calls         int `json:"calls"`
}

// Clock is what the last time server that answered said.
type Clock struct {
	Server    string    `json:"server" doc:"Its address."`
	Origin    string    `json:"origin" doc:"Who named it: configuration, DHCP or cloud."`
	OffsetMS  float64   `json:"offset_ms" doc:"By how many milliseconds the clock was behind before it was corrected; negative: ahead."`
	CheckedAt time.Time `json:"checked_at"`
}

// Status is how the box is doing.
type Status struct {
	Version       string              `json:"version"`
	Hostname      string              `json:"hostname"`
	UptimeSeconds int64               `json:"uptime_seconds"`
	Rev           uint64              `json:"rev" doc:"Revision of the saved settings."`
	Fence         FenceStatus         `json:"fence"`
	Applied       []Applied           `json:"applied" nullable:"false"`
	Counts        Counts              `json:"counts"`
	Cloud         string              `json:"cloud" enum:"none,AWS,Azure,Google Cloud" doc:"Cloud that this machine runs in, by its firmware."`
	Clock         *Clock              `json:"clock,omitempty" doc:"Where the time comes from. Absent until a time server answered, and where the operating system keeps the clock. For administrators of the system."`
	Trial         *SettingsTrialState `json:"trial,omitempty" doc:"As in get-settings-trial; absent while there is nothing to say. For administrators of the system."`
	Notices       []string            `json:"notices" nullable:"false" doc:"What is wrong with this start: first-boot data that could not be used, a version that was undone, a clock that nobody checks. For administrators of the system."`
}

// AuditEntry says who changed what.
type AuditEntry struct {
	ID      int64     `json:"id"`
	At      time.Time `json:"at"`
	Actor   string    `json:"actor" doc:"Login name, or the part of the system that acted."`
	Kind    string    `json:"kind" doc:"Kind of actor."`
	Address string    `json:"address" doc:"Where the actor sat, or empty."`
	Action  string    `json:"action"`
	Object  string    `json:"object"`
	Rev     uint64    `json:"rev"`
}

// AuditList is a page of audit entries, newest first.
type AuditList struct {
	Items []AuditEntry `json:"items" nullable:"false"`
	Next  string       `json:"next" doc:"Value of before for the following page; empty at the end."`
}

// RegistrationEvent says that the registrations of an extension changed.
type RegistrationEvent struct {
	Number        string `json:"number"`
	Registrations int    `json:"registrations" doc:"How many are left."`
}

// CallEvent carries a call that began, changed or ended.
type CallEvent struct {
	Call  Call `json:"call"`
	Ended bool `json:"ended"`
}
