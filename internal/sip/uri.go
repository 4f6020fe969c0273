package sip

import (
	"net/netip"
	"strconv"
	"strings"
)

// URI is a SIP or SIPS URI in its parts, or one of another scheme as it is
// (RFC 3261 section 19.1).
type URI struct {
	Scheme   string // lower case
	Opaque   string // what follows the scheme, if that is not SIP's
	User     string // escaped as it was read
	Password string
	Host     string // IPv6 in brackets
	Port     int    // 0 if absent
	Params   Params
	Headers  Params
}

// String prints the URI.
func (u *URI) String() string { return string(u.append(make([]byte, 0, 64))) }

func (u *URI) append(b []byte) []byte {
	b = append(append(b, u.Scheme...), ':')
	if !isSIP(u) {
		return append(b, u.Opaque...)
	}
	if u.User != "" {
		b = append(b, u.User...)
		if u.Password != "" {
			b = append(append(b, ':'), u.Password...)
		}
		b = append(b, '@')
	}
	b = append(b, u.Host...)
	if u.Port > 0 {
		b = strconv.AppendInt(append(b, ':'), int64(u.Port), 10)
	}
	b = appendParams(b, u.Params)
	for i, h := range u.Headers {
		b = append(b, "?&"[min(i, 1)])
		b = append(append(append(b, h.Name...), '='), h.Value...)
	}
	return b
}

// ParseURI reads a URI (RFC 3261 section 19.1.1). Of schemes that are not SIP's
// only the form of the scheme is checked.
func ParseURI(s string) (URI, error) {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == 0x7f || c == '<' || c == '>' || c == '"' {
			return URI{}, errURI
		}
	}
	scheme, rest, ok := strings.Cut(s, ":")
	scheme = strings.ToLower(scheme)
	if !ok || !validScheme(scheme) {
		return URI{}, errURI
	}
	if scheme == "sip" || scheme == "sips" {
		return parseSIPURI(scheme, rest)
	}
	return URI{Scheme: scheme, Opaque: rest}, nil
}

func parseSIPURI(scheme, s string) (URI, error) {
	u := URI{Scheme: scheme}
	// No other part of the URI may have an unescaped "@".
	if user, rest, ok := strings.Cut(s, "@"); ok {
		u.User, u.Password, _ = strings.Cut(user, ":")
		s = rest
		if u.User == "" || strings.IndexByte(s, '@') >= 0 {
			return URI{}, errURI
		}
	}
	s, headers, _ := strings.Cut(s, "?")
	s, params, more := strings.Cut(s, ";")
	u.Host = s
	if i := strings.LastIndexByte(s, ':'); i >= 0 && strings.IndexByte(s[i:], ']') < 0 {
		u.Host = s[:i]
		port, err := strconv.ParseUint(s[i+1:], 10, 16)
		if err != nil {
			return URI{}, errURI
		}
		u.Port = int(port)
	}
	if !validHost(u.Host) || more && params == "" {
		return URI{}, errURI
	}
	u.Params = splitPairs(params, ";")
	u.Headers = splitPairs(headers, "&")
	return u, nil
}

func splitPairs(s, sep string) Params {
	if s == "" {
		return nil
	}
	p := make(Params, 0, 4)
	for one := range strings.SplitSeq(s, sep) {
		k, v, _ := strings.Cut(one, "=")
		if k != "" {
			p = append(p, Param{k, v})
		}
	}
	return p
}

func validScheme(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (i == 0 || (c < '0' || c > '9') && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	return s != ""
}

func isSIP(u *URI) bool { return u.Scheme == "sip" || u.Scheme == "sips" }

// validHost accepts host names, IPv4 addresses and IPv6 references.
func validHost(h string) bool {
	if h == "" || len(h) > 255 {
		return false
	}
	if h[0] == '[' {
		_, ok := ParseHost(h)
		return ok
	}
	for i := range len(h) {
		c := h[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_':
		default:
			return false
		}
	}
	return true
}

// ParseHost returns the address of a host part that is one, with or without
// brackets. Three colons in a row, which RFC 3261's grammar gives before an
// embedded IPv4 address, count as two (RFC 5118 section 4.10).
func ParseHost(h string) (netip.Addr, bool) {
	if h != "" && h[0] == '[' {
		if h[len(h)-1] != ']' || strings.IndexByte(h, '%') >= 0 {
			return netip.Addr{}, false
		}
		h = strings.Replace(h[1:len(h)-1], ":::", "::", 1)
		a, err := netip.ParseAddr(h)
		return a.Unmap(), err == nil && a.Is6()
	}
	a, err := netip.ParseAddr(h)
	return a, err == nil
}

// URIKey returns a text that is equal for URIs which RFC 3261 section 19.1.4
// calls equal, as far as that can be said of each alone: scheme and host in
// lower case, escapes of ordinary characters resolved, and the parameters that
// always count. Unknown parameters and headers do not.
func URIKey(u URI) string {
	b := make([]byte, 0, 96)
	b = append(append(b, u.Scheme...), ':')
	if !isSIP(&u) {
		return string(append(b, u.Opaque...))
	}
	if u.User != "" {
		b = append(append(b, unescape(u.User)...), ':')
		b = append(append(b, unescape(u.Password)...), '@')
	}
	b = append(b, strings.ToLower(u.Host)...)
	if u.Port > 0 {
		b = strconv.AppendInt(append(b, ':'), int64(u.Port), 10)
	}
	for _, name := range [...]string{"maddr", "method", "transport", "ttl", "user"} {
		if v, ok := param(u.Params, name); ok {
			b = append(append(append(b, ';'), name...), '=')
			b = append(b, strings.ToLower(v)...)
		}
	}
	return string(b)
}

func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(v))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

// EscapeUser writes a text as the user part of a URI (RFC 3261 section 25.1).
func EscapeUser(s string) string {
	const plain = "-_.!~*'()&=+$,;?/"
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		c := s[i]
		if c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || strings.IndexByte(plain, c) >= 0 {
			b = append(b, c)
			continue
		}
		const hex = "0123456789ABCDEF"
		b = append(b, '%', hex[c>>4], hex[c&15])
	}
	return string(b)
}

// Param looks up a parameter by its name in any case; quotes are removed.
func (n NameAddr) Param(name string) (string, bool) {
	v, ok := param(n.Params, name)
	return unquote(v), ok
}

// AOR returns user and lower-case host of a SIP URI.
func AOR(u URI) (user, domain string) { return unescape(u.User), strings.ToLower(u.Host) }
