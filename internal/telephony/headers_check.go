package telephony

import (
	"slices"
	"strings"
)

// keptHeaders belong to the transaction, the dialog, the session or somebody's
// credentials: whoever changes one breaks the call or gives a secret away. Compact
// forms (RFC 3261 section 7.3.3) stand with them.
func keptHeaders() []string {
	return []string{
		"via", "v", "route", "record-route", "contact", "m", "cseq", "call-id", "i", "max-forwards",
		"authorization", "proxy-authorization", "www-authenticate", "proxy-authenticate", "authentication-info",
		"require", "proxy-require", "supported", "k", "unsupported", "allow", "expires", "min-expires",
		"session-expires", "x", "min-se", "rseq", "rack", "replaces", "target-dialog", "path", "service-route",
		"mime-version", "e", "c", "l", "event", "o", "subscription-state", "refer-to", "r", "retry-after",
	}
}

// HeaderWords are what a header rule fills in.
func HeaderWords() []string { return []string{"{caller}", "{callee}", "{did}", "{trunk}"} }

func checkHeaders(rules []HeaderRule) error {
	if len(rules) > MaxHeaders {
		return refuse("headers", "are more than %d", MaxHeaders)
	}
	for i, r := range rules {
		if err := r.check(i); err != nil {
			return err
		}
	}
	return nil
}

func (r HeaderRule) check(i int) error {
	name := strings.ToLower(r.Name)
	if r.Name == "" || len(r.Name) > MaxUserNameLen || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-.!%*_+`'~") != "" {
		return refuse(entry("headers", i, "name"), "is no name of a header")
	}
	if slices.Contains(keptHeaders(), name) || strings.HasPrefix(name, "content-") {
		return refuse(entry("headers", i, "name"), "may not be touched: the call itself is in this header")
	}
	from := slices.Contains([]string{"from", "f", "to", "t"}, name)
	switch {
	case r.Remove && from:
		return refuse(entry("headers", i, "remove"), "is not possible: every request has this header")
	case r.Remove && r.Value != "":
		return refuse(entry("headers", i, "value"), "must be empty: the header is removed")
	case r.Remove:
		return nil
	case strings.TrimSpace(r.Value) == "" || len(r.Value) > 256:
		return refuse(entry("headers", i, "value"), "must have 1 to 256 characters")
	case from && strings.Contains(strings.ToLower(r.Value), "tag"):
		return refuse(entry("headers", i, "value"), "may not hold a tag: it belongs to the dialog")
	}
	return checkHeaderValue(entry("headers", i, "value"), r.Value)
}

// checkHeaderValue keeps line ends out of the message, and braces that nothing
// fills in.
func checkHeaderValue(field, value string) error {
	if err := checkName(field, value, 1, 256); err != nil {
		return err
	}
	for _, w := range HeaderWords() {
		value = strings.ReplaceAll(value, w, "")
	}
	if strings.ContainsAny(value, "{}") {
		return refuse(field, "may hold %s and no other word in braces", strings.Join(HeaderWords(), ", "))
	}
	return nil
}
