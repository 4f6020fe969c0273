package trace

import (
	"bytes"
)

// What stands for a secret has its length, so that Content-Length stays right.
const mask = '*'

func hide(b []byte) {
	for i := range b {
		b[i] = mask
	}
}

// lines calls f for every line of a header part; folded lines come with the
// name of the header they continue. It returns the body.
func lines(raw []byte, f func(name, value []byte)) (body []byte) {
	var name []byte
	for first := true; len(raw) > 0; first = false {
		line := raw
		if i := bytes.IndexByte(raw, '\n'); i >= 0 {
			line, raw = raw[:i], raw[i+1:]
		} else {
			raw = nil
		}
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			return raw
		}
		if first {
			f(nil, line) // the start line
			continue
		}
		if line[0] == ' ' || line[0] == '\t' {
			f(name, line)
			continue
		}
		n, v, _ := bytes.Cut(line, []byte(":"))
		name = bytes.TrimSpace(n)
		f(name, v)
	}
	return nil
}

func is(name []byte, long string, compact ...byte) bool {
	return len(name) == 1 && len(compact) > 0 && name[0]|0x20 == compact[0] || len(name) == len(long) && bytes.EqualFold(name, []byte(long))
}

// identify finds the Call-ID and the method of a message.
func identify(raw []byte) (id, method []byte) {
	lines(raw, func(name, value []byte) {
		switch {
		case id == nil && is(name, "Call-ID", 'i'):
			id = bytes.TrimSpace(value)
		case method == nil && is(name, "CSeq"):
			if f := bytes.Fields(value); len(f) == 2 {
				method = f[1]
			}
		}
	})
	return id, method
}

// redact hides the secrets of a message in place: digest responses and nonces,
// other credentials, passwords in URIs, push tokens, keys and passwords in
// session descriptions, keys that were pressed, and bodies of MESSAGE unless
// they are wanted.
func redact(raw []byte, bodies bool) []byte {
	var contentType, method []byte
	body := lines(raw, func(name, value []byte) {
		switch {
		case is(name, "Authorization"), is(name, "Proxy-Authorization"), is(name, "WWW-Authenticate"), is(name, "Proxy-Authenticate"),
			is(name, "Authentication-Info"), is(name, "Proxy-Authentication-Info"):
			redactCredentials(value)
		case is(name, "Identity", 'y'), is(name, "Cookie"), is(name, "Set-Cookie"):
			hide(bytes.TrimSpace(value))
		case is(name, "Content-Type", 'c'):
			contentType = bytes.ToLower(bytes.TrimSpace(value))
		case is(name, "CSeq"):
			if f := bytes.Fields(value); len(f) == 2 {
				method = f[1]
			}
		}
		if name == nil || bytes.IndexByte(value, '@') >= 0 || bytes.IndexByte(value, ';') >= 0 {
			redactURIs(value)
		}
	})
	switch {
	case string(method) == "MESSAGE" && !bodies:
		hide(body)
	case bytes.HasPrefix(contentType, []byte("application/dtmf")):
		hide(body) // PINs are entered so
	default:
		redactDescription(body)
	}
	return raw
}

// redactCredentials hides the values of what proves something; of schemes that
// are not Digest, everything.
func redactCredentials(value []byte) {
	v := bytes.TrimSpace(value)
	if scheme, rest, ok := bytes.Cut(v, []byte(" ")); ok && !bytes.EqualFold(scheme, []byte("Digest")) && !bytes.HasSuffix(scheme, []byte(",")) &&
		!bytes.ContainsRune(scheme, '=') {
		hide(rest)
		return
	}
	for _, name := range [...]string{"response", "nonce", "cnonce", "nextnonce", "rspauth", "opaque"} {
		for rest := value; ; {
			i := parameter(rest, name)
			if i < 0 {
				break
			}
			rest = rest[i:]
			hide(rest[:valueLength(rest)])
			rest = rest[valueLength(rest):]
		}
	}
}

// parameter finds where the value of name=value begins, without its opening
// quote; -1 if there is none.
func parameter(b []byte, name string) int {
	for from := 0; ; {
		i := indexFold(b[from:], name)
		if i < 0 {
			return -1
		}
		i += from
		from = i + len(name)
		if i > 0 && !bytes.ContainsRune([]byte(" ,;\t?&"), rune(b[i-1])) {
			continue
		}
		j := from
		for j < len(b) && (b[j] == ' ' || b[j] == '\t') {
			j++
		}
		if j >= len(b) || b[j] != '=' {
			continue
		}
		for j++; j < len(b) && (b[j] == ' ' || b[j] == '\t'); j++ {
		}
		if j < len(b) && b[j] == '"' {
			j++
		}
		return j
	}
}

func indexFold(b []byte, s string) int {
	for i := 0; i+len(s) <= len(b); i++ {
		if b[i]|0x20 == s[0] && bytes.EqualFold(b[i:i+len(s)], []byte(s)) {
			return i
		}
	}
	return -1
}

// valueLength is how far a value goes: to its closing quote, or to what ends an
// unquoted one.
func valueLength(b []byte) int {
	if i := bytes.IndexAny(b, "\",;> \t?&"); i >= 0 {
		return i
	}
	return len(b)
}

// redactURIs hides the password of sip:user:password@host and push tokens
// (RFC 8599 section 6).
func redactURIs(value []byte) {
	for rest := value; ; {
		i := bytes.IndexByte(rest, ':')
		if i < 0 {
			break
		}
		scheme := rest[:i]
		rest = rest[i+1:]
		if n := len(scheme); n > 0 && scheme[n-1]|0x20 == 's' {
			scheme = scheme[:n-1]
		}
		if n := len(scheme); n < 3 || !bytes.EqualFold(scheme[n-3:], []byte("sip")) {
			continue
		}
		end := bytes.IndexAny(rest, "<> \t,\"")
		if end < 0 {
			end = len(rest)
		}
		at := bytes.IndexByte(rest[:end], '@')
		if at < 0 {
			continue
		}
		if colon := bytes.IndexByte(rest[:at], ':'); colon >= 0 {
			hide(rest[colon+1 : at])
		}
	}
	if indexFold(value, "pn-") < 0 {
		return
	}
	for _, name := range [...]string{"pn-prid", "pn-param"} {
		for rest := value; ; {
			i := parameter(rest, name)
			if i < 0 {
				break
			}
			rest = rest[i:]
			hide(rest[:valueLength(rest)])
		}
	}
}

// redactDescription hides what opens the media: SDES keys (RFC 4568), MIKEY,
// k= lines and ICE passwords.
func redactDescription(body []byte) {
	for len(body) > 0 {
		line := body
		if i := bytes.IndexByte(body, '\n'); i >= 0 {
			line, body = body[:i], body[i+1:]
		} else {
			body = nil
		}
		line = bytes.TrimSuffix(line, []byte("\r"))
		switch {
		case prefixFold(line, "a=crypto:"):
			for rest := line; ; {
				i := indexFold(rest, "inline:")
				if i < 0 {
					break
				}
				rest = rest[i+len("inline:"):]
				n := bytes.IndexAny(rest, "|; ")
				if n < 0 {
					n = len(rest)
				}
				blank(rest[:n])
			}
		case prefixFold(line, "a=key-mgmt:"):
			hide(line[len("a=key-mgmt:"):])
		case prefixFold(line, "a=ice-pwd:"):
			hide(line[len("a=ice-pwd:"):])
		case prefixFold(line, "k="):
			hide(line[2:])
		}
	}
}

// blank hides a key in base64 and leaves base64: analysers decode it.
func blank(b []byte) {
	for i := range bytes.TrimRight(b, "=") {
		b[i] = 'A'
	}
}

func prefixFold(b []byte, s string) bool {
	return len(b) >= len(s) && bytes.EqualFold(b[:len(s)], []byte(s))
}
