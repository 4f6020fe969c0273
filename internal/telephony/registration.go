package telephony

import (
	"log/slog"
	"strings"
	"time"
)

// Digest says which digest algorithms a SIP domain offers (RFC 8760).
type Digest string

// The modes. Most phones know MD5 only, and some give up on any challenge that
// offers another.
const (
	DigestMD5    Digest = "md5"
	DigestBoth   Digest = "both" // SHA-256 first
	DigestSHA256 Digest = "sha256"
)

// known reports whether it is one of the constants.
func (d Digest) known() bool { return d == DigestMD5 || d == DigestBoth || d == DigestSHA256 }

// Registration is how the phones of a tenant may register and how they are
// looked after.
type Registration struct {
	// Digest is what its domain offers: md5, both or sha256.
	Digest Digest
	// TLSOnly refuses its phones on transports without encryption.
	TLSOnly bool
	// MaxContacts is how many phones one extension may register; beyond it the
	// one that registered longest ago gives way. 1 to 50.
	MaxContacts int
	// QualifyInterval is how often a phone behind NAT on UDP is asked with
	// OPTIONS whether it is still there, which also keeps the NAT open; 0 asks
	// nobody, else 15 seconds to 10 minutes.
	QualifyInterval time.Duration
	// QualifyFailures unanswered in a row make a phone unreachable: it is shown,
	// but not rung. 1 to 10.
	QualifyFailures int
}

// DefaultRegistration is that of a new tenant.
func DefaultRegistration() Registration {
	return Registration{Digest: DigestMD5, MaxContacts: 10, QualifyInterval: 30 * time.Second, QualifyFailures: 3}
}

// Complete fills in what is not set and has no meaning when it is zero.
func (r Registration) Complete() Registration {
	d := DefaultRegistration()
	if r == (Registration{}) {
		return d
	}
	if r.Digest == "" {
		r.Digest = d.Digest
	}
	if r.MaxContacts == 0 {
		r.MaxContacts = d.MaxContacts
	}
	if r.QualifyFailures == 0 {
		r.QualifyFailures = d.QualifyFailures
	}
	return r
}

// Validate reports the first field that is not usable.
func (r Registration) Validate() error {
	switch {
	case !r.Digest.known():
		return refuse("digest", "is none of md5, both, sha256")
	case r.MaxContacts < 1 || r.MaxContacts > 50:
		return refuse("max_contacts", "must be between 1 and 50")
	case r.QualifyInterval != 0 && (r.QualifyInterval < 15*time.Second || r.QualifyInterval > 10*time.Minute):
		return refuse("qualify_seconds", "must be 0 (off) or between 15 and 600")
	case r.QualifyFailures < 1 || r.QualifyFailures > 10:
		return refuse("qualify_failures", "must be between 1 and 10")
	}
	return nil
}

// ShownContact is the Contact for people and logs: without the token that wakes
// the phone.
func (b Binding) ShownContact() string {
	if b.Push.PRID == "" {
		return b.Contact
	}
	return strings.ReplaceAll(b.Contact, b.Push.PRID, "...")
}

// LogValue keeps the token out of logs.
func (b Binding) LogValue() slog.Value {
	return slog.GroupValue(slog.String("aor", b.AOR.String()), slog.String("contact", b.ShownContact()), slog.String("source", b.Flow.Remote.String()))
}

// LogValue keeps the token out of logs.
func (p Push) LogValue() slog.Value { return slog.StringValue(p.Provider) }
