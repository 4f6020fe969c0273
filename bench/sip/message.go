package sip

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"strconv"
	"strings"
)

// Messages are read by search and written from templates: what generates load
// must cost much less than what is measured.

// status is the code of a response, 0 for a request.
func status(m []byte) int {
	if len(m) < 12 || string(m[:8]) != "SIP/2.0 " {
		return 0
	}
	n, _ := strconv.Atoi(string(m[8:11]))
	return n
}

// method is that of a request.
func method(m []byte) string {
	i := bytes.IndexByte(m, ' ')
	if i < 0 {
		return ""
	}
	return string(m[:i])
}

// header is the first value of a header, "" if there is none.
func header(m []byte, name string) string {
	for v := range headers(m, name) {
		return v
	}
	return ""
}

// headers are all values of a header, one a line.
func headers(m []byte, name string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for {
			i := bytes.IndexByte(m, '\n')
			if i < 0 || i+2 >= len(m) || m[i+1] == '\r' {
				return
			}
			m = m[i+1:]
			if len(m) <= len(name) || m[len(name)] != ':' || !strings.EqualFold(string(m[:len(name)]), name) {
				continue
			}
			end := bytes.IndexByte(m, '\r')
			if end < 0 {
				return
			}
			if !yield(string(bytes.TrimSpace(m[len(name)+1 : end]))) {
				return
			}
		}
	}
}

// parameter is a quoted or bare parameter of a challenge.
func parameter(challenge, name string) string {
	for part := range strings.SplitSeq(strings.TrimPrefix(challenge, "Digest "), ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(part), "=")
		if strings.EqualFold(k, name) {
			return strings.Trim(v, `"`)
		}
	}
	return ""
}

// uriOf takes the URI out of a Contact or Record-Route value.
func uriOf(value string) string {
	if i := strings.IndexByte(value, '<'); i >= 0 {
		value = value[i+1:]
		if j := strings.IndexByte(value, '>'); j >= 0 {
			value = value[:j]
		}
	}
	return value
}

// User is one account.
type User struct{ Name, Password, Domain string }

// authorization answers an MD5 challenge with qop=auth (RFC 7616 section 3.4).
func (u User) authorization(challenge, method, uri string) string {
	realm, nonce := parameter(challenge, "realm"), parameter(challenge, "nonce")
	const cnonce = "0a4f113b"
	ha1 := sum(u.Name, realm, u.Password)
	response := sum(ha1, nonce, "00000001", cnonce, "auth", sum(method, uri))
	return `Digest username="` + u.Name + `", realm="` + realm + `", nonce="` + nonce + `", uri="` + uri +
		`", response="` + response + `", algorithm=MD5, cnonce="` + cnonce + `", qop=auth, nc=00000001`
}

func sum(parts ...string) string {
	s := md5.Sum([]byte(strings.Join(parts, ":")))
	return hex.EncodeToString(s[:])
}
