package sip

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"ringfence/internal/telephony"
)

const (
	// maxChallenges is how many realms of one peer are remembered.
	maxChallenges = 4
	// maxNonce and maxRealm bound what is kept of a challenge and sent back.
	maxNonce, maxRealm = 2048, 256
	// maxAnswers is how often one request answers challenges: a proxy's, the
	// server's behind it, and once more for each if its nonce was stale.
	maxAnswers = 4
)

// Why a challenge is not answered.
var (
	// ErrRefused says that the credentials are wrong: they answered a fresh
	// nonce, and were challenged again.
	ErrRefused = errors.New("credentials were refused")
	// ErrChallenge says that there is no challenge that can be answered.
	ErrChallenge = errors.New("challenge cannot be answered")
)

// ClientAuth answers the digest challenges of a peer for one account (RFC 3261
// section 22, RFC 7616, RFC 8760). It remembers nonces, so that later requests
// bring their credentials at once, and counts their uses. It is safe for
// concurrent use.
type ClientAuth struct {
	user     string
	password telephony.Secret

	mu    sync.Mutex
	known []*challenge // oldest first
}

// NewClientAuth returns one that has seen no challenge yet.
func NewClientAuth(user string, password telephony.Secret) *ClientAuth {
	return &ClientAuth{user: user, password: password}
}

// challenge is what a server wants to be answered.
type challenge struct {
	proxy                bool
	realm, nonce, opaque string
	algorithm            string // as it was spelled; empty if it was not named
	hash                 Algorithm
	qop, stale           bool
	uses                 uint32
}

// challengeHeaders are where a challenge stands and where its answer goes.
func challengeHeaders(proxy bool) (challenge, answer string) {
	if proxy {
		return "Proxy-Authenticate", "Proxy-Authorization"
	}
	return "WWW-Authenticate", "Authorization"
}

// Authorize puts credentials for all challenges that are known into a request,
// in place of those it has. A nil ClientAuth leaves it as it is.
func (a *ClientAuth) Authorize(out *Outgoing) {
	if a == nil {
		return
	}
	headers := slices.Clone(out.Headers)
	headers = slices.DeleteFunc(headers, func(h Header) bool {
		return strings.EqualFold(h.Name, "Authorization") || strings.EqualFold(h.Name, "Proxy-Authorization")
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.known {
		c.uses++
		_, name := challengeHeaders(c.proxy)
		headers = append(headers, Header{name, a.answer(c, out, rand.Text())})
	}
	out.Headers = headers
}

// Challenged reads a 401 or 407 to a request. Nil means that the request is
// worth sending again, with its CSeq raised and after Authorize (RFC 3261
// section 8.1.3.5). The request itself counts its tries, so it must be the same
// Outgoing each time.
func (a *ClientAuth) Challenged(out *Outgoing, r *Response) error {
	if a == nil {
		return ErrChallenge
	}
	asked := challengesOf(r)
	if len(asked) == 0 {
		return ErrChallenge
	}
	if out.answers++; out.answers > maxAnswers {
		return fmt.Errorf("%w: challenged %d times", ErrRefused, out.answers)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range asked {
		id := fmt.Sprint(c.proxy, c.realm)
		if !c.stale && slices.Contains(out.answered, id) {
			// What was wrong is not the nonce, which this request was given.
			a.forget(c)
			return ErrRefused
		}
		out.answered = append(slices.Clone(out.answered), id)
		a.forget(c)
		if len(a.known) >= maxChallenges {
			a.known = a.known[1:]
		}
		a.known = append(a.known, c)
	}
	return nil
}

func (a *ClientAuth) forget(c *challenge) {
	a.known = slices.DeleteFunc(a.known, func(k *challenge) bool { return k.proxy == c.proxy && k.realm == c.realm })
}

// challengesOf are the challenges of a response that can be answered, the
// strongest of each realm (RFC 8760 section 2.4 leaves the choice to what is
// known here).
func challengesOf(r *Response) (list []*challenge) {
	if r.Code != 401 && r.Code != 407 {
		return nil
	}
	name, _ := challengeHeaders(r.Code == 407)
	for _, h := range r.Headers {
		if !strings.EqualFold(h.Name, name) {
			continue
		}
		c, ok := parseChallenge(h.Value)
		if !ok {
			continue
		}
		c.proxy = r.Code == 407
		i := slices.IndexFunc(list, func(x *challenge) bool { return x.realm == c.realm })
		switch {
		case i >= 0 && c.hash == SHA256 && list[i].hash == MD5:
			list[i] = c
		case i < 0 && len(list) < maxChallenges:
			list = append(list, c)
		}
	}
	return list
}

// parseChallenge reads 'Digest name=value, ...' (RFC 7616 section 3.3). It takes
// qop=auth and the absence of qop, which RFC 2069 had not.
func parseChallenge(s string) (*challenge, bool) {
	scheme, rest, ok := strings.Cut(s, " ")
	if !ok || !strings.EqualFold(scheme, "Digest") || len(s) > 2*maxNonce {
		return nil, false
	}
	c := &challenge{hash: MD5}
	usable := true
	for rest = trim(rest); rest != ""; {
		var kv string
		kv, rest = cutComma(rest)
		k, v, _ := strings.Cut(kv, "=")
		v = strings.Clone(unquote(trim(v))) // not the whole message
		switch strings.ToLower(trim(k)) {
		case "realm":
			c.realm = v
		case "nonce":
			c.nonce = v
		case "opaque":
			c.opaque = v
		case "stale":
			c.stale = strings.EqualFold(v, "true")
		case "algorithm":
			c.algorithm, c.hash = v, Algorithm(strings.ToUpper(v))
		case "qop":
			c.qop = slices.ContainsFunc(strings.Split(v, ","), func(q string) bool { return strings.EqualFold(trim(q), "auth") })
			usable = c.qop
		}
	}
	usable = usable && (c.hash == MD5 || c.hash == SHA256)
	return c, usable && c.nonce != "" && len(c.nonce) <= maxNonce && len(c.realm) <= maxRealm
}

// answer is the value of an Authorization header (RFC 7616 section 3.4).
func (a *ClientAuth) answer(c *challenge, out *Outgoing, cnonce string) string {
	var hex [64]byte
	hash := func(s string) string { n := c.hash.sum([]byte(s), hex[:]); return string(hex[:n]) }
	ha1 := hash(a.user + ":" + c.realm + ":" + a.password.Reveal())
	ha2 := hash(out.Method + ":" + out.URI)
	count := fmt.Sprintf("%08x", c.uses)
	response := hash(ha1 + ":" + c.nonce + ":" + ha2)
	if c.qop {
		response = hash(ha1 + ":" + c.nonce + ":" + count + ":" + cnonce + ":auth:" + ha2)
	}
	b := []byte("Digest")
	quoted := func(name, value string) {
		b = append(append(append(b, ' '), name...), '=')
		b = append(appendQuoted(b, value), ',')
	}
	quoted("username", a.user)
	quoted("realm", c.realm)
	quoted("nonce", c.nonce)
	quoted("uri", out.URI)
	quoted("response", response)
	if c.opaque != "" {
		quoted("opaque", c.opaque)
	}
	if c.algorithm != "" {
		b = append(append(append(b, " algorithm="...), c.hash...), ',')
	}
	if c.qop {
		b = append(append(b, " qop=auth, nc="...), count...)
		b = append(b, ',')
		quoted("cnonce", cnonce)
	}
	return string(b[:len(b)-1])
}
