package login

import (
	"crypto/rand"

	"golang.org/x/crypto/argon2"
)

// MinGenerated is how many characters a generated password must have for
// HashGenerated: 92 random bits.
const MinGenerated = 16

// generatedCost takes microseconds.
func generatedCost() cost { return cost{memory: 64, time: 1, lanes: 1} }

// HashGenerated hashes a password that GeneratePassword made, of MinGenerated
// characters or more: thousands of them are made at once. Stretching is for
// passwords that somebody could guess; these have too many random bits, however
// little one guess costs. The first log-in replaces them.
func HashGenerated(password string) string {
	c, salt := generatedCost(), make([]byte, saltBytes)
	rand.Read(salt)
	return encode(c, salt, argon2.IDKey(normal(password), salt, c.time, c.memory, c.lanes, keyBytes))
}

// fill does the work that a check of a usual hash would have taken, so that
// the time of an answer does not tell which accounts have a generated password.
func (h *hasher) fill(done cost) {
	if done.memory*done.time >= h.cost.memory*h.cost.time {
		return
	}
	argon2.IDKey([]byte("x"), make([]byte, saltBytes), h.cost.time, h.cost.memory, h.cost.lanes, keyBytes)
}
