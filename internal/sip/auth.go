package sip

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strings"
	"sync"
	"time"
)

// Algorithm is a digest algorithm (RFC 8760).
type Algorithm string

// The algorithms.
const (
	MD5    Algorithm = "MD5"
	SHA256 Algorithm = "SHA-256"
)

// AuthConfig is what an Authenticator needs; the zero value will do.
type AuthConfig struct {
	// Lifetime is how long a nonce is taken; older ones get stale=true.
	// 0 means 5 min.
	Lifetime time.Duration
	// Nonces is how many nonces in use are remembered against replay; 65,536.
	Nonces int
	// Algorithms offers algorithms for a realm on a flow, best first. It must
	// not depend on whether users of the realm exist. Nil offers MD5 to all:
	// phones give up on, or choose wrongly from, several challenges.
	Algorithms func(f Flow, realm string) []Algorithm
	// Admit, if set, may refuse a flow for a realm before anybody is
	// challenged; it must not depend on users either.
	Admit func(f Flow, realm string) *Reply
	// Temporary, if set, finds credentials that stand for a user for a while.
	// MD5 is good enough for them, since nobody chose them. Nil or false is
	// nobody's.
	Temporary func(f Flow, realm, name string) (user string, s Secret, ok bool)
	// Observe, if set, hears every outcome. It must not block.
	Observe func(AuthEvent)
	// Worn, if set, reports that passwords for a user are not looked at any more
	// when they come from there: the answer is that to a wrong one. It must not
	// depend on whether the user exists.
	Worn func(r *Request, user string) bool
}

// AuthEvent is what came of looking at the credentials of a request.
type AuthEvent struct {
	Request *Request
	Realm   string
	User    string // as in the credentials; empty without any
	Outcome AuthOutcome
	// Ours says that the credentials answer a challenge of ours to the request's
	// source, however old: what they say was not forged in its name.
	Ours bool
}

// AuthOutcome is what came of checking a request's credentials.
type AuthOutcome int

// The outcomes.
const (
	// AuthMissing: no credentials for this realm.
	AuthMissing AuthOutcome = iota
	// AuthWrong: unknown user or wrong password.
	AuthWrong
	// AuthStale: the right password with a nonce that is too old, from
	// another address, from before a restart, or used already.
	AuthStale
	// AuthOK: authenticated.
	AuthOK
)

func (o AuthOutcome) String() string {
	return [...]string{"missing", "wrong", "stale", "ok"}[o]
}

// Secret is what a user's password became: HA1 in lower-case hex, per
// algorithm; empty where there is none.
type Secret struct{ MD5, SHA256 string }

// ChallengeKind says how a request is challenged.
type ChallengeKind int

// The kinds. REGISTER gets 401; INVITE gets 407, as most PBXs do, because some
// phones have separate credentials for the two and expect a call to be
// challenged by its proxy. Either kind of credentials is taken for both.
const (
	ChallengeUser  ChallengeKind = 401
	ChallengeProxy ChallengeKind = 407
)

// Authenticator checks digest credentials (RFC 3261 section 22, RFC 8760)
// against stateless nonces. State is kept only for nonces that were used with
// the right password, so that strangers cannot fill memory.
type Authenticator struct {
	c      AuthConfig
	macs   *sync.Pool
	nobody Secret // stands in for unknown users: the same work is done
	mu     sync.Mutex
	used   nonceLog
}

// NewAuthenticator returns an Authenticator with a fresh random key.
func NewAuthenticator(c AuthConfig) *Authenticator {
	if c.Lifetime == 0 {
		c.Lifetime = 5 * time.Minute
	}
	if c.Nonces == 0 {
		c.Nonces = 1 << 16
	}
	key := make([]byte, 32)
	rand.Read(key)
	return &Authenticator{
		c:      c,
		macs:   newMACs(key),
		nobody: Secret{MD5: hex.EncodeToString(key[:16]), SHA256: hex.EncodeToString(key)},
		used:   newNonceLog(c.Nonces),
	}
}

// Require authenticates a request. If it returns false, the request has been
// challenged, in the same way whatever was wrong. lookup finds the secret of a
// user in the realm.
func (a *Authenticator) Require(tx *ServerTx, kind ChallengeKind, realm string, lookup func(user string) (Secret, bool)) (user string, ok bool) {
	if a.c.Admit != nil {
		if refusal := a.c.Admit(tx.req.Flow, realm); refusal != nil {
			tx.Reply(*refusal)
			return "", false
		}
	}
	e := a.check(tx.req, realm, lookup, time.Now())
	if a.c.Observe != nil {
		a.c.Observe(e)
	}
	if e.Outcome == AuthOK {
		tx.req.Flow.Authenticated()
		return e.User, true
	}
	a.challenge(tx, kind, realm, e.Outcome == AuthStale)
	return "", false
}

func (a *Authenticator) check(r *Request, realm string, lookup func(string) (Secret, bool), now time.Time) AuthEvent {
	e := AuthEvent{Request: r, Realm: realm}
	c, ok := findCredentials(r, realm)
	if !ok {
		return e
	}
	made, id, ours := a.open(c.nonce, r.Flow.Remote.Addr(), realm)
	e.User, e.Outcome, e.Ours = c.username, AuthWrong, ours
	secret, known := lookup(c.username)
	offered := a.offers(r.Flow, realm, c.algorithm)
	if !known && a.c.Temporary != nil {
		if user, s, ok := a.c.Temporary(r.Flow, realm, c.username); ok {
			_, known = lookup(user) // who is gone has no credentials of any kind
			c.username, secret, offered = user, s, true
		}
	}
	if !known {
		secret = a.nobody
	}
	ha1 := secret.MD5
	if c.algorithm == SHA256 {
		ha1 = secret.SHA256
	}
	right := offered && c.qop == "auth" && ha1 != "" && c.matches(ha1, r.Method)
	if !right || !known || a.c.Worn != nil && a.c.Worn(r, e.User) {
		return e
	}
	e.User, e.Outcome = c.username, AuthStale
	if !ours || now.Sub(made) > a.c.Lifetime || made.After(now.Add(time.Minute)) {
		return e
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.used.use(id, made, c.nc, a.fingerprint(r), now.Add(-a.c.Lifetime)) {
		e.Outcome = AuthOK
	}
	return e
}

func (a *Authenticator) algorithms(f Flow, realm string) []Algorithm {
	if a.c.Algorithms != nil {
		return a.c.Algorithms(f, realm)
	}
	return []Algorithm{MD5}
}

func (a *Authenticator) offers(f Flow, realm string, want Algorithm) bool {
	for _, have := range a.algorithms(f, realm) {
		if have == want {
			return true
		}
	}
	return false
}

func (a *Authenticator) challenge(tx *ServerTx, kind ChallengeKind, realm string, stale bool) {
	name := "WWW-Authenticate"
	if kind == ChallengeProxy {
		name = "Proxy-Authenticate"
	}
	nonce := a.nonce(tx.req, realm, time.Now())
	list := a.algorithms(tx.req.Flow, realm)
	if len(list) == 0 {
		list = []Algorithm{MD5} // for temporary credentials only
	}
	headers := make([]Header, 0, len(list))
	for _, alg := range list {
		b := make([]byte, 0, 160)
		b = append(b, "Digest realm="...)
		b = appendQuoted(b, realm)
		b = append(b, `, nonce="`...)
		b = append(b, nonce...)
		b = append(b, `", algorithm=`...)
		b = append(b, alg...)
		b = append(b, `, qop="auth"`...)
		if stale {
			b = append(b, `, stale=true`...)
		}
		headers = append(headers, Header{name, string(b)})
	}
	tx.Reply(Reply{Code: int(kind), Headers: headers})
}

// credentials are the digest parameters of one Authorization header.
type credentials struct {
	username, realm, nonce, uri, response, cnonce, qop string

	nc        uint32
	ncText    string
	algorithm Algorithm
}

// findCredentials returns the first digest credentials for the realm.
func findCredentials(r *Request, realm string) (credentials, bool) {
	for i := range r.Headers {
		h := &r.Headers[i]
		if !strings.EqualFold(h.Name, "Authorization") && !strings.EqualFold(h.Name, "Proxy-Authorization") {
			continue
		}
		if c, ok := parseCredentials(h.Value); ok && c.realm == realm {
			return c, true
		}
	}
	return credentials{}, false
}

// Claimed is who a request says that sent it, by digest credentials that nobody
// has checked.
func Claimed(r *Request) (user, realm string, ok bool) {
	for _, h := range r.Headers {
		if strings.EqualFold(h.Name, "Authorization") || strings.EqualFold(h.Name, "Proxy-Authorization") {
			if c, ok := parseCredentials(h.Value); ok {
				return c.username, c.realm, true
			}
		}
	}
	return "", "", false
}

// parseCredentials reads 'Digest name=value, ...' (RFC 7616 section 3.4).
func parseCredentials(s string) (credentials, bool) {
	c := credentials{algorithm: MD5}
	scheme, rest, ok := strings.Cut(s, " ")
	if !ok || !strings.EqualFold(scheme, "Digest") {
		return c, false
	}
	for rest = trim(rest); rest != ""; {
		var kv string
		kv, rest = cutComma(rest)
		k, v, _ := strings.Cut(kv, "=")
		k, v = trim(k), unquote(trim(v))
		switch {
		case strings.EqualFold(k, "username"):
			c.username = v
		case strings.EqualFold(k, "realm"):
			c.realm = v
		case strings.EqualFold(k, "nonce"):
			c.nonce = v
		case strings.EqualFold(k, "uri"):
			c.uri = v
		case strings.EqualFold(k, "response"):
			c.response = v
		case strings.EqualFold(k, "cnonce"):
			c.cnonce = v
		case strings.EqualFold(k, "qop"):
			c.qop = v
		case strings.EqualFold(k, "algorithm"):
			c.algorithm = Algorithm(strings.ToUpper(v))
		case strings.EqualFold(k, "nc"):
			c.ncText = v
			c.nc = parseNC(v)
		}
	}
	return c, c.username != "" && c.nonce != "" && c.response != ""
}

// parseNC reads the eight hex digits of nc; 0 is not a count.
func parseNC(s string) uint32 {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 4 {
		return 0
	}
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// matches computes the response with qop=auth (RFC 7616 section 3.4.1) and
// compares it in constant time.
func (c *credentials) matches(ha1, method string) bool {
	var want [2 * sha256.Size]byte
	n := c.expect(want[:], ha1, method)
	return subtle.ConstantTimeCompare([]byte(strings.ToLower(c.response)), want[:n]) == 1
}

func (c *credentials) expect(out []byte, ha1, method string) int {
	var space [512]byte
	b := append(append(append(space[:0], method...), ':'), c.uri...)
	var ha2 [2 * sha256.Size]byte
	n := c.algorithm.sum(b, ha2[:])
	b = append(b[:0], ha1...)
	for _, s := range [...]string{c.nonce, c.ncText, c.cnonce, c.qop} {
		b = append(append(b, ':'), s...)
	}
	b = append(append(b, ':'), ha2[:n]...)
	return c.algorithm.sum(b, out)
}

// sum writes the hash of b to out in hex, and returns its length.
func (a Algorithm) sum(b, out []byte) int {
	if a == SHA256 {
		s := sha256.Sum256(b)
		return hex.Encode(out, s[:])
	}
	s := md5.Sum(b)
	return hex.Encode(out, s[:])
}
