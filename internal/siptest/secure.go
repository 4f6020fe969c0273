package siptest

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"github.com/pion/srtp/v3"
)

// SRTP with keys in SDP (RFC 4568), written apart from what it is to test.

// Crypto is an a=crypto line.
type Crypto struct {
	Tag   int
	Suite string // as written
	Key   []byte // master key and salt
}

// parseCrypto reads the value of an a=crypto line; lines with session
// parameters, or with several keys, are none of the phone's.
func parseCrypto(value string) (Crypto, bool) {
	fields := strings.Fields(value)
	if len(fields) != 3 {
		return Crypto{}, false
	}
	tag, err := strconv.Atoi(fields[0])
	text, ok := strings.CutPrefix(fields[2], "inline:")
	text, _, _ = strings.Cut(text, "|") // lifetime, which nobody lives to see
	key, err2 := base64.StdEncoding.DecodeString(text)
	return Crypto{Tag: tag, Suite: fields[1], Key: key}, ok && err == nil && err2 == nil
}

// profileOf is the protection profile of a suite, in the spelling of RFC 6188
// and RFC 7714 or in that of others.
func profileOf(suite string) (srtp.ProtectionProfile, bool) {
	switch suite {
	case "AES_CM_128_HMAC_SHA1_80":
		return srtp.ProtectionProfileAes128CmHmacSha1_80, true
	case "AES_CM_128_HMAC_SHA1_32":
		return srtp.ProtectionProfileAes128CmHmacSha1_32, true
	case "AES_256_CM_HMAC_SHA1_80", "AES_CM_256_HMAC_SHA1_80":
		return srtp.ProtectionProfileAes256CmHmacSha1_80, true
	case "AES_256_CM_HMAC_SHA1_32", "AES_CM_256_HMAC_SHA1_32":
		return srtp.ProtectionProfileAes256CmHmacSha1_32, true
	case "AEAD_AES_128_GCM":
		return srtp.ProtectionProfileAeadAes128Gcm, true
	case "AEAD_AES_256_GCM":
		return srtp.ProtectionProfileAeadAes256Gcm, true
	}
	return 0, false
}

// keyFor is our key of a suite, the same until an offer brings others; c.mu is
// held.
func (c *Call) keyFor(suite string) []byte {
	if c.keys == nil {
		c.keys = map[string][]byte{}
	}
	return key(c.keys, suite)
}

func key(keys map[string][]byte, suite string) []byte {
	if key := keys[suite]; key != nil {
		return key
	}
	profile, _ := profileOf(suite)
	k, _ := profile.KeyLen()
	s, _ := profile.SaltLen()
	fresh := make([]byte, k+s)
	_, _ = rand.Read(fresh)
	keys[suite] = fresh
	return fresh
}

// chosen is the crypto line of the peer that the phone speaks too: the first
// of an offer, the only one of an answer; its suite is spelled as the phone
// does. c.mu is held.
func (c *Call) chosen() (Crypto, bool) {
	for _, line := range c.remote.Cryptos {
		theirs, known := profileOf(line.Suite)
		for _, suite := range c.phone.config.Suites {
			if own, _ := profileOf(suite); known && own == theirs {
				line.Suite = suite
				return line, true
			}
		}
	}
	return Crypto{}, false
}

// protection is the protocol and the crypto lines of a description of ours;
// c.mu is held.
func (c *Call) protection(answer bool) (proto, lines string) {
	write := func(tag int, suite string) {
		k := c.keyFor(suite)
		if !answer && c.newKeys != nil {
			k = key(c.newKeys, suite)
		}
		lines += fmt.Sprintf("a=crypto:%d %s inline:%s\r\n", tag, suite, base64.StdEncoding.EncodeToString(k))
	}
	proto = "RTP/AVP"
	switch own := c.phone.config.Suites; {
	case answer && c.remote.Proto != "":
		proto = c.remote.Proto
		if c.keyed() {
			lines = c.dtlsLines(true)
		} else if line, ok := c.chosen(); ok {
			write(line.Tag, line.Suite)
		}
	case c.phone.config.DTLS:
		if !c.phone.config.Opportunistic {
			proto = "UDP/TLS/RTP/SAVP"
		}
		lines = c.dtlsLines(false)
	case len(own) > 0:
		if !c.phone.config.Opportunistic {
			proto = "RTP/SAVP"
		}
		for i, suite := range own {
			write(i+1, suite)
		}
	}
	return proto, lines
}

// protect applies what both descriptions say to the media; c.mu is held.
func (c *Call) protect(m *media) {
	if c.keyed() {
		c.shake(m)
		return
	}
	line, ok := c.chosen()
	if !ok {
		_ = m.secure("", nil, nil)
		return
	}
	if err := m.secure(line.Suite, c.keyFor(line.Suite), line.Key); err != nil {
		c.phone.logf("%s: %s: %v", c.phone.config.User, line.Suite, err)
	}
}

// shield is the SRTP of a call's media, both ways.
type shield struct {
	suite       string
	own, theirs string // keys
	out, in     *srtp.Context
}

// secure encrypts and decrypts from now on, or no more. A key that stays keeps
// its context, and with it the roll-over counter.
func (m *media) secure(suite string, own, theirs []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if suite == "" {
		m.shield = nil
		return nil
	}
	s := m.shield
	if s == nil || s.suite != suite {
		s = &shield{suite: suite}
	}
	var err error
	if s.own != string(own) {
		if s.out, err = contextOf(suite, own); err != nil {
			return err
		}
		s.own = string(own)
	}
	if s.theirs != string(theirs) {
		if s.in, err = contextOf(suite, theirs); err != nil {
			return err
		}
		s.theirs = string(theirs)
	}
	m.shield = s
	return nil
}

func contextOf(suite string, key []byte) (*srtp.Context, error) {
	profile, ok := profileOf(suite)
	n, err := profile.KeyLen()
	if !ok || err != nil || len(key) <= n {
		return nil, fmt.Errorf("key of %d bytes", len(key))
	}
	return srtp.CreateContext(key[:n], key[n:], profile)
}

// seal encrypts a packet that is about to be sent; m.mu is held.
func (m *media) seal(p []byte) []byte {
	if m.shield == nil {
		return p
	}
	sealed, err := m.shield.out.EncryptRTP(nil, p, nil)
	if err != nil {
		return nil
	}
	return sealed
}

// open decrypts a packet that came; m.mu is held. What comes before the keys
// cannot be told from noise.
func (m *media) open(p []byte) ([]byte, bool) {
	if m.shield == nil {
		return p, m.association == nil && len(m.phone.config.Suites) == 0 || m.phone.config.Opportunistic
	}
	plain, err := m.shield.in.DecryptRTP(nil, p, nil)
	return plain, err == nil
}

// openReport decrypts a compound of reports that came; m.mu is held.
func (m *media) openReport(p []byte) bool {
	if m.shield == nil {
		return true
	}
	_, err := m.shield.in.DecryptRTCP(nil, p, nil)
	return err == nil
}
