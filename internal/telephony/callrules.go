package telephony

import (
	"slices"
	"time"
)

// SessionTimers says what is made of session timers (RFC 4028).
type SessionTimers string

// The ways with session timers.
const (
	SessionRefuse  SessionTimers = "refuse"  // none, whoever asks
	SessionAccept  SessionTimers = "accept"  // with every phone that knows them
	SessionRequire SessionTimers = "require" // no call without
)

// Music says what people hear who are on hold.
type Music string

// What people hear who are on hold.
const (
	MusicOfPBX   Music = "pbx"   // our music, whatever the other phone sends
	MusicOfPhone Music = "phone" // what the other phone sends
)

// DTMF is the form of the digits that are dialled during a call.
type DTMF string

// The forms of digits.
const (
	// DTMFAuto is telephone-events with who agreed to them, else tones in the
	// audio; and SIP INFO from who sends some.
	DTMFAuto DTMF = "auto"
	// DTMFEvents is telephone-events (RFC 4733) and nothing else.
	DTMFEvents DTMF = "rfc4733"
	// DTMFInband is tones in the audio and nothing else.
	DTMFInband DTMF = "inband"
	// DTMFInfo is SIP INFO with application/dtmf-relay and nothing else.
	DTMFInfo DTMF = "info"
)

// CallRules is how the calls of a tenant are set up and watched.
type CallRules struct {
	// Media is how the media of its new extensions must be protected.
	Media MediaSecurity
	// Session says whether there are session timers: refuse, accept or require.
	Session SessionTimers
	// SessionExpires is how long a session lasts that nobody refreshes; MinSE to
	// 24 hours.
	SessionExpires time.Duration
	// MinSE is the shortest session a phone may ask for; 90 seconds (RFC 4028
	// section 5) to 1 hour.
	MinSE time.Duration
	// DeadMedia is for how long neither side may send media before their call
	// ends; 0 waits for ever, else 30 seconds to 24 hours.
	DeadMedia time.Duration
	// Tones is the country whose tones callers hear, one of ToneCountries.
	Tones string
	// Music is what people hear who are on hold.
	Music Music
}

// DefaultCallRules are those of a new tenant.
func DefaultCallRules() CallRules {
	return CallRules{
		Media: SecurityOffer, Session: SessionAccept, SessionExpires: 30 * time.Minute, MinSE: 90 * time.Second,
		DeadMedia: 10 * time.Minute, Tones: InternationalTones, Music: MusicOfPBX,
	}
}

// Complete fills in what is not set and has no meaning when it is zero.
func (r CallRules) Complete() CallRules {
	d := DefaultCallRules()
	if r == (CallRules{}) {
		return d
	}
	if r.Media == "" {
		r.Media = d.Media
	}
	if r.Session == "" {
		r.Session = d.Session
	}
	if r.SessionExpires == 0 {
		r.SessionExpires = d.SessionExpires
	}
	if r.MinSE == 0 {
		r.MinSE = d.MinSE
	}
	if r.Tones == "" {
		r.Tones = d.Tones
	}
	if r.Music == "" {
		r.Music = d.Music
	}
	return r
}

// Validate reports the first field that is not usable.
func (r CallRules) Validate() error {
	if err := checkMedia(r.Media); err != nil {
		return err
	}
	switch {
	case r.Session != SessionRefuse && r.Session != SessionAccept && r.Session != SessionRequire:
		return refuse("session_timers", "is none of refuse, accept, require")
	case r.MinSE < 90*time.Second || r.MinSE > time.Hour:
		return refuse("session_min_seconds", "must be between 90 and 3600")
	case r.SessionExpires < r.MinSE || r.SessionExpires > 24*time.Hour:
		return refuse("session_expires_seconds", "must be between the shortest session and 86400")
	case r.DeadMedia != 0 && (r.DeadMedia < 30*time.Second || r.DeadMedia > 24*time.Hour):
		return refuse("dead_media_seconds", "must be 0 (never) or between 30 and 86400")
	case !slices.Contains(ToneCountries(), r.Tones):
		return refuse("tones", "is no country whose tones are known")
	case r.Music != MusicOfPBX && r.Music != MusicOfPhone:
		return refuse("music_on_hold", "is none of pbx, phone")
	}
	return nil
}

// checkMedia accepts the constants.
func checkMedia(m MediaSecurity) error {
	if _, err := ParseMediaSecurity(string(m)); err != nil || m == "" {
		return refuse("media_security", "is none of offer, off, require, require-256")
	}
	return nil
}

// InternationalTones are those that ITU-T E.180 recommends.
const InternationalTones = "ITU"

// ToneCountries are the countries whose tones are known, by their codes of ISO
// 3166, and InternationalTones for all others.
func ToneCountries() []string {
	return []string{"AT", "CA", "CH", "DE", "ES", "FR", "GB", "IT", "NL", "US", InternationalTones}
}
