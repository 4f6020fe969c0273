package telephony

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Protection is how attackers are told from phones, and what becomes of them.
type Protection struct {
	// Detect counts what sources do wrong. Without it nobody is banned for it;
	// passwords are asked for all the same, and the limits of packets stay.
	Detect bool
	// Period is the time over which is counted; 1 second to 10 minutes.
	Period time.Duration
	// Ban is how long a source that was detected gets no answer to SIP; 1 second
	// to 366 days.
	Ban time.Duration
	// WrongAnswers is how many wrong answers to challenges ban a source; 1 to
	// 30,000, as the next four.
	WrongAnswers int
	// Unanswered is how many challenges that nobody answers ban a source.
	Unanswered int
	// Names is how many names a source may be asked to prove and not prove,
	// within 60 periods, before it is taken for a scanner.
	Names int
	// Malformed is how many requests that are none ban a source.
	Malformed int
	// Calls is how many calls one extension may begin within Period; more are
	// refused.
	Calls int
	// UnknownNumbers is how many numbers that nobody has one extension may dial
	// within 60 periods; then its calls are refused for Ban.
	UnknownNumbers int
	// UserAgents and SessionNames are what known attack tools call themselves in
	// User-Agent and in the s= line of a session description: parts of it in any
	// case, * for any characters. Their requests get no answer, unless they come
	// from a source that has proved a password. At most 200 each.
	UserAgents   []string
	SessionNames []string
	// BanTools bans their sources too, if they came over a connection: the source
	// of a datagram can be forged.
	BanTools bool
	// SilentInvite leaves INVITEs without an answer that come without credentials
	// from sources which have not proved a password.
	SilentInvite bool
}

// Bounds of Protection.
const (
	MaxProtectionCount = 30_000
	maxPatterns        = 200
	maxPatternLen      = 100
	MaxBan             = 366 * 24 * time.Hour
)

// DefaultProtection is that of a fresh system.
func DefaultProtection() Protection {
	return Protection{
		Detect: true, Period: 10 * time.Second, Ban: time.Hour,
		WrongAnswers: 50, Unanswered: 1000, Names: 60, Malformed: 100, Calls: 60, UnknownNumbers: 60,
		UserAgents:   []string{"friendly-scanner", "pplsip", "sipcli", "sipvicious", "VaxSIPUserAgent"},
		SessionNames: []string{"portsip.com"},
	}
}

// Validate reports the first field that is not usable.
func (p Protection) Validate() error {
	switch {
	case p.Period < time.Second || p.Period > 10*time.Minute:
		return refuse("period_seconds", "must be between 1 and 600")
	case p.Ban < time.Second || p.Ban > MaxBan:
		return refuse("ban_seconds", "must be between 1 and %d", int(MaxBan.Seconds()))
	}
	for _, c := range []struct {
		field string
		n     int
	}{
		{"wrong_answers", p.WrongAnswers}, {"unanswered", p.Unanswered}, {"names", p.Names},
		{"malformed", p.Malformed}, {"calls", p.Calls}, {"unknown_numbers", p.UnknownNumbers},
	} {
		if c.n < 1 || c.n > MaxProtectionCount {
			return refuse(c.field, "must be between 1 and %d", MaxProtectionCount)
		}
	}
	if err := checkPatterns("user_agents", p.UserAgents); err != nil {
		return err
	}
	return checkPatterns("session_names", p.SessionNames)
}

func checkPatterns(field string, list []string) error {
	if len(list) > maxPatterns {
		return refuse(field, "has more than %d entries", maxPatterns)
	}
	for i, s := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		switch {
		case len(strings.Trim(s, "* \t")) < 3:
			return refuse(at, "must have 3 characters besides *: a shorter part would fit phones too")
		case len(s) > maxPatternLen:
			return refuse(at, "is longer than %d characters", maxPatternLen)
		case !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }):
			return refuse(at, "holds a control character")
		}
	}
	return nil
}

// Evidence is what a source was convicted by: what it last called itself and
// asked for, in its own words, and how often it did wrong.
type Evidence struct {
	UserAgent string
	Target    string
	Count     int
}

// PacketLimits are how many packets a second one source may send to the ports of
// signalling and web; of streams, how many connections it may open. The source of
// a phone that is registered has limits of its own, which nobody sets.
type PacketLimits struct {
	// L1 and L2 are packets a second, L1 below L2; 10 to 1,000,000.
	L1, L2 int
	// L1Ban and L2Ban are how long a source is banned that sends more; 1 second to
	// 366 days, L1Ban below L2Ban.
	L1Ban, L2Ban time.Duration
}

// DefaultPacketLimits are those of a fresh system.
func DefaultPacketLimits() PacketLimits {
	return PacketLimits{L1: 500, L1Ban: 30 * time.Second, L2: 2000, L2Ban: time.Hour}
}

// Validate reports the first field that is not usable.
func (l PacketLimits) Validate() error {
	const most = 1_000_000
	switch {
	case l.L1 < 10 || l.L1 > most:
		return refuse("level1", "must be between 10 and %d", most)
	case l.L2 <= l.L1 || l.L2 > most:
		return refuse("level2", "must be above level 1 and at most %d", most)
	case l.L1Ban < time.Second || l.L1Ban > MaxBan:
		return refuse("level1_ban_seconds", "must be between 1 and %d", int(MaxBan.Seconds()))
	case l.L2Ban <= l.L1Ban || l.L2Ban > MaxBan:
		return refuse("level2_ban_seconds", "must be above that of level 1 and at most %d", int(MaxBan.Seconds()))
	}
	return nil
}
