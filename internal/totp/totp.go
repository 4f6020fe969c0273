// Package totp makes and checks time-based one-time passwords (RFC 6238).
package totp

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// What authenticator apps know without being told: SHA-1, six digits, steps of
// 30 seconds (RFC 6238 section 4).
const (
	Digits = 6
	Step   = 30 * time.Second
	// Skew is how many steps a clock may be off, either way (section 5.2).
	Skew = 1
	// SecretBytes is the length RFC 4226 section 4 recommends, R6.
	SecretBytes = 20
)

// NewSecret makes a shared secret.
func NewSecret() []byte {
	b := make([]byte, SecretBytes)
	rand.Read(b)
	return b
}

// Text is a secret as people type it.
func Text(secret []byte) string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret)
}

// StepAt is the number of the step that a time lies in, T of RFC 6238 section
// 4.2 with T0 = 0.
func StepAt(t time.Time) int64 { return t.Unix() / int64(Step/time.Second) }

// Code is the code of a step.
func Code(secret []byte, step int64) string { return code(secret, step, Digits) }

// code is HOTP of RFC 4226 section 5.3 with the step as counter.
func code(secret []byte, step int64, digits int) string {
	var counter [8]byte
	binary.BigEndian.PutUint64(counter[:], uint64(step))
	mac := hmac.New(sha1.New, secret)
	mac.Write(counter[:])
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 0xf
	n := binary.BigEndian.Uint32(sum[at:]) & 0x7fffffff
	modulus := uint32(1)
	for range digits {
		modulus *= 10
	}
	return fmt.Sprintf("%0*d", digits, n%modulus)
}

// Match finds the step a code belongs to, among those around now that come
// after the one used last; each code opens once (RFC 6238 section 5.2). Every
// step is compared, whichever fits.
func Match(secret []byte, given string, now time.Time, last int64) (step int64, ok bool) {
	return within(secret, given, StepAt(now), Skew, last)
}

// Offset tells how far off the clock is that a code was made by, if it is a
// code of a time within an hour of now. It is for people who prove in another
// way who they are, and wonder why their code is refused.
func Offset(secret []byte, given string, now time.Time) (time.Duration, bool) {
	const hour = int64(time.Hour / Step)
	step, ok := within(secret, given, StepAt(now), hour, -1)
	return time.Duration(step-StepAt(now)) * Step, ok
}

func within(secret []byte, given string, around, skew, last int64) (step int64, ok bool) {
	given = strings.Map(func(r rune) rune {
		if r == ' ' || r == '-' {
			return -1
		}
		return r
	}, given)
	for at := around - skew; at <= around+skew; at++ {
		if at > last && at >= 0 && subtle.ConstantTimeCompare([]byte(Code(secret, at)), []byte(given)) == 1 {
			step, ok = at, true
		}
	}
	return step, ok
}

// URI is what the QR code says to an authenticator app. The form is the one
// all of them read; it names the defaults for those that guess.
func URI(issuer, account string, secret []byte) string {
	q := url.Values{"secret": {Text(secret)}, "issuer": {issuer}, "algorithm": {"SHA1"}, "digits": {fmt.Sprint(Digits)}, "period": {fmt.Sprint(int(Step / time.Second))}}
	// Apps read %20 as a space, and some of them + as a plus.
	query := strings.ReplaceAll(q.Encode(), "+", "%20")
	return "otpauth://totp/" + url.PathEscape(issuer) + ":" + url.PathEscape(account) + "?" + query
}
