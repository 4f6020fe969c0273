package telephony

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"ringfence/internal/ports"
)

// FieldError refuses one field of somebody's input. Field is the name the
// field has in the API; Reason is for people and never repeats the value.
type FieldError struct {
	Field  string
	Reason string
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Reason }

// entry names a field of an entry of a list.
func entry(list string, i int, field string) string { return fmt.Sprintf("%s[%d].%s", list, i, field) }

func refuse(field, format string, args ...any) error {
	return &FieldError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// Limits of what people may enter.
const (
	MaxNameLen      = 100 // code points of tenant and display names
	MaxUserNameLen  = 64
	MaxEmailLen     = 254 // RFC 5321 section 4.5.3.1.3, less the angle brackets
	MaxPhoneLen     = 32
	MaxLocationLen  = 200
	MaxWebNames     = 16
	MaxDomainLen    = 253 // RFC 1035 section 2.3.4, in text form
	MinNumberDigits = 2
	MaxNumberDigits = 9
	MinNoAnswer     = 5 * time.Second
	MaxNoAnswer     = 180 * time.Second
)

// DefaultNoAnswer is how long phones ring unless told otherwise.
const DefaultNoAnswer = 30 * time.Second

// Validate reports the first field that is not usable.
func (t Tenant) Validate() error {
	if err := checkName("name", t.Name, 1, MaxNameLen); err != nil {
		return err
	}
	if err := CheckDomain("domain", t.Domain); err != nil {
		return err
	}
	if err := checkRange(t.ExtensionFirst, t.ExtensionLast); err != nil {
		return err
	}
	if err := t.Registration.Complete().Validate(); err != nil {
		return err
	}
	if err := t.checkPlace(); err != nil {
		return err
	}
	return t.Calls.Complete().Validate()
}

// CheckDomain accepts a lower case host name (RFC 1123 section 2.1) or an IP
// address as SIP domain; an IPv6 address is written without brackets.
func CheckDomain(field, domain string) error {
	switch {
	case domain == "":
		return refuse(field, "must not be empty")
	case len(domain) > MaxDomainLen:
		return refuse(field, "is longer than %d characters", MaxDomainLen)
	case domain != strings.ToLower(domain):
		return refuse(field, "must be written in lower case")
	}
	if addr, err := netip.ParseAddr(domain); err == nil {
		return checkDomainAddr(field, domain, addr)
	}
	labels := strings.Split(domain, ".")
	for _, label := range labels {
		if err := checkLabel(field, label); err != nil {
			return err
		}
	}
	// RFC 1123 section 2.1: a name whose last label is all digits would be
	// read as an IPv4 address.
	if strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return refuse(field, "looks like an IP address but is none")
	}
	return nil
}

func checkDomainAddr(field, domain string, addr netip.Addr) error {
	switch {
	case addr.Zone() != "":
		return refuse(field, "must not carry an IPv6 zone")
	case addr.IsUnspecified() || addr.IsMulticast():
		return refuse(field, "must be an address phones can reach")
	case addr.String() != domain:
		return refuse(field, "must be written in its shortest form (%s)", addr)
	}
	return nil
}

func checkLabel(field, label string) error {
	switch {
	case label == "":
		return refuse(field, "has an empty part between dots")
	case len(label) > 63:
		return refuse(field, "has a part longer than 63 characters")
	case label[0] == '-' || label[len(label)-1] == '-':
		return refuse(field, "has a part that begins or ends with a hyphen")
	}
	for _, c := range []byte(label) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
			return refuse(field, "may only hold letters a-z, digits, hyphens and dots")
		}
	}
	return nil
}

func checkRange(first, last string) error {
	if err := CheckNumber("extension_first", first); err != nil {
		return err
	}
	if err := CheckNumber("extension_last", last); err != nil {
		return err
	}
	switch {
	case len(first) != len(last):
		return refuse("extension_last", "must have as many digits as the first extension")
	case last < first:
		return refuse("extension_last", "must not be lower than the first extension")
	}
	return nil
}

// CheckNumber accepts an extension number: 2 to 9 digits.
func CheckNumber(field, number string) error {
	switch {
	case number == "":
		return refuse(field, "must not be empty")
	case strings.Trim(number, "0123456789") != "":
		return refuse(field, "may only hold digits")
	case len(number) < MinNumberDigits || len(number) > MaxNumberDigits:
		return refuse(field, "must have %d to %d digits", MinNumberDigits, MaxNumberDigits)
	}
	return nil
}

// Validate reports the first field that is not usable in tenant t.
func (e Extension) Validate(t Tenant) error {
	if err := CheckNumber("number", e.Number); err != nil {
		return err
	}
	// Numbers of one length compare as text.
	if len(e.Number) != len(t.ExtensionFirst) || e.Number < t.ExtensionFirst || e.Number > t.ExtensionLast {
		return refuse("number", "is outside the extension range %s to %s", t.ExtensionFirst, t.ExtensionLast)
	}
	if err := checkName("display_name", e.DisplayName, 0, MaxNameLen); err != nil {
		return err
	}
	if e.NoAnswer < MinNoAnswer || e.NoAnswer > MaxNoAnswer {
		return refuse("no_answer", "must be between %d and %d seconds", int(MinNoAnswer.Seconds()), int(MaxNoAnswer.Seconds()))
	}
	if _, err := ParseMediaSecurity(string(e.Media)); err != nil {
		return refuse("media_security", "is none of offer, off, require, require-256")
	}
	switch e.DTMF {
	case "", DTMFAuto, DTMFEvents, DTMFInband, DTMFInfo:
	default:
		return refuse("dtmf", "is none of auto, rfc4733, inband, info")
	}
	if e.OwnRole == RoleSystemAdmin {
		return refuse("role", "system_admin is no role of extensions")
	}
	if err := checkName("emergency_location", e.EmergencyLocation, 0, MaxLocationLen); err != nil {
		return err
	}
	if e.EmergencyCallback != "" {
		if err := CheckE164("emergency_callback", e.EmergencyCallback); err != nil {
			return err
		}
	}
	return e.Handling.check(e.Number)
}

// Validate reports the first field that is not usable.
func (u User) Validate() error {
	if err := checkUserName(u.Name); err != nil {
		return err
	}
	if err := checkName("first_name", u.FirstName, 0, MaxNameLen); err != nil {
		return err
	}
	if err := checkName("last_name", u.LastName, 0, MaxNameLen); err != nil {
		return err
	}
	if err := checkEmail(u.Email); err != nil {
		return err
	}
	if err := checkPhone(u.Phone); err != nil {
		return err
	}
	return u.checkRole()
}

func (u User) checkRole() error {
	if err := CheckRoleName("role", u.Role); err != nil {
		return err
	}
	switch {
	case (u.Role == RoleSystemAdmin) != (u.Tenant == System):
		return refuse("role", "system_admin belongs to the box and every other role to a tenant")
	case u.Extension == "":
		return nil
	case u.Tenant == System:
		return refuse("extension", "administrators of the box have no extension")
	}
	return CheckNumber("extension", u.Extension)
}

func checkUserName(name string) error {
	switch {
	case name == "":
		return refuse("name", "must not be empty")
	case len(name) > MaxUserNameLen:
		return refuse("name", "is longer than %d characters", MaxUserNameLen)
	case name != strings.ToLower(name):
		return refuse("name", "must be written in lower case")
	}
	for _, c := range []byte(name) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("._-@+", c) >= 0) {
			return refuse("name", "may only hold letters a-z, digits and . _ - @ +")
		}
	}
	return nil
}

func checkEmail(email string) error {
	if email == "" {
		return nil
	}
	if len(email) > MaxEmailLen {
		return refuse("email", "is longer than %d characters", MaxEmailLen)
	}
	at := strings.LastIndexByte(email, '@')
	if at < 1 || at > 64 { // RFC 5321 section 4.5.3.1.1
		return refuse("email", "must look like name@example.org")
	}
	// RFC 5322 section 3.2.3 dot-atom: quoted local parts are refused.
	for _, c := range []byte(email[:at]) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+/=?^_`{|}~.-", c) >= 0) {
			return refuse("email", "has a character that is not allowed before the @")
		}
	}
	if CheckDomain("email", strings.ToLower(email[at+1:])) != nil {
		return refuse("email", "has no usable domain after the @")
	}
	return nil
}

func checkPhone(phone string) error {
	if len(phone) > MaxPhoneLen {
		return refuse("phone", "is longer than %d characters", MaxPhoneLen)
	}
	for _, c := range []byte(phone) {
		if !(c >= '0' && c <= '9' || strings.IndexByte("+-./() ", c) >= 0) {
			return refuse("phone", "may only hold digits, spaces and + - . / ( )")
		}
	}
	return nil
}

// checkName bounds text people see: valid UTF-8 without control, formatting
// (zero width, direction override) or line separator characters, which could
// break a log line or a SIP header or hide what is there.
func checkName(field, s string, minLen, maxLen int) error {
	switch {
	case !utf8.ValidString(s):
		return refuse(field, "is not valid UTF-8")
	case minLen > 0 && strings.TrimSpace(s) == "":
		return refuse(field, "must not be empty")
	case utf8.RuneCountInString(s) > maxLen:
		return refuse(field, "is longer than %d characters", maxLen)
	case s != strings.TrimSpace(s):
		return refuse(field, "must not begin or end with a space")
	}
	for _, r := range s {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co) || r == utf8.RuneError {
			return refuse(field, "holds a control or invisible character")
		}
	}
	return nil
}

// Validate reports the first setting that is not usable.
func (s Settings) Validate() error {
	if _, err := ports.Effective(s.Ports, ports.InService); err != nil {
		return refuse("ports", "%s", err)
	}
	if err := s.checkAddresses(); err != nil {
		return err
	}
	if err := s.checkDigests(); err != nil {
		return err
	}
	if err := s.Protection.Validate(); err != nil {
		return err
	}
	if err := s.Limits.Validate(); err != nil {
		return err
	}
	if len(s.WebNames) > MaxWebNames {
		return refuse("web_names", "are more than %d", MaxWebNames)
	}
	for _, name := range s.WebNames {
		if err := CheckDomain("web_names", name); err != nil {
			return err
		}
	}
	switch {
	case s.SessionIdle < time.Minute || s.SessionIdle > 24*time.Hour:
		return refuse("session_idle", "must be between 1 minute and 24 hours")
	case s.SessionMax < s.SessionIdle || s.SessionMax > 30*24*time.Hour:
		return refuse("session_max", "must be between session_idle and 30 days")
	case s.LoginFailures < 1 || s.LoginFailures > 100:
		return refuse("login_failures", "must be between 1 and 100")
	case s.LoginBlock < time.Minute || s.LoginBlock > 30*24*time.Hour:
		return refuse("login_block", "must be between 1 minute and 30 days")
	}
	if err := s.CheckSSHKeys(); err != nil {
		return err
	}
	if err := s.ACME.check(); err != nil {
		return err
	}
	return s.checkClientCertificates()
}

func (s Settings) checkClientCertificates() error {
	switch s.ClientCertificates {
	case ClientCertificatesOff, ClientCertificatesVerify, ClientCertificatesRequire:
	default:
		return refuse("client_certificates", "must be off, verify or require")
	}
	n, err := checkAuthorities("client_authorities", s.ClientAuthorities)
	if err != nil {
		return err
	}
	if s.ClientCertificates != ClientCertificatesOff && n == 0 {
		return refuse("client_authorities", "are needed to verify client certificates")
	}
	return nil
}

// checkAuthorities counts the certificates in PEM text; every one must be usable.
func checkAuthorities(field, text string) (n int, err error) {
	const most = 64 << 10
	if len(text) > most {
		return 0, refuse(field, "are more than %d bytes", most)
	}
	rest := []byte(text)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		n++
		if block.Type != "CERTIFICATE" {
			return n, refuse(field, "part %d is no certificate; keys do not belong here", n)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return n, refuse(field, "certificate %d cannot be read", n)
		}
		// A phone's self-signed certificate may stand for that phone alone.
		if c.BasicConstraintsValid && !c.IsCA && !bytes.Equal(c.RawIssuer, c.RawSubject) {
			return n, refuse(field, "certificate %d may not issue certificates: it is no authority's", n)
		}
	}
	if n == 0 && strings.TrimSpace(text) != "" || n > 0 && bytes.Contains(rest, []byte("-----BEGIN")) {
		return n, refuse(field, "hold something that is no certificate in PEM form")
	}
	return n, nil
}

// AsFieldError finds the FieldError in err's tree.
func AsFieldError(err error) (*FieldError, bool) {
	var fe *FieldError
	ok := errors.As(err, &fe)
	return fe, ok
}
