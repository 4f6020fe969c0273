package sip

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"net/netip"
	"time"
)

// A nonce is the time it was made, a random number, and a MAC over both, the
// source address and the realm: it needs no memory, and is worth nothing to
// anybody else.
const (
	nonceHead = 16 // time in ms, random number
	nonceSize = nonceHead + 16
)

func (a *Authenticator) nonce(r *Request, realm string, now time.Time) string {
	var n [nonceSize]byte
	binary.BigEndian.PutUint64(n[:], uint64(now.UnixMilli()))
	rand.Read(n[8:nonceHead])
	var sum [sha256.Size]byte
	copy(n[nonceHead:], a.seal(sum[:0], n[:nonceHead], r.Flow.Remote.Addr(), realm))
	return base64.RawURLEncoding.EncodeToString(n[:])
}

func (a *Authenticator) seal(out, head []byte, src netip.Addr, realm string) []byte {
	var space [128]byte
	b := append(space[:0], head...)
	addr := src.As16()
	b = append(append(b, addr[:]...), realm...)
	return mac(a.macs, out, b)
}

// open checks that a nonce is ours for this source and realm.
func (a *Authenticator) open(nonce string, src netip.Addr, realm string) (made time.Time, id uint64, ok bool) {
	var n [nonceSize]byte
	if len(nonce) != base64.RawURLEncoding.EncodedLen(nonceSize) {
		return made, 0, false
	}
	if _, err := base64.RawURLEncoding.Decode(n[:], []byte(nonce)); err != nil {
		return made, 0, false
	}
	var sum [sha256.Size]byte
	want := a.seal(sum[:0], n[:nonceHead], src, realm)
	if subtle.ConstantTimeCompare(n[nonceHead:], want[:16]) != 1 {
		return made, 0, false
	}
	made = time.UnixMilli(int64(binary.BigEndian.Uint64(n[:])))
	return made, binary.BigEndian.Uint64(n[8:]), true
}

// Answers reports whether a request, not parsed yet, answers a challenge of ours
// that is still good, whatever the answer is worth. It costs a fraction of
// handling the request; see Config.
func (a *Authenticator) Answers(f Flow, raw []byte) bool {
	_, raw, found := bytes.Cut(raw, []byte("Authorization: Digest"))
	if !found {
		return false
	}
	raw, _, _ = bytes.Cut(raw, []byte("\r\n"))
	made, _, ok := a.open(quotedIn(raw, "nonce"), f.Remote.Addr(), quotedIn(raw, "realm"))
	return ok && time.Since(made) <= a.c.Lifetime
}

// quotedIn finds a quoted parameter in its usual spelling.
func quotedIn(raw []byte, name string) string {
	for {
		before, rest, found := bytes.Cut(raw, []byte(name))
		if !found || len(rest) < 2 {
			return ""
		}
		raw = rest
		first := len(before) == 0 || before[len(before)-1] == ' ' || before[len(before)-1] == ','
		if first && rest[0] == '=' && rest[1] == '"' {
			value, _, _ := bytes.Cut(rest[2:], []byte{'"'})
			return string(value)
		}
	}
}

// fingerprint tells a retransmission, which repeats its nc, from a replay.
func (a *Authenticator) fingerprint(r *Request) uint64 {
	var space [512]byte
	b := space[:0]
	if len(r.Vias) > 0 {
		b = append(append(b, r.Vias[0].Branch()...), 0)
	}
	b = append(append(appendRequestID(b, r), r.Method...), 0)
	var sum [sha256.Size]byte
	return binary.BigEndian.Uint64(mac(a.macs, sum[:0], b))
}

// nonceLog remembers the counts of the nonces in use. When it is full the
// oldest go, and every forgotten nonce of their age counts as used up.
type nonceLog struct {
	max    int
	byID   map[uint64]*nonceUse
	order  []uint64 // in the order of first use
	cutoff time.Time
}

type nonceUse struct {
	made   time.Time
	high   uint32 // highest nc
	window uint64 // bit i: nc high-i was used
	last   uint64 // fingerprint of the request with nc high
}

func newNonceLog(max int) nonceLog {
	return nonceLog{max: max, byID: make(map[uint64]*nonceUse)}
}

// use notes that nc of a nonce was used and reports whether that was the first
// time, or a retransmission of the latest. Counts may come out of order within
// 64. Nonces made before dead are forgotten.
func (l *nonceLog) use(id uint64, made time.Time, nc uint32, request uint64, dead time.Time) bool {
	if nc == 0 {
		return false
	}
	u := l.byID[id]
	if u == nil {
		if !made.After(l.cutoff) {
			return false
		}
		l.evict(dead)
		l.byID[id] = &nonceUse{made: made, high: nc, window: 1, last: request}
		l.order = append(l.order, id)
		return true
	}
	if nc > u.high {
		shift := nc - u.high
		u.window <<= min(shift, 64)
		u.window |= 1
		u.high, u.last = nc, request
		return true
	}
	if nc == u.high {
		return request == u.last
	}
	bit := uint64(1) << min(u.high-nc, 64)
	if bit == 0 || u.window&bit != 0 {
		return false
	}
	u.window |= bit
	return true
}

func (l *nonceLog) evict(dead time.Time) {
	for len(l.order) > 0 {
		u := l.byID[l.order[0]]
		expired := u.made.Before(dead)
		if !expired && len(l.order) < l.max {
			return
		}
		if !expired && u.made.After(l.cutoff) {
			l.cutoff = u.made
		}
		delete(l.byID, l.order[0])
		l.order = l.order[1:]
	}
}
