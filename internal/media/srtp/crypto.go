package srtp

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrUnsupported says that a crypto attribute is well-formed but asks for what
// we do not do; the next one may be better.
var ErrUnsupported = errors.New("crypto attribute is not supported")

const (
	maxTag   = 999_999_999 // nine digits (RFC 4568 section 9.1)
	maxMKI   = 128         // bytes (section 6.1)
	keyParts = 3           // key, lifetime, MKI
)

// Crypto is the value of an a=crypto attribute (RFC 4568 section 9).
type Crypto struct {
	Tag int
	Key Key
}

// String writes the attribute's value, with the key in the clear.
func (c Crypto) String() string {
	inline := base64.StdEncoding.EncodeToString(append(append([]byte(nil), c.Key.Master...), c.Key.Salt...))
	s := fmt.Sprintf("%d %s inline:%s", c.Tag, c.Key.Suite, inline)
	if n := len(c.Key.MKI); n > 0 {
		var wide [8]byte
		copy(wide[8-min(n, 8):], c.Key.MKI[max(0, n-8):])
		s += fmt.Sprintf("|%d:%d", binary.BigEndian.Uint64(wide[:]), n)
	}
	return s
}

// ParseCrypto reads the value of an a=crypto attribute. The lifetime of a key
// is not kept: at 50 packets a second, even 2^20 packets last six hours.
func ParseCrypto(value string) (Crypto, error) {
	fields := strings.Fields(value)
	if len(fields) < 3 {
		return Crypto{}, fmt.Errorf("crypto attribute has %d fields", len(fields))
	}
	tag, err := strconv.ParseUint(fields[0], 10, 31)
	if err != nil || tag > maxTag {
		return Crypto{}, errors.New("crypto attribute has no tag")
	}
	suite, ok := ParseSuite(fields[1])
	if !ok {
		return Crypto{}, fmt.Errorf("suite is unknown: %w", ErrUnsupported)
	}
	for _, p := range fields[3:] {
		if err := sessionParameter(p); err != nil {
			return Crypto{}, err
		}
	}
	key, err := parseKey(suite, fields[2])
	return Crypto{Tag: int(tag), Key: key}, err
}

// sessionParameter refuses the ones that change the transform. A window size
// hint needs no answer, nor does a parameter that says what is so anyway
// (RFC 4568 section 6.3).
func sessionParameter(p string) error {
	switch name, value, _ := strings.Cut(p, "="); {
	case name == "WSH", name == "KDR" && value == "0", strings.HasPrefix(name, "-"):
		return nil
	}
	return fmt.Errorf("session parameter: %w", ErrUnsupported)
}

func parseKey(suite Suite, params string) (Key, error) {
	info, ok := strings.CutPrefix(params, "inline:")
	switch {
	case !ok:
		return Key{}, fmt.Errorf("key method: %w", ErrUnsupported)
	case strings.Contains(info, ";"): // RFC 4568 section 6.1: several keys, told apart by MKI
		return Key{}, fmt.Errorf("more than one key: %w", ErrUnsupported)
	}
	parts := strings.Split(info, "|")
	raw, err := base64.StdEncoding.WithPadding(base64.NoPadding).DecodeString(strings.TrimRight(parts[0], "="))
	f := suite.facts()
	if err != nil || len(raw) != f.master+f.salt || len(parts) > keyParts {
		return Key{}, fmt.Errorf("key of %s is malformed", suite)
	}
	k := Key{Suite: suite, Master: raw[:f.master:f.master], Salt: raw[f.master:]}
	for _, p := range parts[1:] {
		if number, length, ok := strings.Cut(p, ":"); ok {
			if k.MKI, err = parseMKI(number, length); err != nil {
				return Key{}, err
			}
		}
	}
	return k, nil
}

func parseMKI(number, length string) ([]byte, error) {
	value, err := strconv.ParseUint(number, 10, 64)
	n, err2 := strconv.Atoi(length)
	if err != nil || err2 != nil || n < 1 || n > maxMKI {
		return nil, errors.New("master key identifier is malformed")
	}
	mki := make([]byte, n)
	var wide [8]byte
	binary.BigEndian.PutUint64(wide[:], value)
	copy(mki[max(0, n-8):], wide[max(0, 8-n):])
	return mki, nil
}

// Choose picks what to take of a peer's offer: the suite we prefer, with at
// least the given key length in bits.
func Choose(offered []Crypto, bits int) (Crypto, bool) {
	var best Crypto
	for _, c := range offered {
		if c.Key.Suite > best.Key.Suite && c.Key.Suite.Bits() >= bits {
			best = c
		}
	}
	return best, best.Key.Suite != None
}
