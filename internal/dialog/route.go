package dialog

import (
	"strings"

	"ringfence/internal/sip"
)

// looseRoute reports whether a Route value is a loose router (RFC 3261 section
// 19.1.1, parameter lr), and returns its URI. What cannot be read counts as
// loose: then it is at least sent as it came.
func looseRoute(route string) (uri string, loose bool) {
	a, err := sip.ParseAddress(route)
	if err != nil {
		return route, true
	}
	for _, p := range a.URI.Params {
		if strings.EqualFold(p.Name, "lr") {
			return "", true
		}
	}
	return requestURI(a.URI), false
}
