package httpd

import (
	"slices"
	"strings"

	"ringfence/internal/telephony"
)

// HostNames returns the rule of which names are this machine's: localhost, the
// host name, the SIP domains and names below them, the names of the
// certificate, and those the settings list. Before set-up every name goes, since only the token opens anything then.
func HostNames(snapshot func() *telephony.Snapshot, hostname string, certNames func() []string) func(string) bool {
	hostname = strings.ToLower(hostname)
	return func(name string) bool {
		snap := snapshot()
		switch {
		case !snap.Settings.SetupDone, name == "localhost":
			return true
		case hostname != "" && (name == hostname || name == hostname+".local"):
			return true
		case slices.Contains(snap.Settings.WebNames, name):
			return true
		}
		for _, t := range snap.Tenants() {
			if name == t.Domain || strings.HasSuffix(name, "."+t.Domain) {
				return true
			}
		}
		return slices.ContainsFunc(certNames(), func(n string) bool { return matches(strings.ToLower(n), name) })
	}
}

// matches compares with a name of a certificate (RFC 9525 section 6.3): a
// wildcard stands for one label.
func matches(pattern, name string) bool {
	rest, wild := strings.CutPrefix(pattern, "*")
	if !wild {
		return pattern == name
	}
	label, found := strings.CutSuffix(name, rest)
	return found && label != "" && !strings.Contains(label, ".")
}
