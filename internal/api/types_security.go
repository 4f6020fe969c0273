package api

import "time"

// Protection is how attackers are told from phones.
type Protection struct {
	Detect           bool           `json:"detect" doc:"Count what sources do wrong. Without it nobody is banned for it; passwords and the limits of packets stay."`
	PeriodSeconds    int            `json:"period_seconds" minimum:"1" maximum:"600" doc:"Time over which is counted."`
	BanSeconds       int            `json:"ban_seconds" minimum:"1" maximum:"31622400" doc:"How long a source that was detected gets no answer on SIP."`
	WrongAnswers     int            `json:"wrong_answers" minimum:"1" maximum:"30000" doc:"Wrong passwords from one source."`
	Unanswered       int            `json:"unanswered" minimum:"1" maximum:"30000" doc:"Challenges (401, 407) to one source that nobody answers."`
	Names            int            `json:"names" minimum:"1" maximum:"30000" doc:"Names that one source tries and does not prove, within 60 periods."`
	Malformed        int            `json:"malformed" minimum:"1" maximum:"30000" doc:"Requests from one source that are refused for their form."`
	Calls            int            `json:"calls" minimum:"1" maximum:"30000" doc:"Calls that one extension may begin within a period; more are refused."`
	UnknownNumbers   int            `json:"unknown_numbers" minimum:"1" maximum:"30000" doc:"Numbers that nobody has and one extension dials, within 60 periods; then its calls are refused for a while."`
	UserAgents       []string       `json:"user_agents" nullable:"false" maxItems:"200" doc:"Parts of the User-Agent of attack tools, in any case; * stands for any characters."`
	SessionNames     []string       `json:"session_names" nullable:"false" maxItems:"200" doc:"The same for the s= line of session descriptions."`
	BanTools         bool           `json:"ban_tools" doc:"Ban their sources too, if they came over a connection."`
	SilentInvite     bool           `json:"silent_invite" doc:"Calls without credentials from sources that have proved no password get no answer at all."`
	Level1           int            `json:"level1" minimum:"10" maximum:"1000000" doc:"Packets a second from one source to signalling and web ports."`
	Level1BanSeconds int            `json:"level1_ban_seconds" minimum:"1" maximum:"31622400"`
	Level2           int            `json:"level2" minimum:"11" maximum:"1000000" doc:"The same, for those who go on while banned by level 1."`
	Level2BanSeconds int            `json:"level2_ban_seconds" minimum:"2" maximum:"31622400"`
	Trial            *SettingsTrial `json:"trial,omitempty" readOnly:"true" doc:"The change that this answers waits to be confirmed."`
}

// PortFilter says who filters by port.
type PortFilter struct {
	Mode  string         `json:"mode" enum:"filter,cloud,off" doc:"filter: this box, by its table of ports; cloud: the cloud's security groups. Lists of addresses, bans and limits hold in both. off: this box filters nothing at all, not even who is blocked."`
	Cloud string         `json:"cloud" enum:"none,AWS,Azure,Google Cloud" doc:"Cloud that this machine runs in."`
	Trial *SettingsTrial `json:"trial,omitempty" readOnly:"true" doc:"The change that this answers waits to be confirmed."`
}

// FilterOffPhrase is what has to be typed to switch the packet filter off.
const FilterOffPhrase = "switch the packet filter off"

// PortFilterPut changes who filters by port.
type PortFilterPut struct {
	Mode         string `json:"mode" enum:"filter,cloud,off"`
	Confirmation string `json:"confirmation,omitempty" maxLength:"100" doc:"For off: the words 'switch the packet filter off'."`
}

// Ban is a source that gets no answer.
type Ban struct {
	Source    string     `json:"source" doc:"IPv4 address, or the first of an IPv6 network of 64 bits."`
	Scope     string     `json:"scope" enum:"sip,web,prov,all" doc:"Ports that are closed to it."`
	Reason    string     `json:"reason"`
	UserAgent string     `json:"user_agent" doc:"What it calls itself."`
	Target    string     `json:"target" doc:"What it last asked for."`
	Count     int        `json:"count" doc:"How often it did wrong."`
	Since     *time.Time `json:"since" nullable:"true"`
	Until     time.Time  `json:"until"`
	Level     int        `json:"level" minimum:"0" maximum:"2" doc:"Level of packets a second that it exceeded; 0 is another reason."`
	Port      string     `json:"port" doc:"Port that the packets above a level went to: udp 5060."`
	Dropped   uint64     `json:"dropped" doc:"Packets of it that were dropped since, where the packet filter counts them."`
}

// Attack is an entry of the journal: a source was banned.
type Attack struct {
	ID        int64     `json:"id" doc:"Grows; 0 in events."`
	At        time.Time `json:"at"`
	Source    string    `json:"source" doc:"IPv4 address, or the first of an IPv6 network of 64 bits."`
	Scope     string    `json:"scope" enum:"sip,web,prov,all" doc:"Ports that were closed to it."`
	Reason    string    `json:"reason"`
	Level     int       `json:"level" minimum:"0" maximum:"2" doc:"Level of packets a second that it exceeded; 0 is another reason."`
	Port      string    `json:"port" doc:"Port that the packets above a level went to: udp 5060."`
	UserAgent string    `json:"user_agent" doc:"What it called itself."`
	Target    string    `json:"target" doc:"What it last asked for."`
	Count     int       `json:"count" doc:"How often it did wrong, or how many packets a second were allowed."`
	Until     time.Time `json:"until" doc:"When the ban ends or ended."`
}

// AttackList is a page of the journal, the newest first.
type AttackList struct {
	Items []Attack `json:"items" nullable:"false"`
	Next  int64    `json:"next" doc:"Give it as before for the next page; 0 at the end."`
}

// AttackSummary is the state in numbers.
type AttackSummary struct {
	LastHour int     `json:"last_hour" doc:"Attacks of the last hour."`
	Banned   int     `json:"banned" doc:"Sources that are banned now."`
	Dropped  uint64  `json:"dropped" doc:"Packets dropped in the last hour."`
	Rate     float64 `json:"rate" doc:"Packets dropped a second, in the last ten seconds that were counted."`
	Counted  bool    `json:"counted" doc:"Whether the packet filter could be asked."`
}

// PacketHistory is packets over time.
type PacketHistory struct {
	StepSeconds int            `json:"step_seconds"`
	Times       []int64        `json:"times" nullable:"false" doc:"When each step begins, in seconds since 1970."`
	Known       []bool         `json:"known" nullable:"false" doc:"Whether somebody counted: where not, the values mean nothing."`
	Drops       []PacketSeries `json:"drops" nullable:"false" doc:"Packets that were dropped, by cause."`
	Ports       []PacketSeries `json:"ports" nullable:"false" doc:"Packets that were let in, by row of the port table; of TCP, new connections."`
}

// PacketSeries is one line of a history.
type PacketSeries struct {
	Name   string    `json:"name"`
	Total  uint64    `json:"total" doc:"Packets in all steps."`
	Values []float64 `json:"values" nullable:"false" doc:"Packets a second, one for each step."`
}

// OwnBans are the bans of the address that asks.
type OwnBans struct {
	Address string   `json:"address" doc:"The address that asks, as this box sees it."`
	MayLift bool     `json:"may_lift" doc:"The user may take bans back, with delete-ban."`
	Items   []OwnBan `json:"items" nullable:"false"`
}

// OwnBan is one of them.
type OwnBan struct {
	Source string    `json:"source" doc:"IPv4 address, or the first of an IPv6 network of 64 bits."`
	Scope  string    `json:"scope" enum:"sip,web,prov,all" doc:"Ports that are closed to it."`
	Reason string    `json:"reason"`
	Until  time.Time `json:"until"`
}

// BanList lists bans.
type BanList struct {
	Items []Ban `json:"items" nullable:"false"`
	Total int   `json:"total"`
}

// BanAllow lets a banned source in for good.
type BanAllow struct {
	Source string `json:"source" maxLength:"45"`
	Note   string `json:"note" maxLength:"200"`
}

// AddressRule is a line of the list of addresses.
type AddressRule struct {
	Network   string         `json:"network"`
	First     string         `json:"first" doc:"First address it covers."`
	Last      string         `json:"last" doc:"Last address it covers."`
	Action    string         `json:"action" enum:"allow,block"`
	Note      string         `json:"note"`
	ExpiresAt *time.Time     `json:"expires_at" nullable:"true" doc:"Null is never."`
	CreatedAt time.Time      `json:"created_at"`
	CreatedBy string         `json:"created_by"`
	Trial     *SettingsTrial `json:"trial,omitempty" readOnly:"true" doc:"The change that this answers waits to be confirmed."`
}

// AddressRuleList is a page of the list.
type AddressRuleList struct {
	Items []AddressRule `json:"items" nullable:"false"`
	Total int           `json:"total" doc:"Lines that match the search."`
}

// AddressRulePut adds or replaces a line of the list.
type AddressRulePut struct {
	Network   string     `json:"network" maxLength:"100" doc:"An address, or a network such as 41.202.0.0/16 or 41.202.0.0/255.255.0.0."`
	Action    string     `json:"action" enum:"allow,block"`
	Note      string     `json:"note,omitempty" maxLength:"200"`
	ExpiresAt *time.Time `json:"expires_at,omitempty" nullable:"true"`
	Anyway    bool       `json:"anyway,omitempty" doc:"Block it although it holds your own address, or one the PBX needs."`
}

// AddressImport is a list to add.
type AddressImport struct {
	CSV    string `json:"csv" maxLength:"15000000" doc:"Lines of network, action (allow or block), note, expiry (RFC 3339)."`
	Anyway bool   `json:"anyway,omitempty" doc:"As in put-address-rule."`
}

// AddressImported says how many lines were added.
type AddressImported struct {
	Added int            `json:"added"`
	Trial *SettingsTrial `json:"trial,omitempty" readOnly:"true" doc:"The change that this answers waits to be confirmed."`
}

// AddressCheck says whether packets of an address are let in.
type AddressCheck struct {
	Address     string       `json:"address"`
	Verdict     string       `json:"verdict" enum:"open,allowed,blocked,banned"`
	Explanation string       `json:"explanation"`
	Own         bool         `json:"own" doc:"It is one of the PBX."`
	Trusted     bool         `json:"trusted" doc:"A phone is registered from there."`
	Rule        *AddressRule `json:"rule,omitempty" doc:"Line of the list that decides."`
	Bans        []Ban        `json:"bans" nullable:"false"`
	Packet      *PacketCheck `json:"packet,omitempty" doc:"What becomes of a packet, where a port was given and a packet filter is there."`
}

// PacketCheck is what becomes of the first packet of a connection, or of a
// datagram, of a source that keeps within all limits.
type PacketCheck struct {
	Accepted    bool     `json:"accepted"`
	Cause       string   `json:"cause" doc:"Cause of the drop, or row of the port table that let it in; may be empty."`
	Explanation string   `json:"explanation"`
	Rules       []string `json:"rules" nullable:"false" doc:"Rules that matched, in their order, as nft(8) writes them."`
}

// AddressRemoved answers that a line is off the list.
type AddressRemoved struct {
	Trial *SettingsTrial `json:"trial,omitempty" readOnly:"true" doc:"The change that this answers waits to be confirmed."`
}

// SettingsTrial is a change of settings that waits to be confirmed.
type SettingsTrial struct {
	ID          string   `json:"id" doc:"What the confirmation has to say."`
	SecondsLeft int      `json:"seconds_left"`
	Where       string   `json:"where" doc:"Origin of the portal after the change, from where it is to be confirmed."`
	By          string   `json:"by" doc:"Who made the change."`
	Changes     []string `json:"changes" nullable:"false" doc:"Rows of the port table, fields of the settings and networks that it changes."`
}

// SettingsTrialState says whether a change waits to be confirmed.
type SettingsTrialState struct {
	Pending  *SettingsTrial    `json:"pending,omitempty"`
	Reverted *NetworkTakenBack `json:"reverted,omitempty" doc:"The last change that was taken back, for a while."`
}
