package telephony

import (
	"net/mail"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Directories of Let's Encrypt (RFC 8555 section 7.1.1): the one whose
// certificates are trusted, and the one to try things with.
const (
	LetsEncrypt        = "https://acme-v02.api.letsencrypt.org/directory"
	LetsEncryptStaging = "https://acme-staging-v02.api.letsencrypt.org/directory"
)

// MaxACMENames bounds the names of one certificate.
const MaxACMENames = 32

// ACME says how a certificate is asked for and renewed by itself (RFC 8555).
type ACME struct {
	// Enabled asks for a certificate, and renews it.
	Enabled bool
	// Directory is the URL of the authority's directory; empty is Let's Encrypt.
	Directory string
	// Roots are certificates, as PEM, that the authority's own HTTPS may be
	// signed with besides those everybody trusts; at most 64 KiB.
	Roots string
	// Email is where the authority writes to, if it does.
	Email string
	// Names are the host names of the certificate; at most 32.
	Names []string
	// TermsAgreed says that somebody agreed to the authority's terms of service.
	TermsAgreed bool
}

// URL is the directory's.
func (a ACME) URL() string {
	if a.Directory == "" {
		return LetsEncrypt
	}
	return a.Directory
}

func (a ACME) check() error {
	if a.Directory != "" {
		u, err := url.Parse(a.Directory)
		if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" || len(a.Directory) > 500 {
			return refuse("acme.directory", "is no https:// address of a directory")
		}
	}
	if a.Email != "" {
		if m, err := mail.ParseAddress(a.Email); err != nil || m.Address != a.Email || len(a.Email) > 254 {
			return refuse("acme.email", "is no mail address")
		}
	}
	if _, err := checkAuthorities("acme.roots", a.Roots); err != nil {
		return err
	}
	if err := a.checkNames(); err != nil {
		return err
	}
	switch {
	case !a.Enabled:
	case len(a.Names) == 0:
		return refuse("acme.names", "name the hosts that the certificate is to be for")
	case !a.TermsAgreed:
		return refuse("acme.terms_agreed", "the authority gives a certificate only to who agrees to its terms")
	}
	return nil
}

func (a ACME) checkNames() error {
	if len(a.Names) > MaxACMENames {
		return refuse("acme.names", "are %d, at most %d are possible", len(a.Names), MaxACMENames)
	}
	for i, name := range a.Names {
		where := "acme.names"
		_, isAddr := netip.ParseAddr(name)
		switch {
		case strings.HasPrefix(name, "*."):
			return refuse(where, "%q cannot be had: a wildcard needs a challenge by DNS (RFC 8555 section 8.4)", name)
		case isAddr == nil:
			return refuse(where, "%s is an address; a name is needed", name)
		case !strings.Contains(name, "."):
			return refuse(where, "%q has no dot: no authority gives certificates for such names", name)
		case slices.Contains(a.Names[:i], name):
			return refuse(where, "%s appears twice", name)
		}
		if err := CheckDomain(where, name); err != nil {
			return err
		}
	}
	return nil
}
