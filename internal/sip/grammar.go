package sip

import (
	"errors"
	"strconv"
	"strings"
)

// Errors of the grammar (RFC 3261 section 25.1). They carry nothing of the
// peer's text: they end up in reason phrases and logs.
var (
	errQuote    = errors.New("unbalanced quotes")
	errAddress  = errors.New("malformed address")
	errURI      = errors.New("malformed URI")
	errParam    = errors.New("malformed parameter")
	errVia      = errors.New("malformed Via")
	errCSeq     = errors.New("malformed CSeq")
	errNotToken = errors.New("not a token")
)

// param looks a parameter up by its name in any case.
func param(p Params, name string) (string, bool) {
	for i := range p {
		if strings.EqualFold(p[i].Name, name) {
			return p[i].Value, true
		}
	}
	return "", false
}

func appendParams(b []byte, p Params) []byte {
	for i := range p {
		b = append(b, ';')
		b = append(b, p[i].Name...)
		if p[i].Value != "" {
			b = append(b, '=')
			b = append(b, p[i].Value...)
		}
	}
	return b
}

// appendQuoted appends s as a quoted-string. Line breaks cannot be escaped
// (quoted-pair excludes them) and become spaces.
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\r', '\n':
			b = append(b, ' ')
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// Quote returns s as a quoted-string.
func Quote(s string) string { return string(appendQuoted(make([]byte, 0, len(s)+2), s)) }

// unquote resolves a quoted-string; anything else is returned as it is.
func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	s = s[1 : len(s)-1]
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b = append(b, s[i])
	}
	return string(b)
}

// quoted returns the length of the quoted-string s begins with, or -1.
func quoted(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

func trim(s string) string {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	for s != "" && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

func isTokenByte(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return strings.IndexByte("-.!%*_+`'~", c) >= 0
}

func isToken(s string) bool {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

// cutComma splits a header value at the first comma outside quotes and angle
// brackets.
func cutComma(s string) (first, rest string) {
	angle := false
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			if angle {
				continue
			}
			n := quoted(s[i:])
			if n < 0 {
				return trim(s), ""
			}
			i += n - 1
		case '<':
			angle = true
		case '>':
			angle = false
		case ',':
			if !angle {
				return trim(s[:i]), trim(s[i+1:])
			}
		}
	}
	return trim(s), ""
}

// parseParams reads *( SEMI generic-param ).
func parseParams(s string) (Params, error) {
	s = trim(s)
	if s == "" {
		return nil, nil
	}
	p := make(Params, 0, min(strings.Count(s, ";"), 16))
	for s != "" {
		if s[0] != ';' {
			return nil, errParam
		}
		s = trim(s[1:])
		n := 0
		for n < len(s) && isTokenByte(s[n]) {
			n++
		}
		if n == 0 {
			return nil, errParam
		}
		one := Param{Name: s[:n]}
		s = trim(s[n:])
		if s != "" && s[0] == '=' {
			var err error
			if one.Value, s, err = paramValue(trim(s[1:])); err != nil {
				return nil, err
			}
		}
		p = append(p, one)
	}
	return p, nil
}

func paramValue(s string) (v, rest string, err error) {
	if s != "" && s[0] == '"' {
		n := quoted(s)
		if n < 0 {
			return "", "", errQuote
		}
		return s[:n], trim(s[n:]), nil
	}
	n := 0
	for n < len(s) && s[n] > ' ' && s[n] != ';' && s[n] != ',' && s[n] != '"' && s[n] != 0x7f {
		n++
	}
	return s[:n], trim(s[n:]), nil
}

// ParseAddress reads the value of a header such as Route or Refer-To.
func ParseAddress(s string) (NameAddr, error) { return parseNameAddr(s) }

// parseNameAddr reads name-addr or addr-spec with header parameters (RFC 3261
// section 20.10: without angle brackets a "?" , "," or ";" ends the URI).
func parseNameAddr(s string) (NameAddr, error) {
	var a NameAddr
	s = trim(s)
	open := -1
	if s != "" && s[0] == '"' {
		n := quoted(s)
		if n < 0 {
			return a, errQuote
		}
		a.Display = unquote(s[:n])
		s = trim(s[n:])
		if s == "" || s[0] != '<' {
			return a, errAddress
		}
		open = 0
	} else if open = strings.IndexByte(s, '<'); open >= 0 {
		a.Display = trim(s[:open])
		if !displayTokens(a.Display) {
			return a, errAddress
		}
	}
	uri, rest := s, ""
	if open >= 0 {
		end := strings.IndexByte(s, '>')
		if end < open {
			return a, errAddress
		}
		uri, rest = s[open+1:end], s[end+1:]
	} else if i := strings.IndexByte(s, ';'); i >= 0 {
		uri, rest = trim(s[:i]), s[i:]
	}
	if open < 0 && strings.ContainsAny(uri, "?,") {
		return a, errAddress
	}
	var err error
	if a.URI, err = ParseURI(uri); err != nil {
		return a, err
	}
	a.Params, err = parseParams(rest)
	return a, err
}

// displayTokens accepts *(token LWS), and bytes above ASCII, which phones send
// unquoted although the grammar wants quotes.
func displayTokens(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isTokenByte(c) && !isSpace(c) && c < 0x80 {
			return false
		}
	}
	return true
}

// parseVia reads one via-parm, with the blanks RFC 3261 allows around every
// separator.
func parseVia(s string) (Via, error) {
	var v Via
	name, s, ok1 := strings.Cut(s, "/")
	version, s, ok2 := strings.Cut(s, "/")
	if !ok1 || !ok2 || !strings.EqualFold(trim(name), "SIP") || trim(version) != "2.0" {
		return v, errVia
	}
	s = trim(s)
	n := 0
	for n < len(s) && isTokenByte(s[n]) {
		n++
	}
	if n == 0 || n == len(s) || !isSpace(s[n]) {
		return v, errVia
	}
	v.Transport = strings.ToUpper(s[:n])
	s = trim(s[n:])
	by, rest := s, ""
	if i := strings.IndexByte(s, ';'); i >= 0 {
		by, rest = s[:i], s[i:]
	}
	var err error
	if v.Host, v.Port, err = sentBy(trim(by)); err != nil {
		return v, err
	}
	v.Params, err = parseParams(rest)
	return v, err
}

func sentBy(s string) (host string, port int, err error) {
	host = s
	i := strings.LastIndexByte(s, ':')
	if i >= 0 && strings.IndexByte(s[i:], ']') < 0 {
		host = trim(s[:i])
		if port, err = strconv.Atoi(trim(s[i+1:])); err != nil || port < 1 || port > 65535 {
			return "", 0, errVia
		}
	}
	if !validHost(host) {
		return "", 0, errVia
	}
	return host, port, nil
}

// parseCSeq reads 1*DIGIT LWS Method; the number is below 2^31.
func parseCSeq(s string) (CSeq, error) {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	if n == 0 || n == len(s) || !isSpace(s[n]) {
		return CSeq{}, errCSeq
	}
	seq, err := strconv.ParseUint(s[:n], 10, 31)
	method := trim(s[n:])
	if err != nil || !isToken(method) {
		return CSeq{}, errCSeq
	}
	return CSeq{Seq: uint32(seq), Method: method}, nil
}
