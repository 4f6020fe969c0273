package registrar

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
	"sync"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// WebPhoneLife is how long the credentials of a web phone are good.
const WebPhoneLife = 8 * time.Hour

const (
	webPrefix = "web." // of user names; no extension has it
	// maxRevoked bounds what is remembered of revocations; see Revoke.
	maxRevoked = 10_000
)

// WebPhones hands out credentials for browsers and knows them again. They carry
// all there is to know about them and a MAC, so that nothing is kept of them;
// the key lives as long as the process.
type WebPhones struct {
	mu      sync.Mutex
	key     []byte
	revoked map[string]time.Time // by session, or by domain and number: until when
}

// NewWebPhones returns one with a fresh key.
func NewWebPhones() *WebPhones {
	return &WebPhones{key: newKey(), revoked: make(map[string]time.Time)}
}

func newKey() []byte {
	key := make([]byte, 32)
	rand.Read(key)
	return key
}

// Issue makes name and password of the digest for an extension. Session names
// the web session that asked, so that they can end with it.
func (w *WebPhones) Issue(aor telephony.AOR, session []byte) (name, password string, expires time.Time) {
	expires = time.Now().Add(WebPhoneLife).Truncate(time.Second)
	var nonce [6]byte
	rand.Read(nonce[:])
	name = webPrefix + aor.User + "." + strconv.FormatInt(expires.Unix(), 36) + "." + w.tag(session) + "." + base64.RawURLEncoding.EncodeToString(nonce[:])
	return name, w.password(name, aor.Domain), expires
}

// tag stands for a session without giving it away.
func (w *WebPhones) tag(session []byte) string { return w.mac("session", string(session))[:16] }

func (w *WebPhones) password(name, domain string) string { return w.mac("password", name+"@"+domain) }

func (w *WebPhones) mac(what, text string) string {
	w.mu.Lock()
	key := w.key
	w.mu.Unlock()
	m := hmac.New(sha256.New, key)
	m.Write([]byte(what + "\x00" + text))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// IsWebPhone reports whether a name of credentials has the form of those for
// browsers, good or not; no extension has such a name.
func IsWebPhone(name string) bool {
	return strings.HasPrefix(name, webPrefix) && strings.Count(name, ".") == 4
}

// Find knows issued credentials again; it is an AuthConfig.Temporary. They are
// good over WebSockets only: whoever steals them needs a browser.
func (w *WebPhones) Find(f sip.Flow, realm, name string) (string, sip.Secret, bool) {
	rest, ok := strings.CutPrefix(name, webPrefix)
	if !ok || !web(f) || len(name) > 128 {
		return "", sip.Secret{}, false
	}
	part := strings.Split(rest, ".")
	if len(part) != 4 {
		return "", sip.Secret{}, false
	}
	unix, err := strconv.ParseInt(part[1], 36, 64)
	expires, now := time.Unix(unix, 0), time.Now()
	if err != nil || !now.Before(expires) || expires.Sub(now) > WebPhoneLife || w.isRevoked(part[2], realm, part[0], expires) {
		return "", sip.Secret{}, false
	}
	password := w.password(name, realm)
	a1 := []byte(name + ":" + realm + ":" + password)
	m, s := md5.Sum(a1), sha256.Sum256(a1)
	return part[0], sip.Secret{MD5: hex.EncodeToString(m[:]), SHA256: hex.EncodeToString(s[:])}, true
}

// Revoke ends the credentials that a session asked for.
func (w *WebPhones) Revoke(session []byte) { w.revoke(w.tag(session), time.Now().Add(WebPhoneLife)) }

// RevokeAll ends all credentials of an extension issued until now.
func (w *WebPhones) RevokeAll(aor telephony.AOR) {
	w.revoke(aor.String(), time.Now().Add(WebPhoneLife))
}

func (w *WebPhones) revoke(what string, until time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if len(w.revoked) >= maxRevoked {
		for k, t := range w.revoked {
			if !now.Before(t) {
				delete(w.revoked, k)
			}
		}
	}
	if len(w.revoked) >= maxRevoked {
		// Rather all web phones ask again than one stays that must not.
		w.key = newKey()
		clear(w.revoked)
	}
	w.revoked[what] = until
}

func (w *WebPhones) isRevoked(session, domain, number string, expires time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.revoked[session]; ok {
		return true
	}
	until, ok := w.revoked[telephony.AOR{User: number, Domain: domain}.String()]
	return ok && !expires.After(until)
}
