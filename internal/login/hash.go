package login

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"
)

const (
	saltBytes   = 16
	keyBytes    = 32
	maxHashing  = 4  // at once: 76 MiB
	maxWaiting  = 64 // beyond those; more are told to come again
	maxPassword = 1024
)

// cost of argon2id.
type cost struct {
	memory, time uint32 // KiB, passes
	lanes        uint8
}

// usualCost takes about 30 ms on the machines aimed at.
func usualCost() cost { return cost{memory: 19 * 1024, time: 2, lanes: 1} }

// bearable says whether a stored hash costs no more than we are ready to pay.
func (c cost) bearable() bool {
	const factor = 16
	u := usualCost()
	return c.memory >= 8 && c.memory <= u.memory*factor && c.time >= 1 && c.time <= u.time*factor && c.lanes >= 1 && c.lanes <= factor
}

// ErrBusy says that too many passwords are being checked already.
var ErrBusy = errors.New("too many log-ins at once")

// hasher bounds how many hashes are computed and wait at once, since each
// takes 19 MiB.
type hasher struct {
	running chan struct{}
	waiting chan struct{}
	cost    cost
	dummy   string // a hash nobody has the password of
}

func newHasher(c cost) *hasher {
	h := &hasher{running: make(chan struct{}, maxHashing), waiting: make(chan struct{}, maxHashing+maxWaiting), cost: c}
	salt, key := make([]byte, saltBytes), make([]byte, keyBytes)
	rand.Read(salt)
	rand.Read(key)
	h.dummy = encode(c, salt, key)
	return h
}

func (h *hasher) enter(ctx context.Context) error {
	select {
	case h.waiting <- struct{}{}:
	default:
		return ErrBusy
	}
	select {
	case h.running <- struct{}{}:
		return nil
	case <-ctx.Done():
		<-h.waiting
		return ctx.Err()
	}
}

func (h *hasher) leave() {
	<-h.running
	<-h.waiting
}

// hash makes an encoded argon2id hash with a random salt.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	if err := h.enter(ctx); err != nil {
		return "", fmt.Errorf("hashing a password: %w", err)
	}
	defer h.leave()
	salt := make([]byte, saltBytes)
	rand.Read(salt)
	return encode(h.cost, salt, argon2.IDKey(normal(password), salt, h.cost.time, h.cost.memory, h.cost.lanes, keyBytes)), nil
}

// verify compares a password with an encoded hash. An empty hash costs the
// same as any and never matches.
func (h *hasher) verify(ctx context.Context, encoded, password string) (bool, error) {
	if err := h.enter(ctx); err != nil {
		return false, fmt.Errorf("checking a password: %w", err)
	}
	defer h.leave()
	possible := encoded != "" && len(password) <= maxPassword
	if !possible {
		encoded, password = h.dummy, "x"
	}
	p, err := decode(encoded)
	if err != nil {
		return false, fmt.Errorf("checking a password: %w", err)
	}
	key := argon2.IDKey(normal(password), p.salt, p.time, p.memory, p.lanes, uint32(len(p.key)))
	h.fill(p.cost)
	return subtle.ConstantTimeCompare(key, p.key) == 1 && possible, nil
}

// normal makes equal what looks equal, however it was typed.
func normal(password string) []byte { return norm.NFC.Bytes([]byte(password)) }

type argonHash struct {
	cost
	salt, key []byte
}

// encode writes the usual text form of an argon2id hash.
func encode(c cost, salt, key []byte) string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, c.memory, c.time, c.lanes, b64(salt), b64(key))
}

var errHash = errors.New("stored hash is malformed")

func decode(encoded string) (p argonHash, err error) {
	parts := strings.Split(encoded, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return p, errHash
	}
	var version int
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return p, errHash
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.memory, &p.time, &p.lanes); err != nil || !p.bearable() {
		return p, errHash
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(parts[4])
	key, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(salt) < 8 || len(key) < 16 || len(key) > 64 {
		return p, errHash
	}
	p.salt, p.key = salt, key
	return p, nil
}

// CheckHash refuses a password hash that this program would not verify.
func CheckHash(encoded string) error {
	_, err := decode(encoded)
	return err
}
