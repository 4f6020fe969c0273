package media

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/pion/srtp/v3"

	"ringfence/internal/siptest"
)

// suite is the one that peers and we like best.
const suite = "AEAD_AES_256_GCM"

// cipher is the SRTP of one side of a call, both ways.
type cipher struct {
	out, in *srtp.Context
	line    string // a=crypto of our own
	scratch []byte
}

// newCipher makes the key of our own direction (RFC 4568, RFC 7714).
func newCipher() (*cipher, error) {
	key := make([]byte, 32+12)
	_, _ = rand.Read(key)
	c := &cipher{line: "a=crypto:1 " + suite + " inline:" + base64.StdEncoding.EncodeToString(key) + "\r\n"}
	var err error
	c.out, err = srtp.CreateContext(key[:32], key[32:], srtp.ProtectionProfileAeadAes256Gcm)
	return c, err
}

var cryptoLine = regexp.MustCompile(`a=crypto:(\d+) ` + suite + ` inline:([A-Za-z0-9+/=]+)`)

// learn takes the relay's key, and its tag for the answer.
func (c *cipher) learn(sdp string) error {
	m := cryptoLine.FindStringSubmatch(sdp)
	if m == nil {
		return fmt.Errorf("no %s in\n%s", suite, sdp)
	}
	key, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(m[2], "="))
	if err != nil || len(key) != 44 {
		return fmt.Errorf("key of %d bytes: %w", len(key), err)
	}
	c.line = strings.Replace(c.line, "crypto:1 ", "crypto:"+m[1]+" ", 1)
	c.in, err = srtp.CreateContext(key[:32], key[32:], srtp.ProtectionProfileAeadAes256Gcm)
	return err
}

func (c *cipher) encrypt(dst, plain []byte) []byte {
	p, err := c.out.EncryptRTP(dst, plain, nil)
	if err != nil {
		return plain // arrives, and is seen to be wrong
	}
	return p
}

func (c *cipher) decrypt(p []byte) ([]byte, error) {
	var err error
	c.scratch, err = c.in.DecryptRTP(c.scratch[:0], p, nil)
	return c.scratch, err
}

// describe is a side's description.
func describe(at netip.AddrPort, c *cipher, v *voice) string {
	proto, crypto := "RTP/AVP", ""
	if c != nil {
		proto, crypto = "RTP/SAVP", c.line
	}
	return fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 %[1]s\r\ns=-\r\nc=IN IP4 %[1]s\r\nt=0 0\r\nm=audio %[2]d %[3]s %[5]d\r\na=rtpmap:%[5]d %[6]s\r\n%[4]sa=sendrecv\r\n",
		at.Addr(), at.Port(), proto, crypto, v.pt, v.mapping)
}

// setUp has the relay join the two sides in a new call.
func (l *Load) setUp(c *control, id string, m mode) error {
	var crypt [2]*cipher
	for side, wanted := range m.encrypted {
		if !wanted {
			continue
		}
		var err error
		if crypt[side], err = newCipher(); err != nil {
			return err
		}
	}
	profile := "RTP/AVP"
	if m.encrypted[1] {
		profile = "RTP/SAVP"
	}
	// The address of the peer's signalling is for our engine, the rest for both.
	offer := dict{"call-id": id, "from-tag": "a", "sdp": describe(l.addr(0), crypt[0], m.voice(0)), "peer": l.addr(0).Addr().String(),
		"transport-protocol": profile, "ICE": "remove", "DTLS": "off", "replace": []string{"origin", "session-connection"}}
	if m.converts() {
		l.converts.Store(true)
		offer["flags"] = []string{"codec-mask-" + m.voice(0).name, "codec-transcode-" + m.voice(1).name}
	}
	told, err := c.do("offer", offer)
	if err != nil {
		return err
	}
	if crypt[1] != nil {
		if err := crypt[1].learn(told.text("sdp")); err != nil {
			return err
		}
	}
	answer, err := c.do("answer", dict{"call-id": id, "from-tag": "a", "to-tag": "b", "sdp": describe(l.addr(1), crypt[1], m.voice(1)),
		"ICE": "remove", "DTLS": "off", "replace": []string{"origin", "session-connection"}})
	if err != nil {
		return err
	}
	if crypt[0] != nil {
		if err := crypt[0].learn(answer.text("sdp")); err != nil {
			return err
		}
	}
	var to [2]netip.AddrPort
	for side, sdp := range []string{answer.text("sdp"), told.text("sdp")} {
		d, err := siptest.ParseSDP(sdp)
		if err != nil {
			return fmt.Errorf("%w in\n%s", err, sdp)
		}
		to[side] = d.Addr
	}
	l.add(to, crypt, [2]*voice{m.voice(0), m.voice(1)})
	if m.recorded {
		_, err = c.do("start recording", dict{"call-id": id, "from-tag": "a"})
	}
	return err
}
