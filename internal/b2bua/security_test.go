package b2bua

import (
	"strings"
	"testing"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

const crypto128 = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n"

// TestLegsHaveThePolicyOfTheirExtension: the caller's, each ringing phone's, and
// that of the phone that takes a call over.
func TestLegsHaveThePolicyOfTheirExtension(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		s.protect(map[string]telephony.MediaSecurity{"101": telephony.SecurityRequire, "102": telephony.SecurityOff, "103": telephony.SecurityRequire256})
		talking(a, b)
		c := s.phone("103", 5103)
		c.register()
		c.dial("102", "v=0 offer-c")
		b.want("INVITE")
		s.media.mu.Lock()
		defer s.media.mu.Unlock()
		var got []string
		for _, p := range s.media.params {
			got = append(got, string(p.Security))
			if p.Browser {
				t.Error("a phone on UDP is taken for a browser")
			}
		}
		if want := "require off require-256 off"; strings.Join(got, " ") != want {
			t.Errorf("%v, want %s", got, want)
		}
	})
}

// TestCallerMustEncrypt: it hears why, and so does the record; no phone rings.
func TestCallerMustEncrypt(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct{ policy, sdp, warning string }{
		"plain":   {"require", "v=0 plain", `399 pbx "media must be encrypted (this phone offers none)"`},
		"128":     {"require-256", "v=0 plain\r\n" + crypto128 + crypto128, `399 pbx "media must be encrypted with AES-256 (this phone offers AES_CM_128_HMAC_SHA1_80)"`},
		"hostile": {"require", "v=0 plain\r\na=crypto:1 \"x>: inline:y\r\na=crypto:\r\n", `399 pbx "media must be encrypted (this phone offers none)"`},
	} {
		t.Run(name, func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				s, a, b := pair(t, nil)
				s.protect(map[string]telephony.MediaSecurity{"101": telephony.MediaSecurity(x.policy)})
				d := a.dial("102", x.sdp)
				no := a.want("488")
				if header(no, "Warning") != x.warning {
					t.Error(no)
				}
				d.refuseAck(no)
				s.ended(telephony.EndMediaSecurity, 488)
				b.quiet(time.Second)
			})
		})
	}
}

// TestCalleeMustEncrypt: one that answers in the clear, or refuses what is
// encrypted, is not connected.
func TestCalleeMustEncrypt(t *testing.T) {
	t.Parallel()
	const warning = `399 pbx "the phone of 102: media must be encrypted"`
	for _, answers := range []bool{true, false} {
		inTimeNamed(t, map[bool]string{true: "answers in the clear", false: "refuses"}[answers], func(t *testing.T) {
			s, a, b := pair(t, nil)
			s.protect(map[string]telephony.MediaSecurity{"102": telephony.SecurityRequire})
			d := a.dial("102", "v=0 offer-a")
			invite := b.want("INVITE")
			if answers {
				b.reply(invite, 200, "b1", "v=0 plain")
				b.want("ACK")
				if bye := b.want("BYE"); header(bye, "Reason") != `SIP;cause=488;text="media must be encrypted"` {
					t.Error(bye)
				}
			} else {
				b.reply(invite, 488, "b1", "")
				b.want("ACK")
			}
			no := a.want("488")
			if header(no, "Warning") != warning {
				t.Error(no)
			}
			d.refuseAck(no)
			s.ended(telephony.EndMediaSecurity, 488)
		})
	}
}

// TestCallStaysEncrypted: a re-INVITE that would end the protection is refused
// with the reason, and the call goes on as it was.
func TestCallStaysEncrypted(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		s.protect(map[string]telephony.MediaSecurity{"101": telephony.SecurityRequire, "102": telephony.SecurityRequire})
		da, _ := talking(a, b)
		da.request(sip.INVITE, "v=0 plain")
		a.want("100")
		no := a.want("488")
		if !strings.HasPrefix(header(no, "Warning"), `399 pbx "media must be encrypted`) {
			t.Error(no)
		}
		da.refuseAck(no)
		b.quiet(time.Second)
		if len(s.svc.Calls(1)) != 1 {
			t.Error("the call ended")
		}
	})
}

// TestOrdinaryRefusalsNameNoPolicy: 488 of phones that may talk in the clear.
func TestOrdinaryRefusalsNameNoPolicy(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		d := a.dial("102", "v=0 offer-a")
		b.reply(b.want("INVITE"), 488, "b1", "")
		b.want("ACK")
		no := a.want("488")
		if header(no, "Warning") != "" {
			t.Error(no)
		}
		d.refuseAck(no)
		s.ended(telephony.EndFailed, 488)
	})
}

func inTimeNamed(t *testing.T, name string, f func(*testing.T)) {
	t.Run(name, func(t *testing.T) { inTime(t, f) })
}
