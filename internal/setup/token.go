package setup

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"ringfence/internal/tries"
)

// Wrong tokens from one source: so many within the window are reported once.
// There is no limit over all sources, since a scanner must not be able to
// disarm the set-up of a machine; 128 bits need none.
const (
	maxWrong    = 20
	wrongWindow = 10 * time.Minute
	wrongBlock  = 10 * time.Minute
)

// token is the one-time token of this boot. Only its hash is compared.
type token struct {
	mu    sync.Mutex
	plain string // empty when only the hash is known
	hash  [sha256.Size]byte

	wrong *tries.Counter
}

// newToken draws a token of 128 bits, unless the seed brings one.
func newToken(seed *Seed) (*token, error) {
	t := &token{wrong: tries.New(maxWrong, wrongWindow, wrongBlock)}
	switch {
	case seed != nil && seed.TokenSHA256 != "":
		raw, err := hex.DecodeString(seed.TokenSHA256)
		if err != nil || len(raw) != sha256.Size {
			return nil, fmt.Errorf("reading the seed: token_sha256 is not the hexadecimal SHA-256 of a token")
		}
		copy(t.hash[:], raw)
	case seed != nil && seed.Token != "":
		t.set(seed.Token)
	default:
		t.set(draw())
	}
	return t, nil
}

func draw() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

func (t *token) set(plain string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.plain, t.hash = plain, sha256.Sum256([]byte(plain))
}

func (t *token) get() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.plain
}

// matches compares in constant time. The right token is right even from a
// source that guessed before: it may sit behind the same address.
func (t *token) matches(given string) bool {
	sum := sha256.Sum256([]byte(given))
	t.mu.Lock()
	defer t.mu.Unlock()
	return given != "" && subtle.ConstantTimeCompare(sum[:], t.hash[:]) == 1
}

// miss counts a wrong token of a source.
func (t *token) miss(addr netip.Addr, now time.Time) (until time.Time, tripped bool) {
	return t.wrong.Wrong(addr, now)
}
