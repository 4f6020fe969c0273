package siptest

import (
	"cmp"
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// Challenge is a digest challenge (RFC 8760, RFC 7616).
type Challenge struct {
	Realm, Nonce, Opaque, Algorithm, QOP string
	Stale                                bool
}

// Challenges reads the digest challenges of a 401 or 407, in their order.
func Challenges(res *sip.Response) []Challenge {
	name := "WWW-Authenticate"
	if res.StatusCode == 407 {
		name = "Proxy-Authenticate"
	}
	var list []Challenge
	for _, h := range res.GetHeaders(name) {
		scheme, rest, _ := strings.Cut(strings.TrimSpace(h.Value()), " ")
		if !strings.EqualFold(scheme, "Digest") {
			continue
		}
		v := parameters(rest)
		list = append(list, Challenge{
			Realm: v["realm"], Nonce: v["nonce"], Opaque: v["opaque"], Algorithm: v["algorithm"],
			QOP: v["qop"], Stale: strings.EqualFold(v["stale"], "true"),
		})
	}
	return list
}

// parameters reads name=value pairs, the values quoted or not.
func parameters(s string) map[string]string {
	out := map[string]string{}
	for s != "" {
		name, rest, ok := strings.Cut(s, "=")
		if !ok {
			break
		}
		name = strings.ToLower(strings.Trim(name, " ,\t"))
		rest = strings.TrimLeft(rest, " ")
		var value strings.Builder
		i := 0
		if strings.HasPrefix(rest, `"`) {
			for i = 1; i < len(rest) && rest[i] != '"'; i++ {
				if rest[i] == '\\' && i+1 < len(rest) {
					i++
				}
				value.WriteByte(rest[i])
			}
			i = min(i+1, len(rest))
		} else {
			for i < len(rest) && rest[i] != ',' {
				i++
			}
			value.WriteString(strings.TrimSpace(rest[:i]))
		}
		out[name] = value.String()
		_, s, _ = strings.Cut(rest[i:], ",")
	}
	return out
}

// hashOf is the hash of a digest algorithm.
func hashOf(algorithm string) (func() hash.Hash, bool) {
	switch strings.ToUpper(algorithm) {
	case "", "MD5":
		return md5.New, true
	case "SHA-256":
		return sha256.New, true
	case "SHA-512-256":
		return sha512.New512_256, true
	}
	return nil, false
}

// authorize answers the first challenge the phone knows the algorithm of
// (RFC 8760 section 2.4), as a header line.
func (p *Phone) authorize(res *sip.Response, method, uri string) (string, *Challenge) {
	for _, c := range Challenges(res) {
		newHash, ok := hashOf(c.Algorithm)
		if !ok {
			continue
		}
		header := "Authorization"
		if res.StatusCode == 407 {
			header = "Proxy-Authorization"
		}
		d := digest{hash: newHash, user: cmp.Or(p.config.AuthUser, p.config.User), password: p.config.Password, method: method, uri: uri}
		if qopAuth(c.QOP) {
			d.cnonce = token("")
		}
		line := fmt.Sprintf(`%s: Digest username="%s", realm="%s", nonce="%s", uri="%s", response="%s"`,
			header, d.user, c.Realm, c.Nonce, uri, d.response(c))
		if d.cnonce != "" {
			line += fmt.Sprintf(`, qop=auth, nc=%s, cnonce="%s"`, firstUse, d.cnonce)
		}
		if c.Algorithm != "" {
			line += ", algorithm=" + c.Algorithm
		}
		if c.Opaque != "" {
			line += fmt.Sprintf(`, opaque="%s"`, c.Opaque)
		}
		return line, &c
	}
	return "", nil
}

// firstUse is the nonce count: the phone uses a nonce once.
const firstUse = "00000001"

// digest is the input of a response besides the challenge.
type digest struct {
	hash                        func() hash.Hash
	user, password, method, uri string
	cnonce                      string // empty without qop
	count                       string // of the nonce; empty is its first use
}

// response is request-digest of RFC 7616 section 3.4.1.
func (d digest) response(c Challenge) string {
	h := func(s string) string {
		sum := d.hash()
		sum.Write([]byte(s))
		return hex.EncodeToString(sum.Sum(nil))
	}
	ha1, ha2 := h(d.user+":"+c.Realm+":"+d.password), h(d.method+":"+d.uri)
	if d.cnonce == "" {
		return h(ha1 + ":" + c.Nonce + ":" + ha2)
	}
	return h(ha1 + ":" + c.Nonce + ":" + cmp.Or(d.count, firstUse) + ":" + d.cnonce + ":auth:" + ha2)
}

func qopAuth(list string) bool {
	for q := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.TrimSpace(q), "auth") {
			return true
		}
	}
	return false
}
