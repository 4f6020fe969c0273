package telephony

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of trunks.
const (
	MaxTrunks     = 200 // of a tenant
	MaxTrunkPeers = 32
	MaxTrunkDIDs  = 1000
	MaxHeaders    = 16
	MaxRates      = 2000
	MaxTrunkCalls = 10_000
	// MinTrunkPassword is the fewest characters of what a gateway must know.
	MinTrunkPassword = 12
)

// Defaults of trunks.
const (
	DefaultRegisterInterval = 10 * time.Minute
	DefaultOptionsInterval  = time.Minute
)

// Complete fills in what is not set and has no meaning when it is zero.
func (t Trunk) Complete() Trunk {
	if t.Transport == "" {
		t.Transport = TrunkUDP
	}
	if t.RegisterInterval == 0 {
		t.RegisterInterval = DefaultRegisterInterval
	}
	if t.Media == "" {
		t.Media = SecurityOffer
	}
	if t.DTMF == "" {
		t.DTMF = DTMFAuto
	}
	if t.Format == "" {
		t.Format = FormatPlus
	}
	if t.Identity == "" {
		t.Identity = IdentityFrom
	}
	if t.DialledIn == "" {
		t.DialledIn = "uri"
	}
	t.DIDs = slices.Clone(t.DIDs)
	for i, r := range t.DIDs {
		if r.Last == "" {
			t.DIDs[i].Last = r.First
		}
	}
	return t
}

// Validate reports the first field that is not usable. Whether a password is
// there and whether the host may be dialled say others.
func (t Trunk) Validate() error {
	if err := checkName("name", t.Name, 1, MaxUserNameLen); err != nil {
		return err
	}
	for _, check := range []func(Trunk) error{checkTrunkKind, checkTrunkHost, checkTrunkAccount, checkTrunkWays, checkTrunkCalls, checkTrunkNumbers} {
		if err := check(t); err != nil {
			return err
		}
	}
	if err := checkHeaders(t.Headers); err != nil {
		return err
	}
	return t.Caps.Validate()
}

// checkTrunkKind looks at what each kind cannot do without.
func checkTrunkKind(t Trunk) error {
	switch t.Kind {
	case TrunkRegister:
		switch {
		case t.Host == "":
			return refuse("host", "must not be empty: the PBX registers there")
		case t.User == "":
			return refuse("user", "must not be empty: it is the account with the provider")
		}
	case TrunkPeer:
		if t.Host == "" && len(t.Peers) == 0 {
			return refuse("host", "must not be empty unless addresses of the peer are given")
		}
	case TrunkAccept:
		switch {
		case t.Host != "" || t.OutboundProxy != "":
			return refuse("host", "must be empty: the gateway says by registering where it is")
		case t.User == "":
			return refuse("user", "must not be empty: the gateway registers with it")
		case strings.Trim(t.User, "0123456789*#+") == "":
			return refuse("user", "must hold a letter, so that it is no extension's number")
		}
	default:
		return refuse("kind", "is none of register, peer, accept")
	}
	return nil
}

func checkTrunkHost(t Trunk) error {
	if t.Host != "" {
		if err := checkFarHost("host", t.Host); err != nil {
			return err
		}
	}
	if t.OutboundProxy == "" {
		return nil
	}
	host, _, err := SplitHostPort(t.OutboundProxy)
	if err != nil {
		return refuse("outbound_proxy", "must be host or host:port")
	}
	return checkFarHost("outbound_proxy", host)
}

// SplitHostPort takes "host", "host:port", "[v6]:port" or a bare IPv6 address
// apart; without a port it is 0.
func SplitHostPort(s string) (host string, port uint16, err error) {
	if addr, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return addr.String(), 0, nil
	}
	at := strings.LastIndexByte(s, ':')
	if at < 0 {
		return s, 0, nil
	}
	n, err := strconv.ParseUint(s[at+1:], 10, 16)
	if err == nil && n == 0 {
		err = strconv.ErrRange
	}
	return strings.Trim(s[:at], "[]"), uint16(n), err
}

// checkFarHost accepts names and addresses that a trunk's peer may have. Link-local
// addresses are those of cloud metadata services.
func checkFarHost(field, host string) error {
	if err := CheckDomain(field, host); err != nil {
		return err
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return nil
	}
	if addr = addr.Unmap(); addr.IsLinkLocalUnicast() || addr == netip.MustParseAddr("fd00:ec2::254") || addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return refuse(field, "must not be a link-local or broadcast address")
	}
	return nil
}

// CheckNotSelf refuses a trunk that leads to the machine itself.
func (t Trunk) CheckNotSelf() error {
	proxy, _, _ := SplitHostPort(t.OutboundProxy)
	for field, host := range map[string]string{"host": t.Host, "outbound_proxy": proxy} {
		addr, err := netip.ParseAddr(host)
		if host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && addr.Unmap().IsLoopback() {
			return refuse(field, "must not be the machine itself")
		}
	}
	for i, p := range t.Peers {
		if p.Addr().Unmap().IsLoopback() {
			return refuse(item("peers", i), "must not be the machine itself")
		}
	}
	return nil
}

func checkTrunkAccount(t Trunk) error {
	if len(t.User) > MaxUserNameLen || !printable(t.User, `"<>;:@\?`) {
		return refuse("user", "may have 64 characters of ASCII without spaces and without \" < > ; : @ \\ ?")
	}
	if len(t.AuthUser) > 128 || !printable(t.AuthUser, `"\`) {
		return refuse("auth_user", "may have 128 characters of ASCII without spaces, quotes and backslashes")
	}
	if len(t.Password) > 128 || !printable(t.Password.Reveal(), "") {
		return refuse("password", "may have 128 characters of ASCII without spaces")
	}
	if t.Kind == TrunkAccept && t.Password != "" && len(t.Password) < MinTrunkPassword {
		return refuse("password", "must have at least %d characters", MinTrunkPassword)
	}
	return nil
}

// printable reports whether s is visible ASCII without any of the given characters.
func printable(s, without string) bool {
	for _, c := range []byte(s) {
		if c < '!' || c > '~' || strings.IndexByte(without, c) >= 0 {
			return false
		}
	}
	return true
}

func checkTrunkWays(t Trunk) error {
	switch t.Transport {
	case TrunkUDP, TrunkTCP, TrunkTLS:
	default:
		return refuse("transport", "is none of udp, tcp, tls")
	}
	if len(t.Interface) > 15 || strings.Trim(strings.ToLower(t.Interface), "abcdefghijklmnopqrstuvwxyz0123456789._-") != "" {
		return refuse("interface", "is no name of a network interface")
	}
	if t.RegisterInterval < time.Minute || t.RegisterInterval > 24*time.Hour {
		return refuse("register_seconds", "must be between 60 and 86400")
	}
	if t.OptionsInterval != 0 && (t.OptionsInterval < 10*time.Second || t.OptionsInterval > time.Hour) {
		return refuse("options_seconds", "must be 0 (never) or between 10 and 3600")
	}
	return checkTrunkPeers(t.Peers)
}

// checkTrunkPeers keeps the networks narrow whose calls nobody challenges.
func checkTrunkPeers(peers []netip.Prefix) error {
	if len(peers) > MaxTrunkPeers {
		return refuse("peers", "are more than %d", MaxTrunkPeers)
	}
	for i, p := range peers {
		field := item("peers", i)
		switch addr := p.Addr(); {
		case !p.IsValid() || p != p.Masked():
			return refuse(field, "is no network, or has bits after its length")
		case addr.Is4In6():
			return refuse(field, "must be written as an IPv4 network")
		case addr.Is4() && p.Bits() < 16 || addr.Is6() && p.Bits() < 32:
			return refuse(field, "is too wide: its calls are not challenged; /16 (IPv4) and /32 (IPv6) are the widest")
		case addr.IsUnspecified() || addr.IsMulticast() || addr.IsLinkLocalUnicast():
			return refuse(field, "must hold addresses a peer can have")
		case slices.Contains(peers[:i], p):
			return refuse(field, "is there twice")
		}
	}
	return nil
}

func checkTrunkCalls(t Trunk) error {
	if err := checkMedia(t.Media); err != nil {
		return err
	}
	switch t.DTMF {
	case DTMFAuto, DTMFEvents, DTMFInband, DTMFInfo:
	default:
		return refuse("dtmf", "is none of auto, rfc4733, inband, info")
	}
	switch t.Format {
	case FormatPlus, FormatDigits, FormatNational, FormatDialled:
	default:
		return refuse("number_format", "is none of plus, digits, national, dialled")
	}
	switch t.Identity {
	case IdentityFrom, IdentityPAI, IdentityPPI, IdentityRPID:
	default:
		return refuse("identity", "is none of from, pai, ppi, rpid")
	}
	if t.DialledIn != "uri" && t.DialledIn != "to" {
		return refuse("dialled_in", "is none of uri, to")
	}
	if t.MaxCalls < 0 || t.MaxCalls > MaxTrunkCalls {
		return refuse("max_calls", "must be 0 (no limit) or up to %d", MaxTrunkCalls)
	}
	return nil
}

func checkTrunkNumbers(t Trunk) error {
	if t.CallerID != "" {
		if err := CheckE164("caller_id", t.CallerID); err != nil {
			return err
		}
	}
	if len(t.DIDs) > MaxTrunkDIDs {
		return refuse("dids", "are more than %d", MaxTrunkDIDs)
	}
	for i, r := range t.DIDs {
		if err := r.check(item("dids", i), CheckE164); err != nil {
			return err
		}
		if slices.ContainsFunc(t.DIDs[:i], r.Overlaps) {
			return refuse(item("dids", i), "has numbers of another entry of the list")
		}
	}
	return nil
}

// item names an entry of a list.
func item(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }

// CheckE164 accepts a number of E.164 with +.
func CheckE164(field, number string) error {
	digits, plus := strings.CutPrefix(number, "+")
	if !plus || len(digits) < 3 || len(digits) > 15 || digits[0] == '0' || !onlyDigits(digits) {
		return refuse(field, "must be a number with + and the country code, such as +49301234")
	}
	return nil
}

func onlyDigits(s string) bool { return strings.Trim(s, "0123456789") == "" }

// Overlaps reports whether two ranges have a number in common.
func (r NumberRange) Overlaps(o NumberRange) bool {
	last := func(r NumberRange) string {
		if r.Last == "" {
			return r.First
		}
		return r.Last
	}
	return len(r.First) == len(o.First) && r.First <= last(o) && o.First <= last(r)
}

// check looks at both ends of a range.
func (r NumberRange) check(field string, number func(field, s string) error) error {
	if err := number(field+".first", r.First); err != nil {
		return err
	}
	if r.Last == "" {
		return nil
	}
	if err := number(field+".last", r.Last); err != nil {
		return err
	}
	if len(r.First) != len(r.Last) || r.Last < r.First {
		return refuse(field+".last", "must have as many digits as the first number and not be lower")
	}
	return nil
}

// Validate reports the first cap that is not usable.
func (c Caps) Validate() error {
	const mostMoney, most = Money(1e15), 1_000_000
	switch {
	case c.MoneyHour < 0 || c.MoneyHour > mostMoney:
		return refuse("caps.money_hour", "must not be negative")
	case c.MoneyDay < 0 || c.MoneyDay > mostMoney:
		return refuse("caps.money_day", "must not be negative")
	case c.MinutesHour < 0 || c.MinutesHour > most:
		return refuse("caps.minutes_hour", "must be 0 (no bound) or up to %d", most)
	case c.MinutesDay < 0 || c.MinutesDay > most:
		return refuse("caps.minutes_day", "must be 0 (no bound) or up to %d", most)
	case c.CallsPerMinute < 0 || c.CallsPerMinute > most:
		return refuse("caps.calls_per_minute", "must be 0 (no bound) or up to %d", most)
	}
	return nil
}

// CheckRates reports the first rate that is not usable.
func CheckRates(rates []Rate) error {
	if len(rates) > MaxRates {
		return refuse("rates", "are more than %d", MaxRates)
	}
	seen := make(map[string]bool, len(rates))
	for i, r := range rates {
		if err := r.check(i); err != nil {
			return err
		}
		if seen[r.Prefix] {
			return refuse(entry("rates", i, "prefix"), "is there twice")
		}
		seen[r.Prefix] = true
	}
	return nil
}

func (r Rate) check(i int) error {
	const most = Money(1e12) // a million a minute
	bad := func(d time.Duration) bool { return d != 0 && (d < time.Second || d > time.Hour || d%time.Second != 0) }
	switch {
	case r.Prefix == "" || len(r.Prefix) > 15 || !onlyDigits(r.Prefix) || r.Prefix[0] == '0':
		return refuse(entry("rates", i, "prefix"), "must be 1 to 15 digits that begin with a country code")
	case r.Connect < 0 || r.Connect > most:
		return refuse(entry("rates", i, "connect"), "must not be negative")
	case r.Minute < 0 || r.Minute > most:
		return refuse(entry("rates", i, "minute"), "must not be negative")
	case bad(r.First):
		return refuse(entry("rates", i, "first_seconds"), "must be between 1 and 3600")
	case bad(r.Next):
		return refuse(entry("rates", i, "next_seconds"), "must be between 1 and 3600")
	}
	return checkName(entry("rates", i, "name"), r.Name, 0, MaxUserNameLen)
}
