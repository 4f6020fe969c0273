package sip

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"hash"
	mathrand "math/rand/v2"
	"strconv"
	"sync"
)

// tagSecret derives To tags from requests, so that stateless answers to a
// request and its retransmissions carry the same one (RFC 3261 section 8.2.7)
// and yet nobody can guess it (section 19.3).
type tagSecret struct{ macs *sync.Pool }

func newTagSecret() tagSecret {
	key := make([]byte, 32)
	rand.Read(key)
	return tagSecret{newMACs(key)}
}

// macState is an HMAC with room for its input and output, which would else be
// allocated at every use.
type macState struct {
	hash hash.Hash
	in   []byte
	out  []byte
}

// newMACs pools HMAC states: making one costs as much as using it.
func newMACs(key []byte) *sync.Pool {
	return &sync.Pool{New: func() any {
		return &macState{hash: hmac.New(sha256.New, key), in: make([]byte, 0, 512), out: make([]byte, 0, sha256.Size)}
	}}
}

// tagBytes is 120 bits, a whole number of base32 digits.
const tagBytes = 15

func (s tagSecret) tag(r *Request) string {
	var space [512]byte
	b := space[:0]
	for i := range r.Vias {
		b = append(append(b, r.Vias[i].Branch()...), 0)
		break
	}
	b = appendRequestID(b, r)
	b = append(append(append(b, r.CSeq.Method...), 0), r.URI.User...)
	var sum [sha256.Size]byte
	return encodeTag(mac(s.macs, sum[:0], b)[:tagBytes])
}

func mac(pool *sync.Pool, out, b []byte) []byte {
	m := pool.Get().(*macState)
	m.in = append(m.in[:0], b...)
	m.hash.Reset()
	m.hash.Write(m.in)
	m.out = m.hash.Sum(m.out[:0])
	out = append(out, m.out...)
	if cap(m.in) <= 4096 { // unless a huge request made it huge
		pool.Put(m)
	}
	return out
}

func encodeTag(b []byte) string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b)
}

// NewTag returns a random tag for From or To of 130 bits.
func NewTag() string { return rand.Text() }

// NewCallID returns a random Call-ID. It has no host part, which would tell
// our address to the far end.
func NewCallID() string { return rand.Text() }

// spread returns a random number of seconds for Retry-After.
func spread(lo, hi int) string { return strconv.Itoa(lo + mathrand.IntN(hi-lo+1)) }
