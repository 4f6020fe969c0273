package telephony

import (
	"net/url"
	"strings"
)

// Bounds of what is kept of a provider.
const (
	maxSSODomains = 32
	maxSSOText    = 255
)

// SSO is the OpenID Connect provider by which the people of a tenant may sign
// in. It makes nobody an administrator.
type SSO struct {
	Enabled  bool
	Label    string // on the sign-in page; empty shows no button
	Issuer   string // https URL, as the provider names itself
	ClientID string
	// Domains are those of the e-mail addresses that the provider speaks for:
	// somebody else's address links no user and makes none.
	Domains []string
	// CreateUsers makes a user with the role standard of whoever signs in with an
	// address of the domains and is none yet.
	CreateUsers bool
}

// Validate reports the first field that is not usable.
func (v SSO) Validate() error {
	u, err := url.Parse(v.Issuer)
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || len(v.Issuer) > maxSSOText:
		// OpenID Connect Discovery section 3: no query, no fragment.
		return refuse("issuer", "must be an https URL without query")
	case v.ClientID == "" || len(v.ClientID) > maxSSOText || strings.ContainsFunc(v.ClientID, func(r rune) bool { return r <= ' ' || r > '~' }):
		return refuse("client_id", "must have 1 to %d characters of ASCII without spaces", maxSSOText)
	case len(v.Domains) == 0 || len(v.Domains) > maxSSODomains:
		return refuse("domains", "must be 1 to %d", maxSSODomains)
	}
	for _, d := range v.Domains {
		if err := CheckDomain("domains", d); err != nil {
			return err
		}
	}
	return checkName("label", v.Label, 0, MaxNameLen)
}

// SpeaksFor reports whether the provider speaks for an e-mail address.
func (v SSO) SpeaksFor(email string) bool {
	at := strings.LastIndexByte(email, '@')
	if at < 1 {
		return false
	}
	for _, d := range v.Domains {
		if strings.EqualFold(email[at+1:], d) {
			return true
		}
	}
	return false
}
